"""The path from data to a forecast: read their properties, search a model, and forecast with bands."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tokendyn.errors import BadInputError
from tokendyn.experiments import Experiment, ProgressCallback
from tokendyn.experiments.fields import seconds_of
from tokendyn.forecast.kept_search import check_state, kept_search, path_of
from tokendyn.forecast.reading import SeriesOptions, described, future_inputs, noted, series_of

if TYPE_CHECKING:
    import numpy as np

    from tokendyn.data.snapshots import Snapshots
    from tokendyn.forecast.base import Forecaster
    from tokendyn.forecast.closed_loop import Forecast
    from tokendyn.forecast.continued import ForecastRun
    from tokendyn.forecast.tasks import Task
    from tokendyn.runs.checkpoint import Checkpoint

#: Parts of a series that are forecast by default: without a season, and at most with one; and steps at most.
_TENTH, _FIFTH, _MOST_STEPS = 10, 5, 500
#: Share of the budget that the search gets; the rest is for the refit on all data, its bands and the spectrum.
_SEARCH = 0.7


@dataclasses.dataclass(frozen=True, kw_only=True)
class Continuation(SeriesOptions, Experiment["ForecastRun"]):
    """Go from a file to a forecast: find times, calendar, season, grid and mask, search a model, forecast, and report.

    Several series in one file are separated by a column (``series``): one model learns from all, and each goes on.

    Parameters
    ----------
    data
        CSV, TSV (both also .gz), Parquet, npz, npy, HDF5 or NetCDF: one row, or one field, for each time.
    horizon
        Steps to forecast; by default two seasons where there is a season, else a tenth of the data.
    budget
        Processor time: 90s, 2m, 1h.
    future
        Table with the inputs of the snapshots to come, for data with inputs: columns named as in the data.
    test_fraction
        Share that is held out to say how good the model is; it is then fitted anew to everything. 0 says nothing.
    seed
        Seed of every random choice.
    """

    command: ClassVar[str] = "forecast run"
    unit: ClassVar[str] = "forecast"

    data: Path = dataclasses.field(kw_only=False)
    horizon: int | None = None
    budget: str = "10s"
    future: Path | None = None
    test_fraction: float = 0.2
    seed: int = 0

    def folder(self) -> Path:
        """Return a folder that is named after the data, where the command runs."""
        return Path(f"{self.data.name.split('.')[0] or 'data'}-forecast")

    def outline(self) -> list[str]:
        """Return what was read."""
        first = self._series[0]
        season = season_of(first)
        return [described(self._series) + (f", season of {first.in_words(season * first.dt)}" if season else "")]

    def describe(self, result: "ForecastRun") -> list[str]:
        """Return the forecast and its model in sentences; what was read was said before the search."""
        return result.describe()[1:]

    def check_free(self, folder: Path, *, overwrite: bool, checkpoint: Path | None = None) -> None:
        """See that the folder can be written, and that an interrupted search beside it is one of these data."""
        super().check_free(folder, overwrite=overwrite, checkpoint=checkpoint)
        check_state(folder, lambda state, begun: self.run(progress=begun, checkpoint=state))

    def run(
        self,
        *,
        progress: ProgressCallback | None = None,
        checkpoint: "Checkpoint | Path | str | None" = None,
        budget: float | None = None,
    ) -> "ForecastRun":
        """Search, forecast and measure.

        Parameters
        ----------
        progress
            Called with the percentage done, and with 100.
        checkpoint
            JSON file for the trials of the search, from which it continues.
        budget
            Processor seconds, in place of the option of this name.
        """
        series, first = self._series, self._series[0]
        horizon = self._horizon(first)
        future = None
        if first.inputs is not None:
            if len(series) > 1:
                raise BadInputError(f"{self.data} has {len(series)} series with inputs; forecast one at a time")
            if self.future is None:
                named = ", ".join(first.input_names)
                raise BadInputError(f"the data have inputs {named}; give those to come with `future`")
            future = future_inputs(self.future, first.input_names, self.time, first, horizon)

        def share(done: float, _line: str) -> None:
            if progress is not None:
                progress(round(100 * done), 100)

        seconds = seconds_of(self.budget) if budget is None else budget
        return continued(
            series, horizon, budget=seconds, future=future, test_fraction=self.test_fraction, seed=self.seed,
            progress=share, source=self.data.name, labelled=self.series, resume=path_of(checkpoint),
            reading=noted(first, self.time, self.series, self.fill),
        )  # fmt: skip

    def into(
        self,
        folder: Path,
        *,
        progress: ProgressCallback | None = None,
        checkpoint: "Checkpoint | Path | str | None" = None,
        budget: float | None = None,
        command: str = "",
        overwrite: bool = False,
    ) -> "ForecastRun":
        """Run and write; the trials of the search are kept beside the folder until it is written."""
        with kept_search(folder) as state:
            result = self.run(progress=progress, checkpoint=checkpoint or state, budget=budget)
            self.write(result, folder, command=command, overwrite=overwrite)
            return result

    def write(self, result: "ForecastRun", folder: str | Path, *, command: str = "", overwrite: bool = False) -> None:
        """Write forecast, model, page and record."""
        result.save(folder, command=command, overwrite=overwrite)

    @cached_property
    def _series(self) -> "list[Snapshots]":
        """The data, read once."""
        return self.read(self.data)

    def _horizon(self, series: "Snapshots") -> int:
        if self.horizon is not None and self.horizon < 1:
            raise BadInputError(f"`horizon` is {self.horizon}; expected at least 1")
        if not 0 <= self.test_fraction < 1:
            raise BadInputError(f"`test_fraction` must be in [0, 1), got {self.test_fraction}")
        return usual_horizon(series) if self.horizon is None else self.horizon


def run(
    data: Any,
    horizon: int | None = None,
    *,
    budget: float | str = 10.0,
    time: str | None = None,
    columns: Any = None,
    inputs: Any = (),
    series: str | None = None,
    future: Any = None,
    fill: str | None = None,
    dt: float | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
    progress: Callable[[float, str], None] | None = None,
) -> "ForecastRun":
    """Forecast data by the best model that a search finds; ``td.forecast(data)`` is this function.

    What the data are is found: times and their calendar, a season, the grid of fields and the points that are masked.
    Of more than 64 columns, and of fields, the coefficients of their modes are forecast.

    Parameters
    ----------
    data
        A path, an array (time, features) or ``(time, *space)``, a DataFrame, an object of xarray, or Snapshots; or a
        list of such: one model learns from all, and each goes on.
    horizon
        Steps to forecast; by default two seasons where there is a season, else a tenth of the data.
    budget
        Processor seconds, or text: ``"30s"``, ``"2m"``.
    time, columns, inputs, fill, dt
        As for :func:`tokendyn.read_series`.
    series
        Column of a table that tells several series apart.
    future
        Inputs of the horizon, ``(horizon, inputs)``, for one series with inputs.
    test_fraction
        Share that is held out to say how good the model is; it is then fitted anew to everything. 0 says nothing.
    seed
        Seed of every random choice.
    progress
        Called with the share of the work done, and a description of the current step.

    Returns
    -------
    The forecast in the data's form (``run.predicted()``), with the model, its errors beside those of simple models,
    and a page (``run.report(path)``).

    Raises
    ------
    BadInputError
        If the data cannot be read, are too short, or have gaps.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> import tokendyn as td
    >>> months = pd.date_range("2010-01-01", periods=120, freq="MS")
    >>> sales = pd.DataFrame({"sold": 50 + np.arange(120) + 9 * np.sin(np.arange(120) * np.pi / 6)}, index=months)
    >>> run = td.forecast(sales, budget=2.0)
    >>> run.predicted().index[0], len(run.predicted()), run.season
    (Timestamp('2020-01-01 00:00:00'), 24, 12)
    """
    from tokendyn.data.snapshots import Snapshots, read_snapshots, read_trajectories
    from tokendyn.forecast.likeness import like

    _check_request(horizon, test_fraction, seed)
    seconds = seconds_of(budget) if isinstance(budget, str) else budget
    if not (isinstance(seconds, int | float) and math.isfinite(seconds) and seconds >= 0):
        raise BadInputError(
            f"budget is {budget!r}, expected a number of processor seconds, or text such as '30s' or '2m'"
        )
    names = None if columns is None else [columns] if isinstance(columns, str) else list(columns)
    listed = _as_list(data)
    if series is not None:
        if len(listed) > 1:
            raise BadInputError("series is a column of one table; data is a list of series already")
        arrays = read_trajectories(data, series, time, names, list(inputs), fill, dt)
    else:
        arrays = [
            one if isinstance(one, Snapshots) else read_snapshots(one, time, names, list(inputs), fill, dt)
            for one in listed
        ]
    first = arrays[0]
    steps = usual_horizon(first) if horizon is None else int(horizon)
    if first.inputs is not None and len(arrays) > 1:
        raise BadInputError(f"there are {len(arrays)} series with inputs; forecast one at a time")
    if first.inputs is not None and future is None:
        raise BadInputError(f"the data have inputs {', '.join(first.input_names)}; give those to come with future")
    if first.inputs is not None:
        future = _future(future, steps, first.input_names)
    source = Path(data).name if isinstance(data, str | Path) else first.source
    found = continued(
        arrays, steps, budget=float(seconds), future=future, test_fraction=test_fraction, seed=seed,
        progress=progress or _silent, source=source, labelled=series, reading=noted(first, time, series, fill),
    )  # fmt: skip
    if isinstance(data, str | Path | Snapshots) or series is not None:
        return found
    # The forecast has the form of the data: a DataFrame with its index, fields with their coordinates. Data
    # that are whole and tell their times go on as they are, with the zone and frequency of their index; others as read.
    whole = fill is None and time is None and first.inputs is None
    forecasts = []
    for one, part, forecast in zip(listed, arrays, found.forecasts, strict=True):
        forecasts.append(forecast)
        for given in ([one] if whole else []) + [like(part, one)]:
            with suppress(BadInputError):
                model = found.model.continue_from(given, part.inputs)
                forecasts[-1] = model.forecast(None, steps, future)
                break
    return dataclasses.replace(found, forecast=forecasts[0], further=tuple(forecasts[1:]))


def _check_request(horizon: Any, test_fraction: float, seed: Any) -> None:
    """Raise BadInputError for a number that is out of its range."""
    from tokendyn.forecast.checks import check_count

    if horizon is not None and check_count("horizon", horizon):
        raise BadInputError(f"horizon is {horizon!r}, expected an integer of at least 1")
    if not 0 <= test_fraction < 1:
        raise BadInputError(f"test_fraction is {test_fraction}, expected a number in [0, 1)")
    if check_count("seed", seed, 0):
        raise BadInputError(f"seed is {seed!r}, expected an integer of at least 0")


def _future(future: Any, steps: int, names: Sequence[str]) -> "np.ndarray":
    """Return the inputs of the horizon, ``(steps, inputs)``: the first rows of what is given.

    Raises
    ------
    BadInputError
        If rows or columns are missing, or numbers are.
    """
    from tokendyn.forecast.checks import check_series
    from tokendyn.forecast.forms import plain_inputs

    rows = check_series(plain_inputs(future), "future")
    if len(rows) < steps or rows.shape[1] != len(names):
        raise BadInputError(
            f"future has shape {rows.shape}, expected ({steps}, {len(names)}): {', '.join(names)} of each step to come"
        )
    return rows[:steps]


def _as_list(data: Any) -> list[Any]:
    """Return a list of series; anything but a list of arrays, tables or paths is one series."""
    from tokendyn.data.snapshots import Snapshots
    from tokendyn.data.snapshots.series import plain_array

    if isinstance(data, list | tuple) and data and all(isinstance(one, Real | list | tuple) for one in data):
        return [plain_array(data)]
    listed = isinstance(data, list | tuple) and all(
        isinstance(one, str | Path | Snapshots) or getattr(one, "shape", ()) for one in data
    )
    return list(data) if listed and data else [data]


def continued(
    series: "Sequence[Snapshots]",
    horizon: int,
    *,
    budget: float,
    future: Any = None,
    test_fraction: float = 0.2,
    seed: int = 0,
    progress: Callable[[float, str], None],
    source: str,
    labelled: str | None = None,
    resume: Path | None = None,
    reading: "Mapping[str, Any] | None" = None,
) -> "ForecastRun":
    """Search on the training part, measure on the held-out part, fit the same settings to all data, and forecast.

    Parameters
    ----------
    series
        One series or several.
    horizon, budget, future, test_fraction, seed, progress
        As for :func:`run`.
    source
        Where the data come from, for the record.
    labelled
        Column that tells several series apart.
    resume
        File of the trials of the search; see :func:`tokendyn.forecast.auto_forecaster`.
    reading
        What a forecast of the same table needs to know: :func:`tokendyn.forecast.reading.noted`.
    """
    import time

    from sklearn.base import clone

    from tokendyn.forecast.continued import ForecastRun, linear_spectrum
    from tokendyn.forecast.doubts import doubts
    from tokendyn.forecast.fitted import simple_errors
    from tokendyn.forecast.held_out import measure
    from tokendyn.forecast.search import LEAST_ROWS, auto_forecaster
    from tokendyn.runs.provenance import provenance

    widths = [one.values.shape[1] for one in series]
    if len(set(widths)) > 1:
        raise BadInputError(f"the series have {', '.join(map(str, widths))} columns; expected the same in all")
    longest = max(series, key=len)
    if len(longest) < LEAST_ROWS:
        wide = longest.values.shape[1] > LEAST_ROWS
        remedy = "; rows are snapshots: (features, time) is given as its transpose" if wide else ""
        raise BadInputError(f"{source} has {len(longest)} snapshots; a search needs at least {LEAST_ROWS}{remedy}")
    began = time.perf_counter()
    first, season = series[0], season_of(series[0])
    task, note = _task(series, horizon, test_fraction, season)
    learned = list(series) if task is None else list(task.train)
    if not any((one.values != one.values[0]).any() for one in learned):
        raise BadInputError(
            f"{first.source}: nothing changes in the first {sum(map(len, learned))} of {sum(map(len, series))} "
            "snapshots, which a model would learn from; give a longer series"
        )
    progress(0.0, "search")
    search = auto_forecaster(
        series_of(learned), horizon=horizon, budget=_SEARCH * budget, random_state=seed, resume=resume,
        longest=None if task is None else task.lead, seasons=() if season is None else (season,),
        logarithms=all((one.values > 0.0).all() for one in series),
        progress=lambda done, line: progress(_SEARCH * min(done, 1.0), line),
    )  # fmt: skip
    notes = [*search.notes(), *([note] if note else []), *doubts(series)]
    held_out = None if task is None else measure(task, search.model)
    errors = {} if task is None else simple_errors(task, season)
    model = search.model
    if task is not None:
        progress(_SEARCH, "fit to all data")
        model = clone(search.model).fit(series_of(series))
        with suppress(BadInputError):  # too short for a window and a forecast of the past
            model.calibrate(series_of(series), horizon=horizon, budget=0.2 * budget)
    progress(0.9, "spectrum")
    spectrum, mapped = linear_spectrum(first, season)
    progress(1.0, "done")
    window = max(3 * horizon, 2 * (season or 0), model.window_length_)
    forecast, *further = _forecasts(model, series, horizon, future)
    past, *further_past = [one[-window:] for one in _labelled(series)]
    return ForecastRun(
        model=model, forecast=forecast, past=past, family=search.family, account=str(search),
        rows=sum(map(len, series)), held_out=held_out, errors=errors, season=season, spectrum=spectrum, maps=mapped,
        notes=tuple(notes), source=source, further=tuple(further), further_past=tuple(further_past),
        series=labelled or ("series" if further else None), reading=dict(reading or {}),
        provenance=provenance({"horizon": horizon, "budget": budget}, seed=seed, seconds=time.perf_counter() - began),
    )  # fmt: skip


def _forecasts(model: "Forecaster", series: "Sequence[Snapshots]", horizon: int, future: Any) -> "list[Forecast]":
    """Return the forecast of each series from its end."""
    if len(series) > 1:
        return [model.forecast(one, horizon) for one in series]
    return [model.forecast(horizon) if future is None else model.forecast(None, horizon, future)]


def _task(series: "Sequence[Snapshots]", horizon: int, share: float, season: int | None) -> "tuple[Task | None, str]":
    """Return the held-out task, over fewer steps if series are short, and a note; None if nothing can be held out.

    Too few steps are preferred to a part to learn from that does not show the season twice.
    """
    from tokendyn.forecast.held_out import hold_out

    if not share:
        return None, ""
    tasks = []
    for steps in dict.fromkeys((horizon, max(min(map(len, series)) // 4, 1))):
        if steps <= horizon:
            with suppress(BadInputError):
                tasks.append(hold_out(series, steps, share, name=series[0].source))
    if not tasks:
        return None, "the data are too short to hold a part out: nothing says how good the model is"
    task = next((task for task in tasks if len(task.train[0]) > 2 * (season or 0)), tasks[0])
    shorter = f"the errors are those of forecasts of {task.horizon} steps: the data are short"
    return task, "" if task.horizon == horizon else shorter


def _labelled(series: "Sequence[Snapshots]") -> "list[Snapshots]":
    """Return several series with labels: their numbers where they have none."""
    if len(series) == 1:
        return list(series)
    return [dataclasses.replace(one, label=one.label or str(number)) for number, one in enumerate(series)]


def season_of(series: "Snapshots") -> int | None:
    """Return the season of a series: that of its calendar, else the one that a column shows, if there is one.

    The column is the first that changes, of fields the point that changes most.
    """
    from tokendyn.forecast.candidates import season_length

    calendar = [season for season in series.seasons if 2 * season <= len(series)]
    if calendar:
        return calendar[0]
    values = series.values
    column = int(values.std(axis=0).argmax() if series.grid is not None else (values != values[0]).any(axis=0).argmax())
    return season_length(series.values[:, column])


def usual_horizon(series: "Snapshots") -> int:
    """Return the default horizon: two seasons, at most a fifth of the data; without a season a tenth."""
    rows, season = len(series), season_of(series)
    steps = min(2 * season, rows // _FIFTH) if season and season > 1 else rows // _TENTH
    return max(min(steps, _MOST_STEPS), 1)


def _silent(share: float, line: str) -> None:
    """Ignore progress."""
