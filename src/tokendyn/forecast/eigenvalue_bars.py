"""Error bars of the eigenvalues of TD-DMD: the fit is repeated on equally plausible series."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
import scipy.optimize
from jaxtyping import Complex, Float

from tokendyn.errors import BadInputError
from tokendyn.forecast.checks import check_count
from tokendyn.forecast.embedding import delay_windows
from tokendyn.forecast.intervals import check_level
from tokendyn.results import Curves, Result
from tokendyn.words import counted

if TYPE_CHECKING:
    import pandas as pd

    from tokendyn.forecast.spectra import Spectrum

Noise = Literal["measurement", "process"]

#: Number of projections onto few singular vectors and onto Hankel matrices: more change the series by less than its
#: noise.
_ROUNDS = 5
#: Largest number of eigenvalues with bars.
_MOST = 12
#: Each eigenvalue is matched among this multiple of the number of modes of a repeated fit, those that contribute most.
_CANDIDATES = 3


@dataclass(frozen=True)
class EigenvalueIntervals(Result, kind="eigenvalue-intervals"):
    """Eigenvalues of TD-DMD with error bars, the largest contribution first.

    Attributes
    ----------
    eigenvalues
        Eigenvalues of the fitted model for one time step.
    real, imaginary
        Lower and upper ends for the real and the imaginary part of each.
    frequencies, growth_rates
        Lower and upper ends, in cycles and in 1 per unit of time.
    level
        Probability with which each interval by itself is meant to contain the true value.
    draws
        Number of repeated fits.
    noise
        Kind of noise in the repeated fits: see :meth:`tokendyn.forecast.TDDMD.eigenvalue_intervals`.
    dt
        Time of one step.
    """

    eigenvalues: Complex[np.ndarray, " modes"]
    real: Float[np.ndarray, "modes 2"]
    imaginary: Float[np.ndarray, "modes 2"]
    frequencies: Float[np.ndarray, "modes 2"]
    growth_rates: Float[np.ndarray, "modes 2"]
    level: float
    draws: int
    noise: Noise
    dt: float

    @property
    def status(self) -> str:
        """``"completed"``."""
        return "completed"

    def describe(self) -> list[str]:
        """Return frequency and growth rate of each oscillation with their intervals."""
        lines = [f"{100 * self.level:g} % intervals from {counted(self.draws, 'repeated fit')} ({self.noise} noise)"]
        for frequency, growth, *ends in self._rows():
            if frequency >= 0:
                bars = [f"[{low:.4g}, {high:.4g}]" for low, high in ends[:2]]
                lines.append(f"frequency {frequency:.4g} {bars[0]}, growth rate {growth:.3g} {bars[1]}")
        return lines

    def table(self) -> "pd.DataFrame":
        """Return one row for each eigenvalue: the numbers, and the ends of their intervals."""
        import pandas as pd

        names = ("frequency", "growth_rate", "real", "imaginary")
        rows = []
        for frequency, growth, *ends in self._rows():
            values = dict(zip(names[:2], (frequency, growth), strict=True))
            bars = {f"{name}_{end}": x for name, pair in zip(names, ends, strict=True) for end, x in _named(pair)}
            rows.append(values | bars)
        parts = {"real": self.eigenvalues.real, "imaginary": self.eigenvalues.imag}
        return pd.DataFrame(rows).assign(**parts)

    def picture(self) -> Curves:
        """Return the growth rates with their intervals over the frequencies, without the negative ones."""
        rates = np.array([(frequency, growth, *ends[1]) for frequency, growth, *ends in self._rows() if frequency >= 0])
        rates = rates[np.argsort(rates[:, 0])]
        bands = {"growth rate": (rates[:, 2], rates[:, 3])}
        return Curves(rates[:, 0], {"growth rate": rates[:, 1]}, "frequency", "growth rate", bands=bands)

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield frequency, growth rate, and the intervals of frequency, growth rate, real and imaginary part."""
        frequency, growth = _rates(self.eigenvalues, self.dt)
        return zip(
            frequency, growth, self.frequencies, self.growth_rates, self.real, self.imaginary, strict=True
        )  # fmt: skip


