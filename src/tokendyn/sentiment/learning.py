"""From texts and targets to the values and positions of words, without random choices."""

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float

from tokendyn.sentiment.attention_fit import Half, learn_attention
from tokendyn.sentiment.corpus import FEW_TEXTS, Corpus
from tokendyn.sentiment.doubt import fit_doubt
from tokendyn.sentiment.groups import Grouping, members_of, topics_of, with_leaders
from tokendyn.sentiment.modifiers import Modifiers
from tokendyn.sentiment.neighbours import Neighbours
from tokendyn.sentiment.selection import choose_prior
from tokendyn.sentiment.slope import fit_slope
from tokendyn.sentiment.tokens import TokenRule
from tokendyn.sentiment.values import Prior, Values, fit_values, prior_scale
from tokendyn.sentiment.vocabulary import count_words
from tokendyn.sentiment.word_vectors import shared_by, word_vectors

#: Least share of all words that may lead, if it is not given.
_LEAST_SHARE = 0.05


@dataclass(frozen=True)
class Settings:
    """Settings of a fit: parameters of :class:`tokendyn.sentiment.LeaderClassifier`, and the weight of crops.

    Attributes
    ----------
    crops
        Cost of an error on a crop, relative to 1 on a text.
    """

    rule: TokenRule
    active_words: int
    phantom: float | None
    floor: float | None
    marginal: float | None
    prior_strength: float | None
    doubt: float | None
    crops: float
    leaders: float
    strong_share: float | None
    dimensions: int
    layers: int
    alpha: float

    def fixed(self) -> dict[str, float]:
        """Return the settings of the prior that are not searched for."""
        named = {
            "phantom": self.phantom,
            "floor": self.floor,
            "marginal": self.marginal,
            "strength": self.prior_strength,
        }
        return {name: float(value) for name, value in named.items() if value is not None}


@dataclass(frozen=True)
class Learned:
    """The results of a fit.

    Attributes
    ----------
    words
        The tokens with a value.
    values
        Their values, the biases and the phantom mass.
    grouping
        Their positions and strengths.
    prior
        The settings of the fit.
    modifiers, neighbours
        Factors by which negators, contrasts and intensifiers, and all frequent words, scale the words beside them.
    doubt
        The least chance of an error: see :func:`tokendyn.sentiment.doubt.floors`.
    record
        The settings tried with their held-out losses, and the numbers of tokens and crops.
    """

    words: tuple[str, ...]
    values: Values
    grouping: Grouping
    prior: Prior
    modifiers: Modifiers
    neighbours: Neighbours
    doubt: float
    record: dict[str, object]


