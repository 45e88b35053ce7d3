"""Classifiers to compare with: linear models on TF-IDF, and averaged embeddings of hashed words and pairs."""

import json
import tempfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from tokendyn.errors import BadInputError
from tokendyn.rivals.sentiment import hashed_kernels as kernels
from tokendyn.rivals.sentiment.published import PublishedHardmax
from tokendyn.sentiment.checks import check_labels, check_texts, fraction_problems, positive_problems, whole_problems
from tokendyn.sentiment.classifier import LeaderClassifier
from tokendyn.sentiment.fitting import split
from tokendyn.sentiment.store import save
from tokendyn.sentiment.tokenise import Lexicon
from tokendyn.sentiment.tokens import TokenRule, read_units

#: Strengths of the linear models that are tried, the inverse of the L2 penalty.
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_PAIR = 116_049_371  # a factor that spreads pairs; below 2^31, so that its product with a 31-bit hash fits into int64


@runtime_checkable
class TextClassifier(Protocol):
    """What a comparison needs of a classifier: it takes raw strings."""

    def fit(self, texts: Any, labels: Any) -> Any:
        """Learn from texts and their labels."""

    def predict(self, texts: Any) -> np.ndarray:
        """Return the label of each text."""


@dataclass(frozen=True)
class Contender:
    """A classifier that takes part in a comparison.

    Attributes
    ----------
    name
        Its name in tables.
    make
        A new classifier for a seed.
    model_bytes
        Size of a fitted one: the numbers and words that a prediction needs.
    most_classes
        How many classes it can tell apart; None for any number.
    """

    name: str
    make: Callable[[int], TextClassifier]
    model_bytes: Callable[[Any], int]
    most_classes: int | None = None


def leader_model(name: str = "leaders", **parameters: Any) -> Contender:
    """Return :class:`LeaderClassifier` with some parameters; its size is that of the saved folder."""
    return Contender(
        name=name, make=lambda seed: LeaderClassifier(**parameters, random_state=seed), model_bytes=_folder_bytes
    )


def published_model(name: str = "as published", **parameters: Any) -> Contender:
    """Return :class:`PublishedHardmax`; its size is that of words, embeddings and decoder."""
    return Contender(
        name=name,
        make=lambda seed: PublishedHardmax(**parameters, random_state=seed),
        model_bytes=_published_bytes,
        most_classes=2,
    )


def linear_model(name: str, ngrams: int = 1, *, tuned: bool = False) -> Contender:
    """Return TF-IDF and logistic regression of scikit-learn on words, or words and n-grams that two texts hold.

    Parameters
    ----------
    name
        Its name in tables.
    ngrams
        Longest run of adjacent words.
    tuned
        Sublinear term frequencies, and the strength C of ``STRENGTHS`` that is best on a tenth of the training
        texts, then a fit on all of them; else scikit-learn's own settings.

    Notes
    -----
    The size is that of the vocabulary as JSON and of the float64 numbers.
    """
    return Contender(name=name, make=lambda seed: _linear(seed, ngrams, tuned=tuned), model_bytes=_linear_bytes)


def embedding_model(name: str = "fastText-like", **parameters: Any) -> Contender:
    """Return :class:`HashedEmbeddings`; its size is that of its table and decoder."""
    return Contender(
        name=name, make=lambda seed: HashedEmbeddings(**parameters, random_state=seed), model_bytes=_table_bytes
    )


