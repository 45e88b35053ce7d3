"""Layers as a dynamical system of tokens, and the trajectory that they leave.

A layer moves every token towards what its heads attend to (arXiv 2407.01602, with general value matrices,
several heads and an optional feed-forward part, which that paper leaves open)::

    z_i <- z_i + alpha / (1 + alpha) * (sum_h m_i^h - z_i),   m_i^h = sum_j p_ij^h V_h z_j

In continuous time, weighted tokens move on the sphere (arXiv 2605.10931): :class:`TokenFlow` is the velocity,
:func:`integrate` follows it.
"""

from tokendyn.dynamics.flow import TokenFlow, means_within
from tokendyn.dynamics.flow_trajectory import FlowTrajectory
from tokendyn.dynamics.freeze import FrozenMotion
from tokendyn.dynamics.integrators import Budget, Event, integrate
from tokendyn.dynamics.layers import FeedForward, Layer, checked_tokens
from tokendyn.dynamics.run import Progress, Record, run
from tokendyn.dynamics.trajectory import Trajectory

__all__ = [
    "Budget",
    "Event",
    "FeedForward",
    "FlowTrajectory",
    "FrozenMotion",
    "Layer",
    "Progress",
    "Record",
    "TokenFlow",
    "Trajectory",
    "checked_tokens",
    "integrate",
    "means_within",
    "run",
]
