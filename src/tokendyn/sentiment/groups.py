"""Leaders and followers among the words of a text: positions of words, and layers of hardmax on them.

At transfer 0 a token is ``z_j = (v_j, e_j)``, a value and a position. The layers have ``A = diag(0, I)``: leaders are
found among the positions, and values do not move. So the verdict is the plain sum of values, and the dynamics give the
groups of its terms.
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
from tokendyn.sentiment.values import Sample, Values, clear_odds
from tokendyn.sentiment.vocabulary import Ragged

#: Weight of a word's side in its position, relative to 1 for its topic.
_SIDE = 2.0
#: Share of all words below which a word is weakened, because its value depends on the choice of training texts, and the
#: exponent of the share of texts without a word, which weakens words that occur in nearly every text. Chosen on splits
#: of IMDb, for leaders that recur in another training and are not stop words.
_SEEN, _SELDOM = 1.0 / 2500.0, 1.5
#: An n-gram without a strong word leads if its strength is at least this multiple of the strength that a word needs:
#: values of n-grams vary more from one training to another than those of words.
_ALONE = 3.0
#: Strength is capped at this multiple of the least one: beyond it, differences vary from one training to another.
_ENOUGH = 3.0
#: Exponent of the separation of a word in its strength, and its least value as a part of the effect. With 0, 1/2, 2/3
#: and 3/4, two trainings share 85, 88, 89, 89 % of their leaders on the development splits of IMDb.
_BY_ITSELF, _LEAST_APART = 2.0 / 3.0, 0.25
#: Least share of its value in the strength of a word whose n-grams outweigh it.
_LEAST_PART = 1e-6
#: Words of a text without a strong word lead if they have this share of the largest strength.
_NEXT_BEST = 0.5
#: Spread for two groups by sign.
_BY_SIGN = 1.0
#: Number of texts used to set the number of leaders, and bounds of the exponent that sets it.
_LOOKED_AT, _MOST_SPREAD, _HALVINGS = 400, 12.0, 12
#: Doublings of a chain of followers.
_DOUBLINGS = 24
#: Number of entries of a matrix up to which all singular vectors are computed.
_DENSE = 1_000_000
#: Number of pairs of classes whose views are cached.
_KEPT_VIEWS = 64

Entries = Int[np.ndarray, " entries"]


@dataclass(frozen=True)
class View:
    """The words as evidence for one class against another.

    Attributes
    ----------
    margin
        Value for the first class minus the value for the second.
    strength
        ``|effect|^(1/3) max(c |r|, |effect| / 4)^(2/3) sqrt(q / (q + 1/2500)) (1 - p)^(3/2)``, where p is the share of
        the training texts with the word and q is its share of all words (our own): the value of a rare word varies
        between trainings, and a word in nearly all texts hardly separates them. The effect is the mean contribution of
        an occurrence, with the n-grams that contain it: ``w_j v_j + sum_k (texts with k / texts with j) w_k v_k``, w
        the mean weight of an occurrence. How a fit divides the effect of "waste of" among the two words and the pair
        depends on its texts; the sum does not. Even less varies r, by which the word tells the classes apart by itself
        (:meth:`Grouping.separation`); c makes the sums of both over the words of the texts equal. An effect, or an r,
        that contradicts the margin counts as 0.
    strong
        Whether each word may lead: the words of largest strength that make up the strong share of all words of the
        training texts.
    rank
        Rank of ``(min(strength, 3 least) - least) (texts with the word)`` among strong words, in (0, 1), where least is
        the smallest strength of a strong word. For other words, ``strength / least - 1`` or less, in [-1, 0].
    host
        For an n-gram, its strongest word with a value, whose position it shares; else -1.
    """

    margin: Float[np.ndarray, " words"]
    strength: Float[np.ndarray, " words"]
    strong: Bool[np.ndarray, " words"]
    rank: Float[np.ndarray, " words"]
    host: Int[np.ndarray, " words"]


@dataclass(frozen=True, eq=False)
class Grouping:
    """Positions of words: ``e_j = exp(spread (rank_j - 1/2)) (2 sign_j, f_j) / |(2 sign_j, f_j)|`` (our own).

    The sign is the side of the word, ``f_j`` of length 1 depends on the texts in which it occurs, and a word with
    strong evidence is longer, so that it leads. All other words share a pole that is orthogonal to the strong words.

    Attributes
    ----------
    texts
        Number of training texts.
    frequencies
        Number of these texts that contain each word.
    members
        ``(words, n)``: the numbers of the words of an n-gram that have a value, -1 for the others and for words.
    topics
        ``f_j``, or 0 for words without; no column when there are two groups, by sign.
    share
        Part of all words of the training texts that may lead.
    spread
        Sets the number of leaders: the larger the spread, the fewer leaders.
    modifying
        Which words are modifiers that scale others. They act through these, and are never strong: "no" occurs in a
        third of all film reviews.
    weights
        How often an occurrence counts on average, by its modifiers, neighbours and sentence.
    of_classes
        Float64 (words, columns): number of training texts with each word in each class, for two classes in the second;
        no column in models that do not have it.
    sizes
        Number of training texts in each class.
    """

    texts: int
    frequencies: Int[np.ndarray, " words"]
    members: Int[np.ndarray, "words longest"]
    topics: Float[np.ndarray, "words dimensions"]
    share: float
    spread: float
    modifying: Bool[np.ndarray, " words"]
    weights: Float[np.ndarray, " words"]
    of_classes: Float[np.ndarray, "words columns"]
    sizes: Float[np.ndarray, " classes"]

    def view(self, margin: Float[np.ndarray, " words"], separation: Float[np.ndarray, " words"]) -> View:
        """Return the words with their strength on one margin.

        Strong words come first, then the n-grams that contain no strong word and are clearly stronger.

        Parameters
        ----------
        margin
            Value for a class minus the value for another.
        separation
            From :meth:`separation`, for the same classes.
        """
        strength = self._strength(margin, separation)
        single = np.flatnonzero((self.members < 0).all(axis=1))
        able = single[~self.modifying[single]]
        order = able[np.argsort(-strength[able], kind="stable")]
        before = np.cumsum(self.frequencies[order]) - self.frequencies[order]
        strong = np.zeros(len(margin), dtype=bool)
        strong[order] = (before < self.share * self.frequencies[single].sum()) & (strength[order] > 0.0)
        least = strength[strong].min(initial=np.inf)
        host = self._hosts(strength)
        # A modifier behind the edge of the strong words is no n-gram, however strong: it acts through others.
        other = ~self.modifying | (host >= 0)
        strong |= (strength >= _ALONE * least) & ((host < 0) | ~strong[host]) & other
        rank = np.minimum(strength / least - 1.0, 0.0)
        chosen = np.flatnonzero(strong)
        # The least strength is subtracted: otherwise a frequent word at the edge of the strong ones would lead in one
        # training and be absent in the next.
        evidence = (np.minimum(strength[chosen], _ENOUGH * least) - least) * self.frequencies[chosen]
        rank[chosen[np.lexsort((strength[chosen], evidence))]] = (np.arange(len(chosen)) + 0.5) / max(len(chosen), 1)
        return View(margin=margin, strength=strength, strong=strong, rank=rank, host=host)

    def separation(
        self, best: int | Int[np.ndarray, " words"], second: int | Int[np.ndarray, " words"]
    ) -> Float[np.ndarray, " words"]:
        """Return how well each word tells two classes apart by itself: its log-odds less the noise in them.

        ``sign(r) sqrt(max(r^2 - 1/p - 1/q, 0))`` with ``r = log(p / (2 + P)) - log(q / (2 + Q))``: p and q are 1 plus
        the numbers of texts of the two classes with the word, P and Q those of all their texts.

        Parameters
        ----------
        best, second
            The classes, for all words or for each.
        """
        if not self.of_classes.shape[1]:
            return np.zeros(len(self.frequencies))
        counts = self.of_classes
        if counts.shape[1] == 1:
            counts = np.concatenate([self.frequencies[:, None] - counts, counts], axis=1)
        words = np.arange(len(counts))
        p, q = 1.0 + counts[words, best], 1.0 + counts[words, second]
        odds, clear = clear_odds(p, q, 2.0 + self.sizes[best], 2.0 + self.sizes[second])
        separation: Float[np.ndarray, " words"] = np.sign(odds) * np.sqrt(clear)
        return separation

    def _strength(
        self, margin: Float[np.ndarray, " words"], separation: Float[np.ndarray, " words"]
    ) -> Float[np.ndarray, " words"]:
        """Return the strength of each word on one margin."""
        # One text more than there are, so that a word in all texts keeps a little strength: there may be no other word.
        seldom = 1.0 - self.frequencies / (self.texts + 1.0)
        words = np.arange(len(margin))
        sides = np.sign(margin)
        effect = np.maximum(sides * self._effect(margin), _LEAST_PART * np.abs(margin))
        apart = np.maximum(sides * separation, 0.0)
        single = (self.members < 0).all(axis=1) & (apart > 0.0)
        # Separation in units of effects, such that both have the same sum over the words of the texts.
        unit = self.frequencies[single] @ effect[single] / max(self.frequencies[single] @ apart[single], _LEAST_PART)
        both = effect ** (1.0 - _BY_ITSELF) * np.maximum(unit * apart, _LEAST_APART * effect) ** _BY_ITSELF
        return both * np.sqrt(self.steadiness(words)) * seldom**_SELDOM

    def _effect(self, margin: Float[np.ndarray, " words"]) -> Float[np.ndarray, " words"]:
        """Return the mean contribution of an occurrence of each token, with the n-grams that contain it."""
        effect = self.weights * margin
        for column in self.members.T:
            of = np.flatnonzero(column >= 0)
            worth = self.weights[of] * margin[of] * self.frequencies[of]
            whole = np.bincount(column[of], weights=worth, minlength=len(margin))
            effect += whole / np.maximum(self.frequencies, 1)
        return effect

    def steadiness(self, words: Entries) -> Float[np.ndarray, " entries"]:
        """Return ``q / (q + 1/2500)``, near 1 where values vary little between trainings; q is the share of all words.

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
        """Number of words in the training texts; each word counts once in each text."""
        return max(int(self.frequencies[(self.members < 0).all(axis=1)].sum()), 1)

    def _hosts(self, strength: Float[np.ndarray, " words"]) -> Int[np.ndarray, " words"]:
        """Return the strongest word with a value of each n-gram, -1 for none and for single words."""
        if not self.members.shape[1]:
            return np.full(len(strength), -1)
        best = np.where(self.members >= 0, strength[self.members], -1.0).argmax(axis=1)
        return self.members[np.arange(len(strength)), best]

    def places(
        self, words: Entries, margin: Float[np.ndarray, " entries"], rank: Float[np.ndarray, " entries"]
    ) -> Float[np.ndarray, "entries dim"]:
        """Return the positions of some words from their margins and ranks."""
        topics = self.topics[words]
        places = np.concatenate([_SIDE * np.sign(margin)[:, None], topics], axis=1)
        places /= np.sqrt(_SIDE**2 + np.einsum("wd,wd->w", topics, topics))[:, None]
        return places * np.exp(self.spread * (rank - 0.5))[:, None]


