"""Sending tokens through layers."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from tokendyn.attention.step import Backend
from tokendyn.dynamics.freeze import Following, Frozen, may_freeze
from tokendyn.dynamics.layers import Layer, checked_tokens
from tokendyn.dynamics.trajectory import Trajectory
from tokendyn.errors import BadInputError, ScaleError
from tokendyn.runs.provenance import provenance

#: Called after each layer with the number of layers done and the number asked for.
Progress = Callable[[int, int], None]


def run(
    tokens: Float[np.ndarray, "tokens dim"],
    layers: Sequence[Layer],
    *,
    labels: Sequence[str] | None = None,
    weights: Float[np.ndarray, " tokens"] | None = None,
    freeze: bool = True,
    backend: Backend = "auto",
    config: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> Trajectory:
    """Send one set of tokens through layers and record the way.

    Parameters
    ----------
    tokens
        ``(tokens, dim)`` real and finite; computed in float64.
    layers
        One :class:`Layer` for each layer; all with the same number of heads.
    labels
        A name for each token, by default its number.
    weights
        Positive token weights (multiplicities).
    freeze
        Let tokens whose leader is certain for ever follow it without attending again
        (:class:`~tokendyn.dynamics.freeze.Frozen`).
        Applies to hardmax layers of one head with the same ``A`` and without ``V`` or feed-forward part.
    backend
        See :func:`tokendyn.attention.attend`.
    config
        Settings to keep in the provenance.
    progress
        Called after each layer.

    Raises
    ------
    BadInputError
        If the tokens are not a finite real matrix with at least one row, or the layers do not fit.
    """
    state = checked_tokens(tokens)
    labels = tuple(map(str, range(len(state)))) if labels is None else tuple(map(str, labels))
    if len(labels) != len(state):
        raise BadInputError(f"{len(labels)} labels for {len(state)} tokens")
    if len({len(layer.heads) for layer in layers}) != 1:
        raise BadInputError("give at least one layer, and the same number of heads in each")
    started = time.perf_counter()
    states: list[np.ndarray] = [state]
    found: list[list[Following]] = []
    frozen = Frozen.none(len(state)) if freeze and may_freeze(layers) else None
    status: Literal["completed", "diverged"] = "completed"
    for done, layer in enumerate(layers, start=1):
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                if frozen is None:
                    state, steps = layer(state, weights=weights, backend=backend)
                    followings = [Following(step.leaders, step.tie_counts, step.tie_spreads) for step in steps]
                else:
                    state, following = frozen.step(layer, state, weights, backend)
                    followings = [following]
        except ScaleError:
            status = "diverged"
            break
        if not np.isfinite(state).all():
            status = "diverged"
            break
        states.append(state)
        found.append(followings)
        if progress is not None:
            progress(done, len(layers))
    shape = (len(found), len(layers[0].heads), len(state))
    return Trajectory(
        states=np.array(states),
        leaders=np.array([[f.leaders for f in row] for row in found], dtype=np.int64).reshape(shape),
        tie_counts=np.array([[f.tie_counts for f in row] for row in found], dtype=np.int64).reshape(shape),
        tie_spreads=np.array([[f.tie_spreads for f in row] for row in found], dtype=np.float64).reshape(shape),
        labels=labels,
        status=status,
        provenance=provenance(config or {}, seed=None, seconds=time.perf_counter() - started),
    )
