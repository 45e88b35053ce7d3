"""Search for a label that flips although no token moved by the certified radius; every strategy, awkward scales.

    python benchmarks/exact_radius.py --models 500
    python benchmarks/exact_radius.py --models 2000 --seed 1 --json moves.json

Each model is built from random labelled sequences. Then all tokens of every sequence are moved by just less than that
sequence's radius: at random, along the direction of the line (the normals of half-spaces) and against it, and to and
fro from one token to the next. The labels come from a forward pass in plain NumPy loops over the stored weights, which
shares no code with the package. A second count moves by ten times that, to show how far it
is from the truth.
"""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

import argparse  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

from tokendyn import exact  # noqa: E402

STRATEGIES = ("narrow", "fused", "strict", "half-space", "slab", "fingerprint", "hat")
REFUSALS = (exact.ContradictoryLabelsError, exact.SeparationError, exact.PrecisionError, exact.CertificateError)


def plain_outputs(model: Any, tokens: np.ndarray) -> np.ndarray:
    """Return the outputs of all tokens of one sequence: the equations of a block, written out over the nonzeros."""
    w = {name: array.tolist() for name, array in model.weights.arrays().items()}
    kind = model.weights.bias.dtype
    x = np.zeros((len(tokens), model.construction.dim), kind)
    x[:, : tokens.shape[1]] = tokens
    for b in range(len(w["eta"])):
        update = np.zeros_like(x)
        for u in range(w["units"][b], w["units"][b + 1]):
            h = np.full(len(x), w["bias"][u], kind)
            for e in range(w["in_starts"][u], w["in_starts"][u + 1]):
                h += kind.type(w["in_weights"][e]) * x[:, w["in_channels"][e]]
            h = np.maximum(h, 0)
            for e in range(w["out_starts"][u], w["out_starts"][u + 1]):
                update[:, w["out_channels"][e]] += kind.type(w["out_weights"][e]) * h
        x = update if w["eta"][b] == 0 else x + update
        if w["attends"][b]:
            query = kind.type(w["query_weights"][b]) * x[:, w["query_channels"][b]]
            key = kind.type(w["key_weights"][b]) * x[:, w["key_channels"][b]]
            scores = query[:, None] * key[None, :]
            if model.beta is not None and w["query_weights"][b] != 0:
                shares = np.exp(kind.type(model.beta) * (scores - scores.max(axis=1, keepdims=True)))
            else:
                shares = (scores == scores.max(axis=1, keepdims=True)).astype(kind)
            shares /= shares.sum(axis=1, keepdims=True)
            added = [
                (w["value_out"][e], kind.type(w["value_weights"][e]) * (shares @ x[:, w["value_in"][e]]))
                for e in range(w["value_starts"][b], w["value_starts"][b + 1])
            ]
            for channel, values in added:
                x[:, channel] += values
    return x[:, list(model.construction.outputs)]


def label_of(model: Any, tokens: np.ndarray) -> Any:
    """Return the label that every token of a sequence ends with; None if they disagree or end between two labels."""
    out = plain_outputs(model, tokens)[:, 0]
    places = np.rint(out)
    if (np.abs(out - places) > 0.3).any() or len(set(places.tolist())) > 1:
        return None
    return model.labels[int(places[0])] if 0 <= places[0] < len(model.labels) else None


