"""Mean field at low temperature: projection, closure, guard, phases, starts, and the experiments in small."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import config as jaxtyping_config
from scipy.linalg import expm
from scipy.stats import vonmises_fisher

from tokendyn.dynamics import TokenFlow
from tokendyn.errors import BadInputError
from tokendyn.particles import meanfield
from tokendyn.particles.meanfield import experiments, starts


@pytest.fixture(scope="module", autouse=True)
def _unchecked_hot_loops():
    """Integrations call the velocity thousands of times; its shapes are checked in the tests of the drift."""
    jaxtyping_config.update("jaxtyping_disable", True)
    yield
    jaxtyping_config.update("jaxtyping_disable", False)


def unit(points):
    return points / np.linalg.norm(points, axis=-1, keepdims=True)


class TestProjection:
    @settings(max_examples=30)
    @given(seed=st.integers(0, 10**6), dim=st.integers(2, 5))
    def test_an_oblique_projection_is_where_the_linear_flow_ends(self, seed, dim):
        rng = np.random.default_rng(seed)
        basis = rng.normal(size=(dim, dim)) + 2 * np.eye(dim)
        B = rng.normal(size=(dim, dim)) + 3 * np.eye(dim)
        M = basis @ np.diag([3.0, *rng.uniform(-1, 1, dim - 1)]) @ np.linalg.inv(basis)
        found = meanfield.project(M @ np.linalg.inv(B.T), B)
        tokens = unit(rng.normal(size=(10, dim)))
        assert (found.status, found.dimension) == ("eigenspace", 1)
        expected = unit(tokens @ expm(25 * (M - 3 * np.eye(dim))).T)
        np.testing.assert_allclose(found.apply(tokens), expected, atol=1e-8)
        np.testing.assert_allclose(found.projector @ found.projector, found.projector, atol=1e-9)
        assert np.array_equal(found.sides(tokens), found.sides(found.apply(tokens)))

    def test_it_belongs_to_v_b_transposed_and_not_to_v_b(self, rng):
        V, B = np.array([[1.0, 2.0], [0.0, 3.0]]), np.array([[1.0, 5.0], [0.0, 1.0]])
        found = meanfield.project(V, B)
        np.testing.assert_allclose(sorted(found.eigenvalues.real), sorted(np.linalg.eigvals(V @ B.T).real))
        other = meanfield.project(V, B.T)
        assert np.abs(found.projector - other.projector).max() > 0.1

    def test_an_eigenspace_of_dimension_two_is_kept(self):
        found = meanfield.project(np.diag([1.0, 1.0, 2.0]), np.diag([4.0, 4.0, 1.0]))
        assert (found.status, found.dimension) == ("eigenspace", 2)
        np.testing.assert_allclose(found.projector, np.diag([1.0, 1.0, 0.0]), atol=1e-14)
        assert found.rate == pytest.approx(0.5)

    @pytest.mark.parametrize(
        ("matrix", "status"),
        [
            ([[2.0, 0.0, 0.0], [0.0, 2.0 + 1e-9, 0.0], [0.0, 0.0, 1.0]], "tied"),
            ([[1.0, -2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 0.5]], "rotating"),
            ([[2.0, 1.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0]], "defective"),
            ([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 2.0]], "identity"),
            ([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], "defective"),
            ([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], "identity"),
        ],
    )
    def test_other_spectra_are_named(self, matrix, status):
        found = meanfield.project(np.array(matrix), np.eye(3))
        assert found.status == status
        assert found.reason
        assert np.isfinite(found.projector).all()

    def test_a_defective_matrix_takes_tokens_to_the_end_of_its_chain(self, rng):
        M = np.array([[2.0, 1.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
        tokens = unit(rng.normal(size=(10, 3)))
        end = unit(tokens @ expm(2000 * (M - 2 * np.eye(3))).T)
        found = meanfield.project(M, np.eye(3))
        np.testing.assert_allclose(found.apply(tokens), end, atol=2e-2)
        assert found.rate == 0.0

    def test_tokens_on_the_separatrix_are_named(self):
        found = meanfield.project(np.diag([2.0, 1.0]), np.eye(2))
        with pytest.raises(BadInputError, match=r"separatrix holds 1 token \(1\)"):
            found.apply(np.array([[1.0, 0.0], [0.0, 1.0]]))

    @pytest.mark.parametrize("B", [np.ones((2, 3)), np.full((2, 2), np.inf)])
    def test_wrong_matrices_are_refused(self, B):
        with pytest.raises(BadInputError, match="finite square"):
            meanfield.project(np.eye(2), B)


class TestTerminalPhase:
    def test_it_exists_where_v_grows_faster_outside_e(self):
        projection = meanfield.project(np.diag([1.0, 2.0]), np.diag([4.0, 1.0]))
        phase = meanfield.terminal_phase(np.diag([1.0, 2.0]), projection)
        assert (phase.exists, phase.invariant, phase.rate) == (True, True, pytest.approx(1.0))
        times = meanfield.predicted_times(1000.0, projection, phase)
        assert times.concentration == pytest.approx(math.log(1000))
        assert times.departure == pytest.approx(1.5 * math.log(1000))

    def test_it_does_not_where_v_and_m_share_their_dominant_direction(self):
        V = np.diag([2.0, 1.0])
        phase = meanfield.terminal_phase(V, meanfield.project(V, np.eye(2)))
        assert not phase.exists
        assert meanfield.predicted_times(10.0, meanfield.project(V, np.eye(2)), phase).departure == math.inf

    def test_an_e_that_v_does_not_keep_is_named(self):
        flow = experiments.leaning_flow(100.0)
        phase = meanfield.terminal_phase(flow.value, meanfield.project(flow.value, flow.interaction))
        assert (phase.exists, phase.invariant) == (True, False)
        assert math.isnan(phase.rate)


class TestGuard:
    def flow(self, beta):
        return experiments.lined_flow(beta)

    def start(self, count):
        return starts.circle_quantiles(count, experiments.asymmetric_density)

    def test_it_catches_the_wrong_limit(self):
        found = meanfield.resolution(self.flow(1e6), self.start(1000))
        assert found.status == "unresolved"
        assert found.needed == 5000
        assert "at least 5000 tokens" in found.reason
        assert found.effective_size < 1.2

    def test_the_number_it_asks_for_resolves(self):
        flow = TokenFlow(100.0, interaction=np.diag([4.0, 4.0, 1.0]), value=np.diag([1.0, 1.0, 2.0]))
        coarse = meanfield.resolution(flow, starts.fibonacci_sphere(1000, 0.5))
        assert coarse.status == "unresolved"
        fine = meanfield.resolution(flow, starts.fibonacci_sphere(int(coarse.needed), 0.5))
        assert fine.status == "resolved"

    def test_independent_tokens_need_more(self):
        even = meanfield.resolution(self.flow(3e3), self.start(300))
        independent = meanfield.resolution(self.flow(3e3), starts.uniform_sphere(300, 2, 0))
        assert even.status == "resolved"
        assert independent.status == "unresolved"

    def test_uneven_weights_count_as_fewer_tokens(self):
        start = self.start(600)
        weights = np.where(np.arange(600) < 500, 1e-9, 1.0)
        found = meanfield.resolution(self.flow(3e3), start, weights / weights.sum())
        assert found.status == "unresolved"
        assert found.tokens == pytest.approx(100, rel=1e-3)

    def test_hardmax_is_never_the_mean_field(self):
        flow = TokenFlow(math.inf, cold_limit="hardmax")
        found = meanfield.resolution(flow, self.start(100))
        assert (found.status, found.needed) == ("unresolved", math.inf)
        cold = meanfield.resolution(TokenFlow(math.inf, cold_limit="full support"), self.start(100))
        assert cold.status == "resolved"

    def test_many_tokens_are_judged_by_a_sample(self):
        flow, start = TokenFlow(400.0, interaction=np.diag([4.0, 1.0])), self.start(6000)
        drift = flow.drift(start)
        found = meanfield.resolution(flow, start)
        assert found.effective_size == pytest.approx(float(np.median(drift.effective_sizes)), rel=0.02)
        assert found.self_weight == pytest.approx(float(np.median(drift.self_weights)), rel=0.02)

    def test_needed_tokens_follow_the_power_of_the_dimension(self):
        assert meanfield.needed_tokens(400.0, 2) == pytest.approx(50)
        assert meanfield.needed_tokens(400.0, 3) == pytest.approx(2800)
        assert meanfield.needed_tokens(1600.0, 4) / meanfield.needed_tokens(400.0, 4) == pytest.approx(8)
        assert meanfield.needed_tokens(0.0, 5) == 1


class TestPhases:
    def test_they_are_read_off_a_curve(self):
        times = np.linspace(0, 10, 1001)
        curve = np.exp(-times) + 1e-4 * np.exp(times)
        found = meanfield.detect_phases(times, curve)
        assert found.concentration == pytest.approx(math.log(100), abs=0.02)
        assert found.least == pytest.approx(0.02, rel=1e-4)
        assert found.departure == pytest.approx(math.log(0.5 / 1e-4), abs=0.01)
        for moment in found.metastable:
            assert np.interp(moment, times, curve) == pytest.approx(0.04, rel=1e-3)

    def test_a_curve_that_does_not_leave_has_no_departure(self):
        times = np.linspace(0, 5, 51)
        found = meanfield.detect_phases(times, np.exp(-times))
        assert found.departure == found.metastable[1] == math.inf

    def test_wrong_curves_are_refused(self):
        with pytest.raises(BadInputError, match="three or more"):
            meanfield.detect_phases(np.arange(2.0), np.ones(2))


class TestClosure:
    def test_its_slopes_are_those_of_the_leading_order(self):
        clusters = (meanfield.Cluster(0.2, 0.1, 0.6), meanfield.Cluster(-0.1, 0.2, 0.4))
        betas = (1e4, 1e6)
        found = [meanfield.gaussian_closure((1, 2), (4, 1), beta, clusters, 40.0).phases for beta in betas]
        log = math.log(100)
        assert (found[1].concentration - found[0].concentration) / log == pytest.approx(1.0, rel=0.02)
        assert (found[1].departure - found[0].departure) / log == pytest.approx(1.5, rel=0.02)
        assert math.log(found[1].least / found[0].least) / log == pytest.approx(-0.5, rel=0.02)

    def test_it_needs_a_dominant_first_direction(self):
        with pytest.raises(BadInputError, match="v1 b1 > v2 b2"):
            meanfield.gaussian_closure((1, 5), (4, 1), 10.0, (meanfield.Cluster(0.1, 0.1, 1.0),), 5.0)


class TestStarts:
    def test_quantiles_hold_equal_shares_of_the_density(self):
        tokens = starts.circle_quantiles(500, experiments.asymmetric_density)
        angles = np.unwrap(np.arctan2(tokens[:, 1], tokens[:, 0]) % (2 * math.pi))
        cumulative = angles + 0.5 * (np.sin(angles - 1) + np.sin(1)) + 0.15 * (np.sin(2 * angles - 0.5) + np.sin(0.5))
        np.testing.assert_allclose(cumulative / (2 * math.pi), (np.arange(500) + 0.5) / 500, atol=1e-12)

    def test_quadrature_and_quantiles_stand_for_the_same_law(self):
        tokens, weights = starts.circle_quadrature(400, experiments.asymmetric_density)
        even = starts.circle_quantiles(20_000, experiments.asymmetric_density)
        np.testing.assert_allclose(weights @ tokens, even.mean(axis=0), atol=1e-6)

    @pytest.mark.parametrize("make", [starts.uniform_sphere, starts.sobol_sphere])
    @pytest.mark.parametrize("dim", [2, 3, 6])
    def test_samples_lie_on_the_sphere_and_repeat(self, make, dim):
        tokens = make(300, dim, 4)
        np.testing.assert_allclose(np.linalg.norm(tokens, axis=1), 1, atol=1e-12)
        assert np.array_equal(tokens, make(300, dim, 4))
        assert not np.array_equal(tokens, make(300, dim, 5))
        assert np.linalg.norm(tokens.mean(axis=0)) < (0.15 if make is starts.uniform_sphere else 0.05)

    def test_a_fibonacci_sphere_is_even_and_turns_rigidly(self):
        tokens = starts.fibonacci_sphere(1000)
        np.testing.assert_allclose(tokens.mean(axis=0), 0, atol=2e-3)
        turned = starts.fibonacci_sphere(1000, 0.4)
        np.testing.assert_allclose(turned @ turned[0], tokens @ tokens[0], atol=1e-12)
        assert np.abs(turned - tokens).max() > 0.3

    def test_a_mixture_has_the_means_of_its_components(self):
        centres = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
        tokens = starts.von_mises_fisher(20_000, centres, [5.0, 20.0], [0.3, 0.7], seed=1)
        ratios = [1 / math.tanh(kappa) - 1 / kappa for kappa in (5.0, 20.0)]
        expected = 0.3 * ratios[0] * centres[0] + 0.7 * ratios[1] * centres[1]
        np.testing.assert_allclose(tokens.mean(axis=0), expected, atol=0.01)
        assert vonmises_fisher(centres[0], 5.0).dim == 3

    def test_a_file_is_divided_by_its_norms(self, tmp_path, rng):
        rows = rng.normal(size=(9, 4))
        np.save(tmp_path / "embeddings.npy", rows)
        np.testing.assert_allclose(starts.from_file(tmp_path / "embeddings.npy"), unit(rows), atol=1e-15)
        rows[3] = 0
        np.save(tmp_path / "zero.npy", rows)
        with pytest.raises(BadInputError, match=r"\(3\): zero"):
            starts.from_file(tmp_path / "zero.npy")

    @pytest.mark.parametrize(
        "make",
        [
            lambda: starts.circle_quantiles(0),
            lambda: starts.circle_quantiles(5, np.sin),
            lambda: starts.uniform_sphere(5, 1, 0),
            lambda: starts.von_mises_fisher(5, np.eye(2), [1.0], seed=0),
            lambda: starts.von_mises_fisher(5, np.eye(2), [1.0, -1.0], seed=0),
        ],
    )
    def test_wrong_starts_are_refused(self, make):
        with pytest.raises(BadInputError, match=r"expected|must"):
            make()


class TestRuns:
    def test_experiment_a_reproduces_its_table_at_two_temperatures(self):
        rows, _ = experiments.experiment_a((30.0, 1000.0), until=12.5)
        for row, seen in zip(rows, ((0.144, 4.4, 6.5), (0.0237, 7.9, 11.8)), strict=True):
            assert row.resolution == "resolved"
            assert row.least == pytest.approx(seen[0], rel=0.03)
            assert row.concentration == pytest.approx(seen[1], rel=0.05)
            assert row.departure == pytest.approx(seen[2], rel=0.05)

    def test_without_a_terminal_phase_the_law_stays_and_rotating_clusters_turn(self):
        (settled, turning), _ = experiments.experiment_c(count=100, until=18.0)
        assert settled["departure"] is None
        assert settled["last_distance"] < 1e-6
        assert turning["turning_rate"] == pytest.approx(math.sin(0.3), rel=1e-3)

    def test_the_coupling_is_within_two_percent_of_exact_transport(self):
        start = starts.fibonacci_sphere(400, 0.5)
        flow = TokenFlow(10.0, interaction=np.diag([4.0, 4.0, 1.0]), value=np.diag([1.0, 1.0, 2.0]))
        run = meanfield.simulate(flow, start, [0.0, 1.0, 2.0, 3.0])
        exact = run.exact_distance(2)
        assert exact.lower <= exact.value <= run.distances[2] <= 1.02 * exact.value

    def test_tokens_that_cross_put_a_floor_under_the_distance(self):
        start = starts.uniform_sphere(200, 2, 4)
        run = meanfield.simulate(experiments.lined_flow(30.0), start, np.linspace(0, 6, 31))
        best = run.best
        assert run.crossings[best] > 0
        assert run.floors[best] == pytest.approx(2 * math.sqrt(run.crossings[best] / 200))
        assert 0.95 * run.floors[best] <= run.distances[best]
        assert run.distances_without_crossings[best] < run.distances[best]
        assert run.exact_distance(best).value <= run.distances[best] + 1e-12
        assert any("crossed the separatrix" in line for line in run.describe())

    def test_energies_grow_when_v_is_b(self):
        B = np.diag([2.0, 1.0])
        start = starts.uniform_sphere(80, 2, 0)
        run = meanfield.simulate(TokenFlow(5.0, interaction=B, value=B), start, [0.0, 0.5, 1.0, 2.0])
        energies = run.log_energies()
        assert (np.diff(energies) > 0).all()
        state, beta = run.trajectory.states[1], 5.0
        assert energies[1] == pytest.approx(math.log(np.exp(beta * state @ B @ state.T).mean()), rel=1e-12)

    def test_refinement_runs_three_numbers_of_tokens(self):
        found = meanfield.refine(
            experiments.lined_flow(30.0),
            lambda n: starts.circle_quadrature(n, experiments.asymmetric_density),
            40,
            np.linspace(0, 3, 16),
        )
        assert found.counts == (40, 80, 160)
        assert found.changes[1] < found.changes[0] < 0.05
        assert found.table()["tokens"].tolist() == [40, 80, 160]

    def test_an_unresolved_run_says_so_in_its_summary(self):
        run = meanfield.simulate(
            experiments.lined_flow(1e6), starts.circle_quantiles(100, experiments.asymmetric_density), [0.0, 0.5, 1.0]
        )
        facts = run.summary()
        assert facts["resolution"] == "unresolved"
        assert facts["tokens_needed"] >= 5000
        assert any(line.startswith("note:") and "tokens of this kind" in line for line in run.describe())
        assert run.effective_sizes()[0] < 1.5

    def test_a_flow_off_the_sphere_has_no_projected_law(self):
        with pytest.raises(BadInputError, match="sphere"):
            meanfield.simulate(TokenFlow(1.0, on_sphere=False), np.eye(2), [0.0, 1.0])
