"""Processor time of fast softmax means against the best direct kernel of the same run.

    python benchmarks/softmax_fast.py --out softmax_fast.json
    python benchmarks/softmax_fast.py --sweep
    python benchmarks/softmax_fast.py --quick

For each problem the rivals take turns: the fast method on all rows; our fused kernel, torch's attention (float64) and
the fused kernel with leaders on a sample of rows, their time scaled to all rows. The error is the largest of 200 rows
against extended precision. Times are medians of processor time on one thread, compilation excluded; the ratio is
that of the best direct kernel to the fast method, with the least and the largest over the repeats.
"""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

import argparse  # noqa: E402
import json  # noqa: E402
import resource  # noqa: E402
import statistics  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402

from tokendyn.attention import fused  # noqa: E402
from tokendyn.attention.softmax_circle import circle_softmax  # noqa: E402
from tokendyn.attention.softmax_direct import direct_softmax  # noqa: E402
from tokendyn.attention.softmax_result import SoftmaxMeans  # noqa: E402
from tokendyn.attention.softmax_sphere import HIGHEST_DEGREE, highest_degree, sphere_softmax  # noqa: E402
from tokendyn.attention.softmax_truncated import truncated_softmax  # noqa: E402
from tokendyn.rivals.attention import torch_softmax  # noqa: E402

#: Rows on which direct kernels are measured: about this many pairs (fewer in a sweep), in multiples of the tile.
SAMPLED_PAIRS, SWEEP_PAIRS, TILE = 4e8, 5e7, 128
CHECKED_ROWS = 200
BETAS = (10.0, 1e2, 1e3, 1e4)


@dataclass(frozen=True)
class Setting:
    """One problem and the fast method for it."""

    name: str
    method: str
    dim: int
    count: int
    beta: float
    on_sphere: bool = True
    general: bool = False
    half: bool = False

    def problem(self) -> tuple[np.ndarray, np.ndarray]:
        """Return queries and keys."""
        rng = np.random.default_rng(self.count + self.dim)
        keys = rng.normal(size=(self.count, self.dim))
        if self.on_sphere:
            keys /= np.linalg.norm(keys, axis=1, keepdims=True)
        if self.half:
            keys[:, 0] = np.abs(keys[:, 0])
            return -keys, keys
        score = rng.normal(size=(self.dim, self.dim))
        return keys @ (score if self.general else np.linalg.qr(score)[0]), keys


def fast(setting: Setting, queries: np.ndarray, keys: np.ndarray) -> SoftmaxMeans:
    """Run the fast method."""
    methods: dict[str, Callable[..., SoftmaxMeans]] = {
        "circle": circle_softmax,
        "sphere": sphere_softmax,
        "truncated": truncated_softmax,
    }
    return methods[setting.method](queries, keys, keys, inverse_temperature=setting.beta)


def direct_rivals(setting: Setting, queries: np.ndarray, keys: np.ndarray) -> dict[str, Callable[[], object]]:
    """Return the direct kernels on a sample of rows."""
    weights = np.ones(len(keys))
    return {
        "fused online kernel": lambda: direct_softmax(queries, keys, keys, inverse_temperature=setting.beta),
        "torch attention": lambda: torch_softmax(queries, keys, keys, inverse_temperature=setting.beta),
        "fused with leaders": lambda: fused.softmax_rows(queries, keys, keys, weights, setting.beta),
    }


def seconds(action: Callable[[], object]) -> float:
    start = time.process_time()
    action()
    return time.process_time() - start


def worst_error(setting: Setting, found: SoftmaxMeans, queries: np.ndarray, keys: np.ndarray) -> float:
    """Return the largest error of a mean on some rows, relative to the largest value, by extended precision."""
    largest, worst = float(np.linalg.norm(keys, axis=1).max()), 0.0
    extended = keys.astype(np.longdouble)
    for row in np.linspace(0, len(queries) - 1, CHECKED_ROWS).astype(np.int64):
        scores = np.longdouble(setting.beta) * (extended @ queries[row].astype(np.longdouble))
        terms = np.exp(scores - scores.max())
        error = (terms @ extended) / terms.sum() - found.means[row]
        worst = max(worst, float(np.sqrt((error**2).sum())) / largest)
    return worst


