"""Figures of mean-field runs: distances with the theory, tokens over time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from jaxtyping import Complex, Float
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from tokendyn.particles.meanfield.closure import Closure
from tokendyn.particles.meanfield.model import MeanFieldRun
from tokendyn.particles.meanfield.phases import DEPARTED, Phases
from tokendyn.particles.meanfield.stage import Stage, draw_moment
from tokendyn.particles.meanfield.theory import Envelope
from tokendyn.show.axes import new_figure, quiet
from tokendyn.show.palette import INK, LEADER_COLOURS, NEUTRAL, QUIET
from tokendyn.show.vector import NARROW

BLUE, VERMILION, GREEN = LEADER_COLOURS[:3]
#: Number of states that are drawn side by side.
PANELS = 5
#: Bins of the angle in the picture of the circle over time.
_BINS = 180
#: Lower end of the axis of distances.
_LEAST = 1e-6


@dataclass(frozen=True)
class DistanceCurve:
    """Distances over time at one inverse temperature, to draw beside others.

    Attributes
    ----------
    inverse_temperature, times, distances
        The curve.
    closure
        The curve of the closure, None where it does not apply.
    resolved
        Whether the tokens resolve beta; drawn dotted if not.
    """

    inverse_temperature: float
    times: Float[np.ndarray, " times"]
    distances: Float[np.ndarray, " times"]
    closure: Closure | None = None
    resolved: bool = True


def distance_figure(run: MeanFieldRun, closure: Closure | None = None, bound: Envelope | None = None) -> Figure:
    """Draw the distance to the projected law over time, its phases, and the theory's curves."""
    figure = new_figure(9.5, 4.2)
    axes = figure.subplots()
    times = run.trajectory.times
    axes.semilogy(times, _shown(run.distances), color=BLUE, linewidth=2.0, label="tokens, coupling bound")
    if run.crossings.any():
        uncrossed = run.distances_without_crossings
        axes.semilogy(times, _shown(uncrossed), color=LEADER_COLOURS[5], linewidth=1.4, label="without crossed tokens")
    if closure is not None:
        axes.semilogy(
            closure.times, _shown(closure.distances), "--", color=VERMILION, linewidth=1.4, label="Gaussian closure"
        )
    if bound is not None:
        label = f"form of the theorem: c = {bound.decay:.3g}, C = {bound.growth:.3g}, K = {bound.constant:.3g}"
        axes.semilogy(bound.times, _shown(bound.distances), ":", color=INK, linewidth=1.2, label=label)
    _mark_phases(axes, run.phases, float(times[-1]))
    axes.set_xlim(times[0], times[-1])
    low = float(np.clip(run.distances.min() / 2, _LEAST, 1))
    axes.set_ylim(low, max(2.5, 1.2 * float(run.distances.max())))
    quiet(axes, "time t", r"$W_2(\mu_t, \Pi_\#\mu_0)$")
    axes.legend(loc="lower right", fontsize=8, framealpha=0.9)
    return figure


def _mark_phases(axes: Axes, phases: Phases, end: float) -> None:
    if phases.least > DEPARTED:
        return
    start, stop = phases.metastable
    axes.axvspan(start, min(stop, end), color=GREEN, alpha=0.12, linewidth=0)
    marks = [(phases.concentration, "least", GREEN), (phases.departure, "departure", VERMILION)]
    for when, name, colour in marks:
        if math.isfinite(when):
            axes.axvline(when, color=colour, linewidth=1.0)
            axes.annotate(
                f"{name}, t = {when:.3g}", (when, 1.0), xycoords=("data", "axes fraction"), xytext=(3, -3),
                textcoords="offset points", fontsize=8, color=INK, va="top",
            )  # fmt: skip
    axes.annotate(
        "metastable", (start, 0.0), xycoords=("data", "axes fraction"), xytext=(3, 4), textcoords="offset points",
        fontsize=8, color=QUIET,
    )  # fmt: skip


def curves_figure(curves: Sequence[DistanceCurve]) -> Figure:
    """Draw the distances over time for several inverse temperatures, each with its closure dashed in the same colour.

    Dotted curves belong to runs whose tokens do not resolve beta.
    """
    figure = new_figure(9.5, 4.6)
    axes = figure.subplots()
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.88, len(curves)))
    for curve, colour in zip(curves, colours, strict=True):
        style = "-" if curve.resolved else ":"
        name = rf"$\beta = {curve.inverse_temperature:g}$" + ("" if curve.resolved else ", too few tokens")
        axes.semilogy(curve.times, _shown(curve.distances), style, color=colour, linewidth=1.8, label=name)
        if curve.closure is not None:
            axes.semilogy(curve.closure.times, _shown(curve.closure.distances), "--", color=colour, linewidth=0.9)
    if any(curve.closure is not None for curve in curves):
        axes.plot([], [], "--", color=NEUTRAL, linewidth=0.9, label="Gaussian closure")
    least = min((float(curve.distances.min()) for curve in curves), default=1.0)
    axes.set_ylim(max(least / 2, _LEAST), 3)
    axes.set_xlim(0, max((float(curve.times[-1]) for curve in curves), default=1.0))
    axes.axhline(0.5, color=NEUTRAL, linewidth=0.8)
    quiet(axes, "time t", r"$W_2(\mu_t, \Pi_\#\mu_0)$")
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    return figure


