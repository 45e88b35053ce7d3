"""Hidden states of a trained model, and one of its heads, as settings of the explorer: words as tokens in a plane."""

import numpy as np
from jaxtyping import Float

from tokendyn.data.explored import MOST_TOKENS, Explored
from tokendyn.data.states import HiddenStates
from tokendyn.errors import BadInputError

#: Attention below this is left out of the fit: its logarithm is mostly rounding, and a masked pair has none.
_LEAST = 1e-6


def explored_states(states: HiddenStates, layer: int, head: int | None = None) -> Explored:
    r"""Return the states that enter a layer in the plane that holds most of them, with the scores of one head.

    The plane is that of the two leading right singular vectors of the states, not centred, because attention is not;
    the states are divided by their root mean square norm. With a head, ``A`` is the matrix that fits its attention
    ``p`` best in the plane: it minimises the squared differences of ``log p_ij`` and ``<A z_i, z_j>`` after each row's
    mean is subtracted, which removes the logarithm of the row's sum (our own). Its spectral norm becomes the inverse
    temperature. The values of the head are not used: ``V = I``.

    Parameters
    ----------
    states
        ``(layers + 1, tokens, dim)``, with attention where ``head`` is given.
    layer
        From 0; the states that enter this layer. The number of layers itself gives the last states.
    head
        From 0; None for ``A = I``.

    Raises
    ------
    BadInputError
        For a layer or head that is not there, states without attention, or more tokens than the explorer takes.
    """
    _check(states, layer, head)
    chosen = states.states[layer]
    _, singular, right = np.linalg.svd(chosen, full_matrices=False)
    plane = np.zeros((2, chosen.shape[1]))
    plane[: len(right)] = right[:2]
    tokens = chosen @ plane.T
    size = float(np.sqrt((tokens**2).sum(axis=1).mean()))
    tokens = tokens / (size or 1.0)
    share = float((singular[:2] ** 2).sum() / ((singular**2).sum() or 1.0))
    note = f"States that enter layer {layer} in their plane of largest norm, which holds {share:.0%} of it."
    score, beta = None, 20.0
    if head is not None and states.attention is not None:
        score, beta, fit = _fitted(tokens, states.attention[layer, head])
        note += f" A fits the attention of head {head} (R² = {fit:.2f}); no mask, V = I."
    return Explored(
        tokens, labels=states.labels, matrix=score, inverse_temperature=beta, title=f"Words of {states.source}"[:200],
        note=note,
    )  # fmt: skip


def _check(states: HiddenStates, layer: int, head: int | None) -> None:
    most = states.layers if head is None else states.layers - 1
    if not 0 <= layer <= most:
        raise BadInputError(f"`layer` is {layer}; {states.source} has layers 0 to {most}")
    if states.states.shape[1] > MOST_TOKENS:
        raise BadInputError(f"{states.source} has {states.states.shape[1]} tokens; the explorer takes {MOST_TOKENS}")
    if head is None:
        return
    if states.attention is None:
        raise BadInputError(
            f"{states.source} holds no attention, so `head` has nothing to fit; leave it out, or write the attention "
            "with tokendyn.write_states"
        )
    if not 0 <= head < states.attention.shape[1]:
        raise BadInputError(f"`head` is {head}; {states.source} has heads 0 to {states.attention.shape[1] - 1}")


def _fitted(
    tokens: Float[np.ndarray, "tokens 2"], attention: Float[np.ndarray, "tokens tokens"]
) -> tuple[Float[np.ndarray, "2 2"], float, float]:
    """Return ``A`` of norm 1, its inverse temperature, and the share of the variance that it explains (R squared)."""
    counted = attention > _LEAST
    rows = np.maximum(counted.sum(axis=1, keepdims=True), 1)
    logs = np.where(counted, np.log(np.where(counted, attention, 1.0)), 0.0)
    logs = np.where(counted, logs - logs.sum(axis=1, keepdims=True) / rows, 0.0)
    # A pair (i, j) has one column for each entry of A; the mean of row i is subtracted as for the logarithms.
    pairs = np.einsum("ic,jd->ijdc", tokens, tokens).reshape(*attention.shape, 4) * counted[:, :, None]
    pairs = (pairs - pairs.sum(axis=1, keepdims=True) / rows[:, :, None]) * counted[:, :, None]
    solution, *_ = np.linalg.lstsq(pairs.reshape(-1, 4), logs.ravel(), rcond=None)
    rest = float(((logs.ravel() - pairs.reshape(-1, 4) @ solution) ** 2).sum())
    total = float((logs**2).sum())
    scaled = solution.reshape(2, 2)
    beta = float(np.linalg.norm(scaled, 2))
    if beta == 0:
        return np.eye(2), 1e-3, 0.0
    return scaled / beta, beta, 1 - rest / total if total else 0.0
