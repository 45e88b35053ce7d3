"""Which words of a text lead, and which words each of them leads: the places of words, and layers of hardmax on them.

At transfer 0 a token is ``z_j = (v_j, e_j)``, a value beside a place. The layers have ``A = diag(0, I)``: leaders are
found among the places, values stay where they are. So the verdict is the plain sum of values, and the dynamics give
the groups of its terms.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse
from scipy.sparse.linalg import ArpackNoConvergence, svds
from sklearn.utils.extmath import randomized_svd

from tokendyn.dynamics import Layer, RaggedTokens, run_ragged
from tokendyn.sentiment.values import Sample, Values
from tokendyn.sentiment.vocabulary import Ragged

#: Weight of the side that a word speaks for, beside 1 for its topic, in its place.
_SIDE = 2.0
#: Part of all words below which a word is weakened, for its value depends on which texts are learned from, and the
#: power of the share of texts without a word that weakens words of nearly every text. Chosen on splits of IMDb, for
#: leaders that stay in another training and are no stop-words.
_SEEN, _SELDOM = 1.0 / 2500.0, 1.5
#: An n-gram without a strong word leads from so many times the strength on that a word needs: values of n-grams change
#: more from one training to another than those of words.
_ALONE = 3.0
#: A word of more than so many times that strength leads no sooner for it: beyond, another training puts another number.
_ENOUGH = 3.0
#: Least part of its value in the strength of a word whose n-grams outweigh it.
_LEAST_PART = 1e-6
#: Words of a text without a strong word lead if they have so much of the largest strength.
_NEXT_BEST = 0.5
#: Spread of two groups by sign.
_BY_SIGN = 1.0
#: Texts that the number of leaders is set by, and bounds of the exponent that sets it.
_LOOKED_AT, _MOST_SPREAD, _HALVINGS = 400, 12.0, 12
#: Doublings of a chain of followers.
_DOUBLINGS = 24
#: Entries of a matrix whose singular vectors are all found.
_DENSE = 1_000_000
#: Pairs of classes whose views are kept.
_KEPT_VIEWS = 64

Entries = Int[np.ndarray, " entries"]


@dataclass(frozen=True)
class View:
    """The words as they speak for one class against another.

    Attributes
    ----------
    margin
        Value for the one less that for the other.
    strength
        ``|effect| sqrt(q / (q + 1/2500)) (1 - p)^(3/2)``, p the share of the training texts with the word and q its
        part of all words (our own): a rare word has another value in another training, a word of nearly all texts tells
        them apart little. The effect is what an occurrence adds on average, with the n-grams that hold it:
        ``v_j + sum_k (texts with k / texts with j) v_k``. How a fit divides what "waste of" says among the two words
        and the pair depends on which texts it saw; the sum does not. If it contradicts the margin, it counts as 0.
    strong
        Which words may lead: those of largest strength that make up the strong share of all words of the training
        texts.
    rank
        Rank of ``(min(strength, 3 least) - least) (texts with the word)`` among strong words, in (0, 1), where least is
        the smallest strength of a strong word. Of the others, ``strength / least - 1`` or less, in [-1, 0].
    host
        Of an n-gram, its strongest word with a value, which it stands with; else -1.
    """

    margin: Float[np.ndarray, " words"]
    strength: Float[np.ndarray, " words"]
    strong: Bool[np.ndarray, " words"]
    rank: Float[np.ndarray, " words"]
    host: Int[np.ndarray, " words"]


@dataclass(frozen=True, eq=False)
class Grouping:
    """Where words stand: ``e_j = exp(spread (rank_j - 1/2)) (2 sign_j, f_j) / |(2 sign_j, f_j)|`` (our own).

    The sign says what a word speaks for, ``f_j`` of length 1 which texts it occurs in, and a word of much evidence is
    longer, so that it leads. Words that are not strong stand together at a pole orthogonal to all others.

    Attributes
    ----------
    texts
        How many texts were learned from.
    frequencies
        How many of them hold each word.
    members
        ``(words, n)``: the numbers of the words of an n-gram that have a value, -1 for the others and for words.
    topics
        ``f_j``, or 0 for words without; no column when there are two groups, by sign.
    share
        Part of all words of the training texts that may lead.
    spread
        Sets how many words lead: the larger, the fewer.
    modifying
        Which words are modifiers that scale others. They speak through these, and are never strong: "no" stands in a
        third of all reviews of films.
    """

    texts: int
    frequencies: Int[np.ndarray, " words"]
    members: Int[np.ndarray, "words longest"]
    topics: Float[np.ndarray, "words dimensions"]
    share: float
    spread: float
    modifying: Bool[np.ndarray, " words"]

    def view(self, margin: Float[np.ndarray, " words"]) -> View:
        """Return the words with their strength on one margin.

        Words are strong first, then the n-grams that hold no strong word and are clearly stronger.
        """
        strength = self._strength(margin)
        single = np.flatnonzero((self.members < 0).all(axis=1))
        able = single[~self.modifying[single]]
        order = able[np.argsort(-strength[able], kind="stable")]
        before = np.cumsum(self.frequencies[order]) - self.frequencies[order]
        strong = np.zeros(len(margin), dtype=bool)
        strong[order] = (before < self.share * self.frequencies[single].sum()) & (strength[order] > 0.0)
        least = strength[strong].min(initial=np.inf)
        host = self._hosts(strength)
        strong |= (strength >= _ALONE * least) & ((host < 0) | ~strong[host])
        rank = np.minimum(strength / least - 1.0, 0.0)
        chosen = np.flatnonzero(strong)
        # The least strength is taken off: a frequent word at the edge of the strong ones would else lead in one
        # training, and in the next not be there.
        evidence = (np.minimum(strength[chosen], _ENOUGH * least) - least) * self.frequencies[chosen]
        rank[chosen[np.lexsort((strength[chosen], evidence))]] = (np.arange(len(chosen)) + 0.5) / max(len(chosen), 1)
        return View(margin=margin, strength=strength, strong=strong, rank=rank, host=host)

    def _strength(self, margin: Float[np.ndarray, " words"]) -> Float[np.ndarray, " words"]:
        """Return the strength of each word on one margin."""
        # One text more than there are: a word of all texts keeps a little strength, for there may be no other.
        seldom = 1.0 - self.frequencies / (self.texts + 1.0)
        words = np.arange(len(margin))
        sides = np.sign(margin)
        effect = np.maximum(sides * self._effect(margin), _LEAST_PART * np.abs(margin))
        return effect * np.sqrt(self.steadiness(words)) * seldom**_SELDOM

    def _effect(self, margin: Float[np.ndarray, " words"]) -> Float[np.ndarray, " words"]:
        """Return what an occurrence of each token adds on average, with the n-grams that hold it."""
        effect = margin.copy()
        for column in self.members.T:
            of = np.flatnonzero(column >= 0)
            worth = margin[of] * self.frequencies[of]
            whole = np.bincount(column[of], weights=worth, minlength=len(margin))
            effect += whole / np.maximum(self.frequencies, 1)
        return effect

    def steadiness(self, words: Entries) -> Float[np.ndarray, " entries"]:
        """Return ``q / (q + 1/2500)``, near 1 where another training finds much the same; q is the part of all words.

        A word counts once in each text.
        """
        part = self.frequencies[words] / self._words
        return part / (part + _SEEN)

    @property
    def by_sign(self) -> bool:
        """Whether there is one leader for each side, and no topics."""
        return not self.topics.shape[1]

    @cached_property
    def _words(self) -> int:
        """How many words the training texts have, each once a text."""
        return max(int(self.frequencies[(self.members < 0).all(axis=1)].sum()), 1)

    def _hosts(self, strength: Float[np.ndarray, " words"]) -> Int[np.ndarray, " words"]:
        """Return of each n-gram its strongest word with a value, -1 for none and for single words."""
        if not self.members.shape[1]:
            return np.full(len(strength), -1)
        best = np.where(self.members >= 0, strength[self.members], -1.0).argmax(axis=1)
        return self.members[np.arange(len(strength)), best]

    def places(
        self, words: Entries, margin: Float[np.ndarray, " entries"], rank: Float[np.ndarray, " entries"]
    ) -> Float[np.ndarray, "entries dim"]:
        """Return the places of some words, given margin and rank of each."""
        topics = self.topics[words]
        places = np.concatenate([_SIDE * np.sign(margin)[:, None], topics], axis=1)
        places /= np.sqrt(_SIDE**2 + np.einsum("wd,wd->w", topics, topics))[:, None]
        return places * np.exp(self.spread * (rank - 0.5))[:, None]


class Views:
    """The views of a classifier: the only one of two classes, or one for each pair of several.

    Parameters
    ----------
    table
        The values, one column for two classes.
    grouping
        Where the words stand.
    """

    def __init__(self, table: Float[np.ndarray, "words columns"], grouping: Grouping) -> None:
        self.table, self.grouping = table, grouping
        self._of_pair = lru_cache(maxsize=_KEPT_VIEWS)(self._view)

    def __reduce__(self) -> tuple[type["Views"], tuple[np.ndarray, Grouping]]:
        return Views, (self.table, self.grouping)

    def of(self, best: int, second: int) -> View:
        """Return how words speak for one class against another; of two classes, for the second against the first."""
        return self._of_pair(best, second) if self.table.shape[1] > 1 else self._of_pair(1, 0)

    def _view(self, best: int, second: int) -> View:
        several = self.table.shape[1] > 1
        return self.grouping.view(self.table[:, best] - self.table[:, second] if several else self.table[:, 0])


@dataclass(frozen=True)
class Lead:
    """Who leads whom in many texts.

    Attributes
    ----------
    margins
        The value of each entry on the margin that is explained.
    strong
        Which entries are among the groups: strong words, and n-grams that hold one.
    hosts
        Of each entry the one that it stands with, itself if it stands alone.
    leaders
        Of each entry of a group its leader, itself for a leader; -1 for the others.
    counts
        How many leaders each text has.
    """

    margins: Float[np.ndarray, " entries"]
    strong: Bool[np.ndarray, " entries"]
    hosts: Entries
    leaders: Entries
    counts: Int[np.ndarray, " texts"]


def lead(
    texts: Ragged,
    views: Views,
    best: Int[np.ndarray, " texts"],
    second: Int[np.ndarray, " texts"],
    layers: int,
    alpha: float,
) -> Lead:
    """Send the strong words of many texts through the layers, and return who leads whom.

    Parameters
    ----------
    texts
        The texts.
    views
        Of the classifier.
    best, second
        The classes whose margin is explained, of each text.
    layers, alpha
        Depth and step parameter.
    """
    return _led(texts, _entries(texts, views, best, second), views.grouping, layers, alpha)


@dataclass(frozen=True)
class _Entries:
    """The words of many texts as they speak in each: attributes of :class:`View` and :class:`Lead`, by entry."""

    rows: Entries
    margins: Float[np.ndarray, " entries"]
    rank: Float[np.ndarray, " entries"]
    strong: Bool[np.ndarray, " entries"]
    hosts: Entries


def _entries(
    texts: Ragged, views: Views, best: Int[np.ndarray, " texts"], second: Int[np.ndarray, " texts"]
) -> _Entries:
    """Return which words of each text lead or follow, before places are made of them."""
    rows = np.repeat(np.arange(len(texts)), np.diff(texts.indptr))
    margins, rank, strength = np.empty(len(rows)), np.empty(len(rows)), np.empty(len(rows))
    strong, host = np.zeros(len(rows), dtype=bool), np.full(len(rows), -1, dtype=np.int64)
    number = best * (1 + max(int(np.max(best, initial=0)), int(np.max(second, initial=0)))) + second
    for pair in np.unique(number).tolist():
        at = np.flatnonzero(number == pair)[0]
        view = views.of(int(best[at]), int(second[at]))
        inside = np.flatnonzero((number == pair)[rows])
        words = texts.words[inside]
        margins[inside], rank[inside], strength[inside] = view.margin[words], view.rank[words], view.strength[words]
        strong[inside], host[inside] = view.strong[words], view.host[words]
    hosts = _hosts(texts.words, rows, host, len(views.table))
    strong |= _next_best(strength, strong, hosts, rows, len(texts))
    # An n-gram without a strong word stands alone.
    hosts = np.where(strong[hosts], hosts, np.arange(len(rows)))
    return _Entries(rows=rows, margins=margins, rank=rank, strong=strong, hosts=hosts)


def _led(texts: Ragged, seen: _Entries, grouping: Grouping, layers: int, alpha: float) -> Lead:
    """Send strong words through the layers."""
    rows, strong = seen.rows, seen.strong
    entries = np.flatnonzero(strong)
    leaders = np.full(len(rows), -1, dtype=np.int64)
    if len(entries):
        places = grouping.places(texts.words[entries], seen.margins[entries], seen.rank[entries])
        sizes = np.bincount(rows[entries], minlength=len(texts))
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        # A reversed occurrence is as much of a token as another.
        masses = np.maximum(np.abs(texts.counts[entries]), np.finfo(np.float64).tiny)
        followed = _last_leaders(places, masses, offsets, layers, alpha)
        leaders[entries] = entries[_ends(followed)]
    leaders = leaders[seen.hosts]
    own = leaders == np.arange(len(rows))
    return Lead(
        margins=seen.margins,
        strong=leaders >= 0,
        hosts=seen.hosts,
        leaders=leaders,
        counts=np.bincount(rows[own], minlength=len(texts)),
    )


def _next_best(
    strength: Float[np.ndarray, " entries"],
    strong: Bool[np.ndarray, " entries"],
    hosts: Entries,
    rows: Entries,
    texts: int,
) -> Bool[np.ndarray, " entries"]:
    """Return the strongest entries of the texts that have no strong one, so that these too have a leader."""
    weak = (np.bincount(rows[strong], minlength=texts) == 0)[rows]
    candidates = np.flatnonzero(weak & (hosts == np.arange(len(rows))) & (strength > 0.0))
    most = np.zeros(texts)
    np.maximum.at(most, rows[candidates], strength[candidates])
    chosen = np.zeros(len(rows), dtype=bool)
    chosen[candidates] = strength[candidates] >= _NEXT_BEST * most[rows[candidates]]
    return chosen


def _hosts(
    words: Int[np.ndarray, " entries"], rows: Entries, host: Entries, vocabulary: int
) -> Int[np.ndarray, " entries"]:
    """Return for each entry the entry of its host in the same text, itself for none; words ascend within a text."""
    hosts = np.arange(len(words))
    hosted = np.flatnonzero(host >= 0)
    if len(hosted):
        keys = rows * vocabulary + words
        wanted = rows[hosted] * vocabulary + host[hosted]
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        hosts[hosted] = np.where(keys[at] == wanted, at, hosted)
    return hosts


def _last_leaders(
    places: Float[np.ndarray, "tokens dim"],
    weights: Float[np.ndarray, " tokens"],
    offsets: Int[np.ndarray, " sets_plus_1"],
    layers: int,
    alpha: float,
) -> Int[np.ndarray, " tokens"]:
    """Return whom each token follows at the last layer, counted over all sets."""
    if not layers:
        return np.arange(len(places))
    sets = RaggedTokens(tokens=places, offsets=offsets)
    run = run_ragged(sets, [Layer(alpha)] * layers, weights=weights)
    return run.leaders[-1, 0] + np.repeat(offsets[:-1], np.diff(offsets))


def _ends(followed: Int[np.ndarray, " tokens"]) -> Int[np.ndarray, " tokens"]:
    """Return the leader at the end of each chain of followers; tokens of a chain without one lead themselves."""
    ends = followed
    # Doubled so often, a chain is longer than any text; a ring of followers never ends.
    for _ in range(_DOUBLINGS):
        further = ends[ends]
        if np.array_equal(further, ends):
            break
        ends = further
    return np.where(followed[ends] == ends, ends, np.arange(len(ends)))


def members_of(words: Sequence[str], ngrams: int) -> Int[np.ndarray, "words longest"]:
    """Return of each n-gram the numbers of its words, -1 for those that are not there, and for single words."""
    number = {word: place for place, word in enumerate(words)}
    members = np.full((len(words), ngrams if ngrams > 1 else 0), -1, dtype=np.int64)
    if ngrams > 1:
        for place, name in enumerate(words):
            if " " in name:
                parts = name.split(" ")
                members[place, : len(parts)] = [number.get(part, -1) for part in parts]
    return members


def topics_of(
    sample: Sample,
    values: Values,
    frequencies: Entries,
    members: Int[np.ndarray, "words longest"],
    *,
    modifying: Bool[np.ndarray, " words"],
    share: float,
    dimensions: int,
) -> Grouping:
    """Return the places of words before their spread is set.

    ``f_j`` are the right singular vectors of the counts divided by the roots of the length of the text and of the
    frequency of the word, times the singular values, at length 1; the first is left out, for it is the frequency. Only
    inner products of places count, so signs and rotations of the vectors do not matter.

    Parameters
    ----------
    sample, values
        The texts, and the values of their tokens.
    frequencies
        How many texts hold each token.
    members
        From :func:`members_of`.
    modifying
        Which words scale others.
    share
        Part of all words that may lead.
    dimensions
        Singular vectors; 0 for none.
    """
    words = len(frequencies)
    table = values.table
    reach = np.abs(table[:, 0]) if table.shape[1] == 1 else table.max(axis=1) - table.min(axis=1)
    # Of several classes, words that speak for any of them against any other: twice the share.
    wide = share if table.shape[1] == 1 else min(1.0, 2.0 * share)
    topics = np.zeros((words, dimensions))
    grouping = Grouping(
        texts=len(sample), frequencies=frequencies, members=members, topics=topics, share=wide, spread=_BY_SIGN,
        modifying=modifying,
    )  # fmt: skip
    chosen = np.flatnonzero(grouping.view(reach).strong)
    rank = min(dimensions + 1, min(len(sample), len(chosen)) - 1)
    if dimensions and rank > 1:
        rows = sparse.diags(1.0 / np.sqrt(np.maximum(sample.sizes, 1.0)))
        columns = sparse.diags(1.0 / np.sqrt(frequencies[chosen]))
        matrix = (rows @ sample.counts[:, chosen] @ columns).tocsr()
        size, vectors = _largest_singular(matrix, rank)
        order = np.argsort(-size, kind="stable")[1:]
        found = (size[order, None] * vectors[order]).T
        length = np.linalg.norm(found, axis=1, keepdims=True)
        # Single precision, as they are kept: a saved classifier has the same places to the bit.
        unit = np.divide(found, length, out=np.zeros_like(found), where=length > 0.0).astype(np.float32)
        grouping.topics[chosen, : len(order)] = unit
    return replace(grouping, share=share)


def _largest_singular(
    matrix: sparse.csr_matrix, number: int
) -> tuple[Float[np.ndarray, " number"], Float[np.ndarray, "number columns"]]:
    """Return the largest singular values and their right vectors; of a small matrix all are found, for it is cheap."""
    if matrix.shape[0] * matrix.shape[1] <= _DENSE:
        _, size, vectors = np.linalg.svd(matrix.toarray(), full_matrices=False)
        return size[:number], vectors[:number]
    try:
        _, size, vectors = svds(matrix, k=number, v0=np.ones(min(matrix.shape)), tol=1e-5, maxiter=20 * number)
    except ArpackNoConvergence:  # many equal singular values: any basis of their space will do
        _, size, vectors = randomized_svd(matrix, number, random_state=0)
    return size, vectors


def with_leaders(
    sample: Sample, values: Values, grouping: Grouping, leaders: float, layers: int, alpha: float
) -> Grouping:
    """Return the grouping whose spread gives so many leaders on average, nearly, by bisection on some of the texts."""
    if grouping.by_sign or not layers:
        return grouping  # by sign: the longest place of each side leads, whatever the spread
    sample = sample.rows(np.arange(0, len(sample), max(1, len(sample) // _LOOKED_AT)))
    counts = sample.counts.sorted_indices()
    texts = Ragged(
        indptr=counts.indptr.astype(np.int64),
        words=counts.indices.astype(np.int32),
        counts=counts.data,
        neutral=np.zeros(len(sample)),
        lengths=sample.sizes,
    )
    seen = _entries(texts, Views(values.table, grouping), *best_two(values.scores(sample)))
    low, high = 0.0, _MOST_SPREAD
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if _led(texts, seen, replace(grouping, spread=middle), layers, alpha).counts.mean() > leaders:
            low = middle
        else:
            high = middle
    return replace(grouping, spread=0.5 * (low + high))


def best_two(
    scores: Float[np.ndarray, "texts columns"],
) -> tuple[Int[np.ndarray, " texts"], Int[np.ndarray, " texts"]]:
    """Return the two classes of largest score of each text; of one logit, the second class and the first."""
    if scores.shape[1] == 1:
        return np.ones(len(scores), dtype=np.int64), np.zeros(len(scores), dtype=np.int64)
    best = scores.argmax(axis=1)
    others = scores.copy()
    others[np.arange(len(scores)), best] = -np.inf
    return best, others.argmax(axis=1)
