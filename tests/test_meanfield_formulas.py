"""Formulas of the mean field against oracles written down again, to the last element, and what holds at a boundary."""

import dataclasses
import math

import numpy as np
import pytest

from tokendyn.dynamics import TokenFlow
from tokendyn.particles import meanfield
from tokendyn.particles.meanfield import experiments, guard, phases, starts
from tokendyn.particles.meanfield.check import Comparison
from tokendyn.particles.meanfield.closure import LARGEST, Cluster
from tokendyn.particles.meanfield.heads import ZERO, head_theory, low_rank_projection
from tokendyn.particles.meanfield.theory import closure_beside

TOKENS = starts.circle_quantiles(40, experiments.asymmetric_density)
FLOW = TokenFlow(50.0, interaction=np.diag([4.0, 1.0]), value=np.diag([1.0, 2.0]))


def simulated(times, tokens=TOKENS, flow=FLOW):
    return meanfield.simulate(flow, tokens, np.asarray(times), check=False)


def euler(values, interactions, beta, cluster, times, steps=400):
    """Return mean and variance of one cluster at the times, by classical Runge-Kutta of the two rates as they stand."""
    (v1, v2), (b1, b2) = values, interactions

    def rate(state):
        mean, variance = state
        growth = v2 * beta * b2 * variance / (1 + beta * b1 * variance) - v1
        return np.array([(growth + v2 / (1 + beta * b1 * variance)) * mean, 2 * growth * variance])

    state, found = np.array([cluster.mean, cluster.variance]), []
    for start, end in zip(times, [*times[1:], None], strict=True):
        found.append(state)
        if end is None:
            break
        h = (end - start) / steps
        for _ in range(steps):
            a = rate(state)
            b = rate(state + h / 2 * a)
            c = rate(state + h / 2 * b)
            state = state + h / 6 * (a + 2 * b + 2 * c + rate(state + h * c))
    return np.array(found)


def test_the_closure_solves_its_two_equations_for_every_cluster():
    clusters = Cluster(0.3, 0.1, 0.7), Cluster(-0.2, 0.25, 0.3)
    closure = meanfield.gaussian_closure((1.0, 1.5), (4.0, 1.3), 20.0, clusters, 6.0, points=25)
    parts = [euler((1.0, 1.5), (4.0, 1.3), 20.0, cluster, np.linspace(0, 6, 25)) for cluster in clusters]
    squares = sum(
        cluster.weight * (part[:, 0] ** 2 + part[:, 1]) for cluster, part in zip(clusters, parts, strict=True)
    )
    np.testing.assert_allclose(closure.distances, np.sqrt(squares)[: len(closure.times)], rtol=1e-7)
    np.testing.assert_array_equal(closure.times, np.linspace(0, 6, 25)[: len(closure.times)])


def test_the_closure_ends_at_its_first_distance_beyond_the_linearisation():
    closure = meanfield.gaussian_closure((1.0, 3.0), (4.0, 1.0), 1e3, (Cluster(0.2, 0.1, 1.0),), 30.0, points=301)
    assert closure.distances[-1] > LARGEST >= closure.distances[:-1].max()
    assert len(closure.times) < 301
    whole = meanfield.gaussian_closure((1.0, 3.0), (4.0, 1.0), 1e3, (Cluster(0.2, 0.1, 1.0),), 2.0, points=301)
    assert len(whole.times) == 301


def test_the_closure_beside_a_run_that_begins_later_is_moved_in_time():
    early, late = (closure_beside(simulated(np.linspace(start, start + 6, 31))) for start in (0.0, 2.5))
    np.testing.assert_allclose(late.times, early.times + 2.5, rtol=1e-12)
    np.testing.assert_array_equal(late.distances, early.distances)
    assert late.phases.least == early.phases.least
    for name in ("concentration", "departure"):
        assert getattr(late.phases, name) == pytest.approx(getattr(early.phases, name) + 2.5, rel=1e-12)
    expected = tuple(moment + 2.5 for moment in early.phases.metastable)
    assert late.phases.metastable == pytest.approx(expected, rel=1e-12)


def test_a_level_that_is_reached_and_not_exceeded_is_not_left():
    times = np.arange(4.0)
    curve = np.array([1.0, 0.1, phases.DEPARTED, phases.DEPARTED])
    assert meanfield.detect_phases(times, curve).departure == math.inf
    assert meanfield.detect_phases(times, curve + np.array([0, 0, 0, 0.1])).departure == pytest.approx(2.0)


def test_a_run_whose_least_distance_is_the_level_came_near():
    run = simulated(np.linspace(0, 4, 21))
    run = dataclasses.replace(run, resolution=dataclasses.replace(run.resolution, status="resolved"))
    for least, verdict in ((phases.DEPARTED, "stays"), (0.51, "never")):
        run.__dict__["phases"] = phases.Phases(least, 1.0, (0.5, 2.0), math.inf)
        assert run.verdict == verdict


