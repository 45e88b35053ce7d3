"""The attention step: both backends against closed forms, theorems, brute force and high precision."""

import itertools
import math
import subprocess
import sys

import mpmath
import numpy as np
import pytest
from adversarial import FAMILIES, tokens_of
from hypothesis import given
from hypothesis import strategies as st

from tokendyn.attention import Head, attend, attention_weights, dispatch
from tokendyn.attention import dense as dense_backend
from tokendyn.attention import fused as fused_backend
from tokendyn.attention.step import MAX_DENSE_ENTRIES
from tokendyn.errors import BadInputError, ScaleError

BACKENDS = ("dense", "fused")
HARDMAX_BACKENDS = dispatch.HARDMAX
FIELDS = ("means", "leaders", "tie_counts", "tie_spreads", "top_scores", "log_masses")


def same_bits(one, other):
    """Say whether two arrays are equal to the last bit, NaN and signs of zero included."""
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def brute_force_row(query, keys, values, weights, tie_tolerance):
    """Return leader, count, spread, mean and top score of one query in plain Python floats."""

    def dot(a, b):
        total = a[0] * b[0]
        for x, y in zip(a[1:], b[1:], strict=True):
            total = total + x * y
        return total

    scores = [dot(query, key) for key in keys]
    top = max(scores)
    radius = max(math.sqrt(dot(key, key)) for key in keys)
    threshold = top - tie_tolerance * math.sqrt(dot(query, query)) * radius
    members = [j for j, score in enumerate(scores) if score >= threshold]
    leader = members[0]
    spread = max(abs(values[j][c] - values[leader][c]) for j in members for c in range(len(values[0])))
    mass, sums = 0.0, [0.0] * len(values[0])
    for j in members:
        mass = mass + weights[j]
        sums = [total + weights[j] * value for total, value in zip(sums, values[j], strict=True)]
    mean = list(values[leader]) if spread == 0 else [total / mass for total in sums]
    return mean, leader, len(members), spread, top, math.log(mass)


def brute_force(queries, keys, values, *, tie_tolerance=0.0, weights=None, mask=None):
    """Return the fields of a hardmax step by loops over Python floats, sharing no code with tokendyn."""
    n = len(queries)
    alive = list(range(n)) if mask is None else [i for i in range(n) if mask[i]]
    weights = [1.0] * n if weights is None else weights.tolist()
    part = [[array[i].tolist() for i in alive] for array in (queries, keys, values)]
    fields = (
        np.zeros(values.shape),
        np.full(n, -1, dtype=np.int64),
        np.zeros(n, dtype=np.int64),
        np.zeros(n),
        np.full(n, -math.inf),
        np.full(n, -math.inf),
    )
    for i, query in zip(alive, part[0], strict=True):
        row = brute_force_row(query, part[1], part[2], [weights[j] for j in alive], tie_tolerance)
        for field, entry in zip(fields, row, strict=True):
            field[i] = entry
        fields[1][i] = alive[row[1]]
    return dict(zip(FIELDS, fields, strict=True))


def assert_same_step(step, expected):
    """Compare leaders, ties and means to the bit; scores by value, as 0 and -0 tie; logs to rounding."""
    for name in ("means", "leaders", "tie_counts", "tie_spreads"):
        assert same_bits(getattr(step, name), expected[name]), name
    np.testing.assert_array_equal(step.top_scores, expected["top_scores"])
    np.testing.assert_allclose(step.log_masses, expected["log_masses"], rtol=1e-15, atol=1e-15)


def random_score(dim, rng):
    return rng.normal(size=(dim, dim)) + np.eye(dim)


# Both backends against brute force, on every adversarial family.


