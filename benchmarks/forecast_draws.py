"""Two tasks of the studies on other draws: how far the ratio to the best linear model is a matter of luck.

    python benchmarks/forecast_draws.py noisy [--draws 8] [--budget 8]
    python benchmarks/forecast_draws.py forced [--draws 3] [--budget 30]

``noisy``: two sinusoids with 5 % noise, drawn by seeds 1, 2, ...; ``forced``: the cylinder that turns, its two
rotations starting at phases drawn by seeds 1, 2, ... . Models, search and errors are those of
``tokendyn forecast study``. One JSON object a draw and model; the last line holds median and range of TD-TF's error
over that of the best linear model.
"""

import argparse
import json

import numpy as np

from tokendyn.forecast.studies.aerodynamics import forced_task, load_contenders
from tokendyn.forecast.studies.comparison import compare, contenders
from tokendyn.forecast.studies.synthetic import signal_task


def noisy(seed, names):
    """Return one draw of the noisy signal and its models."""
    task = signal_task("noisy", 2000, seed)
    return task, contenders(names, longest=task.lead)


def forced(seed, names):
    """Return one draw of the forced flow and its models."""
    first, second = np.random.default_rng(seed).uniform(0.0, 2 * np.pi, 2)
    task = forced_task((first, second))
    return task, load_contenders(task, names)


def measure(make, seed, names, budget):
    """Print one line a model; return TD-TF's error over that of the best linear one."""
    outcomes, failures = compare(*make(seed, names), budget, seed)
    for one in outcomes:
        row = {name: one.row[name] for name in ("model", "nrmse", "worst", "tried", "search_seconds")}
        settings = {name: str(value) for name, value in one.tuned.parameters.items()}
        print(json.dumps({"draw": seed, **row, "settings": settings}), flush=True)
    for failure in failures:
        print(json.dumps({"draw": seed, "failure": failure}), flush=True)
    errors = {one.contender.name: one.row["nrmse"] for one in outcomes}
    return errors["TD-TF"] / min(errors[one.contender.name] for one in outcomes if one.contender.group == "linear")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=["noisy", "forced"])
    parser.add_argument("--draws", type=int, default=None, help="8, or 3 flows")
    parser.add_argument("--budget", type=float, default=None, help="CPU seconds of each search; 8, or 30")
    parser.add_argument("--models", nargs="+", default=["TD-TF", "TD-DMD", "PyDMD"], help="with TD-TF and a linear one")
    options = parser.parse_args()
    make, draws, budget = (noisy, 8, 8.0) if options.task == "noisy" else (forced, 3, 30.0)
    draws, budget = options.draws or draws, options.budget or budget
    ratios = [measure(make, seed, options.models, budget) for seed in range(1, draws + 1)]
    found = {"task": options.task, "draws": draws, "median_ratio": np.median(ratios)}
    print(json.dumps(found | {"least": min(ratios), "largest": max(ratios)}))


if __name__ == "__main__":
    main()
