"""The table of leaders of arXiv 2407.01602: number of leaders of a review, and which, over the dimension."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool

from tokendyn.data.collections import Split
from tokendyn.data.labelled_texts import LabelledTexts
from tokendyn.rivals.sentiment.published import PublishedHardmax
from tokendyn.sentiment.tokenise import find_words

#: The training as published, as far as it is known to us; the early stop is ours.
PUBLISHED: dict[str, Any] = {
    "layers": 8, "temperature": 1e-3, "max_tokens": 128, "learning_rate": 1e-3, "batch_size": 64, "clip": 5.0,
    "epochs": 100,
}  # fmt: skip
#: Best test accuracies of the source by dimension, with 50,000 reviews.
PUBLISHED_ACCURACY = {2: 0.791, 4: 0.823, 8: 0.851, 16: 0.882}
#: A review is confident above this probability, and a leader counts above this decision value.
CONFIDENT, DECISIVE = 0.95, 2.0


class Leaders(NamedTuple):
    """The distinct words of a text, and which lead themselves in the first and in the last layer of attention."""

    words: tuple[str, ...]
    first: Bool[np.ndarray, " words"]
    last: Bool[np.ndarray, " words"]


@dataclass(frozen=True)
class LeaderTable:
    """What :func:`leader_table` measured.

    Attributes
    ----------
    table
        One row a dimension.
    frequent
        The most frequent leaders of confident reviews and the number of these in which they lead, by dimension.
    """

    table: pd.DataFrame
    frequent: dict[int, list[tuple[str, int]]]


def without_stop_words(data: LabelledTexts) -> LabelledTexts:
    """Return texts without the stop words of scikit-learn's list; which list the source used is not known to us."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    kept = [" ".join(word for word, _, _ in find_words(text) if word not in ENGLISH_STOP_WORDS) for text in data.texts]
    return LabelledTexts(texts=tuple(kept), labels=data.labels, rows=data.rows, source=data.source, ids=data.ids)


def in_file_order(data: LabelledTexts, share: float = 0.7) -> Split:
    """Return the first texts of a file for training and the rest for tests, as the source splits them."""
    cut = round(share * len(data))
    training, test = data.take(range(cut)), data.take(range(cut, len(data)))
    repeated = len(set(training.texts) & set(test.texts))
    return Split(training=training, test=test, repeated=repeated, disputed=0, moved=0, given=True)


def text_leaders(model: PublishedHardmax, text: str) -> Leaders:
    """Return the leaders of a text: words with ``<z_i, z_i> = max_j <z_i, z_j>``, at hardmax.

    Written by the published equations alone; :meth:`PublishedHardmax.leader_counts` counts those of the last layer.
    """
    words, tokens = model.tokens_of(text)
    number_of = {word: number for number, word in enumerate(dict.fromkeys(words))}
    places = [words.index(word) for word in number_of]
    z, counts = tokens[places], np.bincount([number_of[word] for word in words], minlength=len(number_of))
    first = last = np.zeros(len(z), dtype=bool)
    share = model.alpha / (1 + model.alpha)
    for layer in range(model.layers if len(z) else 0):
        scores = z @ z.T
        followed = scores == scores.max(axis=1, keepdims=True)
        last = np.diagonal(followed).copy()
        first = last if layer == 0 else first
        weights = followed * counts
        z = z + share * (weights @ z / weights.sum(axis=1, keepdims=True) - z)
    return Leaders(words=tuple(number_of), first=first, last=last)


def leader_table(
    parts: Split, dims: Sequence[int] = (2, 4, 8, 16), *, most: int = 15, seed: int = 0, **training: Any
) -> LeaderTable:
    """Train the published model for some dimensions, and measure leaders over the test texts.

    Parameters
    ----------
    parts
        Two classes; the second in sorted order is the positive one.
    dims
        Dimensions of the embedding.
    most
        Most frequent leaders that are kept.
    seed
        Of every training.
    training
        Settings of :class:`~tokendyn.rivals.sentiment.PublishedHardmax` in place of those of :data:`PUBLISHED`.
    """
    rows, frequent = [], {}
    for dim in dims:
        model = PublishedHardmax(**PUBLISHED | {"dim": dim, "random_state": seed} | training)
        model.fit(parts.training.texts, parts.training.labels or ())
        leaders = [text_leaders(model, text) for text in parts.test.texts]
        rows.append({"dim": dim, **_quality(model, parts), **_statistics(leaders)})
        frequent[dim] = _frequent(model, parts.test.texts, leaders, most)
    return LeaderTable(table=pd.DataFrame(rows), frequent=frequent)


def _quality(model: PublishedHardmax, parts: Split) -> dict[str, float]:
    """Return the test accuracy beside the source's, and the training loss through softmax and hardmax layers."""
    losses = {}
    positive = np.array([label == model.classes_[1] for label in parts.training.labels or ()])
    inference = model.inference
    for kind in ("softmax", "hardmax"):
        logits = model.set_params(inference=kind).decision_function(parts.training.texts)
        losses[f"training loss, {kind}"] = float(np.logaddexp(0.0, np.where(positive, -logits, logits)).mean())
    right = model.set_params(inference=inference).predict(parts.test.texts) == np.array(parts.test.labels)
    published = PUBLISHED_ACCURACY.get(model.dim, float("nan"))
    return {"accuracy": float(right.mean()), "accuracy of the source": published, **losses}


def _statistics(leaders: Sequence[Leaders]) -> dict[str, float]:
    """Return moments and extremes of the number of leaders, and the share of them that lead in the first layer."""
    numbers = np.array([one.last.sum() for one in leaders])
    early = sum(int((one.last & one.first).sum()) for one in leaders)
    return {
        "leaders, mean": float(numbers.mean()), "leaders, sd": float(numbers.std()),
        "leaders, least": int(numbers.min()), "leaders, most": int(numbers.max()),
        "lead at layer 0": early / max(int(numbers.sum()), 1),
    }  # fmt: skip


def _frequent(
    model: PublishedHardmax, texts: Sequence[str], leaders: Sequence[Leaders], most: int
) -> list[tuple[str, int]]:
    """Return the words that lead most confident positive reviews, of those with a high decision value themselves."""
    network = model.network_
    values = dict(zip(model.words_, network.embedding @ network.decoder + network.bias, strict=True))
    confident = model.predict_proba(texts)[:, 1] > CONFIDENT
    counted: Counter[str] = Counter()
    for one in (found for found, sure in zip(leaders, confident, strict=True) if sure):
        counted.update(
            word for word, leads in zip(one.words, one.last, strict=True) if leads and values[word] > DECISIVE
        )
    return counted.most_common(most)
