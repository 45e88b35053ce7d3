"""``tokendyn classify``: check, build, verify, predict, explain, export."""

import csv
import sys
import time
from pathlib import Path
from typing import Any

from tokendyn.cli.output import announce, write_json
from tokendyn.cli.progress import console, progress, rehearse
from tokendyn.cli.repeat import repeated
from tokendyn.data.sequences import LabelledSequences, read_sequences, read_text_sequences
from tokendyn.errors import BadInputError
from tokendyn.exact import ExactTransformer, load, save
from tokendyn.exact import check as check_sequences
from tokendyn.exact import compile as compile_transformer
from tokendyn.exact.certificate import Verification
from tokendyn.exact.store import CHECK_SCHEMA, VERIFICATION_SCHEMA
from tokendyn.runs.files import check_free, new_file
from tokendyn.runs.provenance import provenance


def check(
    sequences: Path,
    /,
    *,
    label: str = "label",
    text: str | None = None,
    hash_dim: int = 3,
    embedding: Path | None = None,
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
    dtype
        float64 or float32.
    multiplicity
        set, or frequency if the shares of the tokens count.
    positions
        Whether the order of tokens counts.
    json
        Write the findings as one JSON object to standard output.
    """
    began = time.perf_counter()
    data = _read(sequences, label, _input(text, hash_dim, embedding), embedding)
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
        announce(line)
    if report.ok:
        announce(f"ready: tokendyn classify build {sequences} --out model/")
        return 0
    raise BadInputError(
        f"{len(report.contradictions)} pairs of sequences are the same and have different labels; "
        + "; ".join(["keep one of each, or give them one label", *report.remedies])
    )


def build(
    sequences: Path,
    /,
    *,
    out: Path,
    label: str = "label",
    text: str | None = None,
    hash_dim: int = 3,
    embedding: Path | None = None,
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
    check_free(out, overwrite=overwrite)
    source = _input(text, hash_dim, embedding)
    data = _read(sequences, label, source, embedding)
    settings: dict[str, Any] = {
        "strategy": strategy, "attention": attention, "dtype": dtype, "direction": direction, "trials": trials,
        "seed": seed, "min_margin": min_margin, "multiplicity": multiplicity, "positions": positions,
        "workers": workers,
    }  # fmt: skip
    if dry_run:
        found = check_sequences(data.sequences, data.labels or (), dtype=dtype, positions=positions)
        rehearse(lambda begun: compile_transformer(data.sequences, data.labels or (), **settings, progress=begun))
        announce(f"would build from {found.sequences} sequences with {len(found.labels)} labels, and write {out}")
        return 0
    began = time.perf_counter()
    with progress("sequences verified") as report:
        model = compile_transformer(data.sequences, data.labels or (), **settings, progress=report)
    model.settings["input"] = source
    command = repeated()
    save(model, out, overwrite=overwrite, command=command, seconds=time.perf_counter() - began)
    if json:
        write_json({**_stats(model), "certificate": model.certificate.to_dict(), "out": str(out)})
    stats = model.stats
    announce(
        f"{stats.strategy}: {stats.blocks} blocks of width {stats.width}, {stats.nonzeros} nonzero weights, "
        f"{stats.queries} questions; all {stats.sequences} sequences have their label, to the last bit"
        if model.construction.bitwise
        else f"{stats.strategy}: {stats.blocks} blocks; all {stats.sequences} sequences have their label after rounding"
    )
    announce(f"wrote {out}; check it in exact arithmetic: tokendyn classify verify {out} --exact")
    return 0


def verify(model: Path, /, *, exact: bool = False, workers: int = 1, json: bool = False) -> int:
    """Run all sequences of a model again and compare every token's output with the label; exit code 1 if one differs.

    Parameters
    ----------
    model
        Folder that build wrote.
    exact
        In exact rational arithmetic: slow, and free of rounding.
    workers
        Threads of the floating-point run.
    json
        Write the result as one JSON object to standard output.
    """
    began = time.perf_counter()
    loaded = load(model)
    with progress("sequences verified") as report:
        done: Verification = loaded.certificate.verify(exact=exact, workers=workers, progress=report)
    if json:
        write_json(
            {
                "schema": VERIFICATION_SCHEMA, "schema_version": 1, "source": model.name,
                "command": repeated(),
                "provenance": provenance({}, seed=None, seconds=time.perf_counter() - began),
                "passed": done.passed, "sequences": done.sequences, "wrong": list(done.wrong),
                "largest_difference": done.largest_difference, "arithmetic": done.arithmetic,
                "attention": done.attention, "seconds": round(done.seconds, 3),
                "certificate": loaded.certificate.to_dict(),
            }
        )  # fmt: skip
    announce(str(done))
    return 0 if done.passed else 1


def predict(
    sequences: Path,
    /,
    *,
    model: Path,
    out: Path | None = None,
    text: str | None = None,
    embedding: Path | None = None,
    abstain: bool = False,
    workers: int = 1,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Label every sequence of a file: CSV out, with id, prediction and whether the sequence is one of the given ones.

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
        Leave the prediction empty for sequences that were not given.
    workers
        Threads.
    dry_run
        Check the input, say what would be done, and stop.
    json
        Write the number of sequences, and of those known, as one JSON object to standard output; needs --out.
    """
    if json and out is None:
        raise BadInputError("--json and the labels would both go to standard output; give --out too")
    loaded = load(model)
    data = _read(sequences, None, _same_input(loaded, text), embedding)
    if dry_run:
        announce(f"would label {len(data)} sequences, and write {out or 'standard output'}")
        return 0
    known = loaded.is_known(data.sequences)
    with progress("sequences") as report:
        labels = loaded.predict(data.sequences, workers=workers, progress=report)
    shown = ["" if abstain and not sure else label for label, sure in zip(labels, known, strict=True)]
    rows = zip(data.ids, shown, ("yes" if sure else "no" for sure in known), strict=True)
    header = ("id", "prediction", "known")
    if out is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows([header, *rows])
        return 0
    with new_file(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    if json:
        write_json({"sequences": len(data), "known": int(known.sum()), "out": str(out)})
    announce(f"labelled {len(data)} sequences, {int(known.sum())} of them known; wrote {out}")
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
    json: bool = False,
) -> int:
    """Say which questions a sequence was asked, which it answered with yes, and the classes that it went through.

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
        Picture of the path (.png, .svg, .pdf).
    json
        Write the explanation as one JSON object to standard output.
    """
    loaded = load(model)
    data = _read(sequences, None, _same_input(loaded, text), embedding)
    if id is not None and id not in data.ids:
        raise BadInputError(f"{sequences} has no sequence with the id {id!r}; it has {', '.join(data.ids[:5])}, ...")
    place = data.ids.index(id) if id is not None else 0
    why = loaded.explain(data.sequences[place])
    if json:
        write_json({"id": data.ids[place], **why.to_dict()})
    else:
        words = data.words[place] if data.words is not None else None
        for question in why.questions:
            hit = "" if words is None else ": " + ", ".join(sorted({words[k] for k in question.hits}))
            console().print(f"{question}{hit if question.yes else ''}", soft_wrap=True, markup=False)
        announce(f"label {why.label!r}" + ("" if why.known else "; the sequence was not given, so no guarantee"))
    if figure is not None:
        if figure.suffix not in (".png", ".svg", ".pdf"):
            raise BadInputError(f"--figure {figure}: expected .png, .svg or .pdf")
        with new_file(figure) as temporary:
            why.plot().savefig(temporary, dpi=150)
        announce(f"wrote {figure}")
    return 0


def export(model: Path, /, *, onnx: Path, overwrite: bool = False, dry_run: bool = False, json: bool = False) -> int:
    """Write a model as an ONNX file: inputs tokens (batch, tokens, dim) and mask (batch, tokens), output label numbers.

    Parameters
    ----------
    model
        Folder that build wrote.
    onnx
        File to write. It must not exist.
    overwrite
        Replace the file when it exists.
    dry_run
        Read the model, say what would be done, and stop.
    json
        Write the labels by output number as one JSON object to standard output.
    """
    from tokendyn.exact import to_onnx

    check_free(onnx, overwrite=overwrite)
    loaded = load(model)
    if dry_run:
        announce(f"would write {loaded.stats.blocks} blocks as {onnx}")
        return 0
    to_onnx(loaded, onnx)
    if json:
        write_json({"labels": [str(label) for label in loaded.labels], "out": str(onnx)})
    announce(f"wrote {onnx}; output k means {', '.join(f'{k}: {v!r}' for k, v in enumerate(loaded.labels[:5]))} ...")
    return 0


def _input(text: str | None, hash_dim: int, embedding: Path | None) -> dict[str, Any]:
    """Return how the file becomes sequences, as the model remembers it."""
    if text is None:
        return {"kind": "tokens"}
    return {"kind": "text", "text": text, "hash_dim": hash_dim, "embedding": embedding is not None}


def _same_input(model: ExactTransformer, text: str | None) -> dict[str, Any]:
    source = dict(model.settings.get("input") or {"kind": "tokens"})
    if text is not None:
        source["text"] = text
    return source


def _read(path: Path, label: str | None, source: dict[str, Any], embedding: Path | None) -> LabelledSequences:
    if source["kind"] == "tokens":
        return read_sequences(path, label=label)
    if source["embedding"] != (embedding is not None):
        raise BadInputError(
            "the model was built with an embedding file; give the same one with --embedding"
            if source["embedding"]
            else "the model was built with hashed words; leave --embedding out"
        )
    return read_text_sequences(path, text=source["text"], label=label, hash_dim=source["hash_dim"], embedding=embedding)


def _stats(model: ExactTransformer) -> dict[str, Any]:
    return {name: getattr(model.stats, name) for name in model.stats.__dataclass_fields__}
