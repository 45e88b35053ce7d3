"""Do all hardmax backends agree with the dense reference to the last bit? Counts mismatches over adversarial steps.

    python benchmarks/agreement.py --seeds 5

A step is one state of one family of tokens (tests/adversarial.py, alone and with points inside their hull), one
score matrix (identity or general), one tie tolerance, plain or with weights and a mask. After each step the tokens
move by one layer, so that later states hold near-ties and coalescing tokens. Every backend computes every step;
leaders, tie counts, tie spreads, means and top scores are compared bit by bit. Ends with exit code 1 on a mismatch.
"""

import argparse
import itertools
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from adversarial import FAMILIES

from tokendyn.attention import AttentionStep, Head
from tokendyn.attention.dispatch import HARDMAX

TIE_TOLERANCES = (0.0, 1e-13, 1e-10)
DIMENSIONS = (1, 2, 3, 4, 5, 6)
LAYERS = 4
ALPHA = 0.5
INNER_POINTS = 250
FIELDS = ("leaders", "tie_counts", "tie_spreads", "means")

Case = tuple[Head, np.ndarray, np.ndarray | None, np.ndarray | None]


def cases(seed: int, families: list[str]) -> Iterator[tuple[str, Case]]:
    """Return names and inputs of the first steps of a seed."""
    choices = itertools.product(families, DIMENSIONS, TIE_TOLERANCES, (False, True))
    for number, (family, dim, tolerance, general) in enumerate(choices):
        rng = np.random.default_rng([seed, number])
        tokens = FAMILIES[family](dim, rng)
        if number % 2:
            shares = rng.dirichlet(np.full(len(tokens), 0.2), size=INNER_POINTS)
            tokens = rng.permutation(np.concatenate([tokens, shares @ tokens]))
        score = rng.normal(size=(dim, dim)) if general else np.eye(dim)
        weights = mask = None
        if seed % 2:
            weights, mask = rng.uniform(0.1, 3.0, size=len(tokens)), rng.random(len(tokens)) < 0.8
            mask[0] = True
        yield f"{family}, d = {dim}, tolerance {tolerance:g}", (
            Head(score=score, tie_tolerance=tolerance), tokens, weights, mask,
        )  # fmt: skip


def differs(step: AttentionStep, expected: AttentionStep) -> bool:
    """Return whether two steps differ in any bit that counts."""
    same = all(getattr(step, name).tobytes() == getattr(expected, name).tobytes() for name in FIELDS)
    return not (same and np.array_equal(step.top_scores, expected.top_scores))


def compare(seeds: range, families: list[str]) -> tuple[int, list[str], Counter[str]]:
    """Return the number of steps, the mismatches, and how often each reducing backend left out keys."""
    steps, wrong, reduced = 0, [], Counter[str]()
    for seed in seeds:
        for name, (head, tokens, weights, mask) in cases(seed, families):
            state = tokens
            for layer in range(LAYERS):
                expected = head.attend(state, weights=weights, mask=mask, backend="dense")
                for backend in HARDMAX[1:]:
                    step = head.attend(state, weights=weights, mask=mask, backend=backend)
                    reduced[backend] += "lie outside" in step.choice.reason or "a row needs" in step.choice.reason
                    if differs(step, expected):
                        wrong.append(f"{backend}: {name}, seed {seed}, layer {layer}")
                steps += 1
                moved = state + ALPHA / (1 + ALPHA) * (expected.means - state)
                state = moved if mask is None else np.where(mask[:, None], moved, state)
    return steps, wrong, reduced


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="2,016 steps each; odd seeds have weights and a mask")
    options = parser.parse_args()
    steps, wrong, reduced = compare(range(options.seeds), list(FAMILIES))
    for line in wrong[:20]:
        print(f"MISMATCH {line}")
    print(f"{steps} steps, {len(HARDMAX) - 1} backends against dense: {len(wrong)} mismatches")
    print("steps with keys left out: " + ", ".join(f"{name} {count}" for name, count in reduced.items() if count))
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
