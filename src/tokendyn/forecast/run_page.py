"""The page of a forecast run: the forecast, its uncertainty, and its modes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from matplotlib.figure import Figure

from tokendyn.data.snapshots import Snapshots, index_after
from tokendyn.data.snapshots.grids import Grid
from tokendyn.forecast.base import Forecaster
from tokendyn.forecast.closed_loop import Forecast
from tokendyn.forecast.field_forecaster import FieldForecaster
from tokendyn.forecast.figures import MOST_PANELS, energy_figure, modes_figure, spectrum_figure
from tokendyn.forecast.forecasts import stamps
from tokendyn.forecast.held_out import HeldOut
from tokendyn.forecast.spectra import Spectrum
from tokendyn.show import KeyFigures, Report, Table, Text, closing, prose
from tokendyn.show.axes import line, new_figure, quiet
from tokendyn.show.palette import INK, LEADER_COLOURS, NEUTRAL
from tokendyn.show.report import Picture, Section

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@runtime_checkable
class Run(Protocol):
    """The attributes of a forecast run on its page."""

    @property
    def model(self) -> Forecaster:
        """The model, fitted to all data."""

    @property
    def forecast(self) -> Forecast:
        """The forecast after the data."""

    @property
    def past(self) -> Snapshots:
        """The end of the data."""

    @property
    def family(self) -> str:
        """The family of the model."""

    @property
    def account(self) -> str:
        """The reason for this model."""

    @property
    def rows(self) -> int:
        """Number of snapshots of the data."""

    @property
    def held_out(self) -> HeldOut | None:
        """Forecasts of the held-out part."""

    @property
    def errors(self) -> Mapping[str, float]:
        """Errors of simple models, by name."""

    @property
    def season(self) -> int | None:
        """Length of the season in steps."""

    @property
    def spectrum(self) -> Spectrum | None:
        """Spectrum of a linear model."""

    @property
    def maps(self) -> bool:
        """Whether the modes are maps."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Versions, machine kind, wall time."""

    def describe(self) -> list[str]:
        """Return the run in sentences."""

    def skill(self) -> "pd.DataFrame":
        """Return the errors of the model and of simple ones."""

    def table(self) -> "pd.DataFrame":
        """Return the forecast."""

    def split(self) -> "Sequence[Run]":
        """Return the run of each series alone."""


#: Number of modes of a spectrum that are drawn as maps, and listed.
_MAPS, _LISTED = 4, 10
#: Number of rows of the forecast on the page.
_ROWS = 60
#: Frequencies below this share of the largest are means and trends, not oscillations.
_SLOW = 1e-6
#: Modes with a contribution below this share of the largest are not visible in the data.
_NEGLIGIBLE = 1e-4


def run_report(run: Run, *, title: str, command: str) -> Report:
    """Return the page of a run: key figures, forecast, errors, spectrum, modes, and the reason for the model."""
    past = run.past
    facts: dict[str, object] = {"model": run.family, "horizon": past.in_words(len(run.forecast.values) * past.dt)}
    facts |= {"snapshots": run.rows, "step": past.step_words}
    if run.season:
        facts["season"] = past.in_words(run.season * past.dt)
    if run.held_out is not None:
        facts |= {
            "held-out error, sd": run.held_out.nrmse,
            "best simple model, sd": min(run.errors.values(), default=None),
        }
    what = "The end of the data, and the forecast"
    shaded = _level(run) and not isinstance(run.model, FieldForecaster)  # of fields the coefficients are drawn
    caption = f"{what}; shaded: the band that is meant to hold {_level(run)}" if shaded else what
    sections: list[Section] = [KeyFigures(facts), Text(prose(run.describe()))]
    parts = run.split()
    if len(parts) > MOST_PANELS:
        caption = f"{caption}, of the first {MOST_PANELS} of {len(parts)} series"
    for part in parts[:MOST_PANELS]:
        heading = part.past.label if len(parts) > 1 else ""
        sections.append(Picture(forecast_picture(part), what, f"{caption}.", heading))
        if part.past.grid is not None:
            shown = "The last snapshot, the last one of the forecast, and their difference"
            sections.append(Picture(field_figure(part), shown, f"{shown}."))
    if run.errors:
        sections.append(
            Table(run.skill(), "Errors on what was held out", note="Median closed-loop error, standard deviations.")
        )
    sections += _spectral(run)
    if run.past.grid is None:
        sections.append(Table(_dated(run), "The forecast", most_rows=_ROWS))
    sections.append(Text(run.account, "Why this model"))
    sections += closing(command, run.provenance)
    return Report(title, f"by {run.family}", sections)