class Views:
    """The views of a classifier: one for two classes, one for each pair of more classes.

    Parameters
    ----------
    table
        The values, one column for two classes.
    grouping
        The positions of the words.
    """

    def __init__(self, table: Float[np.ndarray, "words columns"], grouping: Grouping) -> None:
        self.table, self.grouping = table, grouping
        self._of_pair = lru_cache(maxsize=_KEPT_VIEWS)(self._view)

    def __reduce__(self) -> tuple[type["Views"], tuple[np.ndarray, Grouping]]:
        return Views, (self.table, self.grouping)

    def of(self, best: int, second: int) -> View:
        """Return the words as evidence for one class against another; for two classes, second against first."""
        return self._of_pair(best, second) if self.table.shape[1] > 1 else self._of_pair(1, 0)

    def _view(self, best: int, second: int) -> View:
        several = self.table.shape[1] > 1
        margin = self.table[:, best] - self.table[:, second] if several else self.table[:, 0]
        return self.grouping.view(margin, self.grouping.separation(best, second))


@dataclass(frozen=True)
class Lead:
    """The leaders of the entries of many texts.

    Attributes
    ----------
    margins
        The value of each entry on the explained margin.
    strong
        Which entries belong to groups: strong words, and n-grams that contain one.
    hosts
        The entry whose position each entry shares, the entry itself if it has its own.
    leaders
        The leader of each entry of a group, the entry itself if it leads; -1 for the others.
    counts
        Number of leaders of each text.
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
    """Send the strong words of many texts through the layers, and return their leaders.

    Parameters
    ----------
    texts
        The texts.
    views
        Views of the classifier.
    best, second
        The classes between which the margin of each text is explained.
    layers, alpha
        Depth and step parameter.
    """
    return _led(texts, _entries(texts, views, best, second), views.grouping, layers, alpha)


@dataclass(frozen=True)
class _Entries:
    """The words of many texts on their margins: attributes of :class:`View` and :class:`Lead`, by entry."""

    rows: Entries
    margins: Float[np.ndarray, " entries"]
    rank: Float[np.ndarray, " entries"]
    strong: Bool[np.ndarray, " entries"]
    hosts: Entries


def _entries(
    texts: Ragged, views: Views, best: Int[np.ndarray, " texts"], second: Int[np.ndarray, " texts"]
) -> _Entries:
    """Return which words of each text lead or follow, before their positions are computed."""
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
    # An n-gram without a strong word is alone.
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
        # A reversed occurrence is a token like any other.
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
    """Return the strongest entries of texts without strong entries, so that these texts have a leader too."""
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
    """Return the host of each entry in the same text, the entry itself if there is none; words ascend within a text."""
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
    """Return the leader of each token at the last layer, numbered over all sets."""
    if not layers:
        return np.arange(len(places))
    sets = RaggedTokens(tokens=places, offsets=offsets)
    run = run_ragged(sets, [Layer(alpha)] * layers, weights=weights)
    return run.leaders[-1, 0] + np.repeat(offsets[:-1], np.diff(offsets))


def _ends(followed: Int[np.ndarray, " tokens"]) -> Int[np.ndarray, " tokens"]:
    """Return the leader at the end of each chain of followers; tokens of a chain without one lead themselves."""
    ends = followed
    # After this number of doublings a chain is longer than any text; a ring of followers never ends.
    for _ in range(_DOUBLINGS):
        further = ends[ends]
        if np.array_equal(further, ends):
            break
        ends = further
    return np.where(followed[ends] == ends, ends, np.arange(len(ends)))


def members_of(words: Sequence[str], ngrams: int) -> Int[np.ndarray, "words longest"]:
    """Return the word numbers of each n-gram, -1 for words without a value and for single words."""
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
    weights: Float[np.ndarray, " words"],
    share: float,
    dimensions: int,
) -> Grouping:
    """Return the positions of words before their spread is set.

    ``f_j`` are the right singular vectors of the counts divided by the roots of the length of the text and of the
    frequency of the word, times the singular values, scaled to length 1; the first vector, which is the frequency, is
    left out. Only inner products of positions matter, so signs and rotations of the vectors do not.

    Parameters
    ----------
    sample, values
        The texts, and the values of their tokens.
    frequencies
        Number of texts that contain each token.
    members
        From :func:`members_of`.
    modifying, weights
        Which words scale others, and how often an occurrence counts on average.
    share
        Share of all words that may lead.
    dimensions
        Number of singular vectors; 0 for none.
    """
    words = len(frequencies)
    table, targets = values.table, sample.targets
    several = table.shape[1] > 1
    # The classes between which each word decides most.
    best = table.argmax(axis=1) if several else (table[:, 0] > 0.0).astype(np.int64)
    second = table.argmin(axis=1) if several else 1 - best
    reach = table.max(axis=1) - table.min(axis=1) if several else np.abs(table[:, 0])
    ones = np.ones(sample.counts.nnz)
    present = sparse.csr_matrix((ones, sample.counts.indices, sample.counts.indptr), shape=sample.counts.shape)
    sizes = targets.sum(axis=0) if several else np.array([len(targets) - targets.sum(), targets.sum()])
    # With several classes, words count that are evidence for any class against any other: twice the share.
    wide = min(1.0, 2.0 * share) if several else share
    topics = np.zeros((words, dimensions))
    grouping = Grouping(
        texts=len(sample), frequencies=frequencies, members=members, topics=topics, share=wide, spread=_BY_SIGN,
        modifying=modifying, weights=weights, of_classes=np.asarray(present.T @ targets), sizes=sizes,
    )  # fmt: skip
    chosen = np.flatnonzero(grouping.view(reach, grouping.separation(best, second)).strong)
    rank = min(dimensions + 1, min(len(sample), len(chosen)) - 1)
    if dimensions and rank > 1:
        rows = sparse.diags(1.0 / np.sqrt(np.maximum(sample.sizes, 1.0)))
        columns = sparse.diags(1.0 / np.sqrt(frequencies[chosen]))
        matrix = (rows @ sample.counts[:, chosen] @ columns).tocsr()
        size, vectors = _largest_singular(matrix, rank)
        order = np.argsort(-size, kind="stable")[1:]
        found = (size[order, None] * vectors[order]).T
        length = np.linalg.norm(found, axis=1, keepdims=True)
        # Single precision, as in the saved file: a loaded classifier has bit-identical positions.
        unit = np.divide(found, length, out=np.zeros_like(found), where=length > 0.0).astype(np.float32)
        grouping.topics[chosen, : len(order)] = unit
    return replace(grouping, share=share)


def _largest_singular(
    matrix: sparse.csr_matrix, number: int
) -> tuple[Float[np.ndarray, " number"], Float[np.ndarray, "number columns"]]:
    """Return the largest singular values and their right vectors; a small matrix gets a full decomposition."""
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
    """Return the grouping whose spread gives about the wanted mean number of leaders, by bisection on some texts."""
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
    """Return the two classes of largest score of each text; with one logit, the second class and the first."""
    if scores.shape[1] == 1:
        return np.ones(len(scores), dtype=np.int64), np.zeros(len(scores), dtype=np.int64)
    best = scores.argmax(axis=1)
    others = scores.copy()
    others[np.arange(len(scores)), best] = -np.inf
    return best, others.argmax(axis=1)
