"""The published sentiment model (arXiv 2407.01602, last part), for comparison, with exact and fast training."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from tokendyn.errors import BadInputError
from tokendyn.rivals.sentiment import published_kernels as kernels
from tokendyn.sentiment.checks import check_labels, check_texts, fraction_problems, positive_problems, whole_problems
from tokendyn.sentiment.fitting import split
from tokendyn.sentiment.tokenise import Lexicon, find_words
from tokendyn.sentiment.training import Progress
from tokendyn.sentiment.vocabulary import CountedTexts, Ragged, with_active

Inference = Literal["hardmax", "softmax"]


@dataclass(frozen=True)
class Network:
    """The numbers of the model: layers ``z_i <- (z_i + alpha u_i) / (1 + alpha)``, then ``<v, mean z> + b``.

    ``u_i = sum_j m_j exp(<z_i,z_j>/T) z_j / sum_j m_j exp(<z_i,z_j>/T)`` with m_j how often word j occurs in the
    text (arXiv 2407.01602 with A = I, V = alpha I). Equal tokens stay equal, so one token a distinct word is exact.

    Attributes
    ----------
    embedding
        Float64, one row a word.
    decoder, bias
        ``v`` and ``b``.
    alpha
        Step size, positive.
    layers
        Number of layers K, 0 or more.
    """

    embedding: Float[np.ndarray, "words dim"]
    decoder: Float[np.ndarray, " dim"]
    bias: float
    alpha: float
    layers: int


class Gradient(NamedTuple):
    """The mean logistic loss of some texts and its derivative by embedding, decoder and bias."""

    loss: float
    embedding: Float[np.ndarray, "words dim"]
    decoder: Float[np.ndarray, " dim"]
    bias: float


def run_texts(
    texts: Ragged | CountedTexts, rows: Int[np.ndarray, " rows"], network: Network, temperature: float
) -> tuple[Float[np.ndarray, " rows"], Int[np.ndarray, " rows"]]:
    """Return the logits of some texts and the number of their distinct words that lead themselves at the last layer.

    Parameters
    ----------
    texts, rows
        Texts as distinct words with counts, and which of them to run. A text without words has the logit b.
    network
        The model.
    temperature
        T of the softmax; 0 is hardmax, ``u_i`` the weighted mean of ``{j : <z_i,z_j> = max_l <z_i,z_l>}``.
        For T > 0 "leading" means weight of at least ``e^-39 / N`` and is of little use.
    """
    logits, leads = np.empty(len(rows)), np.zeros(len(rows), np.int64)
    kernels.logits(
        texts.indptr, texts.words, texts.counts, rows, network.embedding, network.decoder, network.bias,
        network.alpha / (1.0 + network.alpha), temperature, network.layers, logits, leads,
    )  # fmt: skip
    return logits, leads


def loss_gradient(
    texts: Ragged | CountedTexts,
    rows: Int[np.ndarray, " rows"],
    positive: Bool[np.ndarray, " texts"],
    network: Network,
    temperature: float,
) -> Gradient:
    """Return the mean logistic loss of some texts and its exact gradient through the softmax layers.

    Parameters
    ----------
    texts, rows, positive
        All texts with their classes, and which of them to use.
    network
        The model.
    temperature
        T, positive. Keys of a relative weight below ``e^-39 / N`` are skipped; what that changes is below the
        rounding of float64 (bound in :mod:`tokendyn.rivals.sentiment.published_kernels`).
    """
    gradient, decoder = np.zeros_like(network.embedding), np.zeros_like(network.decoder)
    loss, bias = kernels.add_gradient(
        texts.indptr, texts.words, texts.counts, rows, positive, network.embedding, network.decoder, network.bias,
        network.alpha / (1.0 + network.alpha), temperature, network.layers, gradient, decoder,
    )  # fmt: skip
    return Gradient(loss, gradient, decoder, bias)


class PublishedHardmax(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The two-class model of arXiv 2407.01602, trained through softmax layers of low temperature.

    One embedding a word, K layers of attention with A = I, V = alpha I and normalisation 1/(1 + alpha), the mean
    over tokens, a logistic decoder. It exists to be compared with
    :class:`~tokendyn.sentiment.classifier.LeaderClassifier`, which is better and has fewer leaders.

    Training is in float64: scores are divided by T = 0.001, which would turn the rounding of float32 into relative
    errors of 1e-4 and more in the weights. Embeddings start standard normal, the decoder uniform in
    ``+-1/sqrt(dim)``. What the paper leaves open (rate, batch, start) is our own choice.

    Parameters
    ----------
    dim
        Dimension of the embeddings; published: 2, 4, 8 and 16.
    layers
        Number of layers.
    alpha
        Step size, positive, not learned.
    temperature
        T of the softmax in training.
    inference
        "hardmax" (published), or "softmax" as in training. The epoch is chosen by what is used.
    max_tokens
        Most words of a text that are read; of these, words that the training part does not hold are left out.
    epochs, learning_rate, batch_size
        Of Adam on the mean logistic loss.
    clip
        Largest norm of a gradient, which is shortened to it; None for no limit. Published: 5.
    validation_fraction
        Part of the texts that chooses the epoch, split off at random, stratified, and never learned from.
    random_state
        Seed of the split, the start and the order; the same seed gives the same model.

    Attributes
    ----------
    classes_
        Both labels, sorted; ``classes_[1]`` is the positive side.
    words_
        The words of the training part.
    network_
        The :class:`Network` of the best epoch.
    training_
        Record: ``texts``, ``training_texts``, ``validation_texts``, ``words``, ``epochs`` (one entry each:
        ``epoch``, ``loss``, ``validation_accuracy``, ``validation_loss``, ``validation_leaders``,
        ``cpu_seconds`` without the validation), ``best`` (the chosen entry) and ``cpu_seconds`` in all.
    """

    def __init__(
        self,
        *,
        dim: int = 2,
        layers: int = 8,
        alpha: float = 1.0,
        temperature: float = 1e-3,
        inference: Inference = "hardmax",
        max_tokens: int = 128,
        epochs: int = 8,
        learning_rate: float = 0.03,
        batch_size: int = 64,
        clip: float | None = None,
        validation_fraction: float = 0.1,
        random_state: int = 0,
    ) -> None:
        self.dim = dim
        self.layers = layers
        self.alpha = alpha
        self.temperature = temperature
        self.inference = inference
        self.max_tokens = max_tokens
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.clip = clip
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def fit(
        self, texts: Iterable[Any], labels: Iterable[Any], *, progress: Progress | None = None
    ) -> "PublishedHardmax":
        """Learn from texts and their labels.

        Parameters
        ----------
        texts
            Strings: a list, tuple, array or pandas Series.
        labels
            One label a text, of two kinds, all strings or all numbers.
        progress
            Called after each epoch with the epoch, the number of epochs and the validation accuracy.

        Raises
        ------
        BadInputError
            If the texts or labels cannot be used, or a parameter is out of range. Nothing is changed then.
        """
        began = time.process_time()
        _check(self.get_params())
        texts = check_texts(texts)
        classes, which = check_labels(labels, len(texts))
        if len(classes) != 2:
            raise BadInputError(f"the published model has two classes, the labels have {len(classes)}")
        positive = which == 1
        rng = np.random.default_rng(self.random_state)
        training, validation = split(which, self.validation_fraction, rng)
        counted = merge_words(texts, self.max_tokens)
        known = np.zeros(len(counted.names), dtype=bool)
        known[counted.words[np.isin(counted.rows(), training)]] = True
        if not known.any():
            raise BadInputError(f"none of the {len(training)} training texts holds a word; give texts with words")
        ragged = with_active(counted, np.flatnonzero(known))
        network, record, best = self._train(ragged, positive, training, validation, int(known.sum()), rng, progress)
        self.classes_, self.network_ = classes, network
        self.words_ = tuple(name for name, kept in zip(counted.names, known, strict=True) if kept)
        self._number_of = {word: number for number, word in enumerate(self.words_)}
        self.training_: dict[str, Any] = {
            "texts": len(texts),
            "training_texts": len(training),
            "validation_texts": len(validation),
            "words": len(self.words_),
            "epochs": record,
            "best": record[best],
            "cpu_seconds": round(time.process_time() - began, 3),
        }
        return self

    def decision_function(self, texts: Iterable[Any]) -> Float[np.ndarray, " texts"]:
        """Return the logit of ``classes_[1]`` for each text; a text without known words has the bias."""
        return self._run(texts, self._temperature())[0]

    def predict_proba(self, texts: Iterable[Any]) -> Float[np.ndarray, "texts 2"]:
        """Return the probability of both classes for each text."""
        logits = self.decision_function(texts)
        return np.exp(-np.logaddexp(0.0, np.stack([logits, -logits], axis=1)))

    def predict(self, texts: Iterable[Any]) -> np.ndarray:
        """Return the label of each text."""
        positive = self.decision_function(texts) > 0
        labels: np.ndarray = self.classes_[positive.astype(np.int64)]
        return labels

    def leader_counts(self, texts: Iterable[Any]) -> Int[np.ndarray, " texts"]:
        """Return the number of distinct words of each text that lead themselves at the last layer, at hardmax."""
        return self._run(texts, 0.0)[1]

    def tokens_of(self, text: str) -> tuple[tuple[str, ...], Float[np.ndarray, "tokens dim"]]:
        """Return the words of a text that the model reads, in order and with repetitions, and their tokens."""
        check_is_fitted(self)
        (text,) = check_texts([text])
        words = [word for word, _, _ in find_words(text)[: self.max_tokens]]
        numbers = [self._number_of[word] for word in words if word in self._number_of]
        return tuple(self.words_[n] for n in numbers), self.network_.embedding[np.array(numbers, dtype=np.int64)]

    def _temperature(self) -> float:
        """Return the temperature of inference."""
        return float(self.temperature) if self.inference == "softmax" else 0.0

    def _run(
        self, texts: Iterable[Any], temperature: float
    ) -> tuple[Float[np.ndarray, " texts"], Int[np.ndarray, " texts"]]:
        """Return logits and numbers of leaders of new texts."""
        check_is_fitted(self)
        counted = merge_words(check_texts(texts, empty_allowed=True), self.max_tokens)
        number_of = np.array([self._number_of.get(name, -1) for name in counted.names], dtype=np.int64)
        known = np.flatnonzero(number_of >= 0)
        ragged = with_active(counted, known)
        numbers = number_of[known][ragged.words].astype(np.int32) if len(known) else ragged.words
        mapped = Ragged(ragged.indptr, numbers, ragged.counts, ragged.neutral, ragged.lengths)
        return run_texts(mapped, np.arange(len(mapped)), self.network_, temperature)

    def _train(
        self,
        texts: Ragged,
        positive: Bool[np.ndarray, " texts"],
        training: Int[np.ndarray, " training"],
        validation: Int[np.ndarray, " validation"],
        words: int,
        rng: np.random.Generator,
        progress: Progress | None,
    ) -> tuple[Network, list[dict[str, float | int]], int]:
        """Return the network of the best epoch (accuracy, then loss), the record, and the index of the best in it."""
        # All unknowns lie in one vector, so that Adam updates them in one pass; first and second are its moments.
        point, gradient, first, second = (np.zeros((words + 1) * self.dim + 1) for _ in range(4))
        point[: words * self.dim] = rng.normal(size=words * self.dim)
        point[words * self.dim :] = rng.uniform(-1.0, 1.0, self.dim + 1) / np.sqrt(self.dim)
        step, temperature = float(self.alpha) / (1.0 + float(self.alpha)), float(self.temperature)
        network, slopes = self._view(point), self._view(gradient)
        record: list[dict[str, float | int]] = []
        least, best, updates = (-1.0, -np.inf), network, 0
        for epoch in range(1, self.epochs + 1):
            began = time.process_time()
            order, total = rng.permutation(training), 0.0
            for start in range(0, len(order), self.batch_size):
                rows, updates = order[start : start + self.batch_size], updates + 1
                loss, gradient[-1] = kernels.add_gradient(
                    texts.indptr, texts.words, texts.counts, rows, positive, network.embedding, network.decoder,
                    point[-1], step, temperature, self.layers, slopes.embedding, slopes.decoder,
                )  # fmt: skip
                if self.clip is not None:
                    gradient *= min(1.0, self.clip / max(float(np.linalg.norm(gradient)), 1e-300))
                kernels.adam(point, gradient, first, second, float(self.learning_rate), updates)
                total += loss * len(rows)
            seconds = time.process_time() - began
            candidate = self._view(point.copy())  # the vector changes with the next update
            entry = _judge(texts, positive, validation, candidate, self._temperature())
            record.append({"epoch": epoch, "loss": total / len(order), **entry, "cpu_seconds": round(seconds, 3)})
            score = (entry["validation_accuracy"], -entry["validation_loss"])
            # The first of equal epochs wins: it has learned from fewer passes.
            if score > least:
                least, best, which = score, candidate, epoch - 1
            if progress is not None:
                progress(epoch, self.epochs, entry["validation_accuracy"])
        return best, record, which

    def _view(self, point: Float[np.ndarray, " unknowns"]) -> Network:
        """Return one vector of all unknowns as a network that shares its memory."""
        embedding = point[: -self.dim - 1].reshape(-1, self.dim)
        return Network(
            embedding=embedding,
            decoder=point[-self.dim - 1 : -1],
            bias=float(point[-1]),
            alpha=float(self.alpha),
            layers=self.layers,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.input_tags.string = True
        tags.classifier_tags.multi_class = False
        return tags


def merge_words(texts: Sequence[str], at_most: int) -> CountedTexts:
    """Return texts as distinct words with counts, each text cut after ``at_most`` words."""
    lexicon = Lexicon()
    words, counts, distinct, sizes = [], [], [0], []
    for text in texts:
        first = np.array(lexicon.encode(text)[:at_most], dtype=np.int32)
        numbers, times = np.unique(first, return_counts=True)
        words.append(numbers)
        counts.append(times)
        distinct.append(len(numbers))
        sizes.append(len(first))
    return CountedTexts(
        np.cumsum(np.array(distinct, dtype=np.int64)),
        np.concatenate([*words, np.empty(0, np.int32)]),
        np.concatenate([*counts, np.empty(0, np.int64)]).astype(np.float64),
        tuple(lexicon.numbers),
        np.array(sizes, dtype=np.int64),
        np.array(sizes, dtype=np.int64),
    )


def _judge(
    texts: Ragged,
    positive: Bool[np.ndarray, " texts"],
    rows: Int[np.ndarray, " rows"],
    network: Network,
    temperature: float,
) -> dict[str, float]:
    """Return accuracy, loss and leaders of a network on some texts."""
    logits, leads = run_texts(texts, rows, network, temperature)
    if temperature > 0:
        leads = run_texts(texts, rows, network, 0.0)[1]
    truth = positive[rows]
    return {
        "validation_accuracy": float(np.mean((logits > 0) == truth)),
        "validation_loss": float(np.mean(np.logaddexp(0.0, np.where(truth, -logits, logits)))),
        "validation_leaders": float(np.mean(leads)),
    }


def _check(values: dict[str, Any]) -> None:
    """Raise one BadInputError for all parameters that are of the wrong kind or out of range."""
    least = {"dim": 1, "layers": 0, "max_tokens": 1, "epochs": 1, "batch_size": 1, "random_state": 0}
    problems = whole_problems(values, least)
    positive = ("alpha", "temperature", "learning_rate") + (("clip",) if values["clip"] is not None else ())
    problems += positive_problems(values, positive)
    problems += fraction_problems(values, "validation_fraction")
    if values["inference"] not in ("hardmax", "softmax"):
        problems.append(f"inference={values['inference']!r}; expected 'hardmax' or 'softmax'")
    if problems:
        raise BadInputError.all_of("PublishedHardmax", problems)
