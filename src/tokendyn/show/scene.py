"""What a picture of moving tokens needs, whichever system moved them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class TokenScene:
    """Tokens over layers with their leaders, ready to be drawn.

    Attributes
    ----------
    states
        ``(layers + 1, tokens, dim)`` float64 positions.
    followed
        ``(layers, tokens)``: which token each follows at each layer (lowest index of a tie).
    labels
        One name per token.
    weights
        ``(tokens,)`` positive multiplicities.
    leaders
        ``(leaders,)`` token numbers, drawn as stars, in a fixed order that fixes their colours.
    leader_layers
        ``(leaders,)`` layer from which each is drawn as a leader.
    leader_of
        ``(tokens,)``: position in ``leaders`` of the leader each token ends with, -1 for none.
    polytope
        ``(vertices, dim)`` corners of the limiting polytope K, or None.
    limit_points, limit_dimensions
        ``(points, dim)`` and ``(points,)``: the set S, or None; dimension 0 is a vertex, above 0 a
        face projection.
    title
        One line for the figure.
    neutral
        Position in ``leaders`` of a leader that stands for "no opinion" and is drawn grey; -1 for none.
    ends
        What a small and a large first coordinate speak for, in words; empty when they speak for nothing.
    """

    states: Float[np.ndarray, "states tokens dim"]
    followed: Int[np.ndarray, "layers tokens"]
    labels: tuple[str, ...]
    weights: Float[np.ndarray, " tokens"]
    leaders: Int[np.ndarray, " leaders"]
    leader_layers: Int[np.ndarray, " leaders"]
    leader_of: Int[np.ndarray, " tokens"]
    polytope: Float[np.ndarray, "vertices dim"] | None = None
    limit_points: Float[np.ndarray, "points dim"] | None = None
    limit_dimensions: Int[np.ndarray, " points"] | None = None
    title: str = ""
    neutral: int = -1
    ends: tuple[str, str] = ("", "")

    @property
    def layers(self) -> int:
        """Number of layers."""
        return self.states.shape[0] - 1

    @property
    def leader_masses(self) -> Float[np.ndarray, " leaders"]:
        """Weight of the tokens that end with each leader, itself included."""
        counted = self.leader_of >= 0
        return np.bincount(self.leader_of[counted], self.weights[counted], minlength=len(self.leaders)).astype(
            np.float64
        )
