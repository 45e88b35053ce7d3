"""Verdicts at transfer 0 and their explanations: a sum over words with its terms grouped by leaders."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from tokendyn.sentiment import group_kernels as kernels
from tokendyn.sentiment.doubt import floors
from tokendyn.sentiment.explanation import (
    Departure,
    Explanation,
    LeaderWord,
    Modified,
    NeutralPole,
    Span,
    WordContribution,
)
from tokendyn.sentiment.groups import Lead, best_two, lead
from tokendyn.sentiment.lookup import Places
from tokendyn.sentiment.routing import route
from tokendyn.sentiment.tokensets import TokenSet
from tokendyn.sentiment.verdicts import LedBy, Verdict
from tokendyn.sentiment.vocabulary import Ragged

if TYPE_CHECKING:
    from tokendyn.sentiment.frozen import FrozenModel

#: Largest number of words removed, the margin at which removal ends, and the number of words of largest effect that are
#: tried.
_AT_MOST, _TURNED, _TRIED = 32, -1.0, 64


@dataclass(frozen=True)
class _Reading:
    """Texts with the terms of their verdicts.

    Attributes
    ----------
    texts, places
        The texts over the vocabulary, and the positions of their entries.
    scores
        (texts, columns): the logit, or the scores of the classes.
    best, second
        The classes between which the margin is explained.
    lead
        The leaders of the entries.
    rows
        The text of each entry.
    parts, shares
        Contribution of each entry to the margin, and its share of the words of the text without the weights of
        modifiers.
    """

    texts: Ragged
    places: Places
    scores: Float[np.ndarray, "texts columns"]
    best: Int[np.ndarray, " texts"]
    second: Int[np.ndarray, " texts"]
    lead: Lead
    rows: Int[np.ndarray, " entries"]
    parts: Float[np.ndarray, " entries"]
    shares: Float[np.ndarray, " entries"]


def read(model: "FrozenModel", texts: list[str]) -> _Reading:
    """Return texts with the terms of their verdicts."""
    ragged, places = model._lookup.encode_with_places(texts)
    weighted = model._shares(ragged)
    scores = model._decode(ragged, weighted)
    scores = scores if scores.ndim == 2 else scores[:, None]
    best, second = best_two(scores)
    found = lead(ragged, model._views, best, second, model.layers, float(model.alpha))
    rows = np.repeat(np.arange(len(texts)), np.diff(ragged.indptr))
    return _Reading(
        texts=ragged,
        places=places,
        scores=scores,
        best=best,
        second=second,
        lead=found,
        rows=rows,
        parts=model._gain * weighted * found.margins,
        shares=model._shares(replace(ragged, counts=np.diff(places.indptr).astype(np.float64))),
    )


def grouped_verdicts(model: "FrozenModel", texts: list[str]) -> Iterator[Verdict]:
    """Yield the verdicts of a classifier at transfer 0 on a batch of texts, in order."""
    return _verdicts(model, read(model, texts))


def _verdicts(model: "FrozenModel", reading: _Reading) -> Iterator[Verdict]:
    """Yield the verdicts on encoded texts."""
    count = len(reading.texts)
    ragged, parts, leaders = reading.texts, reading.parts, reading.lead.leaders
    entries, several = len(parts), reading.scores.shape[1] > 1
    inside = np.flatnonzero(reading.lead.strong)
    group = _totals(leaders[inside], weights=parts[inside], minlength=entries)
    mass = _totals(leaders[inside], weights=reading.shares[inside], minlength=entries)
    own = _totals(reading.lead.hosts, weights=parts, minlength=entries)
    chosen = np.flatnonzero(leaders == np.arange(entries))
    alone = np.zeros(entries)
    alone[chosen] = _without(model, reading, chosen)
    chosen = chosen[np.lexsort((-_prominence(model, reading, chosen, alone, group), reading.rows[chosen]))]
    bounds = np.searchsorted(reading.rows[chosen], np.arange(count + 1)).tolist()
    residual = _totals(reading.rows, weights=np.where(reading.lead.strong, 0.0, parts), minlength=count)
    names = model.words_
    followers = _followers(names, ragged.words, reading.lead, own, chosen)
    by_class = _by_class(model, reading, leaders, inside)[chosen].tolist() if several else [()] * len(chosen)
    columns = (ragged.words[chosen], mass[chosen], reading.lead.margins[chosen], group[chosen], alone[chosen])
    led = [
        LedBy(
            word=names[number],
            spans=spans,
            mass=share,
            value=value,
            contribution=part,
            own=own,
            followers=following,
            by_class=tuple(each),
        )
        for spans, number, share, value, part, own, following, each in zip(
            reading.places.of(chosen), *(column.tolist() for column in columns), followers, by_class, strict=True
        )
    ]
    logits, biases = margins_of(reading.scores, model.intercept_, reading.best, reading.second)
    probabilities = model._probabilities(reading.scores if several else reading.scores[:, 0], ragged.lengths)
    labels = model.classes_.tolist()
    for row, logit in enumerate(logits.tolist()):
        verdict = int(reading.best[row]) if several else int(logit > 0)
        yield Verdict(
            label=labels[verdict],
            probability=float(probabilities[row, verdict if several else 1]),
            logit=logit,
            bias=float(biases[row]),
            leaders=tuple(led[bounds[row] : bounds[row + 1]]),
            residual=float(residual[row]),
            rival=labels[reading.second[row]] if several else None,
        )


def _prominence(
    model: "FrozenModel",
    reading: _Reading,
    chosen: Int[np.ndarray, " chosen"],
    alone: Float[np.ndarray, " entries"],
    group: Float[np.ndarray, " entries"],
) -> Float[np.ndarray, " chosen"]:
    """Return the sort key of leaders: by sign, the side of the verdict first; else the steadiest effect first.

    The effect of a rare word is just as exact, but varies between trainings, so the word comes later.
    """
    grouping = model._views.grouping
    if grouping.by_sign:
        logits, _ = margins_of(reading.scores, model.intercept_, reading.best, reading.second)
        return np.where(logits > 0.0, 1.0, -1.0)[reading.rows[chosen]] * group[chosen]
    return np.abs(alone[chosen]) * grouping.steadiness(reading.texts.words[chosen])


def _without(
    model: "FrozenModel", reading: _Reading, chosen: Int[np.ndarray, " chosen"]
) -> Float[np.ndarray, " chosen"]:
    """Return the fall of the margin when all occurrences of a word are removed from its text.

    ``S/(n + n0) - (S - s)/(n - m + n0)``: s is the value of the tokens that vanish minus that of the tokens that form,
    and m is the number of words removed.
    """
    places, texts = reading.places, reading.texts
    counts = places.indptr[chosen + 1] - places.indptr[chosen]
    leader = np.repeat(np.arange(len(chosen)), counts)
    bounds = np.cumsum(counts) - counts
    occurrences = np.repeat(places.indptr[chosen] - bounds, counts) + np.arange(len(leader))
    of, tokens, signs, gone = model._lookup.taken_out(places, occurrences, leader)
    rows = reading.rows[chosen]
    worth = model.values_[tokens, 0]
    if model.values_.shape[1] > 1:
        pair = rows[of]
        worth = model.values_[tokens, reading.best[pair]] - model.values_[tokens, reading.second[pair]]
    lost = _totals(of, weights=signs * worth, minlength=len(chosen))
    words = np.bincount(gone, minlength=len(chosen))
    mass = texts.lengths[rows] + model.phantom_
    whole = _totals(reading.rows, weights=reading.parts, minlength=len(texts))[rows]
    left = mass - words
    # A text that has neither other words nor phantom ones keeps the bias; its sum is 0 only up to rounding.
    return whole - np.divide(whole * mass - lost, left, out=np.zeros(len(chosen)), where=left > 0.0)


def margins_of(
    scores: Float[np.ndarray, "texts columns"],
    intercept: float | Float[np.ndarray, " classes"],
    best: Int[np.ndarray, " texts"],
    second: Int[np.ndarray, " texts"],
) -> tuple[Float[np.ndarray, " texts"], Float[np.ndarray, " texts"]]:
    """Return the margin of the best class over the second, and that of a text without words; logits for two classes."""
    if scores.shape[1] == 1:
        return scores[:, 0], np.full(len(scores), float(intercept))
    rows, biases = np.arange(len(scores)), np.asarray(intercept)
    return scores[rows, best] - scores[rows, second], biases[best] - biases[second]


def _totals(
    at: Int[np.ndarray, " _"], weights: Float[np.ndarray, " _"] | Int[np.ndarray, " _"], minlength: int
) -> Float[np.ndarray, " number"]:
    """Return the sum of the weights for each number, as floats even without numbers."""
    return np.bincount(at, weights=weights, minlength=minlength).astype(np.float64)


def _followers(
    names: tuple[str, ...],
    words: Int[np.ndarray, " entries"],
    found: Lead,
    own: Float[np.ndarray, " entries"],
    chosen: Int[np.ndarray, " chosen"],
) -> list[tuple[str, ...]]:
    """Return the words that each chosen leader leads, largest effect first, without their n-grams."""
    leaders, entries = found.leaders, np.arange(len(own))
    others = np.flatnonzero((leaders >= 0) & (leaders != entries) & (found.hosts == entries))
    others = others[np.lexsort((-np.abs(own[others]), leaders[others]))]
    low = np.searchsorted(leaders[others], chosen, side="left").tolist()
    high = np.searchsorted(leaders[others], chosen, side="right").tolist()
    spelled = [names[number] for number in words[others].tolist()]
    return [tuple(spelled[a:b]) for a, b in zip(low, high, strict=True)]


def _by_class(
    model: "FrozenModel", reading: _Reading, leaders: Int[np.ndarray, " entries"], inside: Int[np.ndarray, " strong"]
) -> Float[np.ndarray, "entries classes"]:
    """Return the contribution of each leader and its followers to the score of each class; 0 for other entries."""
    table = np.zeros((len(leaders), model.values_.shape[1]))
    np.add.at(table, leaders[inside], _of_classes(model, reading)[inside])
    return table


def _of_classes(model: "FrozenModel", reading: _Reading) -> Float[np.ndarray, "entries classes"]:
    """Return the contribution of each entry to the score of each class."""
    each: Float[np.ndarray, "entries classes"] = (
        model._gain * model._shares(reading.texts)[:, None] * model.values_[reading.texts.words]
    )
    return each


def grouped_explanation(model: "FrozenModel", text: str) -> Explanation:
    """Explain the verdict of a classifier at transfer 0: leaders with their groups, other words, the bias."""
    reading = read(model, [text])
    (verdict,) = _verdicts(model, reading)
    ragged, parts = reading.texts, reading.parts
    labels = tuple(model.words_[number] for number in ragged.words.tolist())
    spans = reading.places.of(np.arange(len(labels)))
    tokens = _tokens(model, reading, labels, spans)
    passage = route(tokens.positions, tokens.weights, float(model.alpha), model.layers)
    several = reading.scores.shape[1] > 1
    number = int(np.flatnonzero(model.classes_ == verdict.label)[0])
    others = np.where(reading.lead.strong, 0.0, parts)
    scores = reading.scores[0]
    known = bool(ragged.neutral[0])
    return Explanation(
        text=text,
        label=model.classes_[number],
        probability=verdict.probability,
        logit=verdict.logit,
        bias=verdict.bias,
        classes=tuple(model.classes_),
        rival=model.classes_[int(reading.second[0])] if several else None,
        leaders=tuple(LeaderWord(**{name: getattr(led, name) for name in LedBy.__slots__}) for led in verdict.leaders),
        neutral=NeutralPole(
            mass=max(0.0, 1.0 - float(reading.shares[reading.lead.strong].sum())),
            words=int(tokens.weights[-1]) if tokens.has_neutral else 0,
            followers=(),
            follows=None,
        ),
        residual=verdict.residual,
        others=(float(others[others < 0.0].sum()), float(others[others > 0.0].sum())),
        contributions=_contributions(model, reading, labels, spans),
        succession=_succession(model, reading, number, labels, spans),
        known_words=len(reading.places.first),
        unknown_words=int(ragged.neutral[0]),
        note="" if labels else f"no {'known ' if known else ''}word: the probability is that of the bias alone",
        token_labels=tokens.words,
        token_weights=tokens.weights,
        token_spans=tokens.spans,
        states=passage.states,
        token_leaders=passage.leaders,
        alpha=float(model.alpha),
        transfer=0.0,
        doubt=float(floors(ragged.lengths, model.phantom_, model.doubt_)[0]),
        modified=_modified(model, reading, labels),
        probabilities=tuple(model._probabilities(reading.scores, ragged.lengths)[0].tolist()) if several else (),
        scores=tuple(scores.tolist()) if several else (),
        biases=tuple(np.asarray(model.intercept_).tolist()) if several else (),
    )


def grouped_tokens(model: "FrozenModel", text: str) -> TokenSet:
    """Return the strong words of a text as tokens at their positions, and one token at the pole for all other words."""
    reading = read(model, [text])
    labels = tuple(model.words_[number] for number in reading.texts.words.tolist())
    return _tokens(model, reading, labels, reading.places.of(np.arange(len(labels))))


def _tokens(
    model: "FrozenModel", reading: _Reading, labels: tuple[str, ...], spans: list[tuple[Span, ...]]
) -> TokenSet:
    """Return the positions of the strong words of a text; only the pole has a non-zero last coordinate."""
    texts, found = reading.texts, reading.lead
    alone = found.hosts == np.arange(len(labels))
    strong, weak = np.flatnonzero(found.strong & alone), np.flatnonzero(~found.strong)
    view = model._views.of(int(reading.best[0]), int(reading.second[0]))
    words = texts.words[strong]
    places = model._views.grouping.places(words, found.margins[strong], view.rank[words])
    occurrences = np.diff(reading.places.indptr).astype(np.float64)
    at_pole = float(texts.neutral[0] + occurrences[weak].sum())
    pole = at_pole > 0
    positions = np.zeros((len(strong) + pole, places.shape[1] + 1))
    positions[: len(strong), :-1] = places
    if pole:
        positions[-1, -1] = 1.0
    of_pole = sorted([*reading.places.of_unknown(0), *(span for e in weak.tolist() for span in spans[e])])
    return TokenSet(
        positions=positions,
        words=tuple(labels[e] for e in strong.tolist()) + ("neutral",) * pole,
        weights=np.append(occurrences[strong], [at_pole] * pole),
        spans=(*(spans[e] for e in strong.tolist()), *([tuple(of_pole)] * pole)),
        has_neutral=pole,
    )


def _modified(model: "FrozenModel", reading: _Reading, labels: tuple[str, ...]) -> tuple[Modified, ...]:
    """Return the words of one text that a modifier scales, in the order of the text."""
    places = reading.places
    ways, by = model._lookup.modifiers_of(places)
    factors = model.modifiers_.weights(ways)[places.first]
    changed = np.flatnonzero((factors != 1.0) & (places.first == places.last))
    changed = changed[np.argsort(places.first[changed], kind="stable")]
    if not len(changed):
        return ()
    names, mass = list(model._lookup.units), float(reading.texts.lengths[0]) + model.phantom_
    entries, by = np.searchsorted(places.indptr, changed, side="right") - 1, by[places.first[changed]]
    found = []
    for entry, occurrence, number in zip(entries.tolist(), changed.tolist(), by.tolist(), strict=True):
        start, end = places.spans[int(places.first[occurrence])].tolist()
        value = float(reading.lead.margins[entry])
        found.append(
            Modified(
                word=labels[entry],
                span=(start, end),
                by=(names[number] if number < len(names) else "not",),
                weight=float(factors[occurrence]),
                contribution=float(places.weights[occurrence]) * value / mass,
            )
        )
    return tuple(found)


def _contributions(
    model: "FrozenModel", reading: _Reading, labels: tuple[str, ...], spans: list[tuple[Span, ...]]
) -> tuple[WordContribution, ...]:
    """Return every word with a value, the largest contribution first."""
    parts, shares, margins = reading.parts, reading.shares.tolist(), reading.lead.margins.tolist()
    leaders = reading.lead.leaders.tolist()
    weights = (reading.texts.counts / np.diff(reading.places.indptr)).tolist()
    by_class: list[tuple[float, ...]] = [()] * len(labels)
    if reading.scores.shape[1] > 1:
        by_class = [tuple(row) for row in _of_classes(model, reading).tolist()]
    return tuple(
        WordContribution(
            word=labels[e],
            spans=spans[e],
            mass=shares[e],
            value=margins[e],
            contribution=float(parts[e]),
            leader=labels[leaders[e]] if leaders[e] >= 0 and leaders[e] != e else None,
            by_class=by_class[e],
            weight=weights[e],
        )
        for e in np.argsort(-np.abs(parts), kind="stable").tolist()
    )


def _succession(
    model: "FrozenModel",
    reading: _Reading,
    verdict: int,
    labels: tuple[str, ...],
    spans: list[tuple[Span, ...]],
) -> tuple[Departure, ...]:
    """Return the words whose removal lowers the margin of the verdict most, one after the other.

    A word is removed with all its occurrences and all n-grams over them, and the text becomes shorter; the margins are
    exact except for n-grams that would form across the gap. Only the words of largest effect are tried.
    """
    texts, places = reading.texts, reading.places
    values = model.values_[texts.words]
    biases = np.atleast_1d(np.asarray(model.intercept_, dtype=np.float64))
    if values.shape[1] == 1 and verdict == 0:
        values, biases = -values, -biases
    values = np.ascontiguousarray(values)
    sums, length = texts.counts @ values, float(texts.lengths[0])
    alive, gone = np.ones(len(places.first), dtype=bool), np.zeros(len(places.units), dtype=bool)
    mark, stamp = np.full(len(places.spans), -1, dtype=np.int64), 0
    occurrences = places.indptr, places.first, places.last, alive
    weights, entry_of = places.weights, np.repeat(np.arange(len(labels)), np.diff(places.indptr))
    # n-grams are removed with their words.
    alone = [entry for entry, label in enumerate(labels) if model.ngrams == 1 or " " not in label]
    candidates, taken = np.array(alone, dtype=np.int64), list[Departure]()
    last = np.inf
    while len(candidates) and len(taken) < _AT_MOST and last >= _TURNED:
        without = np.empty(len(candidates))
        stamp = kernels.margins_without(
            *occurrences, weights, candidates, values, sums, length, model.phantom_, biases, verdict, mark, stamp,
            without,
        )  # fmt: skip
        at = int(without.argmin())
        entry = int(candidates[at])
        length -= kernels.take_out(*occurrences, weights, entry, values, sums, mark, stamp)
        gone |= mark == stamp
        # Removing a modifier, or a word between it and other words, changes the weights of these words.
        weights = model._lookup.weights_without(places, gone)
        kept = np.flatnonzero(alive)
        sums = np.bincount(entry_of[kept], weights=weights[kept], minlength=len(labels)) @ values
        margin = float(kernels.margin(sums, length, model.phantom_, biases, verdict))
        if margin >= last:
            break
        last = margin
        taken.append(Departure(labels[entry], spans[entry], last))
        stamp += 1
        order = np.argsort(without, kind="stable")[:_TRIED]
        candidates = candidates[order[candidates[order] != entry]]
    return tuple(taken)
