"""Other people's forecasters behind :class:`tokendyn.forecast.Forecaster`.

Those that need a library that tokendyn does not install by itself import it when they are fitted; ``pip install
'tokendyn[bench]'`` brings all of them. Importing this package makes :meth:`Forecaster.load` know their kinds.
"""

from tokendyn.rivals.forecast.encoder import TorchEncoder
from tokendyn.rivals.forecast.hankel import PyDMDHankel
from tokendyn.rivals.forecast.polynomial import NVAR, PySINDy
from tokendyn.rivals.forecast.reservoir import ESN

__all__ = ["ESN", "NVAR", "PyDMDHankel", "PySINDy", "TorchEncoder"]
