"""Layers as a dynamical system: exact contraction, trajectories, what is said of them, saving and loading."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest
from adversarial import FAMILIES, tokens_of
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from tokendyn.attention import Head
from tokendyn.dynamics import FeedForward, Layer, Trajectory, checked_tokens, run
from tokendyn.errors import BadInputError, OutputError, ScaleError
from tokendyn.geometry import convex_hull

ARRAYS = ("states", "leaders", "tie_counts", "tie_spreads")


def positive_definite(dim, rng):
    root = rng.normal(size=(dim, dim))
    return root @ root.T + 0.1 * np.eye(dim)


@pytest.fixture
def trajectory(rng):
    return run(rng.normal(size=(12, 3)), [Layer(0.5)] * 6, labels=[f"word {i}" for i in range(12)])


# The model.


def test_one_layer_moves_each_token_by_the_stated_share(rng):
    tokens, score = rng.normal(size=(20, 3)), positive_definite(3, rng)
    alpha, head = 0.75, Head(score=score)
    moved, (step,) = Layer(alpha, (head,))(tokens)
    for i, token in enumerate(tokens):
        scores = tokens @ (score @ token)
        mean = tokens[scores >= scores.max() - 1e-12].mean(axis=0)
        np.testing.assert_allclose(moved[i], token + alpha / (1 + alpha) * (mean - token), atol=1e-14)
        assert step.leaders[i] == scores.argmax()


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_a_leader_stays_where_it_is(dim, alpha, rng):
    tokens = rng.normal(size=(30, dim))
    trajectory = run(tokens, [Layer(alpha, (Head(score=positive_definite(dim, rng)),))] * 60)
    leads = (trajectory.leaders[:, 0] == np.arange(30)) & (trajectory.tie_counts[:, 0] == 1)
    assert leads.any()
    moved = (trajectory.states[1:] != trajectory.states[:-1]).any(axis=2)
    assert not (moved & leads).any()
    # Followers that have come within rounding of a leader tie with it, and may pull it by as much.
    for token in np.flatnonzero(leads.any(axis=0)):
        first = leads[:, token].argmax()
        np.testing.assert_allclose(
            trajectory.states[first:, token], trajectory.states[first, token][None].repeat(61 - first, 0), rtol=1e-14
        )


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0, 3.0])
def test_followers_of_a_leader_contract_by_exactly_one_over_one_plus_alpha(alpha):
    tokens = np.array([[1.0, 0.0], [0.5, 0.25], [0.125, -0.25]])
    trajectory = run(tokens, [Layer(alpha)] * 25)
    for layer in range(26):
        expected = tokens[0] + (1 + alpha) ** -layer * (tokens - tokens[0])
        np.testing.assert_allclose(trajectory.states[layer], expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_hulls_are_nested_on_adversarial_tokens(family, dim):
    trajectory = run(tokens_of(family, dim), [Layer(1.0)] * 8)
    for before, after in zip(trajectory.states[:-1], trajectory.states[1:], strict=True):
        assert convex_hull(before).distance_outside(after).max() <= 1e-11 * trajectory.scale


@given(seed=st.integers(0, 2**32 - 1), dim=st.integers(1, 4), alpha=st.sampled_from([0.1, 0.5, 1.0, 3.0]))
def test_permuting_the_tokens_permutes_the_trajectory(seed, dim, alpha):
    rng = np.random.default_rng(seed)
    tokens, order = rng.normal(size=(15, dim)), rng.permutation(15)
    layers = [Layer(alpha, (Head(score=positive_definite(dim, rng)),))] * 5
    plain, permuted = run(tokens, layers), run(tokens[order], layers)
    np.testing.assert_allclose(permuted.states, plain.states[:, order], atol=1e-13)
    np.testing.assert_array_equal(order[permuted.leaders], plain.leaders[:, :, order])


@given(seed=st.integers(0, 2**32 - 1), dim=st.integers(1, 4), beta=st.sampled_from([0.3, 5.0, math.inf]))
def test_rotating_tokens_and_score_rotates_the_trajectory(seed, dim, beta):
    rng = np.random.default_rng(seed)
    tokens, score = rng.normal(size=(15, dim)), positive_definite(dim, rng)
    rotation = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    plain = run(tokens, [Layer(0.5, (Head(score=score, inverse_temperature=beta),))] * 5)
    turned = Head(score=rotation @ score @ rotation.T, inverse_temperature=beta)
    rotated = run(tokens @ rotation.T, [Layer(0.5, (turned,))] * 5)
    np.testing.assert_allclose(rotated.states, plain.states @ rotation.T, atol=1e-11)
    np.testing.assert_array_equal(rotated.leaders, plain.leaders)


@pytest.mark.parametrize("beta", [2.0, math.inf])
def test_both_backends_run_the_same_trajectory(beta, rng):
    tokens = rng.normal(size=(300, 3))
    layers = [Layer(0.5, (Head(inverse_temperature=beta),))] * 8
    one, other = (run(tokens, layers, backend=backend) for backend in ("dense", "fused"))
    if math.isinf(beta):
        assert all(getattr(one, name).tobytes() == getattr(other, name).tobytes() for name in ARRAYS)
    np.testing.assert_allclose(one.states, other.states, rtol=0, atol=1e-13)


def test_weighted_tokens_run_like_repeated_ones(rng):
    tokens = rng.normal(size=(10, 2))
    counts = rng.integers(1, 4, size=10)
    layers = [Layer(1.0, (Head(inverse_temperature=3.0),))] * 5
    weighted = run(tokens, layers, weights=counts.astype(float))
    repeated = run(np.repeat(tokens, counts, axis=0), layers)
    np.testing.assert_allclose(weighted.states, repeated.states[:, np.cumsum(counts) - counts], atol=1e-13)


def test_masked_tokens_stay_and_change_nothing(rng):
    tokens = rng.normal(size=(2, 9, 2))
    mask = np.arange(9) < np.array([[9], [5]])
    tokens[1, 5:] = np.nan
    layer = Layer(0.5, (Head(score=positive_definite(2, rng)),))
    moved, _ = layer(tokens, mask=mask)
    alone, _ = layer(tokens[1, :5])
    np.testing.assert_array_equal(moved[1, :5], alone)
    assert np.isnan(moved[1, 5:]).all()


# Beyond the model of the paper.


def test_means_of_several_heads_are_added(rng):
    tokens = rng.normal(size=(20, 3))
    heads = tuple(
        Head(score=rng.normal(size=(3, 3)), value=rng.normal(size=(3, 3)), inverse_temperature=beta)
        for beta in (math.inf, 2.0)
    )
    trajectory = run(tokens, [Layer(1.0, heads)] * 3)
    assert trajectory.leaders.shape == (3, 2, 20)
    total = heads[0].attend(tokens).means + heads[1].attend(tokens).means
    np.testing.assert_allclose(trajectory.states[1], tokens + 0.5 * (total - tokens), atol=1e-14)
    np.testing.assert_array_equal(trajectory.leaders[0, 1], heads[1].attend(tokens).leaders)
    np.testing.assert_array_equal(trajectory.followed_points(head=1)[0], tokens[heads[1].attend(tokens).leaders])


def test_a_feed_forward_part_acts_on_each_token_after_attention(rng):
    part = FeedForward(*(rng.normal(size=shape) for shape in ((4, 2), (4,), (2, 4), (2,))))
    tokens = rng.normal(size=(7, 2))
    attended = run(tokens, [Layer(0.5)]).states[1]
    expected = [z + part.outer @ np.maximum(part.inner @ z + part.inner_bias, 0) + part.outer_bias for z in attended]
    np.testing.assert_allclose(run(tokens, [Layer(0.5, feed_forward=part)]).states[1], expected, atol=1e-14)


def test_layers_may_differ(rng):
    tokens = rng.normal(size=(15, 2))
    layers = [Layer(alpha, (Head(score=positive_definite(2, rng)),)) for alpha in (0.1, 2.0, 0.7)]
    together = run(tokens, layers)
    for number, layer in enumerate(layers):
        alone = run(together.states[number], [layer]).states[1]
        np.testing.assert_allclose(together.states[number + 1], alone, rtol=0, atol=1e-15)


def test_query_and_key_of_low_rank_run(rng):
    query, key = rng.normal(size=(2, 1, 3))
    trajectory = run(rng.normal(size=(15, 3)), [Layer(0.5, (Head(query=query, key=key),))] * 4)
    assert trajectory.layers == 4


def test_divergence_is_a_status_and_keeps_the_finite_layers(rng):
    tokens = rng.normal(size=(5, 2))
    grown = run(tokens, [Layer(1.0, (Head(value=1e200 * np.eye(2)),))] * 5)
    assert grown.status == "diverged"
    assert grown.layers == 1
    assert np.isfinite(grown.states).all()
    assert len(grown.leaders) == len(grown.tie_counts) == len(grown.tie_spreads) == 1
    slowly = run(tokens, [Layer(1.0, (Head(value=10 * np.eye(2)),))] * 600)
    assert slowly.status == "diverged"
    assert 100 < slowly.layers < 600
    assert np.isfinite(slowly.states).all()


def test_a_run_that_diverges_at_once_keeps_its_input_and_can_be_saved(tmp_path):
    part = FeedForward(np.full((1, 1), 1e300), np.zeros(1), np.full((1, 1), 1e300), np.zeros(1))
    trajectory = run(np.array([[1.0], [2.0]]), [Layer(1.0, feed_forward=part)] * 3)
    assert trajectory.status == "diverged"
    assert trajectory.layers == 0
    np.testing.assert_array_equal(trajectory.states, [[[1.0], [2.0]]])
    np.testing.assert_array_equal(trajectory.settled_layers(), [0, 0])
    trajectory.save(tmp_path / "run")
    assert Trajectory.load(tmp_path / "run").status == "diverged"


def test_matrices_that_overflow_finite_tokens_are_refused_by_a_single_layer():
    with pytest.raises(ScaleError, match="scale them down"):
        Layer(1.0, (Head(value=1e200 * np.eye(1)),))(np.array([[1e200]]))


# What a trajectory says.


def test_progress_is_called_after_each_layer(rng):
    calls = []
    run(rng.normal(size=(5, 2)), [Layer()] * 4, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_followed_points_are_the_places_of_the_leaders(trajectory):
    points = trajectory.followed_points()
    for layer in range(6):
        np.testing.assert_array_equal(points[layer], trajectory.states[layer][trajectory.leaders[layer, 0]])


def test_settled_layers_say_from_when_a_token_follows_one_point():
    tokens = np.array([[1.0, 4 / 12], [-1 / 12, 1 / 12], [-1, -1], [0, 3 / 12], [-0.3, -0.7], [0.8, 0.1]])
    trajectory = run(tokens, [Layer(0.5)] * 30)
    followed = trajectory.followed_points()
    settled = trajectory.settled_layers()
    for token, layer in enumerate(settled):
        np.testing.assert_allclose(followed[layer:, token], followed[layer:, token][:1].repeat(30 - layer, 0))
        if layer > 0:
            assert np.abs(followed[layer - 1, token] - followed[layer, token]).max() > 1e-9
    assert settled[0] == 0
    assert settled.max() > 0


def test_followers_that_reach_their_leader_count_as_settled_since_they_followed_it():
    tokens = np.array([[1.0, 0.0], [0.5, 0.0], [0.25, 0.0], [-1.0, 0.0]])
    trajectory = run(tokens, [Layer(3.0)] * 60)
    np.testing.assert_array_equal(trajectory.states[-1, :3], np.tile([1.0, 0.0], (3, 1)))
    np.testing.assert_array_equal(trajectory.settled_layers(), 0)


def test_clusters_of_the_last_layer_are_the_leaders_with_their_followers():
    tokens = np.array([[1.0, 0], [0.9, 0.1], [0.8, 0], [-1, 0], [-0.5, 0.1]])
    trajectory = run(tokens, [Layer(1.0)] * 40)
    clusters = trajectory.clusters()
    np.testing.assert_array_equal(clusters.labels, [0, 0, 0, 1, 1])
    np.testing.assert_allclose(clusters.centres, [[1, 0], [-1, 0]], atol=1e-9)
    assert len(trajectory.clusters(0).sizes) == 5
    assert len(trajectory.clusters(0, tolerance=3.0).sizes) == 1


@pytest.mark.parametrize("far", [1e3, 1e15, 1e150])
def test_clusters_near_the_origin_stay_apart_beside_a_very_large_token(far):
    trajectory = run(np.array([[far, 0.0], [0.0, 1.0], [0.0, -1.0], [0.0, 0.5]]), [Layer(0.5)] * 60)
    np.testing.assert_array_equal(trajectory.clusters().labels, [1, 0, 2, 0])
    assert len(trajectory.clusters(0).sizes) == 4


def test_tokens_that_shrink_towards_the_origin_together_are_one_cluster():
    # With A = -1 each token follows the one opposite, and a third of its distance is left.
    trajectory = run(np.array([[1.0], [-1.0]]), [Layer(0.5, (Head(score=-np.eye(1)),))] * 30)
    np.testing.assert_allclose(np.abs(trajectory.states[-1]), 3.0**-30, rtol=1e-12)
    assert len(trajectory.clusters(1).sizes) == 2
    assert len(trajectory.clusters().sizes) == 1


def test_a_small_token_settles_as_if_alone_beside_a_very_large_one():
    small = np.array([[1.0, 4 / 12], [-1 / 12, 1 / 12], [-1, -1], [0, 3 / 12], [-0.3, -0.7], [0.8, 0.1]])
    alone = run(small, [Layer(0.5)] * 30)
    # The large token is along a new axis, on which all others are 0.
    larger = np.vstack([np.column_stack([small, np.zeros(6)]), [[0.0, 0.0, 1e15]]])
    beside = run(larger, [Layer(0.5)] * 30)
    np.testing.assert_array_equal(beside.settled_layers()[:6], alone.settled_layers())
    assert alone.settled_layers().max() > 0


def test_zero_tokens_only_have_a_scale_and_stay():
    trajectory = run(np.zeros((3, 2)), [Layer()] * 2)
    assert trajectory.scale == 1.0
    assert (trajectory.states == 0).all()
    assert len(trajectory.clusters().sizes) == 1


def test_the_same_input_gives_the_same_bits_twice(rng):
    tokens = rng.normal(size=(50, 3))
    one, other = (run(tokens, [Layer(0.5)] * 10) for _ in "ab")
    assert all(getattr(one, name).tobytes() == getattr(other, name).tobytes() for name in ARRAYS)


def test_the_input_is_left_as_it_is(rng):
    tokens = rng.normal(size=(6, 2))
    copy = tokens.copy()
    run(tokens, [Layer()] * 3).states[:] = 0
    np.testing.assert_array_equal(tokens, copy)


def test_the_provenance_names_versions_and_settings(rng):
    record = run(rng.normal(size=(5, 2)), [Layer()], config={"note": "a"}).provenance
    assert record["config"] == {"note": "a"}
    assert {"tokendyn", "python", "libraries", "machine", "seconds", "finished"} <= record.keys()
    json.dumps(record)


def test_xarray_has_named_axes_and_the_same_numbers(trajectory):
    dataset = trajectory.to_xarray()
    assert dataset["position"].dims == ("layer", "token", "coordinate")
    assert dataset["leader"].dims == ("step", "head", "token")
    np.testing.assert_array_equal(dataset["position"].sel(layer=3).values, trajectory.states[3])
    np.testing.assert_array_equal(dataset["leader"].isel(head=0).values, trajectory.leaders[:, 0])
    np.testing.assert_array_equal(dataset["tie_count"].values, trajectory.tie_counts)
    assert list(dataset["label"].values) == list(trajectory.labels)
    assert dataset.attrs["status"] == "completed"


# Saving and loading.


def test_what_is_saved_is_loaded_to_the_bit(trajectory, tmp_path):
    odd = np.array(trajectory.states)
    odd[-1, 0] = [-0.0, 5e-324, np.pi]
    given = dataclasses.replace(trajectory, states=odd, labels=("ünïcode ☃", *trajectory.labels[1:]))
    given.save(tmp_path / "deep" / "run")
    loaded = Trajectory.load(tmp_path / "deep" / "run")
    for name in ARRAYS:
        one, other = getattr(given, name), getattr(loaded, name)
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.tobytes() == other.tobytes()
    assert (loaded.labels, loaded.status, loaded.provenance) == (given.labels, given.status, given.provenance)


def test_an_existing_folder_is_kept_unless_overwriting_is_asked_for(trajectory, tmp_path):
    trajectory.save(tmp_path / "run")
    with pytest.raises(OutputError, match="exists already"):
        trajectory.save(tmp_path / "run")
    trajectory.save(tmp_path / "run", overwrite=True)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        ".tokendyn.json",
        "trajectory.json",
        "trajectory.safetensors",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def truncate(folder):
    path = folder / "trajectory.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def truncate_header(folder):
    (folder / "trajectory.safetensors").write_bytes(b"\x10\x00\x00")


def empty_tensors(folder):
    (folder / "trajectory.safetensors").write_bytes(b"")


def drop_tensors(folder):
    (folder / "trajectory.safetensors").unlink()


def drop_record(folder):
    (folder / "trajectory.json").unlink()


def drop_all(folder):
    shutil.rmtree(folder)


def cut_record(folder):
    path = folder / "trajectory.json"
    path.write_text(path.read_text(encoding="utf-8")[:50], encoding="utf-8")


def binary_record(folder):
    (folder / "trajectory.json").write_bytes(b"\xff\xfe\x00")


def list_record(folder):
    (folder / "trajectory.json").write_text("[1, 2]", encoding="utf-8")


def edit_record(**changes):
    def edit(folder):
        path = folder / "trajectory.json"
        record = json.loads(path.read_text(encoding="utf-8")) | changes
        path.write_text(json.dumps(record), encoding="utf-8")

    return edit


def edit_tensors(change):
    def edit(folder):
        path = folder / "trajectory.safetensors"
        arrays = load_file(path)
        change(arrays)
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)

    return edit


DAMAGES = {
    "truncated tensors": (truncate, "not a whole safetensors"),
    "truncated header": (truncate_header, "not a whole safetensors"),
    "empty tensors": (empty_tensors, "not a whole safetensors"),
    "no tensors": (drop_tensors, "missing"),
    "no record": (drop_record, "missing"),
    "no folder": (drop_all, "missing"),
    "cut record": (cut_record, "cannot be read"),
    "binary record": (binary_record, "cannot be read"),
    "a list": (list_record, "holds 'list'"),
    "another schema": (edit_record(schema="tokendyn-model"), "expected 'tokendyn-trajectory'"),
    "newer schema": (edit_record(schema_version=4), "update it"),
    "no schema version": (edit_record(schema_version=None), "schema version"),
    "fewer labels": (edit_record(labels=["a"]), "damaged"),
    "no labels": (edit_record(labels=None), "damaged"),
    "unknown status": (edit_record(status="fine"), "damaged"),
    "provenance is text": (edit_record(provenance="text"), "damaged"),
    "leaders missing": (edit_tensors(lambda a: a.pop("leaders")), "lacks leaders"),
    "layers do not fit": (edit_tensors(lambda a: a.update(states=a["states"][:-1])), "damaged"),
    "tokens do not fit": (edit_tensors(lambda a: a.update(leaders=a["leaders"][:, :, :-1])), "damaged"),
    "ties do not fit": (edit_tensors(lambda a: a.update(tie_counts=a["tie_counts"][:, :, :-1])), "damaged"),
    "flat states": (edit_tensors(lambda a: a.update(states=a["states"].ravel())), "damaged"),
    "leaders out of range": (edit_tensors(lambda a: a.update(leaders=a["leaders"] + 1000)), "damaged"),
    "leaders are floats": (edit_tensors(lambda a: a.update(leaders=a["leaders"] * 0.5)), "damaged"),
    "states are integers": (edit_tensors(lambda a: a.update(states=a["states"].astype(np.int32))), "damaged"),
    "states not finite": (edit_tensors(lambda a: a.update(states=a["states"] * np.nan)), "damaged"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.usefixtures("unchecked")
def test_a_damaged_folder_is_refused_with_a_reason(damage, trajectory, tmp_path):
    trajectory.save(tmp_path / "run")
    spoil, message = DAMAGES[damage]
    spoil(tmp_path / "run")
    with pytest.raises(BadInputError, match=message):
        Trajectory.load(tmp_path / "run")


# Bad input.


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([[1.0, 2.0], [3.0]], "different lengths"),
        (np.empty((0, 2)), "at least one row"),
        (np.empty((2, 0)), "at least one row"),
        (np.ones(3), r"\(tokens, dim\) matrix"),
        (np.ones((2, 3, 4)), r"\(tokens, dim\) matrix"),
        (np.ones((2, 2)) * 1j, "real numbers"),
        ([["a", "b"]], "real numbers"),
        (None, "real numbers"),
        (np.array([[1.0, 2.0], [np.nan, 0.0], [0.0, np.inf]]), "tokens 1, 2 have NaN or infinite"),
    ],
)
def test_bad_tokens_are_refused_with_a_reason(tokens, message):
    with pytest.raises(BadInputError, match=message):
        run(tokens, [Layer()])


def test_many_bad_tokens_are_named_up_to_ten():
    with pytest.raises(BadInputError, match=r"tokens 0, 1, .*9, \.\.\. have"):
        checked_tokens(np.full((50, 2), np.nan))


def test_labels_of_wrong_number_are_refused(rng):
    with pytest.raises(BadInputError, match="2 labels for 3 tokens"):
        run(rng.normal(size=(3, 2)), [Layer()], labels=["a", "b"])


@pytest.mark.parametrize("alpha", [0.0, -1.0, math.nan, math.inf])
def test_a_step_parameter_that_is_not_positive_is_refused(alpha):
    with pytest.raises(BadInputError, match="alpha must be positive"):
        Layer(alpha)


@pytest.mark.usefixtures("unchecked")
def test_layers_that_do_not_fit_are_refused(rng):
    tokens = rng.normal(size=(3, 2))
    with pytest.raises(BadInputError, match="at least one layer"):
        run(tokens, [])
    with pytest.raises(BadInputError, match="same number of heads"):
        run(tokens, [Layer(), Layer(1.0, (Head(), Head()))])
    with pytest.raises(BadInputError, match="at least one head"):
        Layer(1.0, ())
    with pytest.raises(BadInputError, match="does not fit tokens"):
        run(tokens, [Layer(1.0, (Head(score=np.eye(3)),))])


@pytest.mark.usefixtures("unchecked")
def test_a_feed_forward_part_that_does_not_fit_is_refused(rng):
    part = FeedForward(np.ones((4, 3)), np.ones(4), np.ones((3, 4)), np.ones(3))
    with pytest.raises(BadInputError, match="does not fit"):
        run(rng.normal(size=(5, 2)), [Layer(feed_forward=part)])
    with pytest.raises(BadInputError, match="needs shapes"):
        FeedForward(np.ones((4, 3)), np.ones(3), np.ones((3, 4)), np.ones(3))


@pytest.mark.parametrize("dim", [1, 2, 3, 6])
def test_freezing_changes_no_state_and_no_point_followed(rng, dim):
    for alphas in ([0.5] * 25, [3.0] * 25, [0.1, 1.0, 2.5] * 8):
        root = rng.normal(size=(dim, dim))
        head = Head(score=root @ root.T + np.eye(dim) if alphas[0] < 3 else rng.normal(size=(dim, dim)))
        tokens = rng.normal(size=(70, dim))
        tokens[60:] = tokens[:10]
        layers = [Layer(alpha, (head,)) for alpha in alphas]
        frozen, brute = run(tokens, layers), run(tokens, layers, freeze=False)
        scale = 1e-12 * np.abs(tokens).max()
        np.testing.assert_allclose(frozen.states, brute.states, rtol=0, atol=scale)
        np.testing.assert_array_equal(frozen.leaders[0], brute.leaders[0])
        np.testing.assert_allclose(frozen.followed_points(), brute.followed_points(), rtol=0, atol=scale)


def test_layers_outside_the_freeze_theorem_attend_in_full(rng):
    from tokendyn.dynamics.freeze import may_freeze

    plain = Layer(0.5)
    assert may_freeze([plain, Layer(2.0)])
    for other in (
        Layer(0.5, (Head(score=np.diag([1.0, 2.0])),)),
        Layer(0.5, (Head(value=np.eye(2)),)),
        Layer(0.5, (Head(inverse_temperature=2.0),)),
        Layer(0.5, (Head(), Head())),
        Layer(0.5, feed_forward=FeedForward(np.eye(2), np.zeros(2), np.eye(2), np.zeros(2))),
    ):
        assert not may_freeze([plain, other])
