"""The kinds of forecasters by name, and what a store needs of one; a class enters itself when it is defined."""

from importlib import import_module
from typing import Any, Protocol

import numpy as np

from tokendyn.forecast.forms import Form
from tokendyn.forecast.intervals import Residuals


class Stored(Protocol):
    """A fitted forecaster as a store sees it."""

    fit_seconds_: float
    form_: Form
    residuals_: Residuals | None

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return what ``_restore`` needs: values for JSON, arrays."""

    def _restore(self, record: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        """Take over what ``_state`` returned."""

    def _parameter_record(self) -> dict[str, Any]:
        """Return the parameters as JSON values."""

    def _parameter_problems(self) -> list[str]:
        """Return what is wrong with the parameters."""


#: Every forecaster class that was imported, by its name.
KINDS: dict[str, type[Any]] = {}
#: Our own kinds, and which module of this room defines them: a saved model or a search names them, and nothing else may
#: have imported them.
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
    """Return the names of all kinds that are known here, in order."""
    return sorted({*_HOMES, *KINDS})


def add_kind(kind: type[Any]) -> None:
    """Let files name a class.

    Raises
    ------
    TypeError
        If its name is that of a model of this room: saved models would load as the other class.
    """
    own = f"{__package__}.{_HOMES[kind.__name__]}" if kind.__name__ in _HOMES else kind.__module__
    if kind.__module__ != own:
        raise TypeError(f"{kind.__module__}.{kind.__name__}: the name belongs to {own}; choose another")
    KINDS[kind.__name__] = kind


def kind_of(name: str) -> type[Any]:
    """Return the class of a name; one of our own is imported when it is asked for.

    Raises
    ------
    KeyError
        If there is none: the module that defines it was not imported.
    """
    if name not in KINDS and name in _HOMES:
        import_module(f"{__package__}.{_HOMES[name]}")
    return KINDS[name]
