"""Check a saved transformer without the library that built it: standard library only, exact rational arithmetic.

    python check_certificate.py FOLDER [SEQUENCES] [--label NAME] [--limit N] [--quiet]

Reads ``model.json`` and ``model.safetensors`` of a folder that ``tokendyn classify build`` wrote, runs every sequence
through the weights with ``fractions.Fraction``, so without any rounding, and compares the output of every token with
what the folder says that it must be. It also checks the inequalities that carry over to floating point and to softmax:
``delta_min >= needed >= 8 E`` and ``e^(2 beta w) >= 2 (n - 1)``; and the hash of the sequences and labels.

All of that shows that the folder agrees with itself. With SEQUENCES, your own file (JSON lines, CSV or TSV, as build
takes them), its sequences and labels are what the outputs are compared with, and each must be in the folder.

Exit codes: 0 all exact; 1 something is not; 2 the files cannot be read. Run it as a file or with
``python -m tokendyn.exact.check_certificate``; it imports nothing of tokendyn.
"""

import argparse
import csv
import gzip
import hashlib
import json
import math
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

_FORMATS = {"F64": ("d", 8), "F32": ("f", 4), "I64": ("q", 8)}

Tensors = dict[str, tuple[list[int], tuple[Any, ...]]]
Given = list[tuple[str, list[tuple[Any, ...]], list[tuple[Any, ...]]]]


