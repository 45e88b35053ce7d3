"""The resolution guard against an oracle: a run that is called resolved is the run of four times as many tokens.

    python benchmarks/guard_oracle.py --runs 200 --seed 1 --out guard.json

Random V, B, inverse temperature, start and number of tokens. The oracle is a solver of its own in plain NumPy (dense
softmax, classical Runge-Kutta, starts and phases written down again), which shares no code with the package. A run is
wrong when it is called resolved and its least distance or departure differ from those of the oracle's run of 4n tokens
by more than 10 %, and a needless alarm when it is called unresolved and they do not.
"""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

import argparse  # noqa: E402
import functools  # noqa: E402
import itertools  # noqa: E402
import json  # noqa: E402
import math  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

from tokendyn.dynamics import TokenFlow  # noqa: E402
from tokendyn.particles.meanfield import simulate  # noqa: E402

#: Tokens of the oracle's run, as a multiple of the package's.
FINER = 4
#: Relative change of least distance or departure that counts.
MOVED = 0.1


# The oracle.


def velocity(x: np.ndarray, V: np.ndarray, B: np.ndarray, beta: float) -> np.ndarray:
    scores = beta * (x @ B) @ x.T
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    moved = (weights @ x / weights.sum(axis=1, keepdims=True)) @ V.T
    return moved - x * (x * moved).sum(axis=1, keepdims=True)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x**2).sum(axis=1, keepdims=True))


def solve(x: np.ndarray, V: np.ndarray, B: np.ndarray, beta: float, times: np.ndarray, longest: float) -> np.ndarray:
    states = [x]
    for start, end in itertools.pairwise(times):
        count = math.ceil((end - start) / longest * (1 - 1e-12))
        h = (end - start) / count
        for _ in range(count):
            a = velocity(x, V, B, beta)
            b = velocity(unit(x + h / 2 * a), V, B, beta)
            c = velocity(unit(x + h / 2 * b), V, B, beta)
            d = velocity(unit(x + h * c), V, B, beta)
            x = unit(x + h / 6 * (a + 2 * b + 2 * c + d))
        states.append(x)
    return np.array(states)


def start_of(kind: str, seed: int, count: int) -> np.ndarray:
    if kind == "quantile":
        angles = np.linspace(0, 2 * np.pi, 400_001)
        sines = 0.5 * (np.sin(angles - 1) + np.sin(1)) + 0.15 * (np.sin(2 * angles - 0.5) + np.sin(0.5))
        found = np.interp((np.arange(count) + 0.5) / count * 2 * np.pi, angles + sines, angles)
        return np.stack([np.cos(found), np.sin(found)], axis=1)
    if kind == "uniform":
        return unit(np.random.default_rng(seed).normal(size=(count, 2)))
    rows = np.arange(count)
    height = 1 - (2 * rows + 1) / count
    radius, turn = np.sqrt(1 - height**2), math.pi * (3 - math.sqrt(5)) * rows
    lattice = np.stack([radius * np.cos(turn), radius * np.sin(turn), height], axis=1)
    axis, c, s = np.array([1.0, 1.0, 0.0]) / math.sqrt(2), math.cos(0.5), math.sin(0.5)
    turned = lattice * c + np.cross(axis, lattice) * s + np.outer(lattice @ axis, axis) * (1 - c)
    return unit(turned + 0.25 * np.array([1.0, 2.0, 3.0]) / math.sqrt(14))


def spectral(V: np.ndarray, B: np.ndarray) -> tuple[np.ndarray, int, np.ndarray]:
    """Return the projector on the dominant eigenspace, its dimension and the eigenvalues."""
    values, right = np.linalg.eig(V @ B.T)
    left = np.linalg.inv(right)
    chosen = values.real >= values.real.max() - 1e-7 * np.linalg.norm(V @ B.T, 2)
    return (right[:, chosen] @ left[chosen]).real, int(chosen.sum()), np.sort(values.real)[::-1]


def end_of(V: np.ndarray, B: np.ndarray, beta: float) -> float:
    projector, size, values = spectral(V, B)
    basis, rest = np.split(np.linalg.svd(projector)[0], [size], axis=1)
    concentration = math.log(beta) / 2 * np.linalg.norm(B.T @ basis, 2) / (values[0] - values[size])
    leaving = np.linalg.eigvals(rest.T @ V @ rest).real.max() - np.linalg.eigvals(basis.T @ V @ basis).real.max()
    kept = np.linalg.norm(rest.T @ V @ basis) < 1e-9
    departure = concentration + (math.log(beta) / (2 * leaving) if kept and leaving > 0 else 0.0)
    return float(np.clip(1.5 * departure, 4, 60))


