"""The trajectory of tokens over the layers: states, leaders, summary, table, files."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, Int

from tokendyn.dynamics.freeze import FrozenMotion
from tokendyn.errors import BadInputError
from tokendyn.geometry import Clusters, cluster_points, euclidean_norms, same_points
from tokendyn.results import Paths, Result
from tokendyn.runs.files import new_folder, read_json, read_tensors, write_json, write_tensors
from tokendyn.words import counted

if TYPE_CHECKING:
    import pandas as pd
    import xarray

SCHEMA, SCHEMA_VERSION = "tokendyn-trajectory", 3
_MOTION = ("since", "origins", "goals", "log_shares")


@dataclass(frozen=True, repr=False)
class Trajectory(Result):
    """Tokens over the layers, and the leader of each.

    Attributes
    ----------
    states
        ``(layers + 1, tokens, dim)`` float64; entry 0 is the input. Fewer when not all layers were recorded.
    leaders, tie_counts, tie_spreads
        ``(layers, heads, tokens)``: those of the :class:`~tokendyn.attention.AttentionStep` of each layer, computed
        from the state with the same number.
    labels
        One name per token.
    status
        ``"completed"``, or ``"diverged"`` when a state or a score overflowed; the finite layers are kept.
    provenance
        Versions, configuration, seconds.
    recorded
        ``(states,)``: the number of layers before each state; by default all numbers.
    motion
        The closed form of later layers, when every token froze.
    doubtful
        Tokens with a leader that was chosen within rounding of a tie, without proof.
    """

    states: Float[np.ndarray, "states tokens dim"]
    leaders: Int[np.ndarray, "layers heads tokens"]
    tie_counts: Int[np.ndarray, "layers heads tokens"]
    tie_spreads: Float[np.ndarray, "layers heads tokens"]
    labels: tuple[str, ...]
    status: Literal["completed", "diverged"] = "completed"
    provenance: dict[str, Any] = field(default_factory=dict)
    recorded: Int[np.ndarray, " numbers"] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    motion: FrozenMotion | None = None
    doubtful: Int[np.ndarray, " doubtful"] = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def __post_init__(self) -> None:
        if not self.recorded.size:
            object.__setattr__(self, "recorded", np.arange(len(self.states)))

    @property
    def layers(self) -> int:
        """Number of layers that were run."""
        return int(self.recorded[-1])

    @property
    def is_whole(self) -> bool:
        """Whether every layer is recorded."""
        return len(self.states) == self.layers + 1

    def at(self, layer: int) -> Float[np.ndarray, "tokens dim"]:
        """Return the tokens after a number of layers (negative: counted from the end), recorded or in closed form.

        Raises
        ------
        BadInputError
            If the layer was not run, or is neither recorded nor late enough for the closed form.
        """
        number = layer + self.layers + 1 if layer < 0 else layer
        if not 0 <= number <= self.layers:
            raise BadInputError(f"the run has {counted(self.layers, 'layer')}; there is no layer {layer}")
        (rows,) = np.nonzero(self.recorded == number)
        if rows.size:
            return self.states[rows[0]]
        if self.motion is not None and number >= self.motion.first_layer:
            return self.motion.at(number)
        raise BadInputError(f"layer {number} was not recorded; run again with record=[{number}]")

    @property
    def scale(self) -> float:
        """Largest absolute coordinate of the input."""
        return float(np.abs(self.states[0]).max()) or 1.0

    def sizes(self, points: Float[np.ndarray, "points dim"]) -> Float[np.ndarray, " points"]:
        """Return the length that a relative tolerance refers to at each point.

        It is the Euclidean norm of the point, because tokens of one run can be on very different scales, but at least
        the smallest positive norm of an input token, because tokens may shrink towards the origin together.
        """
        start = euclidean_norms(self.states[0])
        return np.maximum(euclidean_norms(points), start[start > 0].min() if start.any() else 1.0)

    def followed_points(self, head: int = 0) -> Float[np.ndarray, "layers tokens dim"]:
        """Return the point of the token that each token follows, layer by layer."""
        return np.take_along_axis(self.states[:-1], self.leaders[:, head, :, None], axis=1)

    def settled_layers(self, head: int = 0, tolerance: float = 1e-9) -> Int[np.ndarray, " tokens"]:
        """Return the first layer from which each token follows the same point until the end.

        Points are compared by value (``tolerance`` times the larger of their :meth:`sizes`), because followers that
        have converged onto their leader tie with it.

        Raises
        ------
        BadInputError
            If not all layers are recorded.
        """
        if not self.is_whole:
            raise BadInputError('when tokens settle needs every layer; run again with record="all"')
        settled = np.zeros(self.states.shape[1], dtype=np.int64)
        for layer in range(1, self.layers):
            now = self.states[layer][self.leaders[layer, head]]
            before = self.states[layer][self.leaders[layer - 1, head]]
            near = tolerance * np.maximum(self.sizes(now), self.sizes(before))
            settled[~same_points(now, before, near)] = layer
        return settled

    def clusters(self, layer: int = -1, tolerance: float = 1e-3) -> Clusters:
        """Group the tokens of one layer that are linked by gaps of at most ``tolerance`` times their :meth:`sizes`.

        For two tokens the larger size counts.
        """
        state = self.at(layer)
        return cluster_points(state, tolerance * self.sizes(state))

    def summary(self) -> dict[str, Any]:
        """Return the run in numbers, as JSON values."""
        _, tokens, dim = self.states.shape
        return {
            "status": self.status, "tokens": tokens, "dim": dim, "layers": self.layers,
            "heads": self.leaders.shape[1], "recorded": len(self.states), "doubtful": len(self.doubtful),
        }  # fmt: skip

    def describe(self) -> list[str]:
        """Return the run in a few sentences."""
        summary = self.summary()
        lines = [
            "{tokens} tokens in {dim} dimensions, {layers} layers with {heads} heads, "
            "{recorded} states recorded".format(**summary)
        ]
        lines.append(f"{counted(len(self.clusters().sizes), 'cluster')} at the end")
        if self.status == "diverged":
            lines.append(f"the run diverged; {self.layers} finite layers are kept")
        if self.doubtful.size:
            lines.append(
                f"within rounding of a tie: {counted(len(self.doubtful), 'token')}; exact arithmetic may say otherwise"
            )
        return lines

    def table(self) -> "pd.DataFrame":
        """Return one row for each token: start, end, its first and last leader (head 0)."""
        import pandas as pd

        columns: dict[str, Any] = {"token": list(self.labels)}
        for name, state in (("start", self.states[0]), ("end", self.states[-1])):
            columns |= {f"{name}_x{axis + 1}": state[:, axis] for axis in range(state.shape[1])}
        if len(self.leaders):
            names = np.array(self.labels, dtype=object)
            columns |= {"follows_at_first": names[self.leaders[0, 0]], "follows_at_last": names[self.leaders[-1, 0]]}
        columns["cluster"] = self.clusters().labels
        return pd.DataFrame(columns)

    def picture(self) -> Paths:
        """Return the paths of the tokens, coloured by the cluster in which they end."""
        return Paths(self.states, self.recorded, self.clusters().labels)

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
                "layer": self.recorded,
                "step": self.recorded[:-1],
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
        if self.motion is not None and not self.is_whole:
            arrays |= {f"frozen_{name}": getattr(self.motion, name) for name in _MOTION}
        write_tensors(folder / "trajectory.safetensors", arrays)
        record = {
            "schema": SCHEMA,
            # Whole trajectories have the form of version 1, so that older releases can read them.
            "schema_version": 1 if self.is_whole else SCHEMA_VERSION,
            "status": self.status,
            "labels": list(self.labels),
            "recorded": self.recorded.tolist(),
            "doubtful": self.doubtful.tolist(),
            "provenance": self.provenance,
        }
        write_json(folder / "trajectory.json", record)

    @classmethod
    def load(cls, folder: str | Path) -> "Trajectory":
        """Read the result of :meth:`save`.

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
        recorded = record.get("recorded", list(range(len(arrays["states"]))))
        doubtful = record.get("doubtful", [])
        motion = {name: tensors.get(f"frozen_{name}") for name in (*_MOTION, "leaders")}
        if (
            not _arrays_fit(**arrays)
            or not _numbers_fit(recorded, len(arrays["states"]))
            or not isinstance(labels, list)
            or len(labels) != arrays["states"].shape[1]
            or record.get("status") not in ("completed", "diverged")
            or not isinstance(record.get("provenance", {}), dict)
            or not isinstance(doubtful, list)
            or not all(isinstance(token, int) and 0 <= token < len(labels) for token in doubtful)
        ):
            raise BadInputError(f"{folder} is damaged: its arrays and its record do not fit together")
        return cls(
            **arrays,
            labels=tuple(map(str, labels)),
            status=record["status"],
            provenance=record.get("provenance", {}),
            recorded=np.array(recorded),
            motion=_checked_motion(motion, arrays["states"].shape[1:], recorded[-1], folder),
            doubtful=np.array(doubtful, dtype=np.int64),
        )


