"""Claims of arXiv 2502.02270: sequences classified exactly by transformers in closed form."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from tokendyn import exact
from tokendyn.exact import ExactTransformer
from tokendyn.studies.claims.claim import Claim, Finding, Profile, at_least, at_most
from tokendyn.studies.claims.drawing import bars, curves
from tokendyn.studies.claims.tikhonov import CLAIM as TIKHONOV

SOURCE = "arXiv 2502.02270"

#: What makes a transformer of sequences and labels: :func:`tokendyn.exact.compile` or a broken variant of it.
Builder = Callable[..., ExactTransformer]


def classifies(profile: Profile, seed: int, *, builder: Builder = exact.compile) -> Finding:
    """Count sequences with a wrong output, in float64 and in rational arithmetic."""
    rows = []
    for name, sequences, labels in _families(100 if profile == "quick" else 1000, seed):
        for strategy in ("narrow", "fused"):
            model = builder(sequences, labels, strategy=strategy, certify=False)
            done = model.certificate.verify()
            rows.append(_verified(name, strategy, done))
            if strategy == "narrow":
                few = builder(sequences[:40], labels[:40], strategy=strategy, certify=False)
                rows.append(_verified(name, strategy, few.certificate.verify(exact=True)))
    table = pd.DataFrame(rows)
    values = {
        "sequences classified": float(table["sequences"].sum()),
        "sequences wrong": float(table["wrong"].sum()),
        "largest |output - label|": float(table["largest difference"].max()),
    }
    figure = bars(table.groupby("family")["sequences"].sum().to_dict(), "sequences classified exactly")
    return Finding(
        values=values,
        table=table,
        figure=figure,
        remark="Random labels; a rational run of 40 sequences of each family.",
    )


def _verified(family: str, strategy: str, done: exact.Verification) -> dict[str, Any]:
    return {
        "family": family,
        "strategy": strategy,
        "arithmetic": done.arithmetic,
        "sequences": done.sequences,
        "wrong": len(done.wrong),
        "largest difference": done.largest_difference,
    }


def _families(count: int, seed: int) -> Iterator[tuple[str, list[np.ndarray], list[int]]]:
    """Yield names, sequences and labels: several dimensions and lengths, shared tokens, neighbours."""
    rng = np.random.default_rng([seed, 5])

    def labels(number: int) -> list[int]:
        return [int(label) for label in rng.integers(0, 3, number)]

    for dim in (2, 3, 16):
        lengths = rng.integers(2, 15, count)
        yield f"d = {dim}", [rng.standard_normal((length, dim)) for length in lengths], labels(count)
    words = rng.standard_normal((20, 3))
    pairs = [words[[i, j]] for i in range(len(words)) for j in range(i)][:count]
    yield "pairs of 20 tokens", pairs, labels(len(pairs))
    base = rng.standard_normal((6, 2))
    chain = [base + 2.0**-30 * k * np.eye(6, 2) for k in range(min(count, 100))]
    yield "neighbours at 2^-30", chain, labels(len(chain))


def blocks(profile: Profile, seed: int, *, builder: Builder = exact.compile) -> Finding:
    """Measure how blocks and parameters grow with the number, dimension and length of the sequences."""
    rng = np.random.default_rng([seed, 6])
    counts = (50, 100, 200, 400) if profile == "quick" else (100, 300, 1000, 3000)
    rows = []

    def measure(kind: str, size: int, tokens: np.ndarray, labels: np.ndarray) -> None:
        for strategy in ("narrow", "fused"):
            stats = builder(tokens, labels, strategy=strategy, certify=False).stats
            rows.append(
                {"grows": kind, "size": size, "strategy": strategy, "sequences": len(tokens)}
                | {"blocks": stats.blocks, "parameters": stats.nonzeros}
            )

    for count in counts:
        measure("sequences", count, rng.standard_normal((count, 8, 3)), rng.integers(0, 2, count))
    for dim in (2, 4, 8, 16, 32):
        measure("dimension", dim, rng.standard_normal((counts[1], 8, dim)), rng.integers(0, 2, counts[1]))
    base, fixed = rng.standard_normal((counts[1], 5, 3)), rng.integers(0, 2, counts[1])
    for repeats in (1, 4, 16):
        measure("length, repeated", 5 * repeats, np.tile(base, (1, repeats, 1)), fixed)
    for length in (5, 20, 80):
        measure("length, new tokens", length, rng.standard_normal((counts[1], length, 3)), fixed)
    table = pd.DataFrame(rows)
    repeated = table[table["grows"] == "length, repeated"].groupby("strategy")["blocks"]
    narrow = table[table["strategy"] == "narrow"]
    values = {
        "slope of blocks by sequences": _slope(table, "sequences", "blocks"),
        "slope of parameters by sequences": _slope(table, "sequences", "parameters"),
        "slope of parameters by dimension": _slope(table, "dimension", "parameters"),
        "blocks more for longer sequences": float((repeated.max() - repeated.min()).max()),
        "blocks by 2 N + 1": float((narrow["blocks"] / (2 * narrow["sequences"] + 1)).max()),
    }
    growing = table[table["grows"] == "sequences"]
    paths = {str(name): (part["size"], part["blocks"]) for name, part in growing.groupby("strategy")}
    return Finding(values=values, table=table, figure=curves(paths, "sequences N", "blocks", logx=True, logy=True))


def _slope(table: pd.DataFrame, kind: str, column: str) -> float:
    """Return the largest slope over the strategies of log column against log size."""
    parts = table[table["grows"] == kind].groupby("strategy")
    return max(float(np.polyfit(np.log(part["size"]), np.log(part[column]), 1)[0]) for _, part in parts)


def low_rank(profile: Profile, seed: int, *, builder: Builder = exact.compile) -> Finding:
    """Compute the rank of every score and value matrix of dense modules."""
    rows = []
    for name, sequences, labels in _families(30 if profile == "quick" else 200, seed):
        module = builder(sequences, labels, strategy="narrow", certify=False).module
        for block in range(len(module.attends)):
            score = np.outer(module.q[block].numpy(), module.k[block].numpy())
            value = (module.v_out[block] @ module.v_in[block]).numpy()
            rows.append(
                {"family": name, "block": block, "channels": module.dim}
                | {"score rank": np.linalg.matrix_rank(score), "value rank": np.linalg.matrix_rank(value)}
            )
    table = pd.DataFrame(rows)
    values = {
        "largest rank of a score matrix": float(table["score rank"].max()),
        "largest rank of a value matrix": float(table["value rank"].max()),
        "matrices": float(2 * len(table)),
    }
    largest = table.groupby("family")[["score rank", "value rank"]].max().max(axis=1)
    return Finding(values=values, table=table, figure=bars(largest.to_dict(), "largest rank"))


def interpolates(profile: Profile, seed: int) -> Finding:
    """Compare output sequences, and labels by softmax at the certified inverse temperature."""
    rng = np.random.default_rng([seed, 8])
    rows = []
    for dim in (2, 3):
        count = 20 if profile == "quick" else 200
        sequences = [rng.standard_normal((int(length), dim)) for length in rng.integers(3, 8, count)]
        outputs = [rng.standard_normal((int(rng.integers(1, 4)), 2)) for _ in sequences]
        transformer = exact.compile_seq2seq(sequences, outputs, certify=False)
        rows.append(_verified(f"outputs, d = {dim}", "seq2seq", transformer.certificate.verify()))
        labels = [int(label) for label in rng.integers(0, 3, count)]
        soft = exact.compile(sequences, labels, strategy="narrow", attention="softmax", certify=False)
        rows.append(_verified(f"softmax, d = {dim}", "narrow", soft.certificate.verify()))
    table = pd.DataFrame(rows)
    soft_rows = table["family"].str.startswith("softmax")
    values = {
        "wrong output sequences": float(table.loc[~soft_rows, "wrong"].sum()),
        "wrong labels by softmax": float(table.loc[soft_rows, "wrong"].sum()),
        "sequences": float(table["sequences"].sum()),
    }
    return Finding(
        values=values,
        table=table,
        figure=bars(table.set_index("family")["sequences"].to_dict(), "sequences met exactly"),
    )


CLAIMS = (
    Claim(
        id="exact.classifies",
        statement="Hardmax transformers classify N labelled sequences perfectly, in every dimension d >= 2.",
        source=f"{SOURCE}, main theorem",
        how=(
            "Sequences whose output is not the label, over families of sequences, in float64 and in rational "
            "arithmetic."
        ),
        bounds={
            "sequences classified": at_least(500.0),
            "sequences wrong": at_most(0.0),
            "largest |output - label|": at_most(0.0),
        },
        check=classifies,
    ),
    Claim(
        id="exact.blocks",
        statement="O(N) blocks and O(N d) parameters are enough, whatever the length of the sequences.",
        source=f"{SOURCE}, main theorem",
        how="Slopes of log counts against log N and log d; blocks when sequences grow longer.",
        bounds={
            "slope of blocks by sequences": at_most(1.05),
            "slope of parameters by sequences": at_most(1.05),
            "slope of parameters by dimension": at_most(1.05),
            "blocks more for longer sequences": at_most(0.0),
            "blocks by 2 N + 1": at_most(1.0),
        },
        check=blocks,
    ),
    Claim(
        id="exact.lowrank",
        statement="The attention matrices have low rank: here one.",
        source=f"{SOURCE}, construction",
        how="Rank of every score and value matrix of dense modules.",
        bounds={
            "largest rank of a score matrix": at_most(1.0),
            "largest rank of a value matrix": at_most(1.0),
            "matrices": at_least(100.0),
        },
        check=low_rank,
    ),
    Claim(
        id="exact.interpolates",
        statement="The construction extends to output sequences and to softmax attention.",
        source=f"{SOURCE}, second version",
        how=(
            "Output sequences that are not met to the last bit; labels by softmax at the certified inverse temperature."
        ),
        bounds={
            "wrong output sequences": at_most(0.0),
            "wrong labels by softmax": at_most(0.0),
            "sequences": at_least(80.0),
        },
        check=interpolates,
    ),
    TIKHONOV,
)