@pytest.mark.parametrize("tie_tolerance", [0.0, 1e-13, 1e-10])
@pytest.mark.parametrize("dim", [1, 2, 3, 5])
@pytest.mark.parametrize("family", FAMILIES)
def test_backends_and_brute_force_agree_to_the_bit_on_adversarial_tokens(family, dim, tie_tolerance):
    tokens = tokens_of(family, dim)
    rng = np.random.default_rng(dim)
    for score in (np.eye(dim), random_score(dim, rng)):
        head = Head(score=score, tie_tolerance=tie_tolerance)
        queries = head.queries(tokens)
        expected = brute_force(queries, tokens, tokens, tie_tolerance=tie_tolerance)
        for backend in HARDMAX_BACKENDS:
            assert_same_step(head.attend(tokens, backend=backend), expected)


@pytest.mark.parametrize("tie_tolerance", [0.0, 1e-13, 1e-10])
@pytest.mark.parametrize("dim", [1, 2, 3, 5])
@pytest.mark.parametrize("family", FAMILIES)
def test_backends_and_brute_force_agree_to_the_bit_with_weights_and_a_mask(family, dim, tie_tolerance):
    tokens = tokens_of(family, dim)
    rng = np.random.default_rng(dim)
    weights = rng.uniform(0.1, 3.0, size=len(tokens))
    mask = rng.random(len(tokens)) < 0.7
    mask[0] = True
    head = Head(score=random_score(dim, rng), value=rng.normal(size=(dim, dim)), tie_tolerance=tie_tolerance)
    queries, values = head.queries(tokens), head.values(tokens)
    expected = brute_force(queries, tokens, values, tie_tolerance=tie_tolerance, weights=weights, mask=mask)
    for backend in HARDMAX_BACKENDS:
        assert_same_step(head.attend(tokens, weights=weights, mask=mask, backend=backend), expected)


TILE_EDGES = sorted(
    {
        edge + shift
        for edge in (
            fused_backend.LEAST_BLOCK,
            2 * fused_backend.LEAST_BLOCK**2,
            fused_backend.ROWS,
            dense_backend.TILE_ROWS,
            dense_backend.TILE_KEYS,
        )
        for shift in (-1, 0, 1)
    }
)


@pytest.mark.parametrize("tokens_count", TILE_EDGES)
def test_backends_and_brute_force_agree_to_the_bit_across_tile_edges(tokens_count):
    rng = np.random.default_rng(tokens_count)
    tokens = rng.integers(-9, 10, size=(tokens_count, 2)).astype(float)
    weights = rng.integers(1, 4, size=tokens_count) / 2
    expected = brute_force(tokens, tokens, tokens, weights=weights)
    for backend in HARDMAX_BACKENDS:
        assert_same_step(attend(tokens, tokens, tokens, weights=weights, backend=backend), expected)


@pytest.mark.parametrize("place", [0, 63, 64, 255, 256, 1023, 1024, 2049])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_only_leader_is_found_wherever_it_stands(backend, place):
    tokens = np.tile([0.5, 0.25], (2050, 1))
    tokens[place] = [1.0, 1.0]
    step = attend(tokens, tokens, tokens, backend=backend)
    assert (step.leaders == place).all()
    assert (step.tie_counts == 1).all()
    assert (step.means == 1.0).all()


@pytest.mark.parametrize("value_dim", [1, 2, 7])
def test_backends_agree_when_values_have_another_dimension_than_keys(value_dim, rng):
    queries, keys = rng.integers(-2, 3, size=(2, 60, 3)).astype(float)
    values = rng.normal(size=(60, value_dim))
    expected = brute_force(queries, keys, values)
    for backend in BACKENDS:
        assert_same_step(attend(queries, keys, values, backend=backend), expected)


# Closed forms.