def learn(
    texts: Sequence[str],
    targets: Float[np.ndarray, "texts columns"],
    importance: Float[np.ndarray, " texts"],
    settings: Settings,
    progress: Callable[[str], None] = lambda _: None,
    *,
    deadline: float = math.inf,
) -> Learned:
    """Learn the values of words, and compute their positions.

    Parameters
    ----------
    texts
        The texts.
    targets, importance
        As in :class:`tokendyn.sentiment.values.Sample`.
    settings
        The settings; settings of the prior that are None are chosen by held-out losses. The last fit is on all texts.
    progress
        Called with a description of the next step; an exception raised there ends the fit.
    deadline
        Time after which no further setting is tried, on the clock of :func:`time.monotonic`.
    """
    progress("counting words")
    corpus = Corpus.of(count_words(texts, settings.rule, crops=True), targets, importance, settings.crops)
    # A hash of the text itself, so that neither chance nor the order of the texts matters.
    keys = np.array([zlib.crc32(text.encode("utf-8", "surrogatepass")) for text in texts])
    choice = choose_prior(
        corpus.of_texts, corpus.of_crops, corpus.parents, keys,
        fixed=settings.fixed(), progress=progress, deadline=deadline,
    )  # fmt: skip
    prior, several = choice.prior, targets.shape[1] > 1
    sides = [keys & 1 == half for half in (0, 1)]
    halves = [Half.of(corpus, prior, out) for out in sides if 0 < out.sum() < len(out)]
    attention = learn_attention(corpus, halves, keys, progress)
    attended = corpus.attended(attention)
    progress("certainty")
    judged = [part for half in halves[: None if several else 1] for part in half.judged(attended)]
    slope = fit_slope(judged) if several else 1.0
    doubt = settings.doubt
    if doubt is None:
        doubt = fit_doubt([(part, values.times(slope)) for part, values in judged])
    progress("values of words")
    whole = _fit(corpus, attended, prior, progress).times(slope)
    # Weak tokens are left out: their values are small, and the losses stay the same.
    evidence = np.linalg.norm(whole.table, axis=1) * np.sqrt(corpus.frequencies)
    active = np.sort(np.argsort(-evidence, kind="stable")[: settings.active_words])
    active = active[evidence[active] > 0.0] if evidence.any() else active
    values = Values(table=np.ascontiguousarray(whole.table[active]), biases=whole.biases, phantom=whole.phantom)
    progress("places of words")
    words = tuple(corpus.names[number] for number in corpus.tokens[active].tolist())
    sample = attended.of_texts.tokens(active)
    share = settings.strong_share
    if share is None:
        share = min(1.0, max(_LEAST_SHARE, 2.0 * settings.leaders / max(float(sample.sizes.mean()), 1.0)))
    grouping = topics_of(
        sample, values, corpus.frequencies[active], members_of(words, settings.rule.ngrams),
        modifying=attention.modifiers.of_words(words), weights=attended.mean_weights(corpus)[active], share=share,
        dimensions=settings.dimensions,
    )  # fmt: skip
    sample = sample.rows(np.argsort(keys, kind="stable"))
    grouping = with_leaders(sample, values, grouping, settings.leaders, settings.layers, settings.alpha)
    record: dict[str, object] = {
        "modifiers": asdict(attention.modifiers),
        "neighbours": len(attention.neighbours.words),
        "closing": attention.neighbours.closing,
        "doubt": doubt,
        "slope": slope,
        "distinct_words": len(corpus.names),
        "crops": len(corpus.parents),
        "status": "completed" if choice.completed else "budget",
        "phantom": prior.phantom,
        "floor": prior.floor,
        "marginal": prior.marginal,
        "prior_strength": prior.strength,
        "tried": [
            {
                "phantom": prior.phantom,
                "floor": prior.floor,
                "marginal": prior.marginal,
                "prior_strength": prior.strength,
                "loss": loss,
            }
            for prior, loss in choice.tried
        ],
    }
    return Learned(
        words=words, values=values, grouping=grouping, prior=prior, modifiers=attention.modifiers,
        neighbours=attention.neighbours, doubt=doubt, record=record,
    )  # fmt: skip


def _fit(corpus: Corpus, attended: Corpus, prior: Prior, progress: Callable[[str], None]) -> Values:
    """Return the values of all texts and crops; among many texts, words of similar neighbourhoods share a part."""
    texts = corpus.of_texts
    scale = prior_scale(texts.counts.sign(), texts.targets, prior.floor, prior.marginal)
    shared = None
    if corpus.texts > FEW_TEXTS and corpus.occurrences is not None:
        numbers, rows = corpus.occurrences.numbers, corpus.occurrences.rows
        vectors = word_vectors(numbers[: np.searchsorted(rows, corpus.texts)], corpus.words)
        shared = shared_by(*vectors, corpus.tokens, corpus.frequencies, corpus.texts)
    return fit_values(attended.sample, scale, prior, shared=shared, progress=_tell(progress))


def _tell(progress: Callable[[str], None]) -> Callable[[int], None]:
    """Return a callback of the fit that names its iteration."""
    return lambda iteration: progress(f"values of words, iteration {iteration}")
