"""The systems on which the author of arXiv 2602.08478 tries forecasts in public: Sprott A, B, C and a linear wave."""

from collections.abc import Sequence

from tokendyn.data.systems.public import linear_wave, sprott
from tokendyn.forecast.base import Progress
from tokendyn.forecast.tasks import Task
from tokendyn.studies.forecast.comparison import Study, compare, contenders, finished, validated

#: Largest Lyapunov exponents at the parameters used, from the literature (Sprott, Phys. Rev. E 50, 1994, table I).
EXPONENTS = {"A": 0.014, "B": 0.210, "C": 0.163}


def public(
    *,
    quick: bool = False,
    seed: int = 0,
    budget: float | None = None,
    models: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Study:
    """Compare forecasts of Sprott's flows A, B, C and of a linear wave, each from the author's start.

    ``(1.5, 1.5, .5)``, dt = .01 until t = 1,000, and ``u = .5 sin x + sin 2x + 1.5 sin 5x`` at 200 points, dt = .01:
    one run each, of which the last quarter is forecast. The parts that are learned and tested are ours.

    Parameters
    ----------
    quick
        Until t = 20, every other point of the wave, small models.
    seed
        For the searches: the systems have no chance in them.
    budget
        CPU seconds of each model's search; 15, or 1 with ``quick``.
    models
        Names of the models that take part, as in the table; all by default.
    progress
        Called with the share that is done and a line.
    """
    budget = (1.0 if quick else 15.0) if budget is None else budget
    parts = []
    for name in ("Sprott A", "Sprott B", "Sprott C", "wave"):
        task = public_task(name, quick=quick)
        chosen = contenders(models, partial=False, quick=quick, longest=min(task.lead, 200))
        parts.append((task, *compare(task, chosen, budget, seed, progress)))
    return finished("public", parts, {"quick": quick, "seed": seed, "budget": budget})


def public_task(name: str, *, quick: bool = False) -> Task:
    """Return the task of a system: the first three quarters of its run are learned, forecasts start in the last."""
    if name == "wave":
        series, exponent = linear_wave(800 if quick else 4000, cells=100 if quick else 200), 1.0
    else:
        case = name[-1]
        series, exponent = sprott(case, 2000 if quick else 100_000), EXPONENTS[case]  # type: ignore[arg-type]
    cut = 3 * len(series) // 4
    lead = min(cut // 2, 2000)
    horizon = (len(series) - cut) // 2
    tests = (series[cut - lead :],)
    return Task(name, (series[:cut],), tests, lead, horizon, 5, validated(min(cut, 4000), horizon), exponent=exponent)
