"""Explainers on one footing: one score for each distinct word of a text, from any model of texts.

All explainers see the same words (:func:`tokendyn.sentiment.find_words`), and a word is taken out in the same way
for all of them, at each of its places; only how they find their scores differs.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from tokendyn.errors import BadInputError, MissingLibraryError, nearest
from tokendyn.optional import EXTRAS, library, missing
from tokendyn.rivals.sentiment.linear_terms import is_linear, linear_terms
from tokendyn.sentiment.explanation import Span
from tokendyn.sentiment.tokenise import find_words

#: Most characters that go to the model in one call: all variants of a long text at once would fill the memory.
_CHARACTERS_A_CALL = 2**23

#: Scores below this are no part of an explanation: they come from the rounding of probabilities.
NOTHING = 1e-9


@runtime_checkable
class TextModel(Protocol):
    """What is evaluated: anything that gives class probabilities of texts."""

    def predict_proba(self, texts: list[str], /) -> Any:
        """Return the probabilities, (texts, classes)."""


@dataclass(frozen=True)
class CutText:
    """A text cut at its words, so that words can be taken out.

    Attributes
    ----------
    text
        The text.
    words, spans
        Its distinct words in the order of their first places, and the places of each.
    pieces
        The parts between the occurrences, one more than these.
    surfaces, owners
        Each occurrence as written, in order, and the number of its word.
    """

    text: str
    words: tuple[str, ...]
    spans: tuple[tuple[Span, ...], ...]
    pieces: tuple[str, ...]
    surfaces: tuple[str, ...]
    owners: Int[np.ndarray, " occurrences"]

    @classmethod
    def of(cls, text: str) -> "CutText":
        """Cut a text."""
        number_of: dict[str, int] = {}
        spans: list[list[Span]] = []
        owners, pieces, surfaces, last = [], [], [], 0
        for word, start, end in find_words(text):
            owner = number_of.setdefault(word, len(number_of))
            if owner == len(spans):
                spans.append([])
            spans[owner].append((start, end))
            owners.append(owner)
            pieces.append(text[last:start])
            surfaces.append(text[start:end])
            last = end
        pieces.append(text[last:])
        return cls(
            text=text,
            words=tuple(number_of),
            spans=tuple(map(tuple, spans)),
            pieces=tuple(pieces),
            surfaces=tuple(surfaces),
            owners=np.array(owners, dtype=np.int64),
        )

    def with_only(self, present: Bool[np.ndarray, " words"]) -> str:
        """Return the text with the present words; a space stands for each occurrence of another.

        Whatever is no word stays: punctuation, blanks, markup. The space keeps neighbours from joining.
        """
        kept = present[self.owners].tolist()
        parts = [self.pieces[0]]
        for keep, surface, piece in zip(kept, self.surfaces, self.pieces[1:], strict=True):
            parts += (surface if keep else " ", piece)
        return "".join(parts)

    def share_out(self, parts: Sequence[tuple[Sequence[Span], float]]) -> Float[np.ndarray, " words"]:
        """Return the share of each distinct word in contributions at spans of the text.

        A contribution is split evenly over its spans, and at a span over the words that it covers (an n-gram
        covers several), so the sum is kept; what covers no word is left out.
        """
        owner_of = {spans: owner for owner, spans in enumerate(self.spans)}
        shares = np.zeros(len(self.words))
        for spans, amount in parts:
            owner = owner_of.get(tuple(spans))
            if owner is not None:
                shares[owner] += amount
                continue
            for start, end in spans:
                covered = self._covered(start, end)
                # add.at, because a word may occur twice within one span.
                np.add.at(shares, covered, amount / len(spans) / max(1, len(covered)))
        return shares

    def _covered(self, start: int, end: int) -> Int[np.ndarray, " covered"]:
        """Return the numbers of the words that have letters between two places of the text."""
        occurrences = np.array(sorted(span for spans in self.spans for span in spans), dtype=np.int64)
        return self.owners[(occurrences[:, 0] < end) & (occurrences[:, 1] > start)]


class Judge:
    """The probability that a model gives to its own verdict on a text, when words of it are missing.

    Attributes
    ----------
    model, cut
        The model and the text.
    verdict, probability, classes
        The class that the model predicts for the whole text (its number, the first if several are as likely),
        its probability there, and the number of classes. The class stays the same for every variant.
    calls
        How many variants of the text the model has judged.
    """

    def __init__(self, model: TextModel, cut: CutText) -> None:
        self.model, self.cut = model, cut
        whole = _probabilities(model, [cut.text])[0]
        self.verdict, self.classes = int(np.argmax(whole)), len(whole)
        self.probability = float(whole[self.verdict])
        self.calls = 0

    def probabilities(self, present: Bool[np.ndarray, "variants words"]) -> Float[np.ndarray, " variants"]:
        """Return the probability of the verdict for each variant of the text with the present words only."""
        self.calls += len(present)
        at_once = max(1, _CHARACTERS_A_CALL // (len(self.cut.text) + 1))
        parts = [
            _probabilities(self.model, [self.cut.with_only(row) for row in present[first : first + at_once]])
            for first in range(0, len(present), at_once)
        ]
        return np.concatenate([*(part[:, self.verdict] for part in parts), np.empty(0)])


@dataclass(frozen=True)
class WordScores:
    """Scores of the words of a text by an explainer.

    Attributes
    ----------
    values
        Score of each distinct word; positive supports the predicted class.
    size
        How many entries a reader is shown: leaders, or words with a score.
    """

    values: Float[np.ndarray, " words"]
    size: int


Explainer = Callable[[Judge, int, int], WordScores]


def leaders(judge: Judge, seed: int, samples: int) -> WordScores:
    """Score words by succession: those taken out until the verdict turns, in order; then by value.

    The first word of :attr:`Explanation.succession` has the largest score, the last of them 2; other words have
    their learned value towards the verdict, scaled into (-1, 1). The size is the number of leaders.
    """
    why = judge.model.explain(judge.cut.text)  # type: ignore[attr-defined]
    ranks = {leader.spans: 1.0 + rank for rank, leader in enumerate(reversed(why.succession), start=1)}
    side = _side(judge)
    # Ranks begin at 2: no value, scaled into (-1, 1), comes before a word of the succession.
    largest = 1.0 + max((abs(float(word.value)) for word in why.contributions), default=0.0)
    parts = [(word.spans, ranks.get(word.spans, side * float(word.value) / largest)) for word in why.contributions]
    return WordScores(judge.cut.share_out(parts), len(why.leaders))


def contributions(judge: Judge, seed: int, samples: int) -> WordScores:
    """Score words by their exact contributions to the logit; the size is the number of leaders."""
    why = judge.model.explain(judge.cut.text)  # type: ignore[attr-defined]
    parts = [(word.spans, float(word.contribution)) for word in why.contributions]
    return WordScores(_side(judge) * judge.cut.share_out(parts), len(why.leaders))


def coefficients(judge: Judge, seed: int, samples: int) -> WordScores:
    """Score words by coefficient times feature of a linear model, exactly; a term of several words is shared out."""
    numbers: dict[str, list[int]] = {}
    for number, word in enumerate(judge.cut.words):
        # Vectorisers of scikit-learn cut words at their apostrophes.
        for name in {word, *word.split("'")}:
            numbers.setdefault(name, []).append(number)
    values, size = np.zeros(len(judge.cut.words)), 0
    model: Any = judge.model
    for term, amount in linear_terms(model).of(judge.cut.text):
        owners = [number for part in term.split(" ") for number in numbers.get(part, ())]
        np.add.at(values, owners, amount / max(1, len(owners)))
        size += 1
    return WordScores(_side(judge) * values, size)


def value(judge: Judge, seed: int, samples: int) -> WordScores:
    """Score words by their learned values alone, whatever the other words do."""
    why = judge.model.explain(judge.cut.text)  # type: ignore[attr-defined]
    parts = [(word.spans, float(word.value)) for word in why.contributions]
    return _sized(_side(judge) * judge.cut.share_out(parts))


def loo(judge: Judge, seed: int, samples: int) -> WordScores:
    """Score each word by the drop of the verdict's probability without it (leave one out)."""
    return _sized(judge.probability - judge.probabilities(~np.eye(len(judge.cut.words), dtype=np.bool_)))


