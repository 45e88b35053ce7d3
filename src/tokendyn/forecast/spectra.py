"""The spectrum of a linear operator of snapshots: eigenvalues, frequencies, growth, modes."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.linalg
from jaxtyping import Complex, Float, Int

from tokendyn.errors import BadInputError
from tokendyn.results import Points, Result
from tokendyn.words import counted

if TYPE_CHECKING:
    import pandas as pd

Matrix = Float[np.ndarray, "state state"]


@dataclass(frozen=True)
class Spectrum(Result, kind="spectrum"):
    """Eigenvalues of a linear recursion, largest contribution first.

    ``x(k) - rest = sum_i modes[:, i] eigenvalues[i]^k amplitudes[i]``, where k counts from the last snapshot of the
    window of the amplitudes.

    Attributes
    ----------
    eigenvalues
        Eigenvalues for one time step.
    modes
        The newest snapshot's block of each eigenvector, (features, modes); eigenvectors have norm 1.
    amplitudes
        Coefficient of each eigenvector in that window.
    rest
        The fixed point of the recursion.
    dt
        Time of one step.
    hint
        Suggested change of the model, in words; empty if there is none.
    """

    eigenvalues: Complex[np.ndarray, " modes"]
    modes: Complex[np.ndarray, "features modes"]
    amplitudes: Complex[np.ndarray, " modes"]
    rest: Float[np.ndarray, " features"]
    dt: float
    hint: str = ""

    @property
    def frequencies(self) -> Float[np.ndarray, " modes"]:
        """Frequency of each mode in Hz (cycles per unit of dt), negative for the conjugate partner."""
        return np.angle(self.eigenvalues) / (2 * np.pi * self.dt)

    @property
    def growth_rates(self) -> Float[np.ndarray, " modes"]:
        """Growth of each mode in 1/s, ``log |eigenvalue| / dt``; that of a zero eigenvalue is minus infinity."""
        with np.errstate(divide="ignore"):
            return np.log(np.abs(self.eigenvalues)) / self.dt

    @property
    def contributions(self) -> Float[np.ndarray, " modes"]:
        """Size of each mode in the newest snapshot of the window: ``|amplitude|`` times the norm of its mode."""
        return np.abs(self.amplitudes) * np.linalg.norm(self.modes, axis=0)

    def at(self, steps: Int[np.ndarray, " steps"]) -> Float[np.ndarray, "steps features"]:
        """Return the sum of the modes at steps after the last snapshot of the window; negative steps are before it."""
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # for vanishing modes, before the window
            parts = self.amplitudes[:, None] * self.eigenvalues[:, None] ** steps
            return np.asarray(self.rest + (self.modes @ parts).real.T)

    def select(self, modes: Any) -> "Spectrum":
        """Return the spectrum of some modes, each with its conjugate partner.

        Parameters
        ----------
        modes
            Their indices, or one truth value for each mode: ``spectrum.select(spectrum.growth_rates > -0.1)``.
        """
        places = with_partners(self.eigenvalues, modes)
        return replace(
            self, eigenvalues=self.eigenvalues[places], modes=self.modes[:, places], amplitudes=self.amplitudes[places]
        )

    @property
    def status(self) -> str:
        """``"completed"``."""
        return "completed"

    def summary(self) -> dict[str, Any]:
        """Return the spectrum in numbers."""
        outside = int((np.abs(self.eigenvalues) > 1 + 1e-9).sum())
        return {"status": self.status, "modes": len(self.eigenvalues), "growing": outside, "dt": self.dt}

    def describe(self) -> list[str]:
        """Return the modes of the largest contributions."""
        facts = self.summary()
        lines = [f"{counted(facts['modes'], 'mode')}, {facts['growing']} of them growing"]
        shown = np.flatnonzero(self.frequencies >= 0)[:5]
        lines += [
            f"frequency {self.frequencies[k]:.4g}, growth {self.growth_rates[k]:.3g}, contribution "
            f"{self.contributions[k]:.3g}"
            for k in shown
        ]
        return lines + ([self.hint] if self.hint else [])

    def table(self) -> "pd.DataFrame":
        """Return one row for each mode, the largest contribution first."""
        import pandas as pd

        columns = {
            "frequency": self.frequencies, "growth_rate": self.growth_rates, "contribution": self.contributions,
            "modulus": np.abs(self.eigenvalues), "eigenvalue_real": self.eigenvalues.real,
            "eigenvalue_imaginary": self.eigenvalues.imag,
        }  # fmt: skip
        return pd.DataFrame(columns)

    def picture(self) -> Points:
        """Return the eigenvalues and the unit circle."""
        return Points(self.eigenvalues.real, self.eigenvalues.imag, "real part", "imaginary part", unit_circle=True)


def with_partners(eigenvalues: Complex[np.ndarray, " modes"], modes: Any) -> Int[np.ndarray, " chosen"]:
    """Return the indices of some eigenvalues and of their conjugates.

    Raises
    ------
    BadInputError
        If there are no such modes.
    """
    wanted = np.asarray(modes)
    if wanted.dtype == bool and wanted.shape == eigenvalues.shape:
        wanted = np.flatnonzero(wanted)
    whole = wanted.dtype.kind in "iu" and wanted.ndim == 1
    if not whole or not len(wanted) or wanted.min() < 0 or wanted.max() >= len(eigenvalues):
        raise BadInputError(
            f"modes are {modes!r}; expected places below {len(eigenvalues)}, or a truth value for each mode"
        )
    partners = [int(np.abs(eigenvalues - eigenvalues[place].conj()).argmin()) for place in wanted]
    return np.unique([*wanted.tolist(), *partners]).astype(np.int64)


def companion(
    coefficients: Float[np.ndarray, "delays features features"], stride: int
) -> Float[np.ndarray, "state state"]:
    """Return the block companion matrix of ``x_{k+1} = sum_j A_j x_{k-(m-1-j)s}`` on the whole window.

    Parameters
    ----------
    coefficients
        ``A_j``, the oldest delay first.
    stride
        Steps between the delays.

    Returns
    -------
    C with ``h_{k+1} = C h_k`` for the stacked snapshots ``h_k = (x_{k-(m-1)s}, x_{k-(m-1)s+1}, ..., x_k)``, of
    ``((m - 1) s + 1) features`` rows.
    """
    delays, features, _ = coefficients.shape
    span = (delays - 1) * stride + 1
    matrix = np.eye(span * features, k=features)
    matrix[-features:] = 0.0
    rows = matrix[-features:].reshape(features, span, features)
    rows[:, ::stride] = coefficients.transpose(1, 0, 2)
    return matrix


def stabilised(matrix: Matrix) -> Matrix:
    """Return the matrix with every eigenvalue outside the unit circle moved radially onto it.

    The diagonal blocks of the real Schur form are scaled by 1/|eigenvalue|; unlike a change of eigenvalues between
    eigenvectors this needs no inverse, so it is safe for defective operators. Our own choice.
    """
    form, basis = scipy.linalg.schur(matrix, output="real")
    i, n = 0, len(form)
    while i < n:
        size = 2 if i + 1 < n and form[i + 1, i] != 0.0 else 1
        block = form[i : i + size, i : i + size]
        modulus = np.sqrt(abs(np.linalg.det(block))) if size == 2 else abs(block[0, 0])
        if modulus > 1.0:
            form[i : i + size, i : i + size] = block / modulus
        i += size
    return basis @ form @ basis.T


def spectrum_of(
    matrix: Matrix,
    decoder: Float[np.ndarray, "features state"],
    state: Float[np.ndarray, " state"],
    rest: Float[np.ndarray, " features"],
    dt: float,
) -> Spectrum:
    """Return the spectrum of ``z' = matrix z``, ``x = rest + decoder z``, with the amplitudes in ``state``."""
    eigenvalues, vectors = np.linalg.eig(matrix)
    amplitudes = np.linalg.lstsq(vectors, state.astype(np.complex128), rcond=None)[0]
    modes = decoder @ vectors
    size = np.abs(amplitudes) * np.linalg.norm(modes, axis=0)
    order = np.lexsort((-eigenvalues.imag, -np.round(np.log10(np.maximum(size, 1e-300)), 9)))
    return Spectrum(
        eigenvalues[order].astype(np.complex128),
        modes[:, order].astype(np.complex128),
        amplitudes[order],
        rest,
        dt,
    )
