"""Presets of the explorer: the configurations of the papers and a few more."""

import numpy as np

from tokendyn.data.configurations import DESCRIPTIONS, configuration
from tokendyn.data.explored import Explored
from tokendyn.dynamics import TokenFlow
from tokendyn.particles.meanfield.experiments import asymmetric_density, leaning_flow, lined_flow, turning_flow
from tokendyn.particles.meanfield.starts import circle_quantiles, fibonacci_sphere, on_circle, uniform_sphere
from tokendyn.words import counted

_TOKENS = 150


def presets() -> dict[str, Explored]:
    """Return settings by name.

    Figure 2 of arXiv 2407.01602, experiments A to E of the mean field with fewer tokens, and laws of neighbouring
    papers, whose names begin with ``law-``.
    """
    return {**_plane(), **_circle(), **_sphere(), **_laws()}


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


def _laws() -> dict[str, Explored]:
    """Return one case of each law that a page can run; the page shows the closed form beside it."""
    rng = np.random.default_rng(7)
    gaps = np.array([0.5, 0.8, 1.1])
    middles = 2 * np.pi / 3 * np.arange(3)
    pairs = (middles[:, None] + gaps[:, None] / 2 * np.array([-1, 1])).ravel()
    random = rng.random(60) * 2 * np.pi
    bottom = np.diag([1.0, -2.0])
    corners = 2 * np.pi * np.sort(rng.random(7))
    inside = 0.9 * rng.dirichlet(np.ones(7), size=60) @ on_circle(corners)
    return {
        "law-gathering": Explored(
            np.eye(3),
            "meanfield",
            4.0,
            step=0.05,
            steps=240,
            title="Orthogonal tokens gather",
            note="Three orthogonal tokens keep one common inner product, and it follows the dashed curve, which is one "
            "scalar equation: slow at first, then exponentially fast, at rate 2 for every β (arXiv 2312.10794).",
        ),
        "law-staircase": Explored(
            on_circle(pairs),
            "meanfield",
            15.0,
            step=0.2,
            steps=1000,
            title="The metastable staircase",
            note="Three pairs, each a little wider than the last. They meet one after the other, at times that differ "
            "by factors, as an integral says beforehand: watch the number of clusters against log time.",
        ),
        "law-energy": Explored(
            on_circle(random[:40]),
            "meanfield",
            1.5,
            matrix=bottom,
            value=bottom,
            step=0.05,
            steps=160,
            title="The energy only rises",
            note="V = B has a positive and a larger negative eigenvalue. The energy rises in every step, and tokens "
            "end in two opposite clusters, as an even pair has the largest energy (arXiv 2501.03096).",
        ),
        "law-causal": Explored(
            on_circle(random),
            "meanfield",
            150.0,
            causal=True,
            step=0.1,
            steps=600,
            title="Causal attention waits",
            note="A token sees itself and those before it. The first token never moves, and the others gather at "
            "tokens that were far from all before them, like cars that park (arXiv 2411.04990). At β = 1 all "
            "soon end at the first.",
        ),
        "law-causal-leaders": Explored(
            on_circle(random[:30]),
            "meanfield",
            30.0,
            matrix=np.diag([3.0, 1.0]),
            causal=True,
            step=0.1,
            steps=150,
            title="Causal hardmax has leaders",
            note="With B = diag(3, 1) hardmax tokens follow the best of those before them: a token that comes early "
            "and far to the right or left leads, and those before it never follow it.",
        ),
        "law-cells": Explored(
            np.concatenate([on_circle(corners), inside]),
            alpha=0.3,
            layers=20,
            title="Hardmax cells",
            note="Seven tokens on a circle and 60 inside. Each inner token goes straight to the corner of its sector, "
            "which is the Voronoi cell of the corner (arXiv 2508.09628); softmax does so for a while only.",
        ),
        "law-trapped": Explored(
            np.array([[1.0, 0.0], [-1.0, 0.0]]),
            inverse_temperature=3.0,
            alpha=1 / 9,
            layers=500,
            title="A trapped pair",
            note="Two opposite tokens stay for ever at hardmax. Softmax holds them for a time like e^{2β}, and then "
            "they meet in the middle: raise β by 1, and they stay five times as long (arXiv 2508.09628).",
        ),
    }


def _flow(tokens: np.ndarray, flow: TokenFlow, title: str, note: str, steps: int, step: float) -> Explored:
    return Explored(
        tokens, "meanfield", flow.inverse_temperature, matrix=flow.interaction, value=flow.value,
        cold_limit="full support", method="heun" if step < 0.1 else "rk4", step=step, steps=steps, title=title,
        note=note,
    )  # fmt: skip
