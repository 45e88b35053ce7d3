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
from tokendyn.forecast.tdtf import TDTF
from tokendyn.results import Bars, Result
from tokendyn.runs.files import new_folder, write_json

if TYPE_CHECKING:
    import pandas as pd

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
        if self.held_out is not None:
            lines.append(self.held_out.line())
        if self.held_out is not None and self.simple:
            lines.append("beside it: " + ", ".join(f"{name} {error:.3g}" for name, error in self.simple.items()))
            if self.held_out.nrmse >= min(self.simple.values()):
                lines.append("warning: the model is no better than the best of these; do not rely on its forecasts")
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


def simple_errors(task: Task, season: int | None = None) -> dict[str, float]:
    """Return the closed-loop errors of the last snapshot, the mean and, where there is one, the last season.

    A model that cannot be fitted to the series is left out. By default the season is that of the first column.
    """
    first = task.train[0].values
    season = season_length(first[:, 0]) if season is None and len(first) >= _SEASONAL else season
    simple: dict[str, Forecaster] = {"the last snapshot": Persistence(), "the mean": Mean()}
    if season and season < len(first) // 2:
        simple[f"the last season of {season}"] = SeasonalNaive(season)
    errors = {}
    for name, model in simple.items():
        with suppress(TokendynError):
            errors[name] = measure(task, model.fit(series_of(task.train))).nrmse
    return errors
