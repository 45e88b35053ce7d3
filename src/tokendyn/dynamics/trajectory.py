"""Tokens over the layers, kept, saved and loaded."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, Int

from tokendyn.errors import BadInputError
from tokendyn.geometry import Clusters, cluster_points
from tokendyn.runs.files import new_folder, read_json, read_tensors, write_json, write_tensors

if TYPE_CHECKING:
    import xarray

SCHEMA, SCHEMA_VERSION = "tokendyn-trajectory", 1


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
