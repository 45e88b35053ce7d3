"""What ``tokendyn sentiment compare``, ``curve`` and ``evaluate`` do, as experiments."""

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tokendyn.errors import BadInputError
from tokendyn.experiments import Experiment, ProgressCallback
from tokendyn.sentiment.experiments import ReviewOptions, rehearse_fit

if TYPE_CHECKING:
    from tokendyn.data.collections import Split
    from tokendyn.data.labelled_texts import LabelledTexts
    from tokendyn.rivals.sentiment.contenders import Contender
    from tokendyn.runs.checkpoint import Checkpoint
    from tokendyn.sentiment.classifier import LeaderClassifier
    from tokendyn.studies.sentiment.comparison import Comparison
    from tokendyn.studies.sentiment.curve import LeaderCurve
    from tokendyn.studies.sentiment.faithfulness import FaithfulnessReport


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierComparison(ReviewOptions, Experiment["Comparison"]):
    """Compare the classifier with linear models on TF-IDF and a fastText-like model, on one split of a file.

    The rivals choose their settings on a tenth of the training texts. Texts that are the same, up to case and
    white space, stay on one side.

    Parameters
    ----------
    leaders
        Mean number of leaders a text that the classifier aims at.
    published
        The model as published takes part too; two classes only.
    published_epochs
        Its epochs.
    test_fraction
        Share of the texts that all are measured on.
    """

    command: ClassVar[str] = "sentiment compare"
    unit: ClassVar[str] = "classifiers"

    leaders: float = 5.0
    published: bool = False
    published_epochs: int = 4
    test_fraction: float = 0.2

    def outline(self) -> Sequence[str]:
        """Return which texts occur more than once, once it is clear that everybody can take part."""
        from tokendyn.studies.sentiment.comparison import check_contenders

        check_contenders(self._parts.training, self._parts.test, self._contenders)
        return self._parts.describe()

    def check(self, checkpoint: "Path | str | None" = None) -> Sequence[str]:
        """Check the texts, the classifiers and their settings; return who would be trained on what."""
        notes, training = self.outline(), self._parts.training
        rehearse_fit(self.classifier(leaders=self.leaders), training)
        names = "; ".join(contender.name for contender in self._contenders)
        return (*notes, f"would train {names} on {len(training)} texts, test on {len(self._parts.test)}")

    def run(
        self,
        *,
        progress: ProgressCallback | None = None,
        checkpoint: "Checkpoint | Path | str | None" = None,
        budget: float | None = None,
    ) -> "Comparison":
        """Train every classifier on one part of the texts, and measure it on the other.

        Parameters
        ----------
        progress
            Called with the number of classifiers done, and the total number.
        checkpoint, budget
            Not used: a classifier is measured completely or not at all.
        """
        from tokendyn.runs.provenance import provenance
        from tokendyn.studies.sentiment.comparison import compare_classifiers

        began = time.perf_counter()
        training, test = self._parts.training, self._parts.test
        comparison = compare_classifiers(training, test, self._contenders, seed=self.seed, progress=progress)
        config = {**self._parameters(), "published": self.published, "test_fraction": self.test_fraction}
        origin = provenance(config, seed=self.seed, seconds=time.perf_counter() - began)
        return dataclasses.replace(comparison, provenance=origin)

    def write(self, result: "Comparison", folder: str | Path, *, command: str = "", overwrite: bool = False) -> None:
        """Write the table, the figure and the page; see :func:`.comparison_page.write_comparison`."""
        from tokendyn.studies.sentiment.comparison_page import write_comparison

        write_comparison(result, folder, command=command, source=self.reviews.name, overwrite=overwrite)

    def summary(self, result: "Comparison") -> Mapping[str, Any]:
        """Return the table, a row a classifier."""
        return {"table": result.rows(), "provenance": result.provenance}

    def describe(self, result: "Comparison") -> Sequence[str]:
        """Return the table in lines."""
        lines = [f"{'':30}  accuracy (95 % interval)  leaders  CPU s  texts/s  model, kB"]
        for row in result.rows():
            count = "–" if row["leaders"] is None else f"{row['leaders']:.1f}"
            lines.append(
                f"{row['classifier']:30}  {row['accuracy']:8.1%} ({row['low']:.1%} to {row['high']:.1%})  {count:>7}  "
                f"{row['cpu_seconds']:5.1f}  {row['texts_a_second']:7,.0f}  {row['model_bytes'] / 1000:9,.0f}"
            )
        return lines

    def _parameters(self) -> dict[str, Any]:
        return {**self.token_settings(), "leaders": self.leaders}

    @cached_property
    def _contenders(self) -> "list[Contender]":
        from tokendyn.studies.sentiment.comparison import usual_contenders

        return usual_contenders(
            classes=len(set(self.texts.labels or ())), published=self.published,
            published_epochs=self.published_epochs, **self._parameters(),
        )  # fmt: skip

    @cached_property
    def _parts(self) -> "Split":
        if not 0 < self.test_fraction < 1:
            raise BadInputError(f"`test_fraction` must be between 0 and 1, got {self.test_fraction}")
        return self.parts(self.test_fraction, default=0.2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve(ReviewOptions, Experiment["LeaderCurve"]):
    """Draw accuracy against leaders a text: one model for each number that is aimed at, judged on its validation texts.

    The models are those of transfer 1, in which leaders decide: at transfer 0 accuracy does not depend on leaders.

    Parameters
    ----------
    leaders
        Mean numbers of leaders a text to aim at, each given by its own `leaders`.
    """

    command: ClassVar[str] = "sentiment curve"
    unit: ClassVar[str] = "models"

    leaders: tuple[float, ...] = (1.5, 2.0, 3.0, 5.0, 8.0, 12.0)

    def check(self, checkpoint: "Path | str | None" = None) -> Sequence[str]:
        """Check the texts and the settings; return the number of models to train."""
        targets = self._targets
        rehearse_fit(self.classifier(leaders=targets[0], transfer=1.0), self.texts)
        return (f"would train {len(targets)} models on {len(self.texts)} texts",)

    def run(
        self,
        *,
        progress: ProgressCallback | None = None,
        checkpoint: "Checkpoint | Path | str | None" = None,
        budget: float | None = None,
    ) -> "LeaderCurve":
        """Train one model for each number of leaders.

        Parameters
        ----------
        progress
            Called with the number of models done, and the total number.
        checkpoint, budget
            Not used: a point is there completely or not at all.
        """
        from tokendyn.runs.provenance import provenance
        from tokendyn.studies.sentiment.curve import LeaderCurve, point_of

        began = time.perf_counter()
        points = []
        for done, target in enumerate(self._targets, start=1):
            model = self.classifier(leaders=target, transfer=1.0).fit(self.texts.texts, self.texts.labels or ())
            points.append(point_of(model))
            if progress is not None:
                progress(done, len(self._targets))
        config = {**self.token_settings(), "leaders": list(self.leaders)}
        origin = provenance(config, seed=self.seed, seconds=time.perf_counter() - began)
        return LeaderCurve(points=tuple(points), provenance=origin)

    def write(self, result: "LeaderCurve", folder: str | Path, *, command: str = "", overwrite: bool = False) -> None:
        """Write the table, the figure and the page; see :func:`.curve.write_curve`."""
        from tokendyn.studies.sentiment.curve import write_curve

        write_curve(result, folder, command=command, source=self.reviews.name, overwrite=overwrite)

    def summary(self, result: "LeaderCurve") -> Mapping[str, Any]:
        """Return the points."""
        return {"points": list(result.points)}

    def advice(self, folder: Path) -> str:
        """Return where the page is, and how to train one of the models."""
        return f"{super().advice(folder)}; train a point: tokendyn sentiment train --transfer 1 --leaders N"

    @cached_property
    def _targets(self) -> list[float]:
        wrong = [target for target in self.leaders if not target > 0]
        if wrong or not self.leaders:
            raise BadInputError(f"`leaders` must be one or more positive numbers, got {wrong or 'none'}")
        return sorted(set(self.leaders))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation(Experiment["FaithfulnessReport"]):
    """Measure how faithful explanations are: words taken out, words left alone, time, stability.

    Parameters
    ----------
    reviews
        CSV, TSV or JSONL (also .gz) with a column of texts, best of texts that the model has not learned from.
    model
        Folder that train wrote.
    explainers
        Names with commas between: leaders, contributions, value, coefficients (with `learned`), lime, shap, loo,
        random. For lime and shap: pip install tokendyn[bench].
    texts
        Most texts, drawn at random from those that have a word.
    text
        Name of the column of texts.
    learned
        The labelled texts that the model has learned from. With them, a linear model learns from the same texts, whose
        coefficients are explained beside; and leaders and coefficients are compared between two trainings on 90 % of
        them.
    label
        Name of the column of labels of these.
    samples
        Variants of a text that LIME and SHAP may each have judged.
    seeds
        Number of seeds with which explanations are made, to see how stable they are.
    seed
        First of these seeds, and seed of the draw of texts.
    """

    command: ClassVar[str] = "sentiment evaluate"
    unit: ClassVar[str] = "explanations"

    reviews: Path = dataclasses.field(kw_only=False)
    model: Path
    explainers: str = "leaders,loo,random"
    texts: int = 100
    text: str = "text"
    learned: Path | None = None
    label: str = "label"
    samples: int = 5000
    seeds: int = 2
    seed: int = 0

    def check(self, checkpoint: "Path | str | None" = None) -> Sequence[str]:
        """Check model, texts, explainers and settings; return the number of texts to explain."""
        self._check()
        return (f"would explain {len(self._drawn)} of {len(self._data)} texts by {', '.join(self._names)}",)

    def run(
        self,
        *,
        progress: ProgressCallback | None = None,
        checkpoint: "Checkpoint | Path | str | None" = None,
        budget: float | None = None,
    ) -> "FaithfulnessReport":
        """Explain the texts that are drawn, and measure the explanations.

        Parameters
        ----------
        progress
            Called with the number of explanations done, and the total number.
        checkpoint, budget
            Not used.
        """
        from tokendyn.studies.sentiment.faithfulness import evaluate_explanations

        self._check()
        return evaluate_explanations(
            self._classifier, list(self._drawn.texts), self._names, seed=self.seed, seeds=self.seeds,
            samples=self.samples, learned=self._learned, progress=progress,
        )  # fmt: skip

    def write(
        self, result: "FaithfulnessReport", folder: str | Path, *, command: str = "", overwrite: bool = False
    ) -> None:
        """Write the tables, the figure and the page; see :func:`.faithfulness_page.write_evaluation`."""
        from tokendyn.studies.sentiment.faithfulness_page import write_evaluation

        write_evaluation(result, folder, command=command, notes=f"{self._notes()}.", overwrite=overwrite)

    def summary(self, result: "FaithfulnessReport") -> Mapping[str, Any]:
        """Return the table, a row an explainer."""
        record = result.to_dict()
        return {"table": record["table"], "provenance": record["provenance"]}

    def describe(self, result: "FaithfulnessReport") -> Sequence[str]:
        """Return the table in lines."""
        return [
            f"{self._notes()}; mean over them:",
            f"{'explainer':>13}  comprehensiveness  sufficiency   size  seconds  retrained: same words, same first",
            *(
                f"{row['explainer']:>13}  {row['comprehensiveness']:17.3f}  {row['sufficiency']:11.3f}  "
                f"{row['size']:5.1f}  {row['seconds']:7.2g}  "
                f"{_share(row['retrained'])}, {_share(row['retrained_first'])}"
                for row in result.table().to_dict(orient="records")
            ),
        ]

    def _check(self) -> None:
        """Refuse settings before files are read, and explainers before anything is explained."""
        from tokendyn.rivals.sentiment.explainers import check_explainers
        from tokendyn.studies.sentiment.faithfulness import check_settings

        if self.texts < 1:
            raise BadInputError(f"`texts` must be at least 1, got {self.texts}")
        check_settings(self.seed, self.seeds, self.samples)
        check_explainers(self._names, self._classifier, rival=self._learned is not None)

    def _notes(self) -> str:
        """Return where the texts come from."""
        wordless = len(self._data) - len(self._usable)
        left_out = f"; {wordless} without a word were left out" if wordless else ""
        return f"{len(self._drawn)} texts drawn from {len(self._data)} of {self.reviews.name}{left_out}"

    @property
    def _names(self) -> list[str]:
        return [name.strip() for name in self.explainers.split(",") if name.strip()]

    @cached_property
    def _classifier(self) -> "LeaderClassifier":
        from tokendyn.sentiment.store import load

        return load(self.model)

    @cached_property
    def _learned(self) -> "LabelledTexts | None":
        from tokendyn.data.texts import read_texts

        return None if self.learned is None else read_texts(self.learned, text=self.text, label=self.label)

    @cached_property
    def _data(self) -> "LabelledTexts":
        from tokendyn.data.texts import read_texts

        return read_texts(self.reviews, text=self.text, label=None)

    @cached_property
    def _usable(self) -> list[int]:
        """The numbers of the texts that have a word."""
        from tokendyn.sentiment.tokenise import find_words

        usable = [number for number, text in enumerate(self._data.texts) if find_words(text)]
        if not usable:
            raise BadInputError(f"{self.reviews}: none of its {len(self._data)} texts has a word to explain")
        return usable

    @cached_property
    def _drawn(self) -> "LabelledTexts":
        import numpy as np

        drawn = np.random.default_rng(self.seed).permutation(self._usable)[: self.texts]
        return self._data.take(np.sort(drawn))


def _share(value: float) -> str:
    """Return a share in per cent, a dash where it was not measured."""
    return "–" if math.isnan(value) else f"{value:.0%}"
