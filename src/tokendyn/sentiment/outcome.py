"""What the experiments of this room return: a trained classifier with its measures, and an ONNX file in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tokendyn.results import Bars, Curves, Result
from tokendyn.results.face import Numbers
from tokendyn.sentiment.distilling import Fidelity

if TYPE_CHECKING:
    import pandas as pd

    from tokendyn.data.labelled_texts import LabelledTexts
    from tokendyn.sentiment.classifier import LeaderClassifier

#: At most about as many held-out texts are explained, to see how exactly the contributions add up.
_SAMPLE = 1000


@dataclass(frozen=True, kw_only=True)
class TrainedModel(Result):
    """A classifier that was just trained, and what was measured.

    Attributes
    ----------
    model
        The classifier: ``predict``, ``explain``, ``save``.
    measured
        What :func:`held_out` says of texts that were held out, if any were, and how many texts repeat.
    source
        Name of the file of the texts.
    """

    model: "LeaderClassifier" = field(repr=False)
    measured: Mapping[str, Any]
    source: str = ""

    @property
    def status(self) -> str:
        """``"completed"``, ``"budget"`` or ``"diverged"``: how the training ended."""
        return str(self.model.training_["status"])

    def summary(self) -> dict[str, Any]:
        """Return the record of the training with its epochs, and the measures."""
        return {**self.model.training_, **self.measured}

    def describe(self) -> list[str]:
        """Return how the training ended, and how many texts are labelled right."""
        training = self.model.training_
        ends = {
            "budget": ["the budget ended the training; the model is the best so far"],
            "diverged": ["the training left the finite numbers; the model is the best one before that"],
        }
        if "epochs" not in training:
            lines = self._describe_fit(training)
            return lines + self._describe_test()
        lines = [
            *ends.get(self.status, []),
            f"trained on {training['training_texts']} texts in {training['cpu_seconds']:.1f} s of processor time; "
            f"{training['best']['validation_accuracy']:.1%} of {training['validation_texts']} validation texts right",
        ]
        return lines + self._describe_test()

    def _describe_fit(self, training: Mapping[str, Any]) -> list[str]:
        """Return what a fit at transfer 0 did."""
        names = {"phantom": "phantom", "floor": "floor", "marginal": "marginal", "prior": "prior_strength"}
        chosen = ", ".join(f"{name} {training[key]:g}" for name, key in names.items())
        lines = [
            f"learned {training['active_words']} words and n-grams from {training['texts']} texts in "
            f"{training['cpu_seconds']:.1f} s of processor time",
            f"{chosen}, by held-out losses of {len(training['tried'])} settings",
        ]
        if "fidelity" in training:
            lines.append(Fidelity(**training["fidelity"]).describe())
        if training["status"] == "budget":
            lines.insert(0, "the budget ended the search for settings; all texts were learned from all the same")
        return lines

    def _describe_test(self) -> list[str]:
        """Return what was measured on texts held out, if any were."""
        measured = self.measured
        if "test_accuracy" not in measured:
            return []
        return [
            f"accuracy on {measured['test_texts']} texts held out: {measured['test_accuracy']:.1%}, "
            f"with {measured['mean_leaders']:.1f} leaders a text",
            *(
                f"published for halves of this size, those of IMDb: {name} {share:.2f} % (Wang and Manning 2012)"
                for name, share in measured.get("published", {}).items()
            ),
        ]

    def table(self) -> "pd.DataFrame":
        """Return two rows an epoch, loss and accuracy on the validation texts; at transfer 0 one for each setting."""
        import pandas as pd

        training = self.model.training_
        return pd.DataFrame(training["epochs"] if "epochs" in training else training["tried"])

    def picture(self) -> Curves:
        """Return the accuracy on the validation texts over the epochs; at transfer 0 the loss over the settings."""
        if "epochs" not in self.model.training_:
            losses = np.array([row["loss"] for row in self.model.training_["tried"]])
            return Curves(
                np.arange(1.0, len(losses) + 1), {"held-out loss": losses}, "setting, in the order of the search",
                "log-loss on texts held out",
            )  # fmt: skip
        accuracy = np.array([row["validation_accuracy"] for row in self.model.training_["epochs"]])
        return Curves(
            x=np.arange(1.0, len(accuracy) + 1), curves={"validation accuracy": accuracy},
            xlabel="judgement, two an epoch", ylabel="share of validation texts labelled right",
        )  # fmt: skip

    def save(self, folder: str | Path, *, command: str = "", overwrite: bool = False) -> None:
        """Write the classifier with its measures; :func:`tokendyn.load` returns the classifier."""
        from tokendyn.sentiment.store import save

        measured = {**self.measured, "source": self.source}
        save(self.model, folder, overwrite=overwrite, command=command, measured=measured)


def held_out(model: "LeaderClassifier", test: "LabelledTexts") -> dict[str, float]:
    """Return accuracy and mean number of leaders on labelled texts, and how exactly the contributions add up."""
    predicted, _, leaders = model.predict_all(test.texts)
    sample = test.texts[:: max(1, len(test) // _SAMPLE)]
    gaps = []
    for text, logit in zip(sample, model.decision_function(sample), strict=True):
        why = model.explain(text)
        total = why.bias + why.residual + sum(leader.contribution for leader in why.leaders)
        gaps.append(abs(total - np.max(logit)))
    return {
        "test_accuracy": float((predicted == np.array(test.labels)).mean()),
        "mean_leaders": float(leaders.mean()),
        "largest_sum_error": float(max(gaps)),
    }


@dataclass(frozen=True, kw_only=True)
class OnnxScoring(Numbers):
    """The scoring path of a classifier as an ONNX graph.

    Attributes
    ----------
    content
        The bytes of the file.
    classes
        The labels, in the order of the probabilities.
    tokens
        How many tokens the graph knows.
    """

    content: bytes = field(repr=False)
    classes: tuple[Any, ...]
    tokens: int

    def summary(self) -> dict[str, Any]:
        """Return classes, tokens, names of inputs and outputs, and the size of the file."""
        return {
            "classes": list(self.classes), "tokens": self.tokens, "inputs": ["words", "counts"],
            "outputs": ["probabilities", "logits"], "bytes": len(self.content),
        }  # fmt: skip

    def describe(self) -> list[str]:
        """Return the size of the file and what is in it."""
        size = len(self.content) / 1000
        return [f"{self.tokens} tokens, {size:,.0f} kB; the metadata hold the tokens and how inputs are made"]

    def table(self) -> "pd.DataFrame":
        """Return the numbers as one row."""
        import pandas as pd

        return pd.DataFrame([{"tokens": self.tokens, "classes": len(self.classes), "bytes": len(self.content)}])

    def picture(self) -> Bars:
        """Return the size of the file in kB."""
        return Bars(names=["file"], values=[len(self.content) / 1000], xlabel="kB")

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the file, completely or not at all.

        Raises
        ------
        OutputError
            If the file exists and ``overwrite`` is not set, or cannot be written.
        """
        from tokendyn.runs.folders import check_free, new_file

        check_free(path, overwrite=overwrite)
        with new_file(path) as temporary:
            temporary.write_bytes(self.content)
