"""Metastable clusters: pairs that wait for exponentially long, and merge in the order of their angles.

Two atoms of masses w_1, w_2 at angle phi under ``B = V = I`` obey ``phi' = -(p_12 + p_21) sin phi`` with the weights
``p_12 = w_2 e / (w_1 + w_2 e)``, ``e = e^{-beta (1 - cos phi)}``: exact, and solved by one integral.
"""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from tokendyn.dynamics import Budget, Event, TokenFlow, integrate
from tokendyn.metrics.merging import cluster_staircase, merge_events
from tokendyn.studies.claims.claim import Claim, Finding, Profile, at_most
from tokendyn.studies.claims.drawing import axes
from tokendyn.studies.laws.checks import checked_exponent, integral, outside, refuse

SOURCE = "Geshkovski, Koubbi, Polyanskiy, Rigollet 2024; Bruno, Pasqualotto, Agazzi 2024; two atoms: derived here"

#: Makes the flow of an inverse temperature; another one stands in where a test takes the mechanism away.
Flow = Callable[[float], TokenFlow]

#: Two tokens nearer than this have merged.
GAP = 0.05

#: Steps after which two tokens are taken not to meet; a pair that waits for 1e8 takes two hundred.
_STEPS = 1_000


def merging_time(
    angle: float, inverse_temperature: float, *, weights: tuple[float, float] = (0.5, 0.5), until: float = GAP
) -> float:
    """Return the time that two atoms take from an angle to a smaller one: ``int d phi / ((p_12 + p_21) sin phi)``.

    For large beta and equal masses it is ``e^{beta (1 - cos a)} / (2 beta sin^2 a)`` times ``1 + O(1/beta)``.

    Parameters
    ----------
    angle, until
        At the start and at the end, in radians: ``0 < until < angle < pi``.
    inverse_temperature
        Zero or more; the law is that of normalised attention with ``B = V = I``.
    weights
        Masses of the two atoms, positive; only their ratio matters.

    Raises
    ------
    BadInputError
        If an argument is out of range.
    ScaleError
        If the time is beyond float64.
    """
    small = [weight for weight in weights if outside("weight", weight, 0.0, ends="()")]
    refuse(
        "merging time",
        outside("angle", angle, 0.0, math.pi, "()"),
        outside("until", until, 0.0, angle, "()"),
        outside("inverse_temperature", inverse_temperature, 0.0),
        f"weights must be two positive numbers, got {weights!r}" if small or len(weights) != 2 else None,
    )
    checked_exponent("merging time", inverse_temperature * (1 - math.cos(angle)))
    ratio = weights[1] / weights[0]

    def slowness(s: float) -> float:
        # d phi / sin phi = ds with tan(phi / 2) = e^s, and 1 - cos phi = 1 + tanh s: smooth up to both ends.
        unseen = math.exp(inverse_temperature * (1 + math.tanh(s)))
        return 1 / (ratio / (unseen + ratio) + 1 / (ratio * unseen + 1))

    return integral(slowness, math.log(math.tan(until / 2)), math.log(math.tan(angle / 2)))


def measured_merging_time(flow: TokenFlow, angle: float) -> float:
    """Return when two tokens at an angle have come within ``GAP``, from a run.

    NaN if they do not within a time of 1e9 or ``_STEPS`` steps of the adaptive method, as when they repel each other.

    Raises
    ------
    BadInputError
        If the angle is not between ``GAP`` and pi, or tokens leave the sphere under the flow.
    """
    refuse(
        "merging time",
        outside("angle", angle, GAP, math.pi, "()"),
        None if flow.on_sphere else "tokens leave the sphere under this flow: their distance is not their angle",
    )
    tokens = np.array([[1.0, 0.0], [np.cos(angle), np.sin(angle)]])
    met = Event("met", lambda _, x: float(np.linalg.norm(x[0] - x[1])) - 2 * np.sin(GAP / 2), terminal=True)
    run = integrate(
        flow, tokens, [0.0, 1e9], method="adaptive", tolerance=1e-10, events=[met], budget=Budget(steps=_STEPS)
    )
    return run.events["met"][0] if run.events["met"] else math.nan


def identity(inverse_temperature: float) -> TokenFlow:
    """Return attention with ``B = V = I``."""
    return TokenFlow(inverse_temperature)


def staircase(profile: Profile, seed: int, *, flow: Flow = identity) -> Finding:
    """Measure merging times of pairs over beta, and a staircase of three pairs against the integral."""
    angle, betas = 1.2, (10.0, 15.0, 20.0, 25.0, 30.0)
    measured = np.array([measured_merging_time(flow(beta), angle) for beta in betas])
    expected = np.array([merging_time(angle, beta) for beta in betas])
    slope = float(np.polyfit(betas[-3:], np.log(measured[-3:] * betas[-3:]), 1)[0])
    rows = [
        {"experiment": "pair", "inverse_temperature": beta, "time": time, "integral": integral}
        for beta, time, integral in zip(betas, measured, expected, strict=True)
    ]
    beta, gaps = 20.0, np.array([0.5, 0.8, 1.1])
    middles = 2 * np.pi / 3 * np.arange(3)
    angles = (middles[:, None] + gaps[:, None] / 2 * np.array([-1, 1])).ravel()
    predicted = np.array([merging_time(gap, beta) for gap in gaps])
    times = np.concatenate([[0.0], np.geomspace(0.1, 3 * predicted[-1], 200 if profile == "quick" else 1000)])
    tokens = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    run = integrate(flow(beta), tokens, times, method="adaptive", tolerance=1e-9)
    merges = merge_events(run.times, run.states, GAP)
    logs = np.full(3, np.inf)
    for number, merge in enumerate(merges[:3]):
        in_order = merge.partners == ((2 * number,), (2 * number + 1,))
        logs[number] = abs(np.log(merge.time / predicted[number])) if in_order else np.inf
        rows.append(
            {"experiment": "staircase", "inverse_temperature": beta, "time": merge.time, "integral": predicted[number]}
        )
    values = {
        "time to merge, relative error": float(np.nan_to_num(np.abs(measured / expected - 1), nan=np.inf).max()),
        "slope of log(beta time) against 1 - cos a, relative error": abs(slope / (1 - float(np.cos(angle))) - 1),
        "log times of the staircase, largest error": float(logs.max()),
    }
    figure, panel = axes("time", "clusters", logx=True)
    steps = cluster_staircase(run.times, run.states, GAP)
    ends = [*[max(time, 0.1) for time, _ in steps], float(run.times[-1])]
    panel.stairs([count for _, count in steps], ends, lw=1.4, baseline=None, label="six tokens")
    for number, time in enumerate(predicted):
        panel.axvline(time, ls="--", lw=1, color="0.5", label="integral of two atoms" if number == 0 else None)
    panel.legend(frameon=False, fontsize=8)
    return Finding(values=values, table=pd.DataFrame(rows), figure=figure, remark=f"Gaps {gaps.tolist()}, beta 20.")


CLAIM = Claim(
    id="field.staircase",
    statement="Clusters are metastable: a pair at angle a merges after a time like e^{beta (1 - cos a)}.",
    source=SOURCE,
    how="Times at which pairs merge, against an integral and its exponent; merges of three pairs in one run.",
    bounds={
        "time to merge, relative error": at_most(1e-5),
        "slope of log(beta time) against 1 - cos a, relative error": at_most(0.02),
        "log times of the staircase, largest error": at_most(0.08),
    },
    check=staircase,
)
