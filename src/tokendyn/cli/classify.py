"""``tokendyn classify``: check, build, verify, predict, explain, export."""

import csv
import math
import re
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from cyclopts import Parameter

from tokendyn.cli.output import announce, write_json
from tokendyn.cli.progress import progress
from tokendyn.cli.repeat import repeated
from tokendyn.cli.values import heading_of
from tokendyn.errors import LISTED, BadInputError, TokendynError
from tokendyn.runs.files import check_free, new_file
from tokendyn.runs.folders import SIGNATURE
from tokendyn.runs.table import safe_cell
from tokendyn.words import counted

if TYPE_CHECKING:
    from tokendyn.data.sequences import LabelledSequences
    from tokendyn.exact import ExactTransformer
    from tokendyn.exact.certificate import Verification


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
        Whether capital letters tell words apart.
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
    from tokendyn.exact.store import CHECK_SCHEMA
    from tokendyn.runs.provenance import provenance

    began = time.perf_counter()
    source = _input(label, text, hash_dim, embedding, keep_case, keep_punctuation)
    data = _read(sequences, label, source, embedding)
    with _in_terms_of_ids(data.ids, sequences, source, embedding):
        report = check_sequences(
            data.sequences, data.labels or (), dtype=dtype, multiplicity=multiplicity, positions=positions
        )
    if json:
        write_json(
            {
                "schema": CHECK_SCHEMA, "schema_version": 1, "source": sequences.name,
                "command": repeated(),
                "provenance": provenance({}, seed=None, seconds=time.perf_counter() - began),
                "sequences": report.sequences, "tokens": report.tokens, "dim": report.dim,
                "shortest": report.shortest, "longest": report.longest, "distinct_tokens": report.distinct_tokens,
                "labels": {str(name): count for name, count in report.labels.items()},
                "duplicates": report.duplicates, "ok": report.ok,
                "contradictions": [[data.ids[i], data.ids[j]] for i, j in report.contradictions],
            }
        )  # fmt: skip
    for line in report.describe():
        announce(_with_ids(line, data.ids))
    if report.ok:
        announce(f"ready: tokendyn classify build {sequences} --out model/")
        return 0
    helps = [*report.remedies, *_text_helps(report.contradictions[0], sequences, source, embedding)]
    count = len(report.contradictions)
    pairs = (
        "a pair of sequences is the same and has" if count == 1 else f"{count} pairs of sequences are the same and have"
    )
    raise BadInputError("; ".join([f"{pairs} different labels", "keep one of each, or give them one label", *helps]))