@pytest.mark.parametrize("backend", BACKENDS)
class TestBackend:
    """What every backend must do."""

    def test_a_token_attends_to_the_furthest_in_its_direction(self, backend):
        tokens = np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, -2.0]])
        step = attend(tokens, tokens, tokens, backend=backend)
        np.testing.assert_array_equal(step.leaders, [1, 1, 2, 3])
        np.testing.assert_array_equal(step.tie_counts, [1, 1, 1, 1])
        np.testing.assert_array_equal(step.top_scores, [3.0, 9.0, 1.0, 4.0])
        np.testing.assert_array_equal(step.means, tokens[[1, 1, 2, 3]])
        np.testing.assert_array_equal(step.tie_spreads, 0.0)
        np.testing.assert_array_equal(step.log_masses, 0.0)

    def test_a_token_facing_an_edge_averages_both_ends(self, backend):
        tokens = np.array([[1.0, 1.0], [-1.0, 1.0], [0.0, 0.25], [0.0, -1.0]])
        step = attend(tokens, tokens, tokens, backend=backend)
        assert step.tie_counts[2] == 2
        assert step.leaders[2] == 0
        assert step.tie_spreads[2] == 2.0
        np.testing.assert_array_equal(step.means[2], [0.0, 1.0])
        assert step.log_masses[2] == pytest.approx(math.log(2))

    def test_a_zero_query_averages_all_tokens(self, backend, rng):
        tokens = rng.normal(size=(300, 3))
        tokens[7] = 0
        step = attend(tokens, tokens, tokens, backend=backend)
        assert step.tie_counts[7] == 300
        assert step.leaders[7] == 0
        np.testing.assert_allclose(step.means[7], tokens.mean(axis=0), atol=1e-15)

    def test_in_one_dimension_the_sign_decides(self, backend):
        tokens = np.array([[-3.0], [-0.5], [0.25], [2.0]])
        step = attend(tokens, tokens, tokens, backend=backend)
        np.testing.assert_array_equal(step.leaders, [0, 0, 3, 3])

    def test_one_token_follows_itself(self, backend):
        token = np.array([[0.3, -0.7]])
        for beta in (1.0, math.inf):
            step = attend(token, token, token, inverse_temperature=beta, backend=backend)
            assert step.leaders[0] == 0
            np.testing.assert_array_equal(step.means, token)

    def test_coinciding_leaders_give_their_place_to_the_bit(self, backend):
        place = np.array([0.1, 0.7])
        tokens = np.concatenate([np.tile(place, (3, 1)), [[0.01, 0.02]]])
        step = attend(tokens, tokens, tokens, weights=np.array([0.1, 0.2, 0.7, 1.0]), backend=backend)
        assert (step.tie_counts == 3).all()
        assert (step.tie_spreads == 0).all()
        assert same_bits(step.means, np.tile(place, (4, 1)))

    def test_softmax_of_two_tokens_is_the_logistic_function(self, backend):
        tokens = np.array([[0.0], [1.0]])
        beta = 0.75
        step = attend(tokens, tokens, tokens, inverse_temperature=beta, backend=backend)
        np.testing.assert_allclose(step.means[:, 0], [0.5, 1 / (1 + math.exp(-beta))], rtol=1e-15)
        np.testing.assert_allclose(step.log_masses, [math.log(2), math.log1p(math.exp(-beta))], rtol=1e-15, atol=1e-16)

    def test_softmax_of_equal_scores_is_the_mean(self, backend, rng):
        values = rng.normal(size=(90, 2))
        same = np.ones((90, 2))
        step = attend(same, same, values, inverse_temperature=3.0, backend=backend)
        np.testing.assert_allclose(step.means, np.tile(values.mean(axis=0), (90, 1)), atol=1e-14)

    @pytest.mark.parametrize("dim", [1, 2, 3, 5])
    @pytest.mark.parametrize("beta", [0.1, 1.0, 10.0, 1e2, 1e3, 1e4])
    @pytest.mark.parametrize("size", [1.0, math.sqrt(1e3)])
    def test_softmax_matches_fifty_digits(self, backend, dim, beta, size, rng):
        tokens = rng.normal(size=(13, dim))
        tokens *= size / np.linalg.norm(tokens, axis=1).max()
        score, weights = random_score(dim, rng), rng.uniform(0.1, 3, size=13)
        head = Head(score=score, inverse_temperature=beta)
        step = head.attend(tokens, weights=weights, backend=backend)
        means, log_masses = softmax_of_fifty_digits(head.queries(tokens), tokens, weights, beta)
        # Scores are rounded once for each product and sum; beta turns that into a relative error of p_ij.
        largest = np.abs(head.queries(tokens)).max() * np.abs(tokens).max()
        error = np.finfo(float).eps * (30 + 2 * dim**2 * beta * largest)
        np.testing.assert_allclose(step.means, means, rtol=0, atol=error * size)
        np.testing.assert_allclose(step.log_masses, log_masses, rtol=0, atol=error)

    def test_huge_scores_do_not_overflow(self, backend):
        tokens = 1e100 * np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.4]])
        step = attend(tokens, tokens, tokens, inverse_temperature=1e4, backend=backend)
        np.testing.assert_array_equal(step.means, tokens[[0, 1, 0]])

    @pytest.mark.parametrize("beta", [0.5, math.inf])
    def test_weights_are_multiplicities(self, backend, beta, rng):
        tokens = rng.integers(-2, 3, size=(25, 2)).astype(float)
        counts = rng.integers(1, 5, size=25)
        weighted = attend(
            tokens, tokens, tokens, weights=counts.astype(float), inverse_temperature=beta, backend=backend
        )
        many = np.repeat(tokens, counts, axis=0)
        repeated = attend(many, many, many, inverse_temperature=beta, backend=backend)
        first = np.cumsum(counts) - counts
        np.testing.assert_allclose(weighted.means, repeated.means[first], atol=1e-14)
        np.testing.assert_allclose(weighted.log_masses, repeated.log_masses[first], atol=1e-14)
        np.testing.assert_array_equal(weighted.tie_spreads, repeated.tie_spreads[first])

    @pytest.mark.parametrize("beta", [2.0, math.inf])
    def test_padding_changes_nothing_whatever_it_holds(self, backend, beta, rng):
        dim = 3
        short = rng.normal(size=(70, dim))
        head = Head(score=random_score(dim, rng), inverse_temperature=beta, tie_tolerance=1e-13)
        expected = head.attend(short, backend=backend)
        at = np.sort(rng.permutation(300)[:70])
        for garbage in (np.nan, np.inf, 1e300, 0.0):
            tokens = np.full((300, dim), garbage)
            tokens[at] = short
            mask = np.zeros(300, dtype=bool)
            mask[at] = True
            weights = np.where(mask, 1.0, garbage)
            step = head.attend(tokens, weights=weights, mask=mask, backend=backend)
            for name in ("means", "tie_counts", "tie_spreads", "top_scores", "log_masses"):
                assert same_bits(getattr(step, name)[at], getattr(expected, name)), name
            np.testing.assert_array_equal(step.leaders[at], at[expected.leaders])
            assert (step.leaders[~mask] == -1).all()
            assert (step.tie_counts[~mask] == 0).all()
            assert (step.means[~mask] == 0).all()
            assert (step.top_scores[~mask] == -math.inf).all()
            assert (step.log_masses[~mask] == -math.inf).all()

    def test_a_set_of_masked_tokens_only_stays_empty(self, backend):
        tokens = np.ones((2, 3, 2))
        mask = np.array([[True, True, False], [False, False, False]])
        step = attend(tokens, tokens, tokens, mask=mask, backend=backend)
        assert (step.leaders[1] == -1).all()
        assert (step.means[1] == 0).all()

    @pytest.mark.parametrize("beta", [2.0, math.inf])
    @pytest.mark.parametrize("batch", [(4,), (2, 3), (1, 1, 2)])
    def test_a_batch_equals_its_items_one_by_one(self, backend, batch, beta, rng):
        tokens = rng.integers(-3, 4, size=(*batch, 40, 2)).astype(float)
        weights = rng.uniform(0.5, 2, size=(*batch, 40))
        mask = rng.random((*batch, 40)) < 0.8
        head = Head(score=random_score(2, rng), inverse_temperature=beta)
        together = head.attend(tokens, weights=weights, mask=mask, backend=backend)
        for item in np.ndindex(*batch):
            alone = head.attend(tokens[item], weights=weights[item], mask=mask[item], backend=backend)
            for name in FIELDS:
                assert same_bits(getattr(together, name)[item], getattr(alone, name)), name

    def test_a_strided_view_equals_its_copy(self, backend, rng):
        wide = rng.normal(size=(80, 6))
        view = wide[::2, ::2]
        assert_same_step(attend(view, view, view, backend=backend), brute_force(view, view, view))

    def test_inputs_are_left_as_they_are(self, backend, rng):
        tokens = rng.normal(size=(30, 2))
        weights, mask = np.ones(30), np.arange(30) % 3 > 0
        copies = tokens.copy(), weights.copy(), mask.copy()
        step = attend(tokens, tokens, tokens, weights=weights, mask=mask, backend=backend)
        step.means[:] = 9.0
        for array, copy in zip((tokens, weights, mask), copies, strict=True):
            assert same_bits(array, copy)

    def test_single_precision_and_integers_are_computed_in_double(self, backend, unchecked):
        tokens = np.array([[1, 2], [3, -1], [0, 1]])
        for dtype in (np.int64, np.float32, np.uint8):
            given = np.abs(tokens).astype(dtype)
            step = attend(given, given, given, backend=backend)
            assert step.means.dtype == np.float64
            assert_same_step(step, brute_force(*[np.abs(tokens).astype(float)] * 3))

    @given(seed=st.integers(0, 2**32 - 1), dim=st.integers(1, 4), count=st.integers(1, 40))
    def test_permuted_tokens_give_permuted_means(self, backend, seed, dim, count):
        rng = np.random.default_rng(seed)
        tokens = rng.integers(-3, 4, size=(count, dim)).astype(float)
        order = rng.permutation(count)
        for beta in (0.8, math.inf):
            head = Head(score=rng.integers(-2, 3, size=(dim, dim)).astype(float), inverse_temperature=beta)
            step = head.attend(tokens, backend=backend)
            permuted = head.attend(tokens[order], backend=backend)
            np.testing.assert_array_equal(permuted.tie_counts, step.tie_counts[order])
            np.testing.assert_array_equal(permuted.top_scores, step.top_scores[order])
            np.testing.assert_array_equal(permuted.tie_spreads > 0, step.tie_spreads[order] > 0)
            np.testing.assert_allclose(permuted.means, step.means[order], atol=1e-13)

    @given(seed=st.integers(0, 2**32 - 1), dim=st.integers(1, 4), count=st.integers(1, 40))
    def test_rotated_tokens_and_score_give_rotated_means(self, backend, seed, dim, count):
        rng = np.random.default_rng(seed)
        tokens = rng.integers(-3, 4, size=(count, dim)).astype(float)
        score = rng.integers(-2, 3, size=(dim, dim)).astype(float)
        rotation = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
        for beta in (0.8, math.inf):
            # Scores of integers tie exactly; after the rotation they tie within the tolerance.
            head = Head(score=score, inverse_temperature=beta, tie_tolerance=1e-11)
            turned = Head(score=rotation @ score @ rotation.T, inverse_temperature=beta, tie_tolerance=1e-11)
            step = head.attend(tokens, backend=backend)
            rotated = turned.attend(tokens @ rotation.T, backend=backend)
            zero_query = (step.top_scores == 0) & (head.queries(tokens) == 0).all(axis=1)
            np.testing.assert_array_equal(rotated.tie_counts[~zero_query], step.tie_counts[~zero_query])
            kept = ~zero_query if math.isinf(beta) else slice(None)
            np.testing.assert_allclose(rotated.means[kept], (step.means @ rotation.T)[kept], atol=1e-12)

    def test_softmax_tends_to_hardmax(self, backend, rng):
        tokens = rng.normal(size=(40, 3))
        hard = attend(tokens, tokens, tokens, backend=backend)
        gaps = [
            np.abs(attend(tokens, tokens, tokens, inverse_temperature=beta, backend=backend).means - hard.means).max()
            for beta in (1.0, 10.0, 100.0, 1e3, 1e8)
        ]
        assert gaps == sorted(gaps, reverse=True)
        assert gaps[-1] < 1e-12

    def test_softmax_keeps_the_leaders_and_ties_of_hardmax(self, backend):
        tokens = tokens_of("cube_corners", 3)
        hard = attend(tokens, tokens, tokens, backend=backend)
        soft = attend(tokens, tokens, tokens, inverse_temperature=2.0, backend=backend)
        for name in ("leaders", "tie_counts", "tie_spreads", "top_scores"):
            assert same_bits(getattr(hard, name), getattr(soft, name))

    def test_query_and_key_equal_the_score_matrix_they_make(self, backend, rng):
        query, key = rng.integers(-3, 4, size=(2, 2, 4)).astype(float)
        tokens = rng.integers(-3, 4, size=(50, 4)).astype(float)
        pair = Head(query=query, key=key).attend(tokens, backend=backend)
        one = Head(score=key.T @ query).attend(tokens, backend=backend)
        for name in FIELDS:
            assert same_bits(getattr(pair, name), getattr(one, name)), name

    @pytest.mark.parametrize("beta", [0.5, 20.0, math.inf])
    def test_attention_weights_reproduce_the_means(self, backend, beta, rng):
        tokens = rng.integers(-2, 3, size=(60, 2)).astype(float)
        values, weights = rng.normal(size=(60, 3)), rng.uniform(0.5, 2, size=60)
        shares = attention_weights(tokens, tokens, inverse_temperature=beta, weights=weights)
        step = attend(tokens, tokens, values, inverse_temperature=beta, weights=weights, backend=backend)
        np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-14)
        np.testing.assert_allclose(shares @ values, step.means, atol=1e-13)
        if math.isinf(beta):
            np.testing.assert_array_equal((shares > 0).sum(axis=1), step.tie_counts)
            np.testing.assert_array_equal((shares > 0).argmax(axis=1), step.leaders)

    def test_the_same_input_gives_the_same_bits_twice(self, backend, rng):
        tokens = rng.normal(size=(400, 3))
        for beta in (3.0, math.inf):
            runs = [attend(tokens, tokens, tokens, inverse_temperature=beta, backend=backend) for _ in "ab"]
            for name in FIELDS:
                assert same_bits(*(getattr(step, name) for step in runs))


