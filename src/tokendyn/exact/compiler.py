"""From labelled sequences to a transformer: check, plan, write the weights, certify."""

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Int

from tokendyn.data.labels import encode_labels
from tokendyn.errors import BadInputError
from tokendyn.exact import banks, deep, fingerprints
from tokendyn.exact.construction import Construction
from tokendyn.exact.directions import KINDS, project
from tokendyn.exact.errors import CertificateError, OutputLengthError, PrecisionError, SeparationError
from tokendyn.exact.forms import reduced
from tokendyn.exact.plan import ROOT, Plan, make_plan, needed_gap, what_parts
from tokendyn.exact.sequences import (
    Given,
    Sequences,
    TokenSets,
    arrays_of,
    contradictions,
    gather,
    raise_contradiction,
    remedies,
    token_sets,
    unique_sets,
    with_labels,
)
from tokendyn.exact.shallow import first_that_works
from tokendyn.exact.strict import strict
from tokendyn.exact.transformer import ExactTransformer
from tokendyn.words import counted

STRATEGIES = ("auto", "narrow", "fused", "bank", "half-space", "slab", "fingerprint", "hat", "strict")
ATTENTIONS = ("hardmax", "softmax")
MULTIPLICITIES = ("set", "frequency")

#: Strategies whose mean over tokens sees in which shares they occur.
_COUNTING = ("fingerprint", "hat")

#: Tokens times coordinates times sequences above which ``auto`` leaves out half-spaces, which cost as many products.
_MANY = 10_000_000_000
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Data:
    """Sequences to build from, without what does not count: all of them, and the distinct ones."""

    all: Sequences
    labels: tuple[Any, ...]
    codes: Int[np.ndarray, " sequences"]
    distinct: Sequences
    sets: TokenSets
    distinct_codes: Int[np.ndarray, " distinct"]


