"""Hardmax as Frank-Wolfe steps: cells of the vertices, contraction for a negative A, trapping at finite beta.

A hardmax layer moves token x towards ``argmax_y <A x, y>`` over the tokens: a Frank-Wolfe step for ``-<x, A x> / 2`` on
their hull (arXiv 2508.09628). Two tokens ``+-u`` on a line, at finite beta, stay antipodal, and
``u <- u - s u (1 - tanh(beta u^2))`` with the share ``s = alpha / (1 + alpha)``.
"""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from tokendyn.attention import Head, attend
from tokendyn.dynamics import Layer, Trajectory, run
from tokendyn.particles.meanfield.starts import on_circle
from tokendyn.studies.claims.claim import Claim, Finding, Profile, at_most
from tokendyn.studies.claims.drawing import axes
from tokendyn.studies.laws.checks import checked_exponent, integral, outside, refuse

SOURCE = "arXiv 2508.09628; the two tokens on a line: derived here"

#: Sends tokens through layers of a head; another one stands in where a test takes the mechanism away.
Runner = Callable[[np.ndarray, Head, float, int], Trajectory]

#: The trapped pair has left when it is at this share of its start.
LEFT = 0.5


def layers_of(tokens: np.ndarray, head: Head, alpha: float, layers: int) -> Trajectory:
    """Return the trajectory through equal layers."""
    return run(tokens, [Layer(alpha, (head,))] * layers, freeze=False)


def trapping_time(inverse_temperature: float, *, start: float = 1.0, until: float = LEFT) -> float:
    """Return the time of ``u' = -u (1 - tanh(beta u^2))`` from start to end: ``int (1 + e^{2 beta u^2}) / (2 u) du``.

    For large beta it is ``e^{2 beta start^2} / (8 beta start^2)``: exponential in beta. Layers count it in steps of the
    share ``alpha / (1 + alpha)``.

    Raises
    ------
    BadInputError
        If not ``0 < until < start``, or the inverse temperature is negative.
    ScaleError
        If the time is beyond float64.
    """
    refuse(
        "trapping time",
        outside("start", start, 0.0, ends="()"),
        outside("until", until, 0.0, start, "()"),
        outside("inverse_temperature", inverse_temperature, 0.0),
    )
    checked_exponent("trapping time", 2 * inverse_temperature * start * start)

    def slowness(s: float) -> float:
        # u = e^s: du / u = ds, smooth also where u is tiny.
        return (1 + math.exp(2 * inverse_temperature * math.exp(2 * s))) / 2

    return integral(slowness, math.log(until), math.log(start))


def context_distances(layers: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how far a token is from the nearest point of its context over the layers: measured, and in closed form.

    The token attends at hardmax with ``A = -I`` to two fixed tokens ``(-1, 1)`` and ``(1, 1)``, and goes the share
    ``2 / (k + 2)`` of the way in layer k: the Frank-Wolfe method for ``|x|^2`` on the segment between them. From an end
    its distance from the nearest point, (0, 1), is ``1 / (2 floor(k / 2) + 1)``: by induction, two layers at a time.
    That is the rate O(1/t) of the method, with a nearest point inside a face.
    """
    context, token = np.array([[-1.0, 1.0], [1.0, 1.0]]), np.array([1.0, 1.0])
    gaps = [1.0]
    for layer in range(layers):
        goal = attend(-token[None], context, context).means[0]
        token = token + 2 / (layer + 2) * (goal - token)
        gaps.append(float(np.linalg.norm(token - [0.0, 1.0])))
    return np.array(gaps), 1 / (2 * (np.arange(layers + 1) // 2) + 1.0)


def trapping(profile: Profile, seed: int, *, runner: Runner = layers_of) -> Finding:
    """Measure ends against the nearest vertex, the contraction for ``A = -I``, and the layers that trap a pair."""
    rng = np.random.default_rng([seed, 5])
    corners = on_circle(np.sort(rng.random(7)) * 2 * math.pi)
    inside = 0.9 * rng.dirichlet(np.ones(7), size=60) @ corners
    alpha, rows = 0.5, []
    ends = runner(np.vstack([corners, inside]), Head(), alpha, 80).states[-1]
    nearest = corners[cKDTree(corners).query(inside)[1]]
    cells = float(np.linalg.norm(ends[7:] - nearest, axis=1).max())
    around = np.vstack([inside, -inside])
    sizes = np.linalg.norm(runner(around, Head(score=-np.eye(2)), 0.25, 60).states, axis=2).max(axis=1)
    # The farthest token follows its mirror image: it keeps the share 1 - 2 alpha / (1 + alpha) = 0.6 in a layer.
    contracted = float(np.abs(sizes / (sizes[0] * 0.6 ** np.arange(61)) - 1).max())
    gaps, expected_gaps = context_distances(200 if profile == "quick" else 2000)
    betas, layers = (2.0, 3.0, 4.0) if profile == "quick" else (2.0, 3.0, 4.0, 5.0, 6.0), []
    share, figure_paths = 0.1, {}
    for beta in betas:
        wait = trapping_time(beta)
        count = math.ceil(1.2 * wait / share) + 20
        pair = runner(np.array([[1.0, 0.0], [-1.0, 0.0]]), Head(inverse_temperature=beta), share / (1 - share), count)
        heights = pair.states[:, 0, 0]
        gone = np.flatnonzero(heights < LEFT)
        layers.append(float(gone[0]) * share if gone.size else math.inf)
        rows.append({"inverse_temperature": beta, "time until it leaves": layers[-1], "integral": wait})
        figure_paths[beta] = heights
    expected = np.array([trapping_time(beta) for beta in betas])
    values = {
        "distance of an inner token from the vertex of its cell, largest": cells,
        "A = -I: size of the tokens over 60 layers against 0.6^k, relative error": contracted,
        "A = -I, fixed context: distance against 1 / (2 floor(k/2) + 1), relative error": float(
            np.abs(gaps / expected_gaps - 1).max()
        ),
        "time that a pair is trapped, relative error": float(np.abs(np.array(layers) / expected - 1).max()),
    }
    figure, panel = axes("layer times share", "position of the trapped token", logx=True)
    for beta, heights in figure_paths.items():
        line = panel.plot(share * np.arange(1, len(heights)), heights[1:], lw=1.4, label=f"beta = {beta:g}")[0]
        panel.axvline(trapping_time(beta), ls="--", lw=1, color=line.get_color())
    panel.legend(frameon=False, fontsize=8)
    return Finding(values=values, table=pd.DataFrame(rows), figure=figure, remark="Dashed: the integral.")


CLAIM = Claim(
    id="field.trapping",
    statement=(
        "Hardmax takes inner tokens to the vertices of their cells, contracts tokens for A = -I (towards a "
        "fixed context like 1/t), and at finite beta traps them for a time exponential in beta."
    ),
    source=SOURCE,
    how=(
        "Ends against the nearest vertex, for vertices of equal norm; sizes and distances over layers against closed "
        "forms; layers that trap a pair."
    ),
    bounds={
        "distance of an inner token from the vertex of its cell, largest": at_most(1e-9),
        "A = -I: size of the tokens over 60 layers against 0.6^k, relative error": at_most(1e-9),
        "A = -I, fixed context: distance against 1 / (2 floor(k/2) + 1), relative error": at_most(1e-9),
        "time that a pair is trapped, relative error": at_most(0.05),
    },
    check=trapping,
)
