"""Runs, predictions and texts against exact arithmetic and the plain loop, on sets full of ties and near ties."""

import dataclasses
import importlib.util
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from tokendyn.attention import Head, attend
from tokendyn.attention.checks import tie_slack
from tokendyn.cli import run as command
from tokendyn.dynamics import Layer, Trajectory, run
from tokendyn.dynamics import rational as rationals
from tokendyn.dynamics.sharded import run_sharded
from tokendyn.errors import BadInputError, ScaleError
from tokendyn.geometry import cluster_points
from tokendyn.particles import predict_limits, simulate
from tokendyn.particles.report import load_run, run_report, save_run
from tokendyn.sentiment.routing import route, route_all
from tokendyn.sentiment.vocabulary import Ragged
from tokendyn.show.report import report_html

_FILE = Path(__file__).parents[1] / "benchmarks" / "clustering_oracle.py"
_SPEC = importlib.util.spec_from_file_location("clustering_oracle", _FILE)
oracle = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(oracle)

#: Tokens, alpha, a token, and where it ends: followers that converge must not join a tie, nor be followed where they
#: froze.
ENDS = [
    ([[2, -2], [3, -2], [1, -3], [2, -3]], 1.0, 0, (2.5, -2.5)),
    ([[0, 0], [1, -3], [1, 3], [2, -1], [3, 1]], 0.5, 3, (2, -1)),
    ([[-2, 3], [-1, -3], [0, -1], [1, -3], [2, -2], [2, -1]], 0.5, 2, (0, -3)),
]


def exact_end(tokens, alpha, layers, weights=None):
    """Return the exact end of a run with A = I, rounded once."""
    weights = [1] * len(tokens) if weights is None else [Fraction(x) for x in weights]
    z, share = [[Fraction(x) for x in row] for row in tokens], Fraction(alpha) / (1 + Fraction(alpha))
    for _ in range(layers):
        new = []
        for p in z:
            scores = [sum(a * b for a, b in zip(p, q, strict=True)) for q in z]
            led = [j for j, score in enumerate(scores) if score == max(scores)]
            mass = sum(weights[j] for j in led)
            new.append([a + share * (sum(weights[j] * z[j][k] for j in led) / mass - a) for k, a in enumerate(p)])
        z = new
    return np.array([[float(x) for x in row] for row in z])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("tokens", "alpha", "token", "end"), ENDS)
def test_a_run_ends_where_exact_arithmetic_ends(tokens, alpha, token, end):
    tokens = np.array(tokens, dtype=float)
    found = run(tokens, [Layer(alpha)] * 100)
    np.testing.assert_allclose(found.states[-1, token], end, rtol=0, atol=1e-12)
    np.testing.assert_allclose(predict_limits(tokens, alpha).limits[token], end, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.states[-1], exact_end(tokens.tolist(), alpha, 100), rtol=0, atol=1e-12)
    sharded = run_sharded(tokens, [Layer(alpha)] * 100)
    assert sharded.state.tobytes() == found.states[-1].tobytes()
    text = route(tokens, np.ones(len(tokens)), alpha, 100)
    assert text.states.tobytes() == found.states.tobytes()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("first", range(0, 80, 40))
def test_states_leaders_ties_and_limits_are_those_of_exact_arithmetic(first):
    # benchmarks/clustering_oracle.py runs ten thousand of these.
    doubtful = 0
    for number in range(first, first + 40):
        result = oracle.check([7, number])
        assert "error" not in result, (number, result)
        assert result["doubtful"] or not result["problems"], (number, result)
        doubtful += result["doubtful"]
    assert doubtful <= 1


@pytest.mark.usefixtures("unchecked")
def test_texts_shards_and_runs_have_the_same_bits_on_ties_too():
    rng = np.random.default_rng(5)
    for number in range(120):
        shape = int(rng.integers(3, 9)), int(rng.integers(2, 5))
        tokens = rng.integers(-3, 4, size=shape) / (1 + number % 2)
        weights, alpha = rng.integers(1, 4, size=shape[0]).astype(float), (0.5, 1.0, 2.0, 0.3)[number % 4]
        whole = run(tokens, [Layer(alpha)] * 8, weights=weights)
        text = route(tokens, weights, alpha, 8)
        assert text.states.tobytes() == whole.states.tobytes(), number
        assert text.leaders.tobytes() == whole.leaders[:, 0].tobytes()
        assert text.ties.tobytes() == whole.tie_counts[:, 0].tobytes()
        assert abs(text.shares.sum() - 1) < 1e-12
        np.testing.assert_allclose(text.shares @ tokens, weights @ text.states[-1] / weights.sum(), atol=1e-12)
        sharded = run_sharded(tokens, [Layer(alpha)] * 8, weights=weights)
        assert sharded.state.tobytes() == whole.states[-1].tobytes()
        exact = exact_end(tokens.tolist(), alpha, 8, weights.tolist())
        np.testing.assert_allclose(whole.states[-1], exact, rtol=0, atol=1e-12)


