"""Forecasts from delays: TD-DMD, and what generalises it.

One interface (:class:`Forecaster`): ``fit``, ``one_step`` (teacher-forced), ``forecast`` (closed loop), ``score``,
``backtest``, ``save``, ``load``. Series are ``(time, features)``.
"""

from tokendyn.forecast.base import Backtest, Forecast, Forecaster
from tokendyn.forecast.basis import BasisMap
from tokendyn.forecast.blend import Blend
from tokendyn.forecast.ensemble import EnsembleTDTF
from tokendyn.forecast.interpretation import OrbitReading, local_eigenvalues, local_spectrum, read_orbit
from tokendyn.forecast.paper import PaperTDTF
from tokendyn.forecast.search import SearchResult, auto_forecaster
from tokendyn.forecast.spectra import Spectrum
from tokendyn.forecast.tddmd import TDDMD
from tokendyn.forecast.tdtf import TDTF

__all__ = [
    "TDDMD",
    "TDTF",
    "Backtest",
    "BasisMap",
    "Blend",
    "EnsembleTDTF",
    "Forecast",
    "Forecaster",
    "OrbitReading",
    "PaperTDTF",
    "SearchResult",
    "Spectrum",
    "auto_forecaster",
    "local_eigenvalues",
    "local_spectrum",
    "read_orbit",
]
