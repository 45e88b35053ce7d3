"""The constants of the source's bound, fitted to runs over beta.

``W2 <= K (sqrt(log(beta + 1) / beta) e^{Ct} + e^{-ct})``: the bound is of arXiv 2605.10931, its constants are not in
the abstract. Fit, intervals and the comparison of the two powers of beta are ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.optimize import least_squares
from scipy.stats import t as student

from tokendyn.errors import BadInputError
from tokendyn.particles.meanfield.phases import DEPARTED

#: Fewest inverse temperatures of a fit: three constants, and one more.
FEWEST = 4

#: Times of each run that enter the fit, and fits to resampled runs.
_TIMES, _RESAMPLED = 40, 300


@dataclass(frozen=True)
class Estimate:
    """A number with its interval of 95 %."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


@dataclass(frozen=True)
class BoundConstants:
    """The bound as estimated from the runs.

    Attributes
    ----------
    amplitude, growth, rate
        ``K``, ``C``, ``c`` that fit log W2 best; intervals from fits to resampled runs.
    sufficient
        The least K with which the bound holds at every time of every run before its departure, at the fitted C and c.
    exponent
        Slope of log least W2 against log beta; Student's interval.
    logarithm
        q of ``least W2 ~ beta^{-1/2} log(beta + 1)^{q/2}``: 1 for the source's factor, 0 for a pure power.
    betas
        Inverse temperatures of the runs.
    """

    amplitude: Estimate
    growth: Estimate
    rate: Estimate
    sufficient: float
    exponent: Estimate
    logarithm: Estimate
    betas: tuple[float, ...]

    @property
    def prefers(self) -> str:
        """Which power of beta the least distances are compatible with, in words."""
        source, power = (self.logarithm.low <= q <= self.logarithm.high for q in (1.0, 0.0))
        if source and power:
            return "both sqrt(log(beta + 1) / beta) and beta^(-1/2)"
        return "sqrt(log(beta + 1) / beta)" if source else "beta^(-1/2)" if power else "neither of the two"

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each constant: name, value, interval, as JSON values."""
        named = {
            "K": self.amplitude, "C": self.growth, "c": self.rate, "exponent of beta": self.exponent,
            "q of the logarithm": self.logarithm,
        }  # fmt: skip
        rows: list[dict[str, Any]] = [
            {"constant": name, "value": each.value, "low": each.low, "high": each.high} for name, each in named.items()
        ]
        return [*rows, {"constant": "K that suffices", "value": self.sufficient, "low": None, "high": None}]

    def describe(self) -> list[str]:
        """Return constants and comparison in sentences."""
        return [
            f"W2 <= K (sqrt(log(beta + 1) / beta) e^(Ct) + e^(-ct)), {len(self.betas)} inverse temperatures, 95 %:",
            f"K = {self.amplitude}, C = {self.growth}, c = {self.rate}; K = {self.sufficient:.4g} suffices everywhere",
            f"least distance ~ beta^{self.exponent}; compatible with {self.prefers} (q = {self.logarithm})",
        ]

    def latex(self) -> str:
        """Return a LaTeX table of the constants, for a paper."""
        return latex_table(self.rows())


def latex_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows of :meth:`BoundConstants.rows` as a LaTeX ``tabular``."""
    symbols = {
        "K": "$K$", "C": "$C$", "c": "$c$", "exponent of beta": r"$\mathrm{d}\log\min W_2/\mathrm{d}\log\beta$",
        "q of the logarithm": r"$q$ in $\beta^{-1/2}\log(\beta+1)^{q/2}$", "K that suffices": r"$K$ that suffices",
    }  # fmt: skip
    lines = [r"\begin{tabular}{lrl}", r"\hline", r"constant & value & 95\,\% interval \\", r"\hline"]
    for row in rows:
        interval = "--" if row["low"] is None else f"$[{row['low']:.4g},\\ {row['high']:.4g}]$"
        lines.append(f"{symbols[row['constant']]} & ${row['value']:.4g}$ & {interval} \\\\")
    return "\n".join([*lines, r"\hline", r"\end{tabular}", ""])