def softmax_of_fifty_digits(queries, keys, weights, beta):
    """Return means and log masses by mpmath from the given doubles."""
    with mpmath.workdps(50):
        exact = [[mpmath.mpf(float(x)) for x in row] for row in keys]
        means, logs = [], []
        for query in queries:
            scores = [mpmath.fdot([mpmath.mpf(float(x)) for x in query], key) for key in exact]
            top = max(scores)
            terms = [float(w) * mpmath.exp(beta * (s - top)) for w, s in zip(weights, scores, strict=True)]
            mass = mpmath.fsum(terms)
            means.append([float(mpmath.fdot(terms, column) / mass) for column in zip(*exact, strict=True)])
            logs.append(float(mpmath.log(mass)))
    return np.array(means), np.array(logs)


def test_backends_agree_in_softmax_to_rounding(rng):
    tokens = rng.normal(size=(1100, 3))
    for beta in (0.1, 5.0, 500.0):
        one, other = (attend(tokens, tokens, tokens, inverse_temperature=beta, backend=backend) for backend in BACKENDS)
        np.testing.assert_allclose(one.means, other.means, rtol=0, atol=1e-13)
        np.testing.assert_allclose(one.log_masses, other.log_masses, rtol=0, atol=1e-13)


def test_auto_is_the_fused_backend(rng):
    tokens = rng.normal(size=(20, 2))
    for beta in (1.0, math.inf):
        auto, fused = (
            attend(tokens, tokens, tokens, inverse_temperature=beta, backend=backend) for backend in ("auto", "fused")
        )
        for name in FIELDS:
            assert same_bits(getattr(auto, name), getattr(fused, name))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_head_names_the_token_that_is_not_finite_and_not_its_own_matrices(bad):
    tokens = np.array([[1.0, 2.0], [bad, 0.0], [3.0, 4.0]])
    for head in (Head(score=np.eye(2)), Head(value=2 * np.eye(2)), Head(query=np.eye(2), key=np.eye(2))):
        with pytest.raises(BadInputError, match=r"NaN or infinite entry at index \(1, 0\)") as caught:
            head.attend(tokens)
        assert not isinstance(caught.value, ScaleError)
        assert np.isfinite(head.attend(tokens, mask=np.array([True, False, True])).means[[0, 2]]).all()


