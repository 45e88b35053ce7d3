"""The projection on which a law of full support concentrates at low temperature, and its rates."""

import math
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from jaxtyping import Bool, Complex, Float, Int

from tokendyn.errors import BadInputError, listing
from tokendyn.words import counted

#: Eigenvalues whose real parts are closer than this share of the norm of M form one group. A double defective
#: eigenvalue splits by the square root of rounding, 1e-8; longer Jordan chains need more.
TIE_TOLERANCE = 1e-7

#: A nilpotent part above this share of the norm of M is not rounding.
NILPOTENT = 1e-6

ProjectionStatus = Literal["eigenspace", "tied", "rotating", "defective", "identity"]


@dataclass(frozen=True)
class Projection:
    """The map ``Pi(x) = P_E x / |P_E x|``, E the dominant eigenspace of ``M = V B^T`` (arXiv 2605.10931).

    At zero temperature and full support a token follows ``e^{sM} x_0 / |.|`` with ``dt = |B^T x| ds``; E belongs to the
    eigenvalues of largest real part, ``P_E`` is their spectral projector, oblique when M is not normal.

    Attributes
    ----------
    status
        ``"eigenspace"``: tokens converge to ``Pi(x)``. ``"tied"``: eigenvalues closer than the tolerance are treated as
        one. ``"rotating"``: complex dominant eigenvalues; tokens converge to E and rotate in it, Pi is their phase at
        ``s = 0``. ``"defective"``: Pi is the end of the longest Jordan chain, approached only like ``1/s``.
        ``"identity"``: E is the whole space, nothing concentrates.
    reason
        The status in a sentence.
    eigenvalues
        Eigenvalues of M, by decreasing real part.
    projector
        ``P_E``, ``(dim, dim)``; for defective M followed by the highest power of the nilpotent part.
    basis, left
        ``P_E = basis @ left``; basis is an orthonormal basis of E, ``(dim, k)``, left is ``(k, dim)``.
    gap
        Real part of the dominant eigenvalue minus that of the next; 0 unless tokens converge exponentially.
    rate
        ``c = gap / max |B^T x|`` over unit x in E: tokens approach their limit like ``e^{-ct}``.
    """

    status: ProjectionStatus
    reason: str
    eigenvalues: Complex[np.ndarray, " dim"]
    projector: Float[np.ndarray, "dim dim"]
    basis: Float[np.ndarray, "dim k"]
    left: Float[np.ndarray, "k dim"]
    gap: float
    rate: float

    @property
    def dimension(self) -> int:
        """Dimension of E."""
        return self.basis.shape[1]

    @property
    def concentrates(self) -> bool:
        """Whether tokens approach a law on E: E is not the whole space, and limits do not rotate in it."""
        return self.status in ("eigenspace", "tied", "defective") and self.dimension < len(self.projector)

    def apply(self, tokens: Float[np.ndarray, "tokens dim"]) -> Float[np.ndarray, "tokens dim"]:
        """Return ``Pi`` of every token.

        Raises
        ------
        BadInputError
            If tokens lie on the separatrix, where ``P_E x = 0`` up to rounding and Pi is not defined.
        """
        images = tokens @ self.projector.T
        sizes = np.linalg.norm(images, axis=1)
        bad = np.flatnonzero(sizes <= 1e-14 * np.linalg.norm(self.projector, 2) * np.linalg.norm(tokens, axis=1))
        if bad.size:
            some = listing(bad)
            raise BadInputError(
                f"the separatrix holds {counted(bad.size, 'token')} ({some}), on which the projection is not defined; "
                "turn the start a little, or leave them out"
            )
        return np.asarray(images / sizes[:, None])

    def sides(self, tokens: Float[np.ndarray, "tokens dim"]) -> Int[np.ndarray, " tokens"]:
        """Return the side of the separatrix on which each token lies, 1 or -1 (E is a line); 0 where E is larger."""
        if self.dimension > 1:
            return np.zeros(len(tokens), dtype=np.int64)
        return np.where(tokens @ self.left[0] >= 0, 1, -1).astype(np.int64)

    def crossed(
        self, start: Float[np.ndarray, "tokens dim"], now: Float[np.ndarray, "tokens dim"]
    ) -> Bool[np.ndarray, " tokens"]:
        """Return which tokens are on the other side of the separatrix than at the start."""
        return self.sides(start) != self.sides(now)


