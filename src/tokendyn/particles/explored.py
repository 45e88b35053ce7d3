"""Runs of the explorer page, computed by the library."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tokendyn.attention import Head
from tokendyn.data.explored import Explored
from tokendyn.dynamics import FlowTrajectory, Layer, TokenFlow, Trajectory, run
from tokendyn.particles.clustering import ClusteringRun, complete
from tokendyn.particles.meanfield.model import simulate as simulate_flow
from tokendyn.runs.files import new_folder, write_json

#: Largest coordinate difference between the page and this library at which two runs count as the same.
SAME = 1e-12


@dataclass(frozen=True)
class Replay:
    """The two runs of explored settings.

    Attributes
    ----------
    explored
        The settings.
    hardmax, softmax
        Layer by layer (clustering) or over time (mean field).
    """

    explored: Explored
    hardmax: Trajectory | FlowTrajectory
    softmax: Trajectory | FlowTrajectory

    @property
    def differences(self) -> dict[str, float]:
        """Largest coordinate difference from each final state of the page; infinite for a run that ended early."""
        gaps = {}
        for kind, state in self.explored.final.items():
            run: Trajectory | FlowTrajectory = getattr(self, kind)
            finished = run.status == "completed"
            gaps[kind] = float(np.abs(run.states[-1] - state).max()) if finished else math.inf
        return gaps

    @property
    def agrees(self) -> bool:
        """Whether every final state equals that of the page within :data:`SAME`."""
        return all(gap <= SAME for gap in self.differences.values())

    @property
    def status(self) -> str:
        """``"completed"``, or the status of the run that ended early."""
        return min({self.hardmax.status, self.softmax.status} - {"completed"}, default="completed")

    def summary(self) -> dict[str, Any]:
        """Return both runs in numbers, as JSON values."""
        explored = self.explored
        return {
            "status": self.status,
            "model": explored.model,
            "tokens": len(explored.tokens),
            "dim": explored.tokens.shape[1],
            "inverse_temperature": explored.inverse_temperature,
            "steps": explored.layers if explored.model == "clustering" else explored.steps,
            "differences": {kind: gap if math.isfinite(gap) else None for kind, gap in self.differences.items()},
            "agrees": self.agrees,
        }

    def describe(self) -> list[str]:
        """Return sentences about the differences between the page and the library."""
        lines = [f"{kind}: the page ended within {gap:.1e} of this run" for kind, gap in self.differences.items()]
        return lines or ["there are no final states to compare with: a link holds none, 'Save JSON' writes them"]

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write both trajectories and the settings into a new folder."""
        with new_folder(folder, overwrite=overwrite) as temporary:
            for kind, trajectory in (("hardmax", self.hardmax), ("softmax", self.softmax)):
                (temporary / kind).mkdir()
                trajectory.write_into(temporary / kind)
            write_json(temporary / "explored.json", self.explored.to_dict())

    def clustering(self) -> ClusteringRun | None:
        """Return the softmax run with the theory of its hardmax run; None where the theory does not apply."""
        explored = self.explored
        if not isinstance(self.softmax, Trajectory) or explored.value is not None or explored.weights is not None:
            return None
        score = np.eye(explored.tokens.shape[1]) if explored.matrix is None else explored.matrix
        return complete(self.softmax, explored.alpha, score, explored.inverse_temperature, explored.tie_tolerance)


def replay(explored: Explored) -> Replay:
    """Run explored settings with the library, at hardmax and at softmax.

    Raises
    ------
    BadInputError
        If tokens of the mean field lie on the separatrix, where the projected law is not defined.
    """
    compute = _layers if explored.model == "clustering" else _flow
    return Replay(
        explored=explored,
        hardmax=compute(explored, math.inf),
        softmax=compute(explored, explored.inverse_temperature),
    )


def _layers(explored: Explored, inverse_temperature: float) -> Trajectory:
    head = Head(
        score=np.eye(explored.tokens.shape[1]) if explored.matrix is None else explored.matrix,
        value=explored.value,
        inverse_temperature=inverse_temperature,
        tie_tolerance=explored.tie_tolerance,
    )
    config = {
        "model": "clustering",
        "alpha": explored.alpha,
        "score": None if head.score is None else head.score.tolist(),
        "value": None if head.value is None else head.value.tolist(),
        "layers": explored.layers,
        "inverse_temperature": None if math.isinf(inverse_temperature) else inverse_temperature,
        "tie_tolerance": explored.tie_tolerance,
    }
    layers = [Layer(explored.alpha, (head,))] * explored.layers
    return run(explored.tokens, layers, labels=explored.labels, weights=explored.weights, config=config)


def _flow(explored: Explored, inverse_temperature: float) -> FlowTrajectory:
    flow = TokenFlow(
        inverse_temperature,
        interaction=explored.matrix,
        value=explored.value,
        cold_limit=explored.cold_limit if math.isinf(inverse_temperature) else None,
        causal=explored.causal,
        tie_tolerance=explored.tie_tolerance,
    )
    times = np.arange(explored.steps + 1) * explored.step
    weights = None if explored.weights is None else explored.weights / explored.weights.sum()
    settings: dict[str, Any] = {"method": explored.method, "step": explored.step, "check": False}
    simulated = simulate_flow(flow, explored.tokens, times, weights=weights, **settings)
    return simulated.trajectory


def explored_run(loaded: ClusteringRun, title: str, inverse_temperature: float = 20.0) -> Explored:
    """Return a saved clustering run as settings of the explorer.

    Parameters
    ----------
    loaded
        The run, in two coordinates.
    title
        Its name.
    inverse_temperature
        Inverse temperature of the softmax run beside it, when ``loaded`` is a hardmax run.
    """
    return Explored(
        loaded.trajectory.states[0], labels=loaded.trajectory.labels, matrix=np.array(loaded.score, dtype=np.float64),
        alpha=loaded.alpha, layers=loaded.trajectory.layers, tie_tolerance=loaded.tie_tolerance,
        inverse_temperature=inverse_temperature if loaded.is_hardmax else loaded.inverse_temperature,
        title=title, note="A saved run.",
    )  # fmt: skip