@pytest.mark.parametrize("backend", ["dense", "fused", "prefix", "polytope"])
def test_the_tie_slack_is_the_tolerance_times_the_query_and_the_longest_key(backend):
    # Key norms 1 and 10, tolerance .1, a query of norm 2: what scores at least 20 - 2 ties with the top.
    keys = np.array([[10.0, 0.0], [9.01, 0.0], [8.99, 0.0], [0.0, 1.0], [0.0, 1.0]])
    queries = np.array([[2.0, 0.0], [0.0, 0.5], [0.5, 0.0], [1.0, 0.0], [0.0, 1.0]])
    step = attend(queries, keys, keys, tie_tolerance=0.1, backend=backend)
    np.testing.assert_array_equal(step.tie_counts, [2, 5, 2, 2, 5])  # the slack of the second is .5, as its top
    np.testing.assert_allclose(step.means[0], [9.505, 0.0])
    short = attend(queries[1:], keys[1:], keys[1:], tie_tolerance=0.1, backend=backend)
    np.testing.assert_array_equal(short.tie_counts, [2, 2, 2, 2])  # the longest key is 9.01: zero is below .5 - .45


def test_a_wider_tie_tolerance_admits_only_more_leaders(rng):
    tokens = rng.normal(size=(80, 3))
    counts = [
        attend(tokens, tokens, tokens, tie_tolerance=tolerance).tie_counts for tolerance in (0.0, 1e-3, 1e-2, 0.1)
    ]
    assert all((wide >= narrow).all() for narrow, wide in itertools.pairwise(counts))
    assert counts[-1].sum() > counts[0].sum()


