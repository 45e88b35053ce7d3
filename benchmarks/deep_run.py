"""CPU time of a deep hardmax run, against the per-token Python loop in which the model is published.

    python benchmarks/deep_run.py --tokens 10000 --dim 3 --layers 30 --repeats 3 --out deep_run.json

The rivals take turns in one process on one thread. The loop is the peer of arXiv 2407.01602's code: for each
token the inner products with all tokens, their maximum, the indices that reach it, the mean of those tokens.
Numba's compilation is excluded from the times and printed. Times are CPU times of the process.
"""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

import argparse  # noqa: E402
import importlib.metadata  # noqa: E402
import json  # noqa: E402
import platform  # noqa: E402
import statistics  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402

from tokendyn.attention import Head  # noqa: E402
from tokendyn.dynamics import Layer, run  # noqa: E402

#: Rows of a tile of the torch rival: 64 rows by 10,000 tokens are 5 MB.
TORCH_ROWS = 64

Rival = Callable[[np.ndarray, np.ndarray, float, int], np.ndarray]


def python_loop(tokens: np.ndarray, score: np.ndarray, alpha: float, layers: int) -> np.ndarray:
    """Return the last state by one Python iteration for each token and layer."""
    state = tokens
    for _ in range(layers):
        moved = np.empty_like(state)
        for i in range(len(state)):
            products = state @ (score @ state[i])
            leaders = np.flatnonzero(products == products.max())
            moved[i] = state[i] + alpha / (1 + alpha) * (state[leaders].mean(axis=0) - state[i])
        state = moved
    return state


def ours(backend: str) -> Rival:
    """Return our run with a backend."""

    def last_state(tokens: np.ndarray, score: np.ndarray, alpha: float, layers: int) -> np.ndarray:
        return run(tokens, [Layer(alpha, (Head(score=score),))] * layers, backend=backend).states[-1]

    return last_state


def torch_tiles(tokens: np.ndarray, score: np.ndarray, alpha: float, layers: int) -> np.ndarray:
    """Return the last state by ``argmax(Z A Z^T)`` in tiles of rows; of a tie it follows one token only."""
    state, matrix = torch.from_numpy(tokens), torch.from_numpy(score)
    for _ in range(layers):
        queries, keys = state @ matrix.T, state.T.contiguous()
        leaders = torch.cat([(rows @ keys).argmax(dim=1) for rows in torch.split(queries, TORCH_ROWS)])
        state = state + alpha / (1 + alpha) * (state[leaders] - state)
    return state.numpy()


RIVALS: dict[str, Rival] = {
    "per-token loop (numpy)": python_loop,
    "tokendyn, fused": ours("fused"),
    "tokendyn, dense": ours("dense"),
    "torch, tiled argmax": torch_tiles,
}
#: The dense backend is the reference for correctness and slow: it runs in the first repeat only.
ONCE = {"tokendyn, dense"}
REFERENCE, SUBJECT = "per-token loop (numpy)", "tokendyn, fused"


def cpu_seconds(rival: Rival, *arguments: object) -> tuple[float, np.ndarray]:
    start = time.process_time()
    result = rival(*arguments)  # type: ignore[arg-type]
    return time.process_time() - start, result


def measure(
    tokens: np.ndarray, score: np.ndarray, alpha: float, layers: int, repeats: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return the CPU seconds of each rival in each repeat, and its largest difference from the loop at the end."""
    seconds: dict[str, list[float]] = {name: [] for name in RIVALS}
    differences: dict[str, float] = {}
    for repeat in range(repeats):
        ends = {}
        for name, rival in RIVALS.items():
            if repeat > 0 and name in ONCE:
                continue
            taken, ends[name] = cpu_seconds(rival, tokens, score, alpha, layers)
            seconds[name].append(taken)
            print(f"  repeat {repeat + 1}: {name}: {taken:.2f} s", flush=True)
        differences |= {name: float(np.abs(end - ends[REFERENCE]).max()) for name, end in ends.items()}
    return seconds, differences


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=3)
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()

    torch.set_num_threads(1)
    rng = np.random.default_rng(options.seed)
    tokens = rng.normal(size=(options.tokens, options.dim))
    root = rng.normal(size=(options.dim, options.dim))
    score = root @ root.T + np.eye(options.dim)

    small = tokens[:50]
    first = {name: cpu_seconds(rival, small, score, options.alpha, 2)[0] for name, rival in RIVALS.items()}
    print(
        f"first call of the fused kernels (compiled, or read from numba's cache): {first[SUBJECT]:.2f} s, not counted"
    )
    seconds, differences = measure(tokens, score, options.alpha, options.layers, options.repeats)

    medians = {name: statistics.median(values) for name, values in seconds.items()}
    pairs = options.tokens**2 * options.layers
    print(
        f"\n{options.tokens} tokens, dim {options.dim}, {options.layers} layers (all of them run by every rival), "
        f"{options.repeats} interleaved repeats ({', '.join(ONCE)}: one), CPU seconds on one thread"
    )
    print(f"{'':24}{'median':>9}{'min':>9}{'max':>9}{'ns a pair':>11}{'loop / it':>11}{'|end - loop|':>14}")
    for name, values in seconds.items():
        print(
            f"{name:24}{medians[name]:9.2f}{min(values):9.2f}{max(values):9.2f}{1e9 * medians[name] / pairs:11.2f}"
            f"{medians[REFERENCE] / medians[name]:11.1f}{differences[name]:14.1e}"
        )
    if options.out is not None:
        record = {
            "settings": {key: value for key, value in vars(options).items() if key != "out"},
            "layers_run_by_every_rival": options.layers,
            "cpu_seconds": seconds,
            "median_cpu_seconds": medians,
            "loop_over_rival": {name: medians[REFERENCE] / value for name, value in medians.items()},
            "largest_difference_from_loop": differences,
            "first_call_cpu_seconds": first,
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, one thread used",
            "versions": {name: importlib.metadata.version(name) for name in ("numpy", "numba", "torch")},
            "python": platform.python_version(),
        }
        options.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if differences[SUBJECT] > 1e-12 or differences["tokendyn, dense"] > 1e-12:
        raise SystemExit("failed: our run and the loop end at different states")


if __name__ == "__main__":
    main()
