"""Every promise of the exact constructions, measured: labels, blocks, nonzeros, planning, verification.

    python benchmarks/exact.py --out exact.json --figure exact_slopes.png
    python benchmarks/exact.py --quick
    python benchmarks/exact.py --only rational slopes

Each row builds a transformer from labelled sequences, runs all of them through the weights and prints the number
of wrong sequences and max |output - label|, which must be 0 and 0. Seconds are processor seconds, after a small build
that compiles the kernels; memory is the largest resident size of the process so far.
"""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

import argparse  # noqa: E402
import json  # noqa: E402
import resource  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

from tokendyn import exact  # noqa: E402
from tokendyn.exact.labels import encode_labels  # noqa: E402
from tokendyn.exact.plan import make_plan  # noqa: E402
from tokendyn.exact.sequences import gather, token_sets  # noqa: E402

Row = dict[str, Any]
Family = tuple[str, Any, list[int], dict[str, Any]]


def families(scale: int) -> Iterator[Family]:
    """Yield (name, sequences, labels, options): the rows of the table; ``scale`` divides the number of sequences."""
    rng = np.random.default_rng(0)
    many = 10_000 // scale

    def labels(count: int) -> list[int]:
        return rng.integers(0, 2, count).tolist()

    for dim in (2, 3, 16, 128):
        for dtype in ("float64", "float32"):
            tokens = rng.normal(size=(many, 10, dim))
            yield f"Gaussian, n = 10, d = {dim}", tokens, labels(many), {"dtype": dtype, "strategy": "fused"}
    tokens = rng.normal(size=(1000 // scale, 1000, 3))
    yield "Gaussian, n = 1,000, d = 3", tokens, labels(len(tokens)), {"strategy": "fused"}
    table = rng.normal(size=(50, 3))
    chosen: dict[tuple[int, ...], None] = {}
    while len(chosen) < many:
        chosen.setdefault(tuple(sorted(rng.choice(50, 10, replace=False))))
    shared = [table[list(words)] for words in chosen]
    yield "shared vocabulary of 50", shared, labels(many), {"dtype": "float32", "strategy": "fused"}
    yield "shared vocabulary of 50", shared, labels(many), {"dtype": "float32", "strategy": "narrow"}
    words = rng.normal(size=(60, 3))
    pairs = [words[[i, j]] for i in range(60) for j in range(i)]
    long = rng.normal(size=(1000 // scale, 2))
    near = rng.normal(size=(500 // scale, 10, 3))
    for strategy in ("narrow", "fused"):
        options = {"strategy": strategy}
        yield "all pairs of 60", pairs, labels(len(pairs)), options
        yield "nested chain", [long[: k + 1] for k in range(len(long))], [k % 2 for k in range(len(long))], options
        complements = [np.delete(long[:300], k, axis=0) for k in range(min(len(long), 300))]
        yield "complements", complements, labels(len(complements)), options
        both = [*near, *(near * (1 + 2.0**-38))]
        yield "near-duplicates, 2^-38", both, [0] * len(near) + [1] * len(near), options
    for dim, strategy in ((128, "half-space"), (3, "fingerprint"), (3, "auto")):
        tokens = rng.normal(size=(many // 5, 10, dim))
        yield f"Gaussian, n = 10, d = {dim}", tokens, labels(len(tokens)), {"strategy": strategy}


def measure(family: Family) -> Row:
    """Build one row, run it, and return what came of it."""
    name, sequences, labels, options = family
    began = time.process_time()
    try:
        model = exact.compile(sequences, labels, certify=False, **options)
    except (exact.SeparationError, exact.PrecisionError) as error:
        return {"family": name, "sequences": len(labels), **options, "refused": str(error)}
    built = time.process_time()
    done = model.certificate.verify()
    stats, certificate = model.stats, model.certificate
    return {
        "family": name, "sequences": len(labels), "dtype": model.dtype, "strategy": model.strategy,
        "blocks": stats.blocks, "width": stats.width, "nonzeros": stats.nonzeros, "queries": stats.queries,
        "per_query": round(stats.nonzeros / max(stats.queries, 1), 1), "gap": certificate.delta_min,
        "error": certificate.error, "wrong": len(done.wrong), "largest_difference": done.largest_difference,
        "build_s": round(built - began, 2), "verify_s": round(done.seconds, 2),
    }  # fmt: skip


def slopes(scale: int) -> Iterator[Row]:
    """Yield blocks and nonzeros for growing numbers of sequences, then for growing lengths of 1,000 sequences.

    A sequence grows by new tokens, or by repeating the ones that it has, which changes nothing about its set.
    """
    rng = np.random.default_rng(1)
    sizes = [(count, length, "new") for count in (100, 300, 1000, 3000, 10_000) for length in (5, 50)]
    sizes += [(1000, length, kind) for kind in ("new", "repeated") for length in (10, 30, 100, 300, 1000)]
    base = rng.normal(size=(max(1000 // scale, 20), 5, 3))
    fixed = rng.integers(0, 2, len(base))
    for strategy in ("narrow", "fused"):
        for count, length, kind in sizes:
            tokens, labels = np.tile(base, (1, length // 5, 1)), fixed
            if kind == "new":
                tokens = rng.normal(size=(max(count // scale, 20), length, 3))
                labels = rng.integers(0, 2, len(tokens))
            stats = exact.compile(tokens, labels, strategy=strategy, certify=False).stats
            yield {
                "strategy": strategy, "sequences": len(tokens), "length": length, "tokens": kind,
                "blocks": stats.blocks, "nonzeros": stats.nonzeros, "queries": stats.queries,
            }  # fmt: skip


def planning(scale: int) -> Iterator[Row]:
    """Yield seconds and memory of planning alone, reading and checking included."""
    for count, length, lagged in ((100_000 // scale, 10, False), (100_000 // scale, 10, True)):
        rng = np.random.default_rng(2)
        tokens, labels = rng.normal(size=(count, length, 3)), rng.integers(0, 2, count)
        began = time.process_time()
        given = gather(tokens)
        plan = make_plan(given, token_sets(given), encode_labels(labels, count)[1], lagged=lagged)
        seconds = time.process_time() - began
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        yield {
            "sequences": count, "length": length, "fused": lagged, "queries": plan.queries,
            "seconds": round(seconds, 1), "memory_gb": round(memory, 2),
        }  # fmt: skip


def rational(scale: int) -> Iterator[Row]:
    """Yield the seconds of verification in exact rational arithmetic."""
    rng = np.random.default_rng(3)
    for count in (100, 300, 1000):
        tokens = rng.normal(size=(max(count // scale, 20), 10, 3))
        model = exact.compile(tokens, rng.integers(0, 2, len(tokens)), strategy="narrow", certify=False)
        done = model.certificate.verify(exact=True)
        yield {
            "sequences": len(tokens), "blocks": model.stats.blocks, "passed": done.passed,
            "arithmetic": done.arithmetic, "seconds": round(done.seconds, 1),
        }  # fmt: skip


def draw(rows: list[Row], path: Path) -> None:
    """Draw blocks and nonzeros against the number of sequences, and against their length."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4), layout="constrained")
    by_count, by_count_too, by_length = figure.subplots(1, 3)
    colours = {"narrow": "#0072B2", "fused": "#D55E00"}
    for axes, what in ((by_count, "blocks"), (by_count_too, "nonzeros")):
        for strategy, colour in colours.items():
            for length, style in ((5, "o-"), (50, "s--")):
                some = [row for row in rows if (row["strategy"], row["length"]) == (strategy, length)]
                count, value = ([row[key] for row in some] for key in ("sequences", what))
                slope = np.polyfit(np.log(count), np.log(value), 1)[0]
                label = f"{strategy}, n = {length}: slope {slope:.2f}"
                axes.loglog(count, value, style, color=colour, ms=4, label=label)
        axes.set(xlabel="sequences N", title=what)
    limit = np.array([min(row["sequences"] for row in rows), max(row["sequences"] for row in rows)])
    by_count.loglog(limit, 2 * limit - 1, ":", color="#666D76", label="2N - 1, the bound for narrow")
    for strategy, colour in colours.items():
        for kind, style in (("new", "o-"), ("repeated", "^:")):
            some = [row for row in rows if row["strategy"] == strategy and row["length"] not in (5, 50)]
            some = [row for row in some if row["tokens"] == kind]
            lengths, blocks = ([row[key] for row in some] for key in ("length", "blocks"))
            by_length.semilogx(lengths, blocks, style, color=colour, ms=4, label=f"{strategy}, {kind} tokens")
    by_length.set(xlabel="tokens of each sequence n", title=f"blocks, N = {some[0]['sequences']}", ylim=(0, None))
    for axes in (by_count, by_count_too, by_length):
        axes.legend(fontsize=7)
    figure.savefig(path, dpi=110)


#: What can be measured: functions of the divisor of the number of sequences.
PARTS: dict[str, Callable[[int], Iterator[Row]]] = {
    "planning": planning,
    "families": lambda scale: map(measure, families(scale)),
    "rational": rational,
    "slopes": slopes,
}


def main() -> None:
    """Read the command line, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a twentieth of the sequences")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="which parts; all by default")
    parser.add_argument("--out", type=Path, help="write all numbers as JSON")
    parser.add_argument("--figure", type=Path, help="draw blocks and nonzeros against the number of sequences")
    options = parser.parse_args()
    if options.figure and "slopes" not in options.only:
        parser.error("--figure draws the part 'slopes'; name it after --only")
    exact.compile(np.zeros((2, 1, 2)) + np.arange(2)[:, None, None], [0, 1], strategy="fused")
    record: dict[str, list[Row]] = {}
    for part in options.only:
        record[part] = []
        for row in PARTS[part](20 if options.quick else 1):
            record[part].append(row)
            print(part, row, flush=True)
    if options.figure:
        draw(record["slopes"], options.figure)
    if options.out:
        options.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if any(row.get("wrong") or row.get("passed") is False for rows in record.values() for row in rows):
        sys.exit("a sequence does not have its label")


if __name__ == "__main__":
    main()
