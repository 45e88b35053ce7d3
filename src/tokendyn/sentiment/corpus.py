"""The texts of a training and their pieces over the tokens that can be learned."""

import warnings
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from tokendyn.errors import BadInputError
from tokendyn.sentiment.neighbours import Attention, closeness
from tokendyn.sentiment.values import Sample, Values
from tokendyn.sentiment.vocabulary import CountedTexts, Occurrences

#: Up to this number of texts a token must occur in one text, above it in two texts.
FEW_TEXTS = 1_000
#: Largest size of a fit: number of values times number of classes.
_MOST_UNKNOWNS = 4_000_000

Rows = Int[np.ndarray, " _"]


@dataclass(frozen=True)
class Corpus:
    """Texts, followed by pieces of them (crops).

    Attributes
    ----------
    sample
        Texts and crops.
    texts
        Number of texts.
    parents
        Text of each crop.
    tokens
        The tokens of the sample, as numbers of the counted texts.
    frequencies
        Number of texts with each.
    names
        All counted tokens.
    entries
        The entry of the counted texts behind each entry of the sample.
    counted
        Number of entries of the counted texts.
    occurrences
        Texts and crops word by word; None if all occurrences count once.
    """

    sample: Sample
    texts: int
    parents: Int[np.ndarray, " crops"]
    tokens: Int[np.ndarray, " tokens"]
    frequencies: Int[np.ndarray, " tokens"]
    names: tuple[str, ...]
    entries: Int[np.ndarray, " _"]
    counted: int
    occurrences: Occurrences | None

    @classmethod
    def of(
        cls,
        counted: CountedTexts,
        targets: Float[np.ndarray, "texts columns"],
        importance: Float[np.ndarray, " texts"],
        crops: float,
    ) -> "Corpus":
        """Choose the tokens that can be learned, those in two texts or, among few texts, in one.

        Parameters
        ----------
        counted
            Texts and crops.
        targets, importance
            As in :class:`tokendyn.sentiment.values.Sample`, for the texts.
        crops
            Cost of an error on a crop, relative to 1 on a text.

        Raises
        ------
        BadInputError
            If no token can be learned.
        """
        texts, names = len(targets), len(counted.names)
        frequency = np.bincount(counted.words[: int(counted.indptr[texts])], minlength=names)
        tokens = np.flatnonzero(frequency >= (1 if texts <= FEW_TEXTS else 2))
        if not len(tokens):
            raise BadInputError(f"no word occurs in two of the {texts} texts; give texts that have words in common")
        most = _MOST_UNKNOWNS // targets.shape[1]
        if len(tokens) > most:
            warnings.warn(
                f"{len(tokens)} tokens with {targets.shape[1]} classes exceed the size of a fit; "
                f"the {most} tokens in most texts are kept",
                UserWarning,
                stacklevel=6,
            )
            tokens = np.sort(tokens[np.argsort(-frequency[tokens], kind="stable")[:most]])
        place = np.full(names, -1, dtype=np.int32)
        place[tokens] = np.arange(len(tokens))
        columns = place[counted.words]
        kept = np.flatnonzero(columns >= 0).astype(np.int32)
        bounds = np.searchsorted(kept, counted.indptr)
        # Columns ascend in each row, because matrices share them and SciPy sorts in place where they do not.
        order = sparse.csr_matrix((kept, columns[kept], bounds), shape=(len(counted), len(tokens)))
        order.sort_indices()
        entries, columns = order.data, order.indices
        counts = sparse.csr_matrix((counted.counts[entries], columns, order.indptr), shape=order.shape)
        rows = np.append(np.arange(texts), counted.parents)
        factor = np.where(np.arange(len(rows)) < texts, 1.0, crops)
        return cls(
            sample=Sample(
                counts=counts,
                sizes=counted.lengths.astype(np.float64),
                targets=targets[rows],
                importance=factor * importance[rows],
            ),
            texts=texts,
            parents=counted.parents,
            tokens=tokens,
            frequencies=frequency[tokens],
            names=counted.names,
            entries=entries,
            counted=len(counted.words),
            occurrences=counted.occurrences,
        )

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The single words, by their numbers."""
        most = -1 if self.occurrences is None else int(self.occurrences.numbers.max(initial=-1))
        return self.names[: most + 1]

    @property
    def of_texts(self) -> Sample:
        """The texts without crops."""
        return self.sample.between(0, self.texts)

    @property
    def of_crops(self) -> Sample | None:
        """The crops, None if there are none."""
        return self.sample.between(self.texts, len(self.sample)) if len(self.parents) else None

    def rows_of(self, chosen: Bool[np.ndarray, " texts"]) -> list[Rows]:
        """Return the rows of the chosen texts, and those of their crops if there are any."""
        crops = self.texts + np.flatnonzero(chosen[self.parents])
        return [np.flatnonzero(chosen), *([crops] if len(self.parents) else [])]

    def attended(self, attention: Attention) -> "Corpus":
        """Return the corpus with the weights of an attention instead of counts."""
        if attention.idle or self.occurrences is None:
            return self
        numbers, rows = self.occurrences.numbers, self.occurrences.rows
        closing = attention.closing(numbers, rows)
        words = attention.weights(numbers, self.occurrences.ways) * closing
        data = self.occurrences.counts(words, closing, self.counted)[self.entries]
        return replace(self, sample=replace(self.sample, counts=self._weighted(data)))

    def mean_weights(self, plain: "Corpus") -> Float[np.ndarray, " tokens"]:
        """Return how often an occurrence of each token counts on average in the texts."""
        sums = [np.asarray(part.of_texts.counts.sum(axis=0)).ravel() for part in (self, plain)]
        weights: Float[np.ndarray, " tokens"] = sums[0] / sums[1]
        return weights

    def _weighted(self, data: Float[np.ndarray, " _"]) -> sparse.csr_matrix:
        """Return the matrix of the counts with other numbers, sharing their places."""
        counts = self.sample.counts
        return sparse.csr_matrix((data, counts.indices, counts.indptr), shape=counts.shape)

    def closing_sums(self, values: Values) -> Float[np.ndarray, "rows columns"]:
        """Return the contributions of texts and crops times the closeness of their sentences to the end."""
        assert self.occurrences is not None
        near = closeness(self.occurrences.numbers, self.occurrences.rows)
        data = self.occurrences.counts(near, near, self.counted)[self.entries]
        return self._weighted(data) @ values.table / (self.sample.sizes + values.phantom)[:, None]

    def worth(self, values: Values, units: Int[np.ndarray, " chosen"]) -> Float[np.ndarray, "chosen columns"]:
        """Return the contribution of an occurrence, of weight 1, of some words of the texts."""
        assert self.occurrences is not None
        numbers, rows = self.occurrences.numbers[units], self.occurrences.rows[units]
        place = np.full(len(self.names) + 1, len(self.tokens))
        place[self.tokens] = np.arange(len(self.tokens))
        table = np.append(values.table, np.zeros((1, values.table.shape[1])), axis=0)
        return table[place[numbers]] / (self.sample.sizes[rows] + values.phantom)[:, None]
