"""Causal attention: all tokens go to the first, past Renyi's parked centres (arXiv 2411.04990)."""

import bisect
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.special import expi

from tokendyn.dynamics import TokenFlow, integrate
from tokendyn.metrics.merging import renyi_centres
from tokendyn.particles.meanfield.starts import on_circle
from tokendyn.show.palette import LEADER_COLOURS, NEUTRAL
from tokendyn.studies.claims.claim import Claim, Finding, Profile, at_most
from tokendyn.studies.claims.drawing import axes
from tokendyn.studies.laws.checks import checked_exponent, integral, not_whole, outside, refuse

SOURCE = "arXiv 2411.04990; the parking density: Renyi 1958"

#: Makes the flow of an inverse temperature; another one stands in where a test takes the mechanism away.
Flow = Callable[[float], TokenFlow]

#: From this many arrivals on, ``E_1`` is nothing beside 1.
_LATE = 40.0


def parking_density(arrivals: float) -> float:
    """Return the expected share of a long street that parked cars cover after some arrivals per car length.

    ``int_0^t exp(-2 int_0^u (1 - e^{-v}) / v dv) du``; Renyi's constant 0.7476 for infinitely many. Times a length over
    the distance, it is the number of Renyi centres of random tokens, ``t`` being tokens times distance over the length.

    Raises
    ------
    BadInputError
        For less than no arrivals; infinitely many are allowed.
    """
    refuse("parking density", outside("arrivals", arrivals, 0.0, ends="[]"))

    def free(u: float) -> float:
        # The inner integral is gamma + log u + E_1(u), E_1(u) = -Ei(-u); its series near 0 is u.
        inner = u if u < 1e-6 else np.euler_gamma + math.log(u) - float(expi(-u))
        return math.exp(-2 * inner)

    if arrivals == 0:
        return 0.0
    early = integral(free, 0, min(arrivals, _LATE))
    # E_1 is below 1e-19 from here on: the rest is e^{-2 gamma} int du / u^2, which no quadrature over 1e6 finds.
    return early + math.exp(-2 * np.euler_gamma) * max(1 / _LATE - 1 / arrivals, 0.0)


def parked_on_circle(count: int, distance: float, rng: np.random.Generator) -> int:
    """Return the number of Renyi centres among random angles at an arc distance; sorted, so that millions are quick.

    Raises
    ------
    BadInputError
        For a count that is not a whole number above zero, or a distance that is not positive.
    """
    refuse("parking", not_whole("count", count, 1), outside("distance", distance, 0.0, ends="()"))
    turn, centres = 2 * math.pi, [float(rng.random() * 2 * math.pi)]
    for angle in (rng.random(count - 1) * turn).tolist():
        place = bisect.bisect(centres, angle)
        left = (angle - centres[place - 1]) % turn
        right = (centres[place % len(centres)] - angle) % turn
        if min(left, right) > distance:
            centres.insert(place, angle)
    return len(centres)


def causal(inverse_temperature: float) -> TokenFlow:
    """Return causal attention with ``B = V = I``."""
    return TokenFlow(inverse_temperature, causal=True)


def second_token_time(angle: float, inverse_temperature: float, until: float) -> float:
    """Return when the second token has come from an angle to a smaller one of the first, which stands still.

    ``phi' = -p sin phi``, ``p = 1 / (1 + e^{beta (1 - cos phi)})``.

    Raises
    ------
    BadInputError
        If not ``0 < until < angle < pi``, or the inverse temperature is negative.
    ScaleError
        If the time is beyond float64.
    """
    refuse(
        "time of the second token",
        outside("angle", angle, 0.0, math.pi, "()"),
        outside("until", until, 0.0, angle, "()"),
        outside("inverse_temperature", inverse_temperature, 0.0),
    )
    checked_exponent("time of the second token", inverse_temperature * (1 - math.cos(angle)))
    # As in the merging time of two atoms: d phi / sin phi = ds with tan(phi / 2) = e^s, cos phi = -tanh s.
    ends = math.log(math.tan(until / 2)), math.log(math.tan(angle / 2))
    return integral(lambda s: 1 + math.exp(inverse_temperature * (1 + math.tanh(s))), *ends)


