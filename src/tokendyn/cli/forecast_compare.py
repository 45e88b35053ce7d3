"""``tokendyn forecast compare`` and ``study``: models side by side, on the user's data and on generated systems."""

import time as clock
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tokendyn.cli.forecast_data import lines, names_of, read_series, told
from tokendyn.cli.output import announce, write_json
from tokendyn.cli.repeat import repeated
from tokendyn.errors import BadInputError
from tokendyn.experiments.fields import seconds_of
from tokendyn.optional import missing
from tokendyn.runs.files import check_free

if TYPE_CHECKING:
    from tokendyn.studies.forecast import Study
    from tokendyn.studies.forecast.comparison import Contender

#: Libraries that peers need.
_NEEDS = {
    "PyDMD": "pydmd", "ESN": "reservoirpy", "PySINDy": "pysindy", "encoder": "torch", "paper": "torch",
}  # fmt: skip
_TITLES = {
    "synthetic": "Synthetic signals",
    "aerodynamics": "Unsteady aerodynamics",
    "lorenz": "Lorenz 63",
    "reaction-diffusion": "Reaction-diffusion",
}


def compare(
    data: Path,
    /,
    *,
    out: Path,
    time: str | None = None,
    columns: str | None = None,
    inputs: str | None = None,
    series: str | None = None,
    fill: Literal["linear", "previous"] | None = None,
    horizon: int = 200,
    budget: str = "30s",
    models: str | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
    overwrite: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Compare TD-TF, TD-DMD, the literal transformer and every peer that is installed, tuned alike, on a file.

    Writes a folder with the table, the forecasts, figures and report.html. Peers need tokendyn[bench].

    Parameters
    ----------
    data
        Table of snapshots, as for fit.
    out
        Folder to write. It must not exist.
    time, columns, inputs, series, fill
        As for fit.
    horizon
        Steps of each forecast.
    budget
        Processor time of the search of each model: 30s, 2m.
    models
        Only these, with commas between: TD-TF, TD-DMD, paper, PyDMD, ESN, NVAR, PySINDy, encoder, persistence,
        seasonal.
    test_fraction
        Share that is held out, on which all are compared.
    seed
        Seed of every random choice.
    overwrite
        Replace the folder when it exists.
    dry_run
        Read and check the data, say what would be done, and stop.
    json
        Write the table as one JSON object to standard output.
    """
    from tokendyn.forecast.held_out import hold_out
    from tokendyn.runs.provenance import provenance
    from tokendyn.studies.forecast.comparison import compare as compare_models
    from tokendyn.studies.forecast.comparison import finished
    from tokendyn.studies.forecast.pages import write_study

    seconds = seconds_of(budget)
    check_free(out, overwrite=overwrite, inputs=[data])
    read = read_series(data, time, columns, inputs, series, fill)
    task = hold_out(read, horizon, test_fraction, name=data.stem)
    longest = max(min(len(one) for one in (*task.train, *task.tests)) // 10, 2)
    chosen, absent = _contenders(names_of(models), bool(read[0].input_names), min(longest, 100))
    announce(told(read))
    for line in absent:
        announce(f"left out: {line}")
    if dry_run:
        announce(f"would tune {', '.join(one.name for one in chosen)} for {seconds:g} s each, and write {out}")
        return 0
    began = clock.perf_counter()
    with lines("models") as report:
        outcomes, failures = compare_models(task, chosen, seconds, seed, report)
    settings = {"seed": seed, "budget": seconds, "horizon": horizon, "names": list(read[0].names)}
    study = finished("compare", [(task, outcomes, [*absent, *failures])], settings)
    made = provenance({**settings, "source": data.name}, seed=seed, seconds=clock.perf_counter() - began)
    command = repeated()
    subtitle = f"{data.name}: {told(read)}; forecasts of {horizon} steps"
    write_study(
        study, out, title="Forecasters beside each other", subtitle=subtitle, command=command, made=made,
        overwrite=overwrite,
    )  # fmt: skip
    return _say(study, out, json=json)


def study(
    name: Literal["synthetic", "aerodynamics", "lorenz", "reaction-diffusion"],
    /,
    *,
    out: Path,
    quick: bool = False,
    budget: str | None = None,
    models: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Run a validation study: generate its data, tune every model alike, and write table, figures and report.

    Parameters
    ----------
    name
        synthetic, aerodynamics, lorenz or reaction-diffusion.
    out
        Folder to write: table.csv, study.json, arrays.npz, figures, report.html. It must not exist.
    quick
        Short series, small grids, small models: a minute or two.
    budget
        Processor time of the search of each model on each task; the study's own by default.
    models
        Only these, with commas between: TD-TF, TD-DMD, PyDMD, ESN, NVAR, PySINDy, encoder.
    seed
        Seed of every random choice.
    overwrite
        Replace the folder when it exists.
    dry_run
        Say what would be done, and stop.
    json
        Write the table as one JSON object to standard output.
    """
    from tokendyn.runs.provenance import provenance
    from tokendyn.studies.forecast import STUDIES
    from tokendyn.studies.forecast.comparison import contenders as usual_contenders
    from tokendyn.studies.forecast.pages import write_study

    seconds = None if budget is None else seconds_of(budget)
    wished = names_of(models)
    usual_contenders(wished)  # a wrong name is told before anything is generated
    check_free(out, overwrite=overwrite)
    profile = "quick" if quick else "full"
    if dry_run:
        announce(f"would run the study {name} ({profile}), and write {out}")
        return 0
    began = clock.perf_counter()
    with lines(name) as report:
        found = STUDIES[name](quick=quick, seed=seed, budget=seconds, models=wished, progress=report)
    settings: dict[str, Any] = {"study": name, "profile": profile, "budget": found.settings["budget"]}
    made = provenance(settings, seed=seed, seconds=clock.perf_counter() - began)
    command = repeated()
    unit = "Lyapunov times" if name == "lorenz" else "time"
    write_study(
        found, out, title=_TITLES[name], subtitle=f"A validation study, {profile} profile", command=command, made=made,
        unit=unit, overwrite=overwrite,
    )  # fmt: skip
    return _say(found, out, json=json)


def _contenders(wished: list[str] | None, inputs: bool, longest: int) -> "tuple[list[Contender], list[str]]":
    """Return the models that take part, and a line for each that cannot."""
    from tokendyn.forecast import PaperTDTF
    from tokendyn.forecast.naive import Persistence, SeasonalNaive
    from tokendyn.studies.forecast import SPACES
    from tokendyn.studies.forecast.comparison import Contender
    from tokendyn.studies.forecast.comparison import contenders as usual_contenders

    usual = usual_contenders(inputs=inputs, partial=False, longest=longest)
    known = [
        *usual[:2],
        Contender("paper", PaperTDTF, _paper, {"delays": min(10, longest)}, "ours"),
        *usual[2:],
        Contender("persistence", Persistence, SPACES["Persistence"], {}, "peer"),
        Contender("seasonal", SeasonalNaive, SPACES["SeasonalNaive"], {}, "peer"),
    ]
    names = [one.name for one in known]
    wrong = [name for name in wished or () if name not in names]
    if wrong:
        raise BadInputError(f"no model {', '.join(map(repr, wrong))} for these data; there are {', '.join(names)}")
    chosen = [one for one in known if wished is None or one.name in wished]
    lacking = {one.name: reason for one in chosen if one.name in _NEEDS and (reason := missing(_NEEDS[one.name]))}
    absent = [f"{name}: {reason}" for name, reason in lacking.items()]
    return [one for one in chosen if one.name not in lacking], absent


def _paper(rng: np.random.Generator) -> dict[str, Any]:
    """Draw settings of the literal transformer."""
    return {
        "delays": int(rng.choice([2, 5, 10, 20])),
        "stride": int(rng.choice([1, 2, 4])),
        "width": int(rng.choice([16, 32, 64])),
        "learning_rate": float(np.exp(rng.uniform(np.log(5e-4), np.log(1e-2)))),
        "noise": float(rng.choice([0.0, 1e-4, 1e-3, 1e-2])),
        "epochs": int(rng.choice([60, 200])),
        "random_state": int(rng.integers(1000)),
    }


def _say(found: "Study", out: Path, *, json: bool) -> int:
    """Print the table; fail when no model could be fitted."""
    from tokendyn.studies.forecast.pages import study_record

    if json:
        write_json(study_record(found) | {"out": str(out)})
    for line in found.lines():
        announce(line)
    announce(f"wrote {out}; open {out / 'report.html'}")
    return 0 if found.rows else 1
