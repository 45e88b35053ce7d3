"""Models, comparisons and studies as figures, pages and folders."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tokendyn.data.snapshots import Snapshots
from tokendyn.forecast.base import Forecaster
from tokendyn.forecast.figures import (
    attention_figure,
    continued_figure,
    energy_figure,
    forecast_figure,
    local_eigenvalues_figure,
    modes_figure,
    share_figure,
    spectrum_figure,
)
from tokendyn.forecast.held_out import HeldOut
from tokendyn.forecast.interpretation import OrbitReading, local_eigenvalues, read_orbit
from tokendyn.forecast.store import DATA_SCHEMA, DATA_SCHEMA_VERSION
from tokendyn.forecast.store import SCHEMA as MODEL_SCHEMA
from tokendyn.forecast.store import SCHEMA_VERSION as MODEL_SCHEMA_VERSION
from tokendyn.forecast.studies.comparison import Study
from tokendyn.forecast.study_figures import comparison_figure
from tokendyn.forecast.tddmd import TDDMD
from tokendyn.forecast.tdtf import TDTF
from tokendyn.runs.files import new_folder, read_json, write_json
from tokendyn.show import KeyFigures, Report, Table, Text, closing, kept_picture, write_report
from tokendyn.show.report import Picture, Section

SCHEMA, SCHEMA_VERSION = "tokendyn-forecast-study", 1
#: Windows along an orbit that are read, windows whose eigenvalues are drawn, and the largest state for that.
_READ, _DRAWN, _LARGEST = 300, 60, 600
#: Rows of a window that are drawn before a forecast.
_PAST = 60
#: Series that the page of a forecast draws.
_MOST_SERIES = 6
MEASURES = {
    "nrmse, worst": "closed-loop error over the horizon, in standard deviations of the training data: median and "
    "largest over the starts",
    "valid_time, lower, upper": "time until the error first exceeds 0.4: median and quartiles over the starts",
    "diverged": "forecasts that left all bounds",
    "tried, search_seconds": "settings that the search tried, and its processor seconds: the same budget for all",
    "fit_seconds": "wall time of the last fit",
    "microseconds_a_step": "processor time of one closed-loop step of one forecast",
    "frequency_error": "strongest frequency of the forecast against the truth, relative",
    "amplitude_error": "standard deviation of the forecast against the truth, relative",
    "histogram_distance, spectral_distance": "a long run against the test series: total variation of the histograms, "
    "and distance of the spectra; two true runs are some hundredths apart",
    "field_error, floor": "relative error of the rebuilt field, and what POD alone leaves",
}


def model_figures(
    model: Forecaster, held: HeldOut, test: Snapshots, first: int, names: Sequence[str]
) -> dict[str, tuple[Figure, str]]:
    """Return the figures of a fitted model by file name, each with a sentence that says what it shows.

    Parameters
    ----------
    model, held
        The model and its forecasts of what was held out.
    test, first
        A series that was held out, and the row at which its first forecast starts.
    names
        Of the features.
    """
    past = test.values[max(first - _PAST, 0) : first]
    forecast = held.forecasts[0]
    drawn = {type(model).__name__: forecast[np.isfinite(forecast).all(axis=1)]}
    found = {
        "forecast": (
            forecast_figure(held.truths[0], drawn, model.dt_, names, model.scale_, past),
            "The first forecast of what was held out, and its error in standard deviations over time.",
        )
    }
    if model.window_length_ * model.n_features_ > _LARGEST:
        return found
    window = test.values[first - model.window_length_ : first]
    if isinstance(model, TDDMD):
        spectrum = model.spectrum(window)
        found["spectrum"] = (spectrum_figure(spectrum), "Eigenvalues, frequencies and growth rates.")
        found["modes"] = (modes_figure(spectrum, names), "The modes that contribute most to the last window.")
    if isinstance(model, TDTF):
        found |= _orbit_figures(model, test, first)
    return found


def _orbit_figures(model: TDTF, test: Snapshots, first: int) -> dict[str, tuple[Figure, str]]:
    """Return what a TD-TF does along the orbit that was held out."""
    rows = slice(first - model.window_length_, min(first + _READ, len(test)))
    part = test[rows]
    reading = read_orbit(model, part.values, part.inputs)
    found = {
        "attention": (attention_figure(reading, model.dt_, model.stride), "Attention over the delays along the orbit."),
        "shares": (share_figure(reading, model.dt_), "Sizes of the linear and the nonlinear part of each prediction."),
    }
    every = max(len(reading.attention) // _DRAWN, 1)
    some = OrbitReading(*(getattr(reading, name)[::every] for name in OrbitReading.__dataclass_fields__))
    linear = TDDMD(delays=model.delays, stride=model.stride)
    learned = test[:first] if first > 2 * model.window_length_ else test
    linear.fit(learned.values, dt=model.dt_, inputs=learned.inputs)
    found["eigenvalues"] = (
        local_eigenvalues_figure(
            local_eigenvalues(some, model.stride), linear.spectrum().eigenvalues, every * model.dt_
        ),
        f"Eigenvalues of the local operators at every {every}. window, beside those of TD-DMD with the same delays.",
    )
    return found


def saved_model_report(folder: Path, pictures: Path) -> Report:
    """Return the page of a saved forecaster; it shows the figures that ``fit --figures`` kept beside it."""
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
        What ``tokendyn forecast fit`` noted: source, error on what was held out, account, command, figures.
    folder
        With the figures.
    made
        Versions, seed and settings.
    """
    numbers: dict[str, object] = {"model": type(model).__name__, "window": f"{model.window_length_} snapshots"}
    held = about.get("held_out")
    if held is not None:
        numbers |= {"held-out error, sd": held["nrmse"], "steps": held["horizon"], "starts": held["starts"]}
        numbers |= {"valid time": held["valid_time"], "diverged": held["diverged"]}
    sections: list[Section] = [KeyFigures(numbers)]
    if about.get("account"):
        sections.append(Text(about["account"], "Why these settings"))
    figures = kept_pictures(about, folder) if about.get("figures") else []
    sections += figures
    if not figures and isinstance(model, TDDMD):
        what = "Eigenvalues, frequencies and growth rates."
        sections.append(Picture(spectrum_figure(model.spectrum()), what, what))
    elif not figures:
        sections.append(Text("No figures were kept: fit again with --figures to see forecasts and attention."))
    record = getattr(model, "training_", None) or {}
    training = [{"quantity": name, "value": value} for name, value in record.items() if not isinstance(value, list)]
    if training:
        sections.append(Table(training, "Training"))
    sections += closing(str(about.get("command", "")), made)
    return Report("A forecaster", str(about.get("source", "")), sections)


