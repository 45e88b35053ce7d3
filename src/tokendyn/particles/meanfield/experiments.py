"""The five experiments on concentration at low temperature, as functions that return rows of numbers.

A: concentration time, least distance and departure against beta. B: a two-dimensional E on the sphere. C: controls
without a terminal phase, and with rotating clusters. D: E that V does not keep. E: scatter over random starts.
Runs are not judged by second ones here: "resolution" is the rule for starts.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from tokendyn.dynamics import TokenFlow
from tokendyn.particles.meanfield.closure import clusters_at, gaussian_closure
from tokendyn.particles.meanfield.guard import needed_tokens
from tokendyn.particles.meanfield.model import MeanFieldRun, simulate
from tokendyn.particles.meanfield.phases import detect_phases
from tokendyn.particles.meanfield.starts import circle_quantiles, fibonacci_sphere, uniform_sphere

#: The seven inverse temperatures of experiment A.
BETAS = (10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4)

#: The quantities that experiment A measures in each run.
MEASURED = ("least", "concentration", "departure")

#: Called with a sentence after each run.
Tell = Callable[[str], None]


def asymmetric_density(angles: Float[np.ndarray, " angles"]) -> Float[np.ndarray, " angles"]:
    """Return ``1 + cos(theta - 1) / 2 + 3 cos(2 theta - 1/2) / 10``, the density of experiment A's start."""
    return 1 + 0.5 * np.cos(angles - 1) + 0.3 * np.cos(2 * angles - 0.5)


def lined_flow(inverse_temperature: float, v2: float = 2.0) -> TokenFlow:
    """Return the flow of experiments A and E: ``V = diag(1, v2)``, ``B = diag(4, 1)``, so ``E = span(e_1)``."""
    return TokenFlow(inverse_temperature, interaction=np.diag([4.0, 1.0]), value=np.diag([1.0, v2]))


@dataclass(frozen=True)
class Concentration:
    """One inverse temperature of experiment A, with the prediction of the Gaussian closure.

    Attributes
    ----------
    inverse_temperature, resolution
        Beta, and whether the tokens resolve it.
    least, concentration, departure
        ``min_t W_2`` (coupling bound), its time, and the time from which ``W_2 > 1/2``.
    closure_least, closure_concentration, closure_departure
        The same from :func:`~tokendyn.particles.meanfield.gaussian_closure`.
    """

    inverse_temperature: float
    resolution: str
    least: float
    concentration: float
    departure: float
    closure_least: float
    closure_concentration: float
    closure_departure: float


@dataclass(frozen=True)
class Curve:
    """Distances over time of one run, for a figure."""

    inverse_temperature: float
    times: Float[np.ndarray, " times"]
    distances: Float[np.ndarray, " times"]


def experiment_a(
    betas: Sequence[float] = BETAS, v2: float = 2.0, count: int = 1000, until: float = 20.0, tell: Tell | None = None
) -> tuple[list[Concentration], list[Curve]]:
    """Run ``V = diag(1, v2)``, ``B = diag(4, 1)`` from quantile tokens on the circle; Heun, h = 0.05."""
    start = circle_quantiles(count, asymmetric_density)
    times = np.arange(round(until / 0.05) + 1) * 0.05
    rows, curves = [], []
    for beta in betas:
        run = simulate(lined_flow(beta, v2), start, times, method="heun", step=0.05, check=False)
        phases = run.phases
        model = gaussian_closure((1.0, v2), (4.0, 1.0), beta, clusters_at(start), until + 10).phases
        rows.append(
            Concentration(
                inverse_temperature=beta,
                resolution=run.resolution.status,
                least=phases.least,
                concentration=phases.concentration,
                departure=phases.departure,
                closure_least=model.least,
                closure_concentration=model.concentration,
                closure_departure=model.departure,
            )
        )
        curves.append(Curve(inverse_temperature=beta, times=run.trajectory.times, distances=run.distances))
        if tell is not None:
            timing = f"{phases.least:.4f} at {phases.concentration:.2f}, {phases.departure:.2f}"
            tell(f"v2 = {v2:g}, beta = {beta:g}: {timing}")
    return rows, curves