def test_attention_weights_of_some_rows_are_rows_of_the_whole(rng):
    tokens = rng.normal(size=(30, 2))
    whole = attention_weights(tokens, tokens, inverse_temperature=2.0)
    np.testing.assert_array_equal(attention_weights(tokens[5:9], tokens, inverse_temperature=2.0), whole[5:9])


# Bad input: one error that says what to do.

GOOD = np.arange(6.0).reshape(3, 2)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"queries": np.full((3, 2), np.nan)}, "NaN or infinite"),
        ({"values": np.array([[0.0, np.inf]] * 3)}, "NaN or infinite"),
        ({"keys": GOOD[:2]}, "same leading axes"),
        ({"keys": GOOD[:, :1]}, "same leading axes"),
        ({"queries": GOOD[0], "keys": GOOD[0], "values": GOOD[0]}, "same leading axes"),
        ({"queries": GOOD[:0], "keys": GOOD[:0], "values": GOOD[:0]}, "no token"),
        ({"queries": GOOD[:, :0], "keys": GOOD[:, :0]}, "no token or no coordinate"),
        ({"queries": GOOD + 1j}, "real numbers"),
        ({"keys": np.array([["a", "b"]] * 3)}, "real numbers"),
        ({"values": np.array([[None, 1.0]] * 3, dtype=object)}, "real numbers"),
        ({"inverse_temperature": 0.0}, "must be positive"),
        ({"inverse_temperature": -1.0}, "must be positive"),
        ({"inverse_temperature": math.nan}, "must be positive"),
        ({"tie_tolerance": -1e-9}, "tie_tolerance"),
        ({"tie_tolerance": math.nan}, "tie_tolerance"),
        ({"tie_tolerance": 1.0}, "tie_tolerance"),
        ({"weights": np.array([1.0, -1.0, 1.0])}, "positive and finite"),
        ({"weights": np.array([1.0, 0.0, 1.0])}, "positive and finite"),
        ({"weights": np.array([1.0, np.nan, 1.0])}, "positive and finite"),
        ({"weights": np.ones(2)}, "shape"),
        ({"mask": np.ones(3)}, "mask must be bool"),
        ({"mask": np.ones(2, dtype=bool)}, "mask must be bool"),
        ({"backend": "cuda"}, "backend must be one of"),
    ],
)
def test_bad_input_is_refused_with_a_reason(arguments, message):
    with pytest.raises(BadInputError, match=message):
        attend(**({"queries": GOOD, "keys": GOOD, "values": GOOD} | arguments))