def read_safetensors(path: Path) -> Tensors:
    """Return (shape, values) by name: eight bytes of length, a JSON header, then the numbers."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        kind, size = _FORMATS[entry["dtype"]]
        begin, end = entry["data_offsets"]
        count = (end - begin) // size
        tensors[name] = (entry["shape"], struct.unpack_from(f"<{count}{kind}", data, 8 + length + begin))
    return tensors


def load_blocks(tensors: Tensors) -> list[tuple[Any, ...]]:
    """Return each block as (forgets, units, attention) with every weight as the rational that it is."""
    w = {name.removeprefix("weights."): values for name, (_, values) in tensors.items() if name.startswith("weights.")}

    def pairs(kind: str, unit: int) -> list[tuple[int, Fraction]]:
        part = range(w[f"{kind}_starts"][unit], w[f"{kind}_starts"][unit + 1])
        return [(w[f"{kind}_channels"][e], Fraction(w[f"{kind}_weights"][e])) for e in part]

    blocks = []
    for b in range(len(w["eta"])):
        units = [
            (Fraction(w["bias"][u]), pairs("in", u), pairs("out", u)) for u in range(w["units"][b], w["units"][b + 1])
        ]
        attention = None
        if w["attends"][b]:
            values = [
                (w["value_in"][e], w["value_out"][e], Fraction(w["value_weights"][e]))
                for e in range(w["value_starts"][b], w["value_starts"][b + 1])
            ]
            query = (w["query_channels"][b], Fraction(w["query_weights"][b]))
            attention = (query, (w["key_channels"][b], Fraction(w["key_weights"][b])), values)
        blocks.append((w["eta"][b] == 0, units, attention))
    return blocks


def run_sequence(rows: list[list[Fraction]], blocks: list[tuple[Any, ...]]) -> list[list[Fraction]]:
    """Return the residuals of one sequence after all blocks: ``x <- eta x + W relu(U x + c)``, then attention."""
    for forgets, units, attention in blocks:
        after = []
        for row in rows:
            new = [Fraction(0)] * len(row) if forgets else list(row)
            for bias, reads, writes in units:
                value = bias + sum(weight * row[channel] for channel, weight in reads)
                if value > 0:
                    for channel, weight in writes:
                        new[channel] += weight * value
            after.append(new)
        rows = after
        if attention is not None:
            _attend(rows, attention)
    return rows


def _attend(rows: list[list[Fraction]], attention: tuple[Any, ...]) -> None:
    """Add to each token V times the mean of the tokens with the largest score ``<q, x_i> <k, x_j>``."""
    (query_channel, query), (key_channel, key), values = attention
    keys = [key * row[key_channel] for row in rows]
    queries = [query * row[query_channel] for row in rows]
    means = {}
    for sign in {(score > 0) - (score < 0) for score in queries}:
        best = max(sign * k for k in keys)
        leaders = [row for row, k in zip(rows, keys, strict=True) if sign * k == best]
        means[sign] = [sum(row[channel] for row in leaders) / len(leaders) for channel, _, _ in values]
    for row, score in zip(rows, queries, strict=True):
        for (_, channel, weight), mean in zip(values, means[(score > 0) - (score < 0)], strict=True):
            row[channel] += weight * mean


def data_hash(record: dict[str, Any], tensors: Tensors) -> str:
    """Return SHA-256 of labels, starts, tokens and targets, as the certificate holds it."""
    (_, starts), (shape, tokens), (_, targets) = (tensors[name] for name in ("starts", "tokens", "targets"))
    header = {
        "dtype": record["dtype"],
        "dim": shape[1],
        "positions": record.get("positions", False),
        "multiplicity": record.get("multiplicity", "set"),
        "labels": record["labels"],
    }
    digest = hashlib.sha256(json.dumps(header, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    for kind, values in (("q", starts), ("f" if record["dtype"] == "float32" else "d", tokens), ("d", targets)):
        digest.update(struct.pack(f"<{len(values)}{kind}", *values))
    return digest.hexdigest()


def files_hash(record: dict[str, Any], tensors: Path) -> str:
    """Return SHA-256 of all of model.json that bears on an answer and of model.safetensors, as model.json holds it."""
    relevant = {name: value for name, value in record.items() if name not in ("command", "digest", "provenance")}
    digest = hashlib.sha256(json.dumps(relevant, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    digest.update(tensors.read_bytes())
    return digest.hexdigest()


def read_sequences(path: Path, label: str) -> Iterator[tuple[str, list[list[Any]], Any]]:
    """Yield (id, tokens, label) of a file of JSON lines, CSV or TSV, also .gz: the last two with one token a row."""
    packed = path.suffix == ".gz"
    kind = (path.with_suffix("") if packed else path).suffix.lower()
    with gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8", newline="") as stream:
        if kind in (".jsonl", ".ndjson"):
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    item = json.loads(line)
                    rows = [row if isinstance(row, list) else [row] for row in item["tokens"]]
                    yield str(item.get("id", number)), rows, packed_label(item[label])
            return
        rows_of: dict[str, list[list[Any]]] = {}
        label_of: dict[str, str] = {}
        for line_ in csv.DictReader(stream, delimiter="\t" if kind == ".tsv" else ",", skipinitialspace=True):
            row = {name.strip(): value for name, value in line_.items()}
            name = row["id"].strip()
            label_of[name] = row[label].strip()
            coordinates = [value for column, value in row.items() if column not in ("id", label, "label")]
            rows_of.setdefault(name, []).append([float(value) for value in coordinates])
        for name, rows in rows_of.items():
            yield name, rows, label_of[name]


def packed_label(label: Any) -> Any:
    """Return a label as model.json holds it: lists stand for tuples, and there is no negative zero."""
    if isinstance(label, list):
        return {"tuple": [packed_label(part) for part in label]}
    return label + 0.0 if isinstance(label, float) else label


def as_read(rows: list[list[Any]], record: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return the tokens that the network is to read: in its type, with positions, repeated only where that counts."""
    kind = "f" if record["dtype"] == "float32" else "d"
    tokens = [struct.unpack(f"<{len(row)}{kind}", struct.pack(f"<{len(row)}{kind}", *row)) for row in rows]
    if record.get("positions"):
        tokens = [(*row, i * 2.0**-20) for i, row in enumerate(tokens)]
    counts = Counter(tuple(value + 0.0 for value in row) for row in tokens)
    shared = math.gcd(*counts.values()) if record.get("multiplicity") == "frequency" else 0
    return sorted(row for row, count in counts.items() for _ in range(count // shared if shared else 1))


def inequality_problems(record: dict[str, Any], longest: int) -> list[str]:
    """Return which inequalities of the certificate do not hold."""
    margins, problems = record["margins"], []
    gap, error, needed = (margins[name] for name in ("gap", "error", "needed"))
    if gap is not None and gap < needed:
        problems.append(f"delta_min {gap} is below {needed}")
    if needed < 8 * error:
        problems.append(f"needed {needed} is below 8 E = {8 * error}")
    if record["attention"] == "softmax" and record["beta"] is not None and margins["width"] is not None:
        exponent = 2 * Fraction(record["beta"]) * Fraction(margins["width"])
        covered = record["certificate"].get("n_max") or longest
        if exponent < 1 or _exp_from_below(exponent) < 2 * (max(longest, covered) - 1):
            problems.append(f"inverse temperature {record['beta']} is too low for {longest} tokens")
    return problems


def _exp_from_below(x: Fraction) -> Fraction:
    """Return a rational that is at most e^x, x >= 0: a partial sum of its series."""
    x = min(x, Fraction(50))
    total = term = Fraction(1)
    for k in range(1, 160):
        term *= x / k
        total += term
    return total


def main(arguments: list[str] | None = None) -> int:
    """Run the check and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("sequences", type=Path, nargs="?", help="your own sequences and labels (.jsonl, .csv, .tsv)")
    parser.add_argument("--label", help="name of the label in that file, if not that of build")
    parser.add_argument("--limit", type=int, default=None, help="number of sequences to check")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    options = parser.parse_args(arguments)
    try:
        record = json.loads((options.folder / "model.json").read_text(encoding="utf-8"))
        tensors = read_safetensors(options.folder / "model.safetensors")
        blocks = load_blocks(tensors)
        sequences = stored_sequences(record, tensors)
        problems = inequality_problems(record, max(len(rows) for _, rows, _ in sequences))
        if record["certificate"].get("data", "") not in ("", data_hash(record, tensors)):
            problems.append("the sequences and labels do not have the hash that the certificate holds")
        if record.get("digest", "") not in ("", files_hash(record, options.folder / "model.safetensors")):
            problems.append("the files do not have the hash that model.json holds")
        if options.sequences is not None:
            sequences, unknown = own_sequences(options.sequences, options.label, record, sequences)
            problems += unknown
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, struct.error, csv.Error) as error:
        print(f"cannot read {options.folder} or the sequences: {error!r}", file=sys.stderr)
        return 2
    sequences = sequences[: options.limit]
    for j, (name, rows, expected) in enumerate(sequences):
        padded = [[*map(Fraction, row), *[Fraction(0)] * (record["dim"] - len(row))] for row in rows]
        for i, row in enumerate(run_sequence(padded, blocks)):
            target = expected[i] if i < len(expected) else expected[0]
            if any(row[channel] != value for channel, value in zip(record["outputs"], target, strict=True)):
                problems.append(f"{name}, token {i}: the output is not {list(target)}")
        if not options.quiet and (j + 1) % 10 == 0 and sys.stderr.isatty():
            print(f"\r{j + 1}/{len(sequences)}", end="", file=sys.stderr)
    for problem in problems[:10]:
        print(problem, file=sys.stderr)
    if len(problems) > 10:
        print(f"and {len(problems) - 10} more", file=sys.stderr)
    verdict = "not exact" if problems else "exact"
    source = "of the folder" if options.sequences is None else f"of {options.sequences}"
    print(f"{len(sequences)} sequences {source}, {len(blocks)} blocks, rational arithmetic: {verdict}")
    return 1 if problems else 0


def stored_sequences(record: dict[str, Any], tensors: Tensors) -> Given:
    """Return (name, tokens, wanted outputs of each token) of every sequence in the folder."""
    (_, starts), (shape, tokens), (_, targets) = (tensors[name] for name in ("starts", "tokens", "targets"))
    width, outputs = shape[1], len(record["outputs"])
    return [
        (
            f"sequence {j}",
            [tokens[i * width : (i + 1) * width] for i in range(first, last)],
            [targets[i * outputs : (i + 1) * outputs] for i in range(first, last)],
        )
        for j, (first, last) in enumerate(pairwise(starts))
    ]


def own_sequences(path: Path, label: str | None, record: dict[str, Any], stored: Given) -> tuple[Given, list[str]]:
    """Return the user's sequences in the form of the folder's, and what is not in the folder."""
    source = (record.get("settings") or {}).get("input", {})
    if source.get("kind") == "text":
        raise ValueError("this model reads texts; use tokendyn classify verify MODEL SEQUENCES --text NAME")
    plain = {**record, "positions": False}  # what is stored has its positions
    known = {tuple(as_read([list(row) for row in rows], plain)) for _, rows, _ in stored}
    codes = {json.dumps(name, sort_keys=True): code for code, name in enumerate(record["labels"])}
    own: Given = []
    problems = []
    for name, rows, label_of_row in read_sequences(path, label or source.get("label", "label")):
        try:
            tokens = as_read(rows, record)
        except OverflowError:  # a number that the type does not hold
            tokens = []
        code = codes.get(json.dumps(label_of_row, sort_keys=True))
        if tuple(tokens) not in known:
            problems.append(f"sequence {name} is not among those that the model was built from")
        elif code is None:
            problems.append(f"sequence {name}: the model has no label {label_of_row!r}")
        else:
            own.append((f"sequence {name}", tokens, [(float(code),)]))
    return own, problems


if __name__ == "__main__":
    sys.exit(main())