def slopes(rows: Sequence[Concentration]) -> dict[str, dict[str, float]]:
    """Return least-squares slopes against ``log beta``: of ``log min W_2``, the concentration time and the departure.

    ``measured`` from the runs, ``closure`` from the closure at the same betas.
    """
    logs = np.log([row.inverse_temperature for row in rows])
    table = {}
    for kind, prefix in (("measured", ""), ("closure", "closure_")):
        columns = {name: [getattr(row, prefix + name) for row in rows] for name in MEASURED}
        columns["least"] = list(np.log(columns["least"]))
        table[kind] = {name: float(np.polyfit(logs, values, 1)[0]) for name, values in columns.items()}
    return table


def experiment_b(
    betas: Sequence[float] = (30.0, 100.0, 300.0), least_count: int = 2000, tell: Tell | None = None
) -> tuple[list[dict[str, Any]], list[Curve]]:
    """Run ``V = diag(1, 1, 2)``, ``B = diag(4, 4, 1)``, so dim E = 2, on the sphere; RK4, h = 1/8.

    The start is a Fibonacci lattice pushed by 1/4 along ``e_3``: unchanged, it is symmetric about E, and clusters
    would never leave. Each beta has as many tokens as it needs, and no fewer than ``least_count``.
    """
    times = np.arange(57) * 0.125
    rows, curves = [], []
    for beta in betas:
        count = max(least_count, math.ceil(needed_tokens(4 * beta, 3)))
        start = fibonacci_sphere(count, push=(0.0, 0.0, 0.25))
        flow = TokenFlow(beta, interaction=np.diag([4.0, 4.0, 1.0]), value=np.diag([1.0, 1.0, 2.0]))
        run = simulate(flow, start, times, step=0.125, check=False)
        rows.append(_row(run))
        curves.append(Curve(inverse_temperature=beta, times=run.trajectory.times, distances=run.distances))
        if tell is not None:
            tell(
                f"beta = {beta:g}, n = {count}: {run.phases.least:.4f} at {run.phases.concentration:.3f}, departure "
                f"{run.phases.departure:.2f}, {run.resolution.status}"
            )
    return rows, curves


def turning_flow(inverse_temperature: float, angle: float = 0.3) -> TokenFlow:
    """Return V = rotation by ``angle``, ``V B^T = diag(2, 0.8)``: a collapsed cluster turns at rate ``sin(angle)``."""
    cosine, sine = math.cos(angle), math.sin(angle)
    value = np.array([[cosine, -sine], [sine, cosine]])
    return TokenFlow(inverse_temperature, interaction=(value.T @ np.diag([2.0, 0.8])).T, value=value)


def experiment_c(
    inverse_temperature: float = 300.0, count: int = 1000, until: float = 30.0, angle: float = 0.3
) -> tuple[list[dict[str, Any]], list[Curve]]:
    """Run two controls: ``V = diag(2, 1)``, ``B = I`` (nothing to leave for), and rotating V (clusters turn)."""
    start = circle_quantiles(count, asymmetric_density)
    times = np.arange(round(until / 0.1) + 1) * 0.1
    settled = simulate(TokenFlow(inverse_temperature, value=np.diag([2.0, 1.0])), start, times, check=False)
    turning = simulate(turning_flow(inverse_temperature, angle), start, times, check=False)
    directions = np.exp(2j * np.arctan2(turning.trajectory.states[:, :, 1], turning.trajectory.states[:, :, 0]))
    axes = np.unwrap(np.angle(directions.mean(axis=1))) / 2
    late = len(times) * 2 // 3
    speed = float(np.polyfit(times[late:], axes[late:], 1)[0])
    rows = [
        {"control": "V = diag(2, 1), B = I", **_row(settled), "last_distance": float(settled.distances[-1])},
        {
            "control": f"V = rotation by {angle:g}, V B^T = diag(2, .8)", **_row(turning),
            "turning_rate": speed, "expected_rate": math.sin(angle),
        },
    ]  # fmt: skip
    return rows, [
        Curve(inverse_temperature=inverse_temperature, times=times, distances=run.distances)
        for run in (settled, turning)
    ]


