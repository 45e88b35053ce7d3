"""Layers as a dynamical system of tokens, and the trajectory that they leave.

A layer moves every token towards what its heads attend to (arXiv 2407.01602, with general value matrices,
several heads and an optional feed-forward part, which that paper leaves open)::

    z_i <- z_i + alpha / (1 + alpha) * (sum_h m_i^h - z_i),   m_i^h = sum_j p_ij^h V_h z_j
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from tokendyn.attention import AttentionStep, Head
from tokendyn.attention.step import Backend
from tokendyn.errors import BadInputError, ScaleError
from tokendyn.geometry import Clusters, cluster_points
from tokendyn.runs.files import new_folder, read_json, read_tensors, write_json, write_tensors
from tokendyn.runs.provenance import provenance

if TYPE_CHECKING:
    import xarray

SCHEMA, SCHEMA_VERSION = "tokendyn-trajectory", 1

#: Called after each layer with the number of layers done and the number asked for.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class FeedForward:
    """A residual two-layer perceptron on each token: ``z + W2 relu(W1 z + b1) + b2``.

    Attributes
    ----------
    inner, inner_bias
        ``W1`` of shape ``(width, dim)``, ``b1`` of shape ``(width,)``.
    outer, outer_bias
        ``W2`` of shape ``(dim, width)``, ``b2`` of shape ``(dim,)``.
    """

    inner: Float[np.ndarray, "width dim"]
    inner_bias: Float[np.ndarray, " width"]
    outer: Float[np.ndarray, "dim width"]
    outer_bias: Float[np.ndarray, " dim"]

    def __post_init__(self) -> None:
        shapes = [np.shape(part) for part in (self.inner, self.inner_bias, self.outer, self.outer_bias)]
        if len(shapes[0]) != 2 or shapes[1:] != [shapes[0][:1], shapes[0][::-1], shapes[0][1:]]:
            raise BadInputError(
                "a feed-forward part needs shapes (width, dim), (width,), (dim, width), (dim,); got "
                + ", ".join(map(str, shapes))
            )

    def __call__(self, tokens: Float[np.ndarray, "*batch tokens dim"]) -> Float[np.ndarray, "*batch tokens dim"]:
        """Apply to ``(..., tokens, dim)``."""
        if tokens.shape[-1] != self.inner.shape[1]:
            raise BadInputError(f"a feed-forward part of dim {self.inner.shape[1]} does not fit {tokens.shape}")
        hidden = np.maximum(tokens @ self.inner.T + self.inner_bias, 0.0)
        return tokens + hidden @ self.outer.T + self.outer_bias


@dataclass(frozen=True)
class Layer:
    """One transformer layer acting on a set of tokens.

    Attributes
    ----------
    alpha
        Step parameter ``> 0``; a token moves by the share ``alpha / (1 + alpha)``.
    heads
        Their means are added. One head with ``A`` symmetric positive definite and ``V = I`` at hardmax is
        the model of arXiv 2407.01602.
    feed_forward
        Applied after the attention, when given.
    """

    alpha: float = 1.0
    heads: tuple[Head, ...] = (Head(),)
    feed_forward: FeedForward | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.alpha) and self.alpha > 0):
            raise BadInputError(f"alpha must be positive and finite, got {self.alpha}")
        if not self.heads:
            raise BadInputError("a layer needs at least one head")

    def __call__(
        self,
        tokens: Float[np.ndarray, "*batch tokens dim"],
        *,
        weights: Float[np.ndarray, "*batch tokens"] | None = None,
        mask: Bool[np.ndarray, "*batch tokens"] | None = None,
        backend: Backend = "auto",
    ) -> tuple[Float[np.ndarray, "*batch tokens dim"], tuple[AttentionStep, ...]]:
        """Return the moved tokens and what each head found. Masked tokens stay where they are."""
        steps = tuple(head.attend(tokens, weights=weights, mask=mask, backend=backend) for head in self.heads)
        target = steps[0].means
        for step in steps[1:]:
            target = target + step.means
        if target.shape != tokens.shape:
            raise BadInputError(f"value matrices map tokens of shape {tokens.shape} to {target.shape}")
        moved = tokens + self.alpha / (1 + self.alpha) * (target - tokens)
        if self.feed_forward is not None:
            moved = self.feed_forward(moved)
        return (moved if mask is None else np.where(mask[..., None], moved, tokens)), steps


@dataclass(frozen=True)
class Trajectory:
    """Tokens over the layers, and whom each followed.

    Attributes
    ----------
    states
        ``(layers + 1, tokens, dim)`` float64; entry 0 is the input.
    leaders, tie_counts, tie_spreads
        ``(layers, heads, tokens)``: what :class:`~tokendyn.attention.AttentionStep` says of each layer.
    labels
        One name per token.
    status
        ``"completed"``, or ``"diverged"`` when a state or a score overflowed; the finite layers are kept.
    provenance
        Versions, configuration, seconds.
    """

    states: Float[np.ndarray, "states tokens dim"]
    leaders: Int[np.ndarray, "layers heads tokens"]
    tie_counts: Int[np.ndarray, "layers heads tokens"]
    tie_spreads: Float[np.ndarray, "layers heads tokens"]
    labels: tuple[str, ...]
    status: Literal["completed", "diverged"] = "completed"
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def layers(self) -> int:
        """Number of layers that were run."""
        return self.states.shape[0] - 1

    @property
    def scale(self) -> float:
        """Largest absolute coordinate of the input: the length that relative tolerances refer to."""
        return float(np.abs(self.states[0]).max()) or 1.0

    def followed_points(self, head: int = 0) -> Float[np.ndarray, "layers tokens dim"]:
        """Return the place of the token that each token follows, layer by layer."""
        return np.take_along_axis(self.states[:-1], self.leaders[:, head, :, None], axis=1)

    def settled_layers(self, head: int = 0, tolerance: float = 1e-9) -> Int[np.ndarray, " tokens"]:
        """Return the first layer from which each token follows one and the same point until the end.

        Points are compared by value (``tolerance`` times :attr:`scale`), because followers that have
        converged onto their leader tie with it.
        """
        settled = np.zeros(self.states.shape[1], dtype=np.int64)
        for layer in range(1, self.layers):
            now = self.states[layer][self.leaders[layer, head]]
            before = self.states[layer][self.leaders[layer - 1, head]]
            changed = np.abs(now - before).max(axis=1) > tolerance * self.scale
            settled[changed] = layer
        return settled

    def clusters(self, layer: int = -1, tolerance: float = 1e-3) -> Clusters:
        """Group the tokens of one layer that are joined by gaps of at most ``tolerance * scale``."""
        return cluster_points(self.states[layer], tolerance * self.scale)

    def to_xarray(self) -> "xarray.Dataset":
        """Return states, leaders and tie counts as an xarray dataset with named axes."""
        import xarray

        return xarray.Dataset(
            {
                "position": (("layer", "token", "coordinate"), self.states),
                "leader": (("step", "head", "token"), self.leaders),
                "tie_count": (("step", "head", "token"), self.tie_counts),
            },
            coords={
                "layer": np.arange(self.layers + 1),
                "step": np.arange(self.layers),
                "token": np.arange(len(self.labels)),
                "label": ("token", np.array(self.labels, dtype=object)),
            },
            attrs={"status": self.status},
        )

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write ``trajectory.safetensors`` and ``trajectory.json`` into a new folder."""
        with new_folder(folder, overwrite=overwrite) as temporary:
            self.write_into(temporary)

    def write_into(self, folder: Path) -> None:
        """Write the two files of :meth:`save` into an existing folder."""
        arrays = {name: getattr(self, name) for name in ("states", "leaders", "tie_counts", "tie_spreads")}
        write_tensors(folder / "trajectory.safetensors", arrays)
        record = {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "status": self.status,
            "labels": list(self.labels),
            "provenance": self.provenance,
        }
        write_json(folder / "trajectory.json", record)

    @classmethod
    def load(cls, folder: str | Path) -> "Trajectory":
        """Read what :meth:`save` wrote.

        Raises
        ------
        BadInputError
            If a file is missing, truncated, of a newer schema, or its arrays do not fit together.
        """
        folder = Path(folder)
        record = read_json(folder / "trajectory.json", schema=SCHEMA, version=SCHEMA_VERSION)
        names = ("states", "leaders", "tie_counts", "tie_spreads")
        tensors = read_tensors(folder / "trajectory.safetensors", set(names))
        arrays = {name: tensors[name] for name in names}
        labels = record.get("labels")
        if (
            not _arrays_fit(**arrays)
            or not isinstance(labels, list)
            or len(labels) != arrays["states"].shape[1]
            or record.get("status") not in ("completed", "diverged")
            or not isinstance(record.get("provenance", {}), dict)
        ):
            raise BadInputError(f"{folder} is damaged: its arrays and its record do not fit together")
        return cls(
            **arrays,
            labels=tuple(map(str, labels)),
            status=record["status"],
            provenance=record.get("provenance", {}),
        )


