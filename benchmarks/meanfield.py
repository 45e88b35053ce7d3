"""Mean field at low temperature: the experiments A to E of docs/theory-meanfield.md, and the cost of 100,000 tokens.

    python benchmarks/meanfield.py --experiment A --out A.json --figures figures
    python benchmarks/meanfield.py --experiment B C D E guard order cost

Everything is deterministic: starts are quantiles, lattices or seeded samples. One thread.
"""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

import argparse  # noqa: E402
import importlib.metadata  # noqa: E402
import itertools  # noqa: E402
import json  # noqa: E402
import platform  # noqa: E402
import resource  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402
from dataclasses import asdict  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import matplotlib as mpl  # noqa: E402
import numpy as np  # noqa: E402

mpl.use("Agg")

from matplotlib import pyplot as plt  # noqa: E402

from tokendyn.attention.drift_kernels import drift_rows  # noqa: E402
from tokendyn.dynamics import integrate  # noqa: E402
from tokendyn.particles.meanfield import experiments, simulate, starts  # noqa: E402

#: What a prototype saw: min W2, its time, time of W2 > 0.5.
PROTOTYPE = {
    10: (0.239, 3.4, 4.9), 30: (0.144, 4.4, 6.5), 100: (0.0732, 5.6, 8.3), 300: (0.0429, 6.7, 10.0),
    1000: (0.0237, 7.9, 11.8), 3000: (0.0137, 9.0, 13.4), 10000: (0.0075, 10.2, 15.2),
}  # fmt: skip
#: The same for experiment B, beta = 30, 100, 300: min W2 and its time.
PROTOTYPE_B = ((0.1265, 4.0), (0.0695, 5.25), (0.0404, 6.25))


def _say(text: str) -> None:
    print(" ", text, flush=True)


def experiment_a() -> tuple[dict[str, Any], plt.Figure]:
    record: dict[str, Any] = {"rows": {}, "slopes": {}}
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for v2, marker in ((1.5, "s"), (2.0, "o"), (3.0, "^")):
        rate, leave = 1 - v2 / 4, v2 - 1
        until = 20.0 if v2 == 2 else float(np.log(1e4) * (0.5 / rate + 0.5 / leave) + 6)
        rows, curves = experiments.experiment_a(v2=v2, until=until, tell=_say)
        record["rows"][v2], slopes = [asdict(row) for row in rows], experiments.slopes(rows)
        slopes["leading order"] = {"least": -0.5, "concentration": 0.5 / rate, "departure": 0.5 / rate + 0.5 / leave}
        record["slopes"][v2] = slopes
        for kind, values in slopes.items():
            _say(f"v2 = {v2:g}, slopes {kind}: " + ", ".join(f"{name} {value:.3f}" for name, value in values.items()))
        logs = [row.inverse_temperature for row in rows]
        right.plot(logs, [row.concentration for row in rows], marker, color="C0", label=f"concentration, $v_2={v2:g}$")
        right.plot(logs, [row.departure for row in rows], marker, color="C3", label=f"departure, $v_2={v2:g}$")
        right.plot(logs, [row.closure_concentration for row in rows], "C0-", lw=0.8)
        right.plot(logs, [row.closure_departure for row in rows], "C3-", lw=0.8)
        if v2 == 2:
            _draw_curves(left, curves)
            record["against the prototype"] = _compare(rows)
    left.axhline(0.5, color="grey", lw=0.6)
    left.set(title="A: distance to the projected law", ylim=(5e-3, 2))
    right.set(xscale="log", xlabel=r"$\beta$", ylabel="time", title="Times; lines: Gaussian closure")
    right.legend(fontsize=6)
    return record, figure


def _compare(rows: Sequence[experiments.Concentration]) -> list[dict[str, float]]:
    table = []
    for row in rows:
        seen = PROTOTYPE[int(row.inverse_temperature)]
        ratios = (row.least / seen[0], row.concentration / seen[1], row.departure / seen[2])
        table.append({"beta": row.inverse_temperature, **dict(zip(experiments.MEASURED, ratios, strict=True))})
        _say(f"beta = {row.inverse_temperature:g}: ours / prototype " + " ".join(f"{ratio:.3f}" for ratio in ratios))
    return table


def _draw_curves(axes: plt.Axes, curves: Sequence[experiments.Curve]) -> None:
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(curves)))
    for curve, colour in zip(curves, colours, strict=True):
        axes.semilogy(curve.times, curve.distances, color=colour, label=rf"$\beta={curve.inverse_temperature:g}$")
    axes.set(xlabel="$t$", ylabel="$W_2$ (coupling)")
    axes.legend(fontsize=6)


