"""Other people's forecasters and simple baselines behind the same interface, tuned by the same rule as ours.

Those that need a library that tokendyn does not install by itself import it when they are fitted; ``pip install
'tokendyn[bench]'`` brings all of them.
"""

from tokendyn.forecast.peers.encoder import TorchEncoder
from tokendyn.forecast.peers.hankel import PyDMDHankel
from tokendyn.forecast.peers.naive import Persistence, SeasonalNaive
from tokendyn.forecast.peers.polynomial import NVAR, PySINDy
from tokendyn.forecast.peers.reservoir import ESN
from tokendyn.forecast.peers.tuning import SPACES, Tuned, tune

__all__ = [
    "ESN",
    "NVAR",
    "SPACES",
    "Persistence",
    "PyDMDHankel",
    "PySINDy",
    "SeasonalNaive",
    "TorchEncoder",
    "Tuned",
    "tune",
]
