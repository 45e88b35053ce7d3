"""Where trained attention pays: TD-TF with it, without it, and other models, in equal processor seconds.

    python benchmarks/forecast_attention.py results.jsonl [--budget 6] [--seeds 0] [--systems NAME ...]
        [--models NAME ...]
    python benchmarks/forecast_attention.py results.jsonl --table

Systems with many delays, few data, and information at irregular places of the window; each was written down before any
model was run on it. Inputs u are known ahead. ``x`` is what is forecast, from 20 places of another orbit:

switch     x' = 0.5 x + sin 2u(k - 8 or k - 22), by the sign of a second input, which keeps it for some 15 steps
amplitude  x' = 0.5 x + sin 2u(k - d), d = 4 + 20 |s|, s a slow second input
marker     an input pulse of height a returns as a pulse of one unit 4 + 20 a steps later, and decays by 0.7
age        x' = 0.5 x + sin(age of the last input pulse / 3): only the newest pulse counts
burst      x' = 0.9 x + 0.5 sin(3 x(k - d)), autonomous, d = 6 or 20 as x(k) is above or below 0
mg23, mg30 Mackey-Glass of delay 23 and 30
mgstate    Mackey-Glass whose delay is 15 + 8 x
outliers   x of Lorenz, 5 % noise, one row in fifty is an outlier of three deviations

400 to 800 rows are learned. The error is the root mean square over a horizon of 40 steps (of Mackey-Glass and Lorenz
100) in standard deviations, the median over the starts. ``attention`` and ``uniform`` draw
the same settings of TDTF, each with a sixth of the time; their best by validation rollouts is fitted to everything.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from chaotic_systems import DEVELOPMENT

from tokendyn.data.snapshots import Snapshots
from tokendyn.forecast import TDTF
from tokendyn.forecast.tasks import Task, rollouts
from tokendyn.studies.forecast.comparison import contenders, tuned_by

LEAD, STARTS, TEST = 60, 20, 700
KEY = ("system", "budget", "seed", "model")


def smooth(rng, rows, memory):
    """Return an AR(1) input of deviation 1."""
    values = np.zeros(rows)
    for k in range(1, rows):
        values[k] = memory * values[k - 1] + np.sqrt(1 - memory**2) * rng.standard_normal()
    return values


def pulses(rng, rows, share):
    """Return pulses of random height at random rows."""
    return (rng.random(rows) < share) * rng.uniform(0.1, 1.0, rows)


def driven(rows, inputs, lag, force):
    """Return x of ``x' = 0.5 x + force(u(k - lag(k)))``."""
    x = np.zeros(rows)
    for k in range(rows - 1):
        x[k + 1] = 0.5 * x[k] + force(inputs[max(k - lag(k), 0)])
    return x


def switch(rng, rows):
    u, turns = smooth(rng, rows, 0.8), rng.random(rows) < 1 / 15
    s = np.where(np.cumsum(turns) % 2, 1.0, -1.0)
    return driven(rows, u, lambda k: 8 if s[k] > 0 else 22, lambda v: np.sin(2 * v)), np.stack([u, s], axis=1)


def amplitude(rng, rows):
    u, s = smooth(rng, rows, 0.8), np.clip(0.4 * smooth(rng, rows, 0.95), -1, 1)
    lag = 4 + np.round(20 * np.abs(s)).astype(int)
    return driven(rows, u, lambda k: lag[k], lambda v: np.sin(2 * v)), np.stack([u, s], axis=1)


def marker(rng, rows):
    u, x, due = pulses(rng, rows, 0.06), np.zeros(rows), np.zeros(rows + 40)
    for k in range(rows - 1):
        if u[k]:
            due[k + 4 + round(20 * u[k])] += 1.0
        x[k + 1] = 0.7 * x[k] + due[k]
    return x, u[:, None]


def age(rng, rows):
    u, x, since = (pulses(rng, rows, 0.07) > 0).astype(float), np.zeros(rows), 0
    for k in range(rows - 1):
        since = 0 if u[k] else since + 1
        x[k + 1] = 0.5 * x[k] + np.sin(min(since, 28) / 3)
    return x, u[:, None]


def burst(rng, rows):
    x = list(rng.standard_normal(30))
    for _ in range(rows + 300):
        x.append(0.9 * x[-1] + 0.5 * np.sin(3 * x[-1 - (6 if x[-1] > 0 else 20)]))
    return np.array(x[-rows:]), None


def mackey_glass(lag):
    """Return Mackey-Glass by Heun's steps of a tenth, its lag a function of x, sampled at 1."""

    def make(rng, rows):
        x = list(1.0 + 0.1 * rng.standard_normal(400))

        def slope(now, before):
            return 0.2 * before / (1 + before**10) - 0.1 * now

        for _ in range(10 * (rows + 300)):
            back = round(10 * min(lag(x[-1]), 39.0))
            ahead = x[-1] + 0.1 * slope(x[-1], x[-1 - back])
            x.append(x[-1] + 0.05 * (slope(x[-1], x[-1 - back]) + slope(ahead, x[-back])))
        return np.array(x[-10 * rows :: 10]), None

    return make


