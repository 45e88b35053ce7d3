"""The theory of concentration for one attention head of a trained model."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from tokendyn.dynamics import TokenFlow, integrate
from tokendyn.dynamics.sphere import sphere_tokens
from tokendyn.errors import BadInputError
from tokendyn.particles.meanfield.guard import resolution
from tokendyn.particles.meanfield.model import MeanFieldRun
from tokendyn.particles.meanfield.projection import (
    PredictedTimes,
    Projection,
    TerminalPhase,
    predicted_times,
    project,
    terminal_phase,
)

#: Eigenvalues below this share of the norm of a product of thin matrices count as zero.
ZERO = 1e-10


@dataclass(frozen=True)
class HeadTheory:
    """One head as a flow on the sphere.

    Attributes
    ----------
    projection
        Projection of ``M = V B^T``, where V includes O.
    terminal
        The motion of collapsed clusters.
    value_spectrum
        Eigenvalues of V without the zeros that come from its low rank, by decreasing real part.
    interaction_sizes
        Singular values of B.
    symmetry
        ``|M + M^T| / (2 |M|)`` in the Frobenius norm: 1 for symmetric, 0 for antisymmetric M.
    turn
        Degrees by which V turns E out of itself, ``arcsin(|(1 - P) V P| / |V P|)`` in the Frobenius norm, P orthogonal
        on E: 0 when V keeps E, 90 when nothing of ``V E`` is left in E. NaN when V vanishes on E.
    """

    projection: Projection
    terminal: TerminalPhase
    value_spectrum: Complex[np.ndarray, " head"]
    interaction_sizes: Float[np.ndarray, " head"]
    symmetry: float
    turn: float

    def times(self, inverse_temperature: float) -> PredictedTimes:
        """Return the predicted times at one inverse temperature."""
        return predicted_times(inverse_temperature, self.projection, self.terminal)

    def rows(self, inverse_temperature: float) -> list[dict[str, Any]]:
        """Return one row for each quantity of the theory, as JSON values."""
        projection = self.projection
        quantities: dict[str, Any] = {
            "eigenvalues of V B^T": _listed(projection.eigenvalues),
            "eigenvalues of V": _listed(self.value_spectrum),
            "singular values of B": ", ".join(f"{value:.4g}" for value in self.interaction_sizes[:6]) + ", …",
            "symmetric share of V B^T": self.symmetry,
            "projection": f"{projection.status}: {projection.reason}",
            "dimension of E": projection.dimension,
            "gap": projection.gap,
            "contraction rate c": projection.rate,
            "angle by which V turns E out of itself, degrees": _finite(self.turn),
            "terminal phase": self.terminal.reason,
        }
        if 1 < inverse_temperature < math.inf:
            times = self.times(inverse_temperature)
            quantities["predicted concentration time"] = _finite(times.concentration)
            quantities["predicted departure"] = _finite(times.departure)
        return [{"quantity": name, "value": value} for name, value in quantities.items()]


def head_theory(
    query: Float[np.ndarray, "head model"],
    key: Float[np.ndarray, "head model"],
    value: Float[np.ndarray, "head model"],
    output: Float[np.ndarray, "model head"],
) -> HeadTheory:
    """Return the theory of a head with ``B = Q^T K`` and value matrix ``O V``.

    ``M = O V K^T Q`` has rank at most that of the head: its nonzero eigenvalues and eigenvectors are those of the small
    matrix ``N = Q O V K^T`` (``M = L Q`` with ``L = O V K^T``, and ``N = Q L``), so a head of 64 in a model of 4,096
    costs as much as a matrix of 64.

    Raises
    ------
    BadInputError
        If the shapes do not fit.
    """
    if not query.shape == key.shape == value.shape == output.T.shape:
        shapes = ", ".join(str(matrix.shape) for matrix in (query, key, value, output))
        raise BadInputError(f"Q, K, V, O are {shapes}; expected (head, model) three times and (model, head)")
    left = output @ (value @ key.T)
    projection = low_rank_projection(left, query, key)
    values = _sorted(np.linalg.eigvals(value @ output))
    sizes = np.linalg.svd(np.linalg.qr(query.T)[1] @ np.linalg.qr(key.T)[1].T, compute_uv=False)
    # |M|_F^2 = <L^T L, Q Q^T>, <M, M^T> = tr(N N): no matrix of the size of the model.
    norm = float(((left.T @ left) * (query @ query.T)).sum())
    small = query @ left
    symmetry = math.sqrt(max(0.0, (norm + float((small * small.T).sum())) / 2 / norm)) if norm > 0 else 0.0
    turn = _turn(value, output, projection)
    terminal = _terminal(value, output, projection, turn)
    return HeadTheory(
        projection=projection,
        terminal=terminal,
        value_spectrum=values,
        interaction_sizes=sizes,
        symmetry=symmetry,
        turn=turn,
    )


def simulate_head(
    flow: TokenFlow,
    theory: HeadTheory,
    output: Float[np.ndarray, "model head"],
    tokens: Float[np.ndarray, "tokens model"],
    times: Float[np.ndarray, " times"],
    *,
    weights: Float[np.ndarray, " tokens"] | None = None,
    **settings: Any,
) -> MeanFieldRun:
    """Run tokens under a head as :func:`~tokendyn.particles.meanfield.simulate` does, in the smallest dimension.

    ``xdot_i = O (V m_i) - <x_i, O V m_i> x_i`` never leaves the span of the start and of the columns of O. With n
    tokens and a head of h, the run takes n + h dimensions in place of the model's, and is exact.

    Parameters
    ----------
    flow, tokens, times, weights, settings
        See :func:`~tokendyn.particles.meanfield.simulate`; without noise.
    theory
        Theory of the head of the flow.
    output
        O of that head.
    """
    start = sphere_tokens(tokens)
    targets = theory.projection.apply(start)
    if len(start) + output.shape[1] >= len(output) or flow.interaction is None or flow.value is None:
        trajectory = integrate(flow, start, times, weights=weights, **settings)
    else:
        # An orthonormal basis of the invariant span: coordinates in it keep all inner products.
        frame = np.linalg.qr(np.hstack([start.T, output]))[0]
        inner = replace(
            flow,
            query=None,
            key=None,
            interaction=frame.T @ flow.interaction @ frame,
            value=frame.T @ flow.value @ frame,
        )
        inner_trajectory = integrate(inner, start @ frame, times, weights=weights, normalise=True, **settings)
        trajectory = replace(inner_trajectory, states=inner_trajectory.states @ frame.T)
    guard = resolution(flow, start, weights)
    return MeanFieldRun(
        trajectory=trajectory,
        flow=flow,
        projection=theory.projection,
        terminal=theory.terminal,
        resolution=guard,
        targets=targets,
    )


def low_rank_projection(
    left: Float[np.ndarray, "model head"], right: Float[np.ndarray, "head model"], key: Float[np.ndarray, "head model"]
) -> Projection:
    """Return the projection of ``M = left @ right``, where ``B^T = key^T right``.

    When the dominant eigenvalue of the small matrix ``right @ left`` has a positive real part, M's dominant eigenspace
    is the image of the small one's under ``left``. Otherwise E is the kernel of M.

    Raises
    ------
    BadInputError
        As :func:`tokendyn.particles.meanfield.project`.
    """
    dim, rank = left.shape
    small = right @ left
    size = float(np.linalg.norm(left, 2) * np.linalg.norm(right, 2))
    if dim <= 2 * rank:
        return _with_rate(project(left @ right, np.eye(dim)), right, key)
    inner = project(small, np.eye(rank))
    top = float(inner.eigenvalues[0].real)
    padded = _sorted(np.concatenate([inner.eigenvalues, np.zeros(dim - rank)]))
    if top <= ZERO * size:
        return _kernel(left, right, key, padded)
    if inner.status == "defective":
        return _with_rate(project(left @ right, np.eye(dim)), right, key)
    # With Z = inner.basis and W = inner.left, N acts on its dominant space as the block W N Z; the projector of M is
    # L Z (W N Z)^-1 W R. A QR decomposition of L Z makes its basis orthonormal.
    block = inner.left @ small @ inner.basis
    image = left @ inner.basis
    basis, triangle = np.linalg.qr(image)
    lifted = triangle @ np.linalg.solve(block, inner.left @ right)
    rest = inner.eigenvalues[inner.dimension :].real
    beyond = max(0.0, float(rest.max())) if rest.size else 0.0
    projection = replace(
        inner, status="eigenspace" if inner.status == "identity" else inner.status,
        reason=inner.reason.replace("nothing concentrates", "all others are zero"), eigenvalues=padded,
        projector=basis @ lifted, basis=basis, left=lifted,
        gap=top - beyond if inner.status in ("eigenspace", "tied", "rotating", "identity") else 0.0,
    )  # fmt: skip
    return _with_rate(projection, right, key)


def _kernel(left: np.ndarray, right: np.ndarray, key: np.ndarray, eigenvalues: np.ndarray) -> Projection:
    """Return the projection on the kernel of M: no eigenvalue has a positive real part."""
    dim, rank = left.shape
    small = right @ left
    condition = float(np.linalg.cond(small)) if small.any() else math.inf
    if not condition < 1 / ZERO:
        return _with_rate(project(left @ right, np.eye(dim)), right, key)
    projector = np.eye(dim) - left @ np.linalg.solve(small, right)
    basis = np.linalg.qr(right.T, mode="complete")[0][:, rank:]
    gap = -float(eigenvalues[eigenvalues.real < 0].real.max())
    reason = f"no eigenvalue has a positive real part: E is the kernel of V B^T, of dimension {dim - rank}"
    projection = Projection(
        status="eigenspace",
        reason=reason,
        eigenvalues=eigenvalues,
        projector=projector,
        basis=basis,
        left=basis.T @ projector,
        gap=gap,
        rate=0.0,
    )
    return _with_rate(projection, right, key)


def _with_rate(projection: Projection, right: np.ndarray, key: np.ndarray) -> Projection:
    """Return a projection with the rate ``gap / max |B^T x|`` over unit x in E."""
    queries = key.T @ (right @ projection.basis)
    widest = float(np.linalg.norm(queries, 2))
    scale = float(np.linalg.norm(key, 2) * np.linalg.norm(right, 2))
    return replace(projection, rate=projection.gap / widest if widest > ZERO * scale else 0.0)


def _turn(value: np.ndarray, output: np.ndarray, projection: Projection) -> float:
    """Return the degrees by which V turns E out of itself."""
    basis = projection.basis
    moved = output @ (value @ basis)
    inside = basis.T @ moved
    size, inside_size = float(np.linalg.norm(moved)), float(np.linalg.norm(inside))
    scale = float(np.linalg.norm(output, 2) * np.linalg.norm(value, 2))
    if size <= ZERO * scale:
        return math.nan
    return math.degrees(math.atan2(float(np.linalg.norm(moved - basis @ inside)), inside_size))


def _terminal(value: np.ndarray, output: np.ndarray, projection: Projection, turn: float) -> TerminalPhase:
    """Return the motion of collapsed clusters; the model's full matrix is formed only when V maps E into itself."""
    basis = projection.basis
    moved = output @ (value @ basis)
    outside = float(np.linalg.norm(moved - basis @ (basis.T @ moved), 2))
    scale = float(np.linalg.norm(output, 2) * np.linalg.norm(value, 2))
    if projection.dimension < len(basis) and outside > 1e-9 * scale:
        reason = f"V turns E by {turn:.3g} degrees out of itself: clusters leave E at speed up to {outside:.3g}"
        return TerminalPhase(exists=True, invariant=False, rate=math.nan, reason=reason)
    return terminal_phase(output @ value, projection)


def _sorted(values: np.ndarray) -> np.ndarray:
    return np.asarray(values[np.argsort(-values.real, kind="stable")], dtype=np.complex128)


def _listed(values: np.ndarray) -> str:
    some = ", ".join(
        f"{value.real:.4g}{value.imag:+.3g}j" if value.imag else f"{value.real:.4g}" for value in values[:8]
    )
    return some + (f", … ({len(values)})" if len(values) > 8 else "")


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