def random(judge: Judge, seed: int, samples: int) -> WordScores:
    """Score words by independent normal numbers, which explain nothing: the base line."""
    return _sized(np.random.default_rng(seed).standard_normal(len(judge.cut.words)))


def lime(judge: Judge, seed: int, samples: int) -> WordScores:
    """Score words by LIME (Ribeiro et al., 2016; package ``lime``) with its own settings, all words kept.

    LIME is given each distinct word once, under a name without punctuation, so that it takes out our words;
    the model is given the text itself without them.
    """
    lime_text = library("lime.lime_text")

    words = len(judge.cut.words)

    def classify(variants: Sequence[str]) -> Float[np.ndarray, "variants 2"]:
        present = np.zeros((len(variants), words), dtype=np.bool_)
        for row, variant in zip(present, variants, strict=True):
            row[[int(name[1:]) for name in variant.split()]] = True
        likely = judge.probabilities(present)
        return np.stack([1 - likely, likely], axis=1)

    explainer = lime_text.LimeTextExplainer(split_expression=r"\s+", random_state=seed)
    named = " ".join(f"w{number}" for number in range(words))
    explanation = explainer.explain_instance(named, classify, labels=(1,), num_features=words, num_samples=samples)
    values = np.zeros(words)
    for number, weight in explanation.local_exp[1]:
        values[number] = weight
    return _sized(values)


