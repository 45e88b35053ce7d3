"""A forecaster that was fitted to a user's series: how well it does on what was held out, and its folder."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokendyn.errors import TokendynError
from tokendyn.forecast.base import Forecaster
from tokendyn.forecast.candidates import season_length
from tokendyn.forecast.held_out import HeldOut, measure
from tokendyn.forecast.naive import Mean, Persistence, SeasonalNaive
from tokendyn.forecast.reading import series_of
from tokendyn.forecast.store import DATA_SCHEMA, DATA_SCHEMA_VERSION, plain
from tokendyn.forecast.tasks import Task
from tokendyn.forecast.tddmd import TDDMD
from tokendyn.forecast.tdtf import TDTF
from tokendyn.results import Bars, Result
from tokendyn.runs.files import new_folder, write_json

if TYPE_CHECKING:
    import pandas as pd

#: How the linear model is called in the table of simple ones, its delays without a season, and the operations of its
#: SVD at most.
LINEAR, _DELAYS, _DEAREST = "TD-DMD", 10, 1e10
#: Below this share of the error of the model the linear one is clearly better, if the model is not exact all the same.
CLEARLY, EXACT = 0.9, 1e-3
#: Skills below this are not written out.
_LEAST_SHOWN = -99
#: Errors below this, in standard deviations, are rounding.
_ROUNDING = 1e-9
#: Snapshots from which on a season is looked for.
_SEASONAL = 16
_UNVALIDATED = "; the series is too short for a validation part, so nothing says whether the nonlinear part is worth it"


@dataclass(frozen=True)
class FittedForecaster(Result):
    """A forecaster, and what its closed loop is worth on what it did not learn from.

    Attributes
    ----------
    model
        Fitted to the part that was not held out.
    source
        Name of the file that the series came from.
    series
        ``time``, ``columns``, ``inputs``, ``dt``, ``series`` and ``fill`` of the series: what a forecast of the same
        table needs to know.
    task
        What was held out; None when the model learned from everything.
    held_out
        Its closed-loop forecasts from the starts of the task.
    simple
        Closed-loop error of simple models from the same starts, by name.
    account
        What a search tried, and why it chose this model; empty without a search.
    """

    model: Forecaster
    source: str
    series: Mapping[str, Any]
    task: Task | None = None
    held_out: HeldOut | None = None
    simple: Mapping[str, float] = field(default_factory=dict)
    account: str = ""

    @property
    def status(self) -> str:
        """``"completed"``."""
        return "completed"

    def record(self) -> dict[str, Any]:
        """Return what is kept beside the model: the series, and the error on what was held out."""
        held_out = None if self.held_out is None else plain(self.held_out.numbers())
        return {**self.series, "source": self.source, "held_out": held_out}

    def summary(self) -> dict[str, Any]:
        """Return kind of the model, course of its training, series, and error on what was held out, as JSON values."""
        training = getattr(self.model, "training_", None)
        head = {"status": self.status, "model": type(self.model).__name__, "training": plain(training or {})}
        return {**head, **self.record()}

    def describe(self) -> list[str]:
        """Return why this model, how long the fit took, and its error beside that of simple models."""
        lines = self.account.splitlines()
        lines.append(f"fitted {type(self.model).__name__} in {self.model.fit_seconds_:.1f} s{self._validation()}")
        if getattr(self.model, "hint_", ""):
            lines.append(f"note: {self.model.hint_}")
        if self.held_out is not None:
            lines += self.held_out.describe()
        if self.held_out is not None and self.simple:
            lines += self._comparison(self.held_out.nrmse)
        return lines

    def _comparison(self, own: float) -> list[str]:
        """Return a table of the errors of simple models from the same starts, and a warning where one is as good."""
        width = max(map(len, self.simple)) + 2
        lines = [f"{'from the same starts':<{width}} {'error':>9}  skill of the model against it"]
        lines += [
            f"  {name:<{width}}{error:9.3g}  {shown(skill(own, error)):>7}" for name, error in self.simple.items()
        ]
        naive = [error for name, error in self.simple.items() if not name.startswith(LINEAR)]
        better = [name for name, error in self.simple.items() if error < CLEARLY * own and own > EXACT]
        linear = [name for name in better if name.startswith(LINEAR)]
        if naive and own >= min(naive):
            lines.append("warning: the model is no better than one that learns nothing; do not rely on its forecasts")
        elif linear:
            lines.append(f"warning: {linear[0]} is clearly better; fit that")
        return lines

    def _validation(self) -> str:
        """Say what validation preferred in training, if there was any."""
        record = getattr(self.model, "training_", None)
        if record is None:
            return ""
        if record.get("error") is None:
            return _UNVALIDATED
        if isinstance(self.model, TDTF):
            kept = f"iteration {record['chosen']} was kept" if record["chosen"] else "the linear model was kept"
            return f"; validation error {record['error']:.3g}, that of TD-DMD {record['linear_error']:.3g}; {kept}"
        return f"; validation error of one step {record['error']:.3g}"

    def errors(self) -> dict[str, float]:
        """Return the closed-loop errors of the model and of simple ones by name; empty if nothing was held out."""
        own = {} if self.held_out is None else {type(self.model).__name__: self.held_out.nrmse}
        return {**own, **self.simple}

    def table(self) -> "pd.DataFrame":
        """Return the closed-loop errors in standard deviations, one row for each model."""
        import pandas as pd

        return pd.DataFrame(list(self.errors().items()), columns=["model", "nrmse"])

    def picture(self) -> Bars:
        """Return the closed-loop errors."""
        errors = self.errors()
        return Bars(list(errors), list(errors.values()), "closed-loop error (standard deviations)")

    def save(self, folder: str | Path, *, figures: bool = False, command: str = "", overwrite: bool = False) -> None:
        """Write the model with what is known of its data; ``tokendyn.load`` reads the model.

        Parameters
        ----------
        folder
            Folder that appears when it is whole.
        figures
            Also write figures and ``report.html``, where something was held out.
        command
            The command that repeats it, for the record.
        overwrite
            Replace an existing folder.

        Raises
        ------
        OutputError
            If the folder exists and ``overwrite`` is not set, or cannot be written.
        """
        record = {"schema": DATA_SCHEMA, "schema_version": DATA_SCHEMA_VERSION, **self.record()}
        record |= {"account": self.account, "command": command}
        with new_folder(folder, overwrite=overwrite) as temporary:
            self.model.save(temporary, overwrite=True)
            if figures and self.task is not None and self.held_out is not None:
                record["figures"] = _write_page(self, self.task, self.held_out, record, temporary)
            write_json(temporary / "data.json", record)


def _write_page(
    fitted: FittedForecaster, task: Task, held_out: HeldOut, record: dict[str, Any], folder: Path
) -> list[dict[str, str]]:
    """Write figures and page into a folder; return names and captions of the figures."""
    from tokendyn.forecast.pages import model_figures, model_report, write_pictures
    from tokendyn.runs.provenance import provenance
    from tokendyn.show import write_report

    model = fitted.model
    drawn = model_figures(model, held_out, task.tests[0], task.lead, record["columns"])
    figures = write_pictures(drawn, folder)
    settings = model._parameter_record()
    origin = provenance(settings, seed=settings.get("random_state"), seconds=model.fit_seconds_)
    write_report(model_report(model, {**record, "figures": figures}, folder, origin), folder / "report.html")
    return figures


def skill(own: float, other: float) -> float:
    """Return ``1 - own / other``: 1 without error, 0 for a model as good as the other, negative for a worse one.

    Errors at the level of rounding count as equal.
    """
    if max(own, other) < _ROUNDING:
        return 0.0
    if not own < float("inf"):
        return float("-inf") if other < float("inf") else 0.0
    return 1.0 - own / other if other else float(own == 0.0)


def shown(value: float) -> str:
    """Return a skill for a table; against a model that is exact it would fill the line."""
    return f"{value:.3f}" if value > _LEAST_SHOWN else f"< {_LEAST_SHOWN}"


def simple_errors(task: Task, season: int | None = None) -> dict[str, float]:
    """Return the closed-loop errors of the last snapshot, the mean, where there is one the last season, and TD-DMD.

    TD-DMD looks at a season and one snapshot, or without a season at ten snapshots. A model that cannot be fitted to
    the series, or is too large for a comparison on the way, is left out. By default the season is that of the first
    column.
    """
    first = task.train[0].values
    season = season_length(first[:, 0]) if season is None and len(first) >= _SEASONAL else season
    simple: dict[str, Forecaster] = {"the last snapshot": Persistence(), "the mean": Mean()}
    if season and season < len(first) // 2:
        simple[f"the last season of {season}"] = SeasonalNaive(season)
    delays = season + 1 if season else _DELAYS
    rows, columns = sum(map(len, task.train)), delays * first.shape[1]
    if rows * columns * min(rows, columns) <= _DEAREST:
        simple[f"{LINEAR} of {delays} delays"] = TDDMD(delays=delays)
    errors = {}
    for name, model in simple.items():
        with suppress(TokendynError):
            errors[name] = measure(task, model.fit(series_of(task.train))).nrmse
    return errors
