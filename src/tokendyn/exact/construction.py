"""The result of a strategy: weights, names of the channels, and the numbers that certify them."""

from dataclasses import dataclass

from tokendyn.exact.plan import Plan
from tokendyn.exact.weights import Weights


@dataclass(frozen=True)
class Construction:
    """Weights of a strategy with the numbers that certify them.

    Attributes
    ----------
    strategy
        Its name.
    weights
        The weights, in the requested type.
    channels
        Names of the residual channels, in their order; the stream may be wider.
    dim
        Channels of the residual stream, padding included.
    outputs
        Channels that hold the output.
    gap
        The smallest gap on which a decision rests.
    error
        Largest error of a floating-point run, in the unit of the gap.
    needed
        The smallest gap that the error allows.
    width
        The smallest w of a query of hardmax attention; infinite without such attention.
    longest
        Longest sequence that the construction is certified for; None for any length.
    queries
        Number of questions.
    plan
        The queries of a deep construction.
    bitwise
        Whether the output is the label to the last bit in floating point, whatever the order of summation.
    """

    strategy: str
    weights: Weights
    channels: tuple[str, ...]
    dim: int
    outputs: tuple[int, ...]
    gap: float
    error: float
    needed: float
    width: float
    longest: int | None
    queries: int
    plan: Plan | None = None
    bitwise: bool = True
