"""A trained classifier and an explanation as pages."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure

from tokendyn.results import Bars
from tokendyn.runs.files import read_json
from tokendyn.sentiment.classifier import LeaderClassifier
from tokendyn.sentiment.frozen import SCHEMA, SCHEMA_VERSION
from tokendyn.sentiment.store import load
from tokendyn.show import KeyFigures, Picture, Report, Table, Text, closing
from tokendyn.show.axes import quiet
from tokendyn.show.palette import INK, LEADER_COLOURS, NEUTRAL
from tokendyn.show.report import Section, shown_value
from tokendyn.words import counted, percent

_DECIDES = (
    "Transfer 0: the verdict is a sum over all words and n-grams of a text, each with its own learned value. Negators, "
    "contrasts and intensifiers lead the words beside them and scale what these add, and so do, learned from many "
    "texts, other frequent words. The other leaders explain and do not decide: they gather the strong words into "
    "groups, and groups, other words and bias add up to the logit."
)
_LEADS = "Transfer 1, the published model: words move to their leaders, and leaders speak for those that follow them."
#: Words of each class that a page shows, and words that scale their neighbours.
_WORDS, _NEIGHBOURS = 15, 10


def saved_model_report(folder: Path, pictures: Path) -> Report:
    """Return the page of a saved classifier: its accuracy, its training, its strongest words."""
    classifier = load(folder)
    record = read_json(folder / "model.json", schema=SCHEMA, version=SCHEMA_VERSION)
    training, measured = record["training"], record.get("measured", {})
    linear = classifier.transfer == 0
    numbers: dict[str, object] = {
        "texts": training["texts"],
        "classes": ", ".join(map(str, classifier.classes_[:4])),
        "words with a value": training["active_words"],
        **_reached(training),
        **_scaled(classifier),
        "processor seconds": training["cpu_seconds"],
    }
    if "test_accuracy" in measured:
        numbers |= {
            "held-out accuracy": percent(measured["test_accuracy"]),
            "held-out texts": measured["test_texts"],
            "leaders in a text": f"{measured['mean_leaders']:.1f}",
        }
    if "fidelity" in training:
        close = training["fidelity"]
        numbers |= {
            "same verdict as the distilled model": percent(close["same_verdict"]),
            "texts held out": close["texts"],
            "divergence, nats": f"{close['divergence']:.3g}",
            "calibration error": f"{close['calibration_error']:.3g}",
        }
    sections: list[Section] = [
        Text(_summary(training, measured)),
        KeyFigures(numbers),
        Text(_DECIDES if linear else _LEADS, "What decides"),
        _settings_table(training) if linear else _training_picture(training),
    ]
    if linear and len(classifier.words_):
        sections.append(_words_picture(classifier))
    if len(classifier.classes_) == 2:
        sections.append(Table(strongest_words(classifier), "The words that weigh most, by class"))
    if linear and classifier.neighbours_.words:
        sections += [_neighbours_table(classifier, "behind"), _neighbours_table(classifier, "before")]
    rest = [
        {"quantity": name.replace("_", " "), "value": value} for name, value in measured.items() if name != "source"
    ]
    if rest:
        sections.append(Table(rest, "Measured"))
    sections += closing(record.get("command", ""), record["provenance"])
    return Report(
        title="A classifier with leaders for reasons" if linear else "A classifier that decides at hardmax",
        subtitle=str(measured.get("source", folder.name)),
        sections=sections,
    )


def _summary(training: Mapping[str, Any], measured: Mapping[str, Any]) -> str:
    """Return the result of a training in two sentences."""
    learned = f"A classifier that learned from {counted(training['texts'], 'text')}."
    if "fidelity" in training:
        close = training["fidelity"]
        return (
            f"{learned} Of {counted(close['texts'], 'held-out text')}, {percent(close['same_verdict'])} have "
            "the verdict of the distilled model."
        )
    if "test_accuracy" not in measured:
        return f"{learned} No texts were held out, so its accuracy on new texts is unknown."
    return (
        f"{learned} Of {counted(measured['test_texts'], 'held-out text')} it labels "
        f"{percent(measured['test_accuracy'])} right, with {measured['mean_leaders']:.1f} leaders in a text on average."
    )


def _reached(training: Mapping[str, Any]) -> dict[str, object]:
    """Return the result of a training: its best epoch, or its chosen settings."""
    if "best" in training:
        return {"validation accuracy": percent(training["best"]["validation_accuracy"])}
    names = ("phantom", "floor", "marginal", "prior_strength")
    chosen = {name: training[name] for name in names if name in training}
    loss = next((row["loss"] for row in training["tried"] if all(row[name] == chosen[name] for name in chosen)), None)
    doubt = (
        {"chance of an error that a very short text keeps": f"{training['doubt']:.1%}"} if "doubt" in training else {}
    )
    return {
        "phantom words": chosen["phantom"],
        "held-out log-loss, with pieces": "–" if loss is None else f"{loss:.3f}",
        **doubt,
    }


def _scaled(classifier: LeaderClassifier) -> dict[str, object]:
    """Return what modifiers and the end of a text do to the weight of a word."""
    if classifier.transfer != 0:
        return {}
    rows: dict[str, object] = {}
    of, near = classifier.modifiers_, classifier.neighbours_
    if not of.idle:
        rows = {
            "weight behind a negator": f"{1 + of.negator:.2f}",
            "weight behind an intensifier": f"{1 + of.intensifier:.2f}",
            "weight before a contrast": f"{1 + of.before_contrast:.2f}",
            "weight behind a contrast": f"{1 + of.after_contrast:.2f}",
        }
    return rows | ({"weight of a last of many sentences": f"{1 + 8 * near.closing:.2f}"} if near.closing else {})


def _neighbours_table(classifier: LeaderClassifier, side: Literal["behind", "before"]) -> Table:
    """Return the words that scale the words on one side of them most."""
    words = classifier.neighbours_.words
    numbers = getattr(classifier.neighbours_, side)
    order = np.argsort(numbers, kind="stable").tolist()
    pairs = zip(order[: -_NEIGHBOURS - 1 : -1], order[:_NEIGHBOURS], strict=True)
    rows = [
        {
            f"words {side} it count more": words[more], "by": f"{numbers[more]:+.2f}",
            f"words {side} it count less": words[less], "by ": f"{numbers[less]:+.2f}",
        }
        for more, less in pairs
    ]  # fmt: skip
    note = f"Added to the weight 1 of each of the up to three words {side} it in its sentence."
    return Table(rows, f"Words that scale the words {side} them", note=note)


def _settings_table(training: Mapping[str, Any]) -> Table:
    """Return the settings that were tried, with their losses on held-out texts."""
    rows = [{name.replace("_", " "): value for name, value in row.items()} for row in training["tried"]]
    return Table(
        rows,
        "Settings tried",
        note="Log-loss on texts that a fit did not see, and on random pieces of the long ones: pieces are harder.",
    )


def _training_picture(training: Mapping[str, Any]) -> Picture:
    """Return the curves of the training of the published model."""
    return Picture(
        training_figure(training["epochs"]),
        "Loss and accuracy on the validation texts over the epochs",
        "Two judgements an epoch of the start, then of the training through the hardmax layers.",
        "Training",
    )


def _words_picture(classifier: LeaderClassifier) -> Picture:
    """Return the words with the largest weight in all texts together, each with the class that it supports."""
    values = classifier.values_
    strength = np.abs(values).max(axis=1) * np.sqrt(classifier.grouping_.frequencies)
    order = np.argsort(-strength, kind="stable")[:_WORDS]
    two = values.shape[1] == 1
    towards = (values[order, 0] > 0).astype(int) if two else np.abs(values[order]).argmax(axis=1)
    sign = np.where(values[order, 0] > 0, 1.0, -1.0) if two else np.sign(values[order, towards])
    pairs = zip(order.tolist(), towards.tolist(), strict=True)
    names = [f"{classifier.words_[word]} ({classifier.classes_[side]})" for word, side in pairs]
    figure = Figure(figsize=(7.0, 0.6 + 0.26 * len(order)), facecolor="white", layout="constrained")
    axes = figure.subplots()
    Bars(names, (sign * strength[order]).tolist()).draw(axes)
    quiet(axes, "value times the root of the number of texts")
    return Picture(
        figure,
        "The words and n-grams that weigh most in all texts together",
        "Bars to the left speak against the class in brackets, or for the first of two classes.",
        "Strongest words",
    )


def strongest_words(classifier: LeaderClassifier) -> list[dict[str, object]]:
    """Return the words of the largest value for each of two classes, strongest first."""
    values, what = classifier._gain * classifier.values_[:, 0], "value"
    if classifier.transfer == 0:  # a rare word may have a large value without effect on the texts
        values, what = classifier.values_[:, 0] * np.sqrt(classifier.grouping_.frequencies), "evidence"
    order = np.argsort(values, kind="stable")
    low, high = map(str, classifier.classes_)
    count = min(_WORDS, len(order) // 2)
    return [
        {
            high: classifier.words_[up], f"{what}, {high}": float(values[up]),
            low: classifier.words_[down], f"{what}, {low}": float(values[down]),
        }
        for up, down in zip(order[::-1][:count], order[:count], strict=True)
    ]  # fmt: skip


def training_figure(epochs: list[dict[str, Any]]) -> Figure:
    """Draw loss and accuracy on the validation texts; the stage through the hardmax layers is shaded."""
    figure = Figure(figsize=(8.0, 3.2), facecolor="white", layout="constrained")
    for axes, name, title in zip(
        figure.subplots(1, 2), ("validation_loss", "validation_accuracy"), ("Loss", "Accuracy"), strict=True
    ):
        axes.plot(range(1, len(epochs) + 1), [row[name] for row in epochs], marker="o", color=LEADER_COLOURS[0])
        hard = [place for place, row in enumerate(epochs, start=1) if row["stage"] == "hardmax"]
        if hard:
            axes.axvspan(hard[0] - 0.5, hard[-1] + 0.5, color=NEUTRAL, alpha=0.15, linewidth=0)
        axes.set_title(f"{title} on validation texts", fontsize=9.5, color=INK)
        axes.set_xlabel("judgement (shaded: through hardmax)", fontsize=9)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def explanation_report(record: Mapping[str, Any]) -> Report:
    """Return the page of the file from ``tokendyn sentiment explain --json``: verdict, leaders, contributions."""
    leaders = [
        {name: row[name] for name in ("word", "own", "contribution", "followers", "mass", "value") if name in row}
        for row in record["leaders"]
    ]
    words = [{name: row[name] for name in ("word", "contribution")} for row in record["contributions"]]
    total = f"bias {shown_value(record['bias'])}, residual {shown_value(record['residual'])}"
    return Report(
        title="Why this verdict",
        subtitle=f"judged {record['label']}",
        sections=[
            KeyFigures({"label": record["label"], "probability": record["probability"], "logit": record["logit"]}),
            Text(record["text"], "The text"),
            Table(leaders, "Leaders", note=f"Their contributions add up to the logit, with {total}."),
            Table(words, "Words"),
            *([Text(record["note"])] if record["note"] else []),
            *closing(record["command"], record["provenance"]),
        ],
    )
