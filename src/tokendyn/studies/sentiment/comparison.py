"""Classifiers beside each other on one split: accuracy, leaders, processor time, size."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Bool

from tokendyn.data.labelled_texts import LabelledTexts
from tokendyn.errors import BadInputError
from tokendyn.results import Bars, Result
from tokendyn.rivals.sentiment.contenders import (
    Contender,
    TextClassifier,
    embedding_model,
    leader_model,
    linear_model,
    published_model,
)
from tokendyn.sentiment.checks import MOST_CLASSES

if TYPE_CHECKING:
    import pandas as pd

#: The columns of a comparison, and what each is.
MEASURES = {
    "accuracy": "share of the test texts that are labelled right",
    "low": "lower end of the 95 % interval of the accuracy (Wilson)",
    "high": "upper end of it",
    "leaders": "mean number of leaders a test text, where there are leaders",
    "cpu_seconds": "processor seconds to train, with tokenising and the choice of settings; compiling was done before",
    "texts_a_second": "test texts labelled in a second of processor time",
    "model_bytes": "size of the numbers and words that a prediction needs",
    "better": "test texts that only this one labels right, the first one not",
    "worse": "test texts that only the first one labels right",
    "p_value": "exact two-sided sign test of better against worse (McNemar)",
}
_SHORTEST = 0.2  # seconds: predictions are repeated until they have taken as long together
_MOST_REPEATS = 20


@dataclass(frozen=True)
class Outcome:
    """What one classifier reached.

    Attributes
    ----------
    name
        Its name.
    right
        Which of the test texts it labels right.
    leaders
        Mean number of leaders a test text; None when it has none.
    cpu_seconds, texts_a_second, model_bytes
        As in ``MEASURES``.
    """

    name: str
    right: Bool[np.ndarray, " texts"]
    leaders: float | None
    cpu_seconds: float
    texts_a_second: float
    model_bytes: int

    @property
    def accuracy(self) -> float:
        """Share of the test texts that are labelled right."""
        return float(np.mean(self.right))


@dataclass(frozen=True)
class Comparison(Result, kind="sentiment-comparison"):
    """Outcomes on the same test texts; the first one is what the others are compared with.

    Attributes
    ----------
    outcomes
        What each classifier reached.
    training_texts, test_texts
        How many texts they learned from, and were measured on.
    provenance
        Versions, seed, settings and time, where an experiment made the comparison.
    """

    parts: ClassVar = (Outcome,)

    outcomes: tuple[Outcome, ...]
    training_texts: int
    test_texts: int
    provenance: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def status(self) -> str:
        """``"completed"``."""
        return "completed"

    def describe(self) -> list[str]:
        """Return the accuracy of each classifier."""
        return [f"{self.training_texts} texts to learn from, {self.test_texts} to test"] + [
            f"{row['classifier']}: accuracy {row['accuracy']:.4f} ({row['low']:.4f} to {row['high']:.4f})"
            for row in self.rows()
        ]

    def picture(self) -> Bars:
        """Return the accuracy of each classifier."""
        names = [outcome.name for outcome in self.outcomes]
        return Bars(names=names, values=[outcome.accuracy for outcome in self.outcomes], xlabel="accuracy")

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a classifier with the columns of ``MEASURES``."""
        from scipy.stats import binomtest

        first, rows = self.outcomes[0], []
        for outcome in self.outcomes:
            interval = binomtest(int(np.sum(outcome.right)), len(outcome.right)).proportion_ci(method="wilson")
            better, worse = int(np.sum(outcome.right & ~first.right)), int(np.sum(first.right & ~outcome.right))
            row = {
                "classifier": outcome.name,
                "accuracy": outcome.accuracy,
                "low": float(interval.low),
                "high": float(interval.high),
                "leaders": outcome.leaders,
                "cpu_seconds": outcome.cpu_seconds,
                "texts_a_second": outcome.texts_a_second,
                "model_bytes": outcome.model_bytes,
                "better": better,
                "worse": worse,
                "p_value": float(binomtest(better, better + worse).pvalue) if better + worse else 1.0,
            }
            rows.append(row)
        return rows

    def table(self) -> "pd.DataFrame":
        """Return the rows as a table."""
        import pandas as pd

        return pd.DataFrame(self.rows())