@runtime_checkable
class LinearMap(Protocol):
    """The interface of a fitted TD-DMD for repeated fits; :class:`tokendyn.forecast.TDDMD` describes the names."""

    rank: int | float | str | None
    stride: int
    dt_: float
    n_inputs_: int
    rank_: int
    window_length_: int
    coefficients_: Float[np.ndarray, "delays features features"]
    intercept_: Float[np.ndarray, " features"]

    def fit(self, series: Any, *, dt: float) -> Any:
        """Learn from a series."""

    def set_params(self, **parameters: Any) -> Any:
        """Change parameters."""

    def spectrum(self, window: Any = None) -> "Spectrum":
        """Return eigenvalues and amplitudes."""

    def _one_step(
        self, series: Float[np.ndarray, "time features"], inputs: Float[np.ndarray, "time inputs"]
    ) -> Float[np.ndarray, "steps features"]:
        """Return the predictions of the snapshots after the first window."""


def eigenvalue_intervals(
    model: LinearMap,
    series: Float[np.ndarray, "time features"],
    *,
    level: float,
    draws: int,
    modes: int | None,
    noise: Noise,
    random_state: int,
) -> EigenvalueIntervals:
    """Return the eigenvalues of a model with error bars; see :meth:`tokendyn.forecast.TDDMD.eigenvalue_intervals`."""
    check_level(level)
    problems = check_count("draws", draws, 10) + check_count("random_state", random_state, 0)
    problems += [] if modes is None else check_count("modes", modes)
    if noise not in ("measurement", "process"):
        problems.append(f"noise is {noise!r}, expected measurement or process")
    if model.n_inputs_:
        problems.append("the model has inputs: their eigenvalues have no bars; fit it without inputs")
    if problems:
        raise BadInputError.all_of("eigenvalue_intervals", problems)
    rng = np.random.default_rng(random_state)
    span = model.window_length_
    rank = signal_rank(series, span) if model.rank is None or noise == "process" else model.rank_
    count = min(modes or rank, _MOST, len(model.spectrum().eigenvalues))
    own = model.spectrum(series[:span]).eigenvalues[:count]
    if noise == "measurement":
        # One more: a removed mean is a mode of its own if the signal does not oscillate around it.
        kept = min(rank + (model.rank is not None), span * series.shape[1])
        signal = denoised(series, span, kept)
        # The eigenvalues of this signal come from a fit of its own rank; full rank would fit the remaining noise.
        reference = _matched(own, _refitted(model, signal, rank).spectrum(signal[:span]))
        rest = _whole_noise(signal, series - signal, span, kept, rng)
        drawn = _measured(signal, rest, draws, rng)
    else:
        reference, drawn = own, _driven(model, series, draws, rng)
    found = np.stack([_matched(reference, _refitted(model, one).spectrum(one[:span])) for one in drawn])
    tails = ((1 - level) / 2, (1 + level) / 2)
    rates = [_rates(one, model.dt_) for one in (own, reference, found)]
    return EigenvalueIntervals(
        eigenvalues=own,
        real=_basic(own.real, reference.real, found.real, tails),
        imaginary=_basic(own.imag, reference.imag, found.imag, tails),
        frequencies=_basic(rates[0][0], rates[1][0], rates[2][0], tails),
        growth_rates=_basic(rates[0][1], rates[1][1], rates[2][1], tails),
        level=float(level), draws=int(draws), noise=noise, dt=model.dt_,
    )  # fmt: skip


def signal_rank(series: Float[np.ndarray, "time features"], span: int) -> int:
    """Return the number of singular values of the centred Hankel matrix above noise of unknown size, at least 1.

    The threshold is ``(0.56 c^3 - 0.95 c^2 + 1.82 c + 1.43)`` times the median, with the aspect ratio c (M. Gavish, D.
    L. Donoho, IEEE Trans. Inf. Theory 60, 5040 (2014)), and the level of rounding.
    """
    values = np.linalg.svd(_hankel(series, span), compute_uv=False)
    rows, columns = len(series) - span + 1, span * series.shape[1]
    aspect = min(rows, columns) / max(rows, columns)
    threshold = (0.56 * aspect**3 - 0.95 * aspect**2 + 1.82 * aspect + 1.43) * np.median(values)
    return max(int((values > max(threshold, 1e-12 * values[0])).sum()), 1)


