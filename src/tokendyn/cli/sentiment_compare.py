"""``tokendyn sentiment compare``: the classifier beside its rivals on one split of the user's file."""

import time
from pathlib import Path
from typing import Any

from tokendyn.cli.output import announce, write_json
from tokendyn.cli.progress import progress
from tokendyn.cli.repeat import repeated
from tokendyn.cli.sentiment import announce_repeats
from tokendyn.errors import BadInputError
from tokendyn.runs.files import check_free


def compare(
    reviews: Path,
    /,
    *,
    out: Path,
    text: str = "text",
    label: str = "label",
    active_words: int = 8000,
    ngrams: int = 1,
    negation: bool = False,
    leaders: float = 5.0,
    published: bool = False,
    published_epochs: int = 4,
    test_fraction: float = 0.2,
    seed: int = 0,
    overwrite: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Compare the classifier with linear models on TF-IDF and a fastText-like model, on one split of a file.

    The rivals choose their settings on a tenth of the training texts. Texts that are the same, up to case and
    white space, stay on one side.

    Parameters
    ----------
    reviews
        CSV, TSV or JSONL (also .gz), UTF-8, with a column of texts and one of labels.
    out
        Folder to write: table.csv, comparison.json, comparison.png, report.html. It must not exist.
    text, label
        Names of the columns.
    active_words, ngrams, negation, leaders
        As for train.
    published
        The model as published takes part too; two classes only.
    published_epochs
        Its epochs.
    test_fraction
        Share of the texts that all are measured on.
    seed
        Seed of every random choice.
    overwrite
        Replace the folder when it exists.
    dry_run
        Read and check the texts, say what would be done, and stop.
    json
        Write the table as one JSON object to standard output.
    """
    from tokendyn.data.collections import split_texts
    from tokendyn.data.texts import read_texts
    from tokendyn.runs.provenance import provenance
    from tokendyn.studies.sentiment.comparison import check_contenders, compare_classifiers, usual_contenders

    if not 0 < test_fraction < 1:
        raise BadInputError(f"--test-fraction must be between 0 and 1, got {test_fraction}")
    check_free(out, overwrite=overwrite, inputs=[reviews])
    data = read_texts(reviews, text=text, label=label)
    data.check_classes()
    parts = split_texts(data, test_fraction, seed)
    parameters = {"active_words": active_words, "ngrams": ngrams, "negation": negation, "leaders": leaders}
    contenders = usual_contenders(published=published, published_epochs=published_epochs, **parameters)
    check_contenders(parts.training, parts.test, contenders)
    announce_repeats(parts)
    if dry_run:
        names = "; ".join(contender.name for contender in contenders)
        announce(f"would train {names} on {len(parts.training)} texts, test on {len(parts.test)}, and write {out}")
        return 0
    began = time.perf_counter()
    with progress("classifiers") as report:
        found = compare_classifiers(parts.training, parts.test, contenders, seed=seed, progress=report)
    config: dict[str, Any] = {**parameters, "published": published, "test_fraction": test_fraction}
    made = provenance(config, seed=seed, seconds=time.perf_counter() - began)
    from tokendyn.studies.sentiment.comparison_page import write_comparison

    command = repeated()
    write_comparison(found, out, command=command, made=made, source=reviews.name, overwrite=overwrite)
    if json:
        write_json({"table": found.rows(), "provenance": made, "out": str(out)})
    announce(f"{'':30}  accuracy (95 % interval)  leaders  CPU s  texts/s  model, kB")
    for row in found.rows():
        count = "–" if row["leaders"] is None else f"{row['leaders']:.1f}"
        announce(
            f"{row['classifier']:30}  {row['accuracy']:8.1%} ({row['low']:.1%} to {row['high']:.1%})  {count:>7}  "
            f"{row['cpu_seconds']:5.1f}  {row['texts_a_second']:7,.0f}  {row['model_bytes'] / 1000:9,.0f}"
        )
    announce(f"wrote {out}; open {out / 'report.html'}")
    return 0
