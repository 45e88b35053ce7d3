"""A forecaster fitted to a user's series, with its errors on held-out data and its folder."""

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

#: Name of the linear model in the table of simple models, its delays without a season, and the largest number of
#: operations of its SVD.
LINEAR, _DELAYS, _DEAREST = "TD-DMD", 10, 1e10
#: The linear model is clearly better below this share of the model's error, unless the model is exact as well.
CLEARLY, EXACT = 0.9, 1e-3
#: Skills below this are not printed in full.
_LEAST_SHOWN = -99
#: Errors below this, in standard deviations, are rounding.
_ROUNDING = 1e-9
#: Least number of snapshots in which a season is sought.
_SEASONAL = 16
_UNVALIDATED = "; the series is too short for a validation part, so nothing says whether the nonlinear part is worth it"


@dataclass(frozen=True)
class FittedForecaster(Result):
    """A forecaster with the errors of its closed loop on held-out data.

    Attributes
    ----------
    model
        Model fitted to the part that was not held out.
    source
        Name of the file of the series.
    series
        ``time``, ``columns``, ``inputs``, ``dt``, ``series`` and ``fill`` of the series, needed for a forecast of the
        same table.
    task
        The held-out part; None if the model learned from all data.
    held_out
        Its closed-loop forecasts from the starts of the task.
    simple
        Closed-loop errors of simple models from the same starts, by name.
    account
        The trials of a search, and the reason for its choice; empty without a search.
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
        """Return the facts saved with the model: the series, and the error on the held-out part."""
        held_out = None if self.held_out is None else plain(self.held_out.numbers())
        return {**self.series, "source": self.source, "held_out": held_out}

    def summary(self) -> dict[str, Any]:
        """Return kind of the model, history of its training, series, and error on the held-out part, as JSON values."""
        training = getattr(self.model, "training_", None)
        head = {"status": self.status, "model": type(self.model).__name__, "training": plain(training or {})}
        return {**head, **self.record()}

    def describe(self) -> list[str]:
        """Return the reason for the model, the time of the fit, and its error beside those of simple models."""
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
        """Return a table of the errors of simple models from the same starts, and a warning if one is as good."""
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
        """Return the result of validation in training, if there was any."""
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
        """Return the closed-loop errors of the model and of simple ones by name; empty without a held-out part."""
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
        """Write the model with the facts of its data; ``tokendyn.load`` reads the model.

        Parameters
        ----------
        folder
            Folder to write; it appears only when it is complete.
        figures
            Also write figures and ``report.html``, if there is a held-out part.
        command
            Command that repeats the fit, for the record.
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
    """Return ``1 - own / other``: 1 without error, 0 for a model as good as the other, negative for a worse model.

    Errors at the level of rounding count as equal.
    """
    if max(own, other) < _ROUNDING:
        return 0.0
    if not own < float("inf"):
        return float("-inf") if other < float("inf") else 0.0
    return 1.0 - own / other if other else float(own == 0.0)


def shown(value: float) -> str:
    """Return a skill for a table; it is shortened when the other model is exact."""
    return f"{value:.3f}" if value > _LEAST_SHOWN else f"< {_LEAST_SHOWN}"


def simple_errors(task: Task, season: int | None = None) -> dict[str, float]:
    """Return the closed-loop errors of the last snapshot, the mean, the last season (if there is one), and TD-DMD.

    TD-DMD uses a season and one more snapshot as delays, or without a season ten snapshots. A model is left out if it
    cannot be fitted to the series, or is too large for a quick comparison. By default the season is that of the first
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
