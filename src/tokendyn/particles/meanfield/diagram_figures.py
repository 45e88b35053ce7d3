"""Figures of phase diagrams: heat maps, curves, slopes against log beta."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, NullFormatter, NullLocator

from tokendyn.particles.meanfield.closure import Closure
from tokendyn.particles.meanfield.diagram import Diagram, PointResult
from tokendyn.particles.meanfield.figures import DistanceCurve, curves_figure
from tokendyn.particles.meanfield.phases import detect_phases
from tokendyn.particles.meanfield.scatter import Estimate, PhaseScatter
from tokendyn.show.axes import new_figure, quiet
from tokendyn.show.palette import INK, LEADER_COLOURS, NEUTRAL, QUIET

#: Least distances below this have the same colour.
_LEAST = 1e-3
#: Label, colour and marker of each phase.
_MARKS = {
    "metastable_from": ("metastable, first", LEADER_COLOURS[5], "v"),
    "concentration": ("least distance", "white", "o"),
    "metastable_to": ("metastable, last", LEADER_COLOURS[4], "^"),
    "departure": ("departure", LEADER_COLOURS[1], "D"),
}


def diagram_curves(diagram: Diagram) -> Figure:
    """Draw the distances of the first seed at every beta, with the closure."""
    curves = []
    for beta in diagram.betas:
        result = diagram.at(beta)[0]
        if result.verdict == "nothing":
            continue
        curves.append(
            DistanceCurve(
                inverse_temperature=beta,
                times=result.times,
                distances=result.distances,
                closure=_closure(result),
                resolved=result.resolution == "resolved",
            )
        )
    return curves_figure(curves)


def _closure(result: PointResult) -> Closure | None:
    times, distances = result.closure_times, result.closure_distances
    return Closure(times=times, distances=distances, phases=detect_phases(times, distances)) if len(times) > 2 else None


def time_map(diagram: Diagram) -> Figure:
    """Shade the distance over time and beta (the mean over seeds), with the phases and their scatter."""
    betas = diagram.betas
    figure = new_figure(9.5, 4.6)
    axes = figure.subplots()
    grid = max((run.times for run in diagram.results), key=lambda times: float(times[-1]))
    shades = np.full((len(betas), len(grid)), np.nan)
    for row, beta in enumerate(betas):
        runs = [run for run in diagram.at(beta) if run.verdict != "nothing"]
        curves = [np.interp(grid, run.times, run.distances, right=np.nan) for run in runs]
        shades[row] = np.mean(curves, axis=0) if curves else np.nan
    picture = axes.pcolormesh(
        _edges(grid, log=False), _edges(np.array(betas), log=True), shades, cmap="cividis", rasterized=True,
        norm=_log_norm(shades),
    )  # fmt: skip
    bar = figure.colorbar(picture, ax=axes, pad=0.01)
    bar.set_label(r"$W_2(\mu_t, \Pi_\#\mu_0)$", fontsize=9, color=QUIET)
    bar.ax.tick_params(which="both", labelsize=8, colors=QUIET)
    for name, (label, colour, marker) in _MARKS.items():
        _mark(axes, diagram, name, label, colour, marker)
    for beta in betas:
        if any(run.resolution != "resolved" for run in diagram.at(beta)):
            axes.annotate(
                "too few tokens", (0.995, beta), xycoords=("axes fraction", "data"), ha="right", va="center",
                fontsize=8, color=INK, bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none"},
            )  # fmt: skip
    axes.set_yscale("log")
    _mark_betas(axes.yaxis, betas)
    axes.set_xlim(grid[0], grid[-1])
    quiet(axes, "time t", r"inverse temperature $\beta$")
    axes.grid(visible=False)
    figure.legend(loc="outside upper center", ncols=4, fontsize=8.5, frameon=False)
    return figure


def _log_norm(shades: np.ndarray) -> LogNorm:
    """Return a logarithmic scale for shades; distances of zero take the colour of its lower end."""
    positive = shades[np.isfinite(shades) & (shades > 0)]
    low, high = (float(positive.min()), float(positive.max())) if positive.size else (_LEAST, 1.0)
    return LogNorm(max(low, high * 1e-6), high * (1 + 1e-9) if high > low else 2 * high, clip=True)


def _mark_betas(axis: Axis, betas: Sequence[float]) -> None:
    """Label a logarithmic axis at the inverse temperatures themselves, at most at eight of them."""
    some = betas[:: math.ceil(len(betas) / 8)]
    axis.set_major_locator(FixedLocator(some))
    axis.set_major_formatter(FixedFormatter([f"{beta:.4g}" for beta in some]))
    axis.set_minor_locator(NullLocator())


def _mark(axes: Axes, diagram: Diagram, name: str, label: str, colour: str, marker: str) -> None:
    estimates = [(beta, _estimate(diagram, beta, name)) for beta in diagram.betas]
    estimates = [(beta, estimate) for beta, estimate in estimates if estimate.found]
    if estimates:
        bars = [estimate.deviation if math.isfinite(estimate.deviation) else 0.0 for _, estimate in estimates]
        axes.errorbar(
            [estimate.mean for _, estimate in estimates], [beta for beta, _ in estimates], xerr=bars, color=colour,
            marker=marker, markeredgecolor=INK, markersize=6, linewidth=1.2, capsize=2.5, label=label,
        )  # fmt: skip


def _estimate(diagram: Diagram, beta: float, name: str) -> Estimate:
    phases = [run.phases for run in diagram.at(beta) if run.verdict != "nothing"]
    estimate: Estimate = getattr(PhaseScatter.of(phases), name)
    return estimate


def spectrum_map(diagram: Diagram) -> Figure:
    """Shade the least distance, and how long the tokens stay concentrated, over beta and the ratio v2/v1."""
    figure = new_figure(11.0, 4.4)
    left, right = figure.subplots(1, 2, sharey=True)
    least = _cells(diagram, lambda run: run.phases.least if run.verdict != "nothing" else math.nan)
    stays = _cells(
        diagram, lambda run: run.phases.departure - run.phases.concentration if run.verdict != "nothing" else math.nan
    )
    _shade(figure, left, diagram, least, "least distance", log=True)
    _shade(figure, right, diagram, stays, "time from least distance to departure", log=False)
    quiet(left, "ratio v2 / v1", r"inverse temperature $\beta$")
    quiet(right, "ratio v2 / v1")
    for axes in (left, right):
        axes.grid(visible=False)
    legend = [
        Patch(facecolor="white", edgecolor=LEADER_COLOURS[1], hatch="///", label="too few tokens"),
        Patch(facecolor="white", edgecolor=NEUTRAL, hatch="...", label="not concentrated"),
        Patch(facecolor="white", edgecolor=NEUTRAL, label="nothing concentrates"),
        Patch(facecolor=LEADER_COLOURS[5], edgecolor=NEUTRAL, alpha=0.5, label="stays until the end of the run"),
        Patch(facecolor="#EEEEEE", edgecolor=NEUTRAL, label="not run yet"),
    ]
    figure.legend(handles=legend, loc="outside upper center", ncols=5, fontsize=8.5, frameon=False)
    return figure


def _cells(diagram: Diagram, measure: Callable[[PointResult], float]) -> Float[np.ndarray, "betas ratios"]:
    """Return the mean of a measure over seeds: infinite where most are infinite, NaN where nothing was run."""
    table = np.full((len(diagram.betas), len(diagram.ratios)), np.nan)
    for i, beta in enumerate(diagram.betas):
        for j, ratio in enumerate(diagram.ratios):
            values = [measure(run) for run in diagram.at(beta, ratio)]
            values = [value for value in values if not math.isnan(value)]
            finite = [value for value in values if math.isfinite(value)]
            if values:
                table[i, j] = float(np.mean(finite)) if 2 * len(finite) > len(values) else math.inf
    return table


def _shade(figure: Figure, axes: Axes, diagram: Diagram, table: np.ndarray, name: str, *, log: bool) -> None:
    """Shade a table with one equal cell for each point; infinite entries in blue."""
    shown = np.ma.masked_invalid(table)
    axes.set_facecolor("#EEEEEE")
    norm = _log_norm(np.maximum(shown.filled(np.nan), _LEAST)) if log and shown.count() else None
    picture = axes.pcolormesh(shown, cmap="cividis", norm=norm, rasterized=True)
    if shown.count():
        bar = figure.colorbar(picture, ax=axes, pad=0.01)
        bar.set_label(name, fontsize=9, color=QUIET)
        bar.ax.tick_params(which="both", labelsize=8, colors=QUIET)
    axes.set_title(name, fontsize=9.5, color=INK)
    for i, beta in enumerate(diagram.betas):
        for j, ratio in enumerate(diagram.ratios):
            runs = diagram.at(beta, ratio)
            verdicts = [str(run.verdict) for run in runs]
            if verdicts and verdicts.count("nothing") == len(verdicts):
                axes.add_patch(Rectangle((j, i), 1, 1, facecolor="white", edgecolor=NEUTRAL, linewidth=0.8))
                continue
            if verdicts.count("never") * 2 > len(verdicts):
                cell = Rectangle((j, i), 1, 1, facecolor="white", edgecolor=NEUTRAL, hatch="...", linewidth=0)
                axes.add_patch(cell)
            elif math.isinf(table[i, j]):
                axes.add_patch(Rectangle((j, i), 1, 1, facecolor=LEADER_COLOURS[5], alpha=0.5, linewidth=0))
            if verdicts.count("unresolved") * 2 > len(verdicts):
                axes.add_patch(
                    Rectangle((j, i), 1, 1, fill=False, hatch="///", edgecolor=LEADER_COLOURS[1], linewidth=0)
                )
    axes.set_xticks(np.arange(len(diagram.ratios)) + 0.5, [f"{ratio:g}" for ratio in diagram.ratios])
    axes.set_yticks(np.arange(len(diagram.betas)) + 0.5, [f"{beta:g}" for beta in diagram.betas])


def slopes_figure(diagram: Diagram) -> Figure | None:
    """Draw least distance, its time and the departure against log beta, with fitted slopes and the closure's.

    None with fewer than three inverse temperatures that the tokens resolve.
    """
    betas = [
        beta
        for beta in diagram.betas
        if all(run.resolution == "resolved" and run.verdict != "nothing" for run in diagram.at(beta))
    ]
    if len(betas) < 3:
        return None
    figure = new_figure(11.0, 3.7)
    panels = (("least", "least distance"), ("concentration", "its time"), ("departure", "departure"))
    for axes, (name, title) in zip(figure.subplots(1, 3), panels, strict=True):
        power = name == "least"
        measured = [(beta, _estimate(diagram, beta, name)) for beta in betas]
        measured = [(beta, estimate) for beta, estimate in measured if estimate.found]
        x, y = np.array([b for b, _ in measured]), np.array([estimate.mean for _, estimate in measured])
        power = power and bool((y > 0).all())
        narrow = power and len(y) > 0 and float(y.max()) < 5 * float(y.min())  # else decades alone are labelled
        bars = [estimate.deviation if math.isfinite(estimate.deviation) else 0.0 for _, estimate in measured]
        if measured:
            axes.errorbar(
                x, y, bars, fmt="o", color=LEADER_COLOURS[0], capsize=2.5, label=f"runs, slope {_slope(x, y, power)}"
            )
        else:
            axes.text(0.5, 0.06, "in no run that is resolved", transform=axes.transAxes, ha="center", color=QUIET)
        models = [(beta, _closure(diagram.at(beta)[0])) for beta in betas]
        closed = [(beta, getattr(model.phases, name)) for beta, model in models if model is not None]
        closed = [(beta, value) for beta, value in closed if math.isfinite(value)]
        if closed:
            u, w = np.array(closed).T
            label = f"closure, slope {_slope(u, w, power)}"
            axes.plot(u, w, "--" if len(u) > 1 else "_", color=LEADER_COLOURS[1], linewidth=1.4, label=label)
        axes.set_xscale("log")
        _mark_betas(axes.xaxis, betas)
        if power:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
            if narrow:
                axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
            else:
                axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_title(title, fontsize=9.5, color=INK)
        quiet(axes, r"inverse temperature $\beta$")
        if measured or closed:
            axes.legend(fontsize=8)
    return figure


def _slope(x: np.ndarray, y: np.ndarray, power: bool) -> str:
    """Return the least-squares slope against log beta (of the logarithm, for a power)."""
    if len(x) < 2:
        return "–"
    return f"{np.polyfit(np.log(x), np.log(y) if power else y, 1)[0]:.3f}"


def _edges(centres: np.ndarray, *, log: bool) -> np.ndarray:
    """Return the borders of cells around centres."""
    points = np.log(centres) if log else centres
    if len(points) == 1:
        edges = np.array([points[0] - 0.5, points[0] + 0.5])
    else:
        middle = (points[1:] + points[:-1]) / 2
        edges = np.concatenate([[2 * points[0] - middle[0]], middle, [2 * points[-1] - middle[-1]]])
    return np.asarray(np.exp(edges) if log else edges)