def moves(model: Any, j: int, radius: float, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the moved tokens of sequence j: no token moves by more than the radius."""
    tokens = model.sequences[j]
    direction = model.certificate.direction
    random = rng.normal(size=tokens.shape)
    steps = [random / np.linalg.norm(random, axis=1, keepdims=True)]
    if direction is None:  # half-spaces: along the normals of a few detectors
        w = model.weights
        for u in rng.permutation(int(w.units[1]))[:3].tolist():
            normal = np.zeros(tokens.shape[1])
            part = slice(w.in_starts[u], w.in_starts[u + 1])
            normal[w.in_channels[part]] = w.in_weights[part]
            size = np.linalg.norm(normal)  # 0 for a unit that is a constant
            steps += [normal / (size or 1.0) + 0 * tokens, -normal / (size or 1.0) + 0 * tokens]
    else:
        along = np.array(direction) / np.linalg.norm(direction)
        signs = rng.choice([-1.0, 1.0], (len(tokens), 1))
        steps += [along[None] + 0 * tokens, -along[None] + 0 * tokens, signs * along, -signs * along]
    for step in steps:
        with np.errstate(over="ignore"):
            yield (tokens + step * radius).astype(tokens.dtype)


def data(rng: np.random.Generator) -> tuple[list[np.ndarray], list[int], dict[str, Any]]:
    """Return sequences of a random family and options."""
    dim, count = int(rng.choice([1, 1, 2, 3, 8, 16])), int(rng.integers(2, 12))
    kind = rng.choice(["normal", "lattice", "scales", "far", "near", "shared", "big"])
    lengths = rng.integers(1, 6, count)
    made = [rng.normal(size=(n, dim)) for n in lengths]
    if kind == "lattice":
        made = [rng.integers(-4, 5, (n, dim)).astype(float) for n in lengths]
    elif kind == "scales":
        made = [s * 10.0 ** rng.integers(-6, 7, (len(s), 1)) for s in made]
    elif kind == "far":
        made = [s + rng.choice([0.0, 1e6, 1e9], (len(s), 1)) for s in made]
    elif kind == "near":
        base = rng.normal(size=dim)
        made = [base + 1e-6 * s for s in made]
    elif kind == "shared":
        table = rng.normal(size=(6, dim))
        made = [table[rng.integers(0, 6, n)] for n in lengths]
    elif kind == "big":
        made = [np.ldexp(s, 60) for s in made]
    if rng.random() < 0.3:  # repeated tokens, which may move apart
        made = [np.concatenate([s, s[rng.integers(0, len(s), rng.integers(0, 3))]]) for s in made]
    options = {
        "strategy": str(rng.choice(STRATEGIES)),
        "dtype": str(rng.choice(["float64", "float64", "float32"])),
        "attention": str(rng.choice(["hardmax", "hardmax", "softmax"])),
        "direction": str(rng.choice(["auto", "coordinate", "sparse", "random"])),
    }
    if options["strategy"] in ("fingerprint", "hat") and rng.random() < 0.3:
        options["multiplicity"] = "frequency"
    return made, [0, 1, *rng.integers(0, 3, count - 2).tolist()], {"family": str(kind), **options}


def run(models: int, seed: int) -> dict[str, dict[str, int]]:
    """Return counts by strategy: models, sequences, radii above 0, moves, flips within and at ten times the radius."""
    rng = np.random.default_rng(seed)
    rows: dict[str, dict[str, int]] = {}
    built = 0
    while built < models:
        sequences, labels, options = data(rng)
        options.pop("family")
        try:
            with np.errstate(over="ignore"):
                model = exact.compile(sequences, labels, certify=False, **options)
        except REFUSALS:
            continue
        built += 1
        name = model.strategy if options["strategy"] != "slab" else "slab"
        names = ("models", "sequences", "positive", "moves", "flips", "flips at 10x")
        row = rows.setdefault(name, dict.fromkeys(names, 0))
        row["models"] += 1
        radii = model.certificate.radii()
        assert model.certificate.radius_tokens <= radii.min() * (1 + 1e-9), (options, radii)
        for j, radius in enumerate(radii):
            wanted = model.labels[int(model.targets[model.sequences.starts[j], 0])]
            reach = min(float(radius), 1e6 * (1 + float(np.abs(model.sequences[j]).max())))
            row["sequences"] += 1
            row["positive"] += radius > 0
            for moved in moves(model, j, reach * (1 - 1e-6), rng):
                row["moves"] += 1
                row["flips"] += label_of(model, moved) != wanted
            if np.isfinite(radius):
                row["flips at 10x"] += any(label_of(model, m) != wanted for m in moves(model, j, 10 * reach, rng))
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Print the table; exit code 1 if a label flipped."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--models", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=None, help="write the counts to this file")
    options = parser.parse_args(arguments)
    began = time.process_time()
    rows = run(options.models, options.seed)
    for name, row in sorted(rows.items()):
        print(f"{name:12}", *(f"{value} {kind}" for kind, value in row.items()), sep="  ")
    flips = sum(row["flips"] for row in rows.values())
    print(f"{flips} labels flipped within the radius; {time.process_time() - began:.0f} s of processor time")
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 1 if flips else 0


if __name__ == "__main__":
    sys.exit(main())
