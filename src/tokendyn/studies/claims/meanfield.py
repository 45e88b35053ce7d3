"""Claims of arXiv 2605.10931 on many tokens at low temperature."""

import functools
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tokendyn.dynamics import TokenFlow
from tokendyn.particles.meanfield import MeanFieldRun, simulate
from tokendyn.particles.meanfield.experiments import asymmetric_density, lined_flow
from tokendyn.particles.meanfield.starts import circle_quadrature, circle_quantiles
from tokendyn.studies.claims.claim import Claim, Finding, Profile, at_least, at_most
from tokendyn.studies.claims.drawing import curves

SOURCE = "arXiv 2605.10931, abstract"

#: Our contraction rate c = v1 - v2 b2 / b1, and the rate v2 - v1 at which collapsed clusters leave, for the flow of
#: :func:`lined_flow`.
_RATE, _LEAVING = 0.5, 1.0

#: The flow at an inverse temperature; another one stands in where a test takes a mechanism away.
Flow = Callable[[float], TokenFlow]


@functools.lru_cache(maxsize=2)
def _runs(profile: Profile, flow: Flow = lined_flow) -> tuple[MeanFieldRun, ...]:
    """Run V = diag(1, 2), B = diag(4, 1) from the same tokens on the circle at growing inverse temperatures."""
    betas, count = (
        ((30.0, 100.0, 300.0, 1e3), 1000) if profile == "quick" else ((10.0, 30.0, 1e2, 3e2, 1e3, 3e3, 1e4), 2000)
    )
    start, times = circle_quantiles(count, asymmetric_density), np.arange(401) * 0.05
    return tuple(simulate(flow(beta), start, times, method="heun", step=0.05, check=False) for beta in betas)


def _betas(runs: tuple[MeanFieldRun, ...]) -> np.ndarray:
    return np.array([run.flow.inverse_temperature for run in runs])


def _table(runs: tuple[MeanFieldRun, ...]) -> pd.DataFrame:
    return pd.DataFrame([run.summary() | {"inverse_temperature": run.flow.inverse_temperature} for run in runs])[
        ["inverse_temperature", "resolution", "least_distance", "concentration_time", "departure_time"]
    ]


