"""Generated systems with cited parameters: signals, chaotic systems, partial differential equations, an aerofoil."""

from tokendyn.data.systems.chaotic import LYAPUNOV, lorenz63, mackey_glass, rossler
from tokendyn.data.systems.fields import kuramoto_sivashinsky, lambda_omega
from tokendyn.data.systems.gusts import aerofoil_gusts, kuessner, wagner
from tokendyn.data.systems.public import linear_wave, sprott
from tokendyn.data.systems.signals import sinusoids

__all__ = [
    "LYAPUNOV",
    "aerofoil_gusts",
    "kuessner",
    "kuramoto_sivashinsky",
    "lambda_omega",
    "linear_wave",
    "lorenz63",
    "mackey_glass",
    "rossler",
    "sinusoids",
    "sprott",
    "wagner",
]
