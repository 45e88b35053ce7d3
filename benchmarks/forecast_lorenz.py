"""Lorenz 63 by TD-TF and TD-DMD: valid prediction time, long run, cost of the closed loop.

    python benchmarks/forecast_lorenz.py [--quick] [--task x-only|all|noise-1|noise-5|long|delays ...] [--peers ESN ...]

Tasks are those of ``tokendyn forecast study lorenz``: 10,000 points, dt 0.02, sigma 10, rho 28, beta 8/3; 50 starts on
another trajectory that no choice was made on. Valid prediction time (VPT): the first time at which the root mean square
over the observed columns of the error, in standard deviations of the training data, exceeds 0.4; in Lyapunov times of
1/0.9056. Noise is a share of the standard deviation of each column, on the training series and on the histories that
forecasts start from; errors are measured against the truth. CPU seconds of one core; one JSON object a line.
"""

import argparse
import json
import time

import numpy as np

from tokendyn.data.systems import lorenz63
from tokendyn.forecast import TDDMD, TDTF
from tokendyn.forecast.tasks import rollouts
from tokendyn.metrics import histogram_distance, largest_exponent, valid_prediction_times
from tokendyn.rivals.forecast import ESN, NVAR, PySINDy, TorchEncoder
from tokendyn.studies.forecast import SPACES, tune
from tokendyn.studies.forecast.figures import cost_figure
from tokendyn.studies.forecast.lorenz_study import ALL, NOISY, X_ONLY, lorenz_task

PEERS = {"ESN": ESN, "NVAR": NVAR, "PySINDy": PySINDy, "TorchEncoder": TorchEncoder}
#: Columns seen, noise, settings.
TASKS = {"x-only": ("x", 0.0, X_ONLY), "all": ("all", 0.0, ALL)}
TASKS |= {"noise-1": ("all", 0.01, NOISY), "noise-5": ("all", 0.05, NOISY)}


def measure(name, task, parameters, *, seeds, peers=()):
    """Print one line a training seed and model, and one a peer, tuned on rollouts over its training series.

    Returns the model of the first seed.
    """
    (series,) = (one.values for one in task.train)
    dt = task.train[0].dt
    first = None
    models = [(f"TDTF seed {seed}", TDTF(random_state=seed, **parameters)) for seed in seeds]
    linear = TDDMD(delays=parameters["delays"], stride=parameters["stride"])
    for model_name, model in [("TDDMD", linear), *models]:
        began = time.process_time()
        model.fit(series, dt=dt)
        row = {"task": name, "model": model_name, "cpu_seconds": time.process_time() - began, **valid(task, model)}
        if isinstance(model, TDTF):
            row |= {"parameters": model.parameters_, "chosen": model.training_["chosen"]}
            first = first or model
        show(row)
    for peer, budget in peers:
        tuned = tune(PEERS[peer], SPACES[peer], series, dt, horizon=task.validate, budget=budget, longest=task.lead)
        row = {"task": name, "model": peer, "cpu_seconds": tuned.seconds, **valid(task, tuned.model)}
        show(row | {"tried": tuned.tried, "parameters": {key: str(value) for key, value in tuned.parameters.items()}})
    return first


def valid(task, model):
    """Return median and quartiles of the VPT of the starts of a task, in Lyapunov times."""
    found = valid_prediction_times(*rollouts(task, model), model.dt_, task.exponent, scale=model.scale_)
    row = {"vpt_median": found.median, "vpt_lower_quartile": found.lower, "vpt_upper_quartile": found.upper}
    return row | ({"censored": found.censored} if found.censored else {})


def show(row):
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}), flush=True)


def long_run(model, series, *, steps):
    """Print speed, attractor and largest exponent of one long closed loop."""
    model.forecast(series, 10)
    began = time.process_time()
    forecast = model.forecast(series, steps)
    seconds = time.process_time() - began
    truth = lorenz63(steps, seed=2).select(["x"])
    row = {"task": "long", "status": forecast.status, "steps": forecast.finite_steps}
    row |= {"steps_per_second": forecast.finite_steps / seconds}
    row |= {"total_variation": histogram_distance(forecast.values, truth.values, bins=40)}

    if forecast.status != "completed":
        show(row)
        return

    def advance(window):
        return np.concatenate([window, model.forecast(window, 5).values])[-len(window) :]

    start = forecast.values[-model.window_length_ :]
    exponent = largest_exponent(advance, start, 5 * model.dt_, 20_000, discard=100, separation=1e-6)
    show(row | {"largest_exponent": exponent.value, "standard_error": exponent.standard_error})


def cost_of_delays(*, points, steps, picture=None):
    """Print microseconds of one closed-loop step by delays, a batch of one; draw them if a file is given."""
    series = lorenz63(points, seed=0).select(["x"])
    kinds = {
        "TD-TF, 40 units": (
            lambda m: TDTF(delays=m, units=40, iterations=0, gate=False, validation_fraction=0.0, noise=1e-2),
            steps,
        ),
        "TD-DMD": (lambda m: TDDMD(delays=m), steps),
        "NVAR, order 2": (lambda m: NVAR(delays=m, ridge=1e-2), steps // 20),
    }
    costs = {name: {} for name in kinds}
    for name, (make, length) in kinds.items():
        for delays in (1, 10, 20, 40, 80, 160)[: 5 if name.startswith("NVAR") else None]:
            model = make(delays).fit(series.values, dt=series.dt)
            model.forecast(series.values, 10)
            best = np.inf
            for _ in range(7):
                began = time.process_time()
                forecast = model.forecast(series.values, length)
                best = min(best, (time.process_time() - began) / forecast.finite_steps)
            costs[name][delays] = 1e6 * best
        show({"task": "delays", "model": name, "microseconds_a_step": {m: round(c, 2) for m, c in costs[name].items()}})
    if picture is not None:
        del costs["NVAR, order 2"]  # a hundred times dearer: the others would lie on the axis
        cost_figure(costs).savefig(picture, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="2,000 points, 8 iterations, 10 starts, one seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--peers", nargs="*", default=[], choices=PEERS, help="rivals to measure too; tokendyn[bench]")
    parser.add_argument("--budget", type=float, default=120.0, help="CPU seconds of the search for each of them")
    parser.add_argument("--task", nargs="+", default=[*TASKS, "long", "delays"], choices=[*TASKS, "long", "delays"])
    parser.add_argument("--picture", help="PNG file to draw the cost of delays into")
    options = parser.parse_args()
    quick = {"iterations": 8, "units": 40} if options.quick else {}
    size = {"points": 2000 if options.quick else 10_000, "starts": 10 if options.quick else 50}
    seeds = range(1 if options.quick else options.seeds)
    peers = [(name, options.budget) for name in options.peers]
    if "delays" in options.task:
        cost_of_delays(points=size["points"] // 2, steps=2000 if options.quick else 20_000, picture=options.picture)
    x_only = None
    for name in options.task:
        if name not in TASKS:
            continue
        seen, noise, parameters = TASKS[name]
        if options.quick and "smoothing" in parameters:
            parameters = parameters | {"smoothing": 2}
        model = measure(name, lorenz_task(seen, noise, **size), parameters | quick, seeds=seeds, peers=peers)
        x_only = model if name == "x-only" else x_only
    if "long" in options.task:
        task = lorenz_task("x", **size)
        model = x_only or measure("x-only", task, X_ONLY | quick, seeds=range(1))
        long_run(model, task.train[0].values, steps=20_000 if options.quick else 1_000_000)


if __name__ == "__main__":
    main()
