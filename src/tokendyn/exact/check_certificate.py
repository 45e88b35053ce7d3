"""Check a saved transformer without the library that built it: standard library only, exact rational arithmetic.

    python check_certificate.py FOLDER [--limit N] [--quiet]

Reads ``model.json`` and ``model.safetensors`` of a folder that ``tokendyn classify build`` wrote, runs every sequence
through the weights with ``fractions.Fraction``, so without any rounding, and compares the output of every token with
what the file says that it must be. It also checks the inequalities that carry over to floating point and to softmax:
``delta_min >= needed >= 8 E`` and ``e^(2 beta w) >= 2 (n - 1)``.

Exit codes: 0 all exact; 1 something is not; 2 the files cannot be read. Run it as a file or with
``python -m tokendyn.exact.check_certificate``; it imports nothing of tokendyn.
"""

import argparse
import json
import struct
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

_FORMATS = {"F64": ("d", 8), "F32": ("f", 4), "I64": ("q", 8)}

Tensors = dict[str, tuple[list[int], tuple[Any, ...]]]


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
    parser.add_argument("--limit", type=int, default=None, help="check so many sequences only")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    options = parser.parse_args(arguments)
    try:
        record = json.loads((options.folder / "model.json").read_text(encoding="utf-8"))
        tensors = read_safetensors(options.folder / "model.safetensors")
        blocks = load_blocks(tensors)
        (_, starts), (shape, tokens), (_, targets) = (tensors[name] for name in ("starts", "tokens", "targets"))
        longest = max(b - a for a, b in pairwise(starts))
        problems = inequality_problems(record, longest)
        outputs, dim = record["outputs"], record["dim"]
    except (OSError, ValueError, KeyError, IndexError, TypeError, struct.error) as error:
        print(f"cannot read {options.folder}: {error!r}", file=sys.stderr)
        return 2
    count = len(starts) - 1 if options.limit is None else min(options.limit, len(starts) - 1)
    width = shape[1]
    for j in range(count):
        rows = [
            [*map(Fraction, tokens[i * width : (i + 1) * width]), *[Fraction(0)] * (dim - width)]
            for i in range(starts[j], starts[j + 1])
        ]
        for i, row in enumerate(run_sequence(rows, blocks), start=starts[j]):
            wanted = targets[i * len(outputs) : (i + 1) * len(outputs)]
            if any(row[channel] != value for channel, value in zip(outputs, wanted, strict=True)):
                problems.append(f"sequence {j}, token {i - starts[j]}: the output is not {list(wanted)}")
        if not options.quiet and (j + 1) % 10 == 0 and sys.stderr.isatty():
            print(f"\r{j + 1}/{count}", end="", file=sys.stderr)
    for problem in problems[:10]:
        print(problem, file=sys.stderr)
    verdict = "not exact" if problems else "exact"
    print(f"{count} sequences, {len(blocks)} blocks, rational arithmetic: {verdict}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
