"""Generated systems with cited parameters: signals, chaotic systems, partial differential equations."""

from tokendyn.data.systems.chaotic import LYAPUNOV, lorenz63, mackey_glass, rossler
from tokendyn.data.systems.fields import kuramoto_sivashinsky, lambda_omega
from tokendyn.data.systems.signals import sinusoids

__all__ = ["LYAPUNOV", "kuramoto_sivashinsky", "lambda_omega", "lorenz63", "mackey_glass", "rossler", "sinusoids"]