def phases(case: dict[str, Any], times: np.ndarray, count: int) -> tuple[float, float]:
    """Return least distance and departure of a number of tokens."""
    V, B = case["V"], case["B"]
    x = start_of(case["kind"], case["seed"], count)
    states = solve(x, V, B, case["beta"], times, 0.3 / max(2.0, np.linalg.norm(V, 2)))
    targets = unit(x @ spectral(V, B)[0].T)
    curve = np.sqrt(((states - targets) ** 2).sum(axis=2).mean(axis=1))
    best = int(curve.argmin())
    if curve[best] > 0.5:
        return float(curve[best]), math.inf
    above = np.flatnonzero(curve[best:] > 0.5)
    if not above.size:
        return float(curve[best]), math.inf
    k = best + int(above[0])
    share = (0.5 - curve[k - 1]) / (curve[k] - curve[k - 1])
    return float(curve[best]), float(times[k - 1] + share * (times[k] - times[k - 1]))


def moved(few: tuple[float, float], many: tuple[float, float]) -> bool:
    if math.isinf(few[1]) != math.isinf(many[1]) or (few[0] > 0.5) != (many[0] > 0.5):
        return True
    later = 0.0 if math.isinf(few[1]) else abs(few[1] / many[1] - 1)
    return max(abs(few[0] / many[0] - 1), later) > MOVED


# The systems.


def case_of(rng: np.random.Generator) -> dict[str, Any]:
    """Return a random system: half of them of the kind of the documented commands."""
    draw, beta, kind = rng.random(), 10 ** rng.uniform(0.8, 3.5), "quantile"
    count = round(10 ** rng.uniform(1.3, 2.4))
    V, B = np.diag([1.0, rng.choice([0.5, 1.25, 1.5, 2, 2.5, 3, 3.5, rng.uniform(0.3, 3.8)])]), np.diag([4.0, 1.0])
    if 0.5 <= draw < 0.65:
        while True:
            b, v = 10 ** rng.uniform(-1.3, 0.8, 2), rng.uniform(0.3, 3.0, 2)
            if v[0] * b[0] > 1.15 * v[1] * b[1]:
                break
        V, B = np.diag(v), np.diag(b)
    elif 0.65 <= draw < 0.8:
        while True:
            V = np.eye(2) * rng.uniform(0.5, 2) + 0.7 * rng.normal(size=(2, 2))
            B = np.diag(rng.uniform(0.5, 4, 2)) + 0.4 * rng.normal(size=(2, 2))
            values = np.linalg.eigvals(V @ B.T)
            if not values.imag.any() and np.ptp(values.real) > 0.3 and values.real.max() > 0.3:
                break
    elif 0.8 <= draw < 0.9:
        kind, beta, count = "fibonacci", 10 ** rng.uniform(0.3, 1.9), int(rng.integers(60, 250))
        V, B = np.diag([1.0, 1.0, rng.uniform(0.4, 3)]), np.diag([4.0, 4.0, 1.0])
        if rng.random() < 0.3:
            V = np.diag([1.0, *rng.uniform(0.3, 3, 2)])
    elif draw >= 0.9:
        kind = "uniform"
        if rng.random() < 0.3:
            V, B = np.eye(2), np.array([[2.0, 1.0], [0.0, 1.0]])
    return {"kind": kind, "beta": float(beta), "count": count, "V": V, "B": B, "seed": int(rng.integers(1000))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rng, rows, began = np.random.default_rng(options.seed), [], time.perf_counter()
    for number in range(options.runs):
        case = case_of(rng)
        V, B, count = case["V"], case["B"], case["count"]
        until = end_of(V, B, case["beta"])
        times = np.linspace(0.0, until, 101)
        start = functools.partial(start_of, case["kind"], case["seed"])
        run = simulate(TokenFlow(case["beta"], interaction=B, value=V), start(count), times, start=start)
        few = run.phases.least, run.phases.departure
        many = phases(case, times, FINER * count)
        resolved, changed = run.resolution.status == "resolved", moved(few, many)
        verdict = ("wrong" if changed else "right") if resolved else ("right" if changed else "needless")
        rows.append(
            {**case, "V": V.tolist(), "B": B.tolist(), "resolved": resolved, "moved": changed, "verdict": verdict,
             "n": few, "4n": many, "reason": run.resolution.reason}
        )  # fmt: skip
        print(
            f"{number} {case['kind']} n = {count}, beta = {case['beta']:.0f}: {run.resolution.status}, {verdict}; n "
            f"{few[0]:.3g} {few[1]:.3g}, 4n {many[0]:.3g} {many[1]:.3g}; {time.perf_counter() - began:.0f} s",
            flush=True,
        )
        tally = {name: sum(row["verdict"] == name for row in rows) for name in ("right", "wrong", "needless")}
        record = {"runs": len(rows), "resolved": sum(row["resolved"] for row in rows), **tally}
        if options.out:
            options.out.write_text(json.dumps({**record, "rows": rows}, default=str))
    print(record)


if __name__ == "__main__":
    main()
