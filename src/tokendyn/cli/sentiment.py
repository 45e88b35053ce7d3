"""``tokendyn sentiment``: train, distil, predict, explain."""

import csv
import re
import sys
import time
from collections import Counter
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tokendyn.cli.experiments import command_of
from tokendyn.cli.output import announce, printable, write_json
from tokendyn.cli.progress import console, progress
from tokendyn.cli.repeat import repeated
from tokendyn.errors import BadInputError
from tokendyn.runs.files import check_free, new_file
from tokendyn.runs.table import heading_of, safe_cell
from tokendyn.sentiment.experiments import Distillation, Export, Training

#: Of what ``explain --json`` writes.
EXPLANATION_SCHEMA = "tokendyn-explanation"
#: A file, a text or - for standard input.
_Source = Parameter(allow_leading_hyphen=True)
#: Longest text that ``explain`` reads from a file or from standard input, in characters.
MAX_CHARACTERS = 2**24


train = command_of(
    Training,
    out="Folder to write the model to. It must not exist.",
    help={
        "checkpoint": "Keep the state of the training in this .safetensors file, and go on from it when it is there; "
        "it is removed once the training is complete.",
        "json": "Write the training record as one JSON object to standard output.",
    },
)
distil = command_of(Distillation, out="Folder to write the model to. It must not exist.")
export = command_of(Export, out="ONNX file to write. It must not exist.")


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
    counts: Counter[str] = Counter()
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
            counts.update(map(str, labels))
            count += len(part)
    if out is None:
        return 0
    if json:
        write_json({"texts": count, "labels": dict(sorted(counts.items())), "out": str(out)})
    announce(f"labelled {count} texts; wrote {out}")
    return 0


def explain(
    text: Annotated[str | None, _Source] = None,
    /,
    *,
    model: Path,
    file: Path | None = None,
    html: Path | None = None,
    learned: Path | None = None,
    retrainings: int = 10,
    text_column: str = "text",
    label: str = "label",
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
    learned
        The labelled texts that the model has learned from. The model is trained again on parts of 90 %, and the answer
        reports the number of these retrainings in which each leader leads again.
    retrainings
        How often it is trained again; a training takes seconds for some thousand texts.
    text_column
        Name of the column of texts of that file.
    label
        Name of the column of labels of that file.
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
    content = _text(text, file)
    classifier = load(model)
    explanation = classifier.explain(content)
    steady = None
    if learned is not None:
        from tokendyn.data.texts import read_texts

        examples = read_texts(learned, text=text_column, label=label)
        steady = classifier.stability([explanation.text], examples, retrainings=retrainings)
    if json:
        head = {"schema": EXPLANATION_SCHEMA, "schema_version": 1}
        command = repeated()
        origin = provenance({}, seed=None, seconds=time.perf_counter() - began)
        more = {} if steady is None else {"retrainings": retrainings, "stability": steady.table().to_dict("records")}
        write_json(head | explanation.to_dict() | more | {"command": command, "provenance": origin})
    else:
        console().print(explanation_terminal(explained_text(explanation)))
        for line in () if steady is None else steady.describe():
            console().print(line)
    if html is not None:
        write_explanation(explanation, html)
        announce(f"wrote {html}")
    return 0


def check(
    model: Path,
    /,
    *,
    cases: Path | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Try a classifier on a behavioural suite: negation, intensifiers, spelling, length, filler, names.

    Parameters
    ----------
    model
        Folder that train or distil wrote.
    cases
        CSV or TSV (also .gz) with the columns kind, text, expected and reference; by default the built-in suite, on
        films that are pos or neg. Expected is a label: without a reference it must be the verdict on the text, with one
        it must be more likely for the text than for the reference. The word same in its place: both must have the same
        verdict.
    out
        Folder to write: kinds.csv, cases.csv, behaviour.json, behaviour.png, report.html.
    overwrite
        Replace the folder when tokendyn wrote it.
    dry_run
        Read model and cases, say what would be tried, and stop.
    json
        Write the counts by kind and all cases as one JSON object to standard output.
    """
    from tokendyn.sentiment import check_behaviour, load

    if out is not None:
        check_free(out, overwrite=overwrite, inputs=[model, cases])
    report = check_behaviour(load(model), cases)
    if dry_run:
        announce(f"would try {len(report.cases)} cases of {report.source}, and write {out or 'nothing'}")
        return 0
    command = repeated()
    if out is not None:
        report.write(out, command=command, overwrite=overwrite)
    if json:
        write_json({**report.to_dict(), "out": None if out is None else str(out), "command": command})
    for line in report.describe():
        announce(line)
    if out is not None:
        announce(f"wrote {out}; open {out / 'report.html'}")
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
        count = write_verdicts((verdict for part in parts for verdict in classifier.explain_many(part.texts)), out)
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
    if not text.strip():
        raise BadInputError(f"{'the text' if file is None else file} is empty; give a text with words in it")
    return text
