"""Forecasts from delays: TD-DMD and its generalisations.

``td.forecast(data)`` goes from data to a forecast in one call (:func:`run`; the module itself is callable; type
checkers do not know this and need ``td.forecast.run(data)``).

One interface (:class:`Forecaster`): ``fit``, ``one_step`` (teacher-forced), ``forecast`` (closed loop), ``score``,
``backtest``, ``calibrate`` (bands), ``save``, ``load``. Series are ``(time, features)``.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tokendyn.late import attributes_at

if TYPE_CHECKING:
    from tokendyn.forecast.backtests import Backtest
    from tokendyn.forecast.base import Forecaster
    from tokendyn.forecast.basis import BasisMap
    from tokendyn.forecast.blend import Blend
    from tokendyn.forecast.closed_loop import Forecast
    from tokendyn.forecast.continuation import Continuation, run
    from tokendyn.forecast.continued import ForecastRun
    from tokendyn.forecast.eigenvalue_bars import EigenvalueIntervals
    from tokendyn.forecast.ensemble import EnsembleTDTF
    from tokendyn.forecast.exponential import ExponentialSmoothing
    from tokendyn.forecast.field_forecaster import FieldForecaster
    from tokendyn.forecast.interpretation import local_eigenvalues, local_spectrum, read_orbit
    from tokendyn.forecast.intervals import Residuals
    from tokendyn.forecast.logarithm import Logarithm
    from tokendyn.forecast.orbit_reading import OrbitReading
    from tokendyn.forecast.paper import PaperTDTF
    from tokendyn.forecast.search import auto_forecaster
    from tokendyn.forecast.spectra import Spectrum
    from tokendyn.forecast.tddmd import TDDMD
    from tokendyn.forecast.tdtf import TDTF
    from tokendyn.forecast.trials import SearchResult
    from tokendyn.forecast.vector_field import VectorField

#: The module of each name, imported at first use, so that reading the options of a command imports no numerical code.
_HOMES = {
    "TDDMD": "tokendyn.forecast.tddmd",
    "TDTF": "tokendyn.forecast.tdtf",
    "Backtest": "tokendyn.forecast.backtests",
    "BasisMap": "tokendyn.forecast.basis",
    "VectorField": "tokendyn.forecast.vector_field",
    "Blend": "tokendyn.forecast.blend",
    "Continuation": "tokendyn.forecast.continuation",
    "EigenvalueIntervals": "tokendyn.forecast.eigenvalue_bars",
    "EnsembleTDTF": "tokendyn.forecast.ensemble",
    "ExponentialSmoothing": "tokendyn.forecast.exponential",
    "FieldForecaster": "tokendyn.forecast.field_forecaster",
    "Forecast": "tokendyn.forecast.closed_loop",
    "ForecastRun": "tokendyn.forecast.continued",
    "Forecaster": "tokendyn.forecast.base",
    "Logarithm": "tokendyn.forecast.logarithm",
    "OrbitReading": "tokendyn.forecast.orbit_reading",
    "PaperTDTF": "tokendyn.forecast.paper",
    "Residuals": "tokendyn.forecast.intervals",
    "SearchResult": "tokendyn.forecast.trials",
    "Spectrum": "tokendyn.forecast.spectra",
    "auto_forecaster": "tokendyn.forecast.search",
    "local_eigenvalues": "tokendyn.forecast.interpretation",
    "local_spectrum": "tokendyn.forecast.interpretation",
    "read_orbit": "tokendyn.forecast.interpretation",
    "run": "tokendyn.forecast.continuation",
}

__all__ = [
    "TDDMD",
    "TDTF",
    "Backtest",
    "BasisMap",
    "Blend",
    "Continuation",
    "EigenvalueIntervals",
    "EnsembleTDTF",
    "ExponentialSmoothing",
    "FieldForecaster",
    "Forecast",
    "ForecastRun",
    "Forecaster",
    "Logarithm",
    "OrbitReading",
    "PaperTDTF",
    "Residuals",
    "SearchResult",
    "Spectrum",
    "VectorField",
    "auto_forecaster",
    "local_eigenvalues",
    "local_spectrum",
    "read_orbit",
    "run",
]

__getattr__ = attributes_at(__name__, _HOMES)


class _CallableModule(ModuleType):
    """The module as a function, so that ``td.forecast`` can be both."""

    def __call__(self, data: Any, horizon: int | None = None, **options: Any) -> "ForecastRun":
        """Forecast data by the best model that a search finds; see :func:`tokendyn.forecast.run`."""
        from tokendyn.forecast.continuation import run

        return run(data, horizon, **options)


sys.modules[__name__].__class__ = _CallableModule
