"""Many sets of tokens in one call: each has the bits that it has alone, on ties too."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokendyn.attention import Head
from tokendyn.dynamics import (
    FeedForward,
    Layer,
    RaggedTokens,
    ResidualLayer,
    mean_shares,
    ragged_hardmax,
    ragged_tokens,
    run,
    run_ragged,
)
from tokendyn.errors import BadInputError
from tokendyn.runs.checkpoint import Checkpoint

FIELDS = ("states", "leaders", "tie_counts", "tie_spreads", "recorded", "doubtful")


def head_of(kind, dim, rng):
    rank = int(rng.integers(1, 4))
    return {
        "identity": Head(),
        "score": Head(score=rng.normal(size=(dim, dim))),
        "query and key": Head(query=rng.normal(size=(rank, dim)), key=rng.normal(size=(rank, dim))),
        "tolerant": Head(tie_tolerance=1e-10),
    }[kind]


def sets_of(kind, dim, rng, count=8):
    sizes = rng.integers(1, 9, size=count)
    if kind == "lattice":
        return [rng.integers(-2, 3, size=(int(size), dim)) / 2.0 for size in sizes]
    return [rng.normal(size=(int(size), dim)) for size in sizes]


def assert_same(found, alone):
    for name in FIELDS:
        assert np.ascontiguousarray(getattr(found, name)).tobytes() == getattr(alone, name).tobytes(), name
    assert found.status == alone.status


@pytest.mark.parametrize("kind", ["identity", "score", "query and key", "tolerant"])
@pytest.mark.parametrize("place", ["lattice", "ordinary"])
@given(seed=st.integers(0, 2**32), dim=st.integers(1, 4))
@settings(max_examples=15)
def test_a_set_in_a_batch_has_the_bits_that_it_has_alone(kind, place, seed, dim):
    rng = np.random.default_rng(seed)
    sets, head = RaggedTokens.of(sets_of(place, dim, rng)), head_of(kind, dim, rng)
    layers = [Layer(alpha, (head,)) for alpha in rng.choice([0.3, 0.5, 1.0, 2.0], size=5)]
    weights = rng.integers(1, 4, size=len(sets.tokens)).astype(float)
    batch = run_ragged(sets, layers, weights=weights, record=[0, 3])
    for number, tokens in enumerate(sets):
        own = slice(*sets.span(number))
        assert_same(batch[number], run(tokens, layers, weights=weights[own], record=[0, 3]))


@given(seed=st.integers(0, 2**32), place=st.sampled_from(["lattice", "ordinary"]))
@settings(max_examples=30)
def test_shares_carry_the_mean_at_the_end_back_to_the_start(seed, place):
    rng = np.random.default_rng(seed)
    sets = RaggedTokens.of(sets_of(place, 2, rng))
    layers = [Layer(alpha, (Head(score=np.array([[2.0, 1.0], [0.0, 1.0]])),)) for alpha in (0.5, 1.0, 2.0)]
    weights = rng.integers(1, 4, size=len(sets.tokens)).astype(float)
    found = mean_shares(sets, layers, weights=weights)
    for number, end in enumerate(run_ragged(sets, layers, weights=weights).last):
        own = slice(*sets.span(number))
        mean = weights[own] @ end / weights[own].sum()
        assert (found.shares[own] >= 0).all()
        assert found.shares[own].sum() == pytest.approx(1.0, abs=1e-12)
        np.testing.assert_allclose(found.shares[own] @ sets[number], mean, rtol=0, atol=1e-12)


def test_without_layers_the_shares_are_the_weights():
    found = mean_shares([np.eye(2), np.ones((1, 2))], [], weights=np.array([1.0, 3.0, 2.0]))
    assert found.shares.tolist() == [0.25, 0.75, 1.0]
    assert found.self_led.all()


def test_without_layers_a_set_of_any_size_is_shared(rng):
    found = mean_shares([rng.normal(size=(2500, 2))], [])
    assert found.shares.tolist() == [1 / 2500] * 2500
    assert found.self_led.all()


@pytest.mark.parametrize(
    "layer",
    [
        Layer(0.5, (Head(inverse_temperature=2.0),)),
        Layer(0.5, (Head(), Head(score=-np.eye(2)))),
        ResidualLayer((Head(value=-0.5 * np.eye(2)),)),
    ],
)
def test_layers_that_do_not_freeze_run_set_by_set(layer, rng):
    sets = sets_of("ordinary", 2, rng)
    batch = run_ragged(sets, [layer] * 4, record="all")
    for found, tokens in zip(batch, sets, strict=True):
        assert_same(found, run(tokens, [layer] * 4))


def test_a_set_that_diverges_keeps_its_finite_layers_and_disturbs_no_other():
    layers = [ResidualLayer((Head(value=1e200 * np.eye(2), inverse_temperature=1e-300),))] * 3
    sets = [np.ones((3, 2)), np.zeros((2, 2))]
    batch = run_ragged(sets, layers)
    assert batch.statuses == ("diverged", "completed")
    assert batch.status == "diverged"
    assert batch.last_layers.tolist() == [1, 3]
    for number in range(2):
        assert_same(batch[number], run(sets[number], layers, record="last"))
    assert np.isnan(batch.states[-1, :3]).all()


def test_large_extreme_and_empty_sets_are_run_too(rng, monkeypatch):
    monkeypatch.setattr(ragged_hardmax, "MOST_LAYERS", 4)
    sets = [rng.normal(size=(2100, 2)), np.empty((0, 2)), 1e-200 * rng.normal(size=(5, 2)), np.zeros((3, 2))]
    for count in (2, 6):
        batch = run_ragged(sets, [Layer(0.5)] * count)
        shares = mean_shares(sets, [Layer(0.5)] * count).shares
        assert batch.last.sizes.tolist() == [2100, 0, 5, 3]
        for number in (0, 2, 3):
            assert_same(batch[number], run(sets[number], [Layer(0.5)] * count, record="last"))
            own = slice(*batch.last.span(number))
            np.testing.assert_allclose(
                shares[own] @ sets[number], batch[number].states[-1].mean(axis=0), rtol=1e-9, atol=1e-13
            )


def test_threads_pieces_and_progress_change_nothing(rng, monkeypatch):
    sets = sets_of("ordinary", 2, rng, count=30)
    whole = run_ragged(sets, [Layer(0.5)] * 5)
    monkeypatch.setattr(ragged_tokens, "PIECE", 20)
    seen = []
    parts = run_ragged(sets, [Layer(0.5)] * 5, workers=2, progress=lambda done, total: seen.append((done, total)))
    assert parts.states.tobytes() == whole.states.tobytes()
    assert seen[-1] == (30, 30)
    assert len(seen) > 3
    assert seen == sorted(seen)
    assert mean_shares(sets, [Layer(0.5)] * 5, workers=2).shares.tobytes() == (
        mean_shares(sets, [Layer(0.5)] * 5).shares.tobytes()
    )


def test_a_batch_that_was_stopped_goes_on_to_the_same_bits(rng, monkeypatch, tmp_path):
    monkeypatch.setattr(ragged_tokens, "PIECE", 20)
    sets, layers = sets_of("ordinary", 2, rng, count=20), [Layer(0.5, (Head(inverse_temperature=3.0),))] * 3
    whole = run_ragged(sets, layers)
    done = []

    def stop(count, _):
        done.append(count)
        if len(done) == 3:
            raise KeyboardInterrupt

    path = tmp_path / "batch.safetensors"
    with pytest.raises(KeyboardInterrupt):
        run_ragged(sets, layers, progress=stop, checkpoint=Checkpoint(path, seconds=0.0))
    again = []
    rest = run_ragged(sets, layers, progress=lambda n, _: again.append(n), checkpoint=path)
    assert again[0] > done[0]
    for name in ("states", "leaders", "ends", "last_layers"):
        assert getattr(rest, name).tobytes() == getattr(whole, name).tobytes()


def test_sets_come_back_as_they_were_given(rng):
    sets = sets_of("ordinary", 3, rng)
    batch = RaggedTokens.of(sets)
    assert len(batch) == 8
    assert batch.dim == 3
    assert all(np.array_equal(a, b) for a, b in zip(batch, sets, strict=True))
    assert np.array_equal(batch[-1], sets[-1])
    assert RaggedTokens.of(batch) is batch
    with pytest.raises(IndexError, match="no set 8"):
        batch[8]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ([np.ones((2, 2)), np.ones((2, 3))], "set 1 has 3 coordinates, and the first one 2"),
        ([np.ones((2, 2)), np.ones(2), np.full((1, 2), np.nan)], "(?s)set 1: .*matrix.*set 2: .*NaN"),
        ([], "no set"),
    ],
)
def test_all_bad_sets_are_named(sets, message):
    with pytest.raises(BadInputError, match=message):
        run_ragged(sets, [Layer(0.5)])


@pytest.mark.usefixtures("unchecked")
def test_stacked_sets_are_taken_from_lists_and_other_types_of_numbers():
    stacked = RaggedTokens([[1.0, 0.0], [0.0, 2.0]], [0, 1, 2])
    assert [one.tolist() for one in stacked] == [[[1.0, 0.0]], [[0.0, 2.0]]]
    assert run_ragged(RaggedTokens(stacked.tokens.astype(int), stacked.offsets), [Layer(0.5)]).status == "completed"
    nothing = RaggedTokens(np.empty((0, 2), dtype=np.float32), np.array([0, 0]))
    assert run_ragged(nothing, [Layer(0.5)]).ends.dtype == np.float64
    with pytest.raises(BadInputError, match="descent"):
        RaggedTokens(np.zeros((3, 2)), np.array([0, 2, 1, 3], dtype=np.uint64))
    for shape in ((3,), (3, 0)):
        with pytest.raises(BadInputError, match="tokens must be a"):
            RaggedTokens(np.zeros(shape), np.array([0, 3]))


def test_weights_of_which_the_sum_would_overflow_are_refused():
    tokens = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, -1.0]])
    for use in (run, lambda tokens, layers, weights: run_ragged([tokens], layers, weights=weights)):
        with pytest.raises(BadInputError, match=r"token weights add up to inf, more than 1\.12e"):
            use(tokens, [Layer(1.0)] * 3, weights=np.full(3, 1e308))
        heavy = use(1e50 * tokens, [Layer(1.0)] * 3, weights=np.full(3, 1e247))
        light = use(1e50 * tokens, [Layer(1.0)] * 3, weights=np.ones(3))
        np.testing.assert_allclose(heavy.states[-1], light.states[-1], rtol=1e-15)


@pytest.mark.usefixtures("unchecked")
def test_wrong_offsets_heads_and_layers_are_refused(rng, monkeypatch):
    tokens = rng.normal(size=(4, 2))
    with pytest.raises(BadInputError, match="offsets must ascend from 0 to the number of tokens, 4"):
        RaggedTokens(tokens, np.array([0, 3]))
    with pytest.raises(BadInputError, match="descent"):
        RaggedTokens(tokens, np.array([0, 3, 2, 4]))
    with pytest.raises(BadInputError, match="does not fit tokens of 2 coordinates"):
        run_ragged([tokens], [Layer(0.5, (Head(score=np.eye(3)),))])
    with pytest.raises(BadInputError, match="one hardmax head"):
        mean_shares([tokens], [Layer(0.5, (Head(inverse_temperature=1.0),))])
    with pytest.raises(BadInputError, match="weights"):
        run_ragged([tokens], [Layer(0.5)], weights=-np.ones(4))
    with pytest.raises(BadInputError, match="backend must be one of"):
        run_ragged([tokens], [Layer(0.5)], backend="polytop")
    for workers in (0, 1.5, True):
        with pytest.raises(BadInputError, match="workers must be a whole number"):
            run_ragged([tokens], [Layer(0.5)], workers=workers)
    monkeypatch.setattr("tokendyn.runs.memory.machine_memory", lambda: 1000.0)
    with pytest.raises(BadInputError, match='record="last"'):
        run_ragged([tokens], [Layer(0.5)] * 9, record="all")


def test_a_residual_layer_feeds_forward_and_then_adds_what_it_attends_to(rng):
    tokens = rng.normal(size=(6, 2))
    part = FeedForward(*(rng.normal(size=shape) for shape in ((4, 2), (4,), (2, 4), (2,))), residual=False)
    head = Head(score=rng.normal(size=(2, 2)), value=rng.normal(size=(2, 2)), inverse_temperature=1.5)
    found, _ = ResidualLayer((head,), part)(tokens)
    inner = np.maximum(tokens @ part.inner.T + part.inner_bias, 0) @ part.outer.T + part.outer_bias
    shares = np.exp(1.5 * (inner @ head.score.T) @ inner.T)
    expected = inner + (shares / shares.sum(axis=1, keepdims=True)) @ inner @ head.value.T
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_feed_forward_part_without_units_adds_its_bias():
    part = FeedForward(np.empty((0, 2)), np.empty(0), np.empty((2, 0)), np.array([1.0, 2.0]))
    assert part(np.zeros((1, 2))).tolist() == [[1.0, 2.0]]