def _dated(run: Run) -> "pd.DataFrame":
    """Return the table of the forecast with its times as in the file."""
    if len(run.split()) > 1:
        return run.table()
    table = run.table().reset_index()
    dates = stamps(run.past.times[-1] + run.forecast.times, run.past)
    return table.assign(**{str(table.columns[0]): dates})


def _level(run: Run) -> str:
    """Return the level of the bands in words; empty without bands."""
    level = getattr(run.forecast, "level", None)
    return "" if level is None else f"{100 * level:g} % of the truth"


def _spectral(run: Run) -> list[Section]:
    """Return the sections on the spectrum, and on the modes as maps or bars."""
    if run.spectrum is None:
        return []
    what = "Eigenvalues, frequencies and growth rates of the linear model with delays"
    unit, length = run.past.time_unit or (None, 1.0)
    spectrum = replace(run.spectrum, dt=run.spectrum.dt / length)
    sections: list[Section] = [Picture(spectrum_figure(spectrum, unit=unit), what, f"{what}.", "Spectrum")]
    table = spectrum.table()
    table = table[table["frequency"] >= 0].head(_LISTED)
    note = f"The largest contributions to the end of the data; frequency and growth rate per {unit or 'unit of time'}."
    sections.append(Table(_with_periods(table, run.past, length), "Modes", note=note))
    if run.maps and run.past.grid is not None:
        shown = "The modes that contribute most, as maps: real part, at the phase in which it is largest"
        sections.append(Picture(maps_figure(run.spectrum, run.past.grid, run.past), shown, f"{shown}.", "Mode maps"))
    elif len(run.past.names) > 1:  # a single bar adds nothing to the table
        shown = "The modes that contribute most, on the columns"
        sections.append(Picture(modes_figure(spectrum, run.past.names, unit=unit), shown, f"{shown}."))
    if isinstance(run.model, FieldForecaster):
        held = "What each POD mode holds of the variance, and what the modes up to it leave"
        sections.append(Picture(energy_figure(run.model.pod_.energies_), held, f"{held}.", "POD"))
    return sections


def _with_periods(table: Any, past: Snapshots, length: float) -> Any:
    """Return the table of a spectrum for a unit of time of some length, with the period of each mode in words."""
    periods = ["" if f <= 0 else past.in_words(float(f"{length / f:.4g}")) for f in table["frequency"]]
    columns = ["frequency", "growth_rate", "contribution", "modulus"]
    return table[columns].assign(period=periods)


def forecast_picture(run: Run) -> Figure:
    """Draw the end of the data and the forecast with its bands: columns, or the leading coefficients of fields."""
    past, forecast = run.past, run.forecast
    lower, upper = getattr(forecast, "lower", None), getattr(forecast, "upper", None)
    before, after, names = past.values, forecast.values, list(past.names)
    if isinstance(run.model, FieldForecaster):
        pod = run.model.pod_
        before, after, lower, upper = pod.transform(before), pod.transform(after), None, None
        names = [f"mode {k + 1} ({100 * share:.3g} %)" for k, share in enumerate(pod.energies_)]
    shown = min(len(names), MOST_PANELS)
    figure = new_figure(9.5, 0.7 + 1.6 * shown)
    panels = figure.subplots(shown, 1, sharex=True, squeeze=False)[:, 0]
    times, ahead = _when(past, past.times), _when(past, past.times[-1] + past.dt * np.arange(1, len(after) + 1))
    for column, (axes, name) in enumerate(zip(panels, names, strict=False)):
        axes.plot(times, before[:, column], label="data", linewidth=1.3, color=INK)
        axes.plot(ahead, after[:, column], label="forecast", linewidth=1.5, color=LEADER_COLOURS[0])
        if lower is not None and upper is not None:
            band = {"color": LEADER_COLOURS[0], "alpha": 0.2, "linewidth": 0}
            axes.fill_between(ahead, lower[:, column], upper[:, column], label="band", **band)
        axes.axvline(times[-1], color=NEUTRAL, linewidth=0.8)
        quiet(axes, past.time_name if column == shown - 1 else "", name)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False, fontsize=9
    )
    figure.align_ylabels()
    return figure


