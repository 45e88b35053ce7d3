"""Lorenz 63 by TD-TF and TD-DMD: valid prediction time, long run, speed of the closed loop.

    python benchmarks/forecast_lorenz.py [--quick] [--task x-only|all|noise-1|noise-5|long|speed ...]

Training series: 10,000 points, dt .02, sigma 10, rho 28, beta 8/3. Tests: 50 starts on another trajectory that no
choice was made on. Valid prediction time (VPT): the first time at which the root mean square over the observed
columns of the error, in standard deviations of the training data, exceeds .4; in Lyapunov times of 1/.9056. Noise
is a share of the standard deviation of each column, on the training series and on the histories that forecasts
start from; errors are measured against the truth. CPU seconds of one core; one JSON object a line.
"""

import argparse
import json
import time

import numpy as np

from tokendyn.forecast import TDDMD, TDTF
from tokendyn.forecast.peers import ESN, NVAR, SPACES, PySINDy, TorchEncoder, tune

DT, LYAPUNOV, THRESHOLD, HORIZON, VALIDATED = 0.02, 0.9056, 0.4, 1200, 400
PEERS = {"ESN": ESN, "NVAR": NVAR, "PySINDy": PySINDy, "TorchEncoder": TorchEncoder}
X_ONLY = {"delays": 5, "stride": 5, "units": 250, "every": 2, "noise": 3e-6, "iterations": 80, "gate": False}
ALL = {"delays": 2, "stride": 1, "units": 150, "noise": 1e-6, "ridge": 1e-12, "iterations": 40, "gate": False}
NOISE_1 = {"delays": 2, "stride": 1, "units": 60, "noise": 1e-3, "ridge": 1e-9, "iterations": 20, "smoothing": 10}
NOISE_5 = {"delays": 2, "stride": 1, "units": 40, "noise": 5e-3, "ridge": 1e-8, "iterations": 20, "smoothing": 10}


def lorenz63(steps, start, *, skip=2000, substeps=20):
    """Return (steps, 3) snapshots by Runge-Kutta steps of DT / substeps, after ``skip`` of them."""
    h, state = DT / substeps, np.array(start, dtype=np.float64)
    rows = np.empty((steps, 3))

    def slope(s):
        return np.array([10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - 8 / 3 * s[2]])

    import numba

    slope = numba.njit(slope)

    @numba.njit
    def run(state, rows):
        for k in range(skip + len(rows)):
            if k >= skip:
                rows[k - skip] = state
            for _ in range(substeps):
                a = slope(state)
                b = slope(state + 0.5 * h * a)
                c = slope(state + 0.5 * h * b)
                d = slope(state + h * c)
                state = state + h / 6 * (a + 2 * b + 2 * c + d)

    run(state, rows)
    return rows


def valid_times(model, truth, seen, starts, scale):
    """Return the VPT of each start in Lyapunov times."""
    span = model.window_length_
    windows = np.stack([seen[k - span : k] for k in starts])
    times = []
    for k, forecast in zip(starts, model.forecast_many(windows, HORIZON), strict=True):
        difference = (forecast.values - truth[k : k + forecast.finite_steps]) / scale
        over = np.flatnonzero(~(np.sqrt((difference**2).mean(axis=1)) <= THRESHOLD))
        times.append((over[0] if len(over) else forecast.finite_steps) * DT * LYAPUNOV)
    return np.array(times)


