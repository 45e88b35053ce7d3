"""Families of labelled sequences for the tests of the constructions."""

import numpy as np


def gauss(sequences=60, tokens=5, dim=3, labels=3, seed=0):
    rng = np.random.default_rng(seed)
    return list(rng.normal(size=(sequences, tokens, dim))), rng.integers(0, labels, sequences).tolist()


def ragged(sequences=60, dim=2, labels=2, seed=1):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, dim)) for n in rng.integers(1, 9, sequences)], rng.integers(
        0, labels, sequences
    ).tolist()


def vocabulary(sequences=120, words=50, seed=2):
    """Sets of words of one vocabulary: every token is shared."""
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(words, 3))
    chosen = {tuple(sorted(rng.choice(words, rng.integers(3, 12), replace=False))) for _ in range(sequences)}
    made = [table[list(words)] for words in sorted(chosen)]
    return made, rng.integers(0, 2, len(made)).tolist()


def pairs(words=16, seed=3):
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(words, 2))
    made = [table[[i, j]] for i in range(words) for j in range(i)]
    return made, rng.integers(0, 2, len(made)).tolist()


def chain(length=40, seed=4):
    table = np.random.default_rng(seed).normal(size=(length, 2))
    return [table[: k + 1] for k in range(length)], [k % 2 for k in range(length)]


def complements(words=30, seed=5):
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(words, 2))
    return [np.delete(table, k, axis=0) for k in range(words)], rng.integers(0, 2, words).tolist()


def near_duplicates(sequences=30, seed=6):
    base = np.random.default_rng(seed).normal(size=(sequences, 4, 3))
    return [*base, *(base * (1 + 2.0**-38))], [0] * sequences + [1] * sequences


FAMILIES = {
    "gauss": gauss,
    "ragged": ragged,
    "vocabulary": vocabulary,
    "pairs": pairs,
    "chain": chain,
    "complements": complements,
    "near duplicates": near_duplicates,
}
