"""A built transformer, a check of sequences and a verification as pages."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tokendyn.errors import TokendynError
from tokendyn.exact.store import SCHEMA, SCHEMA_VERSION, load
from tokendyn.exact.transformer import ExactTransformer
from tokendyn.runs.files import read_json
from tokendyn.show import KeyFigures, Picture, Report, Table, Text, closing, prose
from tokendyn.show.report import Section
from tokendyn.words import counted


def saved_report(folder: Path, pictures: Path) -> Report:
    """Return the page of a saved transformer; all its sequences are run again for it."""
    model = load(folder)
    record = read_json(folder / "model.json", schema=SCHEMA, version=SCHEMA_VERSION)
    return Report(
        "A transformer in closed form",
        f"{model.stats.sequences} labelled sequences, without training",
        [*model_sections(model), *closing(record.get("command", ""), record["provenance"])],
    )


def model_sections(model: ExactTransformer) -> list[Section]:
    """Return the sections of a page: sizes, certificate, a run of all sequences, and one path."""
    stats, done = model.stats, model.certificate.verify()
    shown = ("strategy", "sequences", "labels", "blocks", "width", "nonzeros", "queries")
    rows = asdict(stats)
    first = model.targets[model.sequences.starts[:-1], 0]
    counts = Counter(str(model.labels[int(code)]) for code in first) if model.targets.shape[1] == 1 else Counter()
    verdict = "gives every one its label" if done.passed else "does NOT give every one its label"
    summary = (
        f"A transformer of {counted(stats.blocks, 'block')} and {stats.nonzeros:,} weights, zeros apart, {verdict}: "
        f"{counted(stats.sequences, 'sequence')} with {counted(stats.labels, 'label')}. "
        "It was written down, not trained."
    )
    sections: list[Section] = [
        Text(summary, alarm=not done.passed),
        KeyFigures({**{name: rows[name] for name in shown}, "verified": "all right" if done.passed else "NOT all"}),
        Text(str(done), "Every sequence, run again now"),
        *_path(model),
        Table([{"quantity": name, "value": value} for name, value in rows.items()], "What it is made of"),
        Table(
            _rows(model.certificate.to_dict()),
            "Certificate",
            note="delta_min >= needed makes every label exact; every token may move by radius_tokens, in its own unit.",
        ),
    ]
    if counts and sum(counts.values()) == stats.sequences:
        sections.append(
            Table([{"label": name, "sequences": count} for name, count in sorted(counts.items())], "Labels")
        )
    return sections


def verification_report(record: Mapping[str, Any]) -> Report:
    """Return the page of the output of ``tokendyn classify verify --json``."""
    numbers = {
        "passed": record["passed"],
        "sequences": record["sequences"],
        "wrong": len(record["wrong"]),
        "largest difference": record["largest_difference"],
        "arithmetic": record["arithmetic"],
        "attention": record["attention"],
        "seconds": record["seconds"],
    }
    if record.get("against"):
        numbers["against"] = record["against"]
    if record.get("bits"):
        numbers["bits of the weights that are enough"] = record["bits"]
    sections: list[Section] = [KeyFigures(numbers)]
    for name, title in (
        ("wrong", "Sequences with a wrong label"),
        ("unknown", "Sequences that the model does not know"),
    ):
        if record.get(name):
            sections.append(Table([{"sequence": sequence} for sequence in record[name]], title))
    sections.append(Table(_rows(record["certificate"]), "Certificate"))
    sections += closing(record["command"], record["provenance"])
    return Report("Every sequence of a transformer, run again", str(record["source"]), sections)


def check_report(record: Mapping[str, Any]) -> Report:
    """Return the page of the output of ``tokendyn classify check --json``."""
    shown = ("ok", "sequences", "tokens", "dim", "shortest", "longest", "distinct_tokens", "duplicates")
    pairs = [{"one": item, "other": other} for item, other in record["contradictions"]]
    labels = [{"label": name, "sequences": count} for name, count in record["labels"].items()]
    sections: list[Section] = [KeyFigures({name: record[name] for name in shown}), Table(labels, "Labels")]
    if pairs:
        sections.append(Table(pairs, "The same sequence with different labels"))
    sections += closing(record["command"], record["provenance"])
    return Report("Labelled sequences, before building", str(record["source"]), sections)


def _path(model: ExactTransformer) -> list[Section]:
    """Return why the first sequence has its label."""
    try:
        why = model.explain(_first(model))
    except TokendynError:  # sequence to sequence has no label to explain
        return []
    caption = (
        "Notice the orange intervals: in each lies a token of the sequence, a dot, so that the answer is yes. "
        "The answers, from the top down, are the path to the label."
    )
    alternative = "The questions that the first sequence is asked"
    if not why.questions:
        caption, alternative = (
            "Notice the longest bars: these tokens decide.",
            "What each token of the first sequence does",
        )
    return [Picture(why.figure(), alternative, caption, "The first sequence"), Text(prose(why.describe()))]


def _first(model: ExactTransformer) -> Any:
    """Return the first sequence, without its positions, which are added when it is read."""
    tokens = model.sequences.tokens[: int(model.sequences.starts[1])]
    return tokens[:, : tokens.shape[1] - model.positions]


def _rows(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"quantity": name, "value": _short(value)} for name, value in values.items()]


def _short(value: Any) -> Any:
    """Return a direction as text, its first numbers if it is long."""
    if not isinstance(value, list):
        return value
    more = f", ... ({counted(len(value), 'coordinate')})" if len(value) > 8 else ""
    return ", ".join(f"{number:.6g}" for number in value[:8]) + more
