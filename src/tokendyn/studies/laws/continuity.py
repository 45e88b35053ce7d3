"""The mean field without tokens, beside a hundred thousand of them."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Float

from tokendyn.dynamics import TokenFlow, integrate, means_within
from tokendyn.particles.meanfield import CircleLaw, circle_law
from tokendyn.particles.meanfield.experiments import asymmetric_density, lined_flow
from tokendyn.particles.meanfield.starts import circle_quantiles
from tokendyn.studies.claims.claim import Claim, Finding, Profile, at_most
from tokendyn.studies.claims.drawing import axes

#: Solves the continuity equation of a flow at some times; another one stands in where a test takes it away.
Solver = Callable[[TokenFlow, Float[np.ndarray, " times"], int], CircleLaw]

_TOKENS = 100_000


def solved(flow: TokenFlow, times: Float[np.ndarray, " times"], cells: int) -> CircleLaw:
    """Return the law of the asymmetric density of :mod:`~tokendyn.particles.meanfield.experiments`."""
    return circle_law(flow, asymmetric_density, times, cells=cells)


def angles_of(tokens: Float[np.ndarray, "tokens 2"]) -> Float[np.ndarray, " tokens"]:
    """Return the angle of every token in radians."""
    return np.arctan2(tokens[:, 1], tokens[:, 0])


def without_tokens(profile: Profile, seed: int, *, solver: Solver = solved) -> Finding:
    """Compare the law with independent samples of tokens, and these with each other; sum its masses."""
    times = np.array([0.0, 1.0, 2.0])
    rows, leaks = [], []
    figure, panel = axes("angle", "density", logy=True)
    for beta in (30.0,) if profile == "quick" else (3.0, 30.0, 300.0):
        flow = lined_flow(beta)
        law = solver(flow, times, 1024 if profile == "quick" else 4096)
        leaks.append(float(np.abs(law.masses.sum(axis=1) - 1).max()))
        # The step moves tokens beside the separatrix only: a tenth of what two samples differ by.
        step = 0.2 if profile == "quick" else 0.1
        samples = [_sample(flow, times, [seed, number], step) for number in range(2)]
        for state in (1, 2):
            own = max(law.distance(sample[state], state) for sample in samples)
            first, second = (np.histogram(sample[state] % (2 * math.pi), law.edges)[0] for sample in samples)
            between = np.cumsum(first - second) / _TOKENS
            error = float(between.max() - between.min())
            rows.append(
                {"inverse_temperature": beta, "time": times[state], "law to tokens": own, "tokens to tokens": error,
                 "ratio": own / error}
            )  # fmt: skip
        width = law.edges[1]
        panel.plot(law.centres, np.maximum(law.masses[-1] / width, 1e-6), lw=1.2, label=f"law, beta = {beta:g}")
        counts, edges = np.histogram(samples[0][-1] % (2 * math.pi), bins=120, range=(0, 2 * math.pi))
        panel.plot((edges[1:] + edges[:-1]) / 2, counts / _TOKENS / edges[1], ".", ms=3, label="100,000 tokens")
    panel.legend(frameon=False, fontsize=8)
    table = pd.DataFrame(rows)
    values = {
        "law to 100,000 tokens, by two such samples apart": float(table["ratio"].max()),
        "total mass, largest difference from 1": max(leaks),
    }
    return Finding(values=values, table=table, figure=figure, remark="Kuiper's statistic; independent random tokens.")


def _sample(flow: TokenFlow, times: np.ndarray, seed: list[int], step: float) -> list[np.ndarray]:
    """Return the angles over time of tokens that are drawn from the density and then flow."""
    levels = np.random.default_rng(seed).random(_TOKENS)
    grid = angles_of(circle_quantiles(_TOKENS, asymmetric_density)) % (2 * math.pi)
    angles = np.interp(levels, (np.arange(_TOKENS) + 0.5) / _TOKENS, grid)
    moving = TokenFlow(flow.inverse_temperature, flow.interaction, value=flow.value, means=means_within(1e-6))
    run = integrate(moving, np.stack([np.cos(angles), np.sin(angles)], axis=1), times, method="heun", step=step)
    return [angles_of(state) for state in run.states]


CLAIM = Claim(
    id="field.continuity",
    statement="The continuity equation, solved without tokens, is what very many tokens do, to their sampling error.",
    source="mean field of arXiv 2605.10931 and 2312.10794; the scheme is ours",
    how="Distance of the law from 100,000 independent tokens, by that of two such samples; total mass at all times.",
    bounds={
        "law to 100,000 tokens, by two such samples apart": at_most(1.5),
        "total mass, largest difference from 1": at_most(1e-12),
    },
    check=without_tokens,
)
