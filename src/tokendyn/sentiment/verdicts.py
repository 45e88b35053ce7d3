"""Verdicts with their leaders over many texts: fast, in a table, or as lines of JSON."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tokendyn.runs.files import new_file
from tokendyn.sentiment.explanation import Span
from tokendyn.sentiment.routing import route_all

if TYPE_CHECKING:
    import pandas as pd

    from tokendyn.sentiment.frozen import FrozenModel


@dataclass(frozen=True, slots=True)
class LedBy:
    """A leader word of a text: the same fields as in :class:`LeaderWord`; followers are listed only at transfer 0."""

    word: str
    spans: tuple[Span, ...]
    mass: float
    value: float
    contribution: float
    own: float
    followers: tuple[str, ...] = ()
    by_class: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict with its leaders: the same fields as in :class:`Explanation`, without the trajectory.

    The contributions of the leaders, ``residual`` and ``bias`` add up to ``logit``.
    """

    label: Any
    probability: float
    logit: float
    bias: float
    leaders: tuple[LedBy, ...]
    residual: float
    rival: Any = None

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON values."""
        return {
            "label": self.label,
            "probability": self.probability,
            "logit": self.logit,
            "bias": self.bias,
            "leaders": [_leader(led) for led in self.leaders],
            "residual": self.residual,
            **({} if self.rival is None else {"rival": self.rival}),
        }


def verdicts(model: "FrozenModel", texts: list[str]) -> Iterator[Verdict]:
    """Yield the verdicts of a fitted classifier on a batch of texts, in order."""
    ragged, places = model._lookup.encode_with_places(texts)
    led = np.zeros(len(ragged.words), dtype=bool)
    shares, _ = route_all(ragged, model.embedding_, float(model.alpha), model.layers, led=led)
    of_text = model._of_text(ragged)
    shares *= of_text
    scores = model._decode(ragged, shares)
    rows = np.repeat(np.arange(len(texts)), np.diff(ragged.indptr))
    several = scores.ndim == 2
    pole = scores.argmax(axis=1) if several else np.zeros(len(texts), dtype=np.int64)
    logits = scores[np.arange(len(texts)), pole] if several else scores
    gain, biases = model._gain, np.atleast_1d(model.intercept_)
    entry_values = model.embedding_[ragged.words, pole[rows]]
    parts = gain * shares * entry_values
    residuals = np.bincount(rows, weights=np.where(led, 0.0, parts), minlength=len(texts)).tolist()
    chosen = np.flatnonzero(led)
    # By text, then by strength: the leaders of a text are one slice, strongest first.
    chosen = chosen[np.lexsort((-np.abs(parts[chosen]), rows[chosen]))]
    bounds = np.searchsorted(rows[chosen], np.arange(len(texts) + 1)).tolist()
    # A word without followers has a share of m of the n words of its text.
    sizes = np.add.reduceat(np.append(ragged.counts, 0.0), ragged.indptr[:-1]) * (np.diff(ragged.indptr) > 0)
    own = gain * of_text * ragged.counts / (sizes + ragged.neutral)[rows] * entry_values
    columns = (ragged.words[chosen], shares[chosen], entry_values[chosen], parts[chosen], own[chosen])
    by_class: Iterable[tuple[float, ...]] = repeat((), len(chosen))
    if several:
        whole = gain * shares[chosen, None] * model.embedding_[ragged.words[chosen], :-1]
        by_class = map(tuple, whole.tolist())
    leaders = [
        LedBy(
            word=model.words_[number], spans=spans, mass=mass, value=value, contribution=part, own=alone, by_class=each
        )
        for spans, number, mass, value, part, alone, each in zip(
            places.of(chosen), *(column.tolist() for column in columns), by_class, strict=True
        )
    ]
    # The negative log-probability of the verdict, by logaddexp, so that certain verdicts do not overflow.
    negative = np.logaddexp.reduce(scores, axis=1) - logits if several else np.logaddexp(0.0, -logits)
    probabilities = np.exp(-negative).tolist()
    labels = model.classes_.tolist()
    for row, logit in enumerate(logits.tolist()):
        own = tuple(leaders[bounds[row] : bounds[row + 1]])
        label = labels[pole[row] if several else logit > 0]
        yield Verdict(
            label=label,
            probability=probabilities[row],
            logit=logit,
            bias=float(biases[pole[row]]),
            leaders=own,
            residual=residuals[row],
        )


def write_verdicts(verdicts: Iterable[Verdict], path: str | Path) -> int:
    """Write verdicts as lines of JSON with rows counted from 1, the whole file or nothing; return their number."""
    count = 0
    with new_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        for count, verdict in enumerate(verdicts, start=1):
            record = {"row": count, **verdict.to_dict()}
            stream.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
    return count


def _leader(led: LedBy) -> dict[str, Any]:
    """Return a leader as JSON values."""
    record: dict[str, Any] = {
        "word": led.word,
        "spans": [list(span) for span in led.spans],
        "mass": led.mass,
        "value": led.value,
        "contribution": led.contribution,
        "own": led.own,
    }
    if led.followers:
        record["followers"] = list(led.followers)
    if led.by_class:
        record["by_class"] = list(led.by_class)
    return record


def leaders_over(verdicts: Iterable[Verdict], *, top: int | None, examples: int) -> "pd.DataFrame":
    """Return the words that led, with count, signed effect and example rows, largest effect first."""
    import pandas as pd

    led: dict[str, list[tuple[int, float]]] = {}
    for row, verdict in enumerate(verdicts):
        for leader in verdict.leaders:
            led.setdefault(leader.word, []).append((row, leader.contribution))
    table = pd.DataFrame(
        {
            "word": list(led),
            "times": [len(cases) for cases in led.values()],
            "total": [sum(part for _, part in cases) for cases in led.values()],
            "mean": [sum(part for _, part in cases) / len(cases) for cases in led.values()],
            "examples": [
                [row for row, _ in sorted(cases, key=lambda case: -abs(case[1]))[:examples]] for cases in led.values()
            ],
        }
    )
    order = np.argsort(-np.abs(table["total"].to_numpy(dtype=np.float64)), kind="stable")
    return table.iloc[order[:top]].reset_index(drop=True)