def leaning_flow(inverse_temperature: float, lean: float = 0.5) -> TokenFlow:
    """Return ``V = [[1, 0], [lean, 2]]``, ``V B^T = diag(4, 2)``: ``E = span(e_1)`` is not an eigenspace of V."""
    value = np.array([[1.0, 0.0], [lean, 2.0]])
    return TokenFlow(inverse_temperature, interaction=np.linalg.solve(value, np.diag([4.0, 2.0])).T, value=value)


def experiment_d(
    betas: Sequence[float] = (30.0, 100.0, 300.0),
    counts: Sequence[int] = (125, 250, 500, 1000),
    seeds: Sequence[int] = (0, 1),
    lean: float = 0.5,
    until: float = 16.0,
    tell: Tell | None = None,
) -> list[dict[str, Any]]:
    """Measure when clusters leave an E that V does not keep, against n and beta (a conjecture; see the docs).

    Each (beta, n) is run from quantile tokens (seed None) and from independent tokens of some seeds. The departure is
    the first time after the least distance at which the distance exceeds 0.3.
    """
    times = np.arange(round(until / 0.1) + 1) * 0.1
    rows = []
    for beta in betas:
        flow = leaning_flow(beta, lean)
        for count in counts:
            for seed in (None, *seeds):
                start = circle_quantiles(count, asymmetric_density) if seed is None else uniform_sphere(count, 2, seed)
                run = simulate(flow, start, times, check=False)
                left = detect_phases(times, run.distances, level=0.3)
                rows.append(
                    {
                        "inverse_temperature": beta, "tokens": count, "seed": seed,
                        "resolution": run.resolution.status, "least": left.least,
                        "concentration": left.concentration, "departure": _finite(left.departure),
                    }
                )  # fmt: skip
                if tell is not None:
                    tell(f"beta = {beta:g}, n = {count}, seed {seed}: departure {left.departure:.2f}")
    return rows


def experiment_e(
    betas: Sequence[float] = (30.0, 100.0, 300.0, 1000.0),
    seeds: Sequence[int] = tuple(range(10)),
    count: int = 1000,
    until: float = 14.0,
    tell: Tell | None = None,
) -> list[dict[str, Any]]:
    """Run A's matrices from independent uniform tokens: the effect of tokens near the separatrix on the distance."""
    times = np.arange(round(until / 0.1) + 1) * 0.1
    rows = []
    for beta in betas:
        for seed in seeds:
            run = simulate(lined_flow(beta), uniform_sphere(count, 2, seed), times, seed=seed, check=False)
            best = run.best
            rows.append(
                {
                    **_row(run), "seed": seed, "floor": float(run.floors[best]),
                    "least_without_crossings": float(run.distances_without_crossings.min()),
                    "exact_at_least": run.exact_distance(best).value,
                }
            )  # fmt: skip
            if tell is not None:
                tell(f"beta = {beta:g}, seed {seed}: {run.phases.least:.4f}, {run.crossings[best]} crossings")
    return rows


def _row(run: MeanFieldRun) -> dict[str, Any]:
    phases = {name: value for name, value in asdict(run.phases).items() if name != "metastable"}
    return {
        "inverse_temperature": run.flow.inverse_temperature,
        "tokens": len(run.trajectory.weights),
        "resolution": run.resolution.status,
        **{name: _finite(value) for name, value in phases.items()},
        "crossings": int(run.crossings[run.best]),
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