def prediction_report(record: Mapping[str, Any]) -> Report:
    """Return the page of what ``tokendyn forecast predict --json`` wrote: every column, its past and its forecast."""
    shown = ("status", "steps", "finite_steps")
    names = record["columns"]
    what = "The end of the data, and the forecast in closed loop"
    sections: list[Section] = [KeyFigures({name: record[name] for name in shown} | {"file": record["out"]})]
    for past, made in list(zip(record["past"], record["forecasts"], strict=True))[:_MOST_SERIES]:
        sections.append(Picture(continued_figure(past, made, names), what, f"{what}; thinned where it is long."))
    sections += closing(record["command"], record["provenance"])
    return Report("A forecast", str(record["source"]), sections)


def study_figures(study: Study, unit: str) -> dict[str, tuple[Figure, str]]:
    """Return the figures of a study by file name, each with a sentence that says what it shows."""
    found: dict[str, tuple[Figure, str]] = {}
    if study.rows:
        words = "Closed-loop errors, median to worst start, and valid prediction times with quartiles; an arrow stands "
        found["comparison"] = (comparison_figure(study.rows, unit), words + "for a divergence. Ours have the star.")
    tasks = list(dict.fromkeys(row["task"] for row in study.rows))
    for number, task in enumerate(tasks):
        truth, dt = study.arrays[f"{task}/truth"][0], float(study.arrays[f"{task}/dt"])
        order = sorted((row for row in study.rows if row["task"] == task), key=lambda row: float(row["nrmse"]))
        best = [str(row["model"]) for row in order[:3]]
        best += ["TD-TF"] if "TD-TF" not in best and any(row["model"] == "TD-TF" for row in order) else []
        forecasts = {name: study.arrays[f"{task}/{name}"][0] for name in best}
        forecasts = {name: one[np.isfinite(one).all(axis=1)] for name, one in forecasts.items()}
        names = study.settings.get("names") or [f"feature {place + 1}" for place in range(truth.shape[1])]
        figure = forecast_figure(truth, forecasts, dt, names, _spread(truth))
        found[f"forecast-{number + 1}"] = (figure, f"{task}: the first start, the models of least median error.")
    for name, array in study.arrays.items():
        if name.startswith("energies/"):
            words = f"Energies of the POD modes ({name.partition('/')[2]} kept)."
            found[name.replace("/", "-")] = (energy_figure(array), words)
    return found