def experiment_b() -> tuple[dict[str, Any], plt.Figure]:
    rows, curves = experiments.experiment_b(tell=_say)
    for row, (least, moment) in zip(rows, PROTOTYPE_B, strict=True):
        _say(f"ours / prototype {row['least'] / least:.3f} {row['concentration'] / moment:.3f}")
    figure, axes = plt.subplots(figsize=(5, 3.6), layout="constrained")
    _draw_curves(axes, curves)
    axes.set_title("B: sphere, dim E = 2")
    return {"rows": rows}, figure


def experiment_c() -> tuple[dict[str, Any], plt.Figure]:
    rows, curves = experiments.experiment_c()
    for row in rows:
        _say(str(row))
    figure, axes = plt.subplots(figsize=(5, 3.6), layout="constrained")
    for row, curve in zip(rows, curves, strict=True):
        axes.semilogy(curve.times, curve.distances, label=row["control"])
    axes.set(xlabel="$t$", ylabel="$W_2$ (coupling)", title=r"C: controls, $\beta = 300$")
    axes.legend(fontsize=7)
    return {"rows": rows}, figure


def experiment_d() -> tuple[dict[str, Any], plt.Figure]:
    rows = experiments.experiment_d(tell=_say)
    fits = {}
    for beta in sorted({row["inverse_temperature"] for row in rows}):
        fits[beta] = {}
        for kind, (counts, left) in _departures(rows, beta).items():
            fits[beta][kind] = float(np.polyfit(np.log(counts), left, 1)[0])
        _say(f"beta = {beta:g}: slope of the departure against log n: {fits[beta]}")
    return {"rows": rows, "slopes against log n": fits}, draw_d(rows)


