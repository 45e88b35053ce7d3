"""What the rival forecasters share: checks of their parameters, and means and scales of their training series."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tokendyn.forecast.base import Forecaster
from tokendyn.forecast.checks import check_count, check_number

#: Smallest scale of an input: a constant input must not divide by 0.
_LEAST_SCALE = 1e-12


def parameter_problems(model: Forecaster, counts: Iterable[str], numbers: Iterable[str] = ()) -> list[str]:
    """Return the faults of parameters that must be counts or numbers of at least 0, and with a budget."""
    problems = [problem for name in counts for problem in check_count(name, getattr(model, name))]
    problems += [problem for name in numbers for problem in check_number(name, getattr(model, name), 0.0)]
    budget = getattr(model, "budget", None)
    return problems if budget is None else problems + check_number("budget", budget, 0.0)


def set_normalisation(model: Any, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray]) -> None:
    """Set ``mean_``, ``input_mean_`` and ``input_scale_``; the scale of the series is set by the base class."""
    stacked = np.concatenate(inputs)
    model.mean_ = np.concatenate(series).mean(axis=0)
    model.input_mean_ = stacked.mean(axis=0)
    model.input_scale_ = np.maximum(stacked.std(axis=0), _LEAST_SCALE)
