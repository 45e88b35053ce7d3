"""Comparisons and studies of forecasters as figures, pages and folders."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tokendyn.forecast.figures import energy_figure, forecast_figure
from tokendyn.forecast.pages import kept_pictures, write_pictures
from tokendyn.forecast.store import plain
from tokendyn.runs.files import new_folder, read_json, write_json
from tokendyn.show import Report, Table, Text, closing, write_report
from tokendyn.show.report import Section
from tokendyn.studies.forecast.comparison import SCHEMA, SCHEMA_VERSION, Study
from tokendyn.studies.forecast.figures import comparison_figure

MEASURES = {
    "nrmse, worst": "closed-loop error over the horizon, in standard deviations of the training data: median and "
    "largest over the starts",
    "valid_time, lower, upper": "time until the error first exceeds 0.4: median and quartiles over the starts",
    "diverged": "forecasts that left all bounds",
    "family": "what the model is: the default search (`search`) chooses among several kinds",
    "tried, search_seconds": "settings that the search tried, and its processor seconds: the same budget for all",
    "fit_seconds": "wall time of the last fit",
    "microseconds_a_step": "processor time of one closed-loop step of one forecast",
    "frequency_error": "strongest frequency of the forecast against the truth, relative",
    "amplitude_error": "standard deviation of the forecast against the truth, relative",
    "histogram_distance, spectral_distance": "a long run against the test series: total variation of the histograms, "
    "and distance of the spectra; two true runs are some hundredths apart",
    "wagner_error, kuessner_error": "lift after a sudden angle and a sharp gust, by its last value: largest difference",
    "field_error, floor": "relative error of the rebuilt field, and what POD alone leaves",
}


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
        best += ["search"] if "search" not in best and any(row["model"] == "search" for row in order) else []
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


def _summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return which model comes nearest on each task, in sentences."""
    sentences = []
    for task in list(dict.fromkeys(str(row.get("task", "")) for row in rows)):
        errors = {str(row["model"]): row.get("nrmse") for row in rows if str(row.get("task", "")) == task}
        known = {name: float(error) for name, error in errors.items() if isinstance(error, int | float)}
        if known:
            best = min(known, key=lambda name: known[name])
            where = f"On {task}" if task else "Here"
            sentences.append(f"{where} {best} comes nearest: {known[best]:.3g} standard deviations, the median.")
    return " ".join(sentences[:6]) or "The models are compared on what was held out."


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
        Text(_summary(rows)),
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
    unit: str = "time",
    overwrite: bool = False,
) -> None:
    """Write ``table.csv``, ``study.json``, ``arrays.npz``, figures as PNG, and ``report.html``.

    Parameters
    ----------
    study
        What was measured.
    folder
        Folder to write; it appears only when it is complete.
    title, subtitle
        Of the page.
    command
        The command that repeats it.
    unit
        Of the valid times.
    overwrite
        Replace an existing folder.

    Raises
    ------
    OutputError
        If the folder exists or the disk refuses.
    """
    with new_folder(folder, overwrite=overwrite) as temporary:
        study.table().to_csv(temporary / "table.csv", index=False, lineterminator="\n")
        # Names such as "task/model" become folders inside the archive.
        arrays: dict[str, Any] = dict(study.arrays)
        np.savez_compressed(temporary / "arrays.npz", **arrays)
        figures = study_figures(study, unit)
        record = study.record() | {"title": title, "subtitle": subtitle, "command": command}
        record |= {"figures": write_pictures(figures, temporary), "provenance": plain(study.provenance)}
        write_json(temporary / "study.json", record)
        write_report(study_report(record, temporary), temporary / "report.html")


def _spread(truth: np.ndarray) -> np.ndarray:
    spread = truth.std(axis=0)
    return np.where(spread > 0, spread, 1.0)


def _cell(value: Any) -> object:
    """Return a cell with three digits."""
    return float(f"{value:.3g}") if isinstance(value, float) else value


def _brief(settings: Mapping[str, Any]) -> dict[str, object]:
    # Folders of earlier versions hold a validation error in place of the share of the horizon that is lost.
    measured = {name: settings[name] for name in ("lost", "validation_error") if name in settings}
    rest = ", ".join(f"{name} {_cell(value)}" for name, value in settings.items() if name not in measured)
    return {"settings": rest or "none"} | {name.replace("_", " "): _cell(value) for name, value in measured.items()}