def measure(setting: Setting, repeats: int, pairs: float) -> dict[str, object]:
    """Measure one setting."""
    queries, keys = setting.problem()
    rows = min(setting.count, max(TILE, round(pairs / setting.count / TILE) * TILE))
    rivals = direct_rivals(setting, queries[:rows], keys)
    fast(setting, queries[:300], keys[:3000])
    for rival in direct_rivals(setting, queries[:TILE], keys[:300]).values():
        rival()
    times: dict[str, list[float]] = {name: [] for name in ("fast", *rivals)}
    for _ in range(repeats):
        times["fast"].append(seconds(lambda: fast(setting, queries, keys)))
        for name, rival in rivals.items():
            times[name].append(seconds(rival) * setting.count / rows)
    found = fast(setting, queries, keys)
    medians = {name: statistics.median(values) for name, values in times.items()}
    best = min(rivals, key=lambda name: medians[name])
    ratios = [direct / quick for direct, quick in zip(times[best], times["fast"], strict=True)]
    return {
        "setting": setting.name,
        "method": setting.method,
        "n": setting.count,
        "d": setting.dim,
        "beta": setting.beta,
        "seconds": medians,
        "direct_ns_a_pair": {name: 1e9 * medians[name] / setting.count**2 for name in rivals},
        "best_direct": best,
        "ratio": medians[best] / medians["fast"],
        "ratio_range": [min(ratios), max(ratios)],
        "error": worst_error(setting, found, queries, keys),
        "bound": float((found.error_bounds + found.rounding_bounds).max()),
        "recomputed": found.recomputed,
        "peak_GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def targets() -> list[Setting]:
    """Return the settings of the goals, and harder ones beside them."""
    return [
        Setting("circle", "circle", 2, 10**6, 1e3),
        Setting("sphere", "sphere", 3, 10**6, 1e3),
        Setting("space, Gaussian, general B", "truncated", 3, 10**5, 1e3, on_sphere=False, general=True),
        Setting("circle, half of it", "circle", 2, 10**6, 1e3, half=True),
        Setting("circle, general B", "circle", 2, 10**6, 1e3, general=True),
        Setting("sphere, general B", "truncated", 3, 10**5, 1e4, general=True),
        Setting("space, Gaussian, general B", "truncated", 3, 10**6, 1e3, on_sphere=False, general=True),
    ]


def sweep() -> list[Setting]:
    """Return settings around which the fast methods begin to win."""
    settings = [Setting("circle", "circle", 2, n, beta) for n in (300, 500, 1000, 10000) for beta in (10.0, 1e3)]
    for n in (2000, 5000, 10000, 100000):
        for beta in BETAS:
            settings += [Setting("sphere", method, 3, n, beta) for method in ("sphere", "truncated")]
    for dim in (2, 3, 4, 5):
        for beta in (1.0, 10.0, 1e2):
            settings.append(Setting("space", "truncated", dim, 10000, beta, on_sphere=False, general=True))
    return [s for s in settings if s.method != "sphere" or highest_degree(s.beta) <= HIGHEST_DEGREE]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="targets with a tenth of the tokens, one repeat")
    parser.add_argument("--sweep", action="store_true", help="where the fast methods begin to win")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = sweep() if arguments.sweep else targets()
    if arguments.quick:
        settings = [Setting(**{**vars(s), "count": max(1000, s.count // 10)}) for s in settings]
    results = []
    for setting in settings:
        pairs = SWEEP_PAIRS if arguments.sweep or arguments.quick else SAMPLED_PAIRS
        result = measure(setting, 1 if arguments.quick else arguments.repeats, pairs)
        results.append(result)
        low, high = result["ratio_range"]
        print(
            f"{setting.name:27} {setting.method:9} n={setting.count:<8} d={setting.dim} beta={setting.beta:<7g} "
            f"{result['seconds']['fast']:9.4f} s; direct {result['seconds'][result['best_direct']]:9.3g} s "
            f"({result['best_direct']}, {result['direct_ns_a_pair'][result['best_direct']]:.2f} ns a pair); "
            f"ratio {result['ratio']:.3g} ({low:.3g} to {high:.3g}); error {result['error']:.1e}, "
            f"bound {result['bound']:.1e}; {result['recomputed']} rows recomputed; peak {result['peak_GB']:.2f} GB",
            flush=True,
        )
        if arguments.out:
            arguments.out.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
