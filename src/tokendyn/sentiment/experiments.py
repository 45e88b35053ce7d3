"""The commands ``tokendyn sentiment train``, ``distil`` and ``export`` as experiments."""

import dataclasses
import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tokendyn.errors import BadInputError
from tokendyn.experiments import Experiment, ProgressCallback, checkpoint_of, rehearse
from tokendyn.experiments.fields import seconds_of

if TYPE_CHECKING:
    import numpy as np

    from tokendyn.data.collections import Split
    from tokendyn.data.labelled_texts import LabelledTexts
    from tokendyn.runs.checkpoint import Checkpoint
    from tokendyn.sentiment.classifier import LeaderClassifier
    from tokendyn.sentiment.outcome import OnnxScoring, TrainedModel


#: Number of texts in each half of the IMDb reviews, and published accuracies on them in per cent.
IMDB_HALF = 25_000
PUBLISHED = {"NB-SVM, words": 88.29, "NB-SVM, words and pairs": 91.22}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReviewOptions:
    """A file of labelled texts, and the tokens of a classifier.

    Parameters
    ----------
    reviews
        CSV, TSV or JSONL (also .gz), UTF-8, with a column of texts and a column of labels; or a folder with one folder
        for each class; or a folder with two such folders, train and test, like the IMDb reviews.
    text
        Name of the column of texts.
    label
        Name of the column of labels.
    active_words
        Largest number of words and n-grams with a value. 8000 words, or 20000 with `ngrams=2`, suit `transfer=1`.
    ngrams
        Largest number of adjacent words in a token: with 2, pairs such as "not bad" are tokens too.
    negation
        Whether a word after a negator is a different token, such as "not_good".
    seed
        Seed of every random choice.
    """

    reviews: Path = dataclasses.field(kw_only=False)
    text: str = "text"
    label: str = "label"
    active_words: int = 100_000
    ngrams: int = 2
    negation: bool = False
    seed: int = 0

    def token_settings(self) -> dict[str, Any]:
        """Return the options of the tokens as parameters of :class:`LeaderClassifier`."""
        return {"active_words": self.active_words, "ngrams": self.ngrams, "negation": self.negation}

    def classifier(self, **parameters: Any) -> "LeaderClassifier":
        """Return an unfitted classifier with these tokens and this seed, and further parameters."""
        from tokendyn.sentiment.classifier import LeaderClassifier

        return LeaderClassifier(**self.token_settings(), random_state=self.seed, **parameters)

    @cached_property
    def texts(self) -> "LabelledTexts":
        """The labelled texts of the file, of two classes or more; of two halves, those of the training half."""
        from tokendyn.data.texts import read_texts

        halves = self.halves
        data = read_texts(self.reviews, text=self.text, label=self.label) if halves is None else halves.training
        data.check_classes()
        return data

    @cached_property
    def halves(self) -> "Split | None":
        """The two halves of a folder that holds a train and a test folder."""
        from tokendyn.data.collections import read_halves

        return read_halves(self.reviews)

    def parts(self, test_fraction: float, default: float) -> "Split":
        """Return the given halves, or a random split of the texts.

        Raises
        ------
        BadInputError
            If a share is given although the folder has two halves.
        """
        from tokendyn.data.collections import split_texts

        if self.halves is None:
            return split_texts(self.texts, test_fraction, self.seed)
        if test_fraction != default:
            raise BadInputError(
                f"{self.reviews} holds a train and a test folder, which are the two parts; leave `test_fraction` out"
            )
        return self.halves