def saved_study_report(folder: Path, pictures: Path) -> Report:
    """Return the page of a saved study; it shows the figures that lie beside it."""
    return study_report(read_json(folder / "study.json", schema=SCHEMA, version=SCHEMA_VERSION), folder)


def study_report(record: Mapping[str, Any], folder: Path) -> Report:
    """Return the page of what :func:`write_study` recorded: figures, the table, what was chosen, what failed."""
    rows, failures = record["rows"], record["failures"]
    names = list(dict.fromkeys(name for row in rows for name in row))
    shown = [{name: _cell(row.get(name)) for name in names} for row in rows]
    present = {tuple(name for name in group.split(", ") if name in names): what for group, what in MEASURES.items()}
    measures = [{"measure": ", ".join(group), "is": what} for group, what in present.items() if group]
    pictures = kept_pictures(record, folder)
    settings = [{"task and model": key, **_brief(value)} for key, value in record["settings"].get("chosen", {}).items()]
    sections: list[Section] = [
        *pictures[:1],
        Table(shown, "Measures", columns=names),
        Table(measures, "What the measures are"),
        *pictures[1:],
        Table(settings, "What the search chose"),
    ]
    if failures:
        sections.append(Text("\n\n".join(failures), "Not fitted"))
    said = (
        "Every model was tuned by the same rule within the same processor time, on validation rollouts inside the "
        "training part; nothing of the tests was seen before. One search with one seed: another finds other settings."
    )
    sections += [Text(said, "How they were compared"), *closing(record["command"], record["provenance"])]
    return Report(record["title"], record["subtitle"], sections)


def write_study(
    study: Study,
    folder: str | Path,
    *,
    title: str,
    subtitle: str,
    command: str,
    made: Mapping[str, Any],
    unit: str = "time",
    overwrite: bool = False,
) -> None:
    """Write ``table.csv``, ``study.json``, ``arrays.npz``, figures as PNG, and ``report.html``.

    Parameters
    ----------
    study
        What was measured.
    folder
        Folder that appears when it is whole.
    title, subtitle
        Of the page.
    command
        The command that repeats it.
    made
        Versions, seed and settings.
    unit
        Of the valid times.
    overwrite
        Replace an existing folder.

    Raises
    ------
    OutputError
        If the folder exists or the disk refuses.
    """
    import pandas as pd

    with new_folder(folder, overwrite=overwrite) as temporary:
        pd.DataFrame(list(study.rows)).to_csv(temporary / "table.csv", index=False, lineterminator="\n")
        # Names such as "task/model" become folders inside the archive.
        arrays: dict[str, Any] = dict(study.arrays)
        np.savez_compressed(temporary / "arrays.npz", **arrays)
        figures = study_figures(study, unit)
        record = study_record(study) | {"title": title, "subtitle": subtitle, "command": command}
        record |= {"figures": write_pictures(figures, temporary), "provenance": plain(made)}
        write_json(temporary / "study.json", record)
        write_report(study_report(record, temporary), temporary / "report.html")


def write_pictures(figures: Mapping[str, tuple[Figure, str]], folder: Path) -> list[dict[str, str]]:
    """Write each figure as ``NAME.png``; return names and captions, for the record of the run."""
    for name, (figure, _) in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=150)
    return [{"name": name, "caption": caption} for name, (_, caption) in figures.items()]


def kept_pictures(record: Mapping[str, Any], folder: Path) -> list[Picture]:
    """Return the pictures that a record names."""
    return [kept_picture(folder, f"{one['name']}.png", one["caption"], one["caption"]) for one in record["figures"]]


def study_record(study: Study) -> dict[str, Any]:
    """Return table, settings and failures as JSON values; what is not finite is null."""
    head = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "study": study.name}
    return head | {"rows": plain(study.rows), "settings": plain(study.settings), "failures": list(study.failures)}


def plain(value: Any) -> Any:
    """Return nested values as JSON can hold them; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _spread(truth: np.ndarray) -> np.ndarray:
    spread = truth.std(axis=0)
    return np.where(spread > 0, spread, 1.0)


def _cell(value: Any) -> object:
    """Return a cell with three digits."""
    return float(f"{value:.3g}") if isinstance(value, float) else value


def _brief(settings: Mapping[str, Any]) -> dict[str, object]:
    error = settings.get("validation_error")
    rest = ", ".join(f"{name} {_cell(value)}" for name, value in settings.items() if name != "validation_error")
    return {"settings": rest or "none", "validation error": _cell(error)}
