"""What one attention step and 1,000 layers cost, against rivals in the same run.

    python benchmarks/attention.py --quick --out attention.json --figure attention.png

Gaussian tokens, hardmax, A = I, float64, one thread, CPU seconds of the process. Rivals take turns in every repeat.
Those that look at every pair are measured on some rows and scaled to all rows (they cost the same for each), what they
do once (a tree) apart. ``tokendyn, auto`` is measured on all rows, but for a million tokens of 5 and more coordinates
on 20,000. "1,000 s" is a thousand times a layer; what tokendyn needs for 1,000 layers is measured (``--only deep``).
``right`` is the share of rows whose leader is the canonical one; the roofline is the rate of fused multiply-adds of a
large matrix product (BLAS) in the same run, and a pair needs d. Softmax: one step at inverse temperature ``--beta`` on
unit vectors, with every softmax backend that applies; the error is against the direct kernel.
"""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

import argparse  # noqa: E402
import importlib.metadata  # noqa: E402
import itertools  # noqa: E402
import json  # noqa: E402
import platform  # noqa: E402
import statistics  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import rivals  # noqa: E402
import torch  # noqa: E402
from rivals import Rival  # noqa: E402

from tokendyn.attention import attend  # noqa: E402
from tokendyn.attention.dispatch import SOFTMAX  # noqa: E402
from tokendyn.attention.step import canonical_scores  # noqa: E402
from tokendyn.dynamics import Layer, run  # noqa: E402
from tokendyn.errors import BadInputError  # noqa: E402

#: Pairs that a rival is timed on in one repeat, and rows at least.
PAIRS, FEWEST_ROWS = {"quick": 1e7, "full": 5e7}, 256

#: Number of pairs up to which ``auto`` is timed on all rows; above, on as many rows as give this number.
AUTO_PAIRS = 1e11

#: Pairs whose canonical scores are computed to count right leaders.
CHECKED_PAIRS = 2e7

PARTS = ("hardmax", "deep", "memory", "sphere")

#: What every other softmax is compared with.
DIRECT = "softmax: tokendyn, direct"

#: Runs of 1,000 layers: the largest number of tokens from this many coordinates on.
MANY_COORDINATES, DEEP_TOKENS = 5, 100_000