def build(
    sequences: Path,
    /,
    *,
    out: Path,
    label: str = "label",
    text: str | None = None,
    hash_dim: int = 3,
    embedding: Path | None = None,
    keep_case: bool = False,
    keep_punctuation: bool = False,
    strategy: str = "auto",
    attention: str = "hardmax",
    dtype: str = "float64",
    direction: str = "auto",
    trials: int = 1,
    min_margin: float = 0.0,
    multiplicity: str = "set",
    positions: bool = False,
    seed: int = 0,
    workers: int = 1,
    overwrite: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Build a transformer that gives every sequence its label, verify it, and write it as a model folder.

    Parameters
    ----------
    sequences
        JSON lines {"id": ..., "tokens": [[...]], "label": ...}, or CSV/TSV with the columns id, label and
        coordinates, one token a row; with --text, a file of texts. All also .gz.
    out
        Folder to write the model to. It must not exist.
    label
        Name of the label.
    text
        Name of a column of texts whose words are the tokens.
    hash_dim
        Coordinates of a hashed word.
    embedding
        File with a vector for each word (CSV with a column of names), instead of hashing.
    keep_case
        Whether capital letters tell words apart.
    keep_punctuation
        Whether punctuation marks are words too.
    strategy
        auto, narrow, fused, bank, half-space, slab, fingerprint, hat, strict.
    attention
        hardmax or softmax.
    dtype
        float64 or float32.
    direction
        The line on which tokens are compared: auto, coordinate, sparse, random.
    trials
        Directions to try; the one with the fewest questions is taken.
    min_margin
        Smallest gap that a decision may rest on.
    multiplicity
        set, or frequency if the shares of the tokens count.
    positions
        Whether the order of tokens counts.
    seed
        Seed of random directions.
    workers
        Threads of the verification.
    overwrite
        Replace the model folder when it exists.
    dry_run
        Read and check the sequences, say what would be done, and stop.
    json
        Write statistics and certificate as one JSON object to standard output.
    """
    from tokendyn.exact import compile as compile_transformer
    from tokendyn.exact import save

    check_free(out, overwrite=overwrite, inputs=[sequences, embedding])
    source = _input(label, text, hash_dim, embedding, keep_case, keep_punctuation)
    data = _read(sequences, label, source, embedding)
    began = time.perf_counter()
    with progress("sequences verified") as report, _in_terms_of_ids(data.ids, sequences, source, embedding):
        model = compile_transformer(
            data.sequences, data.labels or (), strategy=strategy, attention=attention, dtype=dtype,
            direction=direction, trials=trials, seed=seed, min_margin=min_margin, multiplicity=multiplicity,
            positions=positions, certify=not dry_run, workers=workers, progress=report,
        )  # fmt: skip
    if dry_run:
        stats = model.stats
        announce(
            f"would build {stats.strategy}, {stats.blocks} blocks, from {stats.sequences} sequences with "
            f"{stats.labels} labels, and write {out}"
        )
        return 0
    model.settings["input"] = source
    command = repeated()
    save(model, out, overwrite=overwrite, command=command, seconds=time.perf_counter() - began)
    if json:
        write_json({**_stats(model), "certificate": model.certificate.to_dict(), "out": str(out)})
    stats = model.stats
    announce(
        f"{stats.strategy}: {counted(stats.blocks, 'block')} of width {stats.width}, "
        f"{counted(stats.nonzeros, 'nonzero weight')}, {counted(stats.queries, 'question')}; "
        f"all {stats.sequences} sequences have their label, to the last bit"
        if model.construction.bitwise
        else f"{stats.strategy}: {stats.blocks} blocks; all {stats.sequences} sequences have their label after rounding"
    )
    announce(f"wrote {out}; check it in exact arithmetic: tokendyn classify verify {out} --exact")
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
    from tokendyn.exact.store import VERIFICATION_SCHEMA
    from tokendyn.runs.provenance import provenance

    began = time.perf_counter()
    loaded = load(model)
    source = _same_input(loaded, text)
    own = None if sequences is None else _read(sequences, label or source.get("label", "label"), source, embedding)
    ids = () if own is None else own.ids
    with progress("sequences verified") as report, _in_terms_of_ids(ids, sequences, source, embedding):
        done: Verification = loaded.certificate.verify(
            None if own is None else own.sequences, None if own is None else own.labels,
            exact=exact, workers=workers, progress=report,
        )  # fmt: skip
    measured = loaded.certificate.bits if bits else None
    if json:
        write_json(
            {
                "schema": VERIFICATION_SCHEMA, "schema_version": 1, "source": model.name,
                "command": repeated(),
                "provenance": provenance({}, seed=None, seconds=time.perf_counter() - began),
                "passed": done.passed, "exact": done.exact, "sequences": done.sequences, "wrong": list(done.wrong),
                "unknown": list(done.unknown), "against": None if sequences is None else sequences.name,
                "largest_difference": done.largest_difference if math.isfinite(done.largest_difference) else None,
                "bits": measured, "arithmetic": done.arithmetic,
                "attention": done.attention, "seconds": round(done.seconds, 3),
                "certificate": loaded.certificate.to_dict(),
            }
        )  # fmt: skip
    announce(str(done))
    if own is not None:
        announce(f"{sequences} holds {done.sequences} sequences; the model was built from {loaded.stats.sequences}")
        for what, places in (("ends with another label", done.wrong), ("was not given to build", done.unknown)):
            for place in places[:LISTED]:
                announce(f"sequence {own.ids[place]} {what}")
    if measured is not None:
        announce(f"{measured} significant bits of the weights are enough; with one fewer the first label flips")
    return 0 if done.passed else 1


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

    if json and out is None:
        raise BadInputError("--json and the labels would both go to standard output; give --out too")
    header = ("id", "prediction", "known")
    if out is not None:
        check_free(out, overwrite=overwrite, ours=lambda file: heading_of(file) == [*header], inputs=[sequences, model])
    loaded = load(model)
    if not loaded.labels:
        raise BadInputError(f"{model} turns sequences into sequences; use exact.load(...).predict from Python")
    source = _same_input(loaded, text)
    data = _read(sequences, None, source, embedding, allow_empty=True)
    readable = [place for place, tokens in enumerate(data.sequences) if len(tokens) or data.words is None]
    given = [data.sequences[place] for place in readable]
    with _in_terms_of_ids(tuple(data.ids[place] for place in readable), sequences, source, embedding):
        known = loaded.is_known(given) if given else np.zeros(0, dtype=bool)
    if dry_run:
        announce(f"would label {int(known.sum())} known of {len(data)} sequences, and write {out or 'standard output'}")
        return 0
    shown, sure = [""] * len(data), ["no"] * len(data)
    with progress("sequences") as report, _warnings_announced():
        labels = loaded.predict(given, abstain=abstain, workers=workers, progress=report) if given else []
    for place, label, yes in zip(readable, labels, known, strict=True):
        shown[place], sure[place] = "" if label is None else label, "yes" if yes else "no"
    rows = zip(data.ids, shown, sure, strict=True)
    if out is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows([header, *map(_safe_row, rows)])
        return 0
    with new_file(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *map(_safe_row, rows)])
    if json:
        write_json({"sequences": len(data), "known": int(known.sum()), "out": str(out)})
    announce(f"{int(known.sum())} of {len(data)} sequences are known and have their label; wrote {out}")
    return 0


def _safe_row(row: Iterable[object]) -> list[object]:
    return [safe_cell(cell) for cell in row]


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
    source = _same_input(loaded, text)
    data = _read(sequences, None, source, embedding)
    if id is not None and id not in data.ids:
        raise BadInputError(f"{sequences} has no sequence with the id {id!r}; it has {', '.join(data.ids[:5])}, ...")
    place = data.ids.index(id) if id is not None else 0
    with _in_terms_of_ids((data.ids[place],), sequences, source, embedding):
        why = loaded.explain(data.sequences[place]).named(None if data.words is None else data.words[place])
    if json:
        write_json({"id": data.ids[place], **why.to_dict()})
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


@contextmanager
def _in_terms_of_ids(
    ids: tuple[str, ...], path: Path | None, source: dict[str, Any], embedding: Path | None
) -> Iterator[None]:
    """Let errors of the library speak of ids, and of what to change in a text."""
    from tokendyn.exact import ContradictoryLabelsError

    try:
        yield
    except TokendynError as error:
        message = str(error)
        if isinstance(error, ContradictoryLabelsError) and path is not None:
            helps = _text_helps((error.first, error.second), path, source, embedding)
            message = "; ".join([message, *helps])
        error.args = (_with_ids(message, ids), *error.args[1:])
        raise


def _with_ids(message: str, ids: tuple[str, ...]) -> str:
    """Return a message with the ids of sequences in place of their numbers."""

    def named(match: re.Match[str]) -> str:
        places = [int(match["first"]), *([int(match["second"])] if match["second"] else [])]
        if max(places) >= len(ids):
            return match.group()
        return match["what"] + " " + " and ".join(repr(ids[place]) for place in places)

    return re.sub(r"\b(?P<what>sequences?) (?P<first>\d+)(?: and (?P<second>\d+))?(?= |,|$)", named, message)


def _text_helps(pair: tuple[int, int], path: Path, source: dict[str, Any], embedding: Path | None) -> list[str]:
    """Return the options that would tell two texts with the same words apart."""
    helps = []
    for name in ("keep_case", "keep_punctuation") if source["kind"] == "text" else ():
        words = _read(path, None, source | {name: True}, embedding, allow_empty=True).words
        assert words is not None
        if set(words[pair[0]]) != set(words[pair[1]]):
            helps.append(f"or --{name.replace('_', '-')}, which tells them apart")
    return helps


def _input(
    label: str, text: str | None, hash_dim: int, embedding: Path | None, keep_case: bool, keep_punctuation: bool
) -> dict[str, Any]:
    """Return how the file becomes sequences, as the model remembers it."""
    if text is None:
        return {"kind": "tokens", "label": label}
    return {
        "kind": "text", "label": label, "text": text, "hash_dim": hash_dim, "embedding": embedding is not None,
        "keep_case": keep_case, "keep_punctuation": keep_punctuation,
    }  # fmt: skip


def _same_input(model: "ExactTransformer", text: str | None) -> dict[str, Any]:
    source = dict(model.settings.get("input") or {"kind": "tokens"})
    if text is not None:
        source["text"] = text
    return source


def _read(
    path: Path, label: str | None, source: dict[str, Any], embedding: Path | None, *, allow_empty: bool = False
) -> "LabelledSequences":
    from tokendyn.data.sequences import read_sequences, read_text_sequences

    if source["kind"] == "tokens":
        return read_sequences(path, label=label, unread=source.get("label", "label"))
    if source["embedding"] != (embedding is not None):
        raise BadInputError(
            "the model was built with an embedding file; give the same one with --embedding"
            if source["embedding"]
            else "the model was built with hashed words; leave --embedding out"
        )
    return read_text_sequences(
        path, text=source["text"], label=label, hash_dim=source["hash_dim"], embedding=embedding,
        keep_case=source.get("keep_case", False), keep_punctuation=source.get("keep_punctuation", False),
        allow_empty=allow_empty,
    )  # fmt: skip


def _stats(model: "ExactTransformer") -> dict[str, Any]:
    return {name: getattr(model.stats, name) for name in model.stats.__dataclass_fields__}