def _when(past: Snapshots, times: np.ndarray) -> Any:
    """Return times for an axis: dates if matplotlib knows them."""
    if past.epoch is None:
        return times
    index = index_after(times, past.epoch, past.calendar)
    return index.to_numpy() if index.dtype.kind == "M" else times


def field_figure(run: Run) -> Figure:
    """Draw for each of the first fields its last snapshot, the last forecast, and their difference."""
    grid = run.past.grid
    assert grid is not None  # of fields only
    last, end = grid.whole(run.past.values[-1:]), grid.whole(run.forecast.values[-1:])
    shown = [k for k, variable in enumerate(grid.variables) if variable.shape][:MOST_PANELS]
    figure = new_figure(9.5, 0.4 + 2.6 * len(shown))
    for row, number in zip(figure.subplots(len(shown), 3, squeeze=False), shown, strict=True):
        parts = (last[number][0], end[number][0], end[number][0] - last[number][0])
        low, high = np.nanmin(parts[:2]), np.nanmax(parts[:2])
        name = grid.variables[number].name or "x"
        for axes, part, what in zip(row, parts, ("last data", "end of forecast", "difference"), strict=True):
            bounds = _symmetric(part) if what == "difference" else (low, high)
            draw_map(axes, part, grid, number, bounds, diverging=what == "difference")
            axes.set_title(f"{name}, {what}", fontsize=9, color=INK)
    return figure


def maps_figure(spectrum: Spectrum, grid: Grid, past: Snapshots) -> Figure:
    """Draw the modes of largest contribution as maps, with a row for each mode and a column for each field."""
    weights, frequencies = spectrum.contributions, spectrum.frequencies
    upper = (frequencies >= 0) & (weights >= _NEGLIGIBLE * weights.max())
    places = np.flatnonzero(upper)[:_MAPS]
    fields = [k for k, variable in enumerate(grid.variables) if variable.shape][:3]
    figure = new_figure(9.5, 0.4 + 2.6 * len(places))
    for row, place in zip(figure.subplots(len(places), len(fields), squeeze=False), places, strict=True):
        mode = spectrum.modes[:, place] * spectrum.amplitudes[place]
        # The sum of squares gives the angle at which the real part holds most of the mode.
        mode = mode * np.exp(-0.5j * np.angle((mode**2).sum()))
        parts = grid.whole(2 * mode.real[None] if frequencies[place] > 0 else mode.real[None])
        slow = frequencies[place] <= _SLOW * np.abs(frequencies).max()
        title = "mean and trend" if slow else f"period {past.in_words(float(f'{1 / frequencies[place]:.4g}'))}"
        for axes, number in zip(row, fields, strict=True):
            draw_map(axes, parts[number][0], grid, number, _symmetric(parts[number][0]), diverging=True)
            name = grid.variables[number].name or "x"
            axes.set_title(f"{name}, {title}, growth {spectrum.growth_rates[place]:.2g}", fontsize=9, color=INK)
    return figure


def _symmetric(part: np.ndarray) -> tuple[float, float]:
    """Return bounds around 0 that hold all numbers."""
    reach = float(np.nanmax(np.abs(part))) if np.isfinite(part).any() else 1.0
    return -(reach or 1.0), reach or 1.0


def draw_map(
    axes: "Axes", part: np.ndarray, grid: Grid, number: int, bounds: tuple[float, float], *, diverging: bool
) -> None:
    """Draw one field: a line over one dimension, colours over two, the middle of the first ones of more."""
    variable = grid.variables[number]
    dims = list(variable.dims)
    while part.ndim > 2:
        part, dims = part[len(part) // 2], dims[1:]
    coords = {coord.name: coord.values for coord in grid.coords if coord.dims == (coord.name,)}
    numbers = {name: values for name, values in coords.items() if values.dtype.kind in "iuf"}
    along = [numbers.get(dim, np.arange(size)) for dim, size in zip(dims, part.shape, strict=True)]
    if part.ndim == 1:
        axes.plot(along[0], part, **line(0))
        quiet(axes, dims[0], "")
        return
    colours = "RdBu_r" if diverging else "viridis"
    image = axes.pcolormesh(along[1], along[0], part, cmap=colours, vmin=bounds[0], vmax=bounds[1], shading="nearest")
    axes.set_facecolor("#d9d9d9")
    axes.tick_params(labelsize=7)
    axes.set_xlabel(dims[1], fontsize=8)
    axes.set_ylabel(dims[0], fontsize=8)
    axes.figure.colorbar(image, ax=axes, shrink=0.85).ax.tick_params(labelsize=7)
