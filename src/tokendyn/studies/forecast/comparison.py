"""What all validation studies share: the models that take part, and one way to tune and to compare them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

from tokendyn.errors import BadInputError, TokendynError
from tokendyn.forecast.base import Forecaster, Progress
from tokendyn.forecast.held_out import error_scale
from tokendyn.forecast.store import plain
from tokendyn.forecast.tasks import Task, rollouts
from tokendyn.metrics import normalised_error, valid_prediction_times
from tokendyn.results import Bars, Result
from tokendyn.studies.forecast.tuning import SPACES, Space, Tuned, tune

if TYPE_CHECKING:
    import pandas as pd

SCHEMA, SCHEMA_VERSION = "tokendyn-forecast-study", 1


#: Chooses settings on the training series of a task within processor seconds, by a seed, and fits them.
Tuner = Callable[[Task, float, int], Tuned]


@dataclass(frozen=True)
class Contender:
    """One model of a comparison.

    Attributes
    ----------
    name
        For tables.
    tuner
        Chooses its settings and fits it.
    group
        "ours", "linear", or "peer".
    one_series
        It learns from one series only.
    """

    name: str
    tuner: Tuner
    group: str
    one_series: bool = False


def tuned_by(
    kind: Callable[..., Forecaster], space: Space, first: dict[str, Any], also: Sequence[dict[str, Any]] = ()
) -> Tuner:
    """Return the tuner of a peer: ``first`` and ``also``, then settings that ``space`` draws."""

    def tuner(task: Task, budget: float, seed: int) -> Tuned:
        values, dt, inputs = _learned(task)
        return tune(
            kind, space, values, dt, horizon=task.validate, budget=budget, inputs=inputs, longest=task.lead, seed=seed,
            first=[first, *also],
        )  # fmt: skip

    return tuner


def default_search(task: Task, budget: float, seed: int) -> Tuned:
    """Return the choice of :func:`tokendyn.forecast.auto_forecaster`: the model of a user who names no model."""
    from tokendyn.forecast import auto_forecaster

    values, dt, inputs = _learned(task)
    result = auto_forecaster(
        values, dt=dt, inputs=inputs, horizon=task.validate, budget=budget, longest=task.lead, random_state=seed
    )
    best = result.trials[result.best]
    return Tuned(
        model=result.model, parameters=best.parameters, family=result.family, lost=best.score,
        tried=len(result.trials), failed=0, seconds=result.seconds,
    )  # fmt: skip


def default_tdtf(task: Task, budget: float, seed: int) -> Tuned:
    """Return ``TDTF()`` as it is by default, in the given time."""
    from tokendyn.forecast import TDTF

    values, dt, inputs = _learned(task)
    began = time.process_time()
    model = TDTF(horizon=task.validate, budget=budget, longest=task.lead, random_state=seed)
    model.fit(values, dt=dt, inputs=inputs)
    return Tuned(
        model=model, parameters=model.chosen_, family=model.family, lost=model.training_["lost"],
        tried=model.training_["tried"], failed=0, seconds=time.process_time() - began,
    )  # fmt: skip


def _learned(task: Task) -> tuple[list[np.ndarray], float, list[np.ndarray] | None]:
    """Return the training series of a task, their step, and their inputs."""
    inputs = [one.inputs for one in task.train if one.inputs is not None]
    return [one.values for one in task.train], task.train[0].dt, inputs or None


@dataclass(frozen=True)
class Outcome:
    """How one model did on one task; ``forecasts`` are NaN behind a divergence."""

    contender: Contender
    tuned: Tuned
    forecasts: Float[np.ndarray, "starts time features"]
    row: dict[str, Any]


@dataclass(frozen=True)
class Study(Result, kind="forecast-study"):
    """The result of a study, or of a comparison on one's own data.

    Attributes
    ----------
    name
        Its name on the command line.
    rows
        The table: one row for each task and model.
    arrays
        What its figures are drawn from, by ``task/what``.
    settings
        Profile, seed, budget, and the settings that the search chose, as JSON can hold them.
    failures
        Models that could not be fitted, and why.
    provenance
        Versions, machine kind, seed, settings, wall time; empty where the study was called as a function.
    """

    name: str
    rows: tuple[dict[str, Any], ...]
    arrays: dict[str, np.ndarray] = field(repr=False)
    settings: dict[str, Any] = field(repr=False)
    failures: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def status(self) -> str:
        """``"completed"``, or ``"failed"`` when no model could be fitted."""
        return "completed" if self.rows else "failed"

    def summary(self) -> dict[str, Any]:
        """Return how it ended, and :meth:`record`."""
        return {"status": self.status, **self.record()}

    def record(self) -> dict[str, Any]:
        """Return table, settings and failures as JSON values; what is not finite is None."""
        head = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "study": self.name}
        return head | {"rows": plain(self.rows), "settings": plain(self.settings), "failures": list(self.failures)}

    def table(self) -> "pd.DataFrame":
        """Return one row for each task and model."""
        import pandas as pd

        return pd.DataFrame(list(self.rows))

    def picture(self) -> Bars:
        """Return the median closed-loop error of each model on each task."""
        names = [f"{row['task']}: {row['model']}" for row in self.rows]
        return Bars(names, [float(row["nrmse"]) for row in self.rows], "closed-loop error (standard deviations)")

    def describe(self) -> list[str]:
        """Return the table as aligned text."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        cells = [[_cell(row.get(name)) for name in names] for row in self.rows]
        widths = [max([len(name), *(len(line[i]) for line in cells)]) for i, name in enumerate(names)]
        return [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in [names, *cells]
        ] + [f"not fitted: {failure}" for failure in self.failures]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def contenders(
    names: Sequence[str] | None = None,
    *,
    inputs: bool = False,
    partial: bool = True,
    quick: bool = False,
    longest: int = 100,
) -> tuple[Contender, ...]:
    """Return the models of a study: the default search, TD-TF by default, the literal transformer, and the peers.

    Parameters
    ----------
    names
        Only these; all by default.
    inputs
        Leave out those that take no inputs.
    partial
        The state is not wholly seen: PySINDy, which has no delays, is left out.
    quick
        Small models only, and not the encoder.
    longest
        Longest window that the task allows.

    Raises
    ------
    BadInputError
        For a name that there is not.
    """
    from tokendyn.forecast import TDDMD, PaperTDTF
    from tokendyn.rivals.forecast import ESN, NVAR, PyDMDHankel, PySINDy, TorchEncoder

    linear = linear_sweep(longest, quick=quick)
    hankel = [{"delays": one["delays"], "rank": one["rank"] or 0} for one in linear]
    warmup = {"warmup": min(longest, 100)}

    def esn(rng: np.random.Generator) -> dict[str, Any]:
        return SPACES["ESN"](rng) | warmup

    reservoir = tuned_by(ESN, esn, warmup | ({"units": 100} if quick else {}))
    polynomial = tuned_by(NVAR, SPACES["NVAR"], {"delays": 3, "stride": min(3, max(longest // 3, 1))})
    models = [
        Contender("search", default_search, "ours"),
        Contender("TD-TF", default_tdtf, "ours"),
        Contender("paper", tuned_by(PaperTDTF, SPACES["PaperTDTF"], {"delays": min(10, longest)}), "ours"),
        Contender("TD-DMD", tuned_by(TDDMD, SPACES["TDDMD"], linear[0], linear[1:]), "linear"),
        Contender("PyDMD", tuned_by(PyDMDHankel, SPACES["PyDMDHankel"], hankel[0], hankel[1:]), "linear", True),
        Contender("ESN", reservoir, "peer"),
        Contender("NVAR", polynomial, "peer"),
        Contender("PySINDy", tuned_by(PySINDy, SPACES["PySINDy"], {}), "peer"),
        Contender("encoder", tuned_by(TorchEncoder, SPACES["TorchEncoder"], {"delays": min(16, longest)}), "peer"),
    ]
    known = [contender.name for contender in models]
    absent = [name for name in names or () if name not in known]
    if absent:
        raise BadInputError(f"no model {', '.join(map(repr, absent))}; there are {', '.join(known)}")
    out = ({"PyDMD"} if inputs else set()) | ({"PySINDy"} if partial else set()) | ({"encoder"} if quick else set())
    return tuple(one for one in models if one.name not in out and (names is None or one.name in names))


#: TD-TF without its nonlinear part: TD-DMD by least squares.
LINEAR: dict[str, Any] = {"units": 0, "noise": 0.0, "ridge": 0.0, "validation_fraction": 0.0}


def linear_sweep(longest: int, *, quick: bool = False) -> tuple[dict[str, Any], ...]:
    """Return the settings that every linear model tries first: windows from short to as long as the task allows.

    What is nearly linear is forecast best from long windows and, without noise, without truncation.
    """
    delays, ranks = ((20, 100), (None,)) if quick else ((20, 60, 100, 200, 400), (None, 10, 30))
    fitting = [count for count in delays if count <= longest] or [longest]
    return tuple({"delays": count, "rank": rank} for rank in ranks for count in fitting)


def validated(rows: int, horizon: int) -> int:
    """Return the steps of validation rollouts: the task's horizon, or most of the part that is held out of training."""
    return max(min(horizon, int(0.24 * rows)), 1)


def compare(
    task: Task, models: Sequence[Contender], budget: float, seed: int, progress: Progress | None = None
) -> tuple[list[Outcome], list[str]]:
    """Tune each model on the training series, forecast from every start of the tests, and return what came out.

    Nothing of the tests is seen before the settings are chosen.

    Parameters
    ----------
    task, models
        What is compared.
    budget
        CPU seconds of the search, the same for every model.
    seed
        For the searches.
    progress
        Called with the share that is done and a line.

    Raises
    ------
    BadInputError
        If the tests are too short.
    """
    outcomes, failures = [], []
    for number, contender in enumerate(models):
        if progress is not None:
            progress(number / len(models), f"{task.name}: {contender.name}")
        if contender.one_series and len(task.train) > 1:
            failures.append(f"{task.name}, {contender.name}: learns from one series only")
            continue
        try:
            with threadpool_limits(limits=1):
                outcomes.append(_outcome(task, contender, budget, seed))
        except BadInputError:
            raise
        except TokendynError as error:
            failures.append(f"{task.name}, {contender.name}: {error}")
    return outcomes, failures


def _outcome(task: Task, contender: Contender, budget: float, seed: int) -> Outcome:
    """Tune and measure one model."""
    tuned = contender.tuner(task, budget, seed)
    began = time.process_time()
    forecasts, truths = rollouts(task, tuned.model)
    seconds = time.process_time() - began
    scale = error_scale(task, tuned.model)
    errors = np.sqrt((normalised_error(forecasts, truths, scale) ** 2).mean(axis=1))
    valid = valid_prediction_times(forecasts, truths, tuned.model.dt_, task.exponent, 0.4, scale)
    row = {
        "task": task.name,
        "model": contender.name,
        "family": tuned.family,
        "group": contender.group,
        "nrmse": float(np.median(errors)),
        "worst": float(errors.max()),
        "valid_time": valid.median,
        "lower": valid.lower,
        "upper": valid.upper,
        "diverged": int(np.isnan(forecasts).any(axis=(1, 2)).sum()),
        "starts": len(forecasts),
        "parameters": getattr(tuned.model, "parameters_", None),
        "tried": tuned.tried,
        "fit_seconds": tuned.model.fit_seconds_,
        "search_seconds": tuned.seconds,
        "microseconds_a_step": 1e6 * seconds / forecasts[..., 0].size,
    }
    return Outcome(contender, tuned, forecasts, row)


def arrays_of(task: Task, outcomes: Sequence[Outcome], kept: int = 3) -> dict[str, np.ndarray]:
    """Return truth and forecasts of the first ``kept`` starts, for figures."""
    if not outcomes:
        return {}
    truths = rollouts(task, outcomes[0].tuned.model)[1]
    arrays = {f"{task.name}/truth": truths[:kept], f"{task.name}/dt": np.array(task.train[0].dt)}
    return arrays | {f"{task.name}/{outcome.contender.name}": outcome.forecasts[:kept] for outcome in outcomes}


def chosen(task: Task, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the settings that the search chose, by ``task/model``."""
    return {
        f"{task.name}/{outcome.contender.name}": outcome.tuned.parameters | {"lost": outcome.tuned.lost}
        for outcome in outcomes
    }


def finished(
    name: str,
    parts: Sequence[tuple[Task, list[Outcome], list[str]]],
    settings: dict[str, Any],
    arrays: dict[str, np.ndarray] | None = None,
) -> Study:
    """Put the parts of a study together."""
    return Study(
        name,
        tuple(outcome.row for _, outcomes, _ in parts for outcome in outcomes),
        {name: array for task, outcomes, _ in parts for name, array in arrays_of(task, outcomes).items()}
        | (arrays or {}),
        settings | {"chosen": {k: v for task, outcomes, _ in parts for k, v in chosen(task, outcomes).items()}},
        tuple(failure for _, _, failures in parts for failure in failures),
    )
