"""Fast hardmax: the same bits as the reference, whatever is left out; who is chosen, and why; what is kept on disk."""

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from tokendyn.attention import Head, attend, dispatch, fused
from tokendyn.attention.reduced import surviving_keys
from tokendyn.dynamics import Layer, Trajectory, run
from tokendyn.errors import BadInputError

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import agreement

FIELDS = ("means", "leaders", "tie_counts", "tie_spreads", "log_masses")
FAST = [name for name in dispatch.HARDMAX if name != "dense"]


def assert_same_bits(step, expected):
    for name in FIELDS:
        assert getattr(step, name).tobytes() == getattr(expected, name).tobytes(), name
    np.testing.assert_array_equal(step.top_scores, expected.top_scores)


# Exactness.


def test_a_share_of_the_agreement_benchmark_has_no_mismatch():
    steps, wrong, reduced = agreement.compare(range(1, 2), ["on_edges"])
    assert steps == 144
    assert wrong == []
    assert reduced["polytope"] > 0


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    dim=st.integers(1, 7),
    count=st.integers(1, 700),
    tolerance=st.sampled_from(agreement.TIE_TOLERANCES),
    kind=st.sampled_from(["gauss", "grid", "far", "tiny"]),
)
def test_every_fast_backend_gives_the_bits_of_the_reference(seed, dim, count, tolerance, kind):
    rng = np.random.default_rng(seed)
    tokens = {
        "gauss": lambda: rng.normal(size=(count, dim)) * rng.lognormal(size=dim),
        "grid": lambda: rng.integers(-4, 5, size=(count, dim)).astype(float),
        "far": lambda: rng.normal(size=(count, dim)) + 1e6,
        "tiny": lambda: rng.normal(size=(count, dim)) * 1e-160,
    }[kind]()
    head = Head(score=rng.normal(size=(dim, dim)), tie_tolerance=tolerance)
    rows = rng.integers(0, count, size=min(count, 60))
    expected = head.attend(tokens, rows=rows, backend="dense")
    for backend in FAST:
        assert_same_bits(head.attend(tokens, rows=rows, backend=backend), expected)


@pytest.mark.parametrize("dim", [2, 3, 4])
def test_vertices_of_the_hull_survive_and_most_other_keys_do_not(dim, rng):
    keys = rng.normal(size=(4000, dim)) * 10.0 ** np.arange(dim)
    kept = surviving_keys(keys)
    assert set(ConvexHull(keys).vertices) <= set(kept)
    assert len(kept) < len(keys) / 4
    assert (np.diff(kept) > 0).all()


def test_keys_that_are_all_vertices_are_all_kept(rng):
    keys = rng.normal(size=(3000, 3))
    assert surviving_keys(keys / np.linalg.norm(keys, axis=1, keepdims=True)) is None
    assert surviving_keys(np.column_stack([keys[:, :2], np.ones(3000)])) is None
    assert surviving_keys(keys[:4]) is None


def test_a_tie_tolerance_keeps_the_keys_within_its_margin(rng):
    keys = rng.normal(size=(4000, 3))
    few, more = surviving_keys(keys), surviving_keys(keys, tie_margin=0.3)
    assert set(few) < set(more)


# The choice.


@pytest.mark.parametrize(
    ("count", "dim", "backend"),
    [
        (500, 3, "fused"),
        (2500, 2, "polytope"),
        (2500, 4, "polytope"),
        (2500, 6, "fused"),
        (4500, 6, "prefix"),
        (2500, 40, "fused"),
    ],
)
def test_the_backend_follows_from_size_and_dimension(count, dim, backend, rng):
    tokens = rng.normal(size=(count, dim))
    step = attend(tokens, tokens, tokens)
    assert step.choice.backend == backend
    assert str(dim) in step.choice.reason
    assert step.choice.error_bound == 0
    assert_same_bits(step, attend(tokens, tokens, tokens, backend="fused"))


def test_a_few_rows_are_compared_with_all_keys(rng):
    tokens = rng.normal(size=(5000, 3))
    assert attend(tokens, tokens, tokens, rows=np.arange(9)).choice.backend == "fused"


