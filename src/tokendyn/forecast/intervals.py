"""Bands of forecasts from the errors of past forecasts: conformal, for every lead, at any level.

A model is fitted again to the start of its series and forecasts the following snapshots; the residuals from many such
origins show how far the truth lies from a forecast at each lead. Nothing is assumed of the model, so the bands are
right even if its residuals in training are too small.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from tokendyn.errors import BadInputError, TokendynError
from tokendyn.forecast.growth import growth_factors, growths_of
from tokendyn.words import counted

#: Level of the bands of a forecast if none is requested.
LEVEL = 0.9
#: Least number of origins, if the series allows, and largest number.
_FEWEST, MOST_ORIGINS = 6, 30
#: Two origins are at least this share of the horizon apart: with more overlap forecasts repeat the same errors.
_APART = 0.125
#: The first origin has this share of the series before it, so that a refit learns nearly as much as the model.
_EARLIEST = 0.5
#: Possible numbers of refits: few, so that the same fit on another day has the same number.
_REFITS = (0, 1, 3, 6, 12)
#: Refits end when they take this multiple of the planned time.
_OVERRUN = 2.0
#: With fewer refits than this the origins lie in the last part, as in a search, so that the first refit learns enough.
_FEW_REFITS, _LAST_PART = 3, 0.75
#: A horizon is calibrated up to this share of a series.
_LONGEST = 1 / 3
#: Leads at which residuals are kept; their scale is interpolated between.
_LEADS = 100
#: Number of columns with stored residuals; of wider fields a sample of this size, and one scale for each column.
COLUMNS = 64
#: The scale of a lead is taken over the leads within this share of the horizon, ...
_NEAR = 0.1
#: ... but at early leads, where errors grow quickest, over those within this share of the lead itself.
_RELATIVE = 0.5
#: Weight of an origin of one series relative to the next: errors change with the series. Chosen from 0.7 to 0.95, with
#: the share of the correction for few origins, on synthetic series, none of which is among those whose coverage
#: :doc:`theory-forecast` reports.
_RECENT = 0.8
#: Share of the correction for few origins for origins of one series: leaving each out of its own scale already covers
#: the rest.
_CORRECTED = 0.5
#: A diverged rollout counts as an error of this number of standard deviations.
_DIVERGED = 3.0
#: Largest size of a batch of rollouts.
_BATCH = 4_000_000

Source = Literal["refits", "other data", "training data"]

#: The data of the residuals, in words.
_SOURCES = {
    "other data": "on data that the model has not learned",
    "training data": "on data that the model has learned: the bands are too narrow",
}


@dataclass(frozen=True)
class Residuals:
    """Errors of forecasts from rolling origins, from which bands of any level follow.

    Let ``s_h`` be the root mean square of the residuals over all origins and the leads near h. The half width of a band
    of level p at lead h is ``s_h q``, where q is the ``p (1 + c/origins)`` quantile of ``|residual| / s_h`` over all
    origins and leads, and this ``s_h`` is taken over the *other* origins. A model that was chosen by its errors has
    residuals that are too small; leaving each origin out of its own scale corrects for that. Origins of several series
    have equal weights and c = 1. Origins of one series have weights ``recent^(later origins)`` in means, quantile and
    number ``(sum w)^2 / sum w^2`` (R. F. Barber, E. J. Candes, A. Ramdas, R. J. Tibshirani, Ann. Statist. 51, 816
    (2023)), because the distant past of a series is less informative; c = 1/2, as the scale of the others is wide
    enough by itself. If a column of one sign grows by a factor (``tokendyn.forecast.growth.growths_of``), the residuals
    are scaled by this growth to the end of the series. This is split conformal prediction (V. Vovk, A. Gammerman, G.
    Shafer, Algorithmic Learning in a Random World, Springer 2005) with a scale for each lead; as origins of one series
    are not exchangeable, the coverage is measured, not proved: see :doc:`theory-forecast`.

    Attributes
    ----------
    values
        Forecast minus truth for each origin, kept lead and kept column, in the units of the data; for a column that
        grows by a factor, scaled to the end of the series.
    leads
        The leads that are kept, from 1 to the calibrated horizon; scales between them are interpolated.
    columns
        The columns that are kept: all, or an even sample of a wide field.
    widths
        For a wide field, the root mean square residual of every column over all origins and leads; empty otherwise.
    refits
        Number of refits before the origins.
    source
        "refits"; "other data" for series that the model has not learned; "training data" if a refit was too expensive.
    diverged
        Number of diverged forecasts; they count as errors of three standard deviations.
    recent
        Weight of an origin relative to the next one; 1 if the origins are of several series.
    """

    values: Float[np.ndarray, "origins leads columns"]
    leads: Int[np.ndarray, " leads"]
    columns: Int[np.ndarray, " columns"]
    widths: Float[np.ndarray, " widths"]
    refits: int
    source: Source
    diverged: int = 0
    recent: float = 1.0

    @property
    def horizon(self) -> int:
        """Steps up to which bands are known."""
        return int(self.leads[-1])

    def scale(self) -> Float[np.ndarray, "leads columns"]:
        """Return the root mean square residual near each kept lead, over all origins."""
        return np.sqrt(self._smooth(np.average(self.values**2, axis=0, weights=self.weights())))

    def weights(self) -> Float[np.ndarray, " origins"]:
        """Return the weight of each origin, 1 for the last."""
        return self.recent ** np.arange(len(self.values) - 1.0, -1.0, -1.0)

    def scores(self) -> Float[np.ndarray, "origins leads columns"]:
        """Return ``|residual| / s_h`` with the scale of the other origins; with one origin, its own."""
        squares, weights = self.values**2, self.weights()[:, None, None]
        others = squares
        if len(squares) > 1:
            weighted = weights * squares
            others = (weighted.sum(axis=0) - weighted) / (weights.sum() - weights)
        scale = np.sqrt(np.stack([self._smooth(one) for one in np.maximum(others, 0.0)]))
        # A model that is exact at the other origins would make any rounding an infinite score.
        floor = 1e-9 * np.sqrt(squares.mean(axis=(0, 1)))
        scale = np.maximum(scale, np.where(floor > 0, floor, 1.0))
        return np.abs(self.values) / scale

    def half_width(self, steps: int, level: float = LEVEL) -> Float[np.ndarray, "steps features"]:
        """Return half the width of the band at each lead, NaN beyond the calibrated horizon.

        Parameters
        ----------
        steps
            Leads from 1.
        level
            Share of the truth that the band is meant to contain, between 0 and 1. With n origins a level above n / (n +
            c) takes the largest score.

        Raises
        ------
        BadInputError
            If the level is not between 0 and 1.
        """
        check_level(level)
        weights = self.weights()
        correction = _CORRECTED if self.recent < 1 else 1.0
        share = min(level * (1 + correction * (weights**2).sum() / weights.sum() ** 2), 1.0)
        scores, scale = self.scores(), self.scale()
        if len(self.widths):
            # Columns of a field share the profile over the leads and the quantile; each has its own width.
            own = self.widths[self.columns]
            profile = np.sqrt(((scale / np.where(own > 0, own, 1.0)) ** 2).mean(axis=1))
            half = _quantile(scores.reshape(len(scores), -1), weights, share) * profile[:, None] * self.widths
        else:
            half = scale * np.array([_quantile(one, weights, share) for one in np.moveaxis(scores, 2, 0)])
        wanted = np.arange(1, steps + 1)
        width = np.full((steps, half.shape[1]), np.nan)
        known = wanted <= self.horizon
        for column, values in enumerate(half.T):
            width[known, column] = np.interp(wanted[known], self.leads, values)
        return width

    def line(self) -> str:
        """Return the origin of the residuals in one sentence."""
        forecasts = f"{counted(len(self.values), 'forecast')} of {counted(self.horizon, 'step')}"
        how = f"from {counted(self.refits, 'refit')}" if self.source == "refits" else _SOURCES[self.source]
        lost = f"; {self.diverged} diverged, and count as {_DIVERGED:g} standard deviations" if self.diverged else ""
        return f"bands: calibrated by {forecasts} {how}{lost}"

    def record(self) -> dict[str, Any]:
        """Return the attributes that are not arrays, as JSON values."""
        return {"refits": self.refits, "source": self.source, "diverged": self.diverged, "recent": self.recent}

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the arrays by their names in a store."""
        return {f"{_PREFIX}{name}": getattr(self, name) for name in _ARRAYS}

    @classmethod
    def read(cls, record: dict[str, Any], tensors: dict[str, np.ndarray], features: int) -> "Residuals":
        """Return residuals from :meth:`record` and :meth:`tensors`; KeyError, TypeError or ValueError if unfit."""
        arrays = {name: tensors[f"{_PREFIX}{name}"] for name in _ARRAYS}
        values, leads, columns, widths = (arrays[name] for name in _ARRAYS)
        if values.ndim != 3 or values.shape[1:] != (len(leads), len(columns)) or not values.size:
            raise ValueError(f"residuals have shape {values.shape}, expected (origins, {len(leads)}, {len(columns)})")
        if len(widths) not in (0, features) or (not len(widths) and len(columns) != features):
            raise ValueError(f"residuals of {len(columns)} columns and {len(widths)} widths, expected {features}")
        if record["source"] not in ("refits", *_SOURCES) or columns.max() >= features or (np.diff(leads) <= 0).any():
            raise ValueError("the record of the residuals is damaged")
        recent = float(record.get("recent", 1.0))  # files of earlier versions have none
        if not 0 < recent <= 1:
            raise ValueError(f"recent is {recent}, expected a share")
        return cls(
            **arrays, refits=int(record["refits"]), source=record["source"], diverged=int(record["diverged"]),
            recent=recent,
        )  # fmt: skip

    def _smooth(self, squares: Float[np.ndarray, "leads columns"]) -> Float[np.ndarray, "leads columns"]:
        """Return the mean over the leads near each lead."""
        reach = np.maximum(np.minimum(_NEAR * self.horizon, _RELATIVE * self.leads), 1.0)
        first = np.searchsorted(self.leads, self.leads - reach, side="left")
        last = np.searchsorted(self.leads, self.leads + reach, side="right")
        sums = np.concatenate([np.zeros((1, squares.shape[1])), np.cumsum(squares, axis=0)])
        return np.maximum(sums[last] - sums[first], 0.0) / (last - first)[:, None]


