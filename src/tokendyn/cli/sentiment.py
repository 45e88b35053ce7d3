"""``tokendyn sentiment``: train, predict, explain."""

import csv
import math
import re
import sys
import time
from collections import Counter
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from cyclopts import Parameter

from tokendyn.cli.output import announce, printable, write_json
from tokendyn.cli.progress import console, looked_at, progress, rehearse, resumable
from tokendyn.cli.repeat import repeated
from tokendyn.cli.values import heading_of, seconds_of
from tokendyn.errors import BadInputError
from tokendyn.runs.checkpoint import check_checkpoint
from tokendyn.runs.files import check_free, new_file
from tokendyn.runs.table import safe_cell

if TYPE_CHECKING:
    from tokendyn.data.collections import Split
    from tokendyn.data.labelled_texts import LabelledTexts
    from tokendyn.sentiment import LeaderClassifier

#: Of what ``explain --json`` writes.
EXPLANATION_SCHEMA = "tokendyn-explanation"
#: A file, a text or - for standard input.
_Source = Parameter(allow_leading_hyphen=True)
#: Longest text that ``explain`` reads from a file or from standard input, in characters.
MAX_CHARACTERS = 2**24


def train(
    reviews: Path,
    /,
    *,
    out: Path,
    text: str = "text",
    label: str = "label",
    active_words: int = 8000,
    ngrams: int = 1,
    negation: bool = False,
    class_weight: str | None = None,
    leaders: float = 5.0,
    patience: int | None = None,
    layers: int = 8,
    alpha: float = 1.0,
    epochs: int = 8,
    test_fraction: float = 0.0,
    seed: int = 0,
    budget: str | None = None,
    checkpoint: Path | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Train a classifier that decides at hardmax, and write it as a model folder.

    Parameters
    ----------
    reviews
        CSV, TSV or JSONL (also .gz), UTF-8, with a column of texts and one of labels.
    out
        Folder to write the model to. It must not exist.
    text, label
        Names of the columns.
    active_words
        At most so many words carry a value; all others stand at the neutral pole. 20000 suit --ngrams 2.
    ngrams
        Runs of up to so many adjacent words are tokens too, such as "not bad".
    negation
        Whether a word after a negator is another token, such as "not_good".
    class_weight
        "balanced" makes errors on a rare class cost more; all texts weigh the same by default.
    leaders
        Mean number of leaders a text to aim at.
    patience
        End a stage of the training after so many epochs without a better one.
    layers, alpha
        Depth and step parameter of the attention.
    epochs
        Epochs of training through the hardmax layers.
    test_fraction
        Share of the texts that is held out and only used to report the accuracy at the end. Texts that are the
        same, up to case and white space, stay on one side.
    seed
        Seed of every random choice.
    budget
        Begin no further epoch after so long, such as 90s or 10m, and write the best so far.
    checkpoint
        Keep the state of the training in this .safetensors file, and go on from it when it is there; it is removed
        once the training is complete.
    overwrite
        Replace the model folder when it exists.
    dry_run
        Read and check the texts, say what would be done, and stop.
    json
        Write the training record as one JSON object to standard output.
    """
    from tokendyn.data.collections import split_texts
    from tokendyn.data.texts import read_texts
    from tokendyn.sentiment import LeaderClassifier, save

    if not 0 <= test_fraction < 1:
        raise BadInputError(f"--test-fraction must be in [0, 1), got {test_fraction}")
    check_free(out, overwrite=overwrite, inputs=[reviews, checkpoint])
    check_checkpoint(checkpoint, out)
    data = read_texts(reviews, text=text, label=label)
    data.check_classes()
    parts = split_texts(data, test_fraction, seed)
    training, test = parts.training, parts.test
    seconds = math.inf if budget is None else seconds_of(budget)
    model = LeaderClassifier(
        layers=layers,
        alpha=alpha,
        active_words=active_words,
        ngrams=ngrams,
        negation=negation,
        class_weight=class_weight,
        leaders=leaders,
        patience=patience,
        epochs=epochs,
        random_state=seed,
    )
    if dry_run:
        kept = looked_at(checkpoint)
        rehearse(lambda begun: model.fit(training.texts, training.labels or (), progress=begun, checkpoint=kept))
        announce_repeats(parts)
        announce(f"would train on {len(training)} texts, test on {len(test)}, and write {out}")
        return 0
    with resumable(checkpoint) as kept, progress("epochs") as report:
        model.fit(
            training.texts, training.labels or (), progress=lambda epoch, of, _: report(epoch, of),
            budget=seconds, checkpoint=kept,
        )  # fmt: skip
    measured: dict[str, Any] = {"repeated_texts": parts.repeated, "moved_texts": parts.moved}
    if len(test):
        measured |= {"test_texts": len(test)} | evaluate(model, test)
    record = model.training_ | measured
    command = repeated()
    save(model, out, overwrite=overwrite, command=command, measured=measured | {"source": reviews.name})
    if kept is not None and record["status"] == "completed":
        kept.remove()
    if json:
        write_json({**record, "out": str(out)})
    best = model.training_["best"]
    if record["status"] == "budget":
        announce("the budget ended the training; the model is the best so far")
    if record["status"] == "diverged":
        announce("the training left the finite numbers; the model is the best one before that")
    announce(
        f"trained on {record['training_texts']} texts in {record['cpu_seconds']:.1f} s of processor time; "
        f"{best['validation_accuracy']:.1%} of {record['validation_texts']} validation texts right"
    )
    announce_repeats(parts)
    if len(test):
        announce(
            f"accuracy on {len(test)} texts held out: {record['test_accuracy']:.1%}, "
            f"with {record['mean_leaders']:.1f} leaders a text"
        )
    announce(f'wrote {out}; ask it: tokendyn sentiment explain "a text" --model {out}')
    return 1 if record["status"] == "diverged" else 0


def predict(
    reviews: Annotated[Path, _Source],
    /,
    *,
    model: Path,
    out: Path | None = None,
    text: str = "text",
    overwrite: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Label every text of a file: CSV in, CSV out, with probability and number of leaders.

    Files of any size are read and written in parts; --out appears when it is whole. A column named id is carried
    along. A text or label that a spreadsheet would take as a formula gets an apostrophe in front.

    Parameters
    ----------
    reviews
        CSV, TSV or JSONL (also .gz) with a column of texts; or - for CSV from standard input.
    model
        Folder that train wrote.
    out
        CSV file to write; standard output by default.
    text
        Name of the column of texts.
    overwrite
        Replace the file when predict wrote it.
    dry_run
        Read the model and the first texts, say what would be done, and stop.
    json
        Write the number of texts of each class as one JSON object to standard output; needs --out.
    """
    from tokendyn.data.texts import stream_texts
    from tokendyn.sentiment import load

    if json and out is None:
        raise BadInputError("--json and the labels would both go to standard output; give --out too")
    if out is not None:
        check_free(out, overwrite=overwrite, ours=_is_prediction, inputs=[reviews, model])
    classifier = load(model)
    if dry_run:
        return _announce_texts(reviews, text, f"would label its texts, and write {out or 'standard output'}")
    found: Counter[str] = Counter()
    shown = range(len(classifier.classes_)) if len(classifier.classes_) > 2 else (1,)
    header = ("text", "prediction", *(f"probability_{classifier.classes_[c]}" for c in shown), "leaders")
    count, with_ids = 0, False

    with new_file(out) if out is not None else nullcontext() as temporary, ExitStack() as opened:
        stream = sys.stdout
        if temporary is not None:
            stream = opened.enter_context(temporary.open("w", encoding="utf-8", newline=""))
        writer = csv.writer(stream, lineterminator="\n" if out is None else "\r\n")
        report = opened.enter_context(progress("bytes read"))
        for number, part in enumerate(stream_texts(reviews, text, progress=report)):
            if number == 0:  # so that a file without a row writes nothing
                with_ids = bool(part.ids)
                names = (printable(name).replace("\n", "\\n") for name in header)
                writer.writerow([*(["id"] if with_ids else []), *names])
            labels, probabilities, leaders = classifier.predict_all(part.texts)
            columns = [[f"{p:.6f}" for p in probabilities[:, c]] for c in shown]
            ids = [part.ids or [""] * len(part)] if with_ids else []
            texts = ([safe_cell(str(cell)) for cell in cells] for cells in (*ids, part.texts, labels))
            writer.writerows(zip(*texts, *columns, leaders, strict=True))
            found.update(map(str, labels))
            count += len(part)
    if out is None:
        return 0
    if json:
        write_json({"texts": count, "labels": dict(sorted(found.items())), "out": str(out)})
    announce(f"labelled {count} texts; wrote {out}")
    return 0


def explain(
    text: Annotated[str | None, _Source] = None,
    /,
    *,
    model: Path,
    file: Path | None = None,
    html: Path | None = None,
    overwrite: bool = False,
    json: bool = False,
) -> int:
    """Say why a text is classified as it is: leader words, their places, contributions that add up.

    Parameters
    ----------
    text
        The text, or - to read it from standard input.
    model
        Folder that train wrote.
    file
        Read the text from this UTF-8 file.
    html
        Write a page with the coloured text, the contributions and the moving tokens.
    overwrite
        Replace the page when tokendyn wrote it.
    json
        Write the explanation as one JSON object to standard output.
    """
    from tokendyn.runs.provenance import provenance
    from tokendyn.sentiment import load
    from tokendyn.sentiment.report import explained_text, write_explanation
    from tokendyn.show import explanation_terminal

    began = time.perf_counter()
    if html is not None:
        check_free(html, overwrite=overwrite, inputs=[file, model])
    classifier = load(model)
    explanation = classifier.explain(_text(text, file))
    if json:
        head = {"schema": EXPLANATION_SCHEMA, "schema_version": 1}
        command = repeated()
        made = provenance({}, seed=None, seconds=time.perf_counter() - began)
        write_json(head | explanation.to_dict() | {"command": command, "provenance": made})
    else:
        console().print(explanation_terminal(explained_text(explanation)))
    if html is not None:
        write_explanation(explanation, html)
        announce(f"wrote {html}")
    return 0


def explain_all(
    reviews: Annotated[Path, _Source],
    /,
    *,
    model: Path,
    out: Path,
    text: str = "text",
    overwrite: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Explain every text of a file: one line of JSON a text with verdict, leaders, spans and contributions.

    Files of any size are read and written in parts; --out appears when it is whole.

    Parameters
    ----------
    reviews
        CSV, TSV or JSONL (also .gz) with a column of texts; or - for CSV from standard input.
    model
        Folder that train wrote.
    out
        JSONL file to write.
    text
        Name of the column of texts.
    overwrite
        Replace the file when explain-all wrote it.
    dry_run
        Read the model and the first texts, say what would be done, and stop.
    json
        Write the number of texts as one JSON object to standard output.
    """
    from tokendyn.data.texts import stream_texts
    from tokendyn.sentiment import load
    from tokendyn.sentiment.verdicts import write_verdicts

    check_free(out, overwrite=overwrite, ours=_is_explained, inputs=[reviews, model])
    classifier = load(model)
    if dry_run:
        return _announce_texts(reviews, text, f"would explain its texts, and write {out}")
    with progress("bytes read") as report:
        parts = stream_texts(reviews, text, progress=report)
        count = write_verdicts((one for part in parts for one in classifier.explain_many(part.texts)), out)
    if json:
        write_json({"texts": count, "out": str(out)})
    announce(f"explained {count} texts; wrote {out}")
    return 0


def _is_prediction(file: Path) -> bool:
    """Return whether a file may be one that predict wrote, with any model."""
    heading = heading_of(file)
    names = heading[heading[:1] == ["id"] :]
    return names[:2] == ["text", "prediction"] and names[-1] == "leaders"


def _is_explained(file: Path) -> bool:
    """Return whether a file may be one that explain-all wrote: its first line begins with the row and the verdict."""
    with file.open("rb") as stream:
        return re.match(rb'\{"row": 1, "label": ', stream.readline(100)) is not None


def _announce_texts(reviews: Path, text: str, plan: str) -> int:
    """Read a file to its end, and say what would be done with it; of standard input only the first part."""
    from tokendyn.data.texts import stream_texts

    parts = stream_texts(reviews, text)
    if str(reviews) == "-":
        announce(f"standard input can be read: {len(next(iter(parts)))} texts in its first part; {plan}")
    else:
        announce(f"{reviews} can be read: {sum(map(len, parts))} texts; {plan}")
    return 0


def announce_repeats(parts: "Split") -> None:
    """Say which texts occur more than once, and what a split did about them."""
    if not parts.repeated:
        return
    moved = f"; {parts.moved} changed sides so that no text is in both parts" if len(parts.test) else ""
    announce(f"{parts.repeated} texts repeat an earlier one{moved}")
    if parts.disputed:
        announce(f"{parts.disputed} different texts occur with different labels; look at them")


def evaluate(model: "LeaderClassifier", test: "LabelledTexts") -> dict[str, float]:
    """Return accuracy, mean number of leaders, and how exactly the contributions add up."""
    predicted, _, leaders = model.predict_all(test.texts)
    sample = test.texts[:: max(1, len(test) // 1000)]
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


def _text(text: str | None, file: Path | None) -> str:
    """Return the text to explain from its one source."""
    if (text is None) == (file is None):
        raise BadInputError('give one text: explain "a text", explain --file FILE, or explain - for standard input')
    try:
        if file is not None:
            with file.open(encoding="utf-8-sig") as stream:
                text = stream.read(MAX_CHARACTERS + 1)
        elif text == "-":
            text = sys.stdin.read(MAX_CHARACTERS + 1)
    except OSError as error:
        raise BadInputError(f"{file or 'standard input'} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise BadInputError(f"the text is not UTF-8 ({error.reason}); save it as UTF-8") from None
    if text is None or len(text) > MAX_CHARACTERS:
        raise BadInputError(f"the text is longer than {MAX_CHARACTERS} characters; cut it")
    return text
