"""Several forecasters as one: a weighted mean or the median of their closed loops."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from tokendyn.forecast.base import Forecaster, Progress, pack_members, restore_members
from tokendyn.forecast.checks import check_number
from tokendyn.forecast.closed_loop import Forecast
from tokendyn.forecast.growth import growth_factors, growths_of
from tokendyn.forecast.kinds import kind_of, known_kinds

#: A mean rests at a bound when it is this near to it, as a share of the distance between both: weights round.
_RESTING = 1e-9


class Blend(Forecaster):
    """Closed loops of several members, each on its own, combined at every lead.

    On short series, the weighted mean of candidates with similar backtests has a smaller error than the best alone
    (measured in :doc:`theory-forecast`).

    Parameters
    ----------
    members
        Kind and parameters of each: ``[["BasisMap", {"delays": 3}], ["Persistence", {}]]``.
    weights
        One for each member, positive; None for equal ones. The median does not use them.
    combine
        "mean" or "median".
    clip
        Keep forecasts within the range of the training data and of the window, widened on both sides by this multiple
        of the width of the former; None for no bounds. If a column of one sign grows by a factor, its end of the range
        continues to grow at that rate, the smaller of the rates of the whole series and of its second half, for at most
        the length of the series. A forecast that all members would take beyond these bounds stays at them, and its
        status is "left range".

    Attributes
    ----------
    members_
        The fitted members.
    growths_
        Growth of the logarithm of each column in a step, 0 where it does not grow or changes its sign.
    grown_
        Steps for which the bounds grow at most.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.forecast import Blend
    >>> series = np.arange(40.0)[:, None] % 4
    >>> model = Blend(members=[["SeasonalNaive", {"period": 4}], ["Mean", {}]], weights=[3.0, 1.0]).fit(series)
    >>> model.forecast(series, 4).values[:, 0]
    array([0.375, 1.125, 1.875, 2.625])
    """

    def __init__(
        self,
        *,
        members: Sequence[Any] = (("Persistence", {}),),
        weights: Sequence[float] | None = None,
        combine: Literal["mean", "median"] = "mean",
        clip: float | None = 1.0,
    ) -> None:
        self.members = members
        self.weights = weights
        self.combine = combine
        self.clip = clip

    def _unfitted(self) -> list[Forecaster]:
        """Return the members before fit."""
        return [kind_of(kind)(**parameters) for kind, parameters in self.members]

    def _parameter_problems(self) -> list[str]:
        """Return what is wrong with the parameters, those of the members included."""
        problems = [f"no kind of model is called {kind!r}" for kind, _ in self.members if kind not in known_kinds()]
        if not self.members:
            problems.append("there are no members; give at least one")
        if self.weights is not None and len(self.weights) != len(self.members):
            problems.append(f"there are {len(self.members)} members and {len(self.weights)} weights")
        for weight in self.weights or ():
            problems += check_number("a weight", weight, np.finfo(float).tiny)
        if self.combine not in ("mean", "median"):
            problems.append(f"combine is {self.combine!r}, expected mean or median")
        if self.clip is not None:
            problems += check_number("clip", self.clip)
        if not problems:
            problems = [problem for model in self._unfitted() for problem in model._parameter_problems()]
        return problems

    def _window_length(self) -> int:
        """Return the longest of the members' windows."""
        return max(model._window_length() for model in self._unfitted())

    def _fit(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], progress: Progress) -> None:
        """Fit every member to the same series."""
        given = list(inputs) if self.n_inputs_ else None
        self.growths_, self.grown_ = growths_of(series), max(map(len, series))
        self.members_ = []
        for number, model in enumerate(self._unfitted()):
            progress(number / len(self.members), f"member {number + 1}")
            self.members_.append(model.fit(list(series), dt=self.dt_, inputs=given))
        progress(1.0, f"{len(self.members_)} members")

    def _one_step(self, series: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Combine the members' predictions."""
        firsts = [self.window_length_ - model.window_length_ for model in self.members_]
        pairs = zip(self.members_, firsts, strict=True)
        values = np.stack([model._one_step(series[i:], inputs[i:]) for model, i in pairs])
        return self._combined(values, self._bounds(series, 1))

    def _rollout(self, windows: np.ndarray, steps: int, inputs: np.ndarray) -> tuple[np.ndarray, None]:
        """Combine the members' closed loops."""
        loops = []
        for model in self.members_:
            first = self.window_length_ - model.window_length_
            loops.append(model._rollout(windows[:, first:], steps, inputs[:, first:])[0])
        return self._combined(np.stack(loops), self._bounds(windows, steps)), None

    def _bounds(self, windows: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the least and the largest value that a forecast may have at each lead; None without bounds."""
        if self.clip is None:
            return None
        # What has grown beyond the training data before the forecast begins may go on from there.
        low = np.minimum(self.low_, windows.min(axis=-2, keepdims=True))
        high = np.maximum(self.high_, windows.max(axis=-2, keepdims=True))
        reach, leads = self.clip * (self.high_ - self.low_), np.minimum(np.arange(1, steps + 1), self.grown_)
        factors = growth_factors(self.growths_, leads)
        return np.where(low < 0.0, low * factors, low) - reach, np.where(high > 0.0, high * factors, high) + reach

    def _settle(self, values: np.ndarray, spread: np.ndarray | None, steps: int, window: np.ndarray) -> Forecast:
        """Return a forecast that says "left range" from where it rests at the bounds."""
        settled, bounds = super()._settle(values, spread, steps, window), self._bounds(window, steps)
        if bounds is None or settled.status == "diverged":
            return settled
        low, high = bounds
        width = _RESTING * (high - low)
        resting = (((values <= low + width) | (values >= high - width)) & (self.high_ > self.low_)).any(axis=1)
        if not resting.any():
            return settled
        inside = min(int(resting.argmax()), settled.inside_steps or 0)
        return replace(settled, status="left range", inside_steps=inside)

    def _combined(self, values: np.ndarray, bounds: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
        """Return mean or median over the members, each kept within bounds; one that left float64 does not count."""
        if bounds is not None:
            values = np.clip(values, *bounds)
        if self.combine == "median":
            return np.asarray(np.nanmedian(values, axis=0) if np.isnan(values).any() else np.median(values, axis=0))
        weights = np.ones(len(values)) if self.weights is None else np.asarray(self.weights, dtype=np.float64)
        shares = np.where(np.isnan(values), 0.0, weights.reshape(-1, *(1,) * (values.ndim - 1)))
        total = shares.sum(axis=0)
        with np.errstate(invalid="ignore"):
            return np.asarray((np.nan_to_num(values, posinf=np.inf, neginf=-np.inf) * shares).sum(axis=0) / total)

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the members' states, their arrays by number."""
        records, tensors = pack_members(self.members_)
        return {"members": records, "growths": self.growths_.tolist(), "grown": self.grown_}, tensors

    def _restore(self, record: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        """Set the members."""
        self.members_ = self._unfitted()
        # Models that were saved before bounds grew have none.
        self.growths_ = np.array(record.get("growths", [0.0] * self.n_features_))
        self.grown_ = int(record.get("grown", 0))
        restore_members(self, self.members_, record["members"], tensors)
