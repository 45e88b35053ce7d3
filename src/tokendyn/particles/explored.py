"""Runs of the explorer page, computed by the library, and the settings that the page offers."""

import math
from dataclasses import dataclass

import numpy as np

from tokendyn.attention import Head
from tokendyn.data.configurations import DESCRIPTIONS, configuration
from tokendyn.data.explored import Explored
from tokendyn.dynamics import FlowTrajectory, Layer, TokenFlow, Trajectory, run
from tokendyn.particles.clustering import ClusteringRun, complete
from tokendyn.particles.meanfield.experiments import asymmetric_density, leaning_flow, turning_flow
from tokendyn.particles.meanfield.model import simulate as simulate_flow
from tokendyn.particles.meanfield.starts import circle_quantiles, fibonacci_sphere, uniform_sphere

#: Largest coordinate difference between the page and this library that counts as the same run.
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
        """Largest coordinate difference from each final state that the page reported; infinite for a shorter run."""
        found = {}
        for kind, state in self.explored.final.items():
            run: Trajectory | FlowTrajectory = getattr(self, kind)
            whole = run.status == "completed"
            found[kind] = float(np.abs(run.states[-1] - state).max()) if whole else math.inf
        return found

    def clustering(self) -> ClusteringRun | None:
        """Return the softmax run with what the theory says of its hardmax companion; None where it does not speak."""
        given = self.explored
        if not isinstance(self.softmax, Trajectory) or given.value is not None or given.weights is not None:
            return None
        score = np.eye(given.tokens.shape[1]) if given.matrix is None else given.matrix
        return complete(self.softmax, given.alpha, score, given.inverse_temperature, given.tie_tolerance)


def replay(explored: Explored) -> Replay:
    """Run explored settings with the library, at hardmax and at softmax.

    Raises
    ------
    BadInputError
        For tokens of the mean field on the separatrix, where the projected law is not defined.
    """
    compute = _layers if explored.model == "clustering" else _flow
    return Replay(explored, compute(explored, math.inf), compute(explored, explored.inverse_temperature))


def _layers(explored: Explored, inverse_temperature: float) -> Trajectory:
    head = Head(
        score=np.eye(explored.tokens.shape[1]) if explored.matrix is None else explored.matrix,
        value=explored.value,
        inverse_temperature=inverse_temperature,
        tie_tolerance=explored.tie_tolerance,
    )
    config = {
        "model": "clustering", "alpha": explored.alpha, "score": head.score.tolist() if head.score is not None else None,
        "layers": explored.layers, "tie_tolerance": explored.tie_tolerance,
        "inverse_temperature": None if math.isinf(inverse_temperature) else inverse_temperature,
    }  # fmt: skip
    layers = [Layer(explored.alpha, (head,))] * explored.layers
    return run(explored.tokens, layers, labels=explored.labels, weights=explored.weights, config=config)


def _flow(explored: Explored, inverse_temperature: float) -> FlowTrajectory:
    flow = TokenFlow(
        inverse_temperature,
        interaction=explored.matrix,
        value=explored.value,
        cold_limit=explored.cold_limit if math.isinf(inverse_temperature) else None,
        tie_tolerance=explored.tie_tolerance,
    )
    times = np.arange(explored.steps + 1) * explored.step
    weights = None if explored.weights is None else explored.weights / explored.weights.sum()
    found = simulate_flow(
        flow, explored.tokens, times, weights=weights, method=explored.method, step=explored.step
    )  # fmt: skip
    return found.trajectory


def explored_run(loaded: ClusteringRun, title: str, inverse_temperature: float = 20.0) -> Explored:
    """Return a saved clustering run as settings of the explorer.

    Parameters
    ----------
    loaded
        The run; two coordinates.
    title
        Its name.
    inverse_temperature
        For the softmax beside it, when the run is one of hardmax.
    """
    return Explored(
        loaded.trajectory.states[0], labels=loaded.trajectory.labels, matrix=np.array(loaded.score, dtype=np.float64),
        alpha=loaded.alpha, layers=loaded.trajectory.layers, tie_tolerance=loaded.tie_tolerance,
        inverse_temperature=inverse_temperature if loaded.is_hardmax else loaded.inverse_temperature,
        title=title, note="A saved run.",
    )  # fmt: skip


def presets() -> dict[str, Explored]:
    """Return the configurations of the papers, and a few to play with, by name."""
    found = {
        name: Explored(
            configuration(name), title=f"Figure 2: {name.replace('-', ' ')}", note=_sentence(said),
        )  # fmt: skip
        for name, said in DESCRIPTIONS.items()
    }
    rng = np.random.default_rng(1)
    found["cloud"] = Explored(rng.normal(size=(60, 2)), layers=50, title="A cloud of 60 tokens", note="Independent normal tokens.")
    found["cloud-500"] = Explored(rng.normal(size=(500, 2)), title="A cloud of 500 tokens", note="Independent normal tokens.")
    quantiles = circle_quantiles(150, asymmetric_density)
    lined = {"matrix": np.diag([4.0, 1.0]), "value": np.diag([1.0, 2.0])}
    circle = {"model": "meanfield", "method": "heun", "step": 0.05, "steps": 300, "cold_limit": "full support"}
    for beta in (30.0, 300.0):
        found[f"experiment-a-{beta:g}"] = Explored(
            quantiles, inverse_temperature=beta, **lined, **circle, title=f"Experiment A: circle, beta = {beta:g}",
            note="Tokens concentrate on the projected law, stay, and leave for the dominant direction of V.",
        )  # fmt: skip
    found["experiment-b"] = Explored(
        fibonacci_sphere(300, 0.5), "meanfield", 30.0, matrix=np.diag([4.0, 4.0, 1.0]), value=np.diag([1.0, 1.0, 2.0]),
        cold_limit="full support", step=0.125, steps=64, title="Experiment B: sphere, beta = 30",
        note="The dominant eigenspace is a plane: tokens concentrate on its circle.",
    )  # fmt: skip
    flows = {
        "experiment-c-settled": (TokenFlow(100.0, value=np.diag([2.0, 1.0])), "nothing to leave for: clusters stay."),
        "experiment-c-turning": (turning_flow(100.0), "V is a rotation: clusters turn for ever."),
        "experiment-d": (leaning_flow(100.0), "E is no eigenspace of V: clusters leave it at once."),
    }
    for name, (flow, said) in flows.items():
        found[name] = Explored(
            quantiles, "meanfield", 100.0, matrix=flow.interaction, value=flow.value, cold_limit="full support",
            steps=160, title=f"Experiment {name.split('-')[1].upper()}: {' '.join(name.split('-')[2:]) or 'leaning E'}",
            note=_sentence(said),
        )  # fmt: skip
    found["experiment-e"] = Explored(
        uniform_sphere(150, 2, 0), inverse_temperature=100.0, **lined, **circle, title="Experiment E: random start",
        note="Independent uniform tokens: those near the separatrix may end on the other side.",
    )  # fmt: skip
    found["self-attention"] = Explored(
        uniform_sphere(120, 3, 2), "meanfield", 9.0, step=0.2, steps=200, title="Self-attention on the sphere",
        note="V and B are the identity: tokens gather in clusters, which then merge slowly.",
    )  # fmt: skip
    return found


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:].rstrip(".") + "."
