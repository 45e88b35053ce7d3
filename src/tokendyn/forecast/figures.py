"""Figures of forecasts and of fitted models."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Complex, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tokendyn.errors import BadInputError
from tokendyn.forecast.eigenvalue_bars import EigenvalueIntervals
from tokendyn.forecast.orbit_reading import OrbitReading
from tokendyn.forecast.spectra import Spectrum
from tokendyn.show.axes import line, new_figure, quiet
from tokendyn.show.palette import INK, LEADER_COLOURS, NEUTRAL

#: Largest number of features with a panel, and of modes listed.
MOST_PANELS, MOST_MODES = 4, 12
#: Errors are drawn within these bounds.
_LEAST, _MOST = 1e-16, 1e3
#: Modes that contribute less than this share of the largest are neither labelled nor drawn one by one.
_NEGLIGIBLE = 1e-6


def forecast_figure(
    truth: Float[np.ndarray, "steps features"],
    forecasts: Mapping[str, Float[np.ndarray, "_ features"]],
    dt: float,
    names: Sequence[str],
    scale: Float[np.ndarray, " features"],
    past: Float[np.ndarray, "before features"] | None = None,
    half: Float[np.ndarray, "steps features"] | None = None,
) -> Figure:
    """Draw forecasts over the truth, a panel for each of the first features, and the error over time below.

    Parameters
    ----------
    truth
        The snapshots that followed.
    forecasts
        Forecasts by name; a diverged forecast may be shorter than the truth, or NaN after its finite part.
    dt, names
        Time between rows; names of the features.
    scale
        Standard deviation of each feature in the training data: the unit of the error.
    past
        The end of the window, drawn before time 0.
    half
        Half the width of the bands of the first forecast; NaN if unknown.

    Raises
    ------
    BadInputError
        If a forecast has other features than the truth, or more rows.
    """
    for name, forecast in forecasts.items():
        if forecast.shape[1] != truth.shape[1] or len(forecast) > len(truth):
            raise BadInputError(f"{name} has shape {forecast.shape}, the truth {truth.shape}")
    shown = min(truth.shape[1], MOST_PANELS)
    figure = new_figure(9.5, 1.5 + 1.35 * shown + 1.5)
    *panels, below = figure.subplots(shown + 1, 1, sharex=True, squeeze=False)[:, 0]
    times = dt * np.arange(1, len(truth) + 1)
    for column, axes in enumerate(panels):
        if past is not None:
            axes.plot(dt * np.arange(1 - len(past), 1), past[:, column], color=NEUTRAL, linewidth=1.2)
        axes.plot(times, truth[:, column], color=INK, linewidth=2.6, alpha=0.35, label="truth")
        for number, (name, forecast) in enumerate(forecasts.items()):
            drawn = axes.plot(times[: len(forecast)], forecast[:, column], label=name, linewidth=1.2, **line(number))
            if half is not None and number == 0:
                _shade(axes, times, forecast[:, column], half[: len(forecast), column], drawn[0].get_color())
        _bound(axes, truth[:, column])
        quiet(axes, ylabel=names[column])
    for number, forecast in enumerate(forecasts.values()):
        error = np.sqrt((((forecast - truth[: len(forecast)]) / scale) ** 2).mean(axis=1))
        below.semilogy(times[: len(forecast)], np.clip(error, _LEAST, _MOST), linewidth=1.2, **line(number))
    below.axhline(1.0, color=NEUTRAL, linewidth=0.8)
    quiet(below, "time after the window", "error, sd")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5, frameon=False, fontsize=9)
    figure.align_ylabels()
    return figure


def continued_figure(past: Mapping[str, Any], forecast: Mapping[str, Any], names: Sequence[str]) -> Figure:
    """Draw the end of a series and its forecast, a panel for each of the first columns.

    Parameters
    ----------
    past, forecast
        ``times`` and ``values`` (one row for each time) of both; for the forecast also ``lower`` and ``upper`` if it
        has bands.
    names
        Names of the columns.
    """
    shown = min(len(names), MOST_PANELS)
    figure = new_figure(9.5, 0.6 + 1.5 * shown)
    panels = figure.subplots(shown, 1, sharex=True, squeeze=False)[:, 0]
    for column, (axes, name) in enumerate(zip(panels, names, strict=False)):
        for number, (label, part) in enumerate((("data", past), ("forecast", forecast))):
            values = np.asarray(part["values"], dtype=np.float64).reshape(-1, len(names))
            drawn = axes.plot(part["times"], values[:, column], label=label, linewidth=1.3, **line(number))
            if "lower" in part:
                lower, upper = (
                    np.array(part[end], dtype=np.float64).reshape(values.shape) for end in ("lower", "upper")
                )
                half = (upper - lower)[:, column] / 2
                _shade(axes, np.asarray(part["times"]), values[:, column], half, drawn[0].get_color())
        quiet(axes, "time" if column == shown - 1 else "", name)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    figure.align_ylabels()
    return figure


def spectrum_figure(
    spectrum: Spectrum, intervals: EigenvalueIntervals | None = None, *, unit: str | None = None
) -> Figure:
    """Draw the eigenvalues beside the unit circle, and growth rates over frequencies; areas are contributions.

    Error bars are drawn where there are ``intervals``, of :meth:`tokendyn.forecast.TDDMD.eigenvalue_intervals`.
    ``unit`` is the unit of the time step, as ``"month"``; by default times are seconds or have no unit.
    """
    figure = new_figure(9.5, 4.3)
    circle, rates = figure.subplots(1, 2, width_ratios=[1, 1.35])
    weights = spectrum.contributions
    areas = 12 + 160 * np.sqrt(weights / max(weights.max(), np.finfo(float).tiny))
    _draw_circle(circle)
    circle.scatter(
        spectrum.eigenvalues.real, spectrum.eigenvalues.imag, s=areas, color=LEADER_COLOURS[0], alpha=0.55, linewidth=0
    )
    circle.set_title("eigenvalues of one step", fontsize=9.5, color=INK)
    upper = (spectrum.frequencies >= 0) & np.isfinite(spectrum.growth_rates)
    places = np.flatnonzero(upper)[:MOST_MODES]
    rates.axhline(0.0, color=INK, linewidth=0.8)
    rates.scatter(
        spectrum.frequencies[places],
        spectrum.growth_rates[places],
        s=areas[places],
        color=LEADER_COLOURS[0],
        alpha=0.55,
        linewidth=0,
    )
    if intervals is not None:
        _draw_bars(circle, rates, intervals)
    labelled = places[weights[places] > _NEGLIGIBLE * weights.max()][:3]
    for place, above in zip(labelled, (10, -18, 24), strict=False):
        rates.annotate(
            _frequency(spectrum.frequencies[place], unit),
            (spectrum.frequencies[place], spectrum.growth_rates[place]),
            xytext=(0, above),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=INK,
        )
    rates.margins(x=0.12, y=0.2)
    cycles = "Hz (cycles per unit of time)" if unit is None else f"cycles per {unit}"
    quiet(rates, f"frequency, {cycles}", f"growth rate, 1 per {unit or 'unit of time'}")
    rates.set_title(f"the {len(places)} modes that contribute most", fontsize=9.5, color=INK)
    return figure


def modes_figure(spectrum: Spectrum, names: Sequence[str], *, unit: str | None = None) -> Figure:
    """Draw size and phase of the modes that contribute most: bars for few features, lines for many.

    ``unit`` is that of :func:`spectrum_figure`.
    """
    weights = spectrum.contributions
    places = np.flatnonzero((spectrum.frequencies >= 0) & (weights >= _NEGLIGIBLE * weights.max()))[:MOST_PANELS]
    figure = new_figure(9.5, 1.0 + 1.5 * len(places))
    for axes, place in zip(figure.subplots(len(places), 1, sharex=True, squeeze=False)[:, 0], places, strict=True):
        mode = spectrum.modes[:, place] * spectrum.amplitudes[place]
        rows = np.arange(len(mode))
        if len(mode) <= 40:
            axes.bar(rows - 0.2, np.abs(mode), 0.4, color=LEADER_COLOURS[0], label="size")
            axes.bar(rows + 0.2, mode.real, 0.4, color=LEADER_COLOURS[4], label="real part")
        else:
            axes.plot(rows, np.abs(mode), label="size", **line(0))
            axes.plot(rows, mode.real, label="real part", **line(1))
        axes.axhline(0.0, color=INK, linewidth=0.8)
        quiet(axes)
        axes.set_title(
            f"{_frequency(spectrum.frequencies[place], unit)}, growth {spectrum.growth_rates[place]:.3g}",
            fontsize=9,
            color=INK,
        )
    if len(names) <= 40:
        axes.set_xticks(range(len(names)), [str(name) for name in names], rotation=90 if len(names) > 10 else 0)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    return figure


def attention_figure(reading: OrbitReading, dt: float, stride: int) -> Figure:
    """Draw the attention over delays along the orbit, its mean, and the effect of each delay on the prediction."""
    samples, delays = reading.attention.shape
    ages = stride * dt * np.arange(delays - 1, -1, -1)
    figure = new_figure(9.5, 3.6)
    heat, mean = figure.subplots(1, 2, width_ratios=[2.6, 1])
    low, high = float(reading.attention.min()), float(reading.attention.max())
    bounds = (low, high) if high - low > 1e-3 else (0.0, 1.0)
    image = heat.imshow(
        reading.attention.T,
        aspect="auto",
        cmap="cividis",
        vmin=bounds[0],
        vmax=bounds[1],
        extent=(0.0, samples * dt, -0.5, delays - 0.5),
        interpolation="nearest",
        origin="lower",
    )
    shown = np.unique(np.linspace(0, delays - 1, min(delays, 8)).round().astype(int))
    labels = [f"−{ages[place]:.4g}" if ages[place] else "now" for place in shown]
    heat.set_yticks(shown, labels)
    quiet(heat, "time along the orbit", "delay")
    heat.grid(visible=False)
    figure.colorbar(image, ax=heat, label="attention", shrink=0.9)
    importance = reading.delay_importance
    share = importance / max(importance.sum(), np.finfo(float).tiny)
    mean.plot(
        reading.attention.mean(axis=0), range(delays), marker="o", markersize=4, label="mean attention", **line(0)
    )
    mean.plot(share, range(delays), marker="s", markersize=4, label="share of the local operator", **line(1))
    mean.set_ylim(-0.5, delays - 0.5)
    mean.set_yticks(shown, [])
    mean.set_xlim(left=0.0)
    quiet(mean, "share")
    figure.legend(*mean.get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False, fontsize=8.5)
    return figure


def local_eigenvalues_figure(
    eigenvalues: Complex[np.ndarray, "samples modes"], linear: Complex[np.ndarray, " modes_of_linear"], step: float
) -> Figure:
    """Draw the eigenvalues of the local operators along an orbit over those of TD-DMD.

    Parameters
    ----------
    eigenvalues
        Result of :func:`tokendyn.forecast.local_eigenvalues`.
    linear
        ``TDDMD.spectrum().eigenvalues``.
    step
        Time between two rows of the first.
    """
    figure = new_figure(9.5, 4.4)
    circle, over = figure.subplots(1, 2, width_ratios=[1, 1.35])
    _draw_circle(circle)
    points = eigenvalues.ravel()
    circle.scatter(
        points.real, points.imag, s=5, color=LEADER_COLOURS[0], alpha=0.25, linewidth=0, label="TD-TF, local"
    )
    circle.scatter(
        linear.real, linear.imag, s=34, marker="x", color=LEADER_COLOURS[1], linewidth=1.2, label="TD-DMD, one for all"
    )
    circle.set_title("eigenvalues of one step", fontsize=9.5, color=INK)
    times = step * np.arange(len(eigenvalues))
    moduli = np.sort(np.abs(eigenvalues), axis=1)[:, ::-1]
    for number in range(min(3, moduli.shape[1])):
        over.plot(
            times,
            moduli[:, number],
            linewidth=1.0,
            label=f"local, {('largest', 'second', 'third')[number]}",
            **line(number),
        )
    over.axhline(
        np.abs(linear).max(), color=LEADER_COLOURS[1], linewidth=1.2, linestyle=(0, (6, 2)), label="TD-DMD, largest"
    )
    over.axhline(1.0, color=INK, linewidth=0.8)
    quiet(over, "time along the orbit", "modulus of the eigenvalue")
    handles, labels = (
        a + b for a, b in zip(circle.get_legend_handles_labels(), over.get_legend_handles_labels(), strict=True)
    )
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8.5)
    return figure


def share_figure(reading: OrbitReading, dt: float) -> Figure:
    """Draw the sizes of the linear and the nonlinear part of each predicted increment, and the nonlinear share."""
    figure = new_figure(9.5, 3.8)
    sizes, share = figure.subplots(2, 1, sharex=True)
    times = dt * np.arange(len(reading.attention))
    for number, (name, part) in enumerate((("linear", reading.linear), ("nonlinear", reading.nonlinear))):
        size = np.linalg.norm(part, axis=1)
        sizes.plot(times, size, linewidth=1.2, label=f"{name} part", **line(number))
    quiet(sizes, ylabel="size of the increment")
    share.fill_between(times, reading.nonlinear_share, color=LEADER_COLOURS[1], alpha=0.35, linewidth=0)
    share.plot(times, reading.nonlinear_share, linewidth=1.0, color=LEADER_COLOURS[1])
    share.set_ylim(0.0, max(0.05, min(1.0, 1.1 * float(reading.nonlinear_share.max()))))
    quiet(share, "time along the orbit", "nonlinear share")
    figure.legend(*sizes.get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    figure.align_ylabels()
    return figure


def energy_figure(energies: Float[np.ndarray, " modes"]) -> Figure:
    """Draw the share of the energy in each POD mode, and the share outside the modes up to it.

    Parameters
    ----------
    energies
        Share of the energy of each mode, as ``POD.energies_``.
    """
    figure = new_figure(9.5, 3.2)
    one, left = figure.subplots(1, 2)
    numbers = np.arange(1, len(energies) + 1)
    one.bar(numbers, energies, color=LEADER_COLOURS[0])
    one.set_yscale("log")
    quiet(one, "mode", "share of the energy")
    rest = np.maximum(1.0 - np.cumsum(energies), 1e-16)
    left.semilogy(numbers, rest, marker="o", markersize=4, **line(0))
    quiet(left, "modes kept", "share of the energy left out")
    for axes in (one, left):
        axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def _draw_bars(circle: Axes, rates: Axes, intervals: EigenvalueIntervals) -> None:
    """Draw the intervals as crosses: of real and imaginary parts, and of frequencies and growth rates."""
    ends = (intervals.real, intervals.imaginary), (intervals.frequencies, intervals.growth_rates)
    upper = intervals.eigenvalues.imag >= 0
    for axes, (across, along), shown in zip((circle, rates), ends, (np.ones_like(upper), upper), strict=True):
        sound = shown & np.isfinite(across).all(axis=1) & np.isfinite(along).all(axis=1)
        axes.hlines(along[sound].mean(axis=1), *across[sound].T, color=INK, linewidth=1.0)
        axes.vlines(across[sound].mean(axis=1), *along[sound].T, color=INK, linewidth=1.0)


def _frequency(frequency: float, unit: str | None) -> str:
    """Return a frequency with its unit: Hz, or cycles per unit of a calendar."""
    return f"{frequency:.4g} Hz" if unit is None else f"{frequency:.4g} per {unit}"


def _draw_circle(axes: Axes) -> None:
    turn = np.linspace(0.0, 2 * np.pi, 200)
    axes.plot(np.cos(turn), np.sin(turn), color=INK, linewidth=0.8)
    axes.set_aspect("equal")
    axes.set_xlim(-1.2, 1.2)
    axes.set_ylim(-1.2, 1.2)
    quiet(axes, "real part", "imaginary part")


def _shade(axes: Axes, times: np.ndarray, values: np.ndarray, half: np.ndarray, colour: Any) -> None:
    """Shade the band around a forecast, as far as it is known."""
    known = np.isfinite(half)
    if known.any():
        middle, times = values[known], times[: len(values)][known]
        axes.fill_between(
            times, middle - half[known], middle + half[known], color=colour, alpha=0.18, linewidth=0, label="band"
        )


def _bound(axes: Axes, truth: Float[np.ndarray, " steps"]) -> None:
    """Keep the truth legible if a forecast diverges."""
    low, high = float(truth.min()), float(truth.max())
    room = 0.6 * (high - low) or 1.0
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, low - room), min(top, high + room))