class HashedEmbeddings(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A fastText-like classifier: the mean of the embeddings of words and pairs, then a linear softmax.

    ``p = softmax(B mean_q A_q)`` over the words and pairs q of a text (Joulin, Grave, Bojanowski, Mikolov 2017,
    "Bag of tricks for efficient text classification", section 2), trained text by text by gradient descent with
    a rate that falls linearly to 0. Unlike fastText, words are hashed too, pairs stop at the end of a sentence,
    and the words are those of :func:`tokendyn.sentiment.find_words`. Float32 tables, as fastText has.

    Parameters
    ----------
    dim
        Length of an embedding.
    buckets
        How many rows the table has.
    ngrams
        Longest run of adjacent words, 1 or 2.
    epochs
        Passes over the training texts.
    learning_rates
        First rates to try; the best on the validation part trains the model, on all texts.
    validation_fraction
        Part of the texts that chooses the rate; unused when there is one rate.
    random_state
        Seed of the start, the split and the order.

    Attributes
    ----------
    classes_
        The labels, sorted.
    table_, decoder_
        Float32 ``A`` (buckets, dim) and float64 ``B`` (classes, dim).
    learning_rate_
        The chosen rate.
    """

    def __init__(
        self,
        *,
        dim: int = 10,
        buckets: int = 2**20,
        ngrams: int = 2,
        epochs: int = 10,
        learning_rates: Sequence[float] = (0.3, 1.0),
        validation_fraction: float = 0.1,
        random_state: int = 0,
    ) -> None:
        self.dim = dim
        self.buckets = buckets
        self.ngrams = ngrams
        self.epochs = epochs
        self.learning_rates = learning_rates
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def fit(self, texts: Iterable[Any], labels: Iterable[Any]) -> "HashedEmbeddings":
        """Learn from texts and their labels.

        Raises
        ------
        BadInputError
            If the texts or labels cannot be used, or a parameter is out of range.
        """
        self._check()
        texts = check_texts(texts)
        classes, which = check_labels(labels, len(texts))
        indptr, tokens = self._tokens(texts)
        rates = [float(rate) for rate in self.learning_rates]
        if len(rates) > 1:
            training, validation = split(
                which, float(self.validation_fraction), np.random.default_rng(self.random_state)
            )
            accuracies = []
            for rate in rates:
                probabilities = _judge(
                    indptr, tokens, validation, *self._learn(indptr, tokens, which, training, rate, len(classes))
                )
                accuracies.append(float(np.mean(probabilities.argmax(axis=1) == which[validation])))
            rates = [rates[int(np.argmax(accuracies))]]
        # The chosen rate trains on all texts, those of the validation too.
        everything = np.arange(len(texts))
        self.table_, self.decoder_ = self._learn(indptr, tokens, which, everything, rates[0], len(classes))
        self.classes_, self.learning_rate_ = classes, rates[0]
        return self

    def predict_proba(self, texts: Iterable[Any]) -> Float[np.ndarray, "texts classes"]:
        """Return the probabilities of the classes, in the order of ``classes_``; uniform without a word."""
        check_is_fitted(self)
        listed = check_texts(texts, empty_allowed=True)
        return _judge(*self._tokens(listed), np.arange(len(listed)), self.table_, self.decoder_)

    def predict(self, texts: Iterable[Any]) -> np.ndarray:
        """Return the label of each text."""
        labels: np.ndarray = self.classes_[self.predict_proba(texts).argmax(axis=1)]
        return labels

    def _tokens(self, texts: list[str]) -> tuple[Int[np.ndarray, " texts_and_one"], Int[np.ndarray, " tokens"]]:
        """Return the buckets of the words and pairs of every text."""
        units = read_units(texts, TokenRule(ngrams=self.ngrams), _Hashes())
        numbers = units.numbers
        single = numbers >= 0
        rows, hashes = [units.rows[single]], [numbers[single]]
        if self.ngrams == 2:
            # A number below 0 stands between sentences, so no pair spans two of them.
            both = single[:-1] & single[1:]
            first, second = numbers[:-1][both], numbers[1:][both]
            rows.append(units.rows[:-1][both])
            hashes.append(first * _PAIR + second)
        row, key = np.concatenate(rows), np.concatenate(hashes)
        order = np.argsort(row, kind="stable")
        indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(texts)))]).astype(np.int64)
        return indptr, (key[order] % self.buckets).astype(np.int32)

    def _learn(
        self,
        indptr: Int[np.ndarray, " texts_and_one"],
        tokens: Int[np.ndarray, " tokens"],
        which: Int[np.ndarray, " texts"],
        rows: Int[np.ndarray, " rows"],
        rate: float,
        classes: int,
    ) -> tuple[Float[np.ndarray, "buckets dim"], Float[np.ndarray, "classes dim"]]:
        """Return table and decoder after training on some of the texts."""
        rng = np.random.default_rng(self.random_state)
        table = (rng.random((self.buckets, self.dim), dtype=np.float32) - np.float32(0.5)) * np.float32(2 / self.dim)
        decoder = np.zeros((classes, self.dim))
        steps = float(self.epochs * len(rows))
        for epoch in range(self.epochs):
            order = rng.permutation(rows)
            kernels.learn(indptr, tokens, which, order, table, decoder, rate, float(epoch * len(rows)), steps)
        return table, decoder

    def _check(self) -> None:
        """Raise one BadInputError for all parameters out of range."""
        values = self.get_params()
        problems = whole_problems(values, {"dim": 1, "buckets": 1, "ngrams": 1, "epochs": 1, "random_state": 0})
        if not whole_problems(values, {"ngrams": 1}) and self.ngrams > 2:
            problems.append(f"ngrams={self.ngrams}; expected 1 or 2")
        rates = {str(number): rate for number, rate in enumerate(self.learning_rates)}
        if not rates or positive_problems(rates, rates):
            problems.append(f"learning_rates={list(rates.values())}; expected one or more positive numbers")
        problems += fraction_problems(values, "validation_fraction")
        if problems:
            raise BadInputError.all_of("HashedEmbeddings", problems)


class _Hashes(Lexicon):
    """Words with the CRC-32 of their UTF-8 form, cut to 31 bits, as number; the same in every process."""

    def number(self, word: str) -> int:
        """Return the hash of a word in normal form."""
        return zlib.crc32(word.encode("utf-8", "surrogatepass")) & (2**31 - 1)


def _judge(
    indptr: Int[np.ndarray, " texts_and_one"],
    tokens: Int[np.ndarray, " tokens"],
    rows: Int[np.ndarray, " rows"],
    table: Float[np.ndarray, "buckets dim"],
    decoder: Float[np.ndarray, "classes dim"],
) -> Float[np.ndarray, "rows classes"]:
    """Return the class probabilities of some texts."""
    out = np.empty((len(rows), len(decoder)))
    kernels.judge(indptr, tokens, table, decoder, rows, out)
    return out


def _linear(seed: int, ngrams: int, *, tuned: bool) -> Any:
    """Return the pipeline of :func:`linear_model`."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit
    from sklearn.pipeline import make_pipeline

    vectoriser = TfidfVectorizer(min_df=2, ngram_range=(1, ngrams), sublinear_tf=tuned)
    linear = LogisticRegression(max_iter=1000)
    if tuned:
        held = StratifiedShuffleSplit(1, test_size=0.1, random_state=seed)
        linear = GridSearchCV(linear, {"C": STRENGTHS}, cv=held)
    return make_pipeline(vectoriser, linear)


def _folder_bytes(model: LeaderClassifier) -> int:
    # Not the whole folder: its record holds the seconds of the training, whose digits vary from run to run.
    with tempfile.TemporaryDirectory() as folder:
        save(model, Path(folder) / "model")
        tensors = (Path(folder) / "model" / "model.safetensors").stat().st_size
    return tensors + _json_bytes(list(model.words_))


def _published_bytes(model: PublishedHardmax) -> int:
    network = model.network_
    return _json_bytes(list(model.words_)) + network.embedding.nbytes + network.decoder.nbytes + 8


def _linear_bytes(model: Any) -> int:
    vectoriser, linear = model[0], getattr(model[1], "best_estimator_", model[1])
    numbers: int = vectoriser.idf_.nbytes + linear.coef_.nbytes + linear.intercept_.nbytes
    return _json_bytes(list(vectoriser.vocabulary_)) + numbers


def _table_bytes(model: HashedEmbeddings) -> int:
    return int(model.table_.nbytes + model.decoder_.nbytes)


def _json_bytes(words: list[str]) -> int:
    return len(json.dumps(words, ensure_ascii=False).encode("utf-8", "surrogatepass"))
