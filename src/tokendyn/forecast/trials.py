"""The trials of a search, and its result: the chosen model, the reason, and its file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tokendyn.errors import BadInputError
from tokendyn.forecast.base import Forecaster
from tokendyn.forecast.closed_loop import Forecast
from tokendyn.forecast.intervals import LEVEL
from tokendyn.forecast.kinds import kind_of
from tokendyn.forecast.scoring import LOST
from tokendyn.results import Bars, Result
from tokendyn.results.fields import check_fields
from tokendyn.runs.files import new_folder, read_json, write_json
from tokendyn.words import counted

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "tokendyn-forecast-search"
SCHEMA_VERSION = 2
#: Schema of a finished search with its model.
RESULT_SCHEMA = "tokendyn-forecaster-search"
#: Largest number of candidates in a summary.
_LISTED = 12
_RECORDED = ("family", "best", "status", "horizon", "naive_score", "seconds")
#: Names of naive models.
_NAIVE = {"Mean": "mean", "Persistence": "persistence", "Drift": "drift", "SeasonalNaive": "seasonal naive"}
#: Warn when fewer candidates than this were tried.
FEW = 10


@dataclass(frozen=True)
class Trial:
    """One candidate: its kind, score and cost.

    Attributes
    ----------
    kind, parameters
        Class of the model and its parameters.
    family
        Name of the model: naive, TD-DMD, polynomial map, fixed units, TD-TF.
    score, error
        Lost share of the horizon, and the mean error cut at 1: see :func:`tokendyn.forecast.scoring.score`.
    weights
        Number of trained parameters.
    residual
        One-step residual in training in standard deviations; NaN if not measured.
    seconds
        Processor time.
    """

    kind: str
    parameters: dict[str, Any]
    family: str
    score: float
    error: float
    weights: int
    residual: float
    seconds: float

    @property
    def key(self) -> tuple[float, float]:
        """Sort key of candidates; lower is better."""
        return self.score, self.error

    @property
    def title(self) -> str:
        """The family; for naive models with the kind."""
        period = self.parameters.get("period")
        return _NAIVE.get(self.kind, self.family) + (f" of {counted(period, 'step')}" if period else "")

    def build(self) -> Forecaster:
        """Return the model, not fitted."""
        return kind_of(self.kind)(**self.parameters)


@dataclass(frozen=True)
class SearchResult(Result, kind="forecast-search"):
    """The chosen model, with the reason.

    Attributes
    ----------
    model
        Model fitted to the whole series.
    family
        Family of the model: "TD-DMD", "polynomial map", "fixed units", "TD-TF", a naive model ("seasonal naive of 12
        steps"), or several combined.
    trials
        All candidates in the order of trial.
    best
        Index of the chosen candidate.
    status
        "completed" if all candidates were tried within the budget, else "budget".
    horizon
        Number of steps of the scored rollouts.
    naive_score
        Score of the best naive model.
    seconds
        Processor seconds of the search, including the last fit.
    """

    model: Forecaster
    family: str
    trials: tuple[Trial, ...]
    best: int
    status: str
    horizon: int
    naive_score: float
    seconds: float = 0.0

    @property
    def skill(self) -> float:
        """One minus the lost share of the horizon relative to the best naive model: 1 perfect, 0 as naive."""
        return 1.0 - self.trials[self.best].score / self.naive_score if self.naive_score else 0.0

    def notes(self) -> list[str]:
        """Return the warnings on the model."""
        notes = []
        if len(self.trials) < FEW:
            notes.append(f"only {len(self.trials)} candidates were tried; give more time")
        if self.skill <= 0.05:
            notes.append("no candidate forecasts the held-out part clearly better than a naive model")
        return notes

    def forecast(
        self, window: Any = None, steps: int | None = None, inputs: Any = None, *, level: float | None = None
    ) -> Forecast:
        """Forecast with the chosen model; see :meth:`tokendyn.forecast.Forecaster.forecast`."""
        return self.model.forecast(window, steps, inputs, level=level)

    def predict(self, steps: int, window: Any = None, inputs: Any = None) -> Any:
        """Predict with the chosen model; see :meth:`tokendyn.forecast.Forecaster.predict`."""
        return self.model.predict(steps, window, inputs)

    def predict_interval(
        self, steps: int, window: Any = None, inputs: Any = None, *, level: float = LEVEL
    ) -> tuple[Any, Any]:
        """Return the bands of the chosen model; see :meth:`tokendyn.forecast.Forecaster.predict_interval`."""
        return self.model.predict_interval(steps, window, inputs, level=level)

    def summary(self) -> dict[str, Any]:
        """Return the search in numbers and words."""
        return {
            "status": self.status, "family": self.family, "trials": len(self.trials), "horizon": self.horizon,
            "skill": self.skill, "seconds": self.seconds,
        }  # fmt: skip

    def table(self) -> "pd.DataFrame":
        """Return one row for each candidate, best first; ``lost`` is the lost share of the horizon."""
        import pandas as pd

        rows = [
            {
                "family": trial.family, "chosen": number == self.best, "lost": trial.score, "error": trial.error,
                "weights": trial.weights, "residual": trial.residual, "seconds": trial.seconds, "kind": trial.kind,
                "parameters": str(trial.parameters),
            }
            for number, trial in sorted(enumerate(self.trials), key=lambda pair: pair[1].key)
        ]  # fmt: skip
        return pd.DataFrame(rows)

    def skills(self) -> "pd.DataFrame":
        """Return the best candidate of each family, with its lost share of the horizon and its skill.

        The skill is ``1 - lost / lost of the best naive model``: 1 is perfect, 0 as good as naive; NaN where the naive
        model lost nothing.
        """
        import pandas as pd

        lost = self.table().groupby("family", sort=False)["lost"].min().sort_values(kind="stable")
        skill = 1 - lost / self.naive_score if self.naive_score else lost * np.nan
        return pd.DataFrame({"lost": lost, "skill": skill}).reset_index()

    def picture(self) -> Bars:
        """Return the lost share of the horizon for the best of each family."""
        best: dict[str, float] = {}
        for trial in sorted(self.trials, key=lambda trial: trial.key):
            best.setdefault(trial.family, trial.score)
        return Bars(list(best), list(best.values()), "share of the horizon that is lost", f"chosen: {self.family}")

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the model, and the trials beside it, into a new folder."""
        with new_folder(folder, overwrite=overwrite) as temporary:
            self.model.save(temporary / "model")
            values = {name: getattr(self, name) for name in _RECORDED}
            record = {"schema": RESULT_SCHEMA, "schema_version": 1, **values, "trials": _rows(self.trials)}
            write_json(temporary / "search.json", record)

    @classmethod
    def load(cls, folder: str | Path) -> "SearchResult":
        """Read a search written by :meth:`save`.

        Raises
        ------
        BadInputError
            If a file is missing, damaged or of a newer schema.
        """
        folder = Path(folder)
        record = read_json(folder / "search.json", schema=RESULT_SCHEMA, version=1)
        model = Forecaster.load(folder / "model")
        try:
            trials = _trials_of(record)
            values = {name: record[name] for name in _RECORDED if name != "seconds" or name in record}
            check_fields(cls, values, folder / "search.json")
            if not 0 <= values["best"] < len(trials):
                raise KeyError(f"no trial {values['best']}")
            return cls(model, trials=tuple(trials), **values)
        except (KeyError, TypeError) as error:
            raise BadInputError(f"{folder / 'search.json'} is not a whole record of a search ({error})") from None

    def describe(self) -> list[str]:
        """Return the best candidates as lines, and the reason of the choice."""
        most = _LISTED
        order = sorted(range(len(self.trials)), key=lambda number: self.trials[number].key)
        shown = order[:most] if self.best in order[:most] else [*order[: most - 1], self.best]
        lines = [f"{'':2}{'model':<34}{'window':>8}{'ridge':>9}{'noise':>9}{'lost':>11}{'weights':>9}{'seconds':>9}"]
        for number in shown:
            trial, p = self.trials[number], self.trials[number].parameters
            window = f"{p['delays']}x{p.get('stride', 1)}" if "delays" in p else ""
            size = f" of order {p['order']}" if p.get("order", 1) > 1 else f", {p['units']}" if p.get("units") else ""
            ridge, noise = (f"{p[name]:.0e}" if p.get(name) else "" for name in ("ridge", "noise"))
            smoothed = " smoothed" if p.get("smoothing") else ""
            lines.append(
                f"{'*' if number == self.best else '':2}{trial.title + size + smoothed:<34}{window:>8}{ridge:>9}"
                f"{noise:>9}{trial.score:11.3e}{trial.weights:9d}{trial.seconds:9.2f}"
            )
        if len(self.trials) > len(shown):
            lines.append(f"  and {len(self.trials) - len(shown)} more")
        lines.append(
            f"Chosen (*): {self.family}. Tried {len(self.trials)} candidates ({self.status}); each was rolled out "
            f"{counted(self.horizon, 'step')} from several starts in the held-out part. 'lost' is the share of "
            "that horizon on "
            f"which a forecast no longer holds, averaged over all thresholds up to {LOST:g} standard deviations."
        )
        if self.best != order[0]:
            lines.append(
                "Those above it were not kept: they lost more from other starts, or gain too little over a model of "
                "fewer weights."
            )
        lines.append(f"{'the best of each family':<36}{'lost':>11}{'skill against naive':>22}")
        lines += [f"  {row.family:<34}{row.lost:11.3e}{row.skill:>22.2g}" for row in self.skills().itertuples()]
        if self.model.residuals_ is not None:
            lines.append(self.model.residuals_.line())
        return lines + self.notes()


def read_trials(path: str | Path | None, data: list[float]) -> list[Trial]:
    """Return the trials of a file, none without one."""
    if path is None or not Path(path).exists():
        return []
    record = read_json(path, schema=SCHEMA, version=SCHEMA_VERSION)
    if record.get("data") != data:
        raise BadInputError(f"{path} belongs to other data or another seed; give another file, or remove it")
    try:
        return _trials_of(record)
    except (KeyError, TypeError) as error:
        raise BadInputError(f"{path} is not a whole record of a search ({error}); remove it") from None


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def write_trials(path: str | Path, data: list[float], trials: list[Trial]) -> None:
    """Write all trials so far."""
    write_json(path, {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "data": data, "trials": _rows(trials)})


def _rows(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Return trials as JSON values."""
    return [{**vars(trial), "residual": trial.residual if np.isfinite(trial.residual) else None} for trial in trials]


def _trials_of(record: Mapping[str, Any]) -> list[Trial]:
    """Return trials from the values of :func:`_rows`; raise KeyError or TypeError if they do not fit."""
    rows = [{**trial, "residual": _number(trial["residual"])} for trial in record["trials"]]
    for row in rows:
        check_fields(Trial, row, "search.json")
    return [Trial(**row) for row in rows]
