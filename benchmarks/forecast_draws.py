"""Two tasks of the studies on other draws: how far the ratio to the best linear model is a matter of luck.

    python benchmarks/forecast_draws.py noisy [--draws 8] [--budget 8]
    python benchmarks/forecast_draws.py forced [--draws 2] [--budget 30]

``noisy``: two sinusoids with 5 % noise, drawn by seeds 1, 2, ...; ``forced``: the cylinder that turns, its two
rotations starting at other phases. Models, search and errors are those of ``tokendyn forecast study``. One JSON object
a draw and model; the last line holds median and range of the search's error over that of the best linear model.
"""

import argparse
import json
import statistics

from tokendyn.studies.forecast.aerodynamics_study import forced_task, load_contenders
from tokendyn.studies.forecast.comparison import compare, contenders
from tokendyn.studies.forecast.synthetic_study import signal_task

#: Phases of the rotations of further flows.
FLOWS = ((4.0, 5.0), (1.0, 3.3))


def noisy(draw, names):
    """Return one draw of the noisy signal, its models, and the seed of the searches."""
    task = signal_task("noisy", 2000, draw)
    return task, contenders(names, longest=task.lead), draw


def forced(draw, names):
    """Return one of the further flows, its models, and the seed of the searches."""
    task = forced_task(FLOWS[draw - 1])
    return task, load_contenders(task, names), 0


def measure(make, draw, names, budget):
    """Print one line for each model; return the search's error over that of the best linear one."""
    task, models, seed = make(draw, names)
    outcomes, failures = compare(task, models, budget, seed)
    for one in outcomes:
        row = {name: one.row[name] for name in ("model", "nrmse", "worst", "tried", "search_seconds")}
        settings = {name: str(value) for name, value in one.tuned.parameters.items()}
        print(json.dumps({"draw": draw, **row, "settings": settings}), flush=True)
    for failure in failures:
        print(json.dumps({"draw": draw, "failure": failure}), flush=True)
    errors = {one.contender.name: one.row["nrmse"] for one in outcomes}
    return errors["search"] / min(errors[one.contender.name] for one in outcomes if one.contender.group == "linear")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=["noisy", "forced"])
    parser.add_argument("--draws", type=int, default=None, help="8 noises, or 2 flows")
    parser.add_argument("--budget", type=float, default=None, help="CPU seconds of each search; 8, or 30")
    parser.add_argument(
        "--models", nargs="+", default=["search", "TD-DMD", "PyDMD"], help="with search and a linear one"
    )
    options = parser.parse_args()
    make, draws, budget = (noisy, 8, 8.0) if options.task == "noisy" else (forced, len(FLOWS), 30.0)
    if options.draws and make is forced and options.draws > draws:
        parser.error(f"there are {draws} further flows")
    draws, budget = options.draws or draws, options.budget or budget
    ratios = [measure(make, draw, options.models, budget) for draw in range(1, draws + 1)]
    found = {"task": options.task, "draws": draws, "median_ratio": statistics.median(ratios)}
    print(json.dumps(found | {"least": min(ratios), "largest": max(ratios)}))


if __name__ == "__main__":
    main()