def measure(task, parameters, columns, noise, *, seeds, points, starts, peers=()):
    """Print one line a training seed and model, and one a peer, tuned on rollouts over its training series."""
    clean = lorenz63(points, (1.0, 2.0, 3.0))[:, columns]
    truth = lorenz63(HORIZON + 400 * starts + 400, (-8.0, -9.0, 30.0), skip=3000)[:, columns]
    scale = clean.std(axis=0)
    rng = np.random.default_rng(7)
    series = clean + noise * scale * rng.standard_normal(clean.shape)
    seen = truth + noise * scale * rng.standard_normal(truth.shape)
    at = 200 + 400 * np.arange(starts)
    models = [(f"TDTF seed {seed}", TDTF(random_state=seed, **parameters)) for seed in seeds]
    fitted = None
    for name, model in [("TDDMD", TDDMD(delays=parameters["delays"], stride=parameters["stride"])), *models]:
        began = time.process_time()
        model.fit(series, dt=DT)
        seconds = time.process_time() - began
        vpt = valid_times(model, truth, seen, at, scale)
        row = {"task": task, "model": name, "vpt_median": np.median(vpt), "cpu_seconds": seconds}
        row |= {"vpt_lower_quartile": np.quantile(vpt, 0.25), "vpt_upper_quartile": np.quantile(vpt, 0.75)}
        if isinstance(model, TDTF):
            row |= {"parameters": model.parameters_, "chosen": model.training_["chosen"]}
            fitted = model
        show(row)
    for name, budget in peers:
        found = tune(
            PEERS[name], SPACES[name], series, DT, horizon=VALIDATED, budget=budget, rollouts=12, longest=int(at[0])
        )
        vpt = valid_times(found.model, truth, seen, at, scale)
        row = {"task": task, "model": name, "vpt_median": np.median(vpt), "cpu_seconds": found.seconds}
        row |= {"vpt_lower_quartile": np.quantile(vpt, 0.25), "vpt_upper_quartile": np.quantile(vpt, 0.75)}
        show(row | {"tried": found.tried, "parameters": {key: str(value) for key, value in found.parameters.items()}})
    return fitted, series


def show(row):
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="2,000 points, 8 iterations, 10 starts, one seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--peers", nargs="*", default=[], choices=PEERS, help="rivals to measure too; tokendyn[bench]")
    parser.add_argument("--budget", type=float, default=120.0, help="CPU seconds of the search for each of them")
    parser.add_argument("--task", nargs="+", default=["x-only", "all", "noise-1", "noise-5", "speed", "long"])
    options = parser.parse_args()
    quick = {"iterations": 8, "units": 40} if options.quick else {}
    size = {"points": 2000 if options.quick else 10_000, "starts": 10 if options.quick else 50}
    seeds = range(1 if options.quick else options.seeds)
    tasks = {
        "x-only": (X_ONLY, [0], 0.0),
        "all": (ALL, [0, 1, 2], 0.0),
        "noise-1": (NOISE_1, [0, 1, 2], 0.01),
        "noise-5": (NOISE_5, [0, 1, 2], 0.05),
    }
    for task in options.task:
        if task in tasks:
            parameters, columns, noise = tasks[task]
            if options.quick and "smoothing" in parameters:
                parameters = parameters | {"smoothing": 2}
            peers = [(name, options.budget) for name in options.peers]
            measure(task, parameters | quick, columns, noise, seeds=seeds, peers=peers, **size)
    if {"speed", "long"} & set(options.task):
        model, series = measure("x-only", X_ONLY | quick, [0], 0.0, seeds=range(1), **size)
        long_run(model, series, steps=20_000 if options.quick else 1_000_000)


def long_run(model, series, *, steps):
    """Print speed, attractor and largest exponent of one long closed loop."""
    model.forecast(series[:200], 10)
    began = time.process_time()
    forecast = model.forecast(series[:200], steps)
    seconds = time.process_time() - began
    values = forecast.values[:, 0]
    truth = lorenz63(steps, (2.0, -1.0, 25.0))[:, 0]
    edges = np.linspace(-20, 20, 41)
    ours, theirs = (np.histogram(one, edges)[0] / len(one) for one in (values, truth))
    row = {"task": "long", "status": forecast.status, "steps": forecast.finite_steps}
    row |= {"steps_per_second": forecast.finite_steps / seconds, "total_variation": 0.5 * np.abs(ours - theirs).sum()}
    show(row | {"largest_exponent": largest_exponent(model, values[: min(len(values), 40_000)])})


def largest_exponent(model, values):
    """Return the largest Lyapunov exponent along an orbit, by the model's own local operators (Benettin)."""
    series = values[:, None]
    tokens = model.tokens(series, np.empty((len(series), 0)))
    span, stride = model.window_length_, model.stride
    tangent = np.random.default_rng(0).standard_normal(span)
    total, first = 0.0, 500
    for step, local in enumerate(model.cell_.operators(tokens)[:, :, 0, 0]):
        tangent = np.append(tangent[1:], local @ tangent[::stride])
        size = np.linalg.norm(tangent)
        tangent /= size
        total += np.log(size) if step >= first else 0.0
    return float(total / (len(tokens) - first) / DT)


if __name__ == "__main__":
    main()
