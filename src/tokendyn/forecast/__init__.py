"""Forecasts from delays: TD-DMD, and what generalises it.

One interface (:class:`Forecaster`): ``fit``, ``one_step`` (teacher-forced), ``forecast`` (closed loop), ``score``,
``backtest``, ``calibrate`` (bands), ``save``, ``load``. Series are ``(time, features)``.
"""

from typing import TYPE_CHECKING

from tokendyn.late import attributes_at

if TYPE_CHECKING:
    from tokendyn.forecast.base import Backtest, Forecast, Forecaster
    from tokendyn.forecast.basis import BasisMap
    from tokendyn.forecast.blend import Blend
    from tokendyn.forecast.eigenvalue_bars import EigenvalueIntervals
    from tokendyn.forecast.ensemble import EnsembleTDTF
    from tokendyn.forecast.interpretation import local_eigenvalues, local_spectrum, read_orbit
    from tokendyn.forecast.intervals import Residuals
    from tokendyn.forecast.orbit_reading import OrbitReading
    from tokendyn.forecast.paper import PaperTDTF
    from tokendyn.forecast.search import auto_forecaster
    from tokendyn.forecast.spectra import Spectrum
    from tokendyn.forecast.tddmd import TDDMD
    from tokendyn.forecast.tdtf import TDTF
    from tokendyn.forecast.trials import SearchResult
    from tokendyn.forecast.vector_field import VectorField

#: Where each name is: loaded when it is used, so that the options of a command can be read without what computes.
_HOMES = {
    "TDDMD": "tokendyn.forecast.tddmd",
    "TDTF": "tokendyn.forecast.tdtf",
    "Backtest": "tokendyn.forecast.base",
    "BasisMap": "tokendyn.forecast.basis",
    "VectorField": "tokendyn.forecast.vector_field",
    "Blend": "tokendyn.forecast.blend",
    "EigenvalueIntervals": "tokendyn.forecast.eigenvalue_bars",
    "EnsembleTDTF": "tokendyn.forecast.ensemble",
    "Forecast": "tokendyn.forecast.base",
    "Forecaster": "tokendyn.forecast.base",
    "OrbitReading": "tokendyn.forecast.orbit_reading",
    "PaperTDTF": "tokendyn.forecast.paper",
    "Residuals": "tokendyn.forecast.intervals",
    "SearchResult": "tokendyn.forecast.trials",
    "Spectrum": "tokendyn.forecast.spectra",
    "auto_forecaster": "tokendyn.forecast.search",
    "local_eigenvalues": "tokendyn.forecast.interpretation",
    "local_spectrum": "tokendyn.forecast.interpretation",
    "read_orbit": "tokendyn.forecast.interpretation",
}

__all__ = [
    "TDDMD",
    "TDTF",
    "Backtest",
    "BasisMap",
    "Blend",
    "EigenvalueIntervals",
    "EnsembleTDTF",
    "Forecast",
    "Forecaster",
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
]

__getattr__ = attributes_at(__name__, _HOMES)