@pytest.mark.usefixtures("unchecked")
def test_all_bad_parameters_are_reported_at_once():
    with pytest.raises(BadInputError, match="3 problems") as caught:
        attend(GOOD, GOOD, GOOD, inverse_temperature=-1, tie_tolerance=-1, backend="none")
    assert all(word in str(caught.value) for word in ("inverse_temperature", "tie_tolerance", "backend must be"))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"score": np.ones((2, 3))}, "square"),
        ({"score": np.ones(4)}, "square"),
        ({"value": np.ones((2, 3))}, "square"),
        ({"score": np.full((2, 2), np.nan)}, "NaN"),
        ({"score": np.eye(2) * 1j}, "real numbers"),
        ({"query": np.eye(2)}, "together"),
        ({"key": np.eye(2)}, "together"),
        ({"score": np.eye(2), "query": np.eye(2), "key": np.eye(2)}, "not both"),
        ({"query": np.eye(2), "key": np.ones((1, 2))}, "same shape"),
        ({"inverse_temperature": 0.0}, "positive"),
    ],
)
def test_a_bad_head_is_refused_with_a_reason(arguments, message):
    with pytest.raises(BadInputError, match=message):
        Head(**arguments)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("tokens", [np.ones((3, 3)), np.ones(2), [[1.0, 2.0], [3.0]], [["a", "b"]]], ids=str)