def usual_contenders(
    *, classes: int = 2, published: bool = False, published_epochs: int = 4, **parameters: Any
) -> list[Contender]:
    """Return the classifiers that people choose between, the leader classifier first.

    Parameters
    ----------
    classes
        How many classes there are: of more than 15, transfer 1 takes no part.
    published
        Whether the model as published takes part too (d = 16, hardmax at inference; two classes only).
    published_epochs
        Its epochs.
    **parameters
        Of the leader classifier.
    """
    few = classes <= MOST_CLASSES
    contenders = [
        leader_model("leaders", **parameters),
        *([leader_model("leaders decide (transfer 1)", **(parameters | {"transfer": 1.0}))] if few else []),
        linear_model("TF-IDF + LR, words", tuned=True),
        linear_model("TF-IDF + LR, words and pairs", 2, tuned=True),
        embedding_model("fastText-like"),
    ]
    wide = [published_model("as published, d = 16", dim=16, epochs=published_epochs)] if published else []
    return [*contenders, *wide]


def compare_classifiers(
    training: LabelledTexts,
    test: LabelledTexts,
    contenders: Sequence[Contender],
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Train classifiers on the same texts and measure them on the same others.

    Parameters
    ----------
    training, test
        Labelled texts; nothing of the test part is seen in training.
    contenders
        The classifiers; the others are compared with the first.
    seed
        Seed of each.
    progress
        Called after each classifier with the number done, and the total number.

    Raises
    ------
    BadInputError
        If a part has no labels or no text, there is no contender, two have one name, or one cannot tell that many
        classes apart.
    """
    check_contenders(training, test, contenders)
    outcomes = []
    for done, contender in enumerate(contenders, start=1):
        outcomes.append(measure(contender, training, test, seed))
        if progress is not None:
            progress(done, len(contenders))
    return Comparison(outcomes=tuple(outcomes), training_texts=len(training), test_texts=len(test))


def check_contenders(training: LabelledTexts, test: LabelledTexts, contenders: Sequence[Contender]) -> None:
    """Raise one BadInputError for all that makes a comparison impossible."""
    problems = []
    for name, part in (("training", training), ("test", test)):
        if part.labels is None:
            problems.append(f"the {name} texts have no labels; read them with a column of labels")
        elif not len(part):
            problems.append(f"there is no {name} text; change the share that is held out, or give more texts")
    classes = len(set(training.labels or ()))
    problems += [
        f"{contender.name!r} tells {contender.most_classes} classes apart, the labels have {classes}; leave it out"
        for contender in contenders
        if contender.most_classes is not None and classes > contender.most_classes
    ]
    names = [contender.name for contender in contenders]
    if not names:
        problems.append("no classifier takes part; give at least one")
    problems += [f"two classifiers are called {name!r}" for name in sorted({n for n in names if names.count(n) > 1})]
    if problems:
        raise BadInputError.all_of("the comparison", problems)


def measure(contender: Contender, training: LabelledTexts, test: LabelledTexts, seed: int) -> Outcome:
    """Train one classifier and measure it."""
    learn, held = list(training.texts), list(test.texts)
    labels, truth = np.array(training.labels), np.array(test.labels)
    warm_up(contender, min(len(set(labels.tolist())), 3))
    model = contender.make(seed)
    began = time.process_time()
    model.fit(learn, labels)
    trained = time.process_time() - began
    predicted, seconds = _timed_prediction(model, held)
    counts = model.leader_counts(held) if hasattr(model, "leader_counts") else None
    return Outcome(
        name=contender.name,
        right=predicted == truth,
        leaders=None if counts is None else float(np.mean(counts)),
        cpu_seconds=trained,
        texts_a_second=len(held) / seconds,
        model_bytes=contender.model_bytes(model),
    )


def warm_up(contender: Contender, classes: int) -> None:
    """Train on a few made-up texts, so that what is compiled is compiled before time is measured."""
    texts = [f"word{label} all plain words {filler}" for label in range(classes) for filler in range(20)]
    model = contender.make(0).fit(texts, [label for label in range(classes) for _ in range(20)])
    model.predict(texts)


def _timed_prediction(model: TextClassifier, texts: list[str]) -> tuple[np.ndarray, float]:
    """Return the labels, and the processor seconds of one pass."""
    spent, passes = 0.0, 0
    while passes == 0 or (spent < _SHORTEST and passes < _MOST_REPEATS):
        began = time.process_time()
        predicted = model.predict(texts)
        spent, passes = spent + time.process_time() - began, passes + 1
    return predicted, max(spent / passes, 1e-9)


def folds(count: int, parts: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the places of training and test texts of a cross-validation, each ascending, in random parts."""
    order = np.random.default_rng(seed).permutation(count)
    for part in np.array_split(order, parts):
        yield np.setdiff1d(order, part), np.sort(part)
