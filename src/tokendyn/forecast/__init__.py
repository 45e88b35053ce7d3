"""Forecasts from delays: TD-DMD, and what generalises it.

One interface (:class:`Forecaster`): ``fit``, ``one_step`` (teacher-forced), ``forecast`` (closed loop), ``score``,
``backtest``, ``save``, ``load``. Series are ``(time, features)``.
"""

from tokendyn.forecast.base import Backtest, Forecast, Forecaster
from tokendyn.forecast.spectra import Spectrum
from tokendyn.forecast.tddmd import TDDMD
from tokendyn.forecast.tdtf import TDTF

__all__ = ["TDDMD", "TDTF", "Backtest", "Forecast", "Forecaster", "Spectrum"]
