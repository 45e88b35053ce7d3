"""A mean-field run as a folder, and as one HTML page."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pandas as pd

from tokendyn.dynamics import FlowTrajectory, TokenFlow
from tokendyn.dynamics.flow import ColdLimit
from tokendyn.errors import BadInputError
from tokendyn.particles.meanfield.figures import distance_figure, spectrum_figure, tokens_figure
from tokendyn.particles.meanfield.film import animate_run
from tokendyn.particles.meanfield.guard import Resolution, resolution
from tokendyn.particles.meanfield.heads import HeadTheory
from tokendyn.particles.meanfield.model import MeanFieldRun
from tokendyn.particles.meanfield.phases import DEPARTED, Phases
from tokendyn.particles.meanfield.projection import project, terminal_phase
from tokendyn.particles.meanfield.refinement import Refinement
from tokendyn.particles.meanfield.scatter import PhaseScatter
from tokendyn.particles.meanfield.theory import closure_beside, envelope
from tokendyn.runs.files import new_folder, read_json, read_tensors, write_json, write_tensors
from tokendyn.runs.provenance import provenance
from tokendyn.runs.table import safe_frame
from tokendyn.show import KeyFigures, Picture, Report, Table, Text, closing, kept_picture, prose, write_report
from tokendyn.show.images import save_figure
from tokendyn.show.report import Section

SCHEMA, SCHEMA_VERSION = "tokendyn-meanfield", 1
THEORY_SCHEMA = "tokendyn-head-theory"
REFINEMENT_SCHEMA = "tokendyn-refinement"

Movie = Literal["gif", "mp4"]

#: Matrices up to this dimension are shown in the record of the run; larger ones are in their file only.
_SHOWN_DIM = 16
#: Number of attention weights over all states up to which effective sizes and energies are computed at every time.
_MOST_PAIRS = 2 * 10**9

_KEYS = (
    "status", "resolution", "verdict", "tokens", "dim", "inverse_temperature", "least_distance", "concentration_time",
    "departure_time", "clusters",
)  # fmt: skip


#: Key figures that need a projected law, and those that need a second run.
_DISTANCES = ("least_distance", "concentration_time", "departure_time")
_COMPARED = ("other_tokens", "least_change", "departure_change", "stragglers")


@dataclass(frozen=True)
class Companions:
    """Results that were computed in addition to a run.

    Attributes
    ----------
    refinement
        Rows of :meth:`tokendyn.particles.meanfield.Refinement.rows`; empty when not requested.
    seeds
        Seed and phases of each run of the same system, the saved run first; empty when not requested.
    facts
        Tables about where the matrices come from, by heading.
    names
        Of the tokens, when they have some.
    """

    refinement: Sequence[Mapping[str, Any]] = ()
    seeds: Sequence[tuple[int, Phases]] = ()
    facts: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """Return the companions as JSON values."""
        seeds = [
            {"seed": seed, **{name: _jsonable(value) for name, value in dataclasses.asdict(phases).items()}}
            for seed, phases in self.seeds
        ]
        tables = {heading: [dict(row) for row in rows] for heading, rows in self.facts.items()}
        refinement = [dict(row) for row in self.refinement]
        return {"refinement": refinement, "seeds": seeds, "facts": tables, "names": list(self.names)}

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> "Companions":
        """Read the values of :meth:`record`."""
        seeds = [
            (
                int(row["seed"]),
                Phases(
                    least=float(row["least"]),
                    concentration=float(row["concentration"]),
                    metastable=(_number(row["metastable"][0]), _number(row["metastable"][1])),
                    departure=_number(row["departure"]),
                ),
            )
            for row in record.get("seeds", [])
        ]  # fmt: skip
        return cls(
            refinement=record.get("refinement", []),
            seeds=seeds,
            facts=record.get("facts", {}),
            names=tuple(record.get("names", ())),
        )


def save_run(
    run: MeanFieldRun,
    folder: str | Path,
    *,
    title: str,
    companions: Companions | None = None,
    animation: Movie | None = "gif",
    report: bool = True,
    command: str = "",
    overwrite: bool = False,
) -> None:
    """Write a run with its table, figures, film and report into a new folder.

    Parameters
    ----------
    run
        The run.
    folder
        Folder to write; it appears only when it is complete.
    title
        What was run, for headings.
    companions
        Refinement, further seeds, where the matrices come from.
    animation
        Kind of film; None for none.
    report
        Draw the figures and write the page too.
    command
        The command that repeats the run.
    overwrite
        Replace an existing folder.

    Raises
    ------
    OutputError
        If the folder exists or the disk refuses.
    """
    beside = companions or Companions()
    with new_folder(folder, overwrite=overwrite) as temporary:
        _slim(run.trajectory).write_into(temporary)
        matrices = {"value": run.flow.value, "interaction": run.flow.interaction}
        write_tensors(temporary / "matrices.safetensors", {k: v for k, v in matrices.items() if v is not None})
        flow = {
            "inverse_temperature": _jsonable(run.flow.inverse_temperature),
            "matrices": [name for name, matrix in matrices.items() if matrix is not None],
            "cold_limit": run.flow.cold_limit,
            "normalised": run.flow.normalised,
            "causal": run.flow.causal,
        }
        guard = {name: _jsonable(value) for name, value in dataclasses.asdict(run.resolution).items()}
        write_json(
            temporary / "run.json",
            {
                "schema": SCHEMA, "schema_version": SCHEMA_VERSION, "title": title, "command": command, "flow": flow,
                "summary": run.summary(), "resolution": guard, "companions": beside.record(),
            },
        )  # fmt: skip
        distance_table(run).to_csv(temporary / "distances.csv", index=False, lineterminator="\n")
        if beside.names:
            safe_frame(token_table(run, beside.names)).to_csv(
                temporary / "tokens.csv", index=False, lineterminator="\n"
            )
        if animation is not None:
            animate_run(run, temporary / f"animation.{animation}")
        if report:
            write_figures(run, temporary)
            page = run_report(run, title=title, pictures=temporary, companions=beside, command=command)
            write_report(page, temporary / "report.html")


def write_figures(run: MeanFieldRun, folder: Path) -> None:
    """Write ``tokens.png``, and ``distances.png`` where there is a projected law."""
    if run.asks:
        distance_figure(run, closure_beside(run), envelope(run)).savefig(folder / "distances.png", dpi=130)
    tokens_figure(run).savefig(folder / "tokens.png", dpi=130)


def load_run(folder: str | Path) -> tuple[MeanFieldRun, str, str, Companions]:
    """Read the files of :func:`save_run`; return the run, its title, its command and its companions.

    Raises
    ------
    BadInputError
        If the folder is not a whole mean-field run.
    """
    folder = Path(folder)
    record = read_json(folder / "run.json", schema=SCHEMA, version=SCHEMA_VERSION)
    trajectory = FlowTrajectory.load(folder)
    try:
        flow_record = record["flow"]
        matrices = read_tensors(folder / "matrices.safetensors", set(flow_record["matrices"]))
        beta = _number(flow_record["inverse_temperature"])
        flow = TokenFlow(
            beta, interaction=matrices.get("interaction"), value=matrices.get("value"),
            cold_limit=cast("ColdLimit | None", flow_record["cold_limit"]), normalised=bool(flow_record["normalised"]),
            causal=bool(flow_record["causal"]),
        )  # fmt: skip
        companions = Companions.read(record.get("companions", {}))
    except (KeyError, TypeError, AttributeError):
        raise BadInputError(f"{folder / 'run.json'} lacks the parameters of the run; run it again") from None
    return (
        _completed(trajectory, flow, record.get("resolution")),
        str(record.get("title", folder.name)),
        str(record.get("command", "")),
        companions,
    )


def save_refinement(refinement: Refinement, folder: str | Path, *, overwrite: bool = False) -> None:
    """Write the runs of a refinement, each into a folder of its own in a new folder."""
    names = [f"{count}-tokens" for count in refinement.counts]
    with new_folder(folder, overwrite=overwrite) as temporary:
        for name, run in zip(names, refinement.runs, strict=True):
            run.save(temporary / name)
        record = {"schema": REFINEMENT_SCHEMA, "schema_version": SCHEMA_VERSION, "runs": names}
        write_json(temporary / "refinement.json", {**record, "rows": refinement.rows()})


def load_refinement(folder: str | Path) -> Refinement:
    """Read the files of :func:`save_refinement`.

    Raises
    ------
    BadInputError
        If a run is missing or damaged.
    """
    folder = Path(folder)
    names = read_json(folder / "refinement.json", schema=REFINEMENT_SCHEMA, version=SCHEMA_VERSION).get("runs")
    if not isinstance(names, list) or not names or any(Path(str(name)).name != name for name in names):
        raise BadInputError(f"{folder / 'refinement.json'} does not name the folders of its runs; run it again")
    return Refinement.of(tuple(load_run(folder / name)[0] for name in names))


def distance_table(run: MeanFieldRun) -> pd.DataFrame:
    """Return one row for each time: distances, crossings, clusters, effective sizes of the attention.

    Distances to the projected law and crossings are left out where there is none, in favour of the distance to E.

    Effective sizes and energies are left out at infinite beta and for runs so large that they would cost more than
    the run.
    """
    trajectory = run.trajectory
    columns: dict[str, Any] = {"time": trajectory.times}
    if run.asks:
        columns |= {
            "w2_coupling": run.distances,
            "w2_without_crossings": run.distances_without_crossings,
            "crossings": run.crossings,
            "floor": run.floors,
        }
    elif run.projection.dimension < trajectory.states.shape[2]:
        columns["distance_to_e"] = run.distances_to_e
    columns["clusters"] = trajectory.cluster_counts()
    if run.projection.dimension == 1 and run.projection.status == "eigenspace":
        columns["w2_exact"] = [run.exact_distance(state).value for state in range(len(trajectory.times))]
    pairs = len(trajectory.times) * len(trajectory.weights) ** 2
    if math.isfinite(run.flow.inverse_temperature) and pairs <= _MOST_PAIRS:
        logs = np.log(trajectory.weights)
        drifts = [run.flow.drift(state, trajectory.weights) for state in trajectory.states]
        columns["effective_size"] = [float(np.median(drift.effective_sizes)) for drift in drifts]
        columns["log_energy"] = [float(np.logaddexp.reduce(logs + drift.log_masses)) for drift in drifts]
    return pd.DataFrame(columns)


def token_table(run: MeanFieldRun, names: Sequence[str]) -> pd.DataFrame:
    """Return one row for each token: name, weight, and its cluster at the least distance and at the end."""
    trajectory = run.trajectory
    return pd.DataFrame(
        {
            "token": names, "weight": trajectory.weights, "cluster_at_least": trajectory.clusters(run.best).labels,
            "cluster_at_end": trajectory.clusters().labels,
        }
    )  # fmt: skip


def save_theory(
    theory: HeadTheory,
    folder: str | Path,
    *,
    title: str,
    facts: Mapping[str, Sequence[Mapping[str, Any]]],
    command: str = "",
    overwrite: bool = False,
) -> None:
    """Write the theory of a head: ``theory.json``, ``spectrum.png`` and ``report.html``.

    Raises
    ------
    OutputError
        If the folder exists or the disk refuses.
    """
    with new_folder(folder, overwrite=overwrite) as temporary:
        record = {
            "schema": THEORY_SCHEMA, "schema_version": SCHEMA_VERSION, "title": title, "command": command,
            "provenance": provenance({}, seed=None, seconds=0.0),
        }  # fmt: skip
        spectra = {
            name: [[value.real, value.imag] for value in values.tolist()]
            for name, values in (("product", theory.projection.eigenvalues), ("value", theory.value_spectrum))
        }
        record |= {"facts": {heading: list(rows) for heading, rows in facts.items()}, **spectra}
        write_json(temporary / "theory.json", record)
        figure = spectrum_figure(theory.projection.eigenvalues, theory.value_spectrum)
        save_figure(figure, temporary, "spectrum", dpi=130)
        write_report(theory_report(record, temporary), temporary / "report.html")


def theory_report(record: Mapping[str, Any], pictures: Path) -> Report:
    """Return the page of the files from :func:`save_theory`."""
    sections: list[Section] = [Table(rows, heading) for heading, rows in record["facts"].items()]
    spectrum = kept_picture(pictures, "spectrum.png", "Eigenvalues in the complex plane", heading="Spectra")
    sections.insert(1, spectrum)
    sections += closing(str(record["command"]), record.get("provenance", {}))
    title = str(record["title"])
    return Report(title[:1].upper() + title[1:], "The theory of an attention head", sections)


def saved_report(folder: Path, pictures: Path) -> Report:
    """Return the page of a saved run; its film is drawn again into the folder ``pictures``."""
    run, title, command, companions = load_run(folder)
    animate_run(run, pictures / "animation.gif")
    return run_report(run, title=title, pictures=pictures, companions=companions, command=command)


def saved_theory_report(folder: Path, pictures: Path) -> Report:
    """Return the page of saved theory, with the picture in its folder."""
    return theory_report(read_json(folder / "theory.json", schema=THEORY_SCHEMA, version=SCHEMA_VERSION), folder)


def run_report(
    run: MeanFieldRun, *, title: str, pictures: Path, companions: Companions | None = None, command: str = ""
) -> Report:
    """Return the page of a run; ``pictures`` is the folder with its film, if there is one."""
    beside = companions or Companions()
    summary = run.summary()
    sections: list[Section] = [
        Text(prose(run.describe())),
        KeyFigures({name.replace("_", " "): summary[name] for name in _KEYS if run.asks or name not in _DISTANCES}),
    ]
    sections += run_pictures(run)
    if (pictures / "animation.gif").exists():
        moving = Picture(
            pictures / "animation.gif", f"{title}: the tokens moving",
            "Notice the three phases: tokens gather, stay where they are for long, and turn together at the end.",
            "Animation",
        )  # fmt: skip
        sections.append(moving)
    sections += [*_phase_tables(run, beside), *_theory_tables(run), *_guard_tables(run, beside)]
    sections += [Table(rows, heading) for heading, rows in beside.facts.items()]
    if beside.names:
        sections.append(Table(token_table(run, beside.names), "Tokens", most_rows=100))
    sections += closing(command, _slim(run.trajectory).provenance)
    return Report(title, "Many tokens at low temperature: concentration, metastability, terminal phase", sections)


def run_pictures(run: MeanFieldRun) -> list[Section]:
    """Return the figures of the page of a run: the distance to the projected law, if there is one, and the tokens."""
    sections: list[Section] = []
    if run.asks:
        figure = distance_figure(run, closure_beside(run), envelope(run))
        caption = (
            "Notice the green band, in which the distance stays within twice its least value: the metastable phase. "
            "Dashed: the Gaussian closure, a model of a few numbers; where it leaves the curve, the law of the tokens "
            "is no Gaussian. Dotted: a curve of the form of the theorem, with the smallest constant for which it lies "
            "above the run; this constant is ours, the theorem leaves it open."
        )
        what = "Distance of the tokens to the projected law over time, with its phases and the theory's curves"
        sections.append(Picture(figure, what, caption, "Distance to the projected law"))
    caption = (
        "Notice how few places are left at the moment of the least distance. Colours: where the projection sends a "
        "token. Stars and thin lines: E, the dominant eigenspace of V B^T, near which tokens should gather."
    )
    small = tokens_figure(run, narrow=True) if run.trajectory.states.shape[2] == 2 else None
    sections.append(
        Picture(tokens_figure(run), alt="The tokens at some moments", caption=caption, heading="Tokens", narrow=small)
    )
    return sections


def _phase_tables(run: MeanFieldRun, beside: Companions) -> list[Section]:
    if not run.asks:
        return []
    phases, prediction = run.phases, run.prediction
    model = closure_beside(run, beyond=10.0)
    left = phases.departure if phases.least <= DEPARTED else math.nan
    rows = []
    for name, measured, closed, leading in (
        ("least distance", phases.least, model and model.phases.least, None),
        ("concentration time", phases.concentration, model and model.phases.concentration,
         prediction and prediction.concentration),
        ("metastable from", phases.metastable[0], model and model.phases.metastable[0], None),
        ("metastable to", phases.metastable[1], model and model.phases.metastable[1], None),
        ("departure", left, model and model.phases.departure, prediction and prediction.departure),
    ):  # fmt: skip
        rows.append({"phase": name, "run": measured, "closure": closed, "leading order": leading})
    note = (
        "inf: not before the end of the run; nan: it never came near. Leading order: known up to a constant that does "
        "not depend on beta."
    )
    tables: list[Section] = [Table(rows, "Phases", note=note)]
    if beside.seeds:
        scatter = PhaseScatter.of([phases for _, phases in beside.seeds])
        seeds = ", ".join(str(seed) for seed, _ in beside.seeds)
        note = f"Seeds {seeds}; mean and standard deviation of one run, over the seeds in which it is reached."
        tables.append(Table(scatter.rows(), "Phases over seeds", note=note))
    return tables


def _theory_tables(run: MeanFieldRun) -> list[Section]:
    projection, terminal = run.projection, run.terminal
    shown = projection.eigenvalues[:12]
    values = (f"{value if value.imag else value.real:.5g}" for value in shown)
    rows: list[dict[str, Any]] = [
        {"quantity": "eigenvalues of V B^T", "value": ", ".join(values)
         + (f", … ({len(projection.eigenvalues)})" if len(projection.eigenvalues) > 12 else "")},
        {"quantity": "projection", "value": f"{projection.status}: {projection.reason}"},
        {"quantity": "dimension of E, the dominant eigenspace of V B^T", "value": projection.dimension},
        *([{"quantity": "contraction rate c", "value": projection.rate}] if run.asks else []),
        {"quantity": "terminal phase", "value": terminal.reason},
    ]  # fmt: skip
    return [Table(rows, "What the theory says")]


def _guard_tables(run: MeanFieldRun, beside: Companions) -> list[Section]:
    guard = run.resolution
    shown = {name: value for name, value in dataclasses.asdict(guard).items() if name != "shown"}
    if not guard.other_tokens:
        shown = {name: value for name, value in shown.items() if name not in _COMPARED}
    rows = [{"quantity": name.replace("_", " "), "value": value} for name, value in shown.items()]
    note = (
        "spacing: distance from where a token looks to the nearest token at the start, in kernel widths. The verdict "
        "is that of a second run with another number of tokens: least distance and departure must change by less than "
        "9 %, or 5 % from fewer tokens. Stragglers are left to themselves off E."
    )
    tables: list[Section] = [Table(rows, "Does the number of tokens resolve beta?", note=note)]
    if beside.refinement and run.asks:
        note = "Largest change of the distance curve from one number of tokens to the next."
        tables.append(Table(beside.refinement, "The same start with n, 2n and 4n tokens", note=note))
    return tables


def _completed(trajectory: FlowTrajectory, flow: TokenFlow, saved: Mapping[str, Any] | None) -> MeanFieldRun:
    """Return the run of a trajectory, with the saved verdict."""
    start = trajectory.states[0]
    identity = np.eye(start.shape[1])
    value = identity if flow.value is None else flow.value
    projection = project(value, identity if flow.interaction is None else flow.interaction)
    guard = _verdict(saved) if saved and "other_tokens" in saved else resolution(flow, start, trajectory.weights)
    terminal = terminal_phase(value, projection)
    return MeanFieldRun(
        trajectory=trajectory,
        flow=flow,
        projection=projection,
        terminal=terminal,
        resolution=guard,
        targets=projection.apply(start),
    )


def _verdict(saved: Mapping[str, Any]) -> Resolution:
    """Return a saved verdict; null stands for infinite or undefined values, which JSON lacks."""
    values = dict(saved)
    for name in ("needed", "spacing", "effective_size"):
        values[name] = _number(values[name])
    for name in ("least_change", "departure_change"):
        value = values[name]
        values[name] = (math.inf if values["other_tokens"] else math.nan) if value is None else float(value)
    return Resolution(**values)


def _slim(trajectory: FlowTrajectory) -> FlowTrajectory:
    """Return a trajectory whose provenance holds only the shapes of large matrices."""
    config = dict(trajectory.provenance.get("config", {}))
    for name in ("interaction", "value"):
        matrix = config.get(name)
        if isinstance(matrix, list) and len(matrix) > _SHOWN_DIM:
            config[name] = f"{len(matrix)} by {len(matrix)}, in matrices.safetensors"
    return dataclasses.replace(trajectory, provenance={**trajectory.provenance, "config": config})


def _jsonable(value: Any) -> Any:
    """Return a value with None for numbers that JSON lacks."""
    if isinstance(value, (tuple, list)):
        return [_jsonable(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: Any) -> float:
    return math.inf if value is None else float(value)
