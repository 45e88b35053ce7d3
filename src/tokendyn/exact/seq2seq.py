"""From sequences and output sequences to a transformer: cut tokens into groups, plan, write the weights, certify."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tokendyn.errors import BadInputError
from tokendyn.exact import deep
from tokendyn.exact.compiler import BuildData, Progress, certified, check_options, read_data
from tokendyn.exact.construction import Construction
from tokendyn.exact.directions import project
from tokendyn.exact.errors import OutputLengthError, SeparationError
from tokendyn.exact.plan import ROOT, Plan, make_plan, needed_gap, what_parts
from tokendyn.exact.sequences import Given, TokenSets, arrays_of, token_sets, unique_sets
from tokendyn.exact.transformer import ExactTransformer
from tokendyn.words import counted


def compile_seq2seq(
    sequences: Given,
    outputs: Sequence[Any],
    *,
    attention: str = "hardmax",
    dtype: str = "float64",
    direction: str = "auto",
    trials: int = 1,
    seed: int = 0,
    min_margin: float = 0.0,
    beta: float | None = None,
    certify: bool = True,
    workers: int = 1,
    progress: Progress | None = None,
) -> ExactTransformer:
    """Build a transformer that turns the tokens of every sequence into its output sequence.

    The tokens of sequence j, in their order on the line, are divided into as many groups as the output has entries;
    every token of a group ends as that entry, to the last bit. ``2 sum m^j + 2 Q + 1`` blocks with ``Q <= N - 1``.

    Parameters
    ----------
    sequences
        As for :func:`compile`.
    outputs
        One ``(m, outputs)`` or ``(m,)`` array a sequence, with ``m`` at most its number of distinct tokens.
    attention, dtype, direction, trials, seed, min_margin, beta, certify, workers, progress
        As for :func:`compile`.

    Raises
    ------
    OutputLengthError
        If an output is longer than the number of distinct tokens of its sequence.
    ContradictoryLabelsError, SeparationError, PrecisionError, CertificateError, BadInputError
        As for :func:`compile`.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn import exact
    >>> rng = np.random.default_rng(0)
    >>> sequences = [rng.normal(size=(n, 2)) for n in (3, 4)]
    >>> outputs = [np.array([[1.0], [2.0]]), np.array([[5.0]])]
    >>> model = exact.compile_seq2seq(sequences, outputs)
    >>> [output.tolist() for output in model.outputs(sequences)]
    [[[2.0], [2.0], [1.0]], [[5.0], [5.0], [5.0], [5.0]]]
    """
    check_options("narrow", attention, direction, "set", trials, seed, min_margin, beta)
    entries = _read_outputs(outputs, dtype)
    sequences = arrays_of(sequences)
    if len(entries) != len(sequences):
        raise BadInputError(
            f"{counted(len(sequences), 'sequence')} and {len(entries)} outputs; expected one output a sequence"
        )
    names = [tuple(map(tuple, output.tolist())) for output in entries]
    data = read_data(sequences, names, dtype, False, "set", "narrow")
    _check_output_lengths(data, entries)
    plan = make_plan(
        data.distinct, data.sets, np.arange(len(data.distinct)), direction=direction, trials=trials, seed=seed,
        min_margin=min_margin, unique_ids=True,
    )  # fmt: skip
    groups, targets = _groups(plan, data, entries, direction, dtype, min_margin)
    channels = deep.channels(False, groups.values.shape[1])
    dim = max(data.all.tokens.shape[1], len(channels))
    construction = Construction(
        strategy="seq2seq",
        weights=deep.build_outputs(plan, groups).cast(dtype),
        channels=channels,
        dim=dim,
        outputs=tuple(range(4, len(channels))),
        gap=min(plan.smallest_gap, float(groups.gap.min())),
        error=plan.line.error,
        needed=needed_gap(plan.line, dtype, min_margin),
        width=float(plan.width().min(initial=np.inf)),
        longest=None,
        queries=plan.queries,
        plan=plan,
    )
    settings = {"strategy": "seq2seq", "direction": direction, "trials": trials, "seed": seed}
    model = ExactTransformer(construction, (), data.all, targets, attention=attention, beta=beta, settings=settings)
    return certified(model, certify, workers, progress)


def _read_outputs(outputs: Sequence[Any], dtype: str) -> list[np.ndarray]:
    """Return outputs as ``(m, outputs)`` arrays of the type, all of the same width."""
    try:
        arrays = [np.asarray(output, dtype=dtype) for output in outputs]
    except (ValueError, TypeError) as error:
        raise BadInputError(f"the outputs are no arrays of numbers: {str(error).splitlines()[0]}") from None
    arrays = [array[:, None] if array.ndim == 1 else array for array in arrays]
    width = arrays[0].shape[1] if arrays and arrays[0].ndim == 2 else 0
    problems = [
        f"output {j} has shape {array.shape}, expected (entries, {width}) with at least one entry"
        for j, array in enumerate(arrays)
        if array.ndim != 2 or array.shape[1] != width or 0 in array.shape
    ]
    limit = float(np.finfo(dtype).max) / 4
    problems += [
        f"output {j} holds NaN, infinity or a number beyond {limit:.2g}"
        for j, array in enumerate(arrays)
        if array.ndim == 2 and not (np.abs(array) <= limit).all()
    ]
    if problems or not arrays:
        raise BadInputError.first_of("the outputs", problems or ["there is none"], "outputs")
    return arrays


def _check_output_lengths(data: BuildData, outputs: list[np.ndarray]) -> None:
    distinct = np.diff(token_sets(data.all).starts)
    for j, output in enumerate(outputs):
        if len(output) > distinct[j]:
            raise OutputLengthError(
                f"sequence {j} has {counted(distinct[j], 'distinct token')}, and its output has {len(output)} "
                "entries; shorten "
                "the output, or give the sequence more tokens (such as a separator with a position)",
                j,
            )


def _groups(
    plan: Plan, data: BuildData, outputs: list[np.ndarray], direction: str, dtype: str, min_margin: float
) -> tuple[deep.Outputs, np.ndarray]:
    """Cut the tokens of each distinct sequence at its largest gaps; return the groups and the targets of all tokens."""
    first, which = unique_sets(token_sets(data.all))
    needed = needed_gap(plan.line, dtype, min_margin)
    owner, low, high, gap, values = [], [], [], [], []
    cuts_of = []
    finals = _final_classes(plan, data.sets)
    for j in range(len(data.distinct)):
        points = np.unique(plan.line.values[data.sets.members[data.sets.starts[j] : data.sets.starts[j + 1]]])
        output = outputs[int(first[j])]
        between = np.diff(points)
        cuts = np.sort(np.argsort(-between, kind="stable")[: len(output) - 1])
        if len(cuts) < len(output) - 1 or (len(cuts) and between[cuts].min() < needed):
            i = int(first[j])
            raise SeparationError(
                f"sequence {i} has too few tokens that are {needed:.3g} apart along {plan.line.name} for its output of "
                f"{len(output)} entries; {what_parts(direction, dtype, min_margin, needed)}",
                i, i, float(between[cuts].min(initial=0.0)), needed,
            )  # fmt: skip
        firsts, lasts = np.concatenate([[0], cuts + 1]), np.concatenate([cuts, [len(points) - 1]])
        for entry, (a, b) in enumerate(zip(firsts, lasts, strict=True)):
            near = [points[a] - points[a - 1]] if a else []
            near += [points[b + 1] - points[b]] if b + 1 < len(points) else []
            owner.append(finals[j])
            low.append(points[a])
            high.append(points[b])
            gap.append(min([*near, 1.0]))
            values.append(output[entry])
        cuts_of.append(points[firsts])
    groups = deep.Outputs(
        np.array(owner), np.array(low), np.array(high), np.array(gap), np.array(values, dtype=np.float64)
    )
    return groups, _targets(plan, data, which, cuts_of, [outputs[int(k)] for k in first])


def _final_classes(plan: Plan, sets: TokenSets) -> list[int]:
    """Return the final class number of each distinct sequence."""
    by_class: dict[int, list[int]] = {}
    for query, cls in enumerate(plan.asked.tolist()):
        by_class.setdefault(cls, []).append(query)
    finals = []
    for j in range(len(sets.starts) - 1):
        points = np.sort(plan.line.values[sets.members[sets.starts[j] : sets.starts[j + 1]]])
        state, position = ROOT, 0
        while position < len(by_class.get(state, ())):
            query = by_class[state][position]
            at = np.searchsorted(points, plan.low[query] - plan.gap[query] / 4)
            if at < len(points) and points[at] <= plan.high[query] + plan.gap[query] / 4:
                state, position = int(plan.moved[query]), 0
            else:
                position += 1
        finals.append(state)
    return finals


def _targets(
    plan: Plan, data: BuildData, which: np.ndarray, cuts_of: list[np.ndarray], outputs: list[np.ndarray]
) -> np.ndarray:
    """Return the final output that every token of all sequences must have."""
    targets = []
    points = project(data.all.tokens, plan.line.direction, plan.line.name, plan.line.centre).values
    for j in range(len(data.all)):
        part = points[data.all.starts[j] : data.all.starts[j + 1]]
        entry = np.searchsorted(cuts_of[which[j]], part, side="right") - 1
        targets.append(outputs[which[j]][entry])
    return np.concatenate(targets).astype(np.float64)