def shap(judge: Judge, seed: int, samples: int) -> WordScores:
    """Score words by Shapley values over permutations (package ``shap``), a missing word being taken out.

    Each permutation takes 2 words + 1 variants, forward and back; there are as many of them as ``samples``
    allows, and at least one.
    """
    explainers, maskers = library("shap.explainers"), library("shap.maskers")

    words = len(judge.cut.words)
    with _global_generator_kept():
        masker = maskers.Independent(np.zeros((1, words)), max_samples=1)
        explainer = explainers.Permutation(lambda rows: judge.probabilities(rows > 0.5), masker, seed=seed)
        explanation = explainer(np.ones((1, words)), max_evals=max(samples, 2 * words + 1), silent=True)
    return _sized(np.asarray(explanation.values[0], dtype=np.float64))


EXPLAINERS: dict[str, Explainer] = {
    "leaders": leaders,
    "contributions": contributions,
    "value": value,
    "coefficients": coefficients,
    "lime": lime,
    "shap": shap,
    "loo": loo,
    "random": random,
}


def check_explainers(names: Sequence[str], model: TextModel, *, rival: bool = False) -> tuple[str, ...]:
    """Return the names without repeats, with the packages they need imported.

    With a rival, "coefficients" explains that linear model, whatever the model is.

    Raises
    ------
    BadInputError
        For all problems at once: no or unknown names, a model that lacks a method.
    MissingLibraryError
        If nothing is wrong but that a package is not installed; the message names the extra that brings it.
    """
    if isinstance(names, str):
        raise BadInputError(f"explainers is one string; give a sequence, such as [{names!r}]")
    chosen = tuple(dict.fromkeys(names))
    lacking = [missing(name) for name in chosen if name in EXTRAS and missing(name)]
    problems = [] if chosen else [f"none is named; choose among {', '.join(EXPLAINERS)}"]
    for name in chosen:
        if name not in EXPLAINERS:
            near = nearest(str(name), EXPLAINERS)
            hint = f"did you mean {near!r}?" if near else f"choose among {', '.join(EXPLAINERS)}"
            problems.append(f"no explainer {name!r}; {hint}")
        elif name in ("leaders", "contributions", "value") and not callable(getattr(model, "explain", None)):
            kind = type(model).__name__
            problems.append(f"{name!r} needs a model with explain(text), {kind} has none; leave {name!r} out")
        elif name == "coefficients" and not (rival or is_linear(model)):
            problems.append(
                "'coefficients' explains a linear model: give `learned`, the texts and labels to train one on, or "
                "leave 'coefficients' out"
            )
    if problems:
        raise BadInputError.all_of("explainers", [*problems, *lacking])
    if lacking:
        raise MissingLibraryError(f"{'; '.join(lacking)}; or leave it out of explainers")
    return chosen


@contextmanager
def _global_generator_kept() -> Iterator[None]:
    """Restore the state of numpy's global generator: SHAP seeds it and draws from it."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def _side(judge: Judge) -> float:
    """Return the sign that turns contributions to the second class into support of the verdict."""
    if judge.classes != 2:
        raise BadInputError(f"leaders explains models of two classes, this one has {judge.classes}; leave it out")
    return 1.0 if judge.verdict == 1 else -1.0


def _sized(values: Float[np.ndarray, " words"]) -> WordScores:
    return WordScores(values, int(np.count_nonzero(np.abs(values) > NOTHING)))


def _probabilities(model: TextModel, texts: list[str]) -> Float[np.ndarray, "texts classes"]:
    """Return the probabilities that a model gives to texts, after a check of their shape and values."""
    probabilities = np.asarray(model.predict_proba(texts), dtype=np.float64)
    if probabilities.ndim != 2 or len(probabilities) != len(texts) or probabilities.shape[1] < 2:
        raise BadInputError(
            f"predict_proba gave shape {probabilities.shape} for {len(texts)} texts; expected ({len(texts)}, classes) "
            "with at least two classes"
        )
    if not math.isfinite(float(probabilities.sum())):
        raise BadInputError("predict_proba gave NaN or infinite probabilities; repair the model")
    return probabilities
