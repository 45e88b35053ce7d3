"""``tokendyn forecast fit`` and ``predict``: from a table of snapshots to a model, and from a model to a forecast."""

import csv
import functools
import sys
import time as clock
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tokendyn.cli.forecast_data import arrays_of, future_inputs, names_of, read_series, shares, told
from tokendyn.cli.output import announce, write_json
from tokendyn.cli.repeat import repeated
from tokendyn.cli.values import heading_of
from tokendyn.errors import BadInputError, TokendynError
from tokendyn.experiments import rehearse
from tokendyn.experiments.fields import seconds_of
from tokendyn.runs.files import check_free, new_file, new_folder, read_json
from tokendyn.runs.files import write_json as write_record
from tokendyn.runs.table import safe_cell

if TYPE_CHECKING:
    from tokendyn.data.snapshots import Snapshots
    from tokendyn.forecast import Forecast, Forecaster
    from tokendyn.forecast.held_out import HeldOut
    from tokendyn.forecast.tasks import Task

#: Rows of a series that ``predict --json`` writes for a picture.
_SHOWN = 1000
#: Snapshots from which on a season is looked for.
_SEASONAL = 16
#: What a search gets when no budget is given.
_BUDGET = "10s"


def fit(
    data: Path,
    /,
    *,
    out: Path,
    time: str | None = None,
    columns: str | None = None,
    inputs: str | None = None,
    series: str | None = None,
    fill: Literal["linear", "previous"] | None = None,
    model: Literal["auto", "tdtf", "tddmd", "paper"] | None = None,
    delays: int | None = None,
    stride: int | None = None,
    rank: int | float | None = None,
    units: int | None = None,
    noise: float | None = None,
    smoothing: int | None = None,
    history: int | None = None,
    finish: int | None = None,
    iterations: int | None = None,
    members: int | None = None,
    budget: str | None = None,
    horizon: int = 200,
    test_fraction: float = 0.2,
    figures: bool = False,
    seed: int = 0,
    overwrite: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Fit a forecaster to snapshots, say how well its closed loop does on what was held out, and write it.

    Parameters
    ----------
    data
        CSV, TSV (both also .gz), Parquet, npz, npy, HDF5 or NetCDF: one row for each time.
    out
        Folder to write the model to. It must not exist.
    time
        Column with the times, numbers or dates at equal steps; "time" or "t" by default, if there is one.
    columns
        What to forecast, with commas between; all but time and inputs by default.
    inputs
        Columns with control or forcing that is known ahead, with commas between.
    series
        Column that tells several series apart.
    fill
        Fill gaps: linear or previous. By default they are errors.
    model
        auto: search naive, linear, polynomial and transformer models on validation rollouts, and say why; or tdtf,
        tddmd (linear), paper (the literal transformer). By default auto, or tdtf when one of its settings is given.
    delays, stride
        Snapshots in a window, and the steps between them.
    rank
        Directions of the windows that are kept: a count, or a share of the energy below 1.
    units, noise, smoothing, history, finish, iterations
        Of tdtf: nonlinear units; noise on the windows; for noisy data rounds of smoothing, and the snapshots before
        each forecast that are smoothed by the model; steps of the finish on closed loops; iterations.
    members
        Fit so many tdtf from different seeds; their spread comes with every forecast.
    budget
        Processor time of the search, 10s by default, or after which training stops with what it has: 90s, 2m, 1h.
    horizon
        Steps of the forecasts that the model is tested with.
    test_fraction
        Share that is held out and only used to say how good the model is; of several series whole ones. 0 learns
        from everything.
    figures
        Also write figures and report.html into the folder.
    seed
        Seed of every random choice.
    overwrite
        Replace the folder when it exists.
    dry_run
        Read and check the data, say what would be done, and stop.
    json
        Write the record as one JSON object to standard output.
    """
    from tokendyn.forecast.held_out import hold_out, measure

    if not 0 <= test_fraction < 1:
        raise BadInputError(f"--test-fraction must be in [0, 1), got {test_fraction}")
    given = {
        "delays": delays, "stride": stride, "rank": rank, "units": units, "noise": noise, "smoothing": smoothing,
        "history": history, "finish": finish, "iterations": iterations, "members": members,
    }  # fmt: skip
    given = {name: value for name, value in given.items() if value is not None}
    model = model or ("tdtf" if given else "auto")
    if model == "auto" and given:
        raise BadInputError(f"--model auto chooses the settings itself; leave out --{', --'.join(given)}")
    made = None if model == "auto" else _model(model, given, budget, seed)
    seconds = seconds_of(budget or _BUDGET)
    check_free(out, overwrite=overwrite, inputs=[data])
    read = read_series(data, time, columns, inputs, series, fill)
    task = hold_out(read, horizon, test_fraction, name=data.name) if test_fraction else None
    learned = list(task.train) if task else read
    announce(told(read))
    if dry_run:
        _rehearse(learned, made, out, seconds, seed, horizon)
        what = f"search for {seconds:g} s" if made is None else f"fit {made}"
        announce(f"would {what} on {sum(map(len, learned))} snapshots, and write {out}")
        return 0
    account = ""
    if made is None:
        made, account = _search(learned, out, seconds, seed, horizon)
        for line in account.splitlines():
            announce(line)
    else:
        values, driven = arrays_of(learned)
        with shares("fit") as report:
            made.fit(values, dt=learned[0].dt, inputs=driven, progress=report)
    held = measure(task, made) if task else None
    about = {"time": time, "columns": list(read[0].names), "inputs": list(read[0].input_names), "dt": read[0].dt}
    record = about | {"source": data.name, "held_out": _finite(held.numbers()) if held else None}
    command = repeated()
    _write(made, out, record, (task, held) if figures and task and held else None, account, command, overwrite)
    _state_file(out).unlink(missing_ok=True)
    if json:
        training = getattr(made, "training_", None)
        write_json({"model": type(made).__name__, "training": _finite(training or {}), **record, "out": str(out)})
    announce(f"fitted {type(made).__name__} in {made.fit_seconds_:.1f} s{_validation(made)}")
    if task is not None and held is not None:
        announce(held.line())
        for line in _beside(task, held):
            announce(line)
    announce(f"wrote {out}; ask it: tokendyn forecast predict {out} {data} --steps {horizon} --out forecast.csv")
    return 0


def predict(
    model: Path,
    data: Path,
    /,
    *,
    steps: int,
    out: Path | None = None,
    time: str | None = None,
    columns: str | None = None,
    inputs: str | None = None,
    series: str | None = None,
    future: Path | None = None,
    fill: Literal["linear", "previous"] | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Forecast in closed loop from the end of the data: CSV with times (dates where the data have dates) and columns.

    Exits with 1 when a forecast diverges; the finite part is written.

    Parameters
    ----------
    model
        Folder that fit wrote.
    data
        Table as for fit; the last rows of each series are its window.
    steps
        Snapshots to forecast.
    out
        CSV file to write; standard output by default.
    time, columns, inputs
        As for fit; what the model was fitted with by default.
    series
        Column that tells several series apart: each is forecast, and the column is written too.
    future
        Table with the inputs of the snapshots to come, for a model with inputs: columns named as in the data. For one
        series only.
    fill
        Fill gaps: linear or previous.
    overwrite
        Replace the file when it exists.
    dry_run
        Read the model and the data, say what would be done, and stop.
    json
        Write status and numbers as one JSON object to standard output; needs --out.
    """
    from tokendyn.forecast import Forecaster
    from tokendyn.forecast.store import PREDICTION_SCHEMA
    from tokendyn.runs.provenance import provenance

    began = clock.perf_counter()
    if steps < 1:
        raise BadInputError(f"--steps is {steps}; expected at least 1")
    if json and out is None:
        raise BadInputError("--json and the forecast would both go to standard output; give --out too")
    if out is not None and not overwrite:
        check_free(out, overwrite=False)
    known = Forecaster.load(model)
    about = _about(model)
    time = time if time is not None else about.get("time")
    wished = names_of(columns) or about.get("columns")
    driving = names_of(inputs) or about.get("inputs") or []
    given = read_series(data, time, ",".join(wished) if wished else None, ",".join(driving), series, fill)
    if out is not None:
        ours = functools.partial(_is_forecast, _header(given, time or "time", series))
        check_free(out, overwrite=overwrite, ours=ours, inputs=[data, model])
    _check_fit(known, given)
    driven: list[Any] = [None] * len(given)
    if known.n_inputs_:
        if future is None:
            raise BadInputError(f"the model has inputs {', '.join(driving)}; give those to come with --future FILE")
        if len(given) > 1:
            raise BadInputError(f"{data} has {len(given)} series; with --future forecast one at a time")
        driven = [np.concatenate([given[0].inputs, future_inputs(future, driving, time, given[0], steps)])]
    if dry_run:
        announce(
            f"would forecast {steps} steps of {', '.join(given[0].names[:8])}, and write {out or 'standard output'}"
        )
        return 0
    found = [known.forecast(one.values, steps, drive) for one, drive in zip(given, driven, strict=True)]
    _write_forecasts(found, given, time or "time", series, out, overwrite)
    broken = [(one, of) for one, of in zip(found, given, strict=True) if one.status != "completed"]
    if json:
        shortest = min(one.finite_steps for one in found)
        record: dict[str, Any] = {"status": "diverged" if broken else "completed", "finite_steps": shortest}
        record["steps"] = steps
        record |= {
            "schema": PREDICTION_SCHEMA, "schema_version": 1, "source": data.name, "columns": list(given[0].names),
            "past": [_thinned(one.times[-2 * steps :], one.values[-2 * steps :]) for one in given],
            "forecasts": [
                _thinned(one.times[-1] + made.times, made.values) for one, made in zip(given, found, strict=True)
            ],
            "command": repeated(),
            "provenance": provenance({}, seed=None, seconds=clock.perf_counter() - began),
        }  # fmt: skip
        write_json(record | ({"series": len(given)} if series else {}) | {"out": str(out)})
    for forecast, one in broken:
        of = f"{series} {one.label}: " if series else ""
        announce(f"{of}diverged after {forecast.finite_steps} of {steps} steps; the finite part was written")
    if broken:
        return 1
    end = _stamps(given[0].times[-1:], given[0])[0]
    after = f"{len(given)} series" if series else f"time {end}"
    announce(f"complete: {steps} steps after {after}" + (f"; wrote {out}" if out else ""))
    return 0


def _thinned(times: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    """Return some ``_SHOWN`` rows at equal steps."""
    every = max(len(times) // _SHOWN, 1)
    return {"times": times[::every].tolist(), "values": values[::every].tolist()}


def _model(kind: str, given: dict[str, Any], budget: str | None, seed: int) -> "Forecaster":
    """Return the model that was asked for, not fitted."""
    from tokendyn.forecast import TDDMD, TDTF, EnsembleTDTF, PaperTDTF

    kinds: dict[str, type[Forecaster]] = {"tdtf": TDTF, "tddmd": TDDMD, "paper": PaperTDTF}
    chosen = kinds[kind]
    settings = {name: value for name, value in given.items() if name != "members"}
    if budget is not None:
        settings["budget"] = seconds_of(budget)
    known = chosen().get_params(deep=False)
    wrong = [f"--{name}" for name in settings if name not in known]
    if "members" in given and kind != "tdtf":
        wrong.append("--members")
    if wrong:
        raise BadInputError(f"--model {kind} has no {', '.join(wrong)}; leave it out, or choose another model")
    if "random_state" in known:
        settings["random_state"] = seed
    made = chosen(**settings)
    if "members" in given and isinstance(made, TDTF):
        made = EnsembleTDTF(member=made, members=given["members"], random_state=seed)
    problems = made._parameter_problems()
    if problems:
        raise BadInputError.all_of("the command", problems)
    return made


def _rehearse(
    learned: "list[Snapshots]", made: "Forecaster | None", out: Path, seconds: float, seed: int, horizon: int
) -> None:
    """Refuse what a fit, or without a model a search, would refuse."""
    from sklearn.base import clone

    from tokendyn.forecast import auto_forecaster

    values, driven = arrays_of(learned)
    fitting: dict[str, Any] = {"dt": learned[0].dt, "inputs": driven}
    if made is None:
        fitting |= {"horizon": horizon, "budget": seconds, "random_state": seed, "resume": _state_file(out)}
        rehearse(lambda begun: auto_forecaster(values, **fitting, progress=begun))
    else:
        copy = clone(made)
        rehearse(lambda begun: copy.fit(values, **fitting, progress=begun))


def _search(learned: "list[Snapshots]", out: Path, seconds: float, seed: int, horizon: int) -> "tuple[Forecaster, str]":
    """Search settings; what was tried is kept beside ``out`` until the model is written."""
    from tokendyn.forecast import auto_forecaster

    values, driven = arrays_of(learned)
    state = _state_file(out)
    state.parent.mkdir(parents=True, exist_ok=True)
    if state.exists():
        announce(f"going on from {state}")
    try:
        with shares("search") as report:
            found = auto_forecaster(
                values,
                dt=learned[0].dt,
                inputs=driven,
                horizon=horizon,
                budget=seconds,
                random_state=seed,
                resume=state,
                progress=report,
            )
    except KeyboardInterrupt:
        if state.exists():
            announce(f"what was tried so far is in {state}; the same command goes on from there")
        raise
    return found.model, str(found)


def _state_file(out: Path) -> Path:
    return out.with_name(f"{out.name}.search.json")


def _write(
    model: "Forecaster",
    out: Path,
    record: dict[str, Any],
    tested: "tuple[Task, HeldOut] | None",
    account: str,
    command: str,
    overwrite: bool,
) -> None:
    """Write model, names of the columns, and figures, whole or not at all."""
    from tokendyn.forecast.store import DATA_SCHEMA, DATA_SCHEMA_VERSION
    from tokendyn.runs.provenance import provenance

    with new_folder(out, overwrite=overwrite) as temporary:
        model.save(temporary, overwrite=True)
        about = {"schema": DATA_SCHEMA, "schema_version": DATA_SCHEMA_VERSION, **record}
        about |= {"account": account, "command": command}
        if tested is not None:
            from tokendyn.forecast.pages import model_figures, model_report, write_pictures
            from tokendyn.show import write_report

            task, held = tested
            drawn = model_figures(model, held, task.tests[0], task.lead, record["columns"])
            about["figures"] = write_pictures(drawn, temporary)
            settings = model._parameter_record()
            made = provenance(settings, seed=settings.get("random_state"), seconds=model.fit_seconds_)
            write_report(model_report(model, about, temporary, made), temporary / "report.html")
        write_record(temporary / "data.json", about)


def _about(folder: Path) -> dict[str, Any]:
    """Return what ``fit`` noted about the data; nothing for a model that was saved from Python."""
    from tokendyn.forecast.store import DATA_SCHEMA, DATA_SCHEMA_VERSION

    path = folder / "data.json"
    return read_json(path, schema=DATA_SCHEMA, version=DATA_SCHEMA_VERSION) if path.exists() else {}


def _check_fit(model: "Forecaster", given: "Sequence[Snapshots]") -> None:
    """Say what of the data does not suit the model."""
    from tokendyn.data.snapshots import UNIFORM

    problems = []
    first = given[0]
    if len(first.names) != model.n_features_:
        problems.append(f"{len(first.names)} columns ({', '.join(first.names)}), the model has {model.n_features_}")
    if len(first.input_names) != model.n_inputs_:
        problems.append(f"{len(first.input_names)} inputs, the model has {model.n_inputs_}; name them with --inputs")
    if abs(first.dt / model.dt_ - 1) > UNIFORM:
        problems.append(f"time step {first.dt:g}, the model was fitted at {model.dt_:g}; resample the data")
    for one in given:
        if len(one) < model.window_length_:
            of = f"series {one.label!r}: " if one.label else ""
            problems.append(f"{of}{len(one)} snapshots, the model's window has {model.window_length_}")
    if problems:
        raise BadInputError.all_of(first.source, problems)


def _write_forecasts(
    forecasts: "Sequence[Forecast]",
    given: "Sequence[Snapshots]",
    time: str,
    series: str | None,
    out: Path | None,
    overwrite: bool,
) -> None:
    """Write the label of each series, times, columns and, for an ensemble, their spread."""
    header = _header(given, time, series)
    if forecasts[0].spread is not None:
        header += [f"{name}_spread" for name in given[0].names]
    with ExitStack() as opened:
        stream = sys.stdout
        if out is not None:
            check_free(out, overwrite=overwrite, ours=functools.partial(_is_forecast, header))
            stream = opened.enter_context(opened.enter_context(new_file(out)).open("w", encoding="utf-8", newline=""))
        writer = csv.writer(stream, lineterminator="\n" if out is None else "\r\n")
        writer.writerow(map(safe_cell, header))
        for forecast, one in zip(forecasts, given, strict=True):
            table = forecast.values if forecast.spread is None else np.hstack([forecast.values, forecast.spread])
            label = [safe_cell(one.label)] if series else []
            for stamp, row in zip(_stamps(one.times[-1] + forecast.times, one), table, strict=True):
                writer.writerow([*label, stamp, *(repr(float(number)) for number in row)])


def _header(given: "Sequence[Snapshots]", time: str, series: str | None) -> list[str]:
    """Return the heading of a table of forecasts, without the spread of an ensemble."""
    return [*([series] if series else []), time, *given[0].names]


def _is_forecast(header: list[str], file: Path) -> bool:
    """Return whether a file may be an earlier forecast: a table whose heading begins in the same way."""
    return heading_of(file)[: len(header)] == header


def _stamps(times: np.ndarray, given: "Snapshots") -> list[str]:
    """Return times as they are written: dates where the data have dates."""
    from tokendyn.data.snapshots import dates_after

    return [f"{time:.12g}" for time in times] if given.epoch is None else dates_after(times, given.epoch)


def _validation(model: "Forecaster") -> str:
    """Say what validation preferred in training, if there was any."""
    from tokendyn.forecast import TDTF

    record = getattr(model, "training_", None)
    if record is None:
        return ""
    if record.get("error") is None:
        return "; the series is too short for a validation part, so nothing says whether the nonlinear part is worth it"
    if isinstance(model, TDTF):
        kept = f"iteration {record['chosen']} was kept" if record["chosen"] else "the linear model was kept"
        return f"; validation error {record['error']:.3g}, that of TD-DMD {record['linear_error']:.3g}; {kept}"
    return f"; validation error of one step {record['error']:.3g}"


def _beside(task: "Task", held: "HeldOut") -> list[str]:
    """Return what simple models do on the same starts, and a warning when the model is no better."""
    from tokendyn.forecast.candidates import season_length
    from tokendyn.forecast.held_out import measure
    from tokendyn.forecast.naive import Mean, Persistence, SeasonalNaive

    values, driven = arrays_of(task.train)
    season = season_length(values[0][:, 0]) if len(values[0]) >= _SEASONAL else None
    simple = {"the last snapshot": Persistence(), "the mean": Mean()}
    if season and season < len(values[0]) // 2:
        simple[f"the last season of {season}"] = SeasonalNaive(season)
    errors = {}
    for name, model in simple.items():
        with suppress(TokendynError):
            errors[name] = measure(task, model.fit(values, dt=task.train[0].dt, inputs=driven)).nrmse
    lines = ["beside it: " + ", ".join(f"{name} {error:.3g}" for name, error in errors.items())] if errors else []
    if errors and held.nrmse >= min(errors.values()):
        lines.append("warning: the model is no better than the best of these; do not rely on its forecasts")
    return lines


def _finite(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record as JSON can hold it."""
    from tokendyn.forecast.pages import plain

    found: dict[str, Any] = plain(record)
    return found
