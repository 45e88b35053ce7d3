"""Layers as a dynamical system of tokens, and the trajectories of the tokens.

A layer moves every token towards what its heads attend to (arXiv 2407.01602, with general value matrices,
several heads and an optional feed-forward part, which that paper leaves open)::

    z_i <- z_i + alpha / (1 + alpha) * (sum_h m_i^h - z_i),   m_i^h = sum_j p_ij^h V_h z_j

:func:`run` sends one set of tokens through layers, :func:`run_ragged` thousands of sets of any sizes at once;
:func:`mean_shares` returns what each token contributes to the final mean.
In continuous time, weighted tokens move on the sphere (arXiv 2605.10931): :class:`TokenFlow` is the velocity, which
:func:`integrate` integrates.
"""

from tokendyn.dynamics.flow import TokenFlow, means_within
from tokendyn.dynamics.flow_trajectory import FlowTrajectory
from tokendyn.dynamics.freeze import FrozenMotion
from tokendyn.dynamics.integration import Budget, Event
from tokendyn.dynamics.integrators import integrate
from tokendyn.dynamics.layers import FeedForward, Layer, ResidualLayer, checked_tokens
from tokendyn.dynamics.ragged import run_ragged
from tokendyn.dynamics.ragged_shares import MeanShares, mean_shares
from tokendyn.dynamics.ragged_tokens import RaggedTokens
from tokendyn.dynamics.ragged_trajectory import RaggedTrajectory
from tokendyn.dynamics.run import Progress, Record, run
from tokendyn.dynamics.trajectory import Trajectory

__all__ = [
    "Budget",
    "Event",
    "FeedForward",
    "FlowTrajectory",
    "FrozenMotion",
    "Layer",
    "MeanShares",
    "Progress",
    "RaggedTokens",
    "RaggedTrajectory",
    "Record",
    "ResidualLayer",
    "TokenFlow",
    "Trajectory",
    "checked_tokens",
    "integrate",
    "mean_shares",
    "means_within",
    "run",
    "run_ragged",
]
