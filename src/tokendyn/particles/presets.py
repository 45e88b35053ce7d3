"""Presets of the explorer: the configurations of the papers and a few more."""

import numpy as np

from tokendyn.data.configurations import DESCRIPTIONS, configuration
from tokendyn.data.explored import Explored
from tokendyn.dynamics import TokenFlow
from tokendyn.particles.meanfield.experiments import asymmetric_density, leaning_flow, lined_flow, turning_flow
from tokendyn.particles.meanfield.starts import circle_quantiles, fibonacci_sphere, uniform_sphere
from tokendyn.words import counted

_TOKENS = 150


def presets() -> dict[str, Explored]:
    """Return settings by name: Figure 2 of arXiv 2407.01602, experiments A to E of the mean field with fewer tokens."""
    return {**_plane(), **_circle(), **_sphere()}


def _plane() -> dict[str, Explored]:
    settings = {}
    for name, description in DESCRIPTIONS.items():
        title = f"Figure 2: {name.replace('-', ' ')}"
        settings[name] = Explored(configuration(name), title=title, note=f"{description[0].upper()}{description[1:]}.")
    rng = np.random.default_rng(1)
    for count in (60, 500):
        tokens = rng.normal(size=(count, 2))
        settings[f"cloud-{count}"] = Explored(
            tokens, title=f"A cloud of {counted(count, 'token')}", note="Independent normal tokens."
        )
    return settings


def _circle() -> dict[str, Explored]:
    quantiles, uniform = circle_quantiles(_TOKENS, asymmetric_density), uniform_sphere(_TOKENS, 2, 0)
    return {
        "experiment-a-30": _flow(
            quantiles, lined_flow(30.0), "Experiment A, β = 30",
            "Tokens concentrate on the projected law, stay a while, and leave for the dominant direction of V.",
            300, 0.05,
        ),
        "experiment-a-300": _flow(
            quantiles, lined_flow(300.0), "Experiment A, β = 300", "Colder: nearer to the projected law, and longer.",
            300, 0.05,
        ),
        "experiment-c-settled": _flow(
            quantiles, TokenFlow(100.0, value=np.diag([2.0, 1.0])), "Experiment C, settled",
            "There is nothing to leave for: clusters stay.", 160, 0.1,
        ),
        "experiment-c-turning": _flow(
            quantiles, turning_flow(100.0), "Experiment C, turning", "V is a rotation: clusters turn for ever.",
            160, 0.1,
        ),
        "experiment-d": _flow(
            quantiles, leaning_flow(100.0), "Experiment D", "V does not keep E: clusters leave it at once.", 160, 0.1
        ),
        "experiment-e": _flow(
            uniform, lined_flow(100.0), "Experiment E", "Random tokens: some near the separatrix change sides.",
            300, 0.05,
        ),
    }  # fmt: skip


def _sphere() -> dict[str, Explored]:
    flow = TokenFlow(30.0, interaction=np.diag([4.0, 4.0, 1.0]), value=np.diag([1.0, 1.0, 2.0]))
    plane = "The dominant eigenspace E is a plane: tokens concentrate on its circle."
    gather = "V and B are the identity: tokens gather in clusters, which merge slowly."
    return {
        "experiment-b": _flow(fibonacci_sphere(300, 0.5), flow, "Experiment B, β = 30", plane, 64, 0.125),
        "self-attention": _flow(uniform_sphere(120, 3, 2), TokenFlow(9.0), "Self-attention, β = 9", gather, 200, 0.2),
    }


def _flow(tokens: np.ndarray, flow: TokenFlow, title: str, note: str, steps: int, step: float) -> Explored:
    return Explored(
        tokens, "meanfield", flow.inverse_temperature, matrix=flow.interaction, value=flow.value,
        cold_limit="full support", method="heun" if step < 0.1 else "rk4", step=step, steps=steps, title=title,
        note=note,
    )  # fmt: skip
