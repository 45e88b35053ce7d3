"""Metastable clusters: pairs that wait for exponentially long, and merge in the order of their angles.

Two atoms of masses w_1, w_2 at angle phi under ``B = V = I`` obey ``phi' = -(p_12 + p_21) sin phi`` with the weights
``p_12 = w_2 e / (w_1 + w_2 e)``, ``e = e^{-beta (1 - cos phi)}``: exact, and solved by one integral.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.integrate import quad

from tokendyn.dynamics import Event, TokenFlow, integrate
from tokendyn.errors import BadInputError
from tokendyn.metrics.merging import cluster_staircase, merge_events
from tokendyn.studies.claims.claim import Claim, Finding, Profile, at_most
from tokendyn.studies.claims.drawing import axes

SOURCE = "Geshkovski, Koubbi, Polyanskiy, Rigollet 2024; Bruno, Pasqualotto, Agazzi 2024; two atoms: derived here"

#: Makes the flow of an inverse temperature; another one stands in where a test takes the mechanism away.
Flow = Callable[[float], TokenFlow]

#: Two tokens nearer than this have merged.
GAP = 0.05


def merging_time(
    angle: float, inverse_temperature: float, *, weights: tuple[float, float] = (0.5, 0.5), until: float = GAP
) -> float:
    """Return the time that two atoms take from an angle to a smaller one: ``int d phi / ((p_12 + p_21) sin phi)``.

    For large beta and equal masses it is ``e^{beta (1 - cos a)} / (2 beta sin^2 a)`` times ``1 + O(1/beta)``.

    Raises
    ------
    BadInputError
        If not ``0 < until < angle < pi``, or a mass is not positive.
    """
    if not (0 < until < angle < np.pi and min(weights) > 0):
        raise BadInputError(f"need 0 < until < angle < pi and positive weights; got {until}, {angle}, {weights}")
    first, second = weights

    def slowness(phi: float) -> float:
        seen = np.exp(-inverse_temperature * (1 - np.cos(phi)))
        pull = second * seen / (first + second * seen) + first * seen / (second + first * seen)
        return float(1 / (pull * np.sin(phi)))

    return float(quad(slowness, until, angle, epsabs=0, epsrel=1e-12, limit=200)[0])


def measured_merging_time(flow: TokenFlow, angle: float) -> float:
    """Return when two tokens at an angle have come within ``GAP``, from a run; NaN if they do not within 1e9."""
    tokens = np.array([[1.0, 0.0], [np.cos(angle), np.sin(angle)]])
    met = Event("met", lambda _, x: float(np.linalg.norm(x[0] - x[1])) - 2 * np.sin(GAP / 2), terminal=True)
    run = integrate(flow, tokens, [0.0, 1e9], method="adaptive", tolerance=1e-10, events=[met])
    return run.events["met"][0] if run.events["met"] else float("nan")


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