def seconds_of(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def multiply_adds_a_second() -> float:
    """Return the best rate of a 1,500 by 1,500 matrix product."""
    matrix = np.random.default_rng(0).normal(size=(1500, 1500))
    return 1500**3 / min(seconds_of(lambda: matrix @ matrix)[0] for _ in range(5))


def layer_times(rival: Rival, tokens: np.ndarray, rows: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the seconds of a layer, scaled from some rows to all, and what was found for these rows."""
    once, asked = seconds_of(lambda: rival(tokens))
    seconds, found = seconds_of(lambda: asked(rows))
    return once + seconds * len(tokens) / len(rows), found


def hardmax_layers(options: argparse.Namespace, rate: float) -> Iterator[dict[str, Any]]:
    """Yield what a layer costs each rival, for every n and d."""
    contenders = rivals.hardmax_rivals(with_keops=options.keops)
    for count, dim in itertools.product(options.counts, options.dims):
        tokens = np.random.default_rng([count, dim]).normal(size=(count, dim))
        base = max(FEWEST_ROWS, int(options.pairs / count))
        rows = {name: np.arange(min(count, max(4, int(base * rivals.SHARES.get(name, 1))))) for name in contenders}
        all_pairs = dim > 4 and count**2 > AUTO_PAIRS
        rows[rivals.AUTO] = np.arange(int(AUTO_PAIRS / 5 / count) if all_pairs else count)
        truth = canonical_leaders(tokens, min(1000, int(CHECKED_PAIRS / count)))
        taken: dict[str, list[float]] = {name: [] for name in contenders}
        right = {}
        for name, rival in contenders.items():
            found = layer_times(rival, tokens, rows[name])[1][: len(truth)]
            right[name] = float((found == truth[: len(found)]).mean())
        for _ in range(options.repeats):
            for name, rival in contenders.items():
                taken[name].append(layer_times(rival, tokens, rows[name])[0])
        for name, layers in taken.items():
            pair = statistics.median(layers) / count**2
            yield {
                "rival": name, "dim": dim, "tokens": count, "seconds_a_layer": layers, "ns_a_pair": 1e9 * pair,
                "right": right[name], "roofline_share": dim / pair / rate if name == rivals.ALL_PAIRS else None,
                "rows": len(rows[name]),
            }  # fmt: skip


def canonical_leaders(tokens: np.ndarray, rows: int) -> np.ndarray:
    """Return the first leader of some rows by canonical scores."""
    parts = np.array_split(np.arange(min(rows, len(tokens))), 10)
    return np.concatenate([canonical_scores(tokens[part], tokens).argmax(1) for part in parts if part.size])


def deep_runs(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the cost of 1,000 layers, and the number of 1,000 sampled leaders that differ from the canonical ones."""
    for dim in options.dims:
        for count in options.deep_counts:
            if dim > MANY_COORDINATES and count > DEEP_TOKENS:
                continue
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
    """Yield one step on unit vectors: hardmax by a k-d tree, softmax by direct rivals and by every backend."""
    for count, dim in itertools.product(options.counts, options.dims):
        tokens = np.random.default_rng([count, dim, 2]).normal(size=(count, dim))
        tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
        some = np.arange(min(count, max(rivals.TILE, int(options.pairs / count / 10))))
        everyone = np.arange(count)
        jobs: dict[str, tuple[Rival, np.ndarray]] = {
            DIRECT: (rivals.softmax_by("fused", options.beta), some),
            "softmax: torch SDPA": (rivals.sdpa(options.beta), some),
            "hardmax: k-d tree": (rivals.nearest, some),
            "hardmax: tokendyn, all pairs": (rivals.ours("fused"), some),
        }
        if options.keops:
            jobs["softmax: KeOps"] = (rivals.keops_softmax(options.beta), some)
        if dim <= 3 or count <= 10_000:
            jobs |= {
                f"softmax: tokendyn, {name}": (rivals.softmax_by(name, options.beta), everyone) for name in SOFTMAX
            }
        exact = None
        taken: dict[str, list[float]] = {name: [] for name in jobs}
        errors = {}
        for name, (rival, rows) in jobs.items():
            try:
                _, found = layer_times(rival, tokens, rows)
            except BadInputError:
                del taken[name]
                continue
            exact = found if exact is None else exact
            errors[name] = float(np.abs(found[: len(exact)] - exact).max()) if name.startswith("softmax") else None
        for _ in range(options.repeats):
            for name, seconds in taken.items():
                seconds.append(layer_times(jobs[name][0], tokens, jobs[name][1])[0])
        for name, seconds in taken.items():
            yield {"rival": name, "dim": dim, "tokens": count, "error": errors[name], "seconds_a_layer": seconds}


_PEAK = """
import resource, numpy as np
from tokendyn.attention import attend
from tokendyn.dynamics import Layer, run
jobs = {{
    "1,000 layers": lambda tokens: run(tokens, [Layer(0.5)] * 1000, record="last"),
    "hardmax, all pairs": lambda tokens: attend(tokens, tokens, tokens, backend="fused"),
    "softmax, all pairs": lambda tokens: attend(tokens, tokens, tokens, inverse_temperature=1.0, backend="fused"),
}}
small, tokens = (np.random.default_rng(0).normal(size=(n, {dim})) for n in (3000, {count}))
jobs["{job}"](small)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
jobs["{job}"](tokens)
print(before / 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def peak_memory(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the peak memory of a process that runs 1,000 layers, or one step over all pairs, with its libraries."""
    jobs = [("1,000 layers", dim, count) for dim in options.dims for count in options.deep_counts]
    jobs = [(job, dim, count) for job, dim, count in jobs if dim <= MANY_COORDINATES or count <= DEEP_TOKENS]
    jobs += [(job, 3, 100_000) for job in ("hardmax, all pairs", "softmax, all pairs")]
    for job, dim, count in jobs:
        code = _PEAK.format(job=job, dim=dim, count=count)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        before, peak = map(float, done.stdout.split())
        yield {"job": job, "dim": dim, "tokens": count, "peak_MB": peak, "libraries_MB": before}


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw seconds a layer against n, one panel for each d."""
    from matplotlib.figure import Figure

    dims = sorted({row["dim"] for row in rows})
    figure = Figure(figsize=(3.2 * len(dims), 3.6), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(dims), sharey=True))
    marks = "osv^Dx"
    for axis, dim in zip(axes, dims, strict=True):
        for number, name in enumerate(dict.fromkeys(row["rival"] for row in rows)):
            mine = sorted((r for r in rows if (r["rival"], r["dim"]) == (name, dim)), key=lambda r: r["tokens"])
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
    figure.savefig(path, dpi=96)


def show(record: dict[str, Any]) -> None:
    """Print the tables."""
    print(f"\nroofline: {record['multiply_adds_a_second'] / 1e9:.1f} 1e9 multiply-adds a second\n")
    heads = ("s a layer", "min", "max", "ns a pair", "1,000 s", "right", "roof")
    print(f"{'rival':34}{'d':>3}{'n':>9}" + "".join(f"{head:>11}" for head in heads))
    for row in record["hardmax"]:
        layers = row["seconds_a_layer"]
        roof = "" if row["roofline_share"] is None else f"{row['roofline_share']:.0%}"
        print(
            f"{row['rival']:34}{row['dim']:3}{row['tokens']:9}{statistics.median(layers):11.4f}{min(layers):11.4f}"
            f"{max(layers):11.4f}{row['ns_a_pair']:11.4f}{1000 * statistics.median(layers):11.1f}"
            f"{row['right']:11.3f}{roof:>11}"
        )
    for row in record["deep"]:
        print(f"1,000 layers, d = {row['dim']}, n = {row['tokens']}: {statistics.median(row['seconds']):.2f} CPU s "
              f"({row['attention_layers']} layers attend; {row['sampled_leaders_wrong']} of {row['sampled_leaders']} "
              "sampled leaders sit elsewhere than by brute force)")  # fmt: skip
    for row in record["memory"]:
        print(f"peak memory, {row['job']}, d = {row['dim']}, n = {row['tokens']}: {row['peak_MB']:.0f} MB, of which "
              f"the libraries {row['libraries_MB']:.0f} MB")  # fmt: skip
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
    parser.add_argument("--only", nargs="+", choices=PARTS)
    parser.add_argument("--out", type=Path, help="write the figures as JSON, row by row")
    parser.add_argument("--figure", type=Path, help="draw cost against n")
    options = parser.parse_args()
    options.pairs = PAIRS["quick" if options.quick else "full"]
    options.dims = options.dims or ([2, 3, 5] if options.quick else [2, 3, 5, 8, 16])
    options.counts = options.counts or [1000, 10_000, 100_000] + [1_000_000] * (not options.quick)
    options.deep_counts = options.deep_counts or [100_000] + [1_000_000] * (not options.quick)
    torch.set_num_threads(1)
    rate = multiply_adds_a_second()
    record: dict[str, Any] = {
        "multiply_adds_a_second": rate,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, one thread used",
        "versions": {name: importlib.metadata.version(name) for name in ("numpy", "numba", "torch", "scipy")},
        **{part: [] for part in PARTS},
    }
    parts = {"hardmax": hardmax_layers(options, rate), "deep": deep_runs(options), "memory": peak_memory(options)}
    for part, rows in (parts | {"sphere": sphere_steps(options)}).items():
        for row in rows if part in (options.only or PARTS) else ():
            record[part].append(row)
            if options.out is not None:
                options.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    show(record)
    if options.figure is not None and record["hardmax"]:
        draw(record["hardmax"], options.figure)
    if any(row["sampled_leaders_wrong"] for row in record["deep"]):
        raise SystemExit("failed: a run follows other leaders than brute force")


if __name__ == "__main__":
    main()
