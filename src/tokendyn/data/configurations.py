"""Named token configurations of the sources."""

import numpy as np
from jaxtyping import Float

from tokendyn.errors import BadInputError

_SQUARE = [(1.0, 1.0), (1.0, -1.0), (-1.0, -1.0), (-1.0, 1.0)]

#: What each configuration of Figure 2 of arXiv 2407.01602 shows.
DESCRIPTIONS = {
    "emerging-leader": "three leaders, one of which emerges after the first layer",
    "triangle": "three leaders at the corners of a triangle",
    "square": "four leaders at the corners of a square",
    "face-clusters": "two clusters without a leader, at projections onto faces of the square",
}


def configuration(name: str, seed: int = 0) -> Float[np.ndarray, "tokens 2"]:
    """Return the tokens of a configuration of Figure 2 of arXiv 2407.01602 (``alpha = 0.5``, ``A = I``).

    Parameters
    ----------
    name
        A key of ``DESCRIPTIONS``.
    seed
        For the inner tokens, which the source draws at random.

    Raises
    ------
    BadInputError
        For an unknown name.

    Examples
    --------
    >>> from tokendyn.data.configurations import configuration
    >>> configuration("triangle")[:3]
    array([[ 1. ,  1. ],
           [ 0.5, -0.5],
           [-1. , -1. ]])
    """
    rng = np.random.default_rng(seed)
    if name == "emerging-leader":
        return np.array(
            [(1, 4 / 12), (-1 / 12, 1 / 12), (-1, -1), (0, 3 / 12), (-0.3, -0.7), (-0.6, -0.9), (0.8, 0.1), (0.6, 0.15)]
        )
    if name == "triangle":
        corners = np.array([(1.0, 1.0), (0.5, -0.5), (-1.0, -1.0)])
        return np.concatenate([corners, rng.dirichlet(np.ones(3), 6) @ corners])
    if name == "square":
        return np.concatenate([np.array(_SQUARE), rng.uniform(-0.5, 0.5, (6, 2))])
    if name == "face-clusters":
        return np.concatenate([np.array([*_SQUARE, (-0.5, 0.0), (0.5, 0.0)]), rng.uniform(-0.5, 0.5, (4, 2))])
    raise BadInputError(f"no configuration {name!r}; there are {', '.join(DESCRIPTIONS)}")