def compile(
    sequences: Given,
    labels: Iterable[Any] | None = None,
    *,
    strategy: str = "auto",
    attention: str = "hardmax",
    dtype: str = "float64",
    direction: str = "auto",
    trials: int = 1,
    seed: int = 0,
    min_margin: float = 0.0,
    multiplicity: str = "set",
    positions: bool = False,
    beta: float | None = None,
    certify: bool = True,
    workers: int = 1,
    progress: Progress | None = None,
) -> ExactTransformer:
    """Build a transformer that gives every sequence its label, in closed form, without training.

    Parameters
    ----------
    sequences
        A list of ``(tokens, dim)`` arrays of any lengths, one ``(sequences, tokens, dim)`` array, or what
        :func:`tokendyn.data.sequences.read_sequences` returns, with its labels.
    labels
        One hashable label a sequence: strings, numbers, tuples of them. Scalars of NumPy and torch become plain Python
        values; 1, True and 1.0 are three labels; None and NaN are refused, as None means that a model abstains.
    strategy
        ``"narrow"``: 2 Q + 1 blocks of width 4, for any sets of tokens that some line tells apart in this type.
        ``"fused"``: the same in Q + 2 blocks of width 8 and a few bubbles. ``"strict"``: two residual channels, no
        padding. One uniform attention layer: ``"half-space"`` and ``"slab"`` (``"bank"`` tries the two in this order),
        ``"fingerprint"``, ``"hat"``. ``"auto"``: half-spaces if they are certified (and the data not so large that they
        take minutes), else a fingerprint if the type suffices, else fused.
    attention
        ``"hardmax"``, or ``"softmax"`` at a certified inverse temperature. Uniform attention has no temperature.
    dtype
        ``"float64"`` or ``"float32"``; the labels are exact in either or an error says why not.
    direction
        The line on which tokens are compared: ``"coordinate"``, ``"sparse"``, ``"random"``, or ``"auto"``, which
        tries them in this order.
    trials
        Directions to plan, of which the one with the fewest queries is taken.
    seed
        Seed of random directions and heights.
    min_margin
        Smallest gap that a decision may rest on: a larger one makes more queries and allows a lower inverse
        temperature and larger moves of the tokens.
    multiplicity
        ``"set"``: repetitions of a token do not count. ``"frequency"``: their shares do, so that sequences may differ
        in them alone (strategies fingerprint and hat). Sequences are the same, and a sequence counts as known, if
        their sets, or their shares, are; the network is fed just that, whatever the order and repetition of tokens.
    positions
        Whether the order of tokens counts: a coordinate with the position is appended.
    beta
        Inverse temperature of softmax attention; by default the one at which labels are right to the last bit.
    certify
        Run all sequences at the end and raise an error if one is wrong.
    workers, progress
        Threads of that run; called with the sequences done and their number.

    Returns
    -------
    ExactTransformer
        With ``.module``, ``.predict``, ``.explain``, ``.stats`` and ``.certificate``.

    Raises
    ------
    ContradictoryLabelsError
        If sequences that are the same have different labels.
    SeparationError, PrecisionError
        If they cannot be told apart in this type, along this direction, with this margin.
    CertificateError
        If beta is too low, or the final run is not exact.
    BadInputError
        For unusable sequences, labels or options.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn import exact
    >>> rng = np.random.default_rng(0)
    >>> sequences = [rng.normal(size=(n, 2)) for n in (3, 5, 4, 6)]
    >>> model = exact.compile(sequences, ["a", "b", "a", "b"])
    >>> model.predict(sequences)
    ['a', 'b', 'a', 'b']
    """
    _check_options(strategy, attention, direction, multiplicity, trials, seed, min_margin, beta)
    sequences, labels = with_labels(sequences, labels)
    given = _read(sequences, labels, dtype, positions, multiplicity, strategy)
    options = {
        "strategy": strategy, "attention": attention, "dtype": dtype, "direction": direction, "trials": trials,
        "seed": seed, "min_margin": float(min_margin), "multiplicity": multiplicity, "positions": positions,
    }  # fmt: skip
    construction = _construct(given, options)
    targets = np.repeat(given.codes, given.all.lengths).astype(np.float64)[:, None]
    model = ExactTransformer(
        replace(construction, weights=construction.weights.cast(dtype)), given.labels, given.all, targets,
        attention=attention, beta=beta, positions=positions, multiplicity=multiplicity, settings=options,
    )  # fmt: skip
    return _certified(model, certify, workers, progress)


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

    The tokens of sequence j, in the order of the line, are cut into as many groups as the output has entries; every
    token of a group ends as that entry, to the last bit. ``2 sum m^j + 2 Q + 1`` blocks with ``Q <= N - 1``.

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
    >>> [found.tolist() for found in model.outputs(sequences)]
    [[[2.0], [2.0], [1.0]], [[5.0], [5.0], [5.0], [5.0]]]
    """
    _check_options("narrow", attention, direction, "set", trials, seed, min_margin, beta)
    wanted = _read_outputs(outputs, dtype)
    sequences = arrays_of(sequences)
    if len(wanted) != len(sequences):
        raise BadInputError(
            f"{counted(len(sequences), 'sequence')} and {len(wanted)} outputs; expected one output a sequence"
        )
    names = [tuple(map(tuple, output.tolist())) for output in wanted]
    given = _read(sequences, names, dtype, False, "set", "narrow")
    _check_output_lengths(given, wanted)
    plan = make_plan(
        given.distinct, given.sets, np.arange(len(given.distinct)), direction=direction, trials=trials, seed=seed,
        min_margin=min_margin, unique_ids=True,
    )  # fmt: skip
    groups, targets = _groups(plan, given, wanted, direction, dtype, min_margin)
    channels = deep.channels(False, groups.values.shape[1])
    dim = max(given.all.tokens.shape[1], len(channels))
    construction = Construction(
        "seq2seq", deep.build_outputs(plan, groups).cast(dtype), channels, dim,
        tuple(range(4, len(channels))), min(plan.smallest_gap, float(groups.gap.min())), plan.line.error,
        needed_gap(plan.line, dtype, min_margin), float(plan.width().min(initial=np.inf)), None, plan.queries, plan,
    )  # fmt: skip
    settings = {"strategy": "seq2seq", "direction": direction, "trials": trials, "seed": seed}
    model = ExactTransformer(construction, (), given.all, targets, attention=attention, beta=beta, settings=settings)
    return _certified(model, certify, workers, progress)


def _check_options(
    strategy: str,
    attention: str,
    direction: str,
    multiplicity: str,
    trials: int,
    seed: int,
    min_margin: float,
    beta: float | None,
) -> None:
    problems = [
        f"{name}={value!r}; expected one of {', '.join(map(repr, known))}"
        for name, value, known in (
            ("strategy", strategy, STRATEGIES),
            ("attention", attention, ATTENTIONS),
            ("direction", direction, KINDS),
            ("multiplicity", multiplicity, MULTIPLICITIES),
        )
        if value not in known
    ]
    if not (isinstance(trials, (int, np.integer)) and trials >= 1):
        problems.append(f"trials={trials!r}; expected an integer of at least 1")
    if not (isinstance(seed, (int, np.integer)) and seed >= 0):
        problems.append(f"seed={seed!r}; expected an integer of at least 0")
    if beta is not None and not (isinstance(beta, (int, float, np.number)) and math.isfinite(beta) and beta > 0):
        problems.append(f"beta={beta!r}; expected a finite number above 0, or None")
    elif beta is not None and attention == "hardmax":
        problems.append(f"beta={beta!r} with attention='hardmax', which has no temperature; use attention='softmax'")
    if not (isinstance(min_margin, (int, float, np.number)) and math.isfinite(min_margin) and min_margin >= 0):
        problems.append(f"min_margin={min_margin!r}; expected a finite number of at least 0")
    if problems:
        raise BadInputError.all_of("the options", problems)


def _read(
    sequences: Given,
    labels: Iterable[Hashable],
    dtype: str,
    positions: bool,
    multiplicity: str,
    strategy: str,
) -> _Data:
    """Check everything, merge sequences that are the same, and refuse contradictions."""
    ready = gather(sequences, dtype, positions=positions)
    names, codes = encode_labels(labels, len(ready))
    forms = reduced(ready, multiplicity)
    sets = token_sets(forms)
    frequencies = multiplicity == "frequency"
    kept, which = unique_sets(sets, frequencies=frequencies)
    same = "tokens in the same proportions" if frequencies else "set of tokens"
    pairs = contradictions(which, kept, codes)
    if len(pairs):
        raise_contradiction(pairs, names, codes, same, remedies(sequences, ready, pairs[0], positions))
    if frequencies and strategy not in ("auto", *_COUNTING):
        alone, group = unique_sets(sets)
        same = f"set of tokens, and strategy={strategy!r} does not see how often each occurs"
        raise_contradiction(
            contradictions(group, alone, codes), names, codes, same, ["or strategy='auto', which sees it"]
        )
    distinct = forms if len(kept) == len(forms) else forms.take(kept)
    sets = sets if distinct is forms else token_sets(distinct)
    return _Data(forms, names, codes, distinct, sets, codes[kept])


def _construct(given: _Data, options: dict[str, Any]) -> Construction:
    """Return the construction of a strategy; ``auto`` and ``bank`` try several."""
    strategy = options["strategy"]
    frequency = options["multiplicity"] == "frequency"
    orders = {"auto": ["half-space", "fingerprint", "fused"], "bank": ["half-space", "slab"]}
    if strategy == "auto" and frequency:
        orders["auto"] = ["fingerprint", "hat"]
    tokens, dim = given.distinct.tokens.shape
    if tokens * dim * len(given.distinct) > _MANY:
        orders["auto"] = orders["auto"][-2:]
    tried = orders.get(strategy, [strategy])
    for name in tried[:-1]:
        try:
            return _one(name, given, options)
        except (SeparationError, PrecisionError):
            continue
    try:
        return _one(tried[-1], given, options)
    except (SeparationError, PrecisionError) as error:
        alone, group = unique_sets(given.sets)
        if not frequency or not len(contradictions(group, alone, given.distinct_codes)):
            raise
        # Sets that are equal: no strategy that sees sets only can help.
        why, _, _ = str(error).partition("; use strategy=")
        coarse = options["dtype"] == "float32"
        remedy = "use dtype='float64'" if coarse else "build several transformers of fewer sequences each"
        raise PrecisionError(f"{why}; only shares of tokens tell some of them apart: {remedy}") from None


def _one(name: str, given: _Data, options: dict[str, Any]) -> Construction:
    sequences, sets, codes = given.distinct, given.sets, given.distinct_codes
    margin, seed, direction = options["min_margin"], options["seed"], options["direction"]
    longest = int(given.all.lengths.max())
    if name == "half-space":
        return banks.half_space_bank(sequences, sets, codes, margin, longest)
    if name in ("slab", "fingerprint", "hat"):
        build = {
            "slab": lambda line: banks.slab_bank(line, sequences, sets, codes, margin, longest),
            "fingerprint": lambda line: fingerprints.fingerprint(line, sequences, sets, codes, margin, longest),
            "hat": lambda line: fingerprints.hat_fingerprint(line, sequences, sets, codes, margin, longest, seed),
        }[name]
        return first_that_works(build, sequences, sets, direction, seed)
    plan = make_plan(
        sequences, sets, codes, direction=direction, trials=options["trials"], seed=seed, min_margin=margin,
        lagged=name == "fused",
    )  # fmt: skip
    if name == "strict":
        return strict(plan, len(given.labels), options["dtype"])
    channels = deep.channels(plan.lagged)
    return Construction(
        name, deep.build(plan), channels, max(sequences.tokens.shape[1], len(channels)), (channels.index("o"),),
        plan.smallest_gap, plan.line.error, needed_gap(plan.line, options["dtype"], margin),
        float(plan.width().min(initial=np.inf)), None, plan.queries, plan,
    )  # fmt: skip


def _certified(model: ExactTransformer, certify: bool, workers: int, progress: Progress | None) -> ExactTransformer:
    if certify:
        done = model.certificate.verify(workers=workers, progress=progress)
        if not done.passed:
            raise CertificateError(f"the final run is not exact: {done}; use strategy='fused' with attention='hardmax'")
    return model


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


def _check_output_lengths(given: _Data, wanted: list[np.ndarray]) -> None:
    distinct = np.diff(token_sets(given.all).starts)
    for j, output in enumerate(wanted):
        if len(output) > distinct[j]:
            raise OutputLengthError(
                f"sequence {j} has {counted(distinct[j], 'distinct token')}, and its output has {len(output)} "
                "entries; shorten "
                "the output, or give the sequence more tokens (such as a separator with a position)",
                j,
            )


def _groups(
    plan: Plan, given: _Data, wanted: list[np.ndarray], direction: str, dtype: str, min_margin: float
) -> tuple[deep.Outputs, np.ndarray]:
    """Cut the tokens of each distinct sequence at its largest gaps; return the groups and all tokens' targets."""
    kept, which = unique_sets(token_sets(given.all))
    needed = needed_gap(plan.line, dtype, min_margin)
    owner, low, high, gap, values = [], [], [], [], []
    cuts_of = []
    finals = _final_classes(plan, given.sets)
    for j in range(len(given.distinct)):
        points = np.unique(plan.line.values[given.sets.members[given.sets.starts[j] : given.sets.starts[j + 1]]])
        output = wanted[int(kept[j])]
        between = np.diff(points)
        places = np.sort(np.argsort(-between, kind="stable")[: len(output) - 1])
        if len(places) < len(output) - 1 or (len(places) and between[places].min() < needed):
            i = int(kept[j])
            raise SeparationError(
                f"sequence {i} has too few tokens that are {needed:.3g} apart along {plan.line.name} for its output of "
                f"{len(output)} entries; {what_parts(direction, dtype, min_margin, needed)}",
                i, i, float(between[places].min(initial=0.0)), needed,
            )  # fmt: skip
        firsts, lasts = np.concatenate([[0], places + 1]), np.concatenate([places, [len(points) - 1]])
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
    return groups, _targets(plan, given, which, cuts_of, [wanted[int(k)] for k in kept])