def test_a_head_refuses_tokens_that_do_not_fit(tokens):
    with pytest.raises(BadInputError):
        Head(score=np.eye(2)).attend(tokens)


def test_a_weight_matrix_too_large_for_memory_is_refused(rng):
    tokens = np.zeros((int(math.sqrt(MAX_DENSE_ENTRIES)) + 1, 1))
    with pytest.raises(BadInputError, match="fewer query rows"):
        attention_weights(tokens, tokens)


@pytest.mark.parametrize("backend", BACKENDS)
def test_scores_that_overflow_are_refused_and_not_compared(backend):
    tokens = np.array([[1e200, 0.0], [0.0, -1e200], [1.0, 1.0]])
    with pytest.raises(BadInputError, match="overflow"):
        attend(tokens, tokens, tokens, backend=backend)


# Memory: tiles, never n by n.

_PEAK = """
import resource, sys
import numpy as np
from tokendyn.attention import attend
rng = np.random.default_rng(0)
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
small, tokens = rng.normal(size=(300, 3)), rng.normal(size=(int(sys.argv[2]), 3))
tokens[:, 2] = 0.0
tokens[5] = 0.0
attend(small, small, small, backend=sys.argv[1])
attend(small, small, small, backend=sys.argv[1], inverse_temperature=1.0)
before = peak()
attend(tokens, tokens, tokens, backend=sys.argv[1])
some = tokens[:3000]
attend(some, some, some, backend=sys.argv[1], inverse_temperature=1.0)
print(peak() - before)
"""


@pytest.mark.parametrize(("backend", "count"), [("dense", 6_000), ("fused", 20_000)])
def test_memory_stays_far_below_one_entry_for_each_pair(backend, count):
    command = [sys.executable, "-c", _PEAK, backend, str(count)]
    finished = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert int(finished.stdout) < 0.1 * 8 * count**2