def tokens_figure(run: MeanFieldRun, *, narrow: bool = False) -> Figure:
    """Draw the tokens at some moments; on the circle also the density of their angles over time.

    ``narrow`` is the shape for a narrow screen: three moments, the first, the middle and the last of the others.
    """
    stage = Stage(run)
    moments = chosen_states(run)
    circle = stage.dim == 2
    if narrow:
        moments = sorted({moments[0], moments[len(moments) // 2], moments[-1]})
    figure = new_figure(NARROW if narrow else 11.0, 5.4 if circle and not narrow else 4.2 if circle else 2.9)
    heights = [0.5 if narrow else 1.0, 1.35]
    grid = figure.add_gridspec(2 if circle else 1, len(moments), height_ratios=heights if circle else None)
    for column, state in enumerate(moments):
        axes = figure.add_subplot(grid[0, column])
        draw_moment(axes, stage, state)
        axes.set_title(f"t = {run.trajectory.times[state]:.3g}", fontsize=9.5, color=INK)
    if circle:
        _draw_angles(figure.add_subplot(grid[1, :]), run)
    elif stage.dim > 3:
        figure.text(0.01, 0.01, stage.note, fontsize=8, color=QUIET)
    return figure


def spectrum_figure(
    product: Complex[np.ndarray, " some"], value: Complex[np.ndarray, " others"] | None = None
) -> Figure:
    """Draw the eigenvalues of ``V B^T``, and those of V, in the complex plane; the dominant ones are stars."""
    panels = [(product, r"eigenvalues of $V B^\top$")] + ([(value, "eigenvalues of V")] if value is not None else [])
    figure = new_figure(4.6 * len(panels), 3.9)
    for axes, (values, title) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        top = values.real >= values.real.max() - 1e-7 * max(float(np.abs(values).max()), np.finfo(float).tiny)
        axes.axvline(0.0, color=NEUTRAL, linewidth=0.8)
        axes.scatter(values.real, values.imag, s=22, color=BLUE, alpha=0.6, linewidth=0)
        axes.scatter(values.real[top], values.imag[top], s=150, marker="*", color=VERMILION, zorder=3)
        quiet(axes, "real part", "imaginary part")
        axes.set_title(title, fontsize=9.5, color=INK)
    return figure


def chosen_states(run: MeanFieldRun, count: int = PANELS) -> list[int]:
    """Return the states to draw: start, halfway to concentration, least distance, (halfway to) departure, end."""
    times, phases = run.trajectory.times, run.phases
    if not run.asks:
        return sorted(set(np.linspace(0, len(times) - 1, count).round().astype(int).tolist()))
    leaving = phases.departure if math.isfinite(phases.departure) else (phases.concentration + float(times[-1])) / 2
    middle = (float(times[0]) + phases.concentration) / 2
    moments = [float(times[0]), middle, phases.concentration, leaving, float(times[-1])]
    states = dict.fromkeys(int(np.abs(times - when).argmin()) for when in moments)
    return sorted(states)[:count]


def _draw_angles(axes: Axes, run: MeanFieldRun) -> None:
    """Shade the density of the angles over time, relative to the uniform one."""
    trajectory = run.trajectory
    angles = np.arctan2(trajectory.states[:, :, 1], trajectory.states[:, :, 0])
    edges = np.linspace(-math.pi, math.pi, _BINS + 1)
    density = np.stack([np.histogram(row, edges, weights=trajectory.weights)[0] for row in angles]) * _BINS
    between = (trajectory.times[1:] + trajectory.times[:-1]) / 2
    borders = np.concatenate([trajectory.times[:1], between, trajectory.times[-1:]])
    shades = axes.pcolormesh(
        borders, edges / math.pi, np.clip(density.T, 0.05, None), norm=LogNorm(0.05, _BINS / 2), cmap="cividis",
        rasterized=True,
    )  # fmt: skip
    bar = axes.figure.colorbar(shades, ax=axes, pad=0.01)
    bar.set_label("density over uniform", fontsize=8.5, color=QUIET)
    bar.ax.tick_params(which="both", labelsize=8, colors=QUIET)
    for number, target in enumerate(np.unique(np.round(run.targets, 9), axis=0)[:8]):
        angle = math.atan2(target[1], target[0]) / math.pi
        if not run.asks:
            break
        label = "where the projection sends them" if number == 0 else None
        axes.axhline(angle, color="white", linewidth=0.9, linestyle=":", label=label)
    quiet(axes, "time t", "angle / π")
    axes.grid(visible=False)
    axes.set_ylim(-1, 1)


def _shown(distances: np.ndarray) -> np.ndarray:
    return np.clip(distances, _LEAST, None)
