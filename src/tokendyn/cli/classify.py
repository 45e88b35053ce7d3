"""``tokendyn classify``: check, build, verify, predict, explain, export."""

import csv
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tokendyn.cli.experiments import command_of
from tokendyn.cli.output import announce, write_json
from tokendyn.cli.progress import progress
from tokendyn.cli.repeat import repeated
from tokendyn.errors import LISTED, BadInputError
from tokendyn.exact.experiments import Compilation
from tokendyn.exact.reading import SequenceFile, named
from tokendyn.runs.folders import SIGNATURE, check_free, new_file
from tokendyn.runs.table import heading_of

build = command_of(
    Compilation,
    out="Folder to write the model to. It must not exist.",
    help={"json": "Write statistics and certificate as one JSON object to standard output."},
)


def check(
    sequences: Path,
    /,
    *,
    label: str = "label",
    text: str | None = None,
    hash_dim: int = 3,
    embedding: Path | None = None,
    keep_case: bool = False,
    keep_punctuation: bool = False,
    dtype: str = "float64",
    multiplicity: str = "set",
    positions: bool = False,
    json: bool = False,
) -> int:
    """Look at sequences before building: contradictions, duplicates, gaps.

    Parameters
    ----------
    sequences
        JSONL, CSV or TSV (also .gz), see build.
    label
        Name of the label.
    text
        Name of a column of texts whose words are the tokens.
    hash_dim
        Coordinates of a hashed word.
    embedding
        File with a vector for each word, instead of hashing.
    keep_case
        Whether capital letters distinguish words.
    keep_punctuation
        Whether punctuation marks are words too.
    dtype
        float64 or float32.
    multiplicity
        set, or frequency if the shares of the tokens count.
    positions
        Whether the order of tokens counts.
    json
        Write the findings as one JSON object to standard output.
    """
    from tokendyn.exact import check as check_sequences
    from tokendyn.exact.answers import check_lines, check_record, contradiction

    began = time.perf_counter()
    file = SequenceFile(
        path=sequences, label=label, text=text, hash_dim=hash_dim, embedding=embedding, keep_case=keep_case,
        keep_punctuation=keep_punctuation,
    )  # fmt: skip
    data = file.read(label)
    with file.naming(data.ids):
        report = check_sequences(
            data.sequences, data.labels or (), dtype=dtype, multiplicity=multiplicity, positions=positions
        )
    if json:
        seconds = time.perf_counter() - began
        write_json(check_record(report, data.ids, source=sequences.name, command=repeated(), seconds=seconds))
    for line in check_lines(report, data.ids):
        announce(line)
    if not report.ok:
        raise contradiction(report, file)
    announce(f"ready: tokendyn classify build {sequences} --out model/")
    return 0


def verify(
    model: Path,
    sequences: Path | None = None,
    /,
    *,
    label: str | None = None,
    text: str | None = None,
    embedding: Path | None = None,
    exact: bool = False,
    bits: bool = False,
    workers: int = 1,
    json: bool = False,
) -> int:
    """Run sequences through a model and compare every token's output with the label; exit code 1 if one differs.

    Without SEQUENCES this shows that the model agrees with itself. With your own file it shows that the model was
    built from these sequences and gives them these labels.

    Parameters
    ----------
    model
        Folder that build wrote.
    sequences
        Your own sequences and labels, a file as for build; by default those that the model holds.
    label
        Name of the label in that file, if not that of build.
    text
        Name of the column of texts, if not that of build.
    embedding
        The file of word vectors, if build had one.
    exact
        In exact rational arithmetic: slow, and free of rounding.
    bits
        Measure also how many significant bits of the weights are enough for every label.
    workers
        Threads of the floating-point run.
    json
        Write the result as one JSON object to standard output.
    """
    from tokendyn.exact import load
    from tokendyn.exact.answers import verification_record

    began = time.perf_counter()
    loaded = load(model)
    own = None
    if sequences is not None:
        file = SequenceFile.as_built(sequences, loaded, text=text, embedding=embedding)
        own = file.read(label or file.label)
    with progress("sequences verified") as report, named(own.ids if own is not None else ()):
        verification = loaded.certificate.verify(
            None if own is None else own.sequences, None if own is None else own.labels,
            exact=exact, workers=workers, progress=report,
        )  # fmt: skip
    measured = loaded.certificate.bits if bits else None
    if json:
        record = verification_record(
            loaded, verification, bits=measured, against=sequences, source=model.name, command=repeated(),
            seconds=time.perf_counter() - began,
        )  # fmt: skip
        write_json(record)
    announce(str(verification))
    if own is not None:
        built, asked = loaded.stats.sequences, verification.sequences
        announce(f"{sequences} holds {asked} sequences; the model was built from {built}")
        wrong, unknown = verification.wrong, verification.unknown
        for what, numbers in (("ends with another label", wrong), ("was not given to build", unknown)):
            for number in numbers[:LISTED]:
                announce(f"sequence {own.ids[number]} {what}")
    if measured is not None:
        announce(f"{measured} significant bits of the weights are enough; with one fewer the first label flips")
    return 0 if verification.passed else 1


