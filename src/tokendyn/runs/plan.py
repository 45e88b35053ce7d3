"""The jobs of a sweep file: always the same list for the same file.

The jobs are every combination of the ``[grid]``, times the positions of the ``[list]``, times the samples of
``[random]`` and ``[latin]``; all share what is ``[fixed]``.
"""

import itertools
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from tokendyn.errors import BadInputError, nearest
from tokendyn.runs.bounded import read_toml
from tokendyn.runs.paths import no_file

_PARTS = ("fixed", "grid", "list", "random", "latin")
_KEYS = ("command", "samples", "seed", *_PARTS)
_RANGE = ("from", "to", "count", "scale")
_LAW = ("low", "high", "scale", "integer", "choices")
_SCALES = ("linear", "log")

#: Numbers of a range or a law are below this: differences and ratios of theirs are finite.
_LARGEST = 1e150

#: Jobs of one sweep, above which it is taken for a slip.
MOST_JOBS = 1_000_000


@dataclass(frozen=True)
class Law:
    """How one option is drawn: between bounds on a linear or logarithmic scale, or among choices."""

    low: float = 0.0
    high: float = 1.0
    scale: str = "linear"
    integer: bool = False
    choices: tuple[Any, ...] = ()

    def value(self, share: float) -> Any:
        """Return the value at a quantile in [0, 1)."""
        if self.choices:
            return self.choices[min(int(share * len(self.choices)), len(self.choices) - 1)]
        if self.integer:
            low, high = int(self.low), int(self.high)
            if self.scale == "linear":
                return min(low + int(share * (high - low + 1)), high)
            return min(max(round(self._between(share)), low), high)
        return float(self._between(share))

    def _between(self, share: float) -> float:
        if self.scale == "log":
            return min(max(self.low * (self.high / self.low) ** share, self.low), self.high)
        return self.low + share * (self.high - self.low)


@dataclass(frozen=True)
class Plan:
    """A sweep.

    Attributes
    ----------
    command
        Words of the command.
    fixed
        Options of every job.
    grid
        Values by option; every combination is a job. The last option changes fastest.
    walked
        Values by option, walked together.
    random, latin
        Laws by option: independent draws, and a Latin hypercube.
    samples
        How many draws.
    seed
        Of the draws.
    """

    command: str
    fixed: Mapping[str, Any]
    grid: Mapping[str, tuple[Any, ...]]
    walked: Mapping[str, tuple[Any, ...]]
    random: Mapping[str, Law]
    latin: Mapping[str, Law]
    samples: int = 1
    seed: int = 0

    @property
    def swept(self) -> tuple[str, ...]:
        """The options that change from job to job."""
        return (*self.grid, *self.walked, *self.random, *self.latin)

    @property
    def count(self) -> int:
        """How many jobs there are."""
        positions = len(next(iter(self.walked.values()), (None,)))
        return math.prod(map(len, self.grid.values())) * positions * self.samples

    def record(self) -> dict[str, Any]:
        """Return the plan as the JSON values of a sweep file, from which :func:`plan_of` makes it again."""
        laws = {part: {name: _law_record(law) for name, law in drawn.items()} for part, drawn in
                (("random", self.random), ("latin", self.latin))}  # fmt: skip
        samples = {"samples": self.samples} if self.random or self.latin else {}
        grid, walked = ({name: list(values) for name, values in axes.items()} for axes in (self.grid, self.walked))
        parts = {"fixed": dict(self.fixed), "grid": grid, "list": walked, **laws}
        return {"command": self.command, "seed": self.seed, **samples, **parts}

    def jobs(self) -> Iterator[dict[str, Any]]:
        """Yield the swept options of each job, in the order of the table."""
        columns = self._columns()
        positions = len(next(iter(self.walked.values()), (None,)))
        for cell in itertools.product(*self.grid.values()):
            for position in range(positions):
                for sample in range(self.samples):
                    walked = {name: values[position] for name, values in self.walked.items()}
                    drawn = {name: values[sample] for name, values in columns.items()}
                    yield {**dict(zip(self.grid, cell, strict=True)), **walked, **drawn}

    def _columns(self) -> dict[str, list[Any]]:
        """Return the draws of each option; an option more does not change the independent draws of the others."""
        columns = {}
        for name, law in self.random.items():
            generator = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
            columns[name] = [law.value(float(share)) for share in generator.random(self.samples)]
        if self.latin:
            from scipy.stats import qmc

            cube = qmc.LatinHypercube(len(self.latin), seed=np.random.default_rng(self.seed)).random(self.samples)
            for (name, law), shares in zip(self.latin.items(), cube.T, strict=True):
                columns[name] = [law.value(float(share)) for share in shares]
        return columns


def _law_record(law: Law) -> dict[str, Any]:
    if law.choices:
        return {"choices": list(law.choices)}
    return {"low": law.low, "high": law.high, "scale": law.scale, "integer": law.integer}


