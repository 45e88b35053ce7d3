"""The trajectory of weighted tokens in continuous time: states, summary, table, files."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from tokendyn.errors import BadInputError
from tokendyn.geometry import Clusters, cluster_points
from tokendyn.results import Paths, Result
from tokendyn.results.fields import check_fields
from tokendyn.runs.files import new_folder, read_json, read_tensors, write_json, write_tensors
from tokendyn.words import counted

if TYPE_CHECKING:
    import pandas as pd
    import xarray

SCHEMA, SCHEMA_VERSION = "tokendyn-flow", 1

#: ``diverged``: a state or an exponent is not finite. ``singular``: a token reached ``B^T x = 0``.
FlowStatus = Literal["completed", "event", "diverged", "singular", "out of steps", "out of time"]


@dataclass(frozen=True)
class FlowTrajectory(Result):
    """Tokens at the requested times, as far as the integration came.

    Attributes
    ----------
    times
        ``(states,)``: increasing.
    states
        ``(states, tokens, dim)`` float64, finite.
    weights
        ``(tokens,)``: positive, of sum 1.
    status
        ``"completed"``, or why the integration ended early; the states before that are kept.
    reason
        The status in a sentence; empty when completed.
    steps, evaluations, rejected
        Numbers of steps taken, velocities computed, and steps rejected.
    events
        Times of each event, by name.
    provenance
        Versions, configuration, seed, seconds.
    step_error
        Largest estimated error of one step of one token with the methods euler, heun and rk4; None for others, and for
        noise.
    """

    times: Float[np.ndarray, " states"]
    states: Float[np.ndarray, "states tokens dim"]
    weights: Float[np.ndarray, " tokens"]
    status: FlowStatus = "completed"
    reason: str = ""
    steps: int = 0
    evaluations: int = 0
    rejected: int = 0
    events: dict[str, list[float]] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    step_error: float | None = None

    def clusters(self, state: int = -1, gap: float = 0.05) -> Clusters:
        """Group the tokens of one state that are linked by gaps of at most ``gap``."""
        return cluster_points(self.states[state], gap)

    def cluster_counts(self, gap: float = 0.05) -> Int[np.ndarray, " states"]:
        """Return the number of clusters at every time."""
        return np.array([len(cluster_points(state, gap).sizes) for state in self.states], dtype=np.int64)

    def summary(self) -> dict[str, Any]:
        """Return the run in numbers, as JSON values."""
        states, tokens, dim = self.states.shape
        return {
            "status": self.status, "tokens": tokens, "dim": dim, "time": float(self.times[-1]), "states": states,
            "steps": self.steps, "rejected": self.rejected, "evaluations": self.evaluations,
        }  # fmt: skip

    def describe(self) -> list[str]:
        """Return the run in a few sentences."""
        summary = self.summary()
        lines = [
            "{tokens} tokens in {dim} dimensions until t = {time:g}: {steps} steps, {evaluations} velocities".format(
                **summary
            ),
            f"{counted(len(self.clusters().sizes), 'cluster')} at the end",
        ]
        if self.reason:
            lines.append(f"{self.status}: {self.reason}")
        lines += [
            f"event {name} at t = {', '.join(f'{time:.4g}' for time in times[:5])}{', ...' if len(times) > 5 else ''}"
            for name, times in self.events.items()
            if times
        ]
        return lines

    def table(self) -> "pd.DataFrame":
        """Return one row for each time: clusters, mean of the tokens, their root mean square distance from it."""
        import pandas as pd

        means = np.einsum("j,tjd->td", self.weights, self.states)
        gaps = ((self.states - means[:, None]) ** 2).sum(axis=2)
        columns: dict[str, Any] = {"time": self.times, "clusters": self.cluster_counts()}
        columns |= {f"mean_x{axis + 1}": means[:, axis] for axis in range(means.shape[1])}
        return pd.DataFrame({**columns, "spread": np.sqrt(gaps @ self.weights)})

    def picture(self) -> Paths:
        """Return the paths of the tokens, coloured by the cluster in which they end."""
        return Paths(self.states, self.times, self.clusters().labels, time_label="time")

    def to_xarray(self) -> "xarray.Dataset":
        """Return states and weights as an xarray dataset with named axes."""
        import xarray

        return xarray.Dataset(
            {"position": (("time", "token", "coordinate"), self.states), "weight": (("token",), self.weights)},
            coords={"time": self.times},
            attrs={"status": self.status},
        )

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write ``flow.safetensors`` and ``flow.json`` into a new folder."""
        with new_folder(folder, overwrite=overwrite) as temporary:
            self.write_into(temporary)

    def write_into(self, folder: Path) -> None:
        """Write the two files of :meth:`save` into an existing folder."""
        arrays = {"times": self.times, "states": self.states, "weights": self.weights}
        write_tensors(folder / "flow.safetensors", arrays)
        names = ("status", "reason", "steps", "evaluations", "rejected", "events", "provenance", "step_error")
        record = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **{name: getattr(self, name) for name in names}}
        write_json(folder / "flow.json", record)

    @classmethod
    def load(cls, folder: str | Path) -> "FlowTrajectory":
        """Read the result of :meth:`save`.

        Raises
        ------
        BadInputError
            If a file is missing, truncated, of a newer schema, or its arrays do not fit together.
        """
        folder = Path(folder)
        record = read_json(folder / "flow.json", schema=SCHEMA, version=SCHEMA_VERSION)
        tensors = read_tensors(folder / "flow.safetensors", {"times", "states", "weights"})
        times, states, weights = (tensors[name] for name in ("times", "states", "weights"))
        counts = [record.get(name) for name in ("steps", "evaluations", "rejected")]
        if (
            states.ndim != 3
            or 0 in states.shape
            or times.shape != states.shape[:1]
            or weights.shape != states.shape[1:2]
            or any(array.dtype != np.float64 or not np.isfinite(array).all() for array in (times, states, weights))
            or record.get("status") not in get_args(FlowStatus)
            or not all(isinstance(count, int) for count in counts)
            or not all(isinstance(record.get(name), dict) for name in ("events", "provenance"))
        ):
            raise BadInputError(f"{folder} is damaged: its arrays and its record do not fit together")
        check_fields(cls, record, folder / "flow.json")
        return cls(
            times=times,
            states=states,
            weights=weights,
            status=record["status"],
            reason=str(record.get("reason", "")),
            step_error=record.get("step_error"),
            **{name: record[name] for name in ("steps", "evaluations", "rejected", "events", "provenance")},
        )