def _arrays_fit(states: np.ndarray, leaders: np.ndarray, tie_counts: np.ndarray, tie_spreads: np.ndarray) -> bool:
    """Return whether arrays read from a file are those of one trajectory."""
    kinds = [array.dtype for array in (states, leaders, tie_counts, tie_spreads)]
    return bool(
        kinds == [np.float64, np.int64, np.int64, np.float64]
        and states.ndim == leaders.ndim == 3
        and 0 not in states.shape
        and (leaders.shape[0], leaders.shape[2]) == (states.shape[0] - 1, states.shape[1])
        and leaders.shape == tie_counts.shape == tie_spreads.shape
        and np.isfinite(states).all()
        and ((leaders >= 0) & (leaders < states.shape[1])).all()
    )


def run(
    tokens: Float[np.ndarray, "tokens dim"],
    layers: Sequence[Layer],
    *,
    labels: Sequence[str] | None = None,
    weights: Float[np.ndarray, " tokens"] | None = None,
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
    states, found = [state], []
    status: Literal["completed", "diverged"] = "completed"
    for done, layer in enumerate(layers, start=1):
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                state, steps = layer(state, weights=weights, backend=backend)
        except ScaleError:
            status = "diverged"
            break
        if not np.isfinite(state).all():
            status = "diverged"
            break
        states.append(state)
        found.append(steps)
        if progress is not None:
            progress(done, len(layers))
    heads = len(layers[0].heads)

    def stacked(name: str, dtype: type) -> np.ndarray:
        rows = [[getattr(step, name) for step in steps] for steps in found]
        return np.array(rows, dtype=dtype).reshape(len(found), heads, len(states[0]))

    return Trajectory(
        states=np.array(states),
        leaders=stacked("leaders", np.int64),
        tie_counts=stacked("tie_counts", np.int64),
        tie_spreads=stacked("tie_spreads", np.float64),
        labels=labels,
        status=status,
        provenance=provenance(config or {}, seed=None, seconds=time.perf_counter() - started),
    )


def checked_tokens(tokens: object) -> Float[np.ndarray, "tokens dim"]:
    """Return tokens as a float64 matrix, or raise a :class:`BadInputError` that says what is wrong."""
    try:
        array = np.asarray(tokens)
    except ValueError:
        raise BadInputError("tokens have rows of different lengths; each token needs every coordinate") from None
    if array.dtype.kind not in "fiub":
        raise BadInputError(f"tokens must be real numbers, got {array.dtype}")
    if array.ndim != 2 or 0 in array.shape:
        raise BadInputError(f"tokens must be a (tokens, dim) matrix with at least one row, got {array.shape}")
    array = array.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if bad.size:
        some = ", ".join(map(str, bad[:10])) + (" ..." if bad.size > 10 else "")
        raise BadInputError(f"tokens {some} have NaN or infinite coordinates; remove or repair them")
    return array