def causal_attention(profile: Profile, seed: int, *, flow: Flow = causal) -> Finding:
    """Run random tokens to their end, count parked centres, and see which tokens still stand in between."""
    rows = []
    ends = []
    for number in range(3):
        rng = np.random.default_rng([seed, number])
        tokens = rng.normal(size=(20, 3))
        run = integrate(flow(1.0), tokens, [0.0, 60.0, 120.0], normalise=True)
        ends.append(float(np.linalg.norm(run.states[-1] - run.states[0][0], axis=1).max()))
        rows.append({"experiment": "end", "seed": number, "largest distance from the first token's start": ends[-1]})
    beta, angle, until = 6.0, 1.2, 0.05
    pair = integrate(
        flow(beta), on_circle(np.array([0.0, angle])), [0.0, second_token_time(angle, beta, until)],
        method="adaptive", tolerance=1e-10,
    )  # fmt: skip
    reached = float(np.arctan2(pair.states[-1][1, 1], pair.states[-1][1, 0]))
    distance, count = 0.01, 20_000 if profile == "quick" else 200_000
    parked = [parked_on_circle(count, distance, np.random.default_rng([seed, number, 7])) for number in range(4)]
    street = 2 * math.pi / distance
    expected = street * parking_density(count / street)
    rows += [{"experiment": "parking", "seed": k, "centres": found, "expected": expected} for k, found in
             enumerate(parked)]  # fmt: skip
    moved, figure = _metastable(flow, seed)
    remark = f"{count:,} tokens at a distance of {distance:g} have {expected:.5g} centres in the mean."
    values = {
        "distance of the end from the first token, largest": max(ends),
        "second token against its integral, relative error": abs(reached / until - 1),
        "number of centres against Renyi's density, relative error": abs(float(np.mean(parked)) / expected - 1),
        "move of strong centres by their distance, largest": moved,
    }
    return Finding(values=values, table=pd.DataFrame(rows), figure=figure, remark=remark)


def _metastable(flow: Flow, seed: int) -> tuple[float, Figure]:
    """Return the largest move of a strong centre, as a share of the distance, and a figure of all angles over time."""
    beta, times = 400.0, np.linspace(0, 20, 41)
    distance = 6 / math.sqrt(beta)
    angles = np.random.default_rng([seed, 3]).random(60) * 2 * math.pi
    tokens = on_circle(angles)
    strong = renyi_centres(tokens, distance, strong=True)
    parked = renyi_centres(tokens, distance)
    run = integrate(flow(beta), tokens, times)
    moves = np.linalg.norm(run.states[-1] - run.states[0], axis=1)
    figure, panel = axes("time", "angle")
    paths = np.unwrap(np.arctan2(run.states[:, :, 1], run.states[:, :, 0]), axis=0)
    groups = {"other tokens": (~parked, NEUTRAL), "other centres": (parked & ~strong, LEADER_COLOURS[1]),
              "strong centres": (strong, LEADER_COLOURS[0])}  # fmt: skip
    for name, (members, colour) in groups.items():
        lines = panel.plot(times, paths[:, members], color=colour, lw=1.0)
        if lines:
            lines[0].set_label(name)
    panel.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return float(moves[strong].max() / distance), figure


CLAIM = Claim(
    id="field.causal",
    statement=(
        "Causal attention takes all tokens to the first; strong Renyi centres stay for long; centres are as many as "
        "parked cars."
    ),
    source=SOURCE,
    how="Ends of random runs; the second token against an integral; centres counted against Renyi's integral; moves.",
    bounds={
        "distance of the end from the first token, largest": at_most(1e-3),
        "second token against its integral, relative error": at_most(1e-5),
        "number of centres against Renyi's density, relative error": at_most(0.02),
        "move of strong centres by their distance, largest": at_most(0.1),
    },
    check=causal_attention,
)
