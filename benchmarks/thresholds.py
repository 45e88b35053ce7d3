"""Does the dispatcher choose well? Every backend that applies against the one that ``auto`` takes, around thresholds.

    python benchmarks/thresholds.py --out thresholds.json

For each setting all backends take turns (CPU seconds, medians, one thread). The regret is the time of the backend
that ``auto`` chose over that of the fastest; the worst are printed last. Hardmax: Gaussian tokens around the numbers
of keys, rows and coordinates at which keys are left out. Softmax: unit vectors under a rotation, and Gaussian tokens.
"""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

import argparse  # noqa: E402
import json  # noqa: E402
import math  # noqa: E402
import statistics  # noqa: E402
import time  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402

from tokendyn.attention import attend  # noqa: E402
from tokendyn.attention.dispatch import SOFTMAX  # noqa: E402
from tokendyn.errors import BadInputError  # noqa: E402

HARDMAX = ("fused", "polytope", "prefix")

#: Coordinates, keys, rows (None: all keys ask).
KEYS_SWEEP = [(dim, count, None) for dim in (1, 2, 3, 4, 5, 6, 8, 12, 16, 20) for count in (1000, 2000, 4000, 10_000)]
ROWS_SWEEP = [(dim, 30_000, rows * dim) for dim in (2, 3, 4, 5, 8, 16) for rows in (16, 64, 256)]

#: Coordinates, keys, beta, on the sphere.
SOFTMAX_SWEEP = [
    *((2, count, beta, True) for count in (300, 500, 1000, 3000) for beta in (10.0, 1e3)),
    *((3, count, beta, True) for count in (1000, 3000, 10_000) for beta in (10.0, 1e2, 1e3)),
    *((dim, 5000, beta, False) for dim in (3, 4, 5) for beta in (1.0, 1e2)),
]


def hardmax_settings() -> Iterator[tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]]:
    for dim, count, rows in KEYS_SWEEP + ROWS_SWEEP:
        tokens = np.random.default_rng([dim, count]).normal(size=(count, dim))
        asking = None if rows is None else np.arange(rows)
        where = {"kind": "hardmax", "dim": dim, "keys": count, "rows": rows or count, "beta": math.inf}
        yield where, {"queries": tokens, "keys": tokens, "values": tokens, "rows": asking}, HARDMAX


def softmax_settings() -> Iterator[tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]]:
    for dim, count, beta, on_sphere in SOFTMAX_SWEEP:
        rng = np.random.default_rng([dim, count])
        tokens = rng.normal(size=(count, dim))
        tokens /= np.linalg.norm(tokens, axis=1, keepdims=True) if on_sphere else 1.0
        kind = "softmax, sphere" if on_sphere else "softmax, space"
        where = {"kind": kind, "dim": dim, "keys": count, "rows": count, "beta": beta}
        settings = {"inverse_temperature": beta, "error_tolerance": 1e-10, "find_leaders": False}
        queries = tokens @ np.linalg.qr(rng.normal(size=(dim, dim)))[0]
        yield where, {"queries": queries, "keys": tokens, "values": tokens, **settings}, ("fused", *SOFTMAX)


def measured(where: dict[str, Any], step: dict[str, Any], names: tuple[str, ...], repeats: int) -> dict[str, Any]:
    """Return the seconds of every backend that applies, and what ``auto`` chose."""
    taken: dict[str, list[float]] = {}
    for name in names:
        try:
            attend(**step, backend=name)
            taken[name] = []
        except BadInputError:
            continue
    for _ in range(repeats):
        for name, seconds in taken.items():
            start = time.process_time()
            attend(**step, backend=name)
            seconds.append(time.process_time() - start)
    medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
    chosen = attend(**step).choice.backend
    return where | {"seconds": taken, "auto": chosen, "regret": medians[chosen] / min(medians.values())}


def line(row: dict[str, Any]) -> str:
    times = ", ".join(f"{name} {1e3 * statistics.median(seconds):.2f}" for name, seconds in row["seconds"].items())
    beta = "" if math.isinf(row["beta"]) else f" beta={row['beta']:g}"
    return (
        f"{row['kind']:15} d={row['dim']:<3} keys={row['keys']:<6} rows={row['rows']:<6}{beta} auto: {row['auto']}, "
        f"regret {row['regret']:.2f} (ms: {times})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=("hardmax", "softmax"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = [] if options.only == "softmax" else list(hardmax_settings())
    settings += [] if options.only == "hardmax" else list(softmax_settings())
    rows = []
    for setting in settings:
        rows.append(measured(*setting, options.repeats))
        print(line(rows[-1]), flush=True)
        if options.out is not None:
            options.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    print(f"\nmedian regret {statistics.median(row['regret'] for row in rows):.2f}; the worst:")
    for row in sorted(rows, key=lambda row: -row["regret"])[:8]:
        print(line(row))


if __name__ == "__main__":
    main()
