"""Does the exact Wasserstein distance agree with linear assignment at every scale? Errors relative to the value.

    python benchmarks/transport_oracle.py --pairs 1000 --points 150 --seed 0

A pair has its family (Gaussian, a far common point, two clusters, clusters in clusters, clusters of unequal sizes, one
far point, a lattice, few points moved; tests/transport_cases.py), 1 to 150 points in 1 to 4 dimensions, clusters 1e-9
to 1 wide, and a scale from 1e-12 to 1e12. Linear assignment (SciPy) on squared differences is the oracle. The largest
error and the largest gap of the certificate of each family are printed; the exit code is 1 when an error exceeds 1e-9,
a distance is not certified, or a lower bound lies above the oracle.
"""

import argparse
import sys
import time
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from transport_cases import assignment_distance, pairs

from tokendyn.errors import ConvergenceError
from tokendyn.metrics import wasserstein


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--points", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    errors, gaps, wrong = defaultdict(list), defaultdict(list), 0
    start = time.process_time()
    for name, points, targets in pairs(options.pairs, options.seed, options.points):
        exact = assignment_distance(points, targets)
        try:
            solved = wasserstein(points, targets)
        except ConvergenceError as error:
            print(f"{name}: {error}")
            wrong += 1
            continue
        errors[name].append(abs(solved.value - exact) / (exact or 1.0))
        gaps[name].append((solved.value - solved.lower) / (solved.value or 1.0))
        wrong += errors[name][-1] > 1e-9 or solved.lower > exact * (1 + 1e-15)
    for name in errors:
        print(f"{name:18} {len(errors[name]):5} pairs, error {max(errors[name]):.1e}, gap {max(gaps[name]):.1e}")
    print(f"{wrong} of {options.pairs} wrong or not certified; {time.process_time() - start:.1f} CPU s with the oracle")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
