"""What one attention step and 1,000 layers cost, against rivals in the same run.

    python benchmarks/attention.py --quick --out attention.json --figure attention.png

Gaussian tokens, hardmax, A = I, float64, one thread, CPU seconds of the process. Rivals take turns in every repeat.
Those that look at every pair are measured on some rows and scaled to all rows (they cost the same for each);
``tokendyn, auto`` is measured on all rows. ``right`` is the share of rows whose leader is the canonical one.
The roofline is the rate of fused multiply-adds of a large matrix product (BLAS) in the same run; a pair needs d.
Softmax: one step at inverse temperature ``--beta`` on unit vectors, with every softmax backend that applies.
"""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

import argparse  # noqa: E402
import importlib.metadata  # noqa: E402
import json  # noqa: E402
import platform  # noqa: E402
import resource  # noqa: E402
import statistics  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
from scipy.spatial import cKDTree  # noqa: E402

from tokendyn.attention import attend  # noqa: E402
from tokendyn.attention.dispatch import SOFTMAX  # noqa: E402
from tokendyn.attention.step import canonical_scores  # noqa: E402
from tokendyn.dynamics import Layer, run  # noqa: E402
from tokendyn.errors import BadInputError  # noqa: E402

#: Rows and keys of a tile: 1 MB of scores.
TILE, KEYS = 64, 2048

#: Pairs that a rival is timed on in one repeat.
PAIRS = {"quick": 3e7, "full": 2e8}
#: Rows at least: a step on few rows of many tokens measures its checks.
FEWEST_ROWS = 1024
ALL_PAIRS = "tokendyn, all pairs"
AUTO = "tokendyn, auto"
LOOP = "per-token loop (numpy)"
TORCH = "torch, tiled product and max"

Rows = np.ndarray
Rival = Callable[[np.ndarray, Rows], np.ndarray]


def python_loop(tokens: np.ndarray, rows: Rows) -> np.ndarray:
    """Return leaders as published code finds them: one product, maximum and comparison for each token."""
    found = []
    for row in rows:
        products = tokens @ tokens[row]
        found.append(np.flatnonzero(products == products.max())[0])
    return np.array(found)