def test_a_token_on_the_separatrix_counts_for_the_first_side():
    projection = meanfield.project(np.diag([1.0, 2.0]), np.diag([4.0, 1.0]))
    up = projection.left[0, 0]
    tokens = np.array([[0.0, 1.0], [0.0, -1.0], [up, 0.0], [-up, 0.0]])
    assert projection.sides(tokens).tolist() == [1, 1, 1, -1]


def test_crossings_count_the_tokens_off_their_first_side():
    run = simulated([0.0, 1.0, 6.0], flow=dataclasses.replace(FLOW, inverse_temperature=1.0))
    states = run.trajectory.states
    first = states[0] @ run.projection.left[0] >= 0
    counts = [int(((state @ run.projection.left[0] >= 0) != first).sum()) for state in states]
    assert run.crossings.tolist() == counts
    assert counts[0] == 0 < counts[1] < counts[-1]


def test_a_change_as_large_as_allowed_does_not_agree():
    assert not Comparison(0.09, 0.0).agrees(0.09)
    assert not Comparison(0.0, 0.09).agrees(0.09)
    assert Comparison(0.089, 0.0).agrees(0.09)


def test_zero_temperature_is_judged_without_measuring():
    cold = dataclasses.replace(FLOW, inverse_temperature=math.inf, cold_limit="hardmax")
    hardmax = guard.resolution(cold, TOKENS)
    seen = hardmax.status, hardmax.tokens, hardmax.needed, hardmax.spacing, hardmax.effective_size, hardmax.self_weight
    assert seen == ("unresolved", pytest.approx(40), math.inf, math.inf, 1.0, 1.0)
    full = guard.resolution(dataclasses.replace(cold, cold_limit="full support"), TOKENS)
    seen = full.status, full.tokens, full.needed, full.spacing, full.effective_size, full.self_weight
    assert seen == ("resolved", pytest.approx(40), 1.0, 0.0, math.inf, 0.0)


def test_stragglers_of_a_run_of_two_times_are_counted_without_phases():
    """Phases are read off three times or more."""
    cold = dataclasses.replace(FLOW, inverse_temperature=1e4)
    run = simulated([0.0, 0.1], flow=cold)
    assert 0 < run.stragglers.count < len(TOKENS)
    assert run.stragglers.phases is None
    longer = simulated([0.0, 0.1, 0.2], flow=cold)
    assert longer.stragglers.phases is not None


@pytest.mark.parametrize(("share", "dimension", "gap"), [(ZERO, 4, 1.0), (2 * ZERO, 3, 2 * ZERO)])
def test_a_head_whose_smallest_eigenvalue_has_just_the_share_of_zero_is_singular(share, dimension, gap):
    """M = diag(-1, -share, 0, 0, 0): E is its kernel, with the second axis where that counts as zero."""
    left, right = np.eye(5)[:, :2].copy(), np.diag([-1.0, -share]) @ np.eye(5)[:2]
    projection = low_rank_projection(left, right, np.eye(5)[:2].copy())
    assert (projection.dimension, projection.gap) == (dimension, pytest.approx(gap))


class TestHeads:
    rng = np.random.default_rng(3)
    query, key, value = rng.normal(size=(3, 4, 9))
    output = rng.normal(size=(9, 4))

    def test_a_head_is_read_off_its_small_matrices(self):
        theory = head_theory(self.query, self.key, self.value, self.output)
        M = self.output @ self.value @ self.key.T @ self.query
        symmetry = np.linalg.norm(M + M.T) / (2 * np.linalg.norm(M))
        assert theory.symmetry == pytest.approx(symmetry, rel=1e-10)
        sizes = np.linalg.svd(self.query.T @ self.key, compute_uv=False)[:4]
        np.testing.assert_allclose(theory.interaction_sizes, sizes, rtol=1e-10)
        spectrum = np.linalg.eigvals(self.output @ self.value)
        largest = np.sort(np.abs(spectrum))[-4:]
        np.testing.assert_allclose(np.sort(np.abs(theory.value_spectrum)), largest, rtol=1e-8)
        assert (np.diff(theory.value_spectrum.real) <= 1e-12).all()

    def test_what_is_not_a_number_is_left_out_of_its_rows(self):
        name = "angle by which V turns E out of itself, degrees"
        theory = head_theory(self.query, self.key, self.value, self.output)
        assert {row["quantity"]: row["value"] for row in theory.rows(50.0)}[name] == pytest.approx(theory.turn)
        silent = dataclasses.replace(theory, turn=math.nan)
        assert {row["quantity"]: row["value"] for row in silent.rows(50.0)}[name] is None

    @pytest.mark.parametrize(("count", "end"), [(8, ""), (9, ", … (9)")])
    def test_rows_list_eight_eigenvalues_and_say_how_many_there_are_of_more(self, count, end):
        theory = head_theory(self.query, self.key, self.value, self.output)
        sizes = np.ones(count)
        theory = dataclasses.replace(theory, value_spectrum=np.arange(count, 0, -1) + 0j, interaction_sizes=sizes)
        row = {row["quantity"]: row["value"] for row in theory.rows(50.0)}["eigenvalues of V"]
        assert row == ", ".join(str(count - j) for j in range(8)) + end
