"""What ``tokendyn forecast compare`` and ``study`` do, as experiments: models side by side, all tuned alike."""

import dataclasses
import logging
import time as clock
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tokendyn.errors import BadInputError
from tokendyn.experiments import Experiment, ProgressCallback
from tokendyn.experiments.fields import seconds_of
from tokendyn.forecast.reading import SeriesOptions, described, listed
from tokendyn.optional import missing

if TYPE_CHECKING:
    from tokendyn.data.snapshots import Snapshots
    from tokendyn.forecast.tasks import Task
    from tokendyn.runs.checkpoint import Checkpoint
    from tokendyn.studies.forecast.comparison import Contender, Study

#: Libraries that peers need.
_NEEDS = {
    "PyDMD": "pydmd", "ESN": "reservoirpy", "PySINDy": "pysindy", "encoder": "torch", "paper": "torch",
}  # fmt: skip
_TITLES = {
    "synthetic": "Synthetic signals",
    "aerodynamics": "Unsteady aerodynamics",
    "lorenz": "Lorenz 63",
    "reaction-diffusion": "Reaction-diffusion",
    "gusts": "An aerofoil in gusts",
    "public": "Systems that the author published",
}

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison(SeriesOptions, Experiment["Study"]):
    """Compare the default search, TD-TF, TD-DMD, the literal transformer and every installed peer on a file.

    Writes a folder with the table, the forecasts, figures and report.html. Peers need tokendyn[bench].

    Parameters
    ----------
    data
        Table of snapshots, as for fit.
    time
        Column with the times, as for fit.
    columns
        What to forecast, with commas between; all but time and inputs by default.
    inputs
        Columns with inputs that are known ahead, with commas between.
    series
        Column that tells several series apart.
    fill
        Fill gaps: linear or previous. By default they are errors.
    horizon
        Steps of each forecast.
    budget
        Processor time of the search of each model: 30s, 2m.
    models
        Only these, with commas between: search, TD-TF, paper, TD-DMD, PyDMD, ESN, NVAR, PySINDy, encoder, persistence,
        seasonal.
    test_fraction
        Share that is held out, on which all are compared.
    seed
        Seed of every random choice.
    """

    command: ClassVar[str] = "forecast compare"
    unit: ClassVar[str] = "models"

    data: Path = dataclasses.field(kw_only=False)
    horizon: int = 200
    budget: str = "30s"
    models: str | None = None
    test_fraction: float = 0.2
    seed: int = 0

    def outline(self) -> Sequence[str]:
        """Return what was read, and which models are left out for want of a library."""
        seconds_of(self.budget)
        return (described(self._series), *(f"left out: {line}" for line in self._contenders[1]))

    def check(self, checkpoint: "Path | str | None" = None) -> Sequence[str]:
        """Check everything that a run would check; return which models would be tuned."""
        names = ", ".join(contender.name for contender in self._contenders[0])
        return (*super().check(checkpoint), f"would tune {names} for {seconds_of(self.budget):g} s each")

    def run(
        self,
        *,
        progress: ProgressCallback | None = None,
        checkpoint: "Checkpoint | Path | str | None" = None,
        budget: float | None = None,
    ) -> "Study":
        """Tune every model and forecast the held-out part.

        Parameters
        ----------
        progress
            Called with how many hundredths are done, and with 100.
        checkpoint
            Not used: a comparison is made in one go.
        budget
            Processor seconds of the search of each model, in place of the option of this name.
        """
        from tokendyn.runs.provenance import provenance
        from tokendyn.studies.forecast.comparison import compare, finished

        began, seconds = clock.perf_counter(), seconds_of(self.budget) if budget is None else budget
        chosen, absent = self._contenders
        outcomes, failures = compare(self._task, chosen, seconds, self.seed, _shares(progress))
        names = list(self._series[0].names)
        settings = {"seed": self.seed, "budget": seconds, "horizon": self.horizon, "names": names}
        study = finished("compare", [(self._task, outcomes, [*absent, *failures])], settings)
        known = {**settings, "source": self.data.name}
        origin = provenance(known, seed=self.seed, seconds=clock.perf_counter() - began)
        return dataclasses.replace(study, provenance=origin)

    def summary(self, result: "Study") -> dict[str, Any]:
        """Return table, settings and failures."""
        return result.record()

    def write(self, result: "Study", folder: str | Path, *, command: str = "", overwrite: bool = False) -> None:
        """Write table, forecasts, figures and page; see :func:`tokendyn.studies.forecast.pages.write_study`."""
        from tokendyn.studies.forecast.pages import write_study

        subtitle = f"{self.data.name}: {described(self._series)}; forecasts of {self.horizon} steps"
        write_study(
            result, folder, title="Forecasters beside each other", subtitle=subtitle, command=command,
            overwrite=overwrite,
        )  # fmt: skip

    @cached_property
    def _series(self) -> "list[Snapshots]":
        return self.read(self.data)

    @cached_property
    def _task(self) -> "Task":
        from tokendyn.forecast.held_out import hold_out

        return hold_out(self._series, self.horizon, self.test_fraction, name=self.data.stem)

    @cached_property
    def _contenders(self) -> "tuple[list[Contender], list[str]]":
        """The models that take part, and a line for each that cannot."""
        shortest = min(len(part) for part in (*self._task.train, *self._task.tests))
        longest = min(max(shortest // 10, 2), 100)
        return chosen_contenders(listed(self.models), bool(self._series[0].input_names), longest)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Validation(Experiment["Study"]):
    """Run a validation study: generate its data, tune every model alike, and write table, figures and report.

    Parameters
    ----------
    name
        synthetic, aerodynamics, gusts, lorenz, reaction-diffusion or public.
    quick
        Short series, small grids, small models: a minute or two.
    budget
        Processor time of the search of each model on each task; the study's own by default.
    models
        Only these, with commas between: search, TD-TF, paper, TD-DMD, PyDMD, ESN, NVAR, PySINDy, encoder.
    seed
        Seed of every random choice.
    """

    command: ClassVar[str] = "forecast study"
    unit: ClassVar[str] = "study"

    name: Literal["synthetic", "aerodynamics", "gusts", "lorenz", "reaction-diffusion", "public"] = dataclasses.field(
        kw_only=False
    )
    quick: bool = False
    budget: str | None = None
    models: str | None = None
    seed: int = 0

    @property
    def profile(self) -> str:
        """``"quick"`` or ``"full"``."""
        return "quick" if self.quick else "full"

    def outline(self) -> Sequence[str]:
        """Return nothing: all is said by the options; they are checked before anything is generated."""
        from tokendyn.studies.forecast.comparison import contenders

        self._seconds(None)
        contenders(listed(self.models))
        return ()

    def check(self, checkpoint: "Path | str | None" = None) -> Sequence[str]:
        """Check the options; no data are generated."""
        return (*self.outline(), f"would run the study {self.name} ({self.profile})")

    def run(
        self,
        *,
        progress: ProgressCallback | None = None,
        checkpoint: "Checkpoint | Path | str | None" = None,
        budget: float | None = None,
    ) -> "Study":
        """Generate the data, tune every model and forecast.

        Parameters
        ----------
        progress
            Called with how many hundredths are done, and with 100.
        checkpoint
            Not used: a study is made in one go.
        budget
            Processor seconds of each search, in place of the option of this name.
        """
        from tokendyn.runs.provenance import provenance
        from tokendyn.studies.forecast.registry import STUDIES

        self.outline()
        began = clock.perf_counter()
        study = STUDIES[self.name](
            quick=self.quick, seed=self.seed, budget=self._seconds(budget), models=listed(self.models),
            progress=_shares(progress),
        )  # fmt: skip
        settings = {"study": self.name, "profile": self.profile, "budget": study.settings["budget"]}
        origin = provenance(settings, seed=self.seed, seconds=clock.perf_counter() - began)
        return dataclasses.replace(study, provenance=origin)

    def summary(self, result: "Study") -> dict[str, Any]:
        """Return table, settings and failures."""
        return result.record()

    def write(self, result: "Study", folder: str | Path, *, command: str = "", overwrite: bool = False) -> None:
        """Write table, forecasts, figures and page; see :func:`tokendyn.studies.forecast.pages.write_study`."""
        from tokendyn.studies.forecast.pages import write_study

        unit = "Lyapunov times" if self.name == "lorenz" else "time"
        write_study(
            result, folder, title=_TITLES[self.name], subtitle=f"A validation study, {self.profile} profile",
            command=command, unit=unit, overwrite=overwrite,
        )  # fmt: skip

    def _seconds(self, budget: float | None) -> float | None:
        """Return the processor seconds of each search; None for the study's own."""
        return budget if budget is not None or self.budget is None else seconds_of(self.budget)


def _shares(progress: ProgressCallback | None) -> Callable[[float, str], None]:
    """Return a callback ``(share, line)`` that reports hundredths, and logs each line once."""
    last = ""

    def share(done: float, line: str) -> None:
        nonlocal last
        if progress is not None:
            progress(round(100 * done), 100)
        if line != last:
            _log.info(line)
        last = line

    return share


def chosen_contenders(wished: list[str] | None, inputs: bool, longest: int) -> "tuple[list[Contender], list[str]]":
    """Return the models that take part in a comparison, and a line for each that cannot.

    Parameters
    ----------
    wished
        Their names; None for all.
    inputs
        Whether the data have inputs.
    longest
        Longest window, in snapshots.

    Raises
    ------
    BadInputError
        For a name that there is not.
    """
    from tokendyn.forecast.naive import Persistence, SeasonalNaive
    from tokendyn.studies.forecast.comparison import Contender, contenders, tuned_by
    from tokendyn.studies.forecast.tuning import SPACES

    known = [
        *contenders(inputs=inputs, partial=False, longest=longest),
        Contender("persistence", tuned_by(Persistence, SPACES["Persistence"], {}), "peer"),
        Contender("seasonal", tuned_by(SeasonalNaive, SPACES["SeasonalNaive"], {}), "peer"),
    ]
    names = [contender.name for contender in known]
    wrong = [name for name in wished or () if name not in names]
    if wrong:
        raise BadInputError(f"no model {', '.join(map(repr, wrong))} for these data; there are {', '.join(names)}")
    chosen = [contender for contender in known if wished is None or contender.name in wished]
    reasons = {contender.name: missing(_NEEDS[contender.name]) for contender in chosen if contender.name in _NEEDS}
    lacking = {name: reason for name, reason in reasons.items() if reason}
    absent = [f"{name}: {reason}" for name, reason in lacking.items()]
    return [contender for contender in chosen if contender.name not in lacking], absent
