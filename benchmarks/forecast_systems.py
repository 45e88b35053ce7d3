"""Valid times on chaotic systems: the default search and TDTF() beside the peers, in equal processor seconds.

    python benchmarks/forecast_systems.py results.jsonl [--set development|report] [--noise 0 0.01 0.05]
        [--budget 3] [--seeds 0] [--systems NAME ...] [--models NAME ...]
    python benchmarks/forecast_systems.py results.jsonl --table

Each line of the file is one system, noise, budget, seed and model; lines that are there are not measured again, so that
a run that was stopped goes on. 3,000 snapshots are learned (6,000 of Hindmarsh-Rose); forecasts start at 20 places of
another orbit, and are compared with its clean values. Noise is a share of the standard deviation of each column, on
what is learned and on the windows that forecasts start from. Valid time: steps until the root mean square error over
the columns exceeds 0.4 standard deviations, the median over the starts. The ratio is the valid time of the search over
that of the best peer, each counted as at least one step.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
from chaotic_systems import DEVELOPMENT, REPORT

from tokendyn.data.snapshots import Snapshots
from tokendyn.errors import TokendynError
from tokendyn.forecast.tasks import Task, rollouts
from tokendyn.metrics import valid_prediction_times
from tokendyn.studies.forecast.comparison import contenders

PEERS = ("NVAR", "ESN", "PySINDy", "TD-DMD", "PyDMD")
STARTS, LEAD = 20, 200
KEY = ("system", "noise", "budget", "seed", "model")


def orbit(system, points, seed, folder):
    """Return an orbit, kept in a file beside the results once it has been integrated."""
    name, one = system
    path = folder / f"{name}-{points}-{seed}.npy".replace(" ", "_")
    if not path.exists():
        np.save(path, one.make(points, seed))
    return np.load(path)


def task_of(system, noise, seed, folder):
    """Return the task of one system: seeds differ in orbits and noise."""
    name, one = system
    learned = orbit(system, one.rows, 2 * seed, folder)
    tested = orbit(system, LEAD + one.horizon + 60 * (STARTS - 1), 2 * seed + 1, folder)
    rng, scale = np.random.default_rng([seed, 5]), learned.std(axis=0)
    names = tuple(f"x{i}" for i in range(learned.shape[1]))

    def snapshots(values, level):
        shaken = values + level * scale * rng.standard_normal(values.shape)
        return Snapshots(shaken, one.dt * np.arange(len(values)), one.dt, names)

    train, test, truth = (snapshots(learned, noise), snapshots(tested, noise), snapshots(tested, 0.0))
    validate = min(one.horizon, one.rows // 5)
    return Task(name, (train,), (test,), LEAD, one.horizon, STARTS, validate, (truth,))


def measure(task, contender, budget, seed):
    """Return the valid time in steps of one model, what it is, and what it took."""
    began = time.process_time()
    try:
        tuned = contender.tuner(task, budget, seed)
    except TokendynError as error:
        return {"valid": 0.0, "family": f"failed: {error}"[:80]}
    seconds = time.process_time() - began
    forecasts, truths = rollouts(task, tuned.model)
    dt = task.train[0].dt
    valid = valid_prediction_times(forecasts, truths, dt, threshold=0.4, scale=truths.std(axis=(0, 1)))
    settings = {name: str(value) for name, value in tuned.parameters.items()}
    row = {"valid": valid.median / dt, "cap": task.horizon, "family": tuned.family, "tried": tuned.tried}
    return row | {"lost": round(tuned.lost, 5), "seconds": round(seconds, 2), "settings": settings}


def table(file):
    """Print valid times in steps, the ratio of the search to the best peer, and the mean ratios."""
    rows = pd.DataFrame([json.loads(line) for line in file.read_text().splitlines()])
    rows["valid"] = rows["valid"].clip(lower=1.0)
    index = ["system", "noise", "budget"]
    means = rows.groupby([*index, "model"])["valid"].median().unstack()
    peers = means[[name for name in PEERS if name in means]].dropna(how="all")
    means = means.loc[peers.index]
    means["best peer"], means["ratio"] = peers.idxmax(axis=1), means["search"] / peers.max(axis=1)
    with pd.option_context("display.width", 200, "display.max_rows", 500, "display.max_columns", 20):
        print(means.round(2))
    for name, part in [("all", means), *means.groupby("noise"), *means.groupby("budget")]:
        ratios = part["ratio"].dropna()
        print(
            name, f"{len(ratios)} cases: geometric mean {np.exp(np.log(ratios).mean()):.3f}, worst {ratios.min():.2f}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--set", choices=["development", "report"], default="report")
    parser.add_argument("--noise", nargs="+", type=float, default=[0.0, 0.01, 0.05])
    parser.add_argument("--budget", nargs="+", type=float, default=[3.0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--systems", nargs="+", help="only these")
    parser.add_argument("--models", nargs="+", default=["search", *PEERS])
    parser.add_argument("--table", action="store_true", help="print what is in the file")
    options = parser.parse_args()
    if options.table:
        table(options.file)
        return
    systems = DEVELOPMENT if options.set == "development" else REPORT
    folder = options.file.parent / "orbits"
    folder.mkdir(parents=True, exist_ok=True)
    lines = options.file.read_text().splitlines() if options.file.exists() else []
    known = {tuple(json.loads(line)[name] for name in KEY) for line in lines}
    cases = [(b, seed, noise) for b in options.budget for seed in options.seeds for noise in options.noise]
    for budget, seed, noise in cases:
        for name in options.systems or systems:
            task = task_of((name, systems[name]), noise, seed, folder)
            partial = len(task.train[0].names) == 1
            for contender in contenders(options.models, partial=partial, longest=LEAD):
                key = (name, noise, budget, seed, contender.name)
                if key in known:
                    continue
                row = dict(zip(KEY, key, strict=True)) | measure(task, contender, budget, seed)
                with options.file.open("a") as stream:
                    stream.write(json.dumps(row) + "\n")
                print(
                    {name: row.get(name) for name in (*KEY, "valid", "cap", "family", "tried", "seconds")}, flush=True
                )


if __name__ == "__main__":
    main()
