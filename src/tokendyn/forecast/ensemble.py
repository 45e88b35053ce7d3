"""Several TD-TF with different seeds: a mean forecast with its spread."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import clone

from tokendyn.forecast.base import Forecaster, Progress, pack_members, restore_members
from tokendyn.forecast.checks import check_count
from tokendyn.forecast.tdtf import TDTF


class EnsembleTDTF(Forecaster):
    """The mean closed loop of members fitted with seeds ``random_state, random_state + 1, ...``.

    Each member rolls out on its own; the forecast is their mean and its ``spread`` their standard deviation. A forecast
    diverges at the step where any member does.

    Parameters
    ----------
    member
        Model to clone, with its seed replaced. None for a default TDTF.
    members
        Number of members, at least 2.
    random_state
        Seed of the first member.

    Attributes
    ----------
    members_
        The fitted models.
    """

    _most_refits = 3

    def __init__(self, *, member: TDTF | None = None, members: int = 5, random_state: int = 0) -> None:
        self.member = member
        self.members = members
        self.random_state = random_state

    def _template(self) -> TDTF:
        """Return the model that is cloned."""
        return TDTF() if self.member is None else self.member

    def _parameter_record(self) -> dict[str, Any]:
        """Return the parameters without the member, whose parameters are part of the state."""
        return {"members": int(self.members), "random_state": int(self.random_state)}

    def _parameter_problems(self) -> list[str]:
        """Return the faults of the parameters, including those of the member."""
        problems = check_count("members", self.members, 2) + check_count("random_state", self.random_state, 0)
        return problems + self._template()._parameter_problems()

    def _window_length(self) -> int:
        """Return the window length of a member."""
        return self._template()._window_length()

    def _fit(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], progress: Progress) -> None:
        """Fit each member on the same series."""
        self.members_: list[TDTF] = []
        for number in range(self.members):
            model = clone(self._template()).set_params(random_state=self.random_state + number)

            def reported(share: float, line: str, number: int = number) -> None:
                progress((number + share) / self.members, f"member {number + 1}: {line}")

            given = list(inputs) if self.n_inputs_ else None
            self.members_.append(model.fit(list(series), dt=self.dt_, inputs=given, progress=reported))

    def _one_step(self, series: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Return the mean of the members' predictions."""
        return np.asarray(np.mean([model._one_step(series, inputs) for model in self.members_], axis=0))

    def _rollout(self, windows: np.ndarray, steps: int, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of the members' closed loops."""
        all_values = np.stack([model._rollout(windows, steps, inputs)[0] for model in self.members_])
        with np.errstate(over="ignore", invalid="ignore"):
            return all_values.mean(axis=0), all_values.std(axis=0)

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the members' states, their arrays by number."""
        records, tensors = pack_members(self.members_)
        return {"members": records, "parameters": self._template()._parameter_record()}, tensors

    def _restore(self, record: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        """Set the members."""
        self.member = TDTF(**record["parameters"])
        self.members_ = [
            clone(self.member).set_params(random_state=self.random_state + number)
            for number in range(len(record["members"]))
        ]
        restore_members(self, self.members_, record["members"], tensors)
