"""Measures of many texts put together: arrays with one row a text, and cosines across texts."""

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np
from jaxtyping import Float

from tokendyn.metrics.geometry import across_others
from tokendyn.models.measures import HEAD_MEASURES, Shape, TextMeasures

#: Under this many texts no error is given, and cosines across texts are those with the reference texts.
LEAST_TEXTS = 8


def reference_texts() -> tuple[str, ...]:
    """Return sixteen short texts of as many kinds, written for tokendyn: what "other texts" are for a single one."""
    source = resources.files("tokendyn.models") / "references.txt"
    return tuple(source.read_text(encoding="utf-8").splitlines())


def cosines(
    shapes: Sequence[Shape], references: Sequence[Shape] = ()
) -> tuple[Float[np.ndarray, "texts layers"], Float[np.ndarray, "texts layers"]]:
    """Return the mean cosines inside texts, and across: to the references where there are some, else to the others."""
    within = np.stack([shape.within for shape in shapes])
    directions = np.stack([shape.direction for shape in shapes])
    if not references and len(shapes) == 1:
        return within, np.full_like(within, np.nan)  # there is nothing to be across to
    if not references:
        return within, across_others(directions)
    mean = np.mean([shape.direction for shape in references], axis=0)
    return within, np.asarray((directions * mean).sum(axis=-1))


def combined(texts: Sequence[TextMeasures], references: Sequence[TextMeasures] = ()) -> dict[str, Any]:
    """Return the arrays of an inspection: the first axis of each is the text.

    Parameters
    ----------
    texts
        What each gave.
    references
        What the reference texts gave; none when the texts are enough to be each other's null.
    """
    first = texts[0]
    within: dict[str, np.ndarray] = {}
    across: dict[str, np.ndarray] = {}
    for name in first.shapes:
        others = [text.shapes[name] for text in references]
        within[name], across[name] = cosines([text.shapes[name] for text in texts], others)
    effects, own = {}, {}
    for name in first.ablated:
        others = [text.ablated[name][0] for text in references]
        inner, outer = cosines([text.ablated[name][0] for text in texts], others)
        effects[name] = (inner - outer)[:, -1] - (within["model"] - across["model"])[:, -1]
        own[name] = np.array([text.ablated[name][1] for text in texts])
    ranks, rungs = {}, {}
    for name in first.ladder:
        ranks[name] = np.array([text.ladder[name][0] for text in texts])
        # Reference texts climb no ladder: it is the dearest of the measures.
        alone = len(texts) == 1 or bool(references)
        nothing = np.full((len(texts), 1), np.nan)
        inner, outer = (nothing, nothing) if alone else cosines([text.ladder[name][1] for text in texts])
        rungs[name] = (inner - outer)[:, -1]
    return {
        "ladder_rank": ranks, "ladder_gathering": rungs, "within": within, "across": across,
        "rank": _stacked([text.rank for text in texts]),
        "clusters": _stacked([text.clusters for text in texts]),
        "head_measures": _heads([text.heads for text in texts]),
        "motion_shares": _stacked([text.motion for text in texts]),
        "motion_error": max(text.motion_error for text in texts), "effects": effects, "own": own,
        "nulls": {name: np.stack([text.nulls[name] for text in texts]) for name in first.nulls},
    }  # fmt: skip


def _stacked(arrays: Sequence[Any]) -> np.ndarray | None:
    return None if any(array is None for array in arrays) else np.stack(arrays)


def _heads(tables: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {
        name: np.stack([table[name] for table in tables])
        for name in HEAD_MEASURES
        if all(name in table for table in tables)
    }