def _final_classes(plan: Plan, sets: TokenSets) -> list[int]:
    """Return the class number that each distinct sequence ends with."""
    by_class: dict[int, list[int]] = {}
    for query, cls in enumerate(plan.asked.tolist()):
        by_class.setdefault(cls, []).append(query)
    finals = []
    for j in range(len(sets.starts) - 1):
        points = np.sort(plan.line.values[sets.members[sets.starts[j] : sets.starts[j + 1]]])
        state, place = ROOT, 0
        while place < len(by_class.get(state, ())):
            query = by_class[state][place]
            at = np.searchsorted(points, plan.low[query] - plan.gap[query] / 4)
            if at < len(points) and points[at] <= plan.high[query] + plan.gap[query] / 4:
                state, place = int(plan.moved[query]), 0
            else:
                place += 1
        finals.append(state)
    return finals


def _targets(
    plan: Plan, given: _Data, which: np.ndarray, cuts_of: list[np.ndarray], wanted: list[np.ndarray]
) -> np.ndarray:
    """Return what every token of all sequences must end with."""
    targets = []
    points = project(given.all.tokens, plan.line.direction, plan.line.name, plan.line.centre).values
    for j in range(len(given.all)):
        part = points[given.all.starts[j] : given.all.starts[j + 1]]
        entry = np.searchsorted(cuts_of[which[j]], part, side="right") - 1
        targets.append(wanted[which[j]][entry])
    return np.concatenate(targets).astype(np.float64)
