"""The common part of the constructions with one uniform attention layer: limits, errors, first block.

All end with a readout that is exact on its zero side: ``t = relu(2 - 2b/w) - relu(1 - 2b/w)`` is 1 for ``b = 0`` and 0
for ``b >= w``, whatever rounds elsewhere.
"""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Int

from tokendyn.exact.construction import Construction
from tokendyn.exact.directions import Line, candidates
from tokendyn.exact.errors import PrecisionError, SeparationError
from tokendyn.exact.sequences import Sequences, TokenSets
from tokendyn.exact.writing import Writer
from tokendyn.words import counted

#: Largest number of labels for the readouts, which need channels for each label.
MOST_LABELS = 64

#: Number of lines that are tried after the first.
_MOST_LINES = 16

Codes = Int[np.ndarray, " sequences"]


def check_labels(codes: Codes, strategy: str) -> int:
    """Return the number of labels; raise a PrecisionError if there are too many."""
    count = int(codes.max()) + 1
    if count > MOST_LABELS:
        raise PrecisionError(
            f"{counted(count, 'label')}, and strategy={strategy!r} needs channels for each (at most {MOST_LABELS}); "
            "use strategy='fused'"
        )
    return count


def power_below(value: float) -> float:
    """Return the largest power of two that is at most the value."""
    return math.ldexp(1.0, math.frexp(value)[1] - 1)


def unsure(why: str, codes: Codes, i: int, gap: float, needed: float, min_margin: float = 0.0) -> SeparationError:
    """Return the error for sequence i, beside the first sequence of another label."""
    j = int(np.flatnonzero(codes != codes[i])[0])
    return SeparationError(f"{why}; {instead(needed, min_margin)}", i, j, gap, needed)


def instead(needed: float, min_margin: float, dtype: str = "float64") -> str:
    """Return the remedy for a gap that is too small: a lower margin, or another construction."""
    if 0 < min_margin >= needed:
        return f"lower min_margin (now {min_margin:g})"
    return "use strategy='fused', which needs distinct sets only" + (
        ", or dtype='float64'" if dtype == "float32" else ""
    )


def project_line(write: Writer, line: Line, p: int) -> None:
    """Block 0: ``p = relu(<a, x>) - relu(-<a, x>)``, with a pair of units for each coordinate that is shifted.

    Such a pair is ``a_k (relu(x_k - c_k) - relu(c_k - x_k))``: the difference is exact before anything is added.
    """
    a, centre = line.direction.astype(np.float64), line.centre.astype(np.float64)
    for sign in (1.0, -1.0):
        write.unit(0, 0.0, {int(k): sign * float(a[k]) for k in np.flatnonzero((a != 0) & (centre == 0))}, {p: sign})
    for k in np.flatnonzero(centre).tolist():
        for sign in (1.0, -1.0):
            write.unit(0, -sign * float(centre[k]), {k: sign}, {p: sign * float(a[k])})


def first_that_works(
    build: Callable[[Line], Construction], sequences: Sequences, sets: TokenSets, direction: str, seed: int
) -> Construction:
    """Return the result of ``build(line)`` for the first direction that works.

    If none does, the error of the one that came nearest is raised.
    """
    failure: SeparationError | PrecisionError | None = None
    for tried, line in enumerate(candidates(sequences.tokens[sets.rows], direction, seed)):
        try:
            constructions: Construction = build(line)
            return constructions
        except (SeparationError, PrecisionError) as error:
            failure = error if failure is None or _nearer(error, failure) else failure
        if tried == _MOST_LINES:
            break
    assert failure is not None
    if direction != "auto" and isinstance(failure, SeparationError) and failure.gap == 0:
        failure.args = (f"{failure}, or direction='auto'",)
    raise failure


def _nearer(error: Exception, before: Exception) -> bool:
    """Return whether an error says more than the previous one: a wider gap, or a problem of the type alone."""
    if isinstance(error, SeparationError) and isinstance(before, SeparationError):
        return error.gap >= before.gap
    return isinstance(error, PrecisionError) and isinstance(before, SeparationError)