def outliers(rng, rows):
    x = DEVELOPMENT["Lorenz, x"].make(rows, int(rng.integers(1000)))[:, 0]
    return x + x.std() * (
        0.05 * rng.standard_normal(rows) + 3 * rng.choice([-1, 0, 1], rows, p=[0.01, 0.98, 0.01])
    ), None


SYSTEMS = {
    "switch": (switch, 800, 40), "amplitude": (amplitude, 800, 40), "marker": (marker, 800, 40), "age": (age, 800, 40),
    "burst": (burst, 800, 40), "mg23": (mackey_glass(lambda _: 23.0), 500, 100),
    "mg30": (mackey_glass(lambda _: 30.0), 800, 100), "mgstate": (mackey_glass(lambda x: 15.0 + 8.0 * x), 800, 100),
    "outliers": (outliers, 400, 100),
}  # fmt: skip


def task_of(name, seed):
    """Return the task of one system: what is learned and what is forecast are two orbits."""
    make, rows, horizon = SYSTEMS[name]
    parts = []
    for number, length in enumerate((rows, TEST)):
        x, u = make(np.random.default_rng([seed, number, sorted(SYSTEMS).index(name)]), length)
        named = () if u is None else tuple(f"u{k}" for k in range(u.shape[1]))
        parts.append(Snapshots(x[:, None], np.arange(length, dtype=float), 1.0, ("x",), u, named))
    return Task(name, (parts[0],), (parts[1],), LEAD, horizon, STARTS, min(horizon, rows // 10))


def attending(attention, budget):
    """Return the tuner of TDTF with trained attention or without; all else is drawn alike."""

    def build(**settings):
        return TDTF(attention=attention, gate=False, budget=budget / 6, **settings)

    def space(rng):
        return {
            "delays": int(rng.choice([10, 20, 30])), "units": int(rng.choice([10, 20, 40])),
            "rank": int(rng.choice([2, 4])),
            "noise": float(rng.choice([1e-4, 1e-3, 1e-2])), "ridge": float(rng.choice([1e-9, 1e-6, 1e-3])),
        }  # fmt: skip

    return tuned_by(build, space, {"delays": 25, "units": 20, "rank": 4, "noise": 1e-3, "ridge": 1e-6})


def models(task, budget):
    """Return the models by name."""
    inputs = task.train[0].inputs is not None
    peers = contenders(["search", "TD-TF", "TD-DMD", "NVAR"], inputs=inputs, longest=40)
    ours = {"attention": attending(True, budget), "uniform": attending(False, budget)}
    return {one.name: one.tuner for one in peers} | ours


def measure(task, tuner, budget, seed):
    """Return the error of one model, what it is, and what it took."""
    tuned = tuner(task, budget, seed)
    forecasts, truths = rollouts(task, tuned.model)
    errors = np.sqrt(np.minimum((forecasts - truths) ** 2, 1e6).mean(axis=(1, 2))) / truths.std()
    errors = np.nan_to_num(errors, nan=1e3)
    family = getattr(tuned.model, "family", tuned.family)
    return {
        "error": float(np.median(errors)),
        "family": family,
        "seconds": round(tuned.seconds, 1),
        "tried": tuned.tried,
    }


def table(file):
    """Print the errors, and those with attention by those without and by the best of the others."""
    rows = pd.DataFrame([json.loads(line) for line in file.read_text().splitlines()])
    means = rows.groupby(["system", "model"])["error"].median().unstack()
    means["by uniform"] = means["attention"] / means["uniform"]
    means["by best other"] = means["attention"] / means.drop(columns=["attention", "uniform", "by uniform"]).min(axis=1)
    print(means.round(3).to_string())
    print(rows[rows["model"].isin(["search", "TD-TF"])].pivot_table("family", "system", "model", "first").to_string())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--budget", type=float, default=6.0)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--models", nargs="+", help="only these")
    parser.add_argument("--table", action="store_true", help="print what is in the file")
    options = parser.parse_args()
    if options.table:
        table(options.file)
        return
    lines = options.file.read_text().splitlines() if options.file.exists() else []
    known = {tuple(json.loads(line)[name] for name in KEY) for line in lines}
    for seed in options.seeds:
        for name in options.systems:
            task = task_of(name, seed)
            for model, tuner in models(task, options.budget).items():
                key = (name, options.budget, seed, model)
                if key in known or (options.models and model not in options.models):
                    continue
                row = dict(zip(KEY, key, strict=True)) | measure(task, tuner, options.budget, seed)
                with options.file.open("a") as stream:
                    stream.write(json.dumps(row) + "\n")
                print(row, flush=True)


if __name__ == "__main__":
    main()
