"""Clustering runs against oracles that share no code with the package: whole numbers, and the plain loop of floats.

Random sets of tokens, lattice and ordinary, go through `run`, `predict_limits`, and the loops below. Counted are sets
in which a state, a leader, the size of a tie or a limit is not that of exact arithmetic, with and without a status
that says so; and sets in which the plain loop of floats is exact and the run is not.

    python benchmarks/clustering_oracle.py --sets 10000 --processes 2 --seed 0
"""

import argparse
import math
import time
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction

import numpy as np

from tokendyn.attention import Head
from tokendyn.dynamics import Layer, run
from tokendyn.particles import predict_limits

ALPHAS = (0.5, 1.0, 2.0, 0.3, 10.0, 1e6, 1e15)
KINDS = ("whole", "halves", "ordinary", "equal coordinate", "repeated", "two scales")
MATRICES = ("identity", "identity", "symmetric", "any", "indefinite", "low rank")


def tokens_of(kind, rng):
    """Return a few tokens in 2 to 5 dimensions."""
    shape = int(rng.integers(3, 9)), int(rng.integers(2, 6))
    whole = rng.integers(-3, 4, size=shape).astype(float)
    if kind == "whole":
        return whole
    if kind == "halves":
        return whole / 2
    if kind == "equal coordinate":
        whole[:, 0] = 1.0
        return whole
    if kind == "repeated":
        return whole[rng.integers(0, shape[0], size=shape[0] + 2)]
    if kind == "two scales":
        whole[-1] *= 10.0 ** rng.integers(-12, 13)
        return whole
    return rng.normal(size=shape)


def matrix_of(kind, dim, rng):
    """Return a score matrix of whole numbers."""
    entries = rng.integers(-2, 3, size=(dim, dim)).astype(float)
    if kind == "identity":
        return np.eye(dim)
    if kind == "symmetric":
        return entries @ entries.T + np.eye(dim)
    if kind == "indefinite":
        return entries + entries.T
    if kind == "low rank":
        return np.outer(entries[0], entries[0])
    return entries


