"""The kinds of forecasters by name, and their interface for a store; a class registers itself when it is defined."""

from importlib import import_module
from typing import Any, Protocol

import numpy as np

from tokendyn.forecast.forms import Form
from tokendyn.forecast.intervals import Residuals


class Stored(Protocol):
    """The interface of a fitted forecaster for a store."""

    fit_seconds_: float
    form_: Form
    residuals_: Residuals | None

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the state for ``_restore``: values for JSON, arrays."""

    def _restore(self, record: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        """Restore the state of ``_state``."""

    def _parameter_record(self) -> dict[str, Any]:
        """Return the parameters as JSON values."""

    def _parameter_problems(self) -> list[str]:
        """Return the faults of the parameters."""


#: All imported forecaster classes, by name.
KINDS: dict[str, type[Any]] = {}
#: Built-in kinds and the modules of this package that define them: a saved model or a search may name a kind whose
#: module has not been imported.
_HOMES = {
    "BasisMap": "basis",
    "Blend": "blend",
    "Drift": "naive",
    "EnsembleTDTF": "ensemble",
    "ExponentialSmoothing": "exponential",
    "FieldForecaster": "field_forecaster",
    "Logarithm": "logarithm",
    "Mean": "naive",
    "PaperTDTF": "paper",
    "Persistence": "naive",
    "SeasonalNaive": "naive",
    "TDDMD": "tddmd",
    "TDTF": "tdtf",
    "VectorField": "vector_field",
}


def known_kinds() -> list[str]:
    """Return the names of all known kinds, in order."""
    return sorted({*_HOMES, *KINDS})


def add_kind(kind: type[Any]) -> None:
    """Register a class, so that files can name it.

    Raises
    ------
    TypeError
        If its name is that of a built-in model: saved models would load as the other class.
    """
    own = f"{__package__}.{_HOMES[kind.__name__]}" if kind.__name__ in _HOMES else kind.__module__
    if kind.__module__ != own:
        raise TypeError(f"{kind.__module__}.{kind.__name__}: the name belongs to {own}; choose another")
    KINDS[kind.__name__] = kind


def kind_of(name: str) -> type[Any]:
    """Return the class of a name; a built-in class is imported on demand.

    Raises
    ------
    KeyError
        If there is none: the module that defines it was not imported.
    """
    if name not in KINDS and name in _HOMES:
        import_module(f"{__package__}.{_HOMES[name]}")
    return KINDS[name]