def _numbers_fit(recorded: object, states: int) -> bool:
    """Return whether layer numbers read from a file ascend from 0."""
    return (
        isinstance(recorded, list)
        and len(recorded) == states
        and all(isinstance(number, int) for number in recorded)
        and recorded[0] == 0
        and all(earlier < later for earlier, later in itertools.pairwise(recorded))
    )


def _checked_motion(
    parts: dict[str, np.ndarray | None], shape: tuple[int, ...], layers: int, folder: Path
) -> FrozenMotion | None:
    """Return the closed form read from a file, None when there is none."""
    since, origins, goals, log_shares = (parts[name] for name in _MOTION)
    if goals is None and parts["leaders"] is not None and origins is not None:
        goals = _goals_of(parts["leaders"], origins)  # Files of schema 2 name a leader, which stays at its origin.
    if since is None or origins is None or goals is None or log_shares is None:
        return None
    fits = (
        (since.shape, origins.shape, goals.shape, log_shares.shape) == (shape[:1], shape, shape, (layers + 1,))
        and [part.dtype for part in (since, origins, goals, log_shares)]
        == [np.int64, np.float64, np.float64, np.float64]
        and bool(((since >= 0) & (since <= layers)).all())
        and bool(all(np.isfinite(part).all() for part in (origins, goals, log_shares)))
    )
    if not fits:
        raise BadInputError(f"{folder} is damaged: the closed form of its later layers does not fit")
    return FrozenMotion(since=since, origins=origins, goals=goals, log_shares=log_shares)


def _goals_of(leaders: np.ndarray, origins: np.ndarray) -> np.ndarray:
    """Return the points of leaders; empty when they do not fit."""
    fits = leaders.dtype == np.int64 and ((leaders >= 0) & (leaders < len(origins))).all()
    return origins[leaders] if fits else np.empty(0)


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
