"""From labelled sequences to a transformer: check, plan, write the weights, certify."""

import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Int

from tokendyn.data.labels import encode_labels
from tokendyn.errors import BadInputError
from tokendyn.exact import banks, deep, fingerprints
from tokendyn.exact.construction import Construction
from tokendyn.exact.directions import KINDS
from tokendyn.exact.errors import CertificateError, PrecisionError, SeparationError
from tokendyn.exact.forms import reduced
from tokendyn.exact.plan import make_plan, needed_gap
from tokendyn.exact.sequences import (
    Given,
    Sequences,
    TokenSets,
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

STRATEGIES = ("auto", "narrow", "fused", "bank", "half-space", "slab", "fingerprint", "hat", "strict")
ATTENTIONS = ("hardmax", "softmax")
MULTIPLICITIES = ("set", "frequency")

#: Strategies whose mean over tokens depends on the shares in which they occur.
_COUNTING = ("fingerprint", "hat")

#: Tokens times coordinates times sequences above which ``auto`` skips half-spaces, which cost this many products.
_MANY = 10_000_000_000
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class BuildData:
    """The sequences to build from, reduced to canonical forms: all of them, and the distinct ones."""

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
        A list of ``(tokens, dim)`` arrays of any lengths, one ``(sequences, tokens, dim)`` array, or the result of
        :func:`tokendyn.data.sequences.read_sequences`, with its labels.
    labels
        One hashable label a sequence: strings, numbers, tuples of them. Scalars of NumPy and torch become plain Python
        values; 1, True and 1.0 are three labels; None and NaN are refused, because None means that a model abstains.
    strategy
        ``"narrow"``: 2 Q + 1 blocks of width 4, for any sets of tokens that some line separates in this type.
        ``"fused"``: the same in Q + 2 blocks of width 8 and a few bubbles. ``"strict"``: two residual channels, no
        padding. One uniform attention layer: ``"half-space"`` and ``"slab"`` (``"bank"`` tries the two in this order),
        ``"fingerprint"``, ``"hat"``. ``"auto"``: half-spaces if they can be certified (and the data are not so large
        that they take minutes), else a fingerprint if the type suffices, else fused.
    attention
        ``"hardmax"``, or ``"softmax"`` at a certified inverse temperature. Uniform attention has no temperature.
    dtype
        ``"float64"`` or ``"float32"``; the labels are exact in either, or an error says why they cannot be.
    direction
        The line on which tokens are compared: ``"coordinate"``, ``"sparse"``, ``"random"``, or ``"auto"``, which
        tries them in this order.
    trials
        Number of directions to plan; the one with the fewest queries wins.
    seed
        Seed of random directions and heights.
    min_margin
        Smallest gap on which a decision may rest: a larger one needs more queries and allows a lower inverse
        temperature and larger moves of the tokens.
    multiplicity
        ``"set"``: repetitions of a token do not count. ``"frequency"``: their shares count, so that sequences may
        differ in shares alone (strategies fingerprint and hat). Sequences are the same, and a sequence is known, when
        their sets (or their shares) are equal; the network reads only these, whatever the order of the tokens.
    positions
        Whether the order of tokens counts: a coordinate with the position is appended.
    beta
        Inverse temperature of softmax attention; by default the one at which labels are exact to the last bit.
    certify
        Run all sequences at the end and raise an error if one is wrong.
    workers, progress
        Number of threads of that run; called with the sequences done and their total.

    Returns
    -------
    ExactTransformer
        With ``.module``, ``.predict``, ``.explain``, ``.stats`` and ``.certificate``.

    Raises
    ------
    ContradictoryLabelsError
        If sequences that are the same have different labels.
    SeparationError, PrecisionError
        If they cannot be separated in this type, along this direction, with this margin.
    CertificateError
        If beta is too low, or the final run is not exact.
    BadInputError
        If sequences, labels or options are unusable.

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
    check_options(strategy, attention, direction, multiplicity, trials, seed, min_margin, beta)
    sequences, labels = with_labels(sequences, labels)
    data = read_data(sequences, labels, dtype, positions, multiplicity, strategy)
    options = {
        "strategy": strategy, "attention": attention, "dtype": dtype, "direction": direction, "trials": trials,
        "seed": seed, "min_margin": float(min_margin), "multiplicity": multiplicity, "positions": positions,
    }  # fmt: skip
    construction = _construct(data, options)
    targets = np.repeat(data.codes, data.all.lengths).astype(np.float64)[:, None]
    model = ExactTransformer(
        replace(construction, weights=construction.weights.cast(dtype)), data.labels, data.all, targets,
        attention=attention, beta=beta, positions=positions, multiplicity=multiplicity, settings=options,
    )  # fmt: skip
    return certified(model, certify, workers, progress)


def check_options(
    strategy: str,
    attention: str,
    direction: str,
    multiplicity: str,
    trials: int,
    seed: int,
    min_margin: float,
    beta: float | None,
) -> None:
    """Raise a BadInputError with every problem of the options."""
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


def read_data(
    sequences: Given,
    labels: Iterable[Hashable],
    dtype: str,
    positions: bool,
    multiplicity: str,
    strategy: str,
) -> BuildData:
    """Check everything, merge sequences that are the same, and refuse contradictions."""
    ready = gather(sequences, dtype, positions=positions)
    names, codes = encode_labels(labels, len(ready))
    forms = reduced(ready, multiplicity)
    sets = token_sets(forms)
    frequencies = multiplicity == "frequency"
    first, which = unique_sets(sets, frequencies=frequencies)
    same = "tokens in the same proportions" if frequencies else "set of tokens"
    pairs = contradictions(which, first, codes)
    if len(pairs):
        raise_contradiction(pairs, names, codes, same, remedies(sequences, ready, pairs[0], positions))
    if frequencies and strategy not in ("auto", *_COUNTING):
        alone, group = unique_sets(sets)
        same = f"set of tokens, and strategy={strategy!r} does not see how often each occurs"
        raise_contradiction(
            contradictions(group, alone, codes), names, codes, same, ["or strategy='auto', which sees it"]
        )
    distinct = forms if len(first) == len(forms) else forms.take(first)
    sets = sets if distinct is forms else token_sets(distinct)
    return BuildData(all=forms, labels=names, codes=codes, distinct=distinct, sets=sets, distinct_codes=codes[first])


def _construct(data: BuildData, options: dict[str, Any]) -> Construction:
    """Return the construction of a strategy; ``auto`` and ``bank`` try several."""
    strategy = options["strategy"]
    frequency = options["multiplicity"] == "frequency"
    orders = {"auto": ["half-space", "fingerprint", "fused"], "bank": ["half-space", "slab"]}
    if strategy == "auto" and frequency:
        orders["auto"] = ["fingerprint", "hat"]
    tokens, dim = data.distinct.tokens.shape
    if tokens * dim * len(data.distinct) > _MANY:
        orders["auto"] = orders["auto"][-2:]
    tried = orders.get(strategy, [strategy])
    for name in tried[:-1]:
        try:
            return _build_strategy(name, data, options)
        except (SeparationError, PrecisionError):
            continue
    try:
        return _build_strategy(tried[-1], data, options)
    except (SeparationError, PrecisionError) as error:
        alone, group = unique_sets(data.sets)
        if not frequency or not len(contradictions(group, alone, data.distinct_codes)):
            raise
        # Some sets are equal and differ in shares only, so the strategies for sets are no remedy.
        why, _, _ = str(error).partition("; use strategy=")
        coarse = options["dtype"] == "float32"
        remedy = "use dtype='float64'" if coarse else "build several transformers of fewer sequences each"
        raise PrecisionError(f"{why}; only shares of tokens tell some of them apart: {remedy}") from None


def _build_strategy(name: str, data: BuildData, options: dict[str, Any]) -> Construction:
    sequences, sets, codes = data.distinct, data.sets, data.distinct_codes
    margin, seed, direction = options["min_margin"], options["seed"], options["direction"]
    longest = int(data.all.lengths.max())
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
        return strict(plan, len(data.labels), options["dtype"])
    channels = deep.channels(plan.lagged)
    return Construction(
        strategy=name,
        weights=deep.build(plan),
        channels=channels,
        dim=max(sequences.tokens.shape[1], len(channels)),
        outputs=(channels.index("o"),),
        gap=plan.smallest_gap,
        error=plan.line.error,
        needed=needed_gap(plan.line, options["dtype"], margin),
        width=float(plan.width().min(initial=np.inf)),
        longest=None,
        queries=plan.queries,
        plan=plan,
    )


def certified(model: ExactTransformer, certify: bool, workers: int, progress: Progress | None) -> ExactTransformer:
    """Return the model after a run of all its sequences; raise a CertificateError if one output is wrong."""
    if certify:
        done = model.certificate.verify(workers=workers, progress=progress)
        if not done.passed:
            raise CertificateError(f"the final run is not exact: {done}; use strategy='fused' with attention='hardmax'")
    return model
