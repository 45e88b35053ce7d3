"""What of a result a store keeps: its numbers, truth values and short texts, and apart from them those of time."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

_LONGEST_TEXT = 200
#: Rows of a table that become results.
_MOST_ROWS = 100
#: Parts of a summary that are not results: paths, what the manifest says already, the course of a training.
_NO_RESULTS = frozenset({"out", "command", "path", "provenance", "schema", "schema_version", "epochs"})
#: Texts of a row that describe it and do not name it.
_DESCRIPTIONS = frozenset({"family"})
#: Words in the names of what depends on the clock and the load of the machine.
_TIMES = {"seconds", "second", "milliseconds", "microseconds"}


def results_of(summary: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the numbers, truth values and short texts of a summary, and apart from them those of time.

    Nested names are joined by points. Rows of a table are named by their texts, such as ``TD-TF.nrmse``, or by their
    number; other lists are left out. A number that is not finite becomes None.
    """
    results: dict[str, Any] = {}
    timings: dict[str, Any] = {}
    for name, value in _leaves(summary, ""):
        last = name.rsplit(".", 1)[-1]
        if isinstance(value, list | tuple):
            continue
        if isinstance(value, str) and len(value) > _LONGEST_TEXT:
            continue
        timed = bool(set(last.split("_")) & _TIMES)
        # The store has a status of its own: how the run as a whole ended.
        (timings if timed else results)["outcome" if name == "status" else name] = _finite(value)
    return results, timings


def _leaves(record: Mapping[str, Any], before: str) -> Iterable[tuple[str, Any]]:
    for name, value in record.items():
        if name in _NO_RESULTS:
            continue
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{before}{name}.")
        elif (
            isinstance(value, list) and 0 < len(value) <= _MOST_ROWS and all(isinstance(row, Mapping) for row in value)
        ):
            yield from _row_leaves(value, before, name)
        elif value is None or isinstance(value, bool | int | float | str | list | tuple):
            yield f"{before}{name}", value
        elif hasattr(value, "item"):
            yield f"{before}{name}", value.item()


def _row_leaves(rows: list[Mapping[str, Any]], before: str, table: str) -> Iterable[tuple[str, Any]]:
    """Yield the numbers of a table; its rows are named by their texts where these differ."""
    labels = [
        ".".join(value for name, value in row.items() if isinstance(value, str) and name not in _DESCRIPTIONS)
        for row in rows
    ]
    if "" in labels or len(set(labels)) < len(labels):
        labels = [f"{table}.{number}" for number in range(len(rows))]
    for label, row in zip(labels, rows, strict=True):
        values = {
            name: value for name, value in row.items() if name in _DESCRIPTIONS or not isinstance(value, str | list)
        }
        yield from _leaves(values, f"{before}{label}.")


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
