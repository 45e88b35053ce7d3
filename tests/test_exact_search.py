"""Search for a dataset that gets a wrong label: there is an exact result, or one of the documented errors.

``TOKENDYN_EXACT_EXAMPLES=2000 HYPOTHESIS_PROFILE=search python -m pytest tests/test_exact_search.py`` searches long.
"""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jaxtyping import config as jaxtyping_config

from tokendyn import exact
from tokendyn.exact.labels import encode_labels
from tokendyn.exact.plan import ask, make_plan
from tokendyn.exact.sequences import gather, token_sets

EXAMPLES = int(os.environ.get("TOKENDYN_EXACT_EXAMPLES", "25"))
DOCUMENTED = (exact.ContradictoryLabelsError, exact.SeparationError, exact.PrecisionError)

AWKWARD = [
    0.0, -0.0, 1.0, -1.0, 5e-324, -5e-324, 1e-310, 2.2e-308, 1e-300, 1e300, -1e300, 1.5e308, 1 + 2.0**-52, 1 - 2.0**-53,
    2.0**24 + 1, 1e-45, 3e38, 1 / 3,
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def unchecked_module():
    """Without shape checks: thousands of small builds."""
    jaxtyping_config.update("jaxtyping_disable", True)
    yield
    jaxtyping_config.update("jaxtyping_disable", False)


@st.composite
def datasets(draw):
    """Sequences over a small pool of tokens, so that they share tokens, repeat, and lie on extreme scales."""
    dim = draw(st.integers(1, 3))
    number = st.one_of(
        st.sampled_from(AWKWARD),
        st.integers(-3, 3).map(float),
        st.floats(allow_nan=False, allow_infinity=False),
        st.floats(-1, 1, width=32),
    )
    pool = draw(st.lists(st.tuples(*[number] * dim), min_size=1, max_size=8))
    if draw(st.booleans()):
        scale = 2.0 ** draw(st.integers(-60, -30))
        pool += [tuple(x * (1 + scale) if abs(x) < 1e308 else x for x in token) for token in pool]
    sequence = st.lists(st.sampled_from(pool), min_size=1, max_size=6)
    sequences = draw(st.lists(sequence, min_size=1, max_size=14))
    sequences += draw(st.lists(st.sampled_from(sequences), max_size=2))
    labels = draw(st.lists(st.integers(0, 3), min_size=len(sequences), max_size=len(sequences)))
    return [np.array(tokens, dtype=np.float64) for tokens in sequences], labels


OPTIONS = st.fixed_dictionaries(
    {
        "strategy": st.sampled_from(
            ["auto", "narrow", "fused", "fused", "bank", "half-space", "slab", "fingerprint", "hat", "strict"]
        ),
        "dtype": st.sampled_from(["float64", "float32"]),
        "direction": st.sampled_from(["auto", "coordinate", "sparse", "random"]),
        "attention": st.sampled_from(["hardmax", "hardmax", "softmax"]),
        "positions": st.booleans(),
        "min_margin": st.sampled_from([0.0, 0.0, 1e-3]),
    }
)


def without_contradiction(sequences, labels, options):
    """Return labels that do not contradict each other, so that most examples are built."""
    first = {}
    dtype = np.dtype(options["dtype"])
    for place, sequence in enumerate(sequences):
        with np.errstate(over="ignore"):
            rows = [tuple(row) for row in (sequence.astype(dtype) + dtype.type(0)).tolist()]
        key = tuple(enumerate(rows)) if options["positions"] else frozenset(rows)
        labels[place] = first.setdefault(key, labels[place])
    return labels


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(datasets(), OPTIONS, st.booleans())
def test_no_dataset_gets_a_wrong_label(dataset, options, repaired):
    sequences, labels = dataset
    if repaired:
        labels = without_contradiction(sequences, labels, options)
    try:
        model = exact.compile(sequences, labels, certify=False, **options)
    except DOCUMENTED:
        return
    numbers = [model.labels.index(label) for label in labels]
    targets = np.repeat(numbers, [len(sequence) for sequence in sequences])[:, None]
    fast = np.concatenate(model.outputs(sequences))
    dense = np.concatenate(model.outputs(sequences, backend="dense"))
    if model.construction.bitwise:
        assert np.array_equal(fast, targets)
        assert np.array_equal(dense, targets)
    assert np.abs(fast - targets).max() <= 0.25
    assert np.abs(dense - targets).max() <= 0.25
    assert model.predict(sequences) == labels
    assert model.predict(sequences, backend="ragged") == labels
    if len(sequences) <= 6 and options["attention"] == "hardmax":
        assert model.certificate.verify(exact=True).passed


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(datasets(), st.booleans(), st.booleans())
def test_a_plan_asks_few_questions_that_lead_to_the_labels(dataset, lagged, unique):
    sequences, labels = dataset
    options = {"dtype": "float64", "positions": False}
    labels = without_contradiction(sequences, labels, options)
    given_, codes = gather(sequences), encode_labels(labels, len(labels))[1]
    sets = token_sets(given_)
    try:
        plan = make_plan(given_, sets, codes, lagged=lagged, unique_ids=unique)
    except DOCUMENTED:
        return
    distinct = len({tuple(sets.members[a:b]) for a, b in zip(sets.starts[:-1], sets.starts[1:], strict=True)})
    assert plan.queries <= max(distinct - 1, 0)
    for j, code in enumerate(codes):
        held = sets.members[sets.starts[j] : sets.starts[j + 1]]
        assert ask(plan, plan.line.values[held])[0] == code
    if lagged:
        slots = dict(zip(plan.slots.tolist(), range(plan.queries), strict=True))
        for slot, query in slots.items():
            if slot - 1 in slots:
                assert plan.asked[query] != plan.moved[slots[slot - 1]]
