"""Measures of many texts put together: arrays with one row a text, and cosines across texts."""

import math
import tempfile
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np
from jaxtyping import Float

from tokendyn.models.layout import Layout, Table, joined
from tokendyn.models.measures import HEAD_MEASURES

#: Under this many texts no error is given, and cosines across texts are those with the reference texts.
LEAST_TEXTS = 8
#: Arrays of all texts that are larger than this, in bytes, lie in files that the system may put out of memory.
_MOST_HELD = 2**27


def reference_texts() -> tuple[str, ...]:
    """Return sixteen short texts of as many kinds, written for tokendyn: the "other texts" for a single text."""
    source = resources.files("tokendyn.models") / "references.txt"
    return tuple(source.read_text(encoding="utf-8").splitlines())


def combined(texts: Table, references: Table | None = None) -> dict[str, Any]:
    """Return the arrays of an inspection: the first axis of each is the text.

    The rows are read twice, some at a time: once for the sum of the directions, and once for the rest.

    Parameters
    ----------
    texts
        What each gave.
    references
        What the reference texts gave; None when the texts are enough to be each other's null.
    """
    layout, others = texts.layout, _Others.of(texts, references)
    plain = {name: _empty(texts, shape) for name, (_, shape) in layout.columns.items() if not _is_of_shape(name)}
    shapes = [joined("shapes", name) for name in layout.under("shapes")]
    shapes += [joined("ablated", name, "0") for name in layout.under("ablated")]
    shapes += [joined("ladder", name, "1") for name in layout.under("ladder")]
    layers = {name: layout.columns[joined(name, "within")][1] for name in shapes}
    within = {name: _empty(texts, layers[name]) for name in shapes}
    across = {name: _empty(texts, layers[name]) for name in shapes}
    for part, rows in texts.chunks():
        for name, values in plain.items():
            values[part] = layout.part(rows, name)
        for name in shapes:
            within[name][part] = layout.part(rows, joined(name, "within"))
            across[name][part] = others.across(rows, joined(name, "direction"))
    return _named(layout, plain, within, across, alone=len(texts) == 1 or references is not None)


def _named(
    layout: Layout, plain: dict[str, np.ndarray], within: dict[str, np.ndarray], across: dict[str, np.ndarray], *,
    alone: bool,
) -> dict[str, Any]:  # fmt: skip
    """Return the fields of an inspection from the measures by name."""
    model = joined("shapes", "model")
    last = (within[model] - across[model])[:, -1]
    effects, own = {}, {}
    for name in layout.under("ablated"):
        shape = joined("ablated", name, "0")
        effects[name] = (within[shape] - across[shape])[:, -1] - last
        own[name] = plain[joined("ablated", name, "1")]
    ranks, rungs = {}, {}
    for name in layout.under("ladder"):
        shape = joined("ladder", name, "1")
        ranks[name] = plain[joined("ladder", name, "0")]
        # Reference texts climb no ladder: it is the dearest of the measures.
        rungs[name] = np.full(len(last), np.nan) if alone else (within[shape] - across[shape])[:, -1]
    variants = layout.under("shapes")
    return {
        "ladder_rank": ranks, "ladder_gathering": rungs, "effects": effects, "own": own,
        "within": {name: within[joined("shapes", name)] for name in variants},
        "across": {name: across[joined("shapes", name)] for name in variants},
        "rank": plain.get("rank"), "clusters": plain.get("clusters"),
        "head_measures": {name: plain[joined("heads", name)] for name in HEAD_MEASURES
                          if joined("heads", name) in plain},
        "motion_shares": plain.get("motion"), "motion_error": float(plain["motion_error"].max()),
        "nulls": {name: plain[joined("nulls", name)] for name in layout.under("nulls")},
    }  # fmt: skip


def _is_of_shape(name: str) -> bool:
    """Return whether a measure is a part of a geometry, which cosines across texts need."""
    return name.endswith((joined("", "within"), joined("", "direction")))


class _Others:
    """What the mean direction of a text is compared with: that of the references, or of the other texts.

    Parameters
    ----------
    layout
        Of the rows.
    total
        Sum of the rows of those.
    count
        How many there are.
    own
        Whether the text itself is one of them, and is to be left out.
    """

    def __init__(self, layout: Layout, total: Float[np.ndarray, " width"], count: int, *, own: bool) -> None:
        self.layout, self.total, self.count, self.own = layout, total, count, own

    @classmethod
    def of(cls, texts: Table, references: Table | None) -> "_Others":
        if references is None:
            return cls(texts.layout, texts.total(), len(texts), own=True)
        return cls(texts.layout, references.total(), len(references), own=False)

    def across(self, rows: Float[np.ndarray, "_ width"], name: str) -> Float[np.ndarray, "_ layers"]:
        """Return the mean cosine of the tokens of each row with those of the others; NaN where there are none."""
        directions = self.layout.part(rows, name)
        total = self.layout.part(self.total[None], name)[0]
        product = np.einsum("nld,ld->nl", directions, total)
        if not self.own:
            return np.asarray(product / self.count)
        if self.count == 1:
            return np.full(product.shape, np.nan)
        return np.asarray((product - np.einsum("nld,nld->nl", directions, directions)) / (self.count - 1))


def _empty(texts: Table, shape: Sequence[int]) -> np.ndarray:
    """Return an array with one row a text; a large one lies in a file without a name, which ends with the array."""
    whole = (len(texts), *shape)
    if 8 * math.prod(whole) <= _MOST_HELD:
        return np.empty(whole)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, dtype=np.float64, mode="w+", shape=whole)