def exact_layers(tokens, matrix, alpha, layers):
    """Yield, layer by layer, the states as (numerators, common denominator) and the leaders of every token.

    Plain loops over whole numbers; the denominator is common to all tokens, so that scores compare as whole numbers.
    """
    rational = [[Fraction(x) for x in row] for row in tokens.tolist()]
    common = math.lcm(*(x.denominator for row in rational for x in row))
    state = [[int(x * common) for x in row] for row in rational]
    fractions = [[Fraction(x) for x in row] for row in matrix.tolist()]
    scale = math.lcm(*(x.denominator for row in fractions for x in row))
    score = [[int(x * scale) for x in row] for row in fractions]
    up, down = alpha.as_integer_ratio()
    for _ in range(layers):
        led = []
        for place in state:
            query = [sum(a * x for a, x in zip(row, place, strict=True)) for row in score]
            scores = [sum(a * x for a, x in zip(query, other, strict=True)) for other in state]
            top = max(scores)
            led.append([number for number, value in enumerate(scores) if value == top])
        yield state, common, led
        whole = math.lcm(*map(len, led))
        state = [
            [
                down * whole * x + up * (whole // len(leaders)) * sum(state[j][axis] for j in leaders)
                for axis, x in enumerate(place)
            ]
            for place, leaders in zip(state, led, strict=True)
        ]
        common *= (up + down) * whole
    yield state, common, None


def float_loop(tokens, matrix, alpha, layers):
    """Return the state after some layers, as floats compute it."""
    state = tokens.copy()
    for _ in range(layers):
        scores = (state @ matrix.T) @ state.T
        led = scores >= scores.max(axis=1, keepdims=True)
        means = (led @ state) / led.sum(axis=1, keepdims=True)
        single = led.sum(axis=1) == 1
        means[single] = state[led.argmax(axis=1)[single]]
        state = state + alpha / (1 + alpha) * (means - state)
    return state


def differs(found, right, scale):
    """Return whether a state is off by more than 1e-9 of the scale of each token's own coordinates and travel."""
    return bool((np.abs(found - right) > 1e-9 * scale).any())


def check(seed):
    """Return what went wrong in one set."""
    rng = np.random.default_rng(seed)
    kind, alpha = KINDS[rng.integers(len(KINDS))], ALPHAS[rng.integers(len(ALPHAS))]
    tokens = tokens_of(kind, rng)
    name = MATRICES[rng.integers(len(MATRICES))]
    matrix = matrix_of(name, tokens.shape[1], rng)
    settled = math.ceil(math.log(1e11) / math.log1p(alpha))
    layers = int(min(40 if alpha == 0.3 else 200, max(15, settled + 10)))
    head = Head(score=matrix)
    try:
        trajectory = run(tokens, [Layer(alpha, (head,))] * layers)
        prediction = predict_limits(tokens, alpha, matrix, max_layers=max(300, layers))
    except Exception as error:  # counted, and shown with its seed
        return {"error": f"{type(error).__name__}: {error}"}
    problems, scale = set(), np.full((len(tokens), 1), np.finfo(float).tiny)
    states = exact_layers(tokens, matrix, alpha, layers)
    for number, (state, common, led) in enumerate(states):
        exact = np.array([[x / common for x in row] for row in state])
        # What a token loses far from the origin it does not win back: its scale is the largest on its way.
        scale = np.maximum(scale, np.abs(exact).max(axis=1)[:, None])
        if differs(trajectory.states[number], exact, scale):
            problems.add("state")
        if led is None:
            break
        for token, leaders in enumerate(led):
            if int(trajectory.leaders[number, 0, token]) not in leaders:
                problems.add("leader")
            if int(trajectory.tie_counts[number, 0, token]) != len(leaders):
                problems.add("tie")
    known = (prediction.kinds != "unsettled") & (prediction.settled_layers <= layers)
    if (np.abs(prediction.at(layers) - exact) > 1e-9 * scale)[known].any():
        problems.add("prediction")
    left = np.exp(-math.log1p(alpha) * (layers - np.minimum(prediction.settled_layers, layers)))[:, None]
    there = left * np.abs(prediction.settled_states - prediction.limits) < 1e-10 * scale
    if (np.abs(prediction.limits - exact) > 1e-9 * scale)[known[:, None] & there].any():
        problems.add("limit")
    if name in ("identity", "symmetric") and (prediction.kinds == "unsettled").any():
        problems.add("unsettled")
    plain = float_loop(tokens, matrix, alpha, layers)
    breaks = differs(plain, exact, scale)
    if not breaks and differs(trajectory.states[-1], plain, scale):
        problems.add("loop")
    doubtful = bool(len(trajectory.doubtful) or len(prediction.doubtful[known[prediction.doubtful]]))
    return {"problems": problems, "doubtful": doubtful, "breaks": breaks, "kind": kind, "matrix": name}


def main():
    """Run all sets and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started = time.perf_counter()
    seeds = [[options.seed, number] for number in range(options.sets)]
    counts = {}
    with ProcessPoolExecutor(options.processes) as pool:
        count(zip(seeds, pool.map(check, seeds, chunksize=20), strict=True), counts, started)
    print(f"{options.sets} sets, seed {options.seed}, {time.perf_counter() - started:.0f} s")
    for name, number in sorted(counts.items()):
        print(f"{name}: {number}")


def count(results, counts, started):
    """Count problems, and print each with its seed."""
    for number, (seed, result) in enumerate(results, start=1):
        if "error" in result:
            names = ["error"]
        else:
            names = [f"wrong {name}" + (", said" if result["doubtful"] else "") for name in result["problems"]]
            counts["doubtful"] = counts.get("doubtful", 0) + result["doubtful"]
            counts["plain loop is not exact"] = counts.get("plain loop is not exact", 0) + result["breaks"]
        for name in names:
            counts[name] = counts.get(name, 0) + 1
        if names or result["doubtful"]:
            print(seed, result)
        if number % 1000 == 0:
            print(f"after {number} sets, {time.perf_counter() - started:.0f} s: {counts}", flush=True)


if __name__ == "__main__":
    main()