def project(
    value: Float[np.ndarray, "dim dim"],
    interaction: Float[np.ndarray, "dim dim"],
    tie_tolerance: float = TIE_TOLERANCE,
) -> Projection:
    """Return the projection map of ``M = V B^T``.

    Parameters
    ----------
    value, interaction
        ``V`` and ``B = Q^T K`` (score ``<x, By>``): with ``B`` in place of ``B^T`` the map is a different one.
    tie_tolerance
        Share of the norm of M within which real parts count as equal.

    Raises
    ------
    BadInputError
        If the matrices do not fit or are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.particles.meanfield import project
    >>> projection = project(np.diag([1.0, 2.0]), np.diag([4.0, 1.0]))
    >>> projection.status, projection.rate
    ('eigenspace', 0.5)
    >>> projection.apply(np.array([[0.6, 0.8]]))
    array([[1., 0.]])
    """
    from scipy.linalg import schur, solve_sylvester

    V, B = np.asarray(value, dtype=np.float64), np.asarray(interaction, dtype=np.float64)
    if V.ndim != 2 or V.shape[0] != V.shape[1] or V.shape != B.shape or not np.isfinite([V, B]).all():
        raise BadInputError(f"V {V.shape} and B {B.shape} must be finite square matrices of the same size")
    M = V @ B.T
    eigenvalues = np.linalg.eigvals(M)
    eigenvalues = eigenvalues[np.argsort(-eigenvalues.real, kind="stable")].astype(np.complex128)
    norm = float(np.linalg.norm(M, 2))
    size = int((eigenvalues.real >= eigenvalues[0].real - tie_tolerance * norm).sum())
    if size < len(M):
        # The ordered Schur form puts the dominant block first; the Sylvester equation decouples the two blocks, which
        # gives the oblique projector without eigenvectors, so that defective blocks do no harm.
        middle = (eigenvalues[size - 1].real + eigenvalues[size].real) / 2
        dominates = cast("Any", lambda eigenvalue: eigenvalue.real > middle)
        T, Z, size = schur(M, output="complex", sort=dominates)
        Y = solve_sylvester(T[:size, :size], -T[size:, size:], -T[:size, size:])
        projector = np.real(Z[:, :size] @ np.hstack([np.eye(size), -Y]) @ Z.conj().T)
    else:
        projector = np.eye(len(M))
    basis = np.linalg.svd(projector)[0][:, :size]
    left = basis.T @ projector
    gap = float(eigenvalues[0].real - eigenvalues[size].real) if size < len(M) else 0.0
    status, reason, chain = _classify(left @ M @ basis, eigenvalues[:size], len(M), norm)
    if chain is not None:
        projector, gap = basis @ chain @ left, 0.0
    widest = float(np.linalg.norm(B.T @ basis, 2))
    return Projection(
        status=status,
        reason=reason,
        eigenvalues=eigenvalues,
        projector=projector,
        basis=basis,
        left=left,
        gap=gap,
        rate=gap / widest if widest > 0 else 0.0,
    )