def denoised(series: Float[np.ndarray, "time features"], span: int, rank: int) -> Float[np.ndarray, "time features"]:
    """Return a series near the given one whose Hankel matrix has approximately the given rank.

    Projections onto the rank and onto Hankel matrices in turn (J. A. Cadzow, IEEE Trans. ASSP 36, 49 (1988)).
    """
    centre, values = series.mean(axis=0), series - series.mean(axis=0)
    for _ in range(_ROUNDS):
        left, sizes, right = np.linalg.svd(_hankel(values, span, centred=True), full_matrices=False)
        windows = ((left[:, :rank] * sizes[:rank]) @ right[:rank]).reshape(-1, span, values.shape[1])
        sums, counts = np.zeros_like(values), np.zeros((len(values), 1))
        for delay in range(span):
            sums[delay : delay + len(windows)] += windows[:, delay]
            counts[delay : delay + len(windows)] += 1
        values = sums / counts
    return values + centre


def _hankel(series: np.ndarray, span: int, *, centred: bool = False) -> np.ndarray:
    """Return every window of consecutive snapshots as a row."""
    values = series if centred else series - series.mean(axis=0)
    windows = delay_windows(values, span, 1)
    return windows.reshape(len(windows), -1)


def _whole_noise(signal: np.ndarray, rest: np.ndarray, span: int, rank: int, rng: np.random.Generator) -> np.ndarray:
    """Return the estimated noise scaled to its true size: the projection keeps a share of it in the signal.

    The share is measured with noise of the same size, added to the signal and removed by projection.
    """
    (noisy,) = _measured(signal, rest, 1, rng)
    size = np.sqrt(((noisy - signal) ** 2).mean(axis=0))
    left = np.sqrt(((noisy - denoised(noisy, span, rank)) ** 2).mean(axis=0))
    return rest * np.maximum(np.divide(size, left, out=np.ones_like(size), where=left > 0), 1.0)


def _measured(signal: np.ndarray, rest: np.ndarray, draws: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the signal plus the rows of the estimated noise in random order, with replacement."""
    rest = rest - rest.mean(axis=0)
    for _ in range(draws):
        yield signal + rest[rng.integers(len(rest), size=len(rest))]


def _driven(model: LinearMap, series: np.ndarray, draws: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield orbits of the fitted recursion driven by its one-step residuals in random order."""
    span, none = model.window_length_, np.empty((len(series), 0))
    innovations = series[span:] - model._one_step(series, none)
    innovations = innovations - innovations.mean(axis=0)
    for _ in range(draws):
        orbit = series.copy()
        pushes = innovations[rng.integers(len(innovations), size=len(innovations))]
        for step, push in enumerate(pushes):
            window = orbit[step : step + span : model.stride]
            orbit[step + span] = np.einsum("jab,jb->a", model.coefficients_, window) + model.intercept_ + push
        yield orbit


def _refitted(model: LinearMap, series: np.ndarray, rank: int | None = None) -> LinearMap:
    """Return a model with the same parameters; a rank given as a share of the energy stays the resulting count.

    ``rank`` replaces it.
    """
    from sklearn.base import clone

    again: LinearMap = clone(model)
    if rank is not None or model.rank is not None:
        again.set_params(rank=rank or model.rank_)
    return again.fit(series, dt=model.dt_)


def _matched(wanted: Complex[np.ndarray, " modes"], spectrum: "Spectrum") -> Complex[np.ndarray, " modes"]:
    """Return the eigenvalue of a spectrum that matches each wanted eigenvalue.

    The assignment minimises the total distance, among the eigenvalues that contribute most.
    """
    candidates = spectrum.eigenvalues[: max(_CANDIDATES * len(wanted), len(wanted))]
    distances = np.abs(wanted[:, None] - candidates)
    if len(candidates) < len(wanted):
        return candidates[distances.argmin(axis=1)]
    return candidates[scipy.optimize.linear_sum_assignment(distances)[1]]


def _basic(
    own: np.ndarray, reference: np.ndarray, found: np.ndarray, tails: tuple[float, float]
) -> Float[np.ndarray, "modes 2"]:
    """Return the basic bootstrap interval: the bias of the repeated fits is subtracted, and not counted as spread."""
    # Of n draws the k-th is the k / (n + 1) quantile: few draws must not make the interval shorter.
    low, high = np.quantile(found - reference, tails, axis=0, method="weibull")
    return np.stack([own - high, own - low], axis=1)


def _rates(eigenvalues: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """Return frequencies and growth rates."""
    with np.errstate(divide="ignore"):
        return np.angle(eigenvalues) / (2 * np.pi * dt), np.log(np.abs(eigenvalues)) / dt


def _named(pair: np.ndarray) -> Iterator[tuple[str, float]]:
    return zip(("lower", "upper"), pair.tolist(), strict=True)