def numpy_tiles(tokens: np.ndarray, rows: Rows) -> np.ndarray:
    keys, size = np.ascontiguousarray(tokens.T), max(1, TILE * KEYS // len(tokens))
    return np.concatenate([(tokens[rows[at : at + size]] @ keys).argmax(1) for at in range(0, len(rows), size)])


def torch_tiles(tokens: np.ndarray, rows: Rows) -> np.ndarray:
    """Tiles of both axes that stay in the cache, one buffer, amax, and argmax only in the best tile of a row."""
    tiles = [part.T.contiguous() for part in torch.split(torch.from_numpy(tokens), KEYS)]
    found = []
    for queries in torch.split(torch.from_numpy(tokens[rows]), TILE):
        buffer, tops = torch.empty(len(queries), KEYS, dtype=torch.float64), []
        for tile in tiles:
            scores = torch.mm(
                queries, tile, out=buffer[:, : tile.shape[1]].contiguous() if tile.shape[1] < KEYS else buffer
            )
            tops.append(scores.amax(dim=1))
        best = torch.stack(tops).argmax(dim=0)
        leaders = torch.empty(len(queries), dtype=torch.int64)
        for number in best.unique():
            mine = best == number
            leaders[mine] = (queries[mine] @ tiles[number]).argmax(dim=1) + number * KEYS
        found.append(leaders)
    return torch.cat(found).numpy()


def keops(tokens: np.ndarray, rows: Rows) -> np.ndarray:
    from pykeops.numpy import LazyTensor

    queries, keys = LazyTensor(tokens[rows][:, None, :]), LazyTensor(tokens[None, :, :])
    return (queries | keys).argmax(dim=1).ravel()


def ours(backend: str) -> Rival:
    def leaders(tokens: np.ndarray, rows: Rows) -> np.ndarray:
        asking = None if len(rows) == len(tokens) else rows
        return attend(tokens, tokens, tokens, rows=asking, backend=backend).leaders

    return leaders


def rivals(*, with_keops: bool) -> dict[str, Rival]:
    """Return the rivals that look at every pair."""
    found: dict[str, Rival] = {LOOP: python_loop, "numpy, tiled product and argmax": numpy_tiles, TORCH: torch_tiles}
    if with_keops:
        found["KeOps, argmax"] = keops
    return found | {ALL_PAIRS: ours("fused")}


def seconds_of(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def multiply_adds_a_second() -> float:
    """Return the best rate of a 1,500 by 1,500 matrix product."""
    matrix = np.random.default_rng(0).normal(size=(1500, 1500))
    return 1500**3 / min(seconds_of(lambda: matrix @ matrix)[0] for _ in range(5))


def hardmax_layers(options: argparse.Namespace, rate: float) -> Iterator[dict[str, Any]]:
    """Yield what a layer costs each rival, for every n and d."""
    contenders = rivals(with_keops=options.keops)
    for dim in options.dims:
        for count in options.counts:
            tokens = np.random.default_rng([count, dim]).normal(size=(count, dim))
            rows = np.arange(min(count, max(FEWEST_ROWS, int(options.pairs / count))))
            truth = np.concatenate(
                [
                    canonical_scores(tokens[part], tokens).argmax(1)
                    for part in np.array_split(rows[:1000], 20)
                    if part.size
                ]
            )
            jobs = {name: (rival, rows) for name, rival in contenders.items()}
            jobs[LOOP] = (python_loop, rows[: max(20, len(rows) // 20)])
            jobs[AUTO] = (ours("auto"), np.arange(count))
            taken: dict[str, list[float]] = {name: [] for name in jobs}
            right = {}
            for name, (rival, some) in jobs.items():
                found = rival(tokens, some)[: len(truth)]
                right[name] = float((found == truth[: len(found)]).mean())
            for _ in range(options.repeats):
                for name, (rival, some) in jobs.items():
                    seconds, _ = seconds_of(lambda rival=rival, some=some, tokens=tokens: rival(tokens, some))
                    taken[name].append(seconds * count / len(some))
            for name, layers in taken.items():
                pair = statistics.median(layers) / count**2
                share = dim / pair / rate if name == ALL_PAIRS else None
                yield {
                    "rival": name, "dim": dim, "tokens": count, "seconds_a_layer": layers, "ns_a_pair": 1e9 * pair,
                    "right": right[name], "roofline_share": share,
                }  # fmt: skip


def deep_runs(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield what 1,000 layers cost, and how many of 1,000 sampled leaders differ from the canonical ones."""
    for dim in options.dims:
        for count in options.deep_counts:
            tokens = np.random.default_rng([count, dim, 1]).normal(size=(count, dim))
            run(tokens[:3000], [Layer(0.5)] * 3, record="last")
            layers = [Layer(0.5)] * 1000
            taken = []
            for _ in range(options.repeats):
                seconds, last = seconds_of(lambda tokens=tokens, layers=layers: run(tokens, layers, record="last"))
                taken.append(seconds)
            frozen = last.motion
            until = 1000 if frozen is None else frozen.first_layer + 1
            whole = run(tokens, layers[:until])
            some = np.random.default_rng(3).choice(count, size=min(count, 1000), replace=False)
            wrong = 0
            for layer in range(until):
                state = whole.states[layer]
                brute = attend(state, state, state, rows=some, backend="gemm").leaders
                followed = state[whole.leaders[layer, 0, some]]
                wrong += int((followed != state[brute]).any(axis=1).sum())
            yield {
                "dim": dim, "tokens": count, "seconds": taken, "attention_layers": until,
                "sampled_leaders": until * len(some), "sampled_leaders_wrong": wrong,
            }  # fmt: skip


def sphere_steps(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield one step on unit vectors: hardmax by a k-d tree, softmax directly, by torch, and by every backend."""
    for dim in (2, 3):
        for count in options.counts:
            tokens = np.random.default_rng([count, dim, 2]).normal(size=(count, dim))
            tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
            rows = np.arange(min(count, max(TILE, int(options.pairs / count / 10))))

            def softmax(some: np.ndarray | None, backend: str, tokens: np.ndarray = tokens) -> np.ndarray:
                settings: dict[str, Any] = {"inverse_temperature": options.beta, "find_leaders": False, "rows": some}
                settings["error_tolerance"] = 0.0 if backend == "fused" else 1e-10
                return attend(tokens, tokens, tokens, backend=backend, **settings).means

            def sdpa(some: np.ndarray | None, tokens: np.ndarray = tokens) -> np.ndarray:
                keys = torch.from_numpy(tokens)[None]
                queries = keys[:, some]
                product = torch.nn.functional.scaled_dot_product_attention
                return product(queries, keys, keys, scale=options.beta)[0].numpy()

            jobs: dict[str, tuple[Callable[..., Any], np.ndarray | None]] = {
                "softmax: tokendyn, direct": (lambda some: softmax(some, "fused"), rows),
                "softmax: torch SDPA": (sdpa, rows),
                "hardmax: k-d tree": (lambda _, tokens=tokens: cKDTree(tokens).query(tokens)[1], None),
                "hardmax: tokendyn, auto": (lambda some, tokens=tokens: ours("auto")(tokens, some), rows),
            }
            for name in SOFTMAX:
                jobs[f"softmax: tokendyn, {name}"] = (lambda _, name=name: softmax(None, name), None)
            exact = softmax(rows[:500], "fused")
            for name, (job, some) in jobs.items():
                try:
                    found = job(some)
                except BadInputError:
                    continue
                taken = [seconds_of(lambda job=job, some=some: job(some))[0] for _ in range(options.repeats)]
                scale = 1.0 if some is None else count / len(some)
                error = float(np.abs(found[: len(exact)] - exact).max()) if name.startswith("softmax") else None
                yield {
                    "rival": name, "dim": dim, "tokens": count, "error": error,
                    "seconds_a_layer": [scale * seconds for seconds in taken],
                }  # fmt: skip


_PEAK = """
import resource, numpy as np
from tokendyn.dynamics import Layer, run
small, tokens = (np.random.default_rng(0).normal(size=(n, {dim})) for n in (3000, {count}))
run(small, [Layer(0.5)] * 3, record="last")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
run(tokens, [Layer(0.5)] * 1000, record="last")
print(before / 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def peak_memory(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the peak memory of a process that runs 1,000 layers, with Python and its libraries."""
    for dim in options.dims:
        for count in options.deep_counts:
            code = _PEAK.format(dim=dim, count=count)
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            before, peak = map(float, done.stdout.split())
            yield {"dim": dim, "tokens": count, "peak_MB": peak, "libraries_MB": before}


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw seconds a layer against n, one panel for each d."""
    from matplotlib.figure import Figure

    dims = sorted({row["dim"] for row in rows})
    figure = Figure(figsize=(3.2 * len(dims), 3.6), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(dims), sharey=True))
    marks = "osv^Dx"
    for axis, dim in zip(axes, dims, strict=True):
        for number, name in enumerate(dict.fromkeys(row["rival"] for row in rows)):
            mine = [row for row in rows if (row["rival"], row["dim"]) == (name, dim)]
            counts, medians = (
                [row["tokens"] for row in mine],
                [statistics.median(row["seconds_a_layer"]) for row in mine],
            )
            bold = name.startswith("tokendyn")
            axis.loglog(counts, medians, marker=marks[number % 6], label=name, lw=2.2 if bold else 1.2, ms=4)
        axis.set(title=f"d = {dim}", xlabel="tokens")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("CPU seconds a hardmax layer")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small")
    figure.savefig(path, dpi=140)


def show(record: dict[str, Any]) -> None:
    """Print the tables."""
    print(f"\nroofline: {record['multiply_adds_a_second'] / 1e9:.1f} 1e9 multiply-adds a second\n")
    print(f"{'rival':34}{'d':>3}{'n':>9}{'s a layer':>11}{'min':>9}{'max':>9}{'ns a pair':>11}{'right':>7}{'roof':>6}")
    for row in record["hardmax"]:
        layers = row["seconds_a_layer"]
        roof = "" if row["roofline_share"] is None else f"{row['roofline_share']:.0%}"
        print(
            f"{row['rival']:34}{row['dim']:3}{row['tokens']:9}{statistics.median(layers):11.4f}{min(layers):9.4f}"
            f"{max(layers):9.4f}{row['ns_a_pair']:11.3f}{row['right']:7.3f}{roof:>6}"
        )
    for row in record["deep"]:
        print(f"1,000 layers, d = {row['dim']}, n = {row['tokens']}: {statistics.median(row['seconds']):.2f} CPU s "
              f"({row['attention_layers']} layers attend; {row['sampled_leaders_wrong']} of {row['sampled_leaders']} "
              "sampled leaders sit elsewhere than by brute force)")  # fmt: skip
    for row in record["memory"]:
        print(f"peak memory, d = {row['dim']}, n = {row['tokens']}: {row['peak_MB']:.0f} MB, of which the libraries "
              f"{row['libraries_MB']:.0f} MB")  # fmt: skip
    for row in record["sphere"]:
        error = "" if row["error"] is None else f", error {row['error']:.1e}"
        print(f"sphere, d = {row['dim']}, n = {row['tokens']}: {row['rival']}: "
              f"{statistics.median(row['seconds_a_layer']):.4f} s{error}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="n to 1e5, d = 2, 3, 5, fewer pairs: minutes")
    parser.add_argument("--counts", type=int, nargs="+", help="numbers of tokens")
    parser.add_argument("--deep-counts", type=int, nargs="+", help="numbers of tokens of the runs of 1,000 layers")
    parser.add_argument("--dims", type=int, nargs="+")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--beta", type=float, default=1e3)
    parser.add_argument("--keops", action="store_true", help="also KeOps (it compiles for a minute at first)")
    parser.add_argument("--only", nargs="+", choices=("hardmax", "deep", "memory", "sphere"))
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--figure", type=Path, help="draw cost against n")
    options = parser.parse_args()
    options.pairs = PAIRS["quick" if options.quick else "full"]
    options.dims = options.dims or ([2, 3, 5] if options.quick else [2, 3, 5, 8, 16])
    options.counts = options.counts or [1000, 10_000, 100_000] + [1_000_000] * (not options.quick)
    options.deep_counts = options.deep_counts or [100_000] + [1_000_000] * (not options.quick)
    parts = options.only or ["hardmax", "deep", "memory", "sphere"]
    torch.set_num_threads(1)
    rate = multiply_adds_a_second()
    record: dict[str, Any] = {
        "multiply_adds_a_second": rate,
        "hardmax": list(hardmax_layers(options, rate)) if "hardmax" in parts else [],
        "deep": list(deep_runs(options)) if "deep" in parts else [],
        "memory": list(peak_memory(options)) if "memory" in parts else [],
        "sphere": list(sphere_steps(options)) if "sphere" in parts else [],
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, one thread used",
        "versions": {name: importlib.metadata.version(name) for name in ("numpy", "numba", "torch", "scipy")},
        "peak_memory_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    show(record)
    if options.out is not None:
        options.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if options.figure is not None and record["hardmax"]:
        draw(record["hardmax"], options.figure)
    if any(row["sampled_leaders_wrong"] for row in record["deep"]):
        raise SystemExit("failed: a run follows other leaders than brute force")


if __name__ == "__main__":
    main()