def _classify(
    restricted: np.ndarray, dominant: np.ndarray, dim: int, norm: float
) -> tuple[ProjectionStatus, str, np.ndarray | None]:
    """Return status, reason, and for a defective block the highest power of its nilpotent part."""
    size = len(restricted)
    shown = f"{dominant[0].real:.6g}"
    if np.abs(dominant.imag).max() > TIE_TOLERANCE * norm:
        return "rotating", f"dominant eigenvalues {dominant[0]:.6g} are complex: limits turn in E", None
    nilpotent = restricted - dominant.real.mean() * np.eye(size)
    power = nilpotent
    if np.linalg.norm(nilpotent, 2) > NILPOTENT * norm:
        order = 1
        while np.linalg.norm(nilpotent @ power, 2) > NILPOTENT * norm ** (order + 1):
            power, order = nilpotent @ power, order + 1
        return (
            "defective", f"dominant eigenvalue {shown} has a Jordan chain of length {order + 1}: convergence like 1/s",
            power / np.linalg.norm(power, 2),
        )  # fmt: skip
    if size == dim:
        return "identity", f"all {dim} eigenvalues are {shown}: nothing concentrates", None
    spread = float(np.ptp(dominant.real))
    if spread > 1e-13 * norm:
        return "tied", f"{size} dominant eigenvalues near {shown} differ by {spread:.1e}: treated as one", None
    return "eigenspace", f"dominant eigenvalue {shown} of multiplicity {size}", None


@dataclass(frozen=True)
class TerminalPhase:
    """The motion of collapsed clusters after the metastable phase: each obeys ``xdot = P_x V x``.

    Attributes
    ----------
    exists
        Whether clusters leave the concentrated state.
    invariant
        Whether V maps E into itself; if not, clusters leave at once instead of after a time like ``log beta``.
    rate
        Growth of deviations from E: the largest real part of the eigenvalues of V on the quotient by E, minus that
        on E. Positive when clusters leave; NaN when E is not invariant.
    reason
        The result in a sentence.
    """

    exists: bool
    invariant: bool
    rate: float
    reason: str


def terminal_phase(value: Float[np.ndarray, "dim dim"], projection: Projection) -> TerminalPhase:
    """Return whether and how fast collapsed clusters leave E."""
    V = np.asarray(value, dtype=np.float64)
    basis = projection.basis
    if projection.dimension == len(V):
        return TerminalPhase(
            exists=False, invariant=True, rate=0.0, reason="E is the whole space: there is nothing to leave"
        )
    moved = V @ basis
    outside = float(np.linalg.norm(moved - basis @ (basis.T @ moved), 2))
    if outside > 1e-9 * max(float(np.linalg.norm(V, 2)), np.finfo(float).tiny):
        return TerminalPhase(
            exists=True, invariant=False, rate=math.nan, reason="E is not invariant under V: clusters leave it at once"
        )
    rest = np.linalg.svd(basis)[0][:, projection.dimension :]
    inner = float(np.linalg.eigvals(basis.T @ V @ basis).real.max())
    outer = float(np.linalg.eigvals(rest.T @ V @ rest).real.max())
    if outer > inner:
        reason = f"V grows by {outer:.6g} outside E and by {inner:.6g} inside: clusters leave E"
        return TerminalPhase(exists=True, invariant=True, rate=outer - inner, reason=reason)
    return TerminalPhase(
        exists=False, invariant=True, rate=outer - inner, reason="the dominant directions of V lie in E: clusters stay"
    )


@dataclass(frozen=True)
class PredictedTimes:
    """Leading-order times; each is known up to a constant that does not depend on beta.

    Attributes
    ----------
    concentration
        ``log(beta) / (2c)``: time of the least distance to the projected law; infinite when nothing concentrates.
    departure
        ``log(beta) (1/(2c) + 1/(2 rate))``: beginning of the terminal phase; infinite without one.
    """

    concentration: float
    departure: float


def predicted_times(inverse_temperature: float, projection: Projection, terminal: TerminalPhase) -> PredictedTimes:
    """Return the times of the concentration and of the departure (our own analysis of the Gaussian closure).

    Raises
    ------
    BadInputError
        Unless ``1 < beta < inf``.
    """
    if not 1 < inverse_temperature < math.inf:
        raise BadInputError(f"inverse_temperature must be finite and above 1, got {inverse_temperature}")
    log = math.log(inverse_temperature)
    concentration = log / (2 * projection.rate) if projection.rate > 0 else math.inf
    if terminal.exists and terminal.invariant:
        return PredictedTimes(concentration, concentration + log / (2 * terminal.rate))
    return PredictedTimes(concentration, concentration if terminal.exists else math.inf)
