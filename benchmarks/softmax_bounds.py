"""Do fast softmax means keep their stated bounds? Random and clustered cases against extended precision.

    python benchmarks/softmax_bounds.py --cases 1000 --tokens 700 --out softmax_bounds.json

Every case has its own tokens (uniform, half a sphere, a cap, clusters of widths 1e-9 to 0.3, duplicates, two
antipodal points, one token, near the poles; in space: Gaussian, lattice, clusters, a line, far from the origin),
queries (tokens, their negatives, rotated, under a general matrix, elsewhere), values, weights over six decades, and
inverse temperature from 1e-2 to 1e6. Of each, 40 rows are computed in extended precision (80 bits). The largest
error of a mean and of a log partition function is printed as a share of the stated bound; the exit code is 1 when
any share exceeds 1.
"""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

import argparse  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from softmax_cases import Case, space_cases, sphere_cases, worst_errors  # noqa: E402

from tokendyn.attention.softmax_circle import circle_softmax  # noqa: E402
from tokendyn.attention.softmax_direct import direct_softmax  # noqa: E402
from tokendyn.attention.softmax_result import SoftmaxMeans  # noqa: E402
from tokendyn.attention.softmax_spectral import on_one_sphere  # noqa: E402
from tokendyn.attention.softmax_sphere import HIGHEST_DEGREE, highest_degree, sphere_softmax  # noqa: E402
from tokendyn.attention.softmax_truncated import truncated_softmax  # noqa: E402

TOLERANCE = 1e-10
ROWS = 40

Method = Callable[[Case], SoftmaxMeans | None]


def solved_by(method: Callable[..., SoftmaxMeans], **options: object) -> Method:
    """Return a method that takes a case."""

    def solve(case: Case) -> SoftmaxMeans:
        arrays = case.queries, case.keys, case.values
        return method(*arrays, inverse_temperature=case.beta, weights=case.weights, **options)

    return solve


def harmonics(case: Case) -> SoftmaxMeans | None:
    """Solve a case by spherical harmonics, where they apply: queries of one length, and not too low a temperature."""
    sharpness = case.beta * float(np.linalg.norm(case.queries, axis=1).max())
    if highest_degree(sharpness) > HIGHEST_DEGREE or not on_one_sphere(case.queries, sharpness, TOLERANCE):
        return None
    return solved_by(sphere_softmax, tolerance=TOLERANCE)(case)


#: Method, source of cases, dimension.
SUITES: dict[str, tuple[Method, Callable[..., Iterator[Case]], int]] = {
    "circle": (solved_by(circle_softmax, tolerance=TOLERANCE), sphere_cases, 2),
    "circle, windows": (solved_by(circle_softmax, tolerance=TOLERANCE, spectral=False), sphere_cases, 2),
    "sphere, harmonics": (harmonics, sphere_cases, 3),
    "sphere, truncated": (solved_by(truncated_softmax, tolerance=TOLERANCE), sphere_cases, 3),
    "space d=2, truncated": (solved_by(truncated_softmax, tolerance=TOLERANCE), space_cases, 2),
    "space d=3, truncated": (solved_by(truncated_softmax, tolerance=TOLERANCE), space_cases, 3),
    "space d=3, direct": (solved_by(direct_softmax), space_cases, 3),
}


def check(name: str, cases: int, tokens: int, seed: int) -> dict[str, object]:
    """Run one suite and return its largest shares and its failures."""
    method, source, dim = SUITES[name]
    rng = np.random.default_rng(seed)
    start = time.process_time()
    checked, recomputed, shares, failures = 0, 0, np.zeros(2), []
    bounds = []
    for case in source(dim, cases, tokens, seed):
        found = method(case)
        if found is None:
            continue
        rows = rng.integers(0, len(case.queries), min(ROWS, len(case.queries)))
        share = np.array(worst_errors(case, found, rows))
        within = share.max() <= 1 and found.error_bounds.max() <= TOLERANCE and np.isfinite(found.means).all()
        if not within:
            failures.append(f"{case.name}: {share[0]:.2g}, {share[1]:.2g} of the bound")
        shares = np.maximum(shares, share)
        checked, recomputed = checked + 1, recomputed + (found.recomputed > 0)
        bounds.append(float(found.error_bounds.max()))
    return {
        "suite": name,
        "cases": checked,
        "failures": failures,
        "largest_share_mean": shares[0],
        "largest_share_log": shares[1],
        "largest_bound": max(bounds),
        "cases_with_recomputed_rows": recomputed,
        "cpu_seconds": time.process_time() - start,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--tokens", type=int, default=700)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=list(SUITES), default=list(SUITES))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results = []
    for name in arguments.only:
        result = check(name, arguments.cases, arguments.tokens, arguments.seed)
        results.append(result)
        print(
            f"{name:22} {result['cases']:5} cases, {len(result['failures'])} outside; largest share of the bound: "
            f"mean {result['largest_share_mean']:.2g}, log mass {result['largest_share_log']:.2g}; "
            f"{result['cases_with_recomputed_rows']} with rows recomputed; {result['cpu_seconds']:.0f} CPU s",
            flush=True,
        )
        for failure in result["failures"][:10]:
            print("   ", failure)
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=2))
    return int(any(result["failures"] for result in results))


if __name__ == "__main__":
    raise SystemExit(main())