def _quantile(scores: Float[np.ndarray, "origins _"], weights: Float[np.ndarray, " origins"], share: float) -> float:
    """Return the least score such that it and all lower scores have at least a share of the weight."""
    if (weights == 1.0).all():
        return float(np.quantile(scores, share, method="higher"))
    order = np.argsort(scores, axis=None, kind="stable")
    sums = np.cumsum(np.broadcast_to(weights[:, None], scores.shape).ravel()[order])
    place = min(int(np.searchsorted(sums, share * sums[-1])), len(sums) - 1)
    return float(scores.ravel()[order][place])


_PREFIX = "residual_"
_ARRAYS = ("values", "leads", "columns", "widths")


def check_level(level: float) -> None:
    """Raise a BadInputError for a level of bands that is not between 0 and 1."""
    if isinstance(level, bool) or not isinstance(level, int | float | np.number) or not 0 < level < 1:
        raise BadInputError(f"level is {level!r}, expected a share between 0 and 1, such as 0.9")


def band_names(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the names of the columns of the bands: NAME_lower and NAME_upper, or lower and upper with one column.

    Where a column has such a name already, they are NAME_band_lower and NAME_band_upper.

    Examples
    --------
    >>> from tokendyn.forecast.intervals import band_names
    >>> band_names(["y"]), band_names(["y", "y_lower"])[0]
    ([('lower', 'upper')], ('y_band_lower', 'y_band_upper'))
    """
    if len(names) == 1 and names[0] not in ("lower", "upper"):
        return [("lower", "upper")]
    return full_band_names(names)


def full_band_names(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the names of the bands with the name of the column in each, even if there is only one."""
    ends = []
    for name in names:
        stem = name
        while {f"{stem}_lower", f"{stem}_upper"} & set(names):
            stem += "_band"
        ends.append((f"{stem}_lower", f"{stem}_upper"))
    return ends


def calibration_horizon(lengths: Sequence[int], horizon: int | None, span: int, *, refit: bool = True) -> int:
    """Return the steps up to which bands can be calibrated: the horizon, or what the series allow.

    Parameters
    ----------
    lengths
        Snapshots of each series.
    horizon
        Wanted number of steps; None for a fifth of the longest series, at most 700.
    span
        Snapshots of a window.
    refit
        Whether a refit learns the part before an origin: at most a third of a single series can then be forecast.
    """
    longest = max(lengths)
    wanted = min(max(longest // 5, 1), 700) if horizon is None else horizon
    if refit and len(lengths) == 1:
        return max(min(wanted, int(_LONGEST * longest)), 1)
    # Some room is left for origins to differ.
    return max(min(wanted, (longest - span) * 2 // 3), 1)


@runtime_checkable
class Calibrated(Protocol):
    """A fitted forecaster as its calibration uses it; :class:`tokendyn.forecast.Forecaster` describes the names."""

    dt_: float
    n_features_: int
    n_inputs_: int
    window_length_: int
    scale_: Float[np.ndarray, " features"]
    fit_seconds_: float
    _fit_cpu: float
    _most_refits: ClassVar[int]

    def fit(self, series: Any, *, dt: float, inputs: Any = None) -> Any:
        """Learn from series."""

    def _rollout(
        self, windows: Float[np.ndarray, "batch window features"], steps: int, inputs: Float[np.ndarray, "batch rows _"]
    ) -> tuple[Float[np.ndarray, "batch steps features"], Any]:
        """Forecast from every window."""

    def _steps_within(self, values: Float[np.ndarray, "steps features"]) -> int:
        """Return the number of steps after which the values leave the range of the training data."""


def rolling_residuals(
    model: Calibrated,
    series: Sequence[Float[np.ndarray, "_ features"]],
    inputs: Sequence[Float[np.ndarray, "_ inputs"]],
    *,
    horizon: int,
    budget: float,
    refit: bool = True,
    most: int = MOST_ORIGINS,
) -> Residuals:
    """Forecast from rolling origins, with refits as time allows, and store the errors of the forecasts.

    A refit has the same parameters and learns the part before an origin; it costs at most as much as the fit did. If
    there is time for fewer refits than origins, each refit serves the origins up to the next. If there is time for one
    or two, the origins lie in the last quarter of the series, so that each refit learns enough; if there is time for
    none, the fitted model forecasts its own training data, and the residuals record this. Of several series whole ones
    are left out in turn.

    Parameters
    ----------
    model
        A fitted forecaster.
    series, inputs
        Checked series, and their inputs, without columns if there are none.
    horizon
        Steps of each forecast.
    budget
        Processor seconds.
    refit
        Whether the model has learned these series; False uses the model without refits.
    most
        Largest number of origins.

    Raises
    ------
    BadInputError
        If no series is long enough for a window and the horizon after it.
    """
    collector = _Collector(model, series, inputs, horizon)
    if not refit:
        return collector.everywhere(model, most, "other data")
    allowed = min(budget / max(refit_cost(model), 1e-6), model._most_refits, most)
    refits = max(number for number in (*_REFITS, most) if number <= allowed)
    done = (_roll if len(series) == 1 else _leave_out)(model, collector, refits, budget, most)
    if not done:
        return collector.everywhere(model, most, "training data")
    return replace(collector.residuals(done, "refits"), recent=_RECENT if len(series) == 1 else 1.0)


def refit_cost(model: Calibrated) -> float:
    """Return the processor seconds of a fit; for a model from a folder only the wall seconds are known."""
    return model._fit_cpu if model._fit_cpu > 0 else model.fit_seconds_


class _Collector:
    """Gathers residuals of forecasts; memory is that of the kept leads and columns."""

    def __init__(
        self, model: Calibrated, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], horizon: int
    ) -> None:
        self.series, self.inputs, self.horizon = series, inputs, horizon
        self.bound = _DIVERGED * model.scale_
        features = model.n_features_
        kept = min(horizon, _LEADS)
        self.leads = np.unique(np.linspace(1, horizon, kept).round().astype(np.int64))
        self.columns = np.unique(np.linspace(0, features - 1, min(features, COLUMNS)).round().astype(np.int64))
        self.wide = features > COLUMNS
        self.kept: list[np.ndarray] = []
        self.squares = np.zeros(features)
        self.diverged = 0
        #: Growth of the logarithm of each column in a step, for columns whose residuals grow with them.
        self.growths = np.zeros(features)

    def add(self, model: Calibrated, number: int, starts: Int[np.ndarray, " starts"]) -> None:
        """Forecast from some starts of one series, in batches that fit in memory."""
        one, driven, span = self.series[number], self.inputs[number], model.window_length_
        most = max(_BATCH // (self.horizon * one.shape[1]), 1)
        for first in range(0, len(starts), most):
            some = starts[first : first + most]
            windows = np.stack([one[start - span : start] for start in some])
            known = np.stack([driven[start - span : start + self.horizon] for start in some])
            truths = np.stack([one[start : start + self.horizon] for start in some])
            with np.errstate(over="ignore", invalid="ignore"):
                values = model._rollout(windows, self.horizon, known)[0]
            inside = np.array([model._steps_within(row) for row in values])
            lost = np.arange(self.horizon) >= inside[:, None]
            residuals = values - truths
            wild = lost[:, :, None] & ~(np.abs(residuals) <= self.bound)
            residuals = np.where(wild, self.bound, residuals)
            self.diverged += int(lost.any(axis=1).sum())
            residuals = residuals * growth_factors(self.growths, len(one) - some)[:, None]
            self.squares += (residuals**2).mean(axis=1).sum(axis=0)
            self.kept.extend(np.ascontiguousarray(residuals[:, self.leads - 1][:, :, self.columns]))

    def everywhere(self, model: Calibrated, most: int, source: Source) -> Residuals:
        """Return the residuals of forecasts from all over the series, by the model without refits."""
        each = -(-most // len(self.series))
        for number, one in enumerate(self.series):
            if len(one) >= model.window_length_ + self.horizon:
                self.add(model, number, _spaced(model.window_length_, len(one) - self.horizon, self.horizon, each))
        return self.residuals(0, source)

    def residuals(self, refits: int, source: Source) -> Residuals:
        """Return the residuals gathered so far."""
        if not self.kept:
            raise BadInputError(
                f"no series holds a window and a forecast of {counted(self.horizon, 'step')} behind it; give a shorter "
                "horizon, or a longer series"
            )
        widths = np.sqrt(self.squares / len(self.kept)) if self.wide else np.empty(0)
        return Residuals(
            values=np.stack(self.kept), leads=self.leads, columns=self.columns, widths=widths, refits=refits,
            source=source, diverged=self.diverged,
        )  # fmt: skip


def _spaced(first: int, last: int, horizon: int, most: int) -> Int[np.ndarray, " starts"]:
    """Return rows from first to last, spaced so that the forecasts from them do not overlap almost completely."""
    room = max(last - first, 0)
    count = int(np.clip(room / max(_APART * horizon, 1.0) + 1, min(_FEWEST, most), most))
    return np.unique(np.linspace(min(first, last), last, count).round().astype(np.int64))


def _refitted(model: Calibrated, series: list[np.ndarray], inputs: list[np.ndarray]) -> Calibrated | None:
    """Return a model of the same parameters fitted to some series; None if that fails, as on a constant column."""
    from sklearn.base import clone

    with suppress(TokendynError, np.linalg.LinAlgError):
        again: Calibrated = clone(model)
        return again.fit(series, dt=model.dt_, inputs=inputs if model.n_inputs_ else None)
    return None


def _roll(model: Calibrated, collector: _Collector, refits: int, budget: float, most: int) -> int:
    """Forecast from origins of one series, with refits before them; return the number of refits."""
    (one,), (driven,) = collector.series, collector.inputs
    if not collector.wide:
        collector.growths = growths_of([one])
    samples, began = len(one), time.process_time()
    first = int(_EARLIEST * samples)
    if refits < _FEW_REFITS:
        first = max(min(int(_LAST_PART * samples), samples - 2 * collector.horizon), first)
    first = max(first, model.window_length_ + 2)
    if refits < 1 or first > samples - collector.horizon:
        return 0
    starts = _spaced(first, samples - collector.horizon, collector.horizon, most)
    done, current = 0, None
    for block in np.array_split(starts, min(refits, len(starts))):
        spent = time.process_time() - began
        if current is None or spent <= _OVERRUN * budget:
            again = _refitted(model, [one[: block[0]]], [driven[: block[0]]])
            done, current = done + (again is not None), again or current
        if current is not None:
            collector.add(current, 0, block)
    return done


def _leave_out(model: Calibrated, collector: _Collector, refits: int, budget: float, most: int) -> int:
    """Forecast series by refits to the other series; return the number of refits."""
    series, inputs, span = collector.series, collector.inputs, model.window_length_
    long = [number for number, one in enumerate(series) if len(one) >= span + collector.horizon]
    folds = min(refits, len(long))
    if folds < 1:
        return 0
    began, done = time.process_time(), 0
    # With one refit a quarter of the series is left out, as in a search; with more, all of them in turn.
    parts = [long[-max(len(long) // 4, 1) :]] if folds == 1 else [long[fold::folds] for fold in range(folds)]
    each = -(-most // sum(map(len, parts)))
    for part in parts:
        spent = time.process_time() - began
        if done and spent > _OVERRUN * budget:
            break
        kept = [number for number in range(len(series)) if number not in part]
        again = _refitted(model, [series[number] for number in kept], [inputs[number] for number in kept])
        if again is None:
            continue
        done += 1
        for number in part:
            last = len(series[number]) - collector.horizon
            collector.add(again, number, _spaced(span, last, collector.horizon, each))
    return done
