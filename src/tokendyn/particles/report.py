"""A clustering run as a folder, and as one HTML page."""

import math
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from tokendyn.dynamics import Trajectory
from tokendyn.dynamics.freeze import Arithmetic
from tokendyn.errors import BadInputError
from tokendyn.particles.clustering import ClusteringRun, complete
from tokendyn.runs.files import new_file, new_folder, read_json, write_json
from tokendyn.runs.table import safe_frame
from tokendyn.show import (
    KeyFigures,
    Picture,
    Report,
    Table,
    Text,
    animate,
    closing,
    following_strip,
    prose,
    write_report,
)
from tokendyn.show.panels import panels
from tokendyn.show.report import Section

SCHEMA, SCHEMA_VERSION = "tokendyn-clustering", 1

#: What the page calls numbers of the summary.
_SHOWN = {"dim": "dimensions", "alpha": "step parameter alpha", "unsettled": "tokens not settled"}

Movie = Literal["gif", "mp4"]


def save_run(
    run: ClusteringRun,
    folder: str | Path,
    *,
    title: str,
    animation: Movie | None = "gif",
    report: bool = True,
    command: str = "",
    overwrite: bool = False,
) -> None:
    """Write a run with its table, figures and report into a new folder.

    Parameters
    ----------
    run
        The run.
    folder
        Folder, which appears only when it is complete.
    title
        Name of the run, for headings.
    animation
        Kind of animation to write; None for none.
    report
        Whether to draw the figures and write the page.
    command
        Command that repeats the run, for the report.
    overwrite
        Replace an existing folder.

    Raises
    ------
    OutputError
        If the folder exists or cannot be written.
    """
    with new_folder(folder, overwrite=overwrite) as temporary:
        run.trajectory.write_into(temporary)
        config = run.trajectory.provenance.get("config", {})
        record = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "title": title, "command": command}
        write_json(temporary / "run.json", record | {"config": config, "summary": run.summary()})
        safe_frame(run.table()).to_csv(temporary / "tokens.csv", index=False, lineterminator="\n")
        if animation is not None:
            animate(run.scene(title), temporary / f"animation.{animation}")
        if report:
            write_figures(run, temporary, title)
            write_report(run_report(run, title=title, pictures=temporary, command=command), temporary / "report.html")


def write_figures(run: ClusteringRun, folder: Path, title: str) -> None:
    """Write ``panels.png`` and ``strip.png``."""
    scene = run.scene(title)
    for name, draw in (("panels", panels), ("strip", following_strip)):
        with new_file(folder / f"{name}.png") as temporary:
            draw(scene).savefig(temporary, dpi=150)


def load_run(folder: str | Path) -> tuple[ClusteringRun, str, str]:
    """Read the files of :func:`save_run`; return the run, its title and its command.

    Raises
    ------
    BadInputError
        If the folder does not hold a complete clustering run.
    """
    folder = Path(folder)
    record = read_json(folder / "run.json", schema=SCHEMA, version=SCHEMA_VERSION)
    trajectory = Trajectory.load(folder)
    config = record.get("config", {})
    try:
        alpha, score = float(config["alpha"]), np.array(config["score"], dtype=np.float64)
        temperature = config["inverse_temperature"]
        tolerance = float(config["tie_tolerance"])
    except (KeyError, TypeError, ValueError):
        raise BadInputError(f"{folder / 'run.json'} lacks the parameters of the run; run it again") from None
    arithmetic = config.get("arithmetic", "float")
    if arithmetic not in get_args(Arithmetic):
        raise BadInputError(f"{folder / 'run.json'} names the arithmetic {arithmetic!r}; run it again")
    beta = math.inf if temperature is None else float(temperature)
    run = complete(trajectory, alpha, score, beta, tolerance, arithmetic=arithmetic)
    return run, str(record.get("title", folder.name)), str(record.get("command", ""))


def saved_report(folder: Path, pictures: Path) -> Report:
    """Return the page of a saved run; its animation is drawn again into the folder ``pictures``."""
    run, title, command = load_run(folder)
    animate(run.scene(title), pictures / "animation.gif")
    return run_report(run, title=title, pictures=pictures, command=command)


