"""What attends to what in a text, learned on either half of the texts with values from the other half."""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from tokendyn.sentiment.corpus import FEW_TEXTS, Corpus, Rows
from tokendyn.sentiment.modifier_fit import Followed, fit_modifiers
from tokendyn.sentiment.modifiers import Modifiers
from tokendyn.sentiment.neighbour_fit import Judged, fit_neighbours, scaled_sums
from tokendyn.sentiment.neighbours import Attention, Neighbours
from tokendyn.sentiment.values import Prior, Sample, Values, fit_values, prior_scale

#: Iterations, and gradient at the end, of the fits together with which attention is learned.
_ROUGH_ITERATIONS, _ROUGH = 80, 1e-4
#: A negator that leaves less than half of the words' effect may as well reverse half of it. On a development split of
#: IMDb held-out losses for -1, -1.25 and -1.5 are equal, and all below the loss for -0.75, which is learned with values
#: from texts without modifiers, while of 32 negated statements 11, 20 and 24 are right.
_WEAKENS, _REVERSES = -0.5, -1.5
#: Share of the texts that contain a word that scales its neighbours.
_FREQUENT = 0.01
#: Number of words times columns from which words learn to scale their neighbours, so that memory is bounded: of more,
#: every second, third, ... text serves; with more than the second number of columns none.
_MOST_TERMS, _FEW_COLUMNS = 12_000_000, 5


@dataclass(frozen=True)
class Half:
    """Half of the texts, with values from the other half.

    Attributes
    ----------
    held
        Rows of the texts of this half, and of their crops.
    learned
        Rows of the texts and crops of the other half.
    prior, scale
        The prior of values learned from these.
    """

    held: list[Rows]
    learned: Rows
    prior: Prior
    scale: Float[np.ndarray, "tokens columns"]

    @classmethod
    def of(cls, corpus: Corpus, prior: Prior, out: Bool[np.ndarray, " texts"]) -> "Half":
        """Return one half of a corpus: the texts that are out."""
        texts, *crops = corpus.rows_of(~out)
        known = corpus.sample.rows(texts)
        scale = prior_scale(known.counts.sign(), known.targets, prior.floor, prior.marginal)
        return cls(held=corpus.rows_of(out), learned=np.concatenate([texts, *crops]), prior=prior, scale=scale)

    def fit(self, corpus: Corpus, start: Values | None = None) -> Values:
        """Return values of the other half."""
        return fit_values(
            corpus.sample.rows(self.learned), self.scale, self.prior,
            start=start, gradient=_ROUGH, iterations=_ROUGH_ITERATIONS,
        )  # fmt: skip

    def judged(self, corpus: Corpus) -> list[tuple[Sample, Values]]:
        """Return these texts, and their crops, with values of the other half."""
        values = self.fit(corpus)
        return [(corpus.sample.rows(rows), values) for rows in self.held]

    def losses(self, corpus: Corpus, values: Values) -> Float[np.ndarray, " held"]:
        """Return the cost of these texts and their crops, importance times log-loss."""
        held = corpus.sample.rows(np.concatenate(self.held))
        return held.importance * values.losses(held)


