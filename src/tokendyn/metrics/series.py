"""How good a forecast is: errors, valid prediction times, invariant statistics, calibration of ensembles.

A series is ``(time, features)``, several forecasts from several starts ``(starts, time, features)``, an ensemble
``(members, time, features)``. Errors are in units of ``scale``, one number for each feature: the standard deviation
of the training series where there is one, else that of the truth.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tokendyn.errors import BadInputError
from tokendyn.results import Bars, Numbers


@dataclass(frozen=True)
class ValidTimes(Numbers, kind="valid-times"):
    """Valid prediction times of forecasts from several starts.

    Attributes
    ----------
    times
        One for each start, in Lyapunov times (or in units of time when no exponent was given).
    median, lower, upper
        Quartiles.
    censored
        Starts whose forecast was still valid at the end of the horizon: their time is the horizon.
    """

    times: Float[np.ndarray, " starts"]
    median: float
    lower: float
    upper: float
    censored: int

    def describe(self) -> list[str]:
        """Return the quartiles in a sentence."""
        still = f"; {self.censored} were still valid at the end" if self.censored else ""
        return [
            f"valid prediction time {self.median:.4g} (quartiles {self.lower:.4g} to {self.upper:.4g}) over "
            f"{len(self.times)} starts{still}"
        ]

    def picture(self) -> Bars:
        """Return the time of each start."""
        return Bars([f"start {number}" for number in range(len(self.times))], self.times.tolist(), "valid time")


@dataclass(frozen=True)
class Exponent(Numbers, kind="exponent"):
    """A Lyapunov exponent per unit of time, with the standard error of its mean over ten blocks of the run."""

    value: float
    standard_error: float

    def describe(self) -> list[str]:
        """Return the exponent in a sentence."""
        return [
            f"largest Lyapunov exponent {self.value:.4g} per unit of time, standard error {self.standard_error:.2g}"
        ]


@dataclass(frozen=True)
class Calibration(Numbers, kind="calibration"):
    """How well an ensemble estimates its own error; see :func:`ensemble_calibration`."""

    crps: float
    coverage: dict[float, float]
    spread: float
    error: float
    spread_error_correlation: float

    def describe(self) -> list[str]:
        """Return the scores, the coverage, and the spread beside the error, in sentences."""
        coverage = ", ".join(
            f"{share:.0%} of the truth within the {level:.0%} range" for level, share in self.coverage.items()
        )
        return [
            f"continuous ranked probability score {self.crps:.4g}; {coverage}",
            f"spread {self.spread:.4g} against an error of {self.error:.4g}, correlated by "
            f"{self.spread_error_correlation:.2f}",
        ]


def normalised_error(
    forecast: Float[np.ndarray, "*starts time features"],
    truth: Float[np.ndarray, "*starts time features"],
    scale: Float[np.ndarray, " features"] | None = None,
) -> Float[np.ndarray, "*starts time"]:
    """Return ``e(t) = sqrt(mean_c ((f_c(t) - x_c(t)) / s_c)^2)``; where the forecast is not finite it is infinite.

    Raises
    ------
    BadInputError
        If the shapes differ, or a feature has no spread.
    """
    forecast, truth = np.asarray(forecast, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if forecast.shape != truth.shape:
        raise BadInputError(f"forecast has shape {forecast.shape}, truth {truth.shape}; expected the same")
    if truth.ndim < 2 or not truth.size:
        raise BadInputError(
            f"got shape {truth.shape}, expected (time, features); one feature is given as series[:, None]"
        )
    if scale is None:
        scale = truth.reshape(-1, truth.shape[-1]).std(axis=0)
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise BadInputError("a feature has no spread; leave it out, or give its scale")
    with np.errstate(over="ignore", invalid="ignore"):
        errors = np.sqrt((((forecast - truth) / scale) ** 2).mean(axis=-1))
    return np.where(np.isnan(errors), np.inf, errors)


def nrmse(
    forecast: Float[np.ndarray, "*starts time features"],
    truth: Float[np.ndarray, "*starts time features"],
    scale: Float[np.ndarray, " features"] | None = None,
) -> float:
    """Return ``sqrt(mean_t e(t)^2)``, the root mean square over times, features and starts of the error in scales.

    Raises
    ------
    BadInputError
        As :func:`normalised_error`.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.metrics import nrmse
    >>> truth = np.array([[0.0], [2.0], [0.0], [2.0]])
    >>> nrmse(truth + 0.5, truth)
    0.5
    """
    with np.errstate(over="ignore"):
        return float(np.sqrt((normalised_error(forecast, truth, scale) ** 2).mean()))


def valid_prediction_times(
    forecasts: Float[np.ndarray, "starts time features"],
    truths: Float[np.ndarray, "starts time features"],
    dt: float,
    exponent: float = 1.0,
    threshold: float = 0.4,
    scale: Float[np.ndarray, " features"] | None = None,
) -> ValidTimes:
    """Return for each start the time until ``e(t) > threshold`` for the first time, in units of ``1 / exponent``.

    Row k of a forecast is ``k + 1`` steps after its start, so a forecast whose row k is the first beyond the
    threshold was valid for ``k dt``. Norm as in Vlachas et al., Neural Networks 126 (2020), equation 27, with the
    scale of each feature.

    Raises
    ------
    BadInputError
        As :func:`normalised_error`, or if threshold, step or exponent are not positive.
    """
    if min(dt, exponent, threshold) <= 0:
        raise BadInputError(f"dt {dt}, exponent {exponent}, threshold {threshold}; expected numbers above 0")
    if np.ndim(forecasts) != 3:
        raise BadInputError(
            f"forecasts have shape {np.shape(forecasts)}, expected (starts, time, features); one forecast is given as "
            "forecast[None]"
        )
    beyond = normalised_error(forecasts, truths, scale) > threshold
    broken = beyond.any(axis=1)
    rows = np.where(broken, beyond.argmax(axis=1), beyond.shape[1])
    times = rows * dt * exponent
    lower, median, upper = np.quantile(times, (0.25, 0.5, 0.75))
    return ValidTimes(
        times=times, median=float(median), lower=float(lower), upper=float(upper), censored=int((~broken).sum())
    )


def histogram_distance(
    series: Float[np.ndarray, "times features"], truth: Float[np.ndarray, "points features"], bins: int = 50
) -> float:
    """Return the total variation ``1/2 sum_b |p_b - q_b|`` of the histograms, the largest over the features.

    Bins are equal and span ``truth``; values outside fall into two additional bins.

    Raises
    ------
    BadInputError
        If the features differ or numbers are not finite.
    """
    if series.shape[1] != truth.shape[1]:
        raise BadInputError(f"{series.shape[1]} and {truth.shape[1]} features; expected the same")
    if not (np.isfinite(series).all() and np.isfinite(truth).all()):
        raise BadInputError("a series is not finite; compare the finite part of a rollout")
    distances = []
    for a, b in zip(series.T, truth.T, strict=True):
        edges = np.concatenate([[-np.inf], np.linspace(b.min(), b.max(), bins + 1), [np.inf]])
        edges[-2] = np.nextafter(b.max(), np.inf)  # the largest truth is in the last bin, not outside
        p, q = np.histogram(a, edges)[0] / len(a), np.histogram(b, edges)[0] / len(b)
        distances.append(0.5 * np.abs(p - q).sum())
    return float(max(distances))


def power_spectrum(
    series: Float[np.ndarray, "time features"], dt: float, segment: int = 1024
) -> tuple[Float[np.ndarray, " frequencies"], Float[np.ndarray, "frequencies features"]]:
    """Return frequencies and the power spectral density of each feature (Welch, Hann window, half overlap).

    Units are the feature's squared per frequency; with ``dt`` in seconds frequencies are in Hz.
    """
    from scipy.signal import welch

    frequencies, density = welch(series, fs=1.0 / dt, nperseg=min(segment, len(series)), axis=0)
    return frequencies, density


def spectral_distance(
    series: Float[np.ndarray, "times features"],
    truth: Float[np.ndarray, "points features"],
    dt: float,
    segment: int = 1024,
) -> float:
    """Return the Hellinger distance of the normalised power spectra, 0 to 1, averaged over the features.

    ``H = sqrt(1 - sum_f sqrt(p_f q_f))`` with p and q the shares of power at each frequency, zero excluded; the
    measure of Mikhaeil, Monfared, Durstewitz, NeurIPS 2022, without their smoothing.

    Raises
    ------
    BadInputError
        If the features differ.
    """
    if series.shape[1] != truth.shape[1]:
        raise BadInputError(f"{series.shape[1]} and {truth.shape[1]} features; expected the same")
    segment = min(segment, len(series), len(truth))
    p, q = (power_spectrum(signal, dt, segment)[1][1:] for signal in (series, truth))
    p, q = p / p.sum(axis=0), q / q.sum(axis=0)
    return float(np.sqrt(np.maximum(1 - np.sqrt(p * q).sum(axis=0), 0)).mean())


def dominant_frequency(signal: Float[np.ndarray, " time"], dt: float) -> float:
    """Return the frequency of the highest peak of the spectrum, refined between bins by a parabola of its logarithm.

    Hann window over the whole signal; for one sinusoid the error is below a hundredth of ``1 / (n dt)``.
    """
    centred = (signal - signal.mean()) * np.hanning(len(signal))
    power = np.abs(np.fft.rfft(centred, 4 * len(signal))) ** 2
    peak = int(power[1:-1].argmax()) + 1
    a, b, c = np.log(power[peak - 1 : peak + 2] + np.finfo(float).tiny)
    shift = 0.5 * (a - c) / (a - 2 * b + c) if a - 2 * b + c else 0.0
    return float((peak + shift) / (4 * len(signal) * dt))


def largest_exponent(
    advance: Callable[[np.ndarray], np.ndarray],
    start: Float[np.ndarray, " *state"],
    dt: float,
    steps: int,
    discard: int = 0,
    separation: float = 1e-8,
    seed: int = 0,
) -> Exponent:
    """Return the largest Lyapunov exponent of a map by following two trajectories.

    After each call the second is put back at ``separation`` from the first along the line that joins them;
    the exponent is the mean of ``log(distance / separation) / dt``. Source: Benettin, Galgani, Giorgilli,
    Strelcyn, Meccanica 15 (1980), part 2.

    Parameters
    ----------
    advance
        Returns the state ``dt`` later: one step of a system, or of a forecaster on its window.
    start
        A state on the attractor.
    dt
        Time of one call.
    steps
        Number of calls that are averaged.
    discard
        Number of calls before them, in which the separation turns into the fastest direction.
    separation
        Euclidean distance, small compared with the attractor.
    seed
        Seed of the first direction.

    Raises
    ------
    BadInputError
        If the map returns numbers that are not finite, or there are fewer than ten steps.
    """
    if steps < 10:
        raise BadInputError(f"{steps} steps; expected at least 10, and many more for a converged mean")
    state = np.array(start, dtype=np.float64)
    direction = np.random.default_rng(seed).normal(size=state.shape)
    other = state + separation * direction / np.linalg.norm(direction)
    rates = np.empty(steps)
    for n in range(-discard, steps):
        state, other = advance(state), advance(other)
        gap = other - state
        distance = float(np.linalg.norm(gap))
        if not (np.isfinite(distance) and distance > 0):
            raise BadInputError(f"the two trajectories lie {distance} apart after {n + discard + 1} steps")
        other = state + separation / distance * gap
        if n >= 0:
            rates[n] = np.log(distance / separation) / dt
    blocks = np.array([part.mean() for part in np.array_split(rates, 10)])
    return Exponent(float(rates.mean()), float(blocks.std(ddof=1) / np.sqrt(10)))


def exponent_of_series(
    series: Float[np.ndarray, "time features"], dt: float, horizon: int, apart: int, references: int = 2_000
) -> Float[np.ndarray, " horizon"]:
    """Return the mean logarithm of the distance of neighbours after 0, 1, ..., ``horizon - 1`` steps.

    Its slope over the straight part is the largest exponent of the system of the series. Source: Rosenstein,
    Collins, De Luca, Physica D 65 (1993), equation 12. Features are states or delays of them.

    Parameters
    ----------
    series, dt
        The series and its time step.
    horizon
        Number of steps for which neighbours are followed.
    apart
        Smallest distance in time of two neighbours, in steps: about the mean period.
    references
        Number of points whose nearest neighbour is followed.

    Raises
    ------
    BadInputError
        If the series is too short.
    """
    from scipy.spatial import cKDTree

    last = len(series) - horizon
    if last < 10 * max(apart, 1):
        raise BadInputError(
            f"{len(series)} snapshots are too few for a horizon of {horizon} and neighbours {apart} apart"
        )
    tree = cKDTree(series[:last])
    chosen = np.unique(np.linspace(0, last - 1, min(references, last)).astype(np.int64))
    neighbours = np.asarray(tree.query(series[chosen], k=min(2 * apart + 2, last))[1])
    far = np.abs(neighbours - chosen[:, None]) >= apart
    usable = far.any(axis=1)
    first, second = chosen[usable], neighbours[usable, far[usable].argmax(axis=1)]
    steps = np.arange(horizon)
    gaps = np.linalg.norm(series[first[:, None] + steps] - series[second[:, None] + steps], axis=-1)
    usable = (gaps > 0).all(axis=1)
    return np.log(gaps[usable]).mean(axis=0)


def ensemble_calibration(
    ensemble: Float[np.ndarray, "members time features"],
    truth: Float[np.ndarray, "time features"],
    levels: tuple[float, ...] = (0.5, 0.9),
    scale: Float[np.ndarray, " features"] | None = None,
) -> Calibration:
    """Return how well the spread of an ensemble estimates its error.

    ``crps`` is the continuous ranked probability score ``mean |m - x| - 1/2 mean |m - m'|`` over members m, m'
    (Gneiting and Raftery, J. Am. Stat. Assoc. 102 (2007), equation 21), in scales. ``coverage[p]`` is the share of
    truths inside the central interval of level p of the members' quantiles (those of rank ``q (M + 1)``, for which a
    calibrated ensemble covers p; of M members the widest interval has level ``(M - 1)/(M + 1)``). ``spread`` is the
    root mean variance times ``(M + 1)/M`` and ``error`` the root mean squared error of the ensemble mean, which are
    equal for a calibrated ensemble (Fortin et al., J. Hydrometeorol. 15 (2014), equation 15);
    ``spread_error_correlation`` is the rank correlation of the two over time.

    Raises
    ------
    BadInputError
        If there are fewer than two members, or shapes do not fit.
    """
    ensemble, truth = np.asarray(ensemble, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if ensemble.ndim != 3 or len(ensemble) < 2 or ensemble.shape[1:] != truth.shape:
        raise BadInputError(
            f"ensemble {ensemble.shape}, truth {truth.shape}; expected two members or more, (members, time, features), "
            "of its shape"
        )
    from scipy.stats import spearmanr

    scale = truth.std(axis=0) if scale is None else scale
    members, target = np.sort(ensemble / scale, axis=0), truth / scale
    count = len(members)
    weights = (2 * np.arange(1, count + 1) - count - 1)[:, None, None]
    pairs = 2 * (weights * members).sum(axis=0) / count**2
    crps = float((np.abs(members - target).mean(axis=0) - 0.5 * pairs).mean())
    coverage = {}
    for level in levels:
        low, high = np.quantile(members, ((1 - level) / 2, (1 + level) / 2), axis=0, method="weibull")
        coverage[level] = float(((low <= target) & (target <= high)).mean())
    variance = members.var(axis=0, ddof=1).mean(axis=-1) * (count + 1) / count
    squared = ((members.mean(axis=0) - target) ** 2).mean(axis=-1)
    correlation = float(spearmanr(variance, squared).statistic) if np.ptp(variance) and np.ptp(squared) else 0.0
    return Calibration(
        crps=crps,
        coverage=coverage,
        spread=float(np.sqrt(variance.mean())),
        error=float(np.sqrt(squared.mean())),
        spread_error_correlation=correlation,
    )
