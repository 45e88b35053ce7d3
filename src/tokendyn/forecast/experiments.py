"""The commands ``tokendyn forecast fit`` and ``predict`` as experiments: series to model, model to forecast."""

import dataclasses
import time as clock
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tokendyn.errors import BadInputError
from tokendyn.experiments import STANDARD_OUTPUT, Experiment, ProgressCallback
from tokendyn.experiments.fields import seconds_of
from tokendyn.forecast.kept_search import check_state, kept_search, path_of
from tokendyn.forecast.reading import (
    SeriesOptions,
    described,
    future_inputs,
    listed,
    noted,
    read_series,
    series_of,
)

if TYPE_CHECKING:
    import numpy as np

    from tokendyn.data.snapshots import Snapshots
    from tokendyn.forecast import Forecaster
    from tokendyn.forecast.fitted import FittedForecaster
    from tokendyn.forecast.forecasts import Forecasts
    from tokendyn.forecast.tasks import Task
    from tokendyn.runs.checkpoint import Checkpoint

#: Suffix of a file of fields.
NETCDF = ".nc"
#: Default budget of a search.
_BUDGET = "10s"
#: Processor seconds for the bands of a model without a search.
_CALIBRATION = 10.0
#: Settings of single models: a search chooses them itself.
_SETTINGS = (
    "delays", "stride", "rank", "units", "noise", "smoothing", "history", "finish", "iterations", "members",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitting(SeriesOptions, Experiment["FittedForecaster"]):
    """Fit a forecaster to snapshots, measure its closed loop on held-out data, and write it.

    Parameters
    ----------
    data
        CSV, TSV (both also .gz), Parquet, npz, npy, HDF5 or NetCDF: one row for each time.
    model
        auto: search naive, linear, polynomial and transformer models on validation rollouts, with a reason for the
        choice; or tdtf, tddmd (linear), paper (the literal transformer). By default auto, or tdtf if one of its
        settings is given.
    delays
        Number of snapshots in a window.
    stride
        Steps between the snapshots of a window.
    rank
        Directions of the windows to keep: a count, or a share of the energy below 1.
    units
        For tdtf: number of nonlinear units; 0 for a linear model.
    noise
        For tdtf: noise added to the windows in training, as a share of the deviation of the data.
    smoothing
        For tdtf with noisy data: rounds in which the model smooths the series and is fitted again.
    history
        For tdtf with noisy data: number of snapshots before each forecast that the model smooths first.
    finish
        For tdtf: final training steps on closed loops.
    iterations
        For tdtf: iterations of the fit.
    members
        Fit this number of tdtf with different seeds and forecast their mean; columns of their spread measure the effect
        of the seed, and are not bands.
    budget
        Processor time of the search (10s by default) or of the training, which then keeps its best state: 90s, 2m.
    horizon
        Number of steps of the test forecasts.
    test_fraction
        Share of the data held out to measure the model; whole series if there are several. With 0 the model learns from
        all data and is not measured.
    intervals
        Measure the errors of past forecasts, from refits at rolling origins, so that predict can write bands. A search
        does this within its budget; other models take at most ten seconds, without refits if one takes longer.
    figures
        Also write figures and report.html into the folder.
    seed
        Seed of every random choice.
    """

    command: ClassVar[str] = "forecast fit"
    unit: ClassVar[str] = "fit"

    data: Path = dataclasses.field(kw_only=False)
    model: Literal["auto", "tdtf", "tddmd", "paper"] | None = None
    delays: int | None = None
    stride: int | None = None
    rank: int | float | None = None
    units: int | None = None
    noise: float | None = None
    smoothing: int | None = None
    history: int | None = None
    finish: int | None = None
    iterations: int | None = None
    members: int | None = None
    budget: str | None = None
    horizon: int = 200
    test_fraction: float = 0.2
    intervals: bool = True
    figures: bool = False
    seed: int = 0

    def outline(self) -> Sequence[str]:
        """Return what was read."""
        self._unfitted(None)
        return (described(self._split[0]),)

    def check(self, checkpoint: "Path | str | None" = None) -> Sequence[str]:
        """Make all checks of a run; return a description of the fit."""
        read = super().check(checkpoint)
        model = self._unfitted(None)
        work = f"search for {self._seconds(None):g} s" if model is None else f"fit {model}"
        return (*read, f"would {work} on {sum(map(len, self._split[1]))} snapshots")

    def check_free(self, folder: Path, *, overwrite: bool, checkpoint: Path | None = None) -> None:
        """Check that the folder can be written, and that an interrupted search beside it belongs to these data."""
        super().check_free(folder, overwrite=overwrite, checkpoint=checkpoint)
        if self._unfitted(None) is None:
            check_state(folder, lambda state, begun: self.run(progress=begun, checkpoint=state))

    def run(
        self,
        *,
        progress: ProgressCallback | None = None,
        checkpoint: "Checkpoint | Path | str | None" = None,
        budget: float | None = None,
    ) -> "FittedForecaster":
        """Fit the model, or search for one, and forecast the held-out part.

        Parameters
        ----------
        progress
            Called with the percentage done, and with 100.
        checkpoint
            JSON file for the trials of a search, from which it continues; a fit has none.
        budget
            Processor seconds; replaces the option of this name.
        """
        from tokendyn.forecast.fitted import FittedForecaster, simple_errors
        from tokendyn.forecast.held_out import measure

        def share(done: float, _line: str) -> None:
            if progress is not None:
                progress(round(100 * done), 100)

        model, account = self._unfitted(budget), ""
        _, learned, task = self._split
        if model is None:
            model, account = self._search(share, path_of(checkpoint), self._seconds(budget))
        else:
            model.fit(series_of(learned), progress=share)
        if not self.intervals:
            model.residuals_ = None
        elif model.residuals_ is None:
            self._calibrate(model)
        held_out = None if task is None else measure(task, model)
        whole = self._split[0]
        if len(whole) == 1:
            # A forecast without data continues from the end of the data, not from the end of the training part.
            model.continue_from(whole[0])
        return FittedForecaster(
            model=model, source=self.data.name, task=task, held_out=held_out, account=account,
            series=noted(learned[0], self.time, self.series, self.fill),
            simple={} if task is None else simple_errors(task),
        )  # fmt: skip

    def _calibrate(self, model: "Forecaster") -> None:
        """Measure the errors of past forecasts; a fit that is too expensive to repeat uses the held-out part."""
        from tokendyn.forecast.intervals import refit_cost

        series, learned, task = self._split
        fresh = task is not None and refit_cost(model) > _CALIBRATION
        if fresh and len(series) == 1:
            part = [series[0][len(learned[0]) - model.window_length_ :]]
        else:
            part = series[len(learned) :] if fresh else learned
        with suppress(BadInputError):  # all series are shorter than a window and the horizon: no bands then
            model.calibrate(series_of(part), horizon=self.horizon, refit=not fresh, budget=_CALIBRATION)

    def write(
        self, result: "FittedForecaster", folder: str | Path, *, command: str = "", overwrite: bool = False
    ) -> None:
        """Write the model and the facts of its data, with figures if requested."""
        result.save(folder, figures=self.figures, command=command, overwrite=overwrite)

    def into(
        self,
        folder: Path,
        *,
        progress: ProgressCallback | None = None,
        checkpoint: "Checkpoint | Path | str | None" = None,
        budget: float | None = None,
        command: str = "",
        overwrite: bool = False,
    ) -> "FittedForecaster":
        """Run and write; the trials of a search are kept beside the folder until the model is written."""
        searches = self._unfitted(budget) is None and checkpoint is None
        with kept_search(folder) if searches else nullcontext(checkpoint) as state:
            result = self.run(progress=progress, checkpoint=state, budget=budget)
            self.write(result, folder, command=command, overwrite=overwrite)
            return result

    def summary(self, result: "FittedForecaster") -> dict[str, Any]:
        """Return model, training, series and error on the held-out part."""
        return {name: value for name, value in result.summary().items() if name != "status"}

    def advice(self, folder: Path) -> str:
        """Return the command for a forecast by the model."""
        asked = Forecasting(folder, self.data, steps=self.horizon)
        return f"ask it: {asked.command_line(out='forecast.csv')}"

    @cached_property
    def _split(self) -> "tuple[list[Snapshots], list[Snapshots], Task | None]":
        """Return all series, the training part, and the task on the held-out part."""
        from tokendyn.forecast.held_out import hold_out

        if not 0 <= self.test_fraction < 1:
            raise BadInputError(f"`test_fraction` must be in [0, 1), got {self.test_fraction}")
        series = self.read(self.data)
        if not self.test_fraction:
            return series, series, None
        task = hold_out(series, self.horizon, self.test_fraction, name=self.data.name)
        return series, list(task.train), task

    def _seconds(self, budget: float | None) -> float:
        """Return the processor seconds of a search."""
        return seconds_of(self.budget or _BUDGET) if budget is None else budget

    def _unfitted(self, budget: float | None) -> "Forecaster | None":
        """Return the requested model, not fitted; None for a search.

        Raises
        ------
        BadInputError
            If the model lacks one of the settings, or a setting is out of range.
        """
        given = {name: value for name in _SETTINGS if (value := getattr(self, name)) is not None}
        kind = self.model or ("tdtf" if given else "auto")
        seconds = self._seconds(budget)
        if kind == "auto" and given:
            raise BadInputError(f'`model="auto"` chooses the settings itself; leave out {_quoted(given)}')
        if kind == "auto":
            return None
        timed = {} if self.budget is None and budget is None else {"budget": seconds}
        return _model(kind, {**given, **timed}, self.seed)

    def _search(self, share: Any, state: Path | None, seconds: float) -> "tuple[Forecaster, str]":
        """Return the model that a search chooses, and why."""
        from tokendyn.forecast import auto_forecaster

        result = auto_forecaster(
            series_of(self._split[1]), horizon=self.horizon, budget=seconds, random_state=self.seed, resume=state,
            progress=share,
        )  # fmt: skip
        return result.model, str(result)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Forecasting(SeriesOptions, Experiment["Forecasts"]):
    """Forecast in closed loop from the end of the data: CSV with times (dates where the data have dates) and columns.

    Bands that are meant to contain the truth are in columns NAME_lower and NAME_upper (lower and upper with one
    column). A file that ends in .nc contains fields with their coordinates. Exits with 1 if a forecast diverges (only
    its finite part is written), or if it leaves the range of the data by far.

    Parameters
    ----------
    model
        Folder written by fit.
    data
        Table as for fit; the last rows of each series are its window. By default the forecast continues from the end of
        the data of the fit.
    steps
        Number of snapshots to forecast.
    level
        Probability with which the bands should contain the truth, such as 0.8; 0.9 by default. A model that was fitted
        without bands has none.
    time
        Column with the times, as for fit; by default that of the fit.
    columns
        Columns to forecast, as for fit; by default those of the fit.
    inputs
        Columns with inputs, as for fit; by default those of the fit.
    series
        Column that separates several series, as for fit; by default that of the fit. Each series is forecast, and the
        column is written too.
    future
        Table with the inputs of the coming snapshots, for a model with inputs: columns named as in the data. For one
        series only.
    fill
        Fill gaps: linear or previous; by default as for fit.
    """

    command: ClassVar[str] = "forecast predict"
    unit: ClassVar[str] = "series"
    file: ClassVar[str] = "forecast.csv"

    model: Path = dataclasses.field(kw_only=False)
    data: Path | None = dataclasses.field(kw_only=False, default=None)
    steps: int
    level: float | None = None
    future: Path | None = None

    def folder(self) -> Path:
        """Return standard output."""
        return STANDARD_OUTPUT

    def check_free(self, folder: Path, *, overwrite: bool, checkpoint: Path | None = None) -> None:
        """Check that the file can be written; only an earlier forecast of the same columns may be replaced."""
        from tokendyn.runs.folders import check_free

        if folder == STANDARD_OUTPUT:
            return
        if not overwrite:
            check_free(folder, overwrite=False)
            return
        from tokendyn.forecast.forecasts import is_forecast, is_netcdf

        if folder.suffix == NETCDF:
            check_free(folder, overwrite=True, ours=is_netcdf, inputs=self.files())
            return
        given = self._given[0]
        header = [*([self._label] if self._label else []), given.time_name, *given.names]
        check_free(folder, overwrite=True, ours=lambda file: is_forecast(file, header), inputs=self.files())

    def check(self, checkpoint: "Path | str | None" = None) -> Sequence[str]:
        """Make all checks of a run; return a description of the forecast."""
        read = super().check(checkpoint)
        return (*read, f"would forecast {self.steps} steps of {', '.join(self._given[0].names[:8])}")

    def run(
        self,
        *,
        progress: ProgressCallback | None = None,
        checkpoint: "Checkpoint | Path | str | None" = None,
        budget: float | None = None,
    ) -> "Forecasts":
        """Forecast every series; it takes a moment, so checkpoint and budget are ignored."""
        from tokendyn.forecast.forecasts import Forecasts
        from tokendyn.runs.provenance import provenance

        began = clock.perf_counter()
        if self.steps < 1:
            raise BadInputError(f"`steps` is {self.steps}; expected at least 1")
        if self.level is not None and self._model.residuals_ is None:
            raise BadInputError(f"{self.model} was fitted without bands; leave `level` out, or fit it again with them")
        given = self._given
        inputs = self._inputs(given)
        forecasts = []
        for number, (part, driven) in enumerate(zip(given, inputs, strict=True)):
            if progress is not None:
                progress(number, len(given))
            forecasts.append(self._model.forecast(part, self.steps, driven, level=self.level))
        return Forecasts(
            forecasts=tuple(forecasts), past=tuple(part[-2 * self.steps :] for part in given), steps=self.steps,
            source=self._source, time=given[0].time_name, series=self._label,
            provenance=provenance({}, seed=None, seconds=clock.perf_counter() - began),
        )  # fmt: skip

    def write(self, result: "Forecasts", folder: str | Path, *, command: str = "", overwrite: bool = False) -> None:
        """Write the forecasts as CSV; ``-`` stands for standard output."""
        import sys

        if Path(folder) == STANDARD_OUTPUT:
            result.write_csv(sys.stdout)
        elif Path(folder).suffix == NETCDF:
            result.to_netcdf(folder, overwrite=overwrite)
        else:
            result.to_csv(folder, overwrite=overwrite)

    @cached_property
    def _model(self) -> "Forecaster":
        from tokendyn.forecast import Forecaster

        return Forecaster.load(self.model)

    @cached_property
    def _about(self) -> dict[str, Any]:
        """Facts about the data recorded by fit; empty for a model saved from Python."""
        from tokendyn.forecast.store import DATA_SCHEMA, DATA_SCHEMA_VERSION
        from tokendyn.runs.folders import read_json

        path = self.model / "data.json"
        return read_json(path, schema=DATA_SCHEMA, version=DATA_SCHEMA_VERSION) if path.exists() else {}

    @property
    def _time(self) -> str | None:
        return self.time if self.time is not None else self._about.get("time")

    @property
    def _label(self) -> str | None:
        """Column that separates several series."""
        return self.series or (None if self.data is None else self._about.get("series"))

    @property
    def _driving(self) -> list[str]:
        """Names of the inputs."""
        return listed(self.inputs) or self._about.get("inputs") or []

    @cached_property
    def _given(self) -> "list[Snapshots]":
        """The series, checked against the model."""
        model = self._model
        if self.data is None:
            return [self._kept(model)]
        columns = listed(self.columns) or self._about.get("columns")
        fill = self.fill or self._about.get("fill")
        given = read_series(self.data, self._time, columns or None, self._driving, series=self._label, fill=fill)
        _check_fit(model, given)
        return given

    @property
    def _source(self) -> str:
        """Name of the file of the window."""
        return str(self._about.get("source", self.model.name)) if self.data is None else self.data.name

    def _kept(self, model: "Forecaster") -> "Snapshots":
        """Return the end of the series stored in the model, as a series."""
        import numpy as np

        if not len(model.last_window_):
            raise BadInputError("the model keeps no series to go on from; give `data` with the snapshots to start from")
        if self.series is not None:
            raise BadInputError("`series` is a column of `data`; give the data too")
        before = model.dt_ * np.arange(1 - len(model.last_window_), 1)
        kept = model.form_.snapshots(model.last_window_, before, source=self._source)
        driving = model.last_inputs_ if model.n_inputs_ else None
        return dataclasses.replace(kept, dt=model.dt_, inputs=driving, input_names=tuple(self._driving))

    def _inputs(self, given: "list[Snapshots]") -> "Sequence[np.ndarray | None]":
        """Return the inputs of every series, including those to come; None for a model without inputs."""
        import numpy as np

        if not self._model.n_inputs_:
            return [None] * len(given)
        if self.future is None:
            raise BadInputError(f"the model has inputs {', '.join(self._driving)}; give those to come with `future`")
        if len(given) > 1:
            raise BadInputError(f"{self.data} has {len(given)} series; with `future` forecast one at a time")
        (series,) = given
        assert series.inputs is not None  # as many as the model has
        to_come = future_inputs(self.future, self._driving, self._time, series, self.steps)
        return [np.concatenate([series.inputs, to_come])]


def _quoted(names: "Sequence[str] | dict[str, Any]") -> str:
    return ", ".join(f"`{name}`" for name in names)


def _model(kind: str, given: dict[str, Any], seed: int) -> "Forecaster":
    """Return a model with some settings, not fitted.

    Raises
    ------
    BadInputError
        If it lacks one of them, or a setting is out of range.
    """
    from tokendyn.forecast import TDDMD, TDTF, EnsembleTDTF, PaperTDTF

    kinds: dict[str, type[Forecaster]] = {"tdtf": TDTF, "tddmd": TDDMD, "paper": PaperTDTF}
    chosen = kinds[kind]
    settings = {name: value for name, value in given.items() if name != "members"}
    known = chosen().get_params(deep=False)
    wrong = [name for name in settings if name not in known]
    if "members" in given and kind != "tdtf":
        wrong.append("members")
    if wrong:
        raise BadInputError(f'`model="{kind}"` has no {_quoted(wrong)}; leave it out, or choose another model')
    if "random_state" in known:
        settings["random_state"] = seed
    model = chosen(**settings)
    if "members" in given and isinstance(model, TDTF):
        model = EnsembleTDTF(member=model, members=given["members"], random_state=seed)
    problems = model._parameter_problems()
    if problems:
        raise BadInputError.all_of("the command", problems)
    return model


def _check_fit(model: "Forecaster", given: "Sequence[Snapshots]") -> None:
    """Raise a BadInputError that lists how some series do not suit a model."""
    from tokendyn.data.snapshots import UNIFORM

    problems = []
    first = given[0]
    if len(first.names) != model.n_features_:
        problems.append(f"{len(first.names)} columns ({', '.join(first.names)}), the model has {model.n_features_}")
    if len(first.input_names) != model.n_inputs_:
        problems.append(f"{len(first.input_names)} inputs, the model has {model.n_inputs_}; name them with `inputs`")
    if abs(first.dt / model.dt_ - 1) > UNIFORM:
        problems.append(f"time step {first.dt:g}, the model was fitted at {model.dt_:g}; resample the data")
    for part in given:
        if len(part) < model.window_length_:
            of = f"series {part.label!r}: " if part.label else ""
            problems.append(f"{of}{len(part)} snapshots, the model's window has {model.window_length_}")
    if problems:
        raise BadInputError.all_of(first.source, problems)