def _paths(runs: tuple[MeanFieldRun, ...]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {f"beta = {run.flow.inverse_temperature:g}": (run.trajectory.times, run.distances) for run in runs}


def projection(profile: Profile, seed: int, *, flow: Flow = lined_flow) -> Finding:
    """Measure how near the law comes to its projection, and when."""
    runs = _runs(profile, flow)
    logs = np.log(_betas(runs))
    times = [run.phases.concentration for run in runs]
    slope = float(np.polyfit(logs, times, 1)[0])
    values = {
        "least distance at the largest beta": runs[-1].phases.least,
        "least distance by that at the start": runs[-1].phases.least / float(runs[-1].distances[0]),
        "time of the least distance by ln(beta), relative error": abs(slope * 2 * _RATE - 1),
    }
    figure = _without_markers(curves(_paths(runs), "t", "W2 to the projected law", logy=True))
    return Finding(
        values=values,
        table=_table(runs),
        figure=figure,
        remark="Coupling bound of W2; slope against ln(beta) held against 1 / (2 c).",
    )


def rate(profile: Profile, seed: int, *, flow: Flow = lined_flow) -> Finding:
    """Measure exponents of the distance in beta and t, and look for times beyond the bound."""
    runs = _runs(profile, flow)
    betas = _betas(runs)
    exponent = float(np.polyfit(np.log(betas), np.log([run.phases.least for run in runs]), 1)[0])
    coldest = runs[-1]
    early = (coldest.trajectory.times >= 1.0) & (coldest.trajectory.times <= coldest.phases.concentration / 2)
    decay = -float(np.polyfit(coldest.trajectory.times[early], np.log(coldest.distances[early]), 1)[0])
    excess = {
        f"beta = {beta:g}": (run.trajectory.times, run.distances / _bound(beta, run.trajectory.times))
        for beta, run in zip(betas, runs, strict=True)
    }
    values = {
        "exponent of beta, distance from -1/2": abs(exponent + 0.5),
        "early decay by c, relative error": abs(decay / _RATE - 1),
        "largest distance by the bound": float(max(ratio.max() for _, ratio in excess.values())),
    }
    table = _table(runs).assign(exponent=exponent, early_decay=decay)
    figure = _without_markers(curves(excess, "t", "distance by the bound", bound=1.0))
    return Finding(
        values=values,
        table=table,
        figure=figure,
        remark="Constants of the bound: 2, C = v2 - v1 and c = v1 - v2 b2 / b1.",
    )


def _bound(beta: float, times: np.ndarray) -> np.ndarray:
    """Return ``2 (sqrt(log(beta + 1) / beta) e^{C t} + e^{-c t})``."""
    return 2 * (math.sqrt(math.log(beta + 1) / beta) * np.exp(_LEAVING * times) + np.exp(-_RATE * times))


def metastable(profile: Profile, seed: int, *, flow: Flow = lined_flow) -> Finding:
    """Measure how long the law stays near its projection, against ln(beta)."""
    runs = _runs(profile, flow)
    spans = np.array([_time_below(run, 0.5) for run in runs])
    slope = float(np.polyfit(np.log(_betas(runs)), spans, 1)[0])
    wanted = 1 / (2 * _RATE) + 1 / (2 * _LEAVING)
    values = {
        "time near the projection at the largest beta": float(spans[-1]),
        "its slope against ln(beta), relative error": abs(slope / wanted - 1),
    }
    figure = curves({"measured": (_betas(runs), spans)}, "beta", "time with W2 <= 1/2", logx=True)
    return Finding(
        values=values,
        table=_table(runs).assign(time_near=spans),
        figure=figure,
        remark="Slope held against 1/(2 c) + 1/(2 (v2 - v1)).",
    )


def _time_below(run: MeanFieldRun, level: float) -> float:
    """Return how long the distance stays at most ``level``, in all."""
    return float((run.distances <= level).mean() * run.trajectory.times[-1])


def terminal(profile: Profile, seed: int, *, flow: Flow = lined_flow) -> Finding:
    """Measure where tokens point at last, and where they stay in the control that must not have this phase."""
    beta = 100.0 if profile == "quick" else 1000.0
    count = 400 if profile == "quick" else 1000
    start, times = circle_quantiles(count, asymmetric_density), np.arange(301) * 0.1
    runs = {
        "V = diag(1, 2), B = diag(4, 1)": simulate(flow(beta), start, times, check=False),
        "control: V = diag(2, 1), B = I": simulate(
            TokenFlow(beta, value=np.diag([2.0, 1.0])), start, times, check=False
        ),
    }
    rows, paths = [], {}
    for name, run in runs.items():
        dominant = 1 if name.startswith("V") else 0
        along = (run.trajectory.states[:, :, dominant] ** 2).mean(axis=1)
        paths[name] = (times[: len(along)], along)
        distance = run.distances_without_crossings[-1] if name.startswith("control") else run.distances[-1]
        rows.append({"run": name, "share along V's dominant direction": along[-1], "distance": distance})
    table = pd.DataFrame(rows)
    values = {
        "share along V's dominant direction": float(table["share along V's dominant direction"][0]),
        "distance to the projected law then": float(table["distance"][0]),
        "distance to the projected law in the control": float(table["distance"][1]),
    }
    figure = _without_markers(curves(paths, "t", "mean squared cosine with V's dominant direction"))
    return Finding(
        values=values,
        table=table,
        figure=figure,
        remark=f"beta = {beta:g}, until t = 30; the control without tokens that crossed the separatrix.",
    )


def laplace(profile: Profile, seed: int, *, flow: Flow = lined_flow) -> Finding:
    """Measure how the softmax mean approaches the argmax over beta, on a law with a density."""
    betas = np.geomspace(10, 1000 if profile == "quick" else 10_000, 6)
    tokens, weights = circle_quadrature(8000, asymmetric_density)
    places = np.linspace(0, 2 * np.pi, 12, endpoint=False) + 0.1
    at = np.stack([np.cos(places), np.sin(places)], axis=1)
    rows = []
    for beta in betas:
        interaction = flow(beta).interaction
        asked = at @ (np.eye(2) if interaction is None else interaction)
        aims = asked / np.linalg.norm(asked, axis=1, keepdims=True)
        scores = flow(beta).inverse_temperature * asked @ tokens.T
        masses = weights * np.exp(scores - scores.max(axis=1, keepdims=True))
        means = masses @ tokens / masses.sum(axis=1, keepdims=True)
        rows.append({"inverse_temperature": beta, "largest gap": float(np.linalg.norm(means - aims, axis=1).max())})
    table = pd.DataFrame(rows)
    slope = float(np.polyfit(np.log(betas), np.log(table["largest gap"]), 1)[0])
    scaled = float((table["largest gap"] * np.sqrt(betas / np.log(betas + 1))).max())
    values = {"slope of the gap in beta": slope, "gap by sqrt(log(beta + 1) / beta)": scaled}
    figure = curves({"gap": (betas, table["largest gap"])}, "beta", "softmax mean to argmax", logx=True, logy=True)
    return Finding(
        values=values,
        table=table,
        figure=figure,
        remark="Twelve queries; density 1 + cos(t - 1)/2 + 3 cos(2 t - 1/2)/10 on the circle.",
    )


def _without_markers(figure: Figure) -> Figure:
    """Return a figure whose lines have no markers: they have hundreds of points."""
    for line in figure.axes[0].lines:
        line.set_marker("")
    return figure


CLAIMS = (
    Claim(
        id="meanfield.projection",
        statement=(
            "Rapid concentration onto the push-forward of the initial law under the projection map, at times "
            "of log(beta)."
        ),
        source=SOURCE,
        how="W2 against time for growing beta; time of its minimum against ln(beta).",
        bounds={
            "least distance at the largest beta": at_most(0.03),
            "least distance by that at the start": at_most(0.05),
            "time of the least distance by ln(beta), relative error": at_most(0.1),
        },
        check=projection,
    ),
    Claim(
        id="meanfield.rate",
        statement="The distance scales like sqrt(log(beta + 1) / beta) exp(C t) + exp(-c t).",
        source=SOURCE,
        how="Exponent of the least distance in beta, early decay against c, distances against the bound at all times.",
        bounds={
            "exponent of beta, distance from -1/2": at_most(0.06),
            "early decay by c, relative error": at_most(0.15),
            "largest distance by the bound": at_most(1.0),
        },
        check=rate,
    ),
    Claim(
        id="meanfield.metastable",
        statement="The concentrated law is metastable for moderate times.",
        source=SOURCE,
        how="Time during which W2 is at most 1/2, against ln(beta).",
        bounds={
            "time near the projection at the largest beta": at_least(8.0),
            "its slope against ln(beta), relative error": at_most(0.15),
        },
        check=metastable,
    ),
    Claim(
        id="meanfield.terminal",
        statement="At finite beta and large times a different phase follows, dominated by the spectrum of V.",
        source=SOURCE,
        how="Final directions against V's dominant direction; distance to the projected law in a control without it.",
        bounds={
            "share along V's dominant direction": at_least(0.99),
            "distance to the projected law then": at_least(0.9),
            "distance to the projected law in the control": at_most(0.05),
        },
        check=terminal,
    ),
    Claim(
        id="meanfield.laplace",
        statement="A quantitative Laplace principle: the softmax mean tends to the argmax as beta grows.",
        source=SOURCE,
        how="Distance of softmax means from the argmax over beta, on a known density.",
        bounds={
            "slope of the gap in beta": at_most(-0.5),
            "gap by sqrt(log(beta + 1) / beta)": at_most(1.0),
        },
        check=laplace,
    ),
)
