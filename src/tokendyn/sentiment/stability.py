"""The stability of explanations: the leaders when the classifier is trained again on parts of its texts."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from tokendyn.data.labelled_texts import LabelledTexts
from tokendyn.errors import BadInputError
from tokendyn.results import Bars, Result
from tokendyn.sentiment.checks import check_texts, labels_of

#: Share of the texts in each training, drawn without replacement.
SHARE = 0.9


@dataclass(frozen=True)
class Stability(Result, kind="leader-stability"):
    """The leaders of a classifier, and the number of retrainings on 90 % of its texts in which they lead.

    Attributes
    ----------
    leaders
        One row for each leader of each text: ``text`` (its number), ``word``, ``own`` (in the classifier itself), and
        ``led`` and ``first``: the numbers of retrainings in which the word leads this text, and is its first leader.
    texts, retrainings
        Numbers of texts and retrainings.
    overlap
        Mean over texts and retrainings of the overlap of both sets of leaders (Jaccard); texts without a leader on
        either side are left out.
    same_first
        Share of texts and retrainings with the same first leader.
    """

    leaders: pd.DataFrame = field(repr=False)
    texts: int
    retrainings: int
    overlap: float
    same_first: float

    @property
    def status(self) -> str:
        """``"completed"``."""
        return "completed"

    def table(self) -> pd.DataFrame:
        """Return one row for each leader."""
        return self.leaders

    def describe(self) -> list[str]:
        """Return the stability of the leaders, and each leader by itself if there are few texts."""
        lines = []
        if self.texts <= 3:
            lines = [
                f"{row['word']} leads in {row['led']} of {self.retrainings} retrainings"
                + (f", first in {row['first']}" if row["first"] else "")
                for row in self.leaders.to_dict(orient="records")
            ]
        if math.isnan(self.overlap):
            return [*lines, "no training finds a leader in these texts"]
        return [
            *lines,
            f"two trainings, one on {SHARE:.0%} of the texts, share {self.overlap:.0%} of their leaders; the first is "
            f"the same in {self.same_first:.0%}",
        ]

    def picture(self) -> Bars:
        """Return the number of retrainings in which each of the first leaders leads."""
        rows = self.leaders.iloc[:20]
        return Bars(
            rows["word"].tolist(),
            rows["led"].astype(float).tolist(),
            f"retrainings, of {self.retrainings}, in which it leads",
        )


def retrained(model: Any, texts: Sequence[str], labels: Sequence[Any], retrainings: int, seed: int) -> Iterator[Any]:
    """Yield a classifier like this one for each random choice of 90 % of the texts, with the same chosen settings.

    At transfer 0 phantom words and settings of the prior are those of the classifier, so that each training is one fit;
    only the texts differ.
    """
    settings = {}
    if model.transfer == 0:
        settings = {name: model.training_[name] for name in ("phantom", "floor", "marginal", "prior_strength")}
        settings["doubt"] = model.doubt_
    for rows in drawn(len(texts), retrainings, seed):
        again = clone(model).set_params(**settings)
        yield again.fit([texts[row] for row in rows], [labels[row] for row in rows])


def drawn(count: int, draws: int, seed: int) -> Iterator[list[int]]:
    """Yield the rows of random choices of 90 % of some texts, ascending."""
    for number in range(draws):
        order = np.random.default_rng([seed, number]).permutation(count)
        yield np.sort(order[: max(2, round(SHARE * count))]).tolist()


def shared(one: Sequence[str], other: Sequence[str]) -> tuple[float, float]:
    """Return the overlap of two lists of leaders (NaN for two empty ones), and whether the first is the same."""
    sets = set(one), set(other)
    if not (sets[0] | sets[1]):
        return float("nan"), float("nan")
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1]), float(list(one[:1]) == list(other[:1]))


def stability(
    model: Any,
    texts: Iterable[Any] | LabelledTexts,
    X: Iterable[Any] | LabelledTexts,
    y: Iterable[Any] | None = None,
    *,
    retrainings: int = 10,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Stability:
    """Train a classifier again on parts of its texts, and compare the leaders of some texts.

    Parameters
    ----------
    model
        A fitted :class:`~tokendyn.sentiment.LeaderClassifier`.
    texts
        The texts whose leaders are compared.
    X, y
        The texts and labels on which the classifier was trained.
    retrainings
        Number of trainings, each on 90 % of the texts, drawn at random.
    seed
        Seed of the random choices.
    progress
        Called after each training with the number done, and the number of trainings.

    Raises
    ------
    BadInputError
        If texts or labels cannot be used, or ``retrainings`` is not a whole number of at least 1.
    """
    if isinstance(retrainings, bool) or not isinstance(retrainings, int) or retrainings < 1:
        raise BadInputError(f"`retrainings` must be a whole number of at least 1, got {retrainings!r}")
    asked, learned = check_texts(texts), check_texts(X)
    labels = list(labels_of(X) if y is None else y)
    if len(labels) != len(learned):
        raise BadInputError(f"got {len(learned)} texts and {len(labels)} labels to learn from; give one label a text")
    own = [list(verdict.leaders) for verdict in model.explain_many(asked)]
    led = [{leader.word: [0, 0] for leader in leaders} for leaders in own]
    pairs = []
    for number, again in enumerate(retrained(model, learned, labels, retrainings, seed), start=1):
        for leaders, counts, verdict in zip(own, led, again.explain_many(asked), strict=True):
            names = [leader.word for leader in verdict.leaders]
            for place, name in enumerate(names):
                if name in counts:
                    counts[name][0] += 1
                    counts[name][1] += place == 0
            pairs.append(shared([leader.word for leader in leaders], names))
        if progress is not None:
            progress(number, retrainings)
    rows = [
        {"text": text, "word": leader.word, "own": leader.own, "led": counts[leader.word][0],
         "first": counts[leader.word][1]}
        for text, (leaders, counts) in enumerate(zip(own, led, strict=True))
        for leader in leaders
    ]  # fmt: skip
    table = np.array(pairs)[~np.isnan(np.array(pairs)[:, 0])] if pairs else np.empty((0, 2))
    overlap, same_first = table.mean(axis=0).tolist() if len(table) else (float("nan"), float("nan"))
    return Stability(
        leaders=pd.DataFrame(rows, columns=["text", "word", "own", "led", "first"]),
        texts=len(asked),
        retrainings=retrainings,
        overlap=overlap,
        same_first=same_first,
    )