def _departures(rows: Sequence[dict[str, Any]], beta: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return numbers of tokens and departures, from quantile and from independent starts."""
    found = {}
    for kind, even in (("quantiles", True), ("independent", False)):
        kept = [
            (row["tokens"], row["departure"])
            for row in rows
            if row["inverse_temperature"] == beta and (row["seed"] is None) is even and row["departure"] is not None
        ]
        found[kind] = tuple(np.array(kept, dtype=float).T)
    return found


def draw_d(rows: Sequence[dict[str, Any]]) -> plt.Figure:
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for colour, beta in enumerate(sorted({row["inverse_temperature"] for row in rows})):
        for (kind, found), marker in zip(_departures(rows, beta).items(), ("o-", "x"), strict=True):
            axes.semilogx(*found, f"C{colour}{marker}", label=rf"$\beta={beta:g}$, {kind}")
    ticks = sorted({row["tokens"] for row in rows})
    axes.set_xticks(ticks, [str(count) for count in ticks])
    axes.minorticks_off()
    axes.set(xlabel="$n$", ylabel="departure", title="D: E is no eigenspace of V")
    figure.legend(loc="outside right center", fontsize=7)
    return figure


def experiment_e() -> tuple[dict[str, Any], plt.Figure]:
    rows = experiments.experiment_e(tell=_say)
    figure, axes = plt.subplots(figsize=(5, 3.6), layout="constrained")
    table = []
    for beta in sorted({row["inverse_temperature"] for row in rows}):
        kept = [row for row in rows if row["inverse_temperature"] == beta]
        names = ("least", "least_without_crossings", "exact_at_least", "concentration", "crossings")
        found = {name: np.array([row[name] for row in kept], dtype=float) for name in names}
        table.append(
            {"beta": beta, **{name: [float(v.mean()), float(v.std(ddof=1))] for name, v in found.items()}}
        )  # fmt: skip
        _say(f"beta = {beta:g}: " + ", ".join(f"{k} {v[0]:.4g} +- {v[1]:.2g}" for k, v in list(table[-1].items())[1:]))
        for shift, (name, colour) in enumerate((("least", "C3"), ("least_without_crossings", "C0"))):
            axes.loglog(
                np.full(len(kept), beta * 1.08**shift), found[name], f"{colour}.", label=name if beta == 30 else ""
            )
    axes.set(xlabel=r"$\beta$", ylabel="least $W_2$", title="E: independent uniform starts, 10 seeds")
    axes.legend(fontsize=7)
    return {"rows": rows, "mean and standard deviation": table}, figure


def guard() -> tuple[dict[str, Any], plt.Figure]:
    """Run 1,000 tokens at beta = 1e6, which follow the wrong limit, beside 6,000."""
    figure, axes = plt.subplots(figsize=(5, 3.6), layout="constrained")
    rows = []
    times = np.linspace(0, 9, 46)
    for count, style in ((1000, "C3-"), (6000, "C0-")):
        start = starts.circle_quantiles(count, experiments.asymmetric_density)
        run = simulate(experiments.lined_flow(1e6), start, times, step=0.1, check=False)
        rows.append({"tokens": count, **asdict(run.resolution), **asdict(run.phases)})
        _say(run.resolution.reason)
        axes.semilogy(times, run.distances, style, label=f"{count} tokens: {run.resolution.status}")
    axes.set(xlabel="$t$", ylabel="$W_2$ (coupling)", title=r"The wrong limit at $\beta = 10^6$")
    axes.legend(fontsize=7)
    return {"rows": rows}, figure


def cost() -> tuple[dict[str, Any], None]:
    """Measure 2,048 rows of one velocity of 100,000 tokens without a fast backend, and extrapolate to T = 10.

    RK4 with h = 0.1 needs 400 velocities of 100,000 rows; the cost of a row does not depend on which rows are taken,
    they are spread over the start.
    """
    count, rows, found = 100_000, 2048, []
    for name, start in (
        ("circle", starts.circle_quantiles(count, experiments.asymmetric_density)),
        ("sphere", starts.fibonacci_sphere(count, 0.5)),
    ):
        dim = start.shape[1]
        queries = start @ np.diag([4.0, *np.ones(dim - 1)])
        weights = np.full(count, 1 / count)
        outputs = np.empty((count, dim)), *np.empty((5, count))
        drift_rows(0, 256, queries, start, weights, 1e3, False, *outputs)
        before = time.process_time()
        for first in range(0, count, count // 8):
            drift_rows(first, first + rows // 8, queries, start, weights, 1e3, False, *outputs)
        seconds = (time.process_time() - before) * count / rows
        gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        hours = seconds * 400 / 3600
        found.append({"start": name, "CPU seconds a velocity": seconds, "CPU hours to T = 10": hours, "GB": gigabytes})
        _say(f"{name}: {seconds:.1f} CPU s a velocity, {hours:.1f} CPU h for 400 of them, {gigabytes:.2f} GB")
    return {"rows": found}, None


def order() -> tuple[dict[str, Any], None]:
    """Accuracy of the integrators at beta = 1000, T = 4, against SciPy's DOP853."""
    from scipy.integrate import solve_ivp

    start = starts.circle_quantiles(1000, experiments.asymmetric_density)
    flow = experiments.lined_flow(1e3)

    def field(_: float, flat: np.ndarray) -> np.ndarray:
        x = flat.reshape(start.shape)
        return flow.velocity(x / np.linalg.norm(x, axis=1)[:, None]).ravel()

    exact = solve_ivp(field, (0, 4), start.ravel(), method="DOP853", rtol=1e-11, atol=1e-12).y[:, -1]
    exact = exact.reshape(start.shape)
    rows = []
    for method in ("layers", "euler", "heun", "rk4"):
        errors = []
        for step in (0.1, 0.05, 0.025):
            end = integrate(flow, start, [0.0, 4.0], method=method, step=step).states[-1]
            errors.append(float(np.sqrt(((end - exact) ** 2).sum(axis=1).mean())))
        orders = [float(np.log2(a / b)) for a, b in itertools.pairwise(errors)]
        rows.append({"method": method, "errors": errors, "orders": orders})
        _say(f"{method}: error {errors[0]:.1e} at h = .1, orders {orders[0]:.2f} {orders[1]:.2f}")
    return {"rows": rows}, None


EXPERIMENTS: dict[str, Callable[[], tuple[dict[str, Any], plt.Figure | None]]] = {
    "A": experiment_a, "B": experiment_b, "C": experiment_c, "D": experiment_d, "E": experiment_e,
    "guard": guard, "order": order, "cost": cost,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", nargs="+", choices=list(EXPERIMENTS), default=["A"])
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    parser.add_argument("--figures", type=Path, help="folder for the figures, meanfield_A.png and so on")
    options = parser.parse_args()
    record: dict[str, Any] = {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, one thread used",
        "versions": {name: importlib.metadata.version(name) for name in ("numpy", "scipy", "numba")},
    }
    for name in options.experiment:
        print(name, flush=True)
        before = time.process_time()
        record[name], figure = EXPERIMENTS[name]()
        record[name]["cpu_seconds"] = time.process_time() - before
        print(f"  {record[name]['cpu_seconds']:.0f} CPU seconds", flush=True)
        if figure is not None and options.figures is not None:
            figure.savefig(options.figures / f"meanfield_{name}.png", dpi=90)
    if options.out is not None:
        options.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
