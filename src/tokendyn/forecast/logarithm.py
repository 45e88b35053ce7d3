"""A forecaster of the logarithm of positive series: growth by factors becomes growth by steps."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tokendyn.errors import BadInputError
from tokendyn.forecast.base import Forecaster, Progress, pack_members, restore_members
from tokendyn.forecast.kinds import kind_of, known_kinds


class Logarithm(Forecaster):
    """``x_k = exp(y_k)``, with another forecaster for y; for positive series whose steps grow with their values.

    Parameters
    ----------
    kind, parameters
        The forecaster of the logarithm.

    Attributes
    ----------
    member_
        The fitted forecaster of the logarithm.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.forecast import Logarithm
    >>> series = 1.1 ** np.arange(40.0)[:, None]
    >>> model = Logarithm(kind="Drift").fit(series)
    >>> np.round(model.forecast(series, 3).values[:, 0] / series[-1], 3)
    array([1.1  , 1.21 , 1.331])
    """

    def __init__(self, *, kind: str = "Drift", parameters: Mapping[str, Any] | None = None) -> None:
        self.kind = kind
        self.parameters = parameters

    def _unfitted(self) -> Forecaster:
        """Return the member before fit."""
        member: Forecaster = kind_of(self.kind)(**(self.parameters or {}))
        return member

    def _parameter_problems(self) -> list[str]:
        if self.kind not in known_kinds():
            return [f"no kind of model is called {self.kind!r}"]
        return self._unfitted()._parameter_problems()

    def _window_length(self) -> int:
        return self._unfitted()._window_length()

    def _fit(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], progress: Progress) -> None:
        """Fit the member to the logarithm."""
        if min(float(one.min()) for one in series) <= 0.0:
            raise BadInputError("the series has values that are not positive, which have no logarithm")
        given = list(inputs) if self.n_inputs_ else None
        self.member_ = self._unfitted().fit([np.log(one) for one in series], dt=self.dt_, inputs=given)

    def _one_step(self, series: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            return np.exp(self.member_._one_step(np.log(series), inputs))

    def _rollout(self, windows: np.ndarray, steps: int, inputs: np.ndarray) -> tuple[np.ndarray, None]:
        """Roll out the logarithm; the forecast is NaN for windows that are not positive."""
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            return np.exp(self.member_._rollout(np.log(windows), steps, inputs)[0]), None

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        records, tensors = pack_members([self.member_])
        return {"members": records}, tensors

    def _restore(self, record: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        self.member_ = self._unfitted()
        # The member has the range of the logarithm; the range of the data would be wrong for it.
        whole = copy.copy(self)
        whole.low_, whole.high_ = np.log(self.low_), np.log(self.high_)
        restore_members(whole, [self.member_], record["members"], tensors)
