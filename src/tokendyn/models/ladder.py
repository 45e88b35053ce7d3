"""How much of a model the theory holds: its pieces are switched on one by one, in both orders."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tokendyn.metrics.geometry import pair_cosines
from tokendyn.models.measures import Shape, TextMeasures, shape_of
from tokendyn.models.source import Encoded, Model
from tokendyn.models.system import System, system_of

#: Rungs of a model whose norms end its layers, and of others: the pieces that are off.
_ATTENTION = {"feed_forward": False}
_POST = {
    "attention, plain norms": {**_ATTENTION, "gains": False, "norm_biases": False, "biases": False},
    "+ gains": {**_ATTENTION, "norm_biases": False, "biases": False},
    "+ biases of norms": {**_ATTENTION, "biases": False},
}
_REST = {
    "attention alone": _ATTENTION, "feed-forward alone": {"attention": False}, "all = model": {},
    "all, hardmax": {"hard": True}, "attention, hardmax": {**_ATTENTION, "hard": True},
}  # fmt: skip
#: The rung without any dynamics.
START = "no dynamics"


@dataclass(frozen=True)
class Rung:
    """Some pieces of a model, run on one text.

    Attributes
    ----------
    rank
        Spearman correlation of all pairwise cosines with those of the real last layer.
    shape
        Geometry of the last layer.
    """

    rank: float
    shape: Shape


def rungs_of(system: System) -> dict[str, dict[str, bool]]:
    """Return the pieces that are switched, by the name of the rung."""
    first = system.layers[0]
    return {**(_POST if first.order == "post" and first.norms.front is not None else {}), **_REST}


def climb(model: Model, encoded: Encoded, last: Float[np.ndarray, "tokens dim"]) -> dict[str, Rung]:
    """Run each rung on one text.

    Parameters
    ----------
    model
        A model that is a system of layers.
    encoded
        The text.
    last
        The real states of the last layer; the first token is left out.
    """
    system = system_of(model, encoded)
    target = pair_cosines(last[1:])
    states = {START: system.start}
    for name, pieces in rungs_of(system).items():
        for state in system.switched(**pieces).states():
            states[name] = state
    return {name: Rung(rank=_rank(state, target), shape=shape_of(state[None])) for name, state in states.items()}


def add_ladder(model: Model, encoded: Encoded, into: TextMeasures) -> None:
    """Measure the ladder of one text that has been measured, for a model that theory can state."""
    if not model.not_a_system:
        into.ladder = {name: (rung.rank, rung.shape) for name, rung in climb(model, encoded, into.states[-1]).items()}


def _rank(state: np.ndarray, target: np.ndarray) -> float:
    from scipy.stats import rankdata

    first, second = rankdata(pair_cosines(state[1:])), rankdata(target)
    # Hardmax may bring all tokens to one point: then there is no order.
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])
