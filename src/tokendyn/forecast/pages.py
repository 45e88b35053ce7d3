"""Forecasters and forecasts as figures and pages."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tokendyn.data.snapshots import Snapshots
from tokendyn.data.snapshots.calendars import time_unit
from tokendyn.errors import BadInputError
from tokendyn.forecast.base import Forecaster
from tokendyn.forecast.eigenvalue_bars import EigenvalueIntervals
from tokendyn.forecast.figures import (
    attention_figure,
    continued_figure,
    forecast_figure,
    local_eigenvalues_figure,
    modes_figure,
    share_figure,
    spectrum_figure,
)
from tokendyn.forecast.held_out import HeldOut
from tokendyn.forecast.interpretation import local_eigenvalues, read_orbit
from tokendyn.forecast.intervals import LEVEL
from tokendyn.forecast.orbit_reading import OrbitReading
from tokendyn.forecast.store import DATA_SCHEMA, DATA_SCHEMA_VERSION
from tokendyn.forecast.store import SCHEMA as MODEL_SCHEMA
from tokendyn.forecast.store import SCHEMA_VERSION as MODEL_SCHEMA_VERSION
from tokendyn.forecast.tddmd import TDDMD
from tokendyn.forecast.tdtf import TDTF
from tokendyn.runs.files import read_json
from tokendyn.show import KeyFigures, Report, Table, Text, closing, kept_picture
from tokendyn.show.images import save_figure
from tokendyn.show.report import Picture, Section
from tokendyn.words import counted

#: Number of windows read along an orbit, of windows with drawn eigenvalues, and the largest state for these.
_READ, _DRAWN, _LARGEST = 300, 60, 600
#: Largest time of a fit in seconds, and largest state, for error bars of the eigenvalues.
_QUICK, _SMALL = 0.02, 100
#: Number of rows drawn before a forecast.
_PAST = 60
#: Largest number of series drawn on the page of a forecast.
_MOST_SERIES = 6


def model_figures(
    model: Forecaster, held: HeldOut, test: Snapshots, first: int, names: Sequence[str]
) -> dict[str, tuple[Figure, str]]:
    """Return the figures of a fitted model by file name, each with a caption.

    Parameters
    ----------
    model, held
        The model and its forecasts of the held-out part.
    test, first
        A held-out series, and the row at which its first forecast starts.
    names
        Names of the features.
    """
    past = test.values[max(first - _PAST, 0) : first]
    forecast = held.forecasts[0]
    drawn = {type(model).__name__: forecast[np.isfinite(forecast).all(axis=1)]}
    half = None if model.residuals_ is None else model.residuals_.half_width(len(forecast))
    shaded = "" if half is None else f" The band is meant to hold {100 * LEVEL:g} % of the truth."
    found = {
        "forecast": (
            forecast_figure(held.truths[0], drawn, model.dt_, names, model.scale_, past, half),
            f"The first forecast of what was held out, and its error in standard deviations over time.{shaded}",
        )
    }
    if model.window_length_ * model.n_features_ > _LARGEST:
        return found
    window = test.values[first - model.window_length_ : first]
    if isinstance(model, TDDMD):
        spectrum = model.spectrum(window)
        bars = _bars(model)
        crosses = "" if bars is None else f" Crosses are intervals of {100 * bars.level:g} % for measurement noise."
        what = f"Eigenvalues, frequencies and growth rates.{crosses}"
        unit, length = test.time_unit or (None, 1.0)
        spectrum = replace(spectrum, dt=spectrum.dt / length)
        if bars is not None:
            bars = replace(
                bars, dt=bars.dt / length, frequencies=bars.frequencies * length,
                growth_rates=bars.growth_rates * length,
            )  # fmt: skip
        found["spectrum"] = (spectrum_figure(spectrum, bars, unit=unit), what)
        found["modes"] = (
            modes_figure(spectrum, names, unit=unit),
            "The modes that contribute most to the last window.",
        )
    if isinstance(model, TDTF):
        found |= _orbit_figures(model, test, first)
    return found


def _bars(model: TDDMD) -> EigenvalueIntervals | None:
    """Return error bars of the eigenvalues if they are cheap, else None."""
    if model.n_inputs_ or model.fit_seconds_ > _QUICK or model.window_length_ * model.n_features_ > _SMALL:
        return None
    with suppress(BadInputError):  # several series, or a model from a search
        return model.eigenvalue_intervals()
    return None


def _orbit_figures(model: TDTF, test: Snapshots, first: int) -> dict[str, tuple[Figure, str]]:
    """Return the figures of a TD-TF along the held-out orbit."""
    rows = slice(first - model.window_length_, min(first + _READ, len(test)))
    part = test[rows]
    reading = read_orbit(model, part.values, part.inputs)
    attention = attention_figure(reading, model.dt_, model.stride_)
    found = {
        "attention": (attention, "Attention over the delays along the orbit."),
        "shares": (share_figure(reading, model.dt_), "Sizes of the linear and the nonlinear part of each prediction."),
    }
    every = max(len(reading.attention) // _DRAWN, 1)
    some = OrbitReading(*(getattr(reading, name)[::every] for name in OrbitReading.__dataclass_fields__))
    linear = TDDMD(delays=model.delays_, stride=model.stride_)
    learned = test[:first] if first > 2 * model.window_length_ else test
    linear.fit(learned.values, dt=model.dt_, inputs=learned.inputs)
    found["eigenvalues"] = (
        local_eigenvalues_figure(
            local_eigenvalues(some, model.stride_), linear.spectrum().eigenvalues, every * model.dt_
        ),
        f"Eigenvalues of the local operators at every {every}. window, beside those of TD-DMD with the same delays.",
    )
    return found


def saved_model_report(folder: Path, pictures: Path) -> Report:
    """Return the page of a saved forecaster; it shows the figures that ``fit --figures`` saved beside it."""
    model = Forecaster.load(folder)
    made = read_json(folder / "model.json", schema=MODEL_SCHEMA, version=MODEL_SCHEMA_VERSION)["provenance"]
    about: dict[str, Any] = {"source": folder.name}
    if (folder / "data.json").exists():
        about = read_json(folder / "data.json", schema=DATA_SCHEMA, version=DATA_SCHEMA_VERSION)
    return model_report(model, about, folder, made)


def model_report(model: Forecaster, about: Mapping[str, Any], folder: Path, made: Mapping[str, Any]) -> Report:
    """Return the page of a fitted model.

    Parameters
    ----------
    model
        The model.
    about
        Record of ``tokendyn forecast fit``: source, error on the held-out part, account, command, figures.
    folder
        Folder with the figures.
    made
        Versions, seed and settings.
    """
    numbers: dict[str, object] = {
        "model": type(model).__name__,
        "window": counted(model.window_length_, "snapshot"),
    }
    held = about.get("held_out")
    if held is not None:
        numbers |= {"held-out error, sd": held["nrmse"], "steps": held["horizon"], "starts": held["starts"]}
        numbers |= {"valid time": held["valid_time"], "diverged": held["diverged"]}
        if held.get("coverage") is not None:
            numbers[f"in the bands of {100 * LEVEL:g} %"] = f"{100 * held['coverage']:.0f} %"
    sections: list[Section] = [Text(_summary(model, held)), KeyFigures(numbers)]
    if about.get("account"):
        sections.append(Text(about["account"], "Why these settings"))
    figures = kept_pictures(about, folder) if about.get("figures") else []
    sections += figures
    if not figures and isinstance(model, TDDMD):
        what = "Eigenvalues, frequencies and growth rates."
        said = model.form_.extra
        unit, length = time_unit(said.get("calendar"), said.get("epoch"), model.dt_) or (None, 1.0)
        spectrum = replace(model.spectrum(), dt=model.dt_ / length)
        sections.append(Picture(spectrum_figure(spectrum, unit=unit), what, what))
    elif not figures:
        sections.append(Text("No figures were kept: fit again with --figures to see forecasts and attention."))
    record = getattr(model, "training_", None) or {}
    training = [{"quantity": name, "value": value} for name, value in record.items() if not isinstance(value, list)]
    if training:
        sections.append(Table(training, "Training"))
    sections += closing(str(about.get("command", "")), made)
    return Report("A forecaster", str(about.get("source", "")), sections)


def _summary(model: Forecaster, held: Mapping[str, Any] | None) -> str:
    """Return a summary of a model in a sentence."""
    name = type(model).__name__
    if held is None:
        return f"A model of the kind {name}; nothing was held out, so that its error is not known."
    return (
        f"A model of the kind {name}: in closed loop over {counted(held['horizon'], 'step')} that were held out, its "
        f"error is {held['nrmse']:.3g} standard deviations."
    )


def prediction_report(record: Mapping[str, Any]) -> Report:
    """Return the page of the file from ``tokendyn forecast predict --json``: past and forecast of every column."""
    shown = ("status", "steps", "finite_steps")
    names = record["columns"]
    what = "The end of the data, and the forecast in closed loop"
    sections: list[Section] = [KeyFigures({name: record[name] for name in shown} | {"file": record["out"]})]
    for past, made in list(zip(record["past"], record["forecasts"], strict=True))[:_MOST_SERIES]:
        sections.append(Picture(continued_figure(past, made, names), what, f"{what}; thinned where it is long."))
    sections += closing(record["command"], record["provenance"])
    return Report("A forecast", str(record["source"]), sections)


def write_pictures(figures: Mapping[str, tuple[Figure, str]], folder: Path) -> list[dict[str, str]]:
    """Write each figure as ``NAME.png``; return names and captions, for the record of the run."""
    for name, (figure, _) in figures.items():
        save_figure(figure, folder, name)
    return [{"name": name, "caption": caption} for name, (_, caption) in figures.items()]


def kept_pictures(record: Mapping[str, Any], folder: Path) -> list[Picture]:
    """Return the figures named in a record."""
    return [kept_picture(folder, f"{one['name']}.png", one["caption"], one["caption"]) for one in record["figures"]]