def read_plan(path: str | Path) -> Plan:
    """Read a sweep file.

    Raises
    ------
    BadInputError
        If the file is not a sweep; the message lists every problem, with the nearest name for unknown keys.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInputError(f"{path} is not a file: {no_file(path)}; docs/howto-runs.md has a sweep to begin with")
    record = read_toml(path)
    return plan_of(record, str(path))


def plan_of(record: Mapping[str, Any], name: str = "the sweep") -> Plan:
    """Return the plan of a sweep file that is read already; see :func:`read_plan`."""
    problems = [_unknown(key, _KEYS) for key in record if key not in _KEYS]
    parts = {part: record.get(part, {}) for part in _PARTS}
    problems += [f"{part} must be a table, [{part}]" for part in _PARTS if not isinstance(parts[part], dict)]
    command = record.get("command")
    if not isinstance(command, str) or not command.split():
        problems.append('command is missing; give the words of one, such as command = "simulate"')
    samples, seed = record.get("samples"), record.get("seed", 0)
    problems += [
        f"{key} must be a whole number of at least 0, got {record[key]!r}"
        for key in ("samples", "seed")
        if _odd(record, key)
    ]
    if problems:
        raise BadInputError.all_of(name, problems)
    grid = {key: _axis(key, value, problems) for key, value in parts["grid"].items()}
    walked = {key: _axis(key, value, problems) for key, value in parts["list"].items()}
    laws = {part: {key: _law(part, key, value, problems) for key, value in parts[part].items()} for part in _PARTS[3:]}
    if len({len(values) for values in walked.values()}) > 1:
        lengths = ", ".join(f"{key} has {len(values)}" for key, values in walked.items())
        problems.append(f"the values of [list] are walked together, but {lengths}")
    drawn = bool(laws["random"] or laws["latin"])
    if drawn and (samples is None or samples < 1):
        problems.append("[random] and [latin] need samples, how many to draw, such as samples = 50")
    if samples is not None and not drawn:
        problems.append("samples belongs to [random] or [latin]; leave it out, or say what to draw")
    problems += _twice(parts)
    if problems:
        raise BadInputError.all_of(name, problems)
    words = " ".join(str(command).split())
    plan = Plan(
        command=words,
        fixed=parts["fixed"],
        grid=grid,
        walked=walked,
        random=laws["random"],
        latin=laws["latin"],
        samples=samples or 1,
        seed=seed,
    )
    if plan.count > MOST_JOBS:
        raise BadInputError(f"{name} has {plan.count} jobs; at most {MOST_JOBS} are allowed: make its grid coarser")
    return plan


def _odd(record: Mapping[str, Any], key: str) -> bool:
    """Return whether a value that must be a whole number, zero or more, is there and is something else."""
    value = record.get(key, 0)
    return not isinstance(value, int) or isinstance(value, bool) or value < 0


def _unknown(key: str, known: Sequence[str]) -> str:
    near = nearest(key, known)
    return f"unknown key {key!r}; " + (f"did you mean {near}?" if near else f"choose from {', '.join(known)}")


def _twice(parts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say which options have values in two places."""
    part_of: dict[str, str] = {}
    problems = []
    for part in _PARTS:
        for key in parts[part]:
            name = key.replace("-", "_")
            if name in part_of:
                problems.append(f"{key} is in [{part_of[name]}] and in [{part}]; keep one")
            part_of.setdefault(name, part)
    return problems


def _axis(key: str, value: Any, problems: list[str]) -> tuple[Any, ...]:
    """Return the values of a list, or of a range ``{from, to, count, scale}``."""
    if isinstance(value, list):
        if not value:
            problems.append(f"{key} has no values")
        return tuple(value)
    if not isinstance(value, dict):
        problems.append(f"{key} = {value!r}: expected a list, or a range {{from = 0.1, to = 10, count = 5}}")
        return ()
    problems += [f"{key}: {_unknown(name, _RANGE)}" for name in value if name not in _RANGE]
    first, last, count, scale = (value.get(name) for name in _RANGE)
    scale = scale or "linear"
    if not isinstance(count, int) or not 2 <= count <= MOST_JOBS:
        problems.append(f"{key} needs a count from 2 to {MOST_JOBS}, got {count!r}")
        return ()
    if not _number(first) or not _number(last) or scale not in _SCALES:
        problems.append(f'{key} needs numbers from and to, and scale "linear" or "log"')
        return ()
    if scale == "log" and min(first, last) <= 0:
        problems.append(f"{key}: a logarithmic range needs bounds above 0")
        return ()
    spaced = np.geomspace(first, last, count) if scale == "log" else np.linspace(first, last, count)
    # The digits beyond the twelfth are rounding: 0.30000000000000004 would be another run than 0.3.
    return tuple(float(f"{number:.12g}") for number in spaced)


def _law(part: str, key: str, value: Any, problems: list[str]) -> Law:
    if not isinstance(value, dict):
        problems.append(f"[{part}] {key} = {value!r}: expected {{low = 1, high = 100}} or {{choices = [1, 2]}}")
        return Law()
    faults = [f"[{part}] {key}: {_unknown(name, _LAW)}" for name in value if name not in _LAW]
    choices = value.get("choices")
    if choices is not None:
        if not isinstance(choices, list) or not choices or len(value) > 1:
            faults.append(f"[{part}] {key}: choices is a list of values, and stands alone")
    else:
        low, high, scale = value.get("low"), value.get("high"), value.get("scale", "linear")
        if not _number(low) or not _number(high) or not low < high or scale not in _SCALES:
            faults.append(f'[{part}] {key} needs numbers low < high, and scale "linear" or "log"')
        elif scale == "log" and low <= 0:
            faults.append(f"[{part}] {key}: a logarithmic scale needs bounds above 0")
        if not isinstance(value.get("integer", False), bool):
            faults.append(f"[{part}] {key}: integer is true or false")
    problems += faults
    if faults:
        return Law()
    bounds = {name: float(value[name]) for name in ("low", "high") if name in value}
    return Law(**{**value, **bounds, "choices": tuple(choices or ())})


def _number(value: Any) -> TypeGuard[float]:
    """Return whether a value is a number whose differences from others of the kind are finite too."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST
