"""A phase diagram as figures, a table and one HTML page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from tokendyn.errors import BadInputError
from tokendyn.particles.meanfield.constants import BoundConstants
from tokendyn.particles.meanfield.diagram import SCHEMA, SCHEMA_VERSION, Diagram
from tokendyn.particles.meanfield.diagram_figures import diagram_curves, slopes_figure, spectrum_map, time_map
from tokendyn.runs.files import new_file, read_json, write_json
from tokendyn.runs.provenance import provenance
from tokendyn.show import KeyFigures, Report, Table, Text, closing, kept_picture, prose, write_report
from tokendyn.show.images import save_figure
from tokendyn.show.report import Section, shown_value
from tokendyn.words import counted, some_are

#: What the words of the table mean.
_NOTE = (
    "E is the dominant eigenspace of V B^T: the tokens should gather where it meets the sphere, each at its projected "
    "point; least is the least distance (W2) of all tokens to these points. stays: concentrated until the end of the "
    "run; leaves: concentrated, then left; never: not nearer than 0.5; unresolved: another number of tokens gives "
    "another answer; nothing: there is no projected law. Changes are those of a run of another size; stragglers are "
    "tokens left to themselves off E. Over several seeds: mean, standard deviation, and the number of seeds with it."
)


def write_diagram(
    diagram: Diagram, folder: Path, *, command: str, seconds: float, report: bool = True,
    constants: BoundConstants | None = None,
) -> None:  # fmt: skip
    """Write ``points.csv``, ``phase.json``, the figures and ``report.html`` of the completed runs.

    Parameters
    ----------
    diagram
        With at least one run.
    folder
        Where to write; each file appears only when it is whole.
    command
        The command that repeats it.
    seconds
        Wall time of this part of the work.
    report
        Draw the figures and write the page too.
    constants
        The fitted constants of the bound, for ``constants.csv`` and ``constants.tex``.
    """
    if constants is not None:
        with new_file(folder / "constants.csv") as temporary:
            pd.DataFrame(constants.rows()).to_csv(temporary, index=False, lineterminator="\n")
        with new_file(folder / "constants.tex") as temporary:
            temporary.write_text(constants.latex(), encoding="utf-8")
    with new_file(folder / "points.csv") as temporary:
        pd.DataFrame(diagram.rows()).to_csv(temporary, index=False, lineterminator="\n")
    figures = _figures(diagram) if report else []
    for name, figure in figures:
        save_figure(figure, folder, name, dpi=130)
    record = {
        "schema": SCHEMA, "schema_version": SCHEMA_VERSION, "settings": dict(diagram.settings), "command": command,
        "asked": diagram.asked, "points": diagram.rows(), "figures": [name for name, _ in figures],
        "runs": len(diagram.results), "provenance": provenance(diagram.settings, seed=None, seconds=seconds),
    }  # fmt: skip
    if constants is not None:
        record |= {"constants": constants.rows(), "constants_say": constants.describe()}
    write_json(folder / "phase.json", record)
    if report:
        write_report(diagram_report(record, folder), folder / "report.html")


def _figures(diagram: Diagram) -> list[tuple[str, Figure]]:
    """Return the figures that are not empty, by name."""
    if all(result.verdict == "nothing" for result in diagram.results):
        return []
    if diagram.ratios:
        return [("phase", spectrum_map(diagram))]
    slopes = slopes_figure(diagram)
    figures = [("phase", time_map(diagram)), ("curves", diagram_curves(diagram))]
    return [*figures, ("slopes", slopes)] if slopes is not None else figures


def saved_report(folder: Path, pictures: Path) -> Report:
    """Return the page of a saved diagram, with the figures in its folder."""
    record = read_json(folder / "phase.json", schema=SCHEMA, version=SCHEMA_VERSION)
    if "points" not in record:
        raise BadInputError(f"{folder} holds no run yet; start tokendyn phase with the same options to resume")
    return diagram_report(record, folder)


#: What a diagram shows, for its summary.
_OVER_TIME = (
    "Time runs to the right: tokens come near the projected law, stay for a time that grows with log beta, and leave."
)
_OVER_SPECTRA = "Every point is a run: its colour says how near its tokens came to the projected law."


def diagram_report(record: Mapping[str, Any], pictures: Path) -> Report:
    """Return the page of the record of :func:`write_diagram`; ``pictures`` is the folder with its figures."""
    settings, points = record["settings"], record["points"]
    missing, over_time = record["asked"] - record["runs"], not settings["ratios"]
    captions = {
        "phase": "Distance to the projected law, and phases with their scatter over seeds"
        if over_time
        else "How near the tokens come to the projected law, and how long they stay",
        "curves": "Distances over time for every beta; the closure dashed",
        "slopes": "Against log beta, with least-squares slopes (of the logarithm for the least distance)",
    }
    counts = {"runs": record["asked"], "betas": len(settings["betas"])}
    if not over_time:
        counts["ratios"] = len(settings["ratios"])
    names = [name for name in captions if name in record["figures"]]
    other = counted(counts["betas"], "inverse temperature") if over_time else f"{counts['ratios']} spectra of V"
    tokens = settings.get("words", "tokens")
    runs = f"{counted(record['asked'], 'run')} of {tokens}, over {other}."
    sections: list[Section] = [
        Text(f"{some_are(missing, record['asked'], 'run')} missing: start the command again to resume.")
        if missing
        else Text(f"{runs} {_OVER_TIME if over_time else _OVER_SPECTRA}"),
        *([] if missing else [KeyFigures(counts)]),
        *(
            kept_picture(pictures, f"{name}.png", captions[name], _notice(name, over_time=over_time), captions[name])
            for name in names
        ),
        *_constants(record),
        Table(points, "Points", note=_NOTE),
        *closing(record["command"], record["provenance"]),
    ]
    title = "Phase diagram over beta and time" if over_time else "Phase diagram over beta and the spectrum of V"
    return Report(title, str(settings.get("words", "")), sections)


def _constants(record: Mapping[str, Any]) -> list[Section]:
    if "constants" not in record:
        return []
    rows = [
        {"constant": row["constant"], **{name: shown_value(row[name], digits=4) for name in ("value", "low", "high")}}
        for row in record["constants"]
    ]
    return [Text(prose(record["constants_say"]), "Constants of the bound"), Table(rows)]


def _notice(name: str, *, over_time: bool) -> str:
    """Return the caption that explains a figure."""
    return {
        "phase": "Notice the time between the triangles: there the distance is within twice its least value."
        if over_time
        else "Notice the dark cells on the left, where the tokens come near; on the right, how long they stay there.",
        "curves": "Notice the depth of the curves: the larger beta, the nearer the tokens come, and the later.",
        "slopes": "Notice whether the marks run parallel to the dashed lines: then tokens and closure have one slope.",
    }[name]
