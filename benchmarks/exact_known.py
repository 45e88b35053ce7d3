"""Exact models against an oracle that shares no code with them: a dictionary of frozensets, or of bags in lowest terms.

Each model is built on its defaults or near them from random sequences (lattices, shared vocabularies, Gaussian tokens,
wide scales), and is asked for the sequences that it was given: repeated, permuted, cut short, extended, moved, and for
unknown ones. A label of a sequence that the dictionary does not hold, another label than the dictionary's, a missing
one, or an exception is a fault.

    python benchmarks/exact_known.py --models 10000 --defaults --out known.json
"""

import argparse
import json
import time
from collections import Counter
from fractions import Fraction
from math import gcd

import numpy as np

from tokendyn import exact
from tokendyn.errors import BadInputError

REFUSALS = (exact.SeparationError, exact.PrecisionError, exact.ContradictoryLabelsError, exact.CertificateError)
STRATEGIES = ("auto", "auto", "auto", "narrow", "fused", "bank", "half-space", "slab", "fingerprint", "hat", "strict")


def key(sequence, multiplicity, positions, dtype):
    """Return what tells sequences apart, as fractions of the numbers that the type holds."""
    rows = [tuple(Fraction(float(np.dtype(dtype).type(x))) for x in row) for row in sequence]
    if positions:
        rows = [(*row, place) for place, row in enumerate(rows)]
    if multiplicity == "set":
        return frozenset(rows)
    counts = Counter(rows)
    shared = 0
    for count in counts.values():
        shared = gcd(shared, count)
    return frozenset((row, count // shared) for row, count in counts.items())


def tokens(rng):
    """Return tokens to draw sequences from."""
    dim = int(rng.integers(1, 6))
    count = int(rng.integers(2, 15))
    kind = rng.integers(6)
    if kind == 0:
        return rng.integers(0, 3, (count, dim)).astype(float)
    if kind == 1:
        return rng.integers(0, 256, (count, dim))
    if kind == 2:
        return rng.normal(size=(count, dim))
    if kind == 3:
        return rng.normal(size=(count, dim)) * 10.0 ** rng.integers(-9, 10, (count, dim))
    if kind == 4:
        return 0.1 * rng.integers(-3, 4, (count, dim))
    near = rng.normal(size=(1, dim))
    return near * (1 + 2.0**-40 * rng.integers(0, 5, (count, dim)))


def changed(rng, sequence, pool):
    """Return variants of a sequence: the same to one reading, another to the next."""
    n = len(sequence)
    yield sequence[rng.permutation(n)]
    yield np.repeat(sequence, int(rng.integers(2, 4)), axis=0)
    yield np.concatenate([sequence, sequence[rng.integers(0, n, int(rng.integers(1, 4)))]])
    yield sequence[: max(1, n - 1)]
    yield np.concatenate([sequence, pool[rng.integers(0, len(pool), 1)]])
    yield sequence + (0.0 if rng.integers(2) else 2.0 ** -int(rng.integers(5, 30)))
    yield pool[rng.integers(0, len(pool), int(rng.integers(1, 12)))]


def one_model(seed, always_defaults):
    """Return what happened with one model: refusal, questions, known ones, faults."""
    rng = np.random.default_rng([seed, 16])
    pool = tokens(rng)
    sequences = [pool[rng.integers(0, len(pool), int(rng.integers(1, 7)))] for _ in range(int(rng.integers(2, 20)))]
    defaults = bool(rng.integers(2) == 0) or always_defaults
    options = {} if defaults else {
        "strategy": STRATEGIES[rng.integers(len(STRATEGIES))],
        "multiplicity": "frequency" if rng.integers(3) == 0 else "set",
        "positions": bool(rng.integers(5) == 0),
        "dtype": "float32" if rng.integers(4) == 0 else "float64",
        "attention": "softmax" if rng.integers(4) == 0 else "hardmax",
    }  # fmt: skip
    reading = (options.get("multiplicity", "set"), options.get("positions", False), options.get("dtype", "float64"))
    known = {}
    for sequence in sequences:
        known.setdefault(key(sequence, *reading), int(rng.integers(0, 3)))
    labels = [known[key(sequence, *reading)] for sequence in sequences]
    result = Counter(models=1, defaults=int(defaults))
    try:
        model = exact.compile(sequences, labels, **options)
    except REFUSALS as error:
        return Counter(refused=1, defaults_refused=int(defaults)), [f"{seed} {options} {str(error)[:150]}"] * defaults
    asked = [*sequences, *(variant for s in sequences for variant in changed(rng, s, pool))]
    faults = []
    wanted = [known.get(key(s, *reading)) for s in asked]
    for backend in ("auto", "ragged", "dense"):
        try:
            got = model.predict(asked, backend=backend)
        except (BadInputError, ValueError) as error:
            faults.append(f"{seed} {options} {backend}: {error}")
            continue
        wrong = [(g, w) for g, w in zip(got, wanted, strict=True) if g != w]
        if wrong:
            faults.append(f"{seed} {options} {model.strategy} {backend}: {len(wrong)} wrong, first {wrong[0]}")
    if model.is_known(asked).tolist() != [w is not None for w in wanted]:
        faults.append(f"{seed} {options}: known differs")
    result.update(asked=len(asked), known=sum(w is not None for w in wanted), faults=len(faults))
    result[f"strategy {model.strategy}"] += 1
    return result, faults


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--defaults", action="store_true", help="no options at all")
    parser.add_argument("--out", default=None)
    arguments = parser.parse_args()
    began = time.process_time()
    total, faults = Counter(), []
    seed = arguments.first
    while total["models"] < arguments.models:
        result, found = one_model(seed, arguments.defaults)
        total.update(result)
        faults += found
        seed += 1
    print(*faults[:20], sep="\n")
    summary = {**dict(sorted(total.items())), "seconds": round(time.process_time() - began, 1), "listed": len(faults)}
    print(json.dumps(summary, indent=1))
    if arguments.out:
        with open(arguments.out, "w", encoding="utf-8") as stream:
            json.dump({**summary, "messages": faults[:100]}, stream, indent=1)


if __name__ == "__main__":
    main()