def predict(
    sequences: Path,
    /,
    *,
    model: Path,
    out: Path | None = None,
    text: str | None = None,
    embedding: Path | None = None,
    abstain: Annotated[bool, Parameter(negative="--guess")] = True,
    workers: int = 1,
    overwrite: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Label the sequences that the model knows: CSV out, with id, prediction and whether the sequence is known.

    Strangers, whatever their length, have no prediction and "no" in the column known.

    Parameters
    ----------
    sequences
        A file as for build; labels are not needed.
    model
        Folder that build wrote.
    out
        CSV file to write; standard output by default.
    text
        Name of the column of texts, if not that of build.
    embedding
        The file of word vectors, if build had one.
    abstain
        Leave the prediction of strangers empty; with --guess, write what the network happens to say of them, which
        means nothing.
    workers
        Threads.
    overwrite
        Replace the file when predict wrote it.
    dry_run
        Check the input, say what would be done, and stop.
    json
        Write the number of sequences, and of those known, as one JSON object to standard output; needs --out.
    """
    from tokendyn.exact import load
    from tokendyn.exact.answers import HEADER, FileReader

    if json and out is None:
        raise BadInputError("--json and the labels would both go to standard output; give --out too")
    if out is not None:
        check_free(out, overwrite=overwrite, ours=lambda file: heading_of(file) == [*HEADER], inputs=[sequences, model])
    loaded = load(model)
    reader = FileReader(loaded, SequenceFile.as_built(sequences, loaded, text=text, embedding=embedding))
    known, count = int(reader.known.sum()), len(reader.data)
    if dry_run:
        announce(f"would label {known} known of {count} sequences, and write {out or 'standard output'}")
        return 0
    with progress("sequences") as report, _warnings_announced():
        labels = reader.label(abstain=abstain, workers=workers, progress=report)
    if out is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows(labels.rows())
        return 0
    with new_file(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(labels.rows())
    if json:
        write_json({"sequences": count, "known": known, "out": str(out)})
    announce(f"{known} of {count} sequences are known and have their label; wrote {out}")
    return 0


def explain(
    sequences: Path,
    /,
    *,
    model: Path,
    id: str | None = None,
    text: str | None = None,
    embedding: Path | None = None,
    figure: Path | None = None,
    overwrite: bool = False,
    json: bool = False,
) -> int:
    """Say why a sequence has its label: which token decides and by how much, in at most one screen; --json has it all.

    Parameters
    ----------
    sequences
        A file as for build; labels are not needed.
    model
        Folder that build wrote.
    id
        Which sequence of the file; the first by default.
    text
        Name of the column of texts, if not that of build.
    embedding
        The file of word vectors, if build had one.
    figure
        Picture of the questions or the tokens (.png, .svg, .pdf), at most 40 rows.
    overwrite
        Replace the picture when tokendyn wrote it.
    json
        Write the explanation as one JSON object to standard output.
    """
    from tokendyn.exact import load

    if figure is not None:
        if figure.suffix not in (".png", ".svg", ".pdf"):
            raise BadInputError(f"--figure {figure}: expected .png, .svg or .pdf")
        check_free(figure, overwrite=overwrite, inputs=[sequences, model])
    loaded = load(model)
    file = SequenceFile.as_built(sequences, loaded, text=text, embedding=embedding)
    data = file.read(None)
    if id is not None and id not in data.ids:
        raise BadInputError(f"{sequences} has no sequence with the id {id!r}; it has {', '.join(data.ids[:5])}, ...")
    position = data.ids.index(id) if id is not None else 0
    with file.naming((data.ids[position],)):
        why = loaded.explain(data.sequences[position]).named(None if data.words is None else data.words[position])
    if json:
        write_json({"id": data.ids[position], **why.to_dict()})
    else:
        for line in why.describe():
            announce(line)
    if figure is not None:
        signed = {"Software" if figure.suffix == ".png" else "Creator": SIGNATURE}
        with new_file(figure) as temporary:
            why.figure().savefig(temporary, dpi=150, metadata=signed)
        announce(f"wrote {figure}")
    return 0


def export(
    model: Path,
    /,
    *,
    onnx: Path,
    unrolled: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Write a model as an ONNX file: inputs tokens (batch, tokens, dim) and mask (batch, tokens), output label numbers.

    Parameters
    ----------
    model
        Folder that build wrote.
    onnx
        File to write. It must not exist.
    unrolled
        Nodes and weights of its own for every block, as quantisers need them, instead of one loop over all blocks.
    overwrite
        Replace the file when it exists.
    dry_run
        Read the model, say what would be done, and stop.
    json
        Write the labels by output number as one JSON object to standard output.
    """
    from tokendyn.exact import load, to_onnx

    check_free(onnx, overwrite=overwrite, inputs=[model])
    loaded = load(model)
    if dry_run:
        announce(f"would write {loaded.stats.blocks} blocks as {onnx}")
        return 0
    to_onnx(loaded, onnx, unrolled=unrolled)
    if json:
        write_json({"labels": [str(label) for label in loaded.labels], "out": str(onnx)})
    if unrolled and loaded.dtype == "float64":
        announce("quantisers of onnxruntime leave float64 as it is; build with --dtype float32 for them")
    numbers = ", ".join(f"{k} for {label!r}" for k, label in enumerate(loaded.labels[:5]))
    more = ", ..." if len(loaded.labels) > 5 else ""
    announce(f"wrote {onnx}; its output is the number of a label: {numbers}{more}")
    return 0


@contextmanager
def _warnings_announced() -> Iterator[None]:
    """Say warnings of the library as one line each."""
    from tokendyn.exact import CoverageWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CoverageWarning)
        yield
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        announce(f"warning: {message}")
