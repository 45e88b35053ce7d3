"""The kinds of forecasters by name, and what a store needs of one; a class enters itself when it is defined."""

from typing import Any, Protocol

import numpy as np

from tokendyn.forecast.forms import Form


class Stored(Protocol):
    """A fitted forecaster as a store sees it."""

    fit_seconds_: float
    form_: Form

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return what ``_restore`` needs: values for JSON, arrays."""

    def _restore(self, record: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        """Take over what ``_state`` returned."""

    def _parameter_record(self) -> dict[str, Any]:
        """Return the parameters as JSON values."""

    def _parameter_problems(self) -> list[str]:
        """Return what is wrong with the parameters."""


#: Every forecaster class by its name.
KINDS: dict[str, type[Any]] = {}