def test_a_backend_asked_for_by_name_is_taken(rng):
    tokens = rng.normal(size=(30, 3))
    for backend in dispatch.HARDMAX:
        choice = attend(tokens, tokens, tokens, backend=backend).choice
        assert (choice.backend, choice.reason.split(";")[0]) == (backend, "selected by name")
    with pytest.raises(BadInputError, match=r"one of auto, dense, fused, .* for softmax, got"):
        attend(tokens, tokens, tokens, backend="gemm", inverse_temperature=1.0)


@pytest.fixture
def plain(monkeypatch):
    """Plug a plainly written softmax backend in."""
    monkeypatch.setattr(dispatch, "SOFTMAX", {"plain": "plain_softmax"})


def test_a_softmax_backend_is_asked_when_an_error_is_tolerated(plain, rng):
    tokens, weights = rng.normal(size=(700, 3)), rng.uniform(1, 2, size=700)
    settings = {"inverse_temperature": 3.0, "weights": weights}
    exact = attend(tokens, tokens, tokens, **settings)
    step = attend(tokens, tokens, tokens, **settings, error_tolerance=1e-10)
    assert (exact.choice.backend, exact.choice.error_bound) == ("fused", 0)
    assert (step.choice.backend, step.choice.error_bound) == ("plain", 1e-12)
    assert step.choice.reason == "one dense matrix; no row recomputed"
    np.testing.assert_allclose(step.means, exact.means, atol=1e-12)
    np.testing.assert_allclose(step.log_masses, exact.log_masses, atol=1e-12)
    for name in ("leaders", "tie_counts", "top_scores"):
        np.testing.assert_array_equal(getattr(step, name), getattr(exact, name))


def test_leaders_may_be_left_out(plain, rng):
    tokens = rng.normal(size=(2, 700, 3))
    mask = np.arange(700) < np.array([[600], [700]])
    asked = {"inverse_temperature": 3.0, "mask": mask}
    exact = attend(tokens, tokens, tokens, **asked)
    step = attend(tokens, tokens, tokens, **asked, backend="plain", error_tolerance=1e-9, find_leaders=False)
    np.testing.assert_allclose(step.means, exact.means, atol=1e-12)
    np.testing.assert_allclose(step.log_masses[mask], (exact.log_masses + 3 * exact.top_scores)[mask], atol=1e-11)
    assert (step.leaders == -1).all()


def test_a_softmax_backend_that_does_not_apply_says_why(plain, rng):
    tokens = rng.normal(size=(9, 3))
    with pytest.raises(BadInputError, match="it promises 1e-12 only"):
        attend(tokens, tokens, tokens, backend="plain", inverse_temperature=1.0)


def test_rows_recomputed_directly_are_exact(rng):
    tokens, weights = rng.normal(size=(300, 3)), rng.uniform(1, 2, size=300)
    step = attend(tokens, tokens, tokens, weights=weights, inverse_temperature=7.0)
    means, log_partitions = fused.softmax_rows(tokens[5:9], tokens, tokens, weights, 7.0)
    np.testing.assert_array_equal(means, step.means[5:9])
    np.testing.assert_allclose(log_partitions, (step.log_masses + 7 * step.top_scores)[5:9], rtol=1e-15)


# Deep runs.


def test_any_record_holds_the_bits_of_the_whole_run(rng, tmp_path):
    tokens, layers = rng.normal(size=(3000, 3)), [Layer(alpha) for alpha in (0.5, 1.0, 0.2) * 10]
    whole = run(tokens, layers)
    last = run(tokens, layers, record="last")
    some = run(tokens, layers, record=[3, 17])
    assert whole.is_whole
    assert last.recorded.tolist() == [0, 29, 30]
    assert some.recorded.tolist() == [0, 3, 17, 30]
    last.save(tmp_path / "run")
    for one in (last, some, Trajectory.load(tmp_path / "run")):
        assert not one.is_whole
        assert one.layers == 30
        for number in (*one.recorded, *range(one.motion.first_layer, 31), -1):
            assert one.at(int(number)).tobytes() == whole.states[number].tobytes()
        kept = one.recorded[:-1]
        assert one.leaders.tobytes() == whole.leaders[kept].tobytes()
        assert one.tie_counts.tobytes() == whole.tie_counts[kept].tobytes()
        assert one.followed_points().tobytes() == whole.followed_points()[kept].tobytes()
        assert one.clusters().sizes.tolist() == whole.clusters().sizes.tolist()