def rehearse_fit(model: "LeaderClassifier", data: "LabelledTexts", checkpoint: "Checkpoint | None" = None) -> None:
    """Run the checks of a training up to its first epoch, with the same errors."""
    rehearse(lambda begun: model.fit(data.texts, data.labels or (), progress=begun, checkpoint=checkpoint))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training(ReviewOptions, Experiment["TrainedModel"]):
    """Train a classifier that decides at hardmax, and write a model folder.

    Parameters
    ----------
    transfer
        0: the verdict is the sum of all words, and leaders group its terms. 1: the published model, in which leaders
        speak for the words that follow them.
    groups
        At transfer 0, how words are grouped: by topics, or by sign in two groups, for and against.
    class_weight
        "balanced" makes errors on a rare class cost more; all texts weigh the same by default.
    leaders
        Target for the mean number of leaders in a text.
    patience
        End a stage of the training after this many epochs without an improvement; only at transfer 1.
    layers
        Layers of the attention.
    alpha
        Step parameter of the attention, above 0: a word moves by the share alpha / (1 + alpha) in each layer.
    epochs
        Epochs of training through the hardmax layers; only at transfer 1.
    test_fraction
        Share of the texts held out to report the accuracy at the end. Texts that are the same, up to case and white
        space, stay on one side.
    budget
        Begin no further epoch after this time, such as 90s or 10m, and write the best so far.
    """

    command: ClassVar[str] = "sentiment train"
    resumes: ClassVar[bool] = True
    keeps_best: ClassVar[bool] = True

    transfer: float = 0.0
    groups: str = "topics"
    class_weight: str | None = None
    leaders: float = 5.0
    patience: int | None = None
    layers: int = 8
    alpha: float = 1.0
    epochs: int = 8
    test_fraction: float = 0.0
    budget: str | None = None

    def outline(self) -> Sequence[str]:
        """Return the texts that occur more than once."""
        return self._parts.describe()

    def check(self, checkpoint: "Path | str | None" = None) -> Sequence[str]:
        """Make all checks of a training; return a description of it."""
        notes = self.outline()
        self._seconds(None)
        training, test = self._parts.training, self._parts.test
        rehearse_fit(self._model(), training, checkpoint_of(checkpoint, seconds=math.inf))
        return (*notes, f"would train on {len(training)} texts, test on {len(test)}")

    def run(
        self,
        *,
        progress: ProgressCallback | None = None,
        checkpoint: "Checkpoint | Path | str | None" = None,
        budget: float | None = None,
    ) -> "TrainedModel":
        """Train the classifier, and measure it on the held-out texts.

        Parameters
        ----------
        progress
            Called with the number of epochs done, and the number of epochs.
        checkpoint
            File for the state of the training.
        budget
            Seconds; replaces the option.
        """
        from tokendyn.sentiment.outcome import TrainedModel, held_out

        parts, seconds = self._parts, self._seconds(budget)
        model = self._model().fit(
            parts.training.texts, parts.training.labels or (), budget=seconds, checkpoint=checkpoint_of(checkpoint),
            progress=None if progress is None else lambda epoch, epochs, _: progress(epoch, epochs),
        )  # fmt: skip
        measured: dict[str, Any] = {"repeated_texts": parts.repeated, "moved_texts": parts.moved}
        if len(parts.test):
            measured |= {"test_texts": len(parts.test), **held_out(model, parts.test)}
        if parts.given and len(parts.training) == len(parts.test) == IMDB_HALF:
            measured["published"] = PUBLISHED
        return TrainedModel(model=model, measured=measured, source=self.reviews.name)

    def write(self, result: "TrainedModel", folder: str | Path, *, command: str = "", overwrite: bool = False) -> None:
        """Write the classifier as a model folder; see :func:`tokendyn.sentiment.save`."""
        result.save(folder, command=command, overwrite=overwrite)

    def advice(self, folder: Path) -> str:
        """Return the command that uses the classifier."""
        return f'ask it: tokendyn sentiment explain "a text" --model {folder}'

    def _model(self) -> "LeaderClassifier":
        return self.classifier(
            transfer=self.transfer, groups=self.groups,
            layers=self.layers, alpha=self.alpha, class_weight=self.class_weight, leaders=self.leaders,
            patience=self.patience, epochs=self.epochs,
        )  # fmt: skip

    def _seconds(self, budget: float | None) -> float:
        if budget is not None:
            return budget
        return math.inf if self.budget is None else seconds_of(self.budget)

    @cached_property
    def _parts(self) -> "Split":
        if not 0 <= self.test_fraction < 1:
            raise BadInputError(f"`test_fraction` must be in [0, 1), got {self.test_fraction}")
        return self.parts(self.test_fraction, default=0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distillation(Experiment["TrainedModel"]):
    """Train a classifier on another model's probabilities of texts, and write a model folder.

    Reports the share of held-out texts with the verdict of the model, and the differences of the probabilities.

    Parameters
    ----------
    reviews
        CSV, TSV or JSONL (also .gz), UTF-8, with a column of texts and columns of probabilities, such as `tokendyn
        sentiment predict` writes.
    text
        Name of the column of texts.
    probabilities
        File of the same kinds with the columns of probabilities, one row for each text in the same order. By default
        they are in the file of texts.
    columns
        Names of the columns of probabilities, separated by commas, one for each class; for two classes the second alone
        is enough. Default: all that begin with ``probability_``.
    classes
        Labels, separated by commas, in the order of the columns. Default: the rest of their names after
        ``probability_``.
        One column needs two labels, such as "neg,pos".
    active_words
        Largest number of words and n-grams with a value.
    ngrams
        Largest number of adjacent words in a token: with 2, pairs such as "not bad" are tokens too.
    negation
        Whether a word after a negator is a different token, such as "not_good".
    leaders
        Target for the mean number of leaders in a text.
    groups
        How words are grouped: by topics, or by sign in two groups, for and against.
    test_fraction
        Share of the texts held out to measure the agreement with the model.
    seed
        Seed of the random choice of these texts.
    """

    command: ClassVar[str] = "sentiment distil"
    unit: ClassVar[str] = "steps"

    reviews: Path = dataclasses.field(kw_only=False)
    text: str = "text"
    probabilities: Path | None = None
    columns: str = ""
    classes: str = ""
    active_words: int = 100_000
    ngrams: int = 2
    negation: bool = False
    leaders: float = 5.0
    groups: str = "topics"
    test_fraction: float = 0.2
    seed: int = 0

    def check(self, checkpoint: "Path | str | None" = None) -> Sequence[str]:
        """Make all checks of the run; return a description of it."""
        rehearse(lambda begun: self.run(progress=begun))
        labels, table = self._given
        return (f"would learn {', '.join(labels)} from the probabilities of {len(table)} texts",)

    def run(
        self,
        *,
        progress: ProgressCallback | None = None,
        checkpoint: "Checkpoint | Path | str | None" = None,
        budget: float | None = None,
    ) -> "TrainedModel":
        """Learn the probabilities, and measure the agreement on the held-out texts.

        Parameters
        ----------
        progress
            Called with the number of steps done, and the largest number of steps.
        checkpoint
            Not used.
        budget
            Seconds after which no further setting is tried.
        """
        from tokendyn.sentiment.classifier import LeaderClassifier
        from tokendyn.sentiment.outcome import TrainedModel

        labels, table = self._given
        model = LeaderClassifier.distil(
            table, self._texts.texts, classes=labels, test_fraction=self.test_fraction, seed=self.seed,
            progress=None if progress is None else lambda step, steps, _: progress(step, steps),
            budget=math.inf if budget is None else budget, active_words=self.active_words, ngrams=self.ngrams,
            negation=self.negation, leaders=self.leaders, groups=self.groups, random_state=self.seed,
        )  # fmt: skip
        return TrainedModel(model=model, measured={}, source=self.reviews.name)

    def write(self, result: "TrainedModel", folder: str | Path, *, command: str = "", overwrite: bool = False) -> None:
        """Write the classifier as a model folder; see :func:`tokendyn.sentiment.save`."""
        result.save(folder, command=command, overwrite=overwrite)

    def advice(self, folder: Path) -> str:
        """Return the command that uses the classifier."""
        return f'ask it: tokendyn sentiment explain "a text" --model {folder}'

    @cached_property
    def _texts(self) -> "LabelledTexts":
        from tokendyn.data.texts import read_texts

        return read_texts(self.reviews, text=self.text, label=None)

    @cached_property
    def _given(self) -> "tuple[list[str], np.ndarray]":
        """The labels, and the probabilities of the texts."""
        from tokendyn.data.probabilities import read_probabilities

        source = self.probabilities or self.reviews
        names, table = read_probabilities(source, _listed(self.columns))
        if len(table) != len(self._texts):
            raise BadInputError(
                f"{source} holds probabilities in {len(table)} rows, and {self.reviews} {len(self._texts)} texts; give "
                "one row for each text, in the same order"
            )
        labels = _listed(self.classes) or [name.removeprefix("probability_") for name in names]
        if len(names) == 1 and len(labels) == 1:
            raise BadInputError(
                f"{source} holds one column of probabilities, {names[0]!r}; name the two labels by `classes`, such as "
                f'`classes="neg,{labels[0]}"`'
            )
        if len(labels) != max(len(names), 2):
            raise BadInputError(
                f"`classes` names {len(labels)} labels, {', '.join(labels)}, and there are {len(names)} columns of "
                f"probabilities, {', '.join(names)}; give one label for each column, or two for one column"
            )
        return labels, table


def _listed(names: str) -> list[str]:
    """Return names separated by commas."""
    return [name.strip() for name in names.split(",") if name.strip()]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Export(Experiment["OnnxScoring"]):
    """Write the scoring path of a model as an ONNX file, for onnxruntime in any language.

    Parameters
    ----------
    model
        Folder written by train.
    """

    command: ClassVar[str] = "sentiment export"
    file: ClassVar[str] = "model.onnx"

    model: Path = dataclasses.field(kw_only=False)

    def check(self, checkpoint: "Path | str | None" = None) -> Sequence[str]:
        """Read the model; return a description of the file."""
        return (f"would write {len(self._classifier.words_)} tokens",)

    def run(
        self,
        *,
        progress: ProgressCallback | None = None,
        checkpoint: "Checkpoint | Path | str | None" = None,
        budget: float | None = None,
    ) -> "OnnxScoring":
        """Build the graph; it takes a moment, so progress, checkpoint and budget are ignored."""
        from tokendyn.sentiment.onnx import onnx_model
        from tokendyn.sentiment.outcome import OnnxScoring

        model = self._classifier
        content, classes = onnx_model(model).SerializeToString(), tuple(model.classes_.tolist())
        return OnnxScoring(content=content, classes=classes, tokens=len(model.words_))

    def write(self, result: "OnnxScoring", folder: str | Path, *, command: str = "", overwrite: bool = False) -> None:
        """Write the file."""
        result.save(folder, overwrite=overwrite)

    @cached_property
    def _classifier(self) -> "LeaderClassifier":
        from tokendyn.sentiment.store import load

        return load(self.model)