def run_report(run: ClusteringRun, *, title: str, pictures: Path, command: str = "") -> Report:
    """Return the page of a run; ``pictures`` is the folder with its animation, if there is one."""
    sections = run_sections(run, title=title, pictures=pictures, command=command)
    return Report(title, "Clustering in a hardmax transformer", sections)


def disagreement_table(run: ClusteringRun) -> list[dict[str, object]]:
    """Return one row for each token whose end differs from the prediction."""
    predicted = run.prediction.at(run.hardmax.layers)
    return [
        {"token": run.trajectory.labels[i]}
        | {f"run x{axis + 1}": value for axis, value in enumerate(run.hardmax.states[-1][i])}
        | {f"predicted x{axis + 1}": value for axis, value in enumerate(predicted[i])}
        for i in run.disagreeing
    ]


def run_pictures(run: ClusteringRun, *, title: str, pictures: Path) -> list[Section]:
    """Return the figures of the page of a run: some layers, the film if the folder has one, and who follows whom."""
    scene = run.scene(title)
    sections: list[Section] = [
        Picture(
            panels(scene),
            alt=f"{title}: tokens, leaders, hulls and the limiting polytope at some layers",
            caption="Notice the stars: a token that finds itself the best is a leader, stands still from then on, and "
            "gathers the tokens of its colour. The area of a star is the mass of its cluster. The hull of the tokens "
            "shrinks towards the grey polytope K of the leaders and never grows.",
            heading="Layers",
            narrow=panels(scene, narrow=True),
        )
    ]
    if (pictures / "animation.gif").exists():
        sections.append(
            Picture(
                pictures / "animation.gif",
                alt=f"{title}: the tokens moving through the layers",
                caption="Notice that tokens are fast at first: in each layer they cover a fixed share of the remaining "
                "way, so that distances fall like a geometric series.",
                heading="Animation",
            )
        )
    sections.append(
        Picture(
            following_strip(scene),
            alt=f"{title}: which leader each token follows, layer by layer",
            caption="Notice where a band changes its colour: there a token leaves one leader for another. Once the "
            "bands run straight to the right edge, the prediction of the limits is final.",
            heading="Who follows whom",
            narrow=following_strip(scene, narrow=True),
        )
    )
    return sections


def run_sections(run: ClusteringRun, *, title: str, pictures: Path, command: str = "") -> list[Section]:
    """Return the parts of the page of a run."""
    summary = run.summary()
    shown = ("tokens", "dim", "layers", "alpha", "clusters", "emerging_leaders", "layers_until_settled", "unsettled")
    figures: dict[str, object] = {"leaders": len(run.prediction.leaders)}
    figures |= {_SHOWN.get(name, name): summary[name] for name in shown}
    alarm: tuple[str, ...] = ()
    if run.status != "completed":
        figures, alarm = {"status": run.status, **figures}, ("status",)
    sections: list[Section] = [
        *(
            [Text(run.disagreement(), "The run disagrees with its prediction", alarm=True)]
            if run.disagreeing.size
            else []
        ),
        Text(prose(run.describe())),
        KeyFigures(figures, alarm=alarm),
        *run_pictures(run, title=title, pictures=pictures),
    ]
    if run.disagreeing.size:
        sections.append(Table(disagreement_table(run), "Where the run ended, and where it was predicted to end"))
    if not run.is_hardmax:
        gaps = [{"layer": layer, "distance": gap} for layer, gap in enumerate(run.hardmax_gaps)]
        sections.append(Table(gaps, "Root mean square distance between the softmax run and the hardmax run"))
    if run.limit_set is not None:
        kinds = ["vertex" if dimension == 0 else "face projection" for dimension in run.limit_set.face_dimensions]
        rows = [
            {"kind": kind, **{f"x{axis + 1}": value for axis, value in enumerate(point)}}
            for kind, point in zip(kinds, run.limit_set.points, strict=True)
        ]
        sections.append(Table(rows, "The set S: where tokens can end", most_rows=40))
    sections.append(Table(run.table(), "Tokens", most_rows=200))
    return sections + closing(command, run.trajectory.provenance)