@pytest.mark.usefixtures("unchecked")
def test_layers_that_are_not_kept_are_refused_with_the_remedy(rng):
    tokens = rng.normal(size=(60, 2))
    part = run(tokens, [Layer(0.5, (Head(inverse_temperature=2.0),))] * 9, record="last")
    assert part.motion is None
    with pytest.raises(BadInputError, match=r"record=\[4\]"):
        part.at(4)
    with pytest.raises(BadInputError, match="no layer 10"):
        part.at(10)
    with pytest.raises(BadInputError, match='record="all"'):
        part.settled_layers()
    with pytest.raises(BadInputError, match="between 0 and 9, got 12"):
        run(tokens, [Layer(0.5)] * 9, record=[12])
    with pytest.raises(BadInputError, match="numbers of layers, got 'first'"):
        run(tokens, [Layer(0.5)], record="first")
    with pytest.raises(BadInputError, match='record="last"'):
        run(np.zeros((10**6, 3)), [Layer(0.5)] * 10**6)


def test_a_run_that_diverges_keeps_its_last_finite_layer(rng):
    head = Head(value=1e80 * np.eye(2), inverse_temperature=1.0)
    part = run(rng.normal(size=(9, 2)), [Layer(1.0, (head,))] * 9, record="last")
    assert part.status == "diverged"
    assert part.layers == part.recorded[-1] < 9
    assert len(part.leaders) == len(part.states) - 1


def test_frozen_leaders_are_those_of_layers_that_attend_in_full(rng):
    tokens = rng.normal(size=(5000, 2))
    layers = [Layer(0.5)] * 8
    fast, brute = run(tokens, layers), run(tokens, layers, freeze=False, backend="fused")
    np.testing.assert_allclose(fast.states, brute.states, rtol=0, atol=1e-14)
    np.testing.assert_allclose(fast.followed_points(), brute.followed_points(), rtol=0, atol=1e-14)


# What it costs.

_PEAK = """
import resource, numpy as np
from tokendyn.attention import attend
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
small, tokens = (np.random.default_rng(0).normal(size=(n, 3)) for n in (3000, 100_000))
attend(small, small, small)
before = peak()
attend(tokens, tokens, tokens)
attend(tokens, tokens, tokens, rows=np.arange(300), backend="fused")
print(peak() - before)
"""


def test_memory_at_a_hundred_thousand_tokens_is_linear():
    finished = subprocess.run([sys.executable, "-c", _PEAK], capture_output=True, text=True, check=True, timeout=300)
    assert int(finished.stdout) < 400 * 100_000


_COMPILED = """
import numpy as np
from tokendyn.attention import attend, fused, polytope_kernels
from tokendyn.dynamics import Layer, freeze_kernels, run
tokens = np.random.default_rng(0).normal(size=(2500, 3))
run(tokens, [Layer(0.5)] * 2)
attend(tokens, tokens, tokens, backend="prefix")
kernels = [getattr(m, n) for m in (fused, polytope_kernels, freeze_kernels) for n in dir(m)]
stats = [kernel.stats for kernel in kernels if hasattr(kernel, "stats")]
print(sum(sum(s.cache_misses.values()) for s in stats), sum(sum(s.cache_hits.values()) for s in stats))
"""


def test_the_next_process_compiles_nothing():
    for _ in range(2):
        finished = subprocess.run([sys.executable, "-c", _COMPILED], capture_output=True, text=True, check=True)
    missed, found = map(int, finished.stdout.split())
    assert missed == 0
    assert found >= 4


def test_a_batch_of_sets_equals_its_items(rng):
    tokens = rng.normal(size=(3, 2500, 2))
    together = attend(tokens, tokens, tokens, backend="polytope")
    for item in range(3):
        alone = attend(tokens[item], tokens[item], tokens[item], backend="fused")
        assert together.means[item].tobytes() == alone.means.tobytes()
        assert together.leaders[item].tobytes() == alone.leaders.tobytes()
    assert math.isinf(attend(tokens, tokens, tokens, mask=np.zeros((3, 2500), dtype=bool)).top_scores.max())


def test_the_howto_runs_as_written(capsys):
    text = (Path(__file__).parents[1] / "docs" / "howto-fast-attention.md").read_text(encoding="utf-8")
    names = {}
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)[:2]:
        exec(compile(block, "howto-fast-attention.md", "exec"), names)
    assert names["step"].choice.backend == "polytope"
    assert "because of" in capsys.readouterr().out
    assert names["middle"].shape == (100_000, 3)