def test_many_texts_with_ties_agree_with_one_at_a_time():
    points = np.array([[-2, -1], [-1, -2], [1, 2], [2, 1], [0, 0]], dtype=float)
    texts = Ragged(
        np.array([0, 4, 6]),
        np.array([0, 1, 2, 3, 0, 2], np.int32),
        np.ones(6),
        np.array([1.0, 0.0]),
        np.array([5.0, 2.0]),
    )
    shares, leads = route_all(texts, points, 1.0, 5)
    alone = route(points, np.ones(5), 1.0, 5)
    np.testing.assert_array_equal(alone.states[-1][4], [0, 0])
    np.testing.assert_array_equal(shares[:4], alone.shares[:4])
    assert leads[0] == np.count_nonzero(alone.self_led[:4])
    np.testing.assert_array_equal(shares[4:], route(points[[0, 2]], np.ones(2), 1.0, 5).shares)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("alpha", [0.5, 2.0, 1e6, 1e15])
def test_where_nothing_ties_a_run_is_the_plain_loop(alpha):
    rng = np.random.default_rng(3)
    for _ in range(4):
        tokens = rng.normal(size=(12, 3))
        frozen, loop = (run(tokens, [Layer(alpha)] * 200, freeze=freeze) for freeze in (True, False))
        np.testing.assert_allclose(frozen.states, loop.states, rtol=0, atol=1e-12)
        assert not frozen.doubtful.size