def fit_constants(
    betas: Sequence[float], times: Sequence[Float[np.ndarray, " times"]],
    distances: Sequence[Float[np.ndarray, " times"]], *, seed: int = 0,
) -> BoundConstants:  # fmt: skip
    """Return the constants of the bound from distances over time at several inverse temperatures.

    ``log W2`` is fitted by ``log K + log(s(beta) e^{Ct} + e^{-ct})`` until each run departs, where the bound stops to
    say anything. Runs, not times, are resampled for the intervals: the times of one run are not independent.

    Parameters
    ----------
    betas
        Inverse temperature of each run, positive; ``FEWEST`` different ones or more.
    times, distances
        Of each run.
    seed
        Of the resampling.

    Raises
    ------
    BadInputError
        If there are too few inverse temperatures, or runs that never came near their projected law.
    """
    temperatures = np.asarray(betas, dtype=np.float64)
    if len(set(temperatures.tolist())) < FEWEST or not (temperatures > 0).all():
        raise BadInputError(
            f"three constants need runs at {FEWEST} different positive inverse temperatures or more, got "
            f"{len(set(temperatures.tolist()))}"
        )
    curves = [_until_departure(np.asarray(at), np.asarray(w)) for at, w in zip(times, distances, strict=True)]
    far = [f"{beta:g}" for beta, (_, w) in zip(temperatures, curves, strict=True) if not w.min() <= DEPARTED]
    if far:
        raise BadInputError(f"runs at beta = {', '.join(far)} never came near the projected law; leave them out")
    best = _fit(temperatures, curves, np.log([1.0, 1.0, 1.0]))
    rng = np.random.default_rng(seed)
    draws: list[np.ndarray] = []
    while len(draws) < _RESAMPLED:
        rows = rng.integers(len(curves), size=len(curves))
        # Fewer than three different temperatures do not separate C from K.
        if len(set(temperatures[rows].tolist())) >= 3:
            draws.append(_fit(temperatures[rows], [curves[row] for row in rows], best))
    amplitude, growth, rate = (
        Estimate(*map(float, np.exp([best[k], *np.quantile(np.array(draws)[:, k], [0.025, 0.975])]))) for k in range(3)
    )
    bound = [_shape(beta, at, best[1:]) for beta, (at, _) in zip(temperatures, curves, strict=True)]
    sufficient = max(float(np.max(w / shape)) for shape, (_, w) in zip(bound, curves, strict=True))
    least = np.log([w.min() for _, w in curves])
    logs = np.log(temperatures)
    return BoundConstants(
        amplitude=amplitude,
        growth=growth,
        rate=rate,
        sufficient=sufficient,
        exponent=_slope(logs, least),
        logarithm=_slope(np.log(np.log(temperatures + 1)) / 2, least + logs / 2),
        betas=tuple(sorted(set(temperatures.tolist()))),
    )


def _until_departure(times: np.ndarray, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the curve from its start until it leaves the least distance for good, at equally spaced entries."""
    least = int(distances.argmin())
    later = np.flatnonzero(distances[least:] > DEPARTED)
    end = least + int(later[0]) if later.size else len(distances)
    chosen = np.unique(np.linspace(0, max(end - 1, 1), _TIMES).astype(int))
    return times[chosen], np.maximum(distances[chosen], 1e-300)


def _shape(beta: float, times: np.ndarray, logs: np.ndarray) -> np.ndarray:
    growth, rate = np.exp(logs)
    return np.asarray(np.sqrt(np.log(beta + 1) / beta) * np.exp(growth * times) + np.exp(-rate * times))


def _fit(betas: np.ndarray, curves: Sequence[tuple[np.ndarray, np.ndarray]], start: np.ndarray) -> np.ndarray:
    """Return the logarithms of K, C, c: all three are positive."""

    def residuals(logs: np.ndarray) -> np.ndarray:
        parts = [
            logs[0] + np.log(_shape(beta, at, logs[1:])) - np.log(w)
            for beta, (at, w) in zip(betas, curves, strict=True)
        ]
        return np.concatenate(parts)

    # Between e^-9 and e^5 exponentials of the times of a run stay finite.
    return np.asarray(least_squares(residuals, start, bounds=([-9, -9, -9], [5, 2, 2])).x)


def _slope(abscissas: np.ndarray, ordinates: np.ndarray) -> Estimate:
    """Return the least-squares slope with Student's interval of 95 %."""
    offsets = abscissas - abscissas.mean()
    slope = float(offsets @ ordinates / (offsets @ offsets))
    rest = ordinates - ordinates.mean() - slope * offsets
    free = len(abscissas) - 2
    half = float(student.ppf(0.975, free) * np.sqrt(rest @ rest / free / (offsets @ offsets)))
    return Estimate(slope, slope - half, slope + half)