def learn_attention(
    corpus: Corpus, halves: Sequence[Half], keys: Int[np.ndarray, " texts"], progress: Callable[[str], None]
) -> Attention:
    """Return how occurrences are weighted: modifiers, and with more than 1,000 texts neighbours.

    Parameters
    ----------
    corpus
        The texts.
    halves
        Both halves of them, by the last bit of the keys.
    keys
        A number for each text that depends on the text alone.
    progress
        Called with a description of the next step.
    """
    idle = Attention(Modifiers(), Neighbours(), corpus.words)
    if corpus.occurrences is None or not halves:
        return idle
    progress("modifiers")
    plain = [half.fit(corpus) for half in halves]
    modifiers = fit_modifiers([_followed(corpus, half, values) for half, values in zip(halves, plain, strict=True)])
    tried = [_Tried.of(modifiers, corpus, halves[0], plain[0])]
    if modifiers.negator <= _WEAKENS:
        # Values that were learned without modifiers contain some of their effect. So a reversing negator is compared
        # with the learned factor, with values learned anew, and kept if held-out texts are not clearly less likely.
        tried.append(_Tried.of(replace(modifiers, negator=_REVERSES), corpus, halves[0], plain[0]))
    more = tried[-1].losses - tried[0].losses
    best = tried[-1] if more.mean() <= more.std() / np.sqrt(len(more)) else tried[0]
    del tried  # its counts are as large as the texts
    columns = corpus.sample.targets.shape[1]
    every = 1 + len(corpus.occurrences.numbers) * columns // _MOST_TERMS
    if corpus.texts <= FEW_TEXTS or len(halves) < 2 or (every > 1 and columns > _FEW_COLUMNS):
        return Attention(best.modifiers, Neighbours(), corpus.words)
    progress("neighbours of words")
    frequent = (corpus.tokens < len(idle.roles)) & (corpus.frequencies >= _FREQUENT * corpus.texts)
    candidates = corpus.tokens[frequent]
    candidates = candidates[idle.roles[candidates] == 0]
    both = [best.values, halves[1].fit(best.corpus, plain[1])]
    neighbours = fit_neighbours(
        [
            _judged(best, half.held[0][(keys[half.held[0]] >> 1) % every == 0], values, candidates)
            for half, values in zip(halves, both, strict=True)
        ],
        [corpus.names[number] for number in candidates.tolist()],
    )
    return Attention(best.modifiers, neighbours, corpus.words)


@dataclass(frozen=True)
class _Tried:
    """Modifiers, the corpus with their weights, and values and losses of the first half under them."""

    modifiers: Modifiers
    corpus: Corpus
    values: Values
    losses: Float[np.ndarray, " held"]

    @classmethod
    def of(cls, modifiers: Modifiers, corpus: Corpus, half: Half, plain: Values) -> "_Tried":
        """Learn the values anew."""
        attended = corpus.attended(Attention(modifiers, Neighbours(), corpus.words))
        values = plain if attended is corpus else half.fit(attended, plain)
        return cls(modifiers=modifiers, corpus=attended, values=values, losses=half.losses(attended, values))


def _followed(corpus: Corpus, half: Half, values: Values) -> Followed:
    """Return the contributions of all words of the texts and crops, and of those that follow a modifier."""
    assert corpus.occurrences is not None
    rows = np.concatenate(half.held)
    whole, count = corpus.sample, len(corpus.sample)
    parts = [values.scores(whole.rows(rows)) - values.biases]
    for way in range(1, 1 + len(astuple(Modifiers()))):
        units = np.flatnonzero(corpus.occurrences.ways == way)
        worth = corpus.worth(values, units)
        at = corpus.occurrences.rows[units]
        sums = [np.bincount(at, weights=column, minlength=count)[rows] for column in worth.T]
        parts.append(np.stack(sums, axis=1).astype(np.float64))
    return Followed(
        sums=np.stack(parts), biases=values.biases, targets=whole.targets[rows], importance=whole.importance[rows]
    )


def _judged(best: _Tried, rows: Rows, values: Values, candidates: Int[np.ndarray, " words"]) -> Judged:
    """Return some texts with what the neighbours of each candidate contribute."""
    corpus = best.corpus
    assert corpus.occurrences is not None
    renumbered = np.full(len(corpus.sample), -1, dtype=np.int32)
    renumbered[rows] = np.arange(len(rows))
    units = np.flatnonzero(renumbered[corpus.occurrences.rows] >= 0)
    numbers = corpus.occurrences.numbers[units]
    weights = best.modifiers.weights(corpus.occurrences.ways[units])
    place = np.full(len(corpus.words), -1, dtype=np.int32)
    place[candidates] = np.arange(len(candidates))
    held = corpus.sample.rows(rows)
    return Judged(
        scores=values.scores(held) - values.biases,
        biases=values.biases,
        targets=held.targets,
        importance=held.importance,
        scaled=scaled_sums(
            numbers, renumbered[corpus.occurrences.rows[units]], weights[:, None] * corpus.worth(values, units), place,
            len(rows), len(candidates),
        ),
        closing=corpus.closing_sums(values)[rows],
    )  # fmt: skip