# Scales.


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("far", [1e9, 1e12, 1e15])
def test_limits_of_near_tokens_do_not_depend_on_the_size_of_a_far_one(far):
    rng = np.random.default_rng(10)
    for _ in range(5):
        tokens = np.zeros((9, 3))
        tokens[:8, :2], tokens[8, 2] = rng.normal(size=(8, 2)), far
        alone, beside = predict_limits(tokens[:8], 0.5), predict_limits(tokens, 0.5)
        np.testing.assert_allclose(beside.limits[:8], alone.limits, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(beside.leaders[beside.leaders < 8], alone.leaders)


@pytest.mark.usefixtures("unchecked")
def test_a_near_tie_is_no_tie():
    for gap in (1e-10, 1e-13, 2.0**-52):
        tokens = np.array([[-1, 1, 0], [-1, -1, 0], [-1 - gap, 0, -1], [-0.5, 0, 0.125]])
        found = simulate(tokens, layers=200)
        np.testing.assert_allclose(found.prediction.limits[3], [-1 - gap, 0, -1], atol=1e-9)
        np.testing.assert_allclose(found.trajectory.states[-1, 3], [-1 - gap, 0, -1], atol=1e-9)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("size", [1e-300, 1e-170, 1e160, 1e300])
def test_a_run_scales_with_its_tokens(size):
    tokens = np.array([[1.0, 0], [0, 2], [-1, -1], [0.25, 0.5]])
    plain, scaled = simulate(tokens), simulate(tokens * size)
    np.testing.assert_allclose(scaled.trajectory.states[-1] / size, plain.trajectory.states[-1], rtol=1e-14)
    assert {k: v for k, v in scaled.summary().items() if k not in ("seconds", "prediction_error")} == {
        k: v for k, v in plain.summary().items() if k not in ("seconds", "prediction_error")
    }
    assert len(cluster_points(tokens * size, 0.1 * size).sizes) == 4


@pytest.mark.parametrize("size", [1e-170, 1e-300, 5e-324])
def test_scores_that_underflow_are_compared_as_they_are(size):
    tokens = np.array([[1.0, 0], [0, 2], [-1, -1]])
    for step in (Head().attend(tokens * size), Head(score=np.eye(2) * size).attend(tokens * max(size, 1e-300))):
        np.testing.assert_array_equal(step.tie_counts, 1)
        np.testing.assert_array_equal(step.leaders, [0, 1, 2])
    np.testing.assert_array_equal(attend(tokens * size, tokens, tokens, inverse_temperature=2.0).tie_counts, 1)


def test_products_that_no_scale_saves_are_refused():
    queries, keys = np.array([[1.0, 1e-200]]), np.array([[0.0, 1e-200], [0.0, -1e-200], [-1.0, 0.0]])
    with pytest.raises(ScaleError, match="underflow"):
        attend(queries, keys, keys)
    assert attend(queries, keys[:2], keys[:2]).leaders[0] == 0, "keys of one size are scaled together"


def test_tokens_that_no_scale_holds_are_refused():
    with pytest.raises(ScaleError, match=r"tokens hold both 1e\+200 and 1e-150"):
        simulate(np.array([[1e200, 0], [1e-150, 1e-150], [0, 3e-150]]), layers=5)
    with pytest.raises(ScaleError, match="entries of the score matrix"):
        simulate(np.array([[1.0, 0], [0, 2], [-1, -1]]), score=np.diag([1e300, 1e-300]), layers=5)
    found = simulate(np.array([[1e160, 0], [0, 1e-120], [0, 2e-120]]), layers=200)
    np.testing.assert_array_equal(found.prediction.limits, [[1e160, 0], [0, 2e-120], [0, 2e-120]])


@pytest.mark.usefixtures("unchecked")
def test_tokens_next_to_the_largest_float_run():
    tokens = np.array([[1.0, 0], [0, 1], [-0.5, -0.5]])
    plain, scaled = simulate(tokens), simulate(tokens * 1.5 * 2.0**1023)
    np.testing.assert_allclose(scaled.trajectory.states[-1] / 2.0**1023, 1.5 * plain.trajectory.states[-1], rtol=1e-14)


# Arithmetic.


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("without", [False, True])
def test_rational_states_are_exact_places_rounded_once(without, monkeypatch):
    if without:
        monkeypatch.setattr(rationals, "fmpq", None)
    for tokens, alpha, _, _ in ENDS:
        found = simulate(np.array(tokens, dtype=float), alpha=alpha, layers=30, arithmetic="rational")
        assert found.trajectory.states[-1].tobytes() == exact_end(tokens, alpha, 30).tobytes()
        assert found.status == "completed"
        assert "all leaders are proved" in found.describe()


@pytest.mark.usefixtures("unchecked")
def test_interval_arithmetic_claims_places_only_where_followers_reach_their_leader():
    tokens = np.array([[-3.0], [1], [3], [-2]])
    bounded, exact = (
        simulate(tokens, alpha=1e6, score=-np.eye(1), layers=8, arithmetic=kind) for kind in ("interval", "rational")
    )
    assert (bounded.trajectory.tie_counts != exact.trajectory.tie_counts).any()
    np.testing.assert_allclose(bounded.trajectory.states, exact.trajectory.states, rtol=1e-12)
    assert "the points of all leaders are proved, to 1e-12 of their size" in bounded.describe()
    assert "all leaders are proved" in exact.describe()


@pytest.mark.usefixtures("unchecked")
def test_interval_arithmetic_names_the_tokens_within_rounding_of_a_tie():
    tokens = np.array([[0.6, 0.8], [0.6, -0.8], [-1.0, 0.0], [0.1, 0.0], [-0.3, 0.1]])
    found = simulate(tokens, layers=20, arithmetic="interval")
    np.testing.assert_array_equal(found.doubtful, [3])
    assert (found.status, found.summary()["doubtful"]) == ("rounding", ["3"])
    assert "proved leaders: 0, 1, 2" in found.describe()
    assert any(line.startswith("token 3 is within rounding of a tie") for line in found.describe())
    exact = simulate(tokens, layers=20)
    assert exact.status == "completed"
    np.testing.assert_allclose(exact.trajectory.states[-1], exact_end(tokens.tolist(), 0.5, 20), atol=1e-15)


@pytest.mark.usefixtures("unchecked")
def test_that_a_run_agrees_with_its_prediction_is_no_praise_where_both_rounded_a_tie():
    tokens = np.array([[2.0, -2], [3, -2], [1, -3], [2, -3]])
    found = simulate(tokens, alpha=1.0, layers=100, arithmetic="interval")
    right = exact_end(tokens.tolist(), 1.0, 100)
    np.testing.assert_allclose(found.trajectory.states[-1][1:], right[1:], atol=1e-15)
    assert np.abs(found.trajectory.states[-1][0] - right[0]).max() == pytest.approx(0.5)
    (said,) = [line for line in found.describe() if "as predicted" in line]
    assert said == (
        "for 3 tokens the run ends as predicted; for 1 token run and prediction decided a tie by the same rounding, "
        "so that their agreement proves nothing"
    )
    alone = simulate(tokens, alpha=1.0, layers=100)
    assert "the run ends as predicted" in alone.describe()


@pytest.mark.usefixtures("unchecked")
def test_what_takes_too_long_in_rationals_is_refused_with_a_remedy():
    tokens = np.random.default_rng(0).normal(size=(50, 2))
    with pytest.raises(BadInputError, match="interval"):
        simulate(tokens, alpha=0.3, layers=2000, arithmetic="rational")
    with pytest.raises(BadInputError, match="float"):
        simulate(tokens, inverse_temperature=2.0, arithmetic="rational")
    with pytest.raises(BadInputError, match="arithmetic must be"):
        run(tokens, [Layer()], arithmetic="decimal")
    # Tokens that swap places for ever never settle: exact arithmetic is given up in favour of bounds.
    swap = np.array([[-0.88, 0.29], [-0.39, 0.55], [-0.8, -1.18]])
    score = np.array([[0.0, -1.0], [0.0, -1.0]])
    assert (predict_limits(swap, 1e6, score, max_layers=300).kinds == "unsettled").any()


# What a run says of itself.


def test_a_run_that_disagrees_with_its_prediction_says_so(tmp_path):
    whole = simulate(np.array(ENDS[0][0], dtype=float), alpha=1.0, layers=100)
    assert (whole.status, whole.disagreeing.size) == ("completed", 0)
    states = whole.trajectory.states.copy()
    states[-1, 0] = [1, -3]
    moved = dataclasses.replace(whole.trajectory, states=states)
    broken = dataclasses.replace(whole, trajectory=moved, hardmax=moved)
    np.testing.assert_array_equal(broken.disagreeing, [0])
    assert (broken.status, broken.summary()["status"]) == ("disagrees", "disagrees")
    assert "(1, -3)" in broken.disagreement()
    assert "(2.5, -2.5)" in broken.disagreement()
    save_run(broken, tmp_path / "run", title="four", animation=None, report=True)
    page = (tmp_path / "run" / "report.html").read_text()
    assert 'class="td-alarm" role="alert"' in page
    assert '<div class="td-alarm"><dt>status</dt>' in page
    assert "2.5" in page
    assert load_run(tmp_path / "run")[0].status == "disagrees"
    assert 'class="td-alarm"' not in report_html(run_report(whole, title="four", pictures=tmp_path / "run"))


def test_the_command_line_fails_when_run_and_prediction_disagree(tmp_path, monkeypatch, capsys):
    (tmp_path / "four.csv").write_text("2,-2\n3,-2\n1,-3\n2,-3\n")
    arguments = ["simulate", str(tmp_path / "four.csv"), "--alpha", "1", "--no-report", "--json"]
    assert command([*arguments, "--out", str(tmp_path / "right")]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "completed"

    def broken(*given, **options):
        whole = simulate(*given, **options)
        return dataclasses.replace(
            whole, prediction=dataclasses.replace(whole.prediction, limits=whole.prediction.limits + 1)
        )

    monkeypatch.setattr("tokendyn.particles.simulate", broken)
    assert command([*arguments, "--out", str(tmp_path / "wrong")]) == 1
    assert json.loads(capsys.readouterr().out)["status"] == "disagrees"


@pytest.mark.usefixtures("unchecked")
def test_the_last_layers_of_many_tokens_are_recorded_on_the_command_line(tmp_path, capsys):
    np.save(tmp_path / "many.npy", np.random.default_rng(0).normal(size=(3000, 2)))
    arguments = ["simulate", str(tmp_path / "many.npy"), "--layers", "2000000", "--out", str(tmp_path / "run")]
    for dry in ((), ("--dry-run",)):
        assert command([*arguments, *dry]) == 2
    assert "--record last" in capsys.readouterr().err
    arguments[3] = "1000"
    assert command([*arguments, "--record", "last"]) == 0
    assert Trajectory.load(tmp_path / "run").recorded.tolist() == [0, 999, 1000]
    assert not (tmp_path / "run" / "report.html").exists()
    with pytest.raises(BadInputError, match="every layer"):
        load_run(tmp_path / "run")[0].scene()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "options",
    [
        ("--alpha", "-1"),
        ("--layers", "0"),
        ("--score", "1,2"),
        ("--strict", "--score", "1,2;0,1"),
        ("--tie-tolerance", "2"),
        ("--arithmetic", "rational", "--softmax", "2"),
        ("--arithmetic", "rational", "--alpha", ".3", "--layers", "90000"),
    ],
)
def test_a_dry_run_refuses_what_the_run_refuses(options, tmp_path, capsys):
    (tmp_path / "four.csv").write_text("2,-2\n3,-2\n1,-3\n2,-3\n")
    arguments = ["simulate", str(tmp_path / "four.csv"), "--out", str(tmp_path / "run"), *options]
    assert command(arguments) == 2
    told = capsys.readouterr().err
    assert command([*arguments, "--dry-run"]) == 2
    assert capsys.readouterr().err == told


def test_one_of_a_kind_is_singular():
    lines = simulate(np.array([[1.0]]), layers=1).describe()
    assert "1 token in 1 dimension, 1 layer" in lines[0]
    assert "1 cluster at" in lines[0]
    assert lines[1].startswith("1 leader:")
    assert "known from layer 0 on: 1 token ending" in lines[2]


def test_values_with_large_arrays_have_a_short_text():
    found = simulate(np.random.default_rng(0).normal(size=(300, 2)), layers=20)
    for value in (Head().attend(found.trajectory.states[0]), found, found.trajectory, found.prediction):
        assert len(repr(value)) < 2000
        assert repr(value).startswith(type(value).__name__ + "(")


def test_an_older_file_with_leaders_in_place_of_goals_is_read(tmp_path):
    from safetensors.numpy import load_file, save_file

    whole = run(np.random.default_rng(0).normal(size=(20, 2)), [Layer(0.5)] * 60, record="last")
    whole.save(tmp_path / "run")
    path = tmp_path / "run" / "trajectory.safetensors"
    arrays = load_file(path)
    goals = arrays.pop("frozen_goals")
    places = [np.flatnonzero((arrays["states"][0] == goal).all(axis=1)) for goal in goals]
    assert all(place.size for place in places), "otherwise this shows nothing"
    arrays["frozen_leaders"] = np.array([place[0] for place in places])
    save_file(arrays, path)
    np.testing.assert_array_equal(Trajectory.load(tmp_path / "run").at(40), whole.at(40))


# Masks, rows, shapes.


def plain_hardmax(queries, keys, values, allowed):
    """Return means and leaders of each row among the keys that it may look at."""
    means, leaders = [], []
    for query, row in zip(queries, allowed, strict=True):
        scores = np.where(row, keys @ query, -np.inf)
        led = scores == scores.max()
        means.append(values[led].mean(axis=0))
        leaders.append(led.argmax())
    return np.array(means), np.array(leaders)


@pytest.mark.usefixtures("unchecked")
def test_a_causal_mask_lets_each_row_look_back_only():
    rng = np.random.default_rng(1)
    for tokens in (rng.integers(-3, 4, size=(9, 2)).astype(float), rng.normal(size=(9, 3))):
        causal = np.tril(np.ones((9, 9), dtype=bool))
        means, leaders = plain_hardmax(tokens, tokens, tokens, causal)
        for step in (Head().attend(tokens, mask=causal), attend(tokens, tokens, tokens, mask=causal)):
            np.testing.assert_array_equal(step.leaders, leaders)
            np.testing.assert_allclose(step.means, means, atol=1e-14)
        soft = Head(inverse_temperature=1.5).attend(tokens, mask=causal)
        scores = np.where(causal, 1.5 * tokens @ tokens.T, -np.inf)
        right = torch.softmax(torch.tensor(scores), dim=1).numpy() @ tokens
        np.testing.assert_allclose(soft.means, right, atol=1e-13)
        some = Head().attend(tokens, mask=causal, rows=[4, 1])
        np.testing.assert_array_equal(some.leaders, leaders[[4, 1]])
        batch = Head().attend(np.stack([tokens, tokens]), mask=np.stack([causal, ~np.eye(9, dtype=bool)]))
        np.testing.assert_array_equal(batch.leaders[0], leaders)
        moved, _ = Layer(1.0)(tokens, mask=causal)
        np.testing.assert_allclose(moved, (tokens + means) / 2, atol=1e-14)
    nothing = np.zeros((9, 9), dtype=bool)
    assert (Head().attend(tokens, mask=nothing).leaders == -1).all()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("backend", ["auto", "dense", "fused", "gemm", "polytope", "prefix"])
def test_queries_may_be_fewer_or_more_than_keys(backend):
    rng = np.random.default_rng(2)
    for rows, count in ((3, 7), (7, 3), (1, 5)):
        queries, keys, values = rng.normal(size=(rows, 3)), rng.normal(size=(count, 3)), rng.normal(size=(count, 2))
        step = attend(queries, keys, values, backend=backend)
        means, leaders = plain_hardmax(queries, keys, values, np.ones((rows, count), dtype=bool))
        np.testing.assert_array_equal(step.leaders, leaders)
        np.testing.assert_array_equal(step.means, means)
        exists = np.arange(count) > 0
        masked = attend(queries, keys, values, mask=exists, backend=backend)
        np.testing.assert_array_equal(masked.leaders, 1 + (queries @ keys[1:].T).argmax(axis=1))


@pytest.mark.usefixtures("unchecked")
def test_masks_and_rows_that_do_not_fit_get_one_message():
    tokens = np.eye(3)
    for options in ({"mask": np.ones(2, dtype=bool)}, {"mask": np.ones((3, 2), dtype=bool)}, {"mask": np.ones(3)},
                    {"rows": [5]}, {"rows": [-1]}, {"rows": [0.5]}, {"rows": [[0]]}):  # fmt: skip
        with pytest.raises(BadInputError, match="must be"):
            Head().attend(tokens, **options)
    for beta in (1.0, np.inf):
        empty = Head(inverse_temperature=beta).attend(tokens, rows=[])
        assert (empty.means.shape, empty.leaders.shape) == ((0, 3), (0,))
        batch = Head(inverse_temperature=beta).attend(np.empty((0, 4, 2)))
        assert (batch.means.shape, batch.leaders.shape) == ((0, 4, 2), (0, 4))


@pytest.mark.usefixtures("unchecked")
def test_tensors_are_taken_where_arrays_are():
    tokens = torch.tensor([[1.0, 0], [0, 2], [-1, -1]], requires_grad=True)
    right = Head().attend(tokens.detach().numpy())
    for given in (tokens, tokens.detach().bfloat16(), tokens.detach().to(torch.int64)):
        step = Head().attend(given, mask=torch.ones(3, dtype=torch.bool), weights=torch.ones(3, requires_grad=True))
        np.testing.assert_array_equal(step.means, right.means)
        np.testing.assert_array_equal(run(given, [Layer()]).states[0], tokens.detach().numpy())
    with pytest.raises(BadInputError, match="real numbers"):
        Head().attend(tokens.detach().to(torch.complex64))


def test_the_slack_of_a_tie_refers_to_the_longest_key():
    queries, keys = np.array([[1.0, 0.0]]), np.array([[1.0, 0.0], [0.3, 0.0], [0.0, 10.0]])
    np.testing.assert_allclose(tie_slack(queries, keys, 0.1), 0.1 * 1 * 10)
    # The scores are 1, .3 and 0: a slack of 1 ties all; the mean norm, 3.8, would leave 0 out.
    assert attend(queries, keys, keys, tie_tolerance=0.1).tie_counts[0] == 3
    assert attend(queries, keys, keys, tie_tolerance=0.0999).tie_counts[0] == 2


def test_leaders_that_still_change_where_floats_rest_are_said_to_be_doubtful():
    """All tokens gather at one point; whom they follow goes on changing, by differences below the last bit."""
    tokens = np.array([[1.0, 1], [1, 2], [1, 2], [1, 1], [1, 2], [1, 3], [1, -1], [1, -1]])
    found = run(tokens, [Layer(0.5, (Head(score=np.array([[2.0, 0], [2, -2]])),))] * 45)
    np.testing.assert_allclose(found.states[-1], 1.0, rtol=1e-15)
    assert len(found.doubtful)
