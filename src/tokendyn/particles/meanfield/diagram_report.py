"""A phase diagram as figures, a table and one HTML page."""

from pathlib import Path

import pandas as pd

from tokendyn.particles.meanfield.diagram import Diagram
from tokendyn.particles.meanfield.diagram_figures import diagram_curves, slopes_figure, spectrum_map, time_map
from tokendyn.runs.files import new_file
from tokendyn.runs.provenance import provenance
from tokendyn.show import Command, KeyFigures, Picture, Provenance, Report, Table, Text, write_report
from tokendyn.show.report import Section


def write_diagram(diagram: Diagram, folder: Path, *, command: str, seconds: float) -> None:
    """Write ``points.csv``, the figures and ``report.html`` of the runs that are there.

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
    """
    with new_file(folder / "points.csv") as temporary:
        pd.DataFrame(diagram.rows()).to_csv(temporary, index=False, lineterminator="\n")
    over_time = not diagram.ratios
    figures = [("phase", time_map(diagram) if over_time else spectrum_map(diagram))]
    if over_time:
        figures.append(("curves", diagram_curves(diagram)))
        slopes = slopes_figure(diagram)
        figures += [("slopes", slopes)] if slopes is not None else []
    for name, figure in figures:
        with new_file(folder / f"{name}.png") as temporary:
            figure.savefig(temporary, dpi=130)
    captions = {
        "phase": "Distance to the projected law, and phases with their scatter over seeds"
        if over_time
        else "How near the tokens come to the projected law, and how long they stay",
        "curves": "Distances over time for every beta; the closure dashed",
        "slopes": "Against log beta, with least-squares slopes (of the logarithm for the least distance)",
    }
    missing = diagram.asked - len(diagram.results)
    sections: list[Section] = [
        Text(f"{missing} of {diagram.asked} runs are missing: start the command again to go on.")
        if missing
        else KeyFigures({"runs": diagram.asked, "betas": len(diagram.betas), "ratios": len(diagram.ratios) or "–"}),
        *(Picture(folder / f"{name}.png", captions[name], heading=captions[name]) for name, _ in figures),
        Table(diagram.rows(), "Points", note="Mean and standard deviation over seeds; found: in how many seeds."),
        Command(command),
        Provenance(provenance(diagram.settings, seed=None, seconds=seconds)),
    ]
    title = "Phase diagram over beta and time" if over_time else "Phase diagram over beta and the spectrum of V"
    write_report(Report(title, str(diagram.settings.get("words", "")), sections), folder / "report.html")
