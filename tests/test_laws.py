"""Laws of the field: each closed form against an oracle that shares no code; hypotheses are refused; measures."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import linprog

from tokendyn.attention import Head, attend
from tokendyn.cli import run as command
from tokendyn.dynamics import ResidualLayer, TokenFlow, integrate
from tokendyn.errors import BadInputError, SingularError
from tokendyn.metrics import (
    cluster_staircase,
    effective_rank,
    merge_events,
    pair_alignment,
    rank_one_residual,
    renyi_centres,
)
from tokendyn.particles.meanfield import circle_law, detect_phases, simulate, simulate_law
from tokendyn.particles.meanfield.cell_velocity import CellVelocity
from tokendyn.particles.meanfield.constants import fit_constants
from tokendyn.particles.meanfield.experiments import asymmetric_density, lined_flow
from tokendyn.particles.meanfield.starts import circle_quantiles
from tokendyn.studies.laws import (
    attention_energy,
    collapsed_layer,
    critical_gamma,
    critical_noise,
    equiangular_curve,
    equiangular_tokens,
    largest_energy,
    last_order,
    merging_time,
    order_loop,
    parked_on_circle,
    parking_density,
    predicted_gamma,
    run_two_tokens,
    second_token_time,
    stationary_order,
    turns_abruptly,
    two_token_curve,
    value_class,
)

pytestmark = pytest.mark.usefixtures("unchecked")


def on_circle(*angles):
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def unit(points):
    return points / np.linalg.norm(points, axis=-1, keepdims=True)


# --- measures --------------------------------------------------------------------------------------------------------


def test_the_alignment_of_pairs_is_that_of_a_plain_double_loop(rng):
    tokens = rng.normal(size=(70, 4))
    tokens[3] = 2 * tokens[9]
    pairs = [
        float(x @ y / np.linalg.norm(x) / np.linalg.norm(y)) for i, x in enumerate(tokens) for y in tokens[i + 1 :]
    ]
    alignment = pair_alignment(tokens)
    assert alignment.mean == pytest.approx(np.mean(pairs), abs=1e-14)
    assert (alignment.least, alignment.most) == pytest.approx((min(pairs), max(pairs)))
    assert alignment.merged == np.mean(np.array(pairs) >= math.cos(0.05))
    assert alignment.counts.sum() == len(pairs)
    np.testing.assert_allclose(alignment.quantiles, np.quantile(pairs, (0.05, 0.25, 0.5, 0.75, 0.95)), atol=4e-3)


def test_alignment_in_blocks_is_that_of_the_whole(rng, monkeypatch):
    tokens = rng.normal(size=(50, 3))
    whole = pair_alignment(tokens)
    monkeypatch.setattr("tokendyn.metrics.alignment._BLOCK", 170)
    blocks = pair_alignment(tokens)
    assert blocks.mean == pytest.approx(whole.mean, abs=1e-14)
    assert np.array_equal(blocks.counts, whole.counts)


def test_a_token_without_direction_is_refused():
    with pytest.raises(BadInputError, match="token 1 is zero"):
        pair_alignment(np.array([[1.0, 0.0], [0.0, 0.0]]))


def test_rank_measures_have_their_known_values(rng):
    assert effective_rank(np.diag([1.0, 1.0, 0.0])) == pytest.approx(2)
    assert rank_one_residual(np.full((7, 3), 0.1)) == 0
    tokens = rng.normal(size=(6, 3))
    spread = np.linalg.norm(tokens - tokens.mean(axis=0)) / np.linalg.norm(tokens)
    assert rank_one_residual(tokens) == pytest.approx(spread, rel=1e-12)


def test_merges_have_their_partners_and_times():
    angles = np.array([[0.0, 0.5, 2.0, 4.0], [0.25, 0.25, 2.0, 4.0], [0.25, 0.25, 3.0, 3.0], [1.0, 1.0, 1.0, 1.0]])
    states = np.array([on_circle(*row) for row in angles])
    merges = merge_events(np.arange(4.0), states)
    assert [(merge.time, merge.partners) for merge in merges] == [
        (1.0, ((0,), (1,))), (2.0, ((2,), (3,))), (3.0, ((0, 1), (2, 3))),
    ]  # fmt: skip
    assert cluster_staircase(np.arange(4.0), states) == [(0.0, 4), (1.0, 3), (2.0, 2), (3.0, 1)]


def test_centres_are_those_of_the_definition(rng):
    tokens = unit(rng.normal(size=(60, 2)))
    centres = []
    for index, token in enumerate(tokens):
        if all(np.linalg.norm(token - tokens[other]) > 0.4 for other in centres):
            centres.append(index)
    assert np.flatnonzero(renyi_centres(tokens, 0.4)).tolist() == centres
    strong = renyi_centres(tokens, 0.4, strong=True)
    for index in range(60):
        gaps = np.linalg.norm(tokens[:index] - tokens[index], axis=1)
        assert strong[index] == (gaps > 0.4).all()


# --- closed forms against oracles ------------------------------------------------------------------------------------


def test_equiangular_tokens_have_one_inner_product():
    for count, rho in ((4, -1 / 3), (5, 0.0), (6, 0.9)):
        gram = equiangular_tokens(count, rho, dim=8) @ equiangular_tokens(count, rho, dim=8).T
        np.testing.assert_allclose(gram, rho + (1 - rho) * np.eye(count), atol=1e-14)


@pytest.mark.parametrize(("count", "rho", "dim"), [(4, -0.4, None), (4, 1.1, None), (5, 0.0, 4), (1, 0.0, None)])
def test_equiangular_tokens_that_cannot_be_are_refused(count, rho, dim):
    with pytest.raises(BadInputError):
        equiangular_tokens(count, rho, dim)


def test_two_orthogonal_tokens_at_infinite_temperature_meet_like_tanh():
    times = np.linspace(0, 3, 7)
    np.testing.assert_allclose(equiangular_curve(times, 2, 0.0), np.tanh(times), atol=1e-11)


def test_the_critical_gamma_of_two_groups_is_found_and_of_one_point_refused():
    tokens = equiangular_tokens(256, 0.5)
    assert critical_gamma(tokens) == pytest.approx(predicted_gamma(0.5), rel=0.1)
    with pytest.raises(BadInputError, match="same way"):
        critical_gamma(np.ones((4, 3)))


def test_the_critical_noise_is_the_growth_of_a_plain_sum(rng):
    """The largest eigenvalue of the linearised equation by quadrature: no Bessel function."""
    beta = 3.0
    angles = 2 * np.pi * np.arange(400) / 400
    kernel = np.exp(beta * np.cos(angles)) * np.sin(angles)
    growth = [k * (kernel * np.sin(k * angles)).mean() / k**2 for k in range(1, 9)]
    assert critical_noise(beta) == pytest.approx(max(growth), rel=1e-12)
    mass = np.exp(beta * np.cos(angles)).mean()
    assert critical_noise(beta, normalised=True) == pytest.approx(max(growth) / mass, rel=1e-12)


def test_only_an_abrupt_transition_keeps_order_beyond_the_critical_noise():
    assert not turns_abruptly(1.0)
    assert turns_abruptly(5.0)
    assert last_order(1.0) == critical_noise(1.0)
    assert last_order(5.0) > 1.05 * critical_noise(5.0)
    assert stationary_order(5.0, 1.02 * critical_noise(5.0)) > 0.7
    assert stationary_order(1.0, 1.1 * critical_noise(1.0)) < 0.01


def test_the_order_on_the_way_down_differs_only_where_the_transition_is_abrupt():
    for beta, differs in ((5.0, True), (1.0, False)):
        critical = critical_noise(beta)
        loop = order_loop(TokenFlow(beta, normalised=False), np.array([0.85, 1.06, 1.3]) * critical, waits=30)
        assert loop["up"][2] < 0.05
        assert loop["down"][0] > 0.3
        assert (loop["up"][1] - loop["down"][1] > 0.3) == differs


@pytest.mark.parametrize("kind", ["post", "ngpt", "pre", "peri"])
def test_two_tokens_follow_the_velocity_written_out(kind):
    beta, value, angle = 2.0, 1.5, 1.2

    def field(_, flat):
        y = flat.reshape(2, 2)
        x = unit(y)
        scores = np.exp(beta * x @ x.T)
        moved = value * (scores / scores.sum(axis=1, keepdims=True)) @ x
        if kind in ("peri", "ngpt"):
            moved = unit(moved)
        if kind in ("post", "ngpt"):
            moved = moved - x * (moved * x).sum(axis=1, keepdims=True)
        return moved.ravel()

    times = np.linspace(0, 4, 9)
    start = on_circle(0.0, angle)
    solved = solve_ivp(field, (0, 4), start.ravel(), "DOP853", t_eval=times, rtol=1e-11, atol=1e-12).y.T
    states = run_two_tokens(kind, times, angle, beta, value)
    np.testing.assert_allclose(states, solved.reshape(-1, 2, 2), atol=1e-8)
    angles, radii = two_token_curve(kind, times, angle, beta, value)
    np.testing.assert_allclose(np.linalg.norm(states[:, 0], axis=1), radii, rtol=1e-8)
    np.testing.assert_allclose((unit(states[:, 0]) * unit(states[:, 1])).sum(axis=1), np.cos(angles), atol=1e-8)


def test_the_merging_time_of_slow_pairs_is_its_asymptotic_form():
    angle, beta = 1.0, 60.0
    leading = math.exp(beta * (1 - math.cos(angle))) / (2 * beta * math.sin(angle) ** 2)
    assert merging_time(angle, beta) == pytest.approx(leading, rel=0.05)


def test_unequal_atoms_merge_when_the_integral_says():
    weights, angle, beta = (0.8, 0.2), 1.0, 4.0
    until = merging_time(angle, beta, weights=weights, until=0.2)
    states = integrate(
        TokenFlow(beta), on_circle(0.0, angle), [0.0, until], weights=np.array(weights), method="adaptive",
        tolerance=1e-10,
    ).states  # fmt: skip
    assert states[-1][0] @ states[-1][1] == pytest.approx(math.cos(0.2), abs=1e-8)


def test_parking_has_renyis_constant_and_the_density_of_few_arrivals():
    assert parking_density(1e4) == pytest.approx(0.7475979, abs=1e-4)
    # Two cars overlap with probability 2 in the limit: t - t^2 to the second order.
    assert parking_density(0.01) == pytest.approx(0.01 - 0.01**2, abs=2e-6)
    rng = np.random.default_rng(3)
    counts = [parked_on_circle(300, 0.05, rng) for _ in range(40)]
    street = 2 * math.pi / 0.05
    assert np.mean(counts) == pytest.approx(street * parking_density(300 / street), rel=0.03)


def test_the_second_causal_token_takes_the_time_of_its_integral():
    run = integrate(
        TokenFlow(3.0, causal=True), on_circle(0.0, 1.0, 3.0), [0.0, second_token_time(1.0, 3.0, 0.3)],
        method="adaptive", tolerance=1e-10,
    )  # fmt: skip
    np.testing.assert_allclose(run.states[-1][:2], on_circle(0.0, 0.3), atol=1e-8)


def test_a_layer_on_mean_and_offsets_is_the_layer_of_the_core(rng):
    head = Head(score=rng.normal(size=(4, 4)), inverse_temperature=1.5)
    mean, offsets = rng.normal(size=4), 0.3 * rng.normal(size=(9, 4))
    offsets -= offsets.mean(axis=0)
    expected = ResidualLayer((head,), skip=False)(mean + offsets)[0]
    after, moved = collapsed_layer(mean, offsets, head)
    np.testing.assert_allclose(after + moved, expected, atol=1e-13)
    np.testing.assert_allclose(moved.mean(axis=0), 0, atol=1e-15)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (2 * np.eye(3), "identity"), (-np.eye(2), "negative identity"), (np.diag([1.0, 0.5, -3.0]), "simple positive"),
        (np.diag([1.0, 1.0, -3.0]), "other"), (np.array([[1.0, -2.0], [2.0, 1.0]]), "other"),
        (-np.diag([1.0, 2.0]), "other"),
    ],
)  # fmt: skip
def test_the_class_of_v_is_named_by_its_spectrum(value, kind):
    named = value_class(value)
    assert named.kind == kind
    if named.left is not None:
        np.testing.assert_allclose(named.left @ value, named.left, atol=1e-12)


def test_no_law_has_more_energy_than_the_larger_candidate(rng):
    for spectrum in ([1.0, 0.2, -0.5], [0.2, 0.1, -2.0], [-0.1, -0.5, -1.0]):
        matrix = np.diag(spectrum)
        best = max(
            attention_energy(unit(rng.normal(size=(k, 3))), matrix, 1.0, rng.dirichlet(np.ones(k)))
            for k in (1, 2, 3, 6)
            for _ in range(300)
        )
        assert best <= largest_energy(matrix, 1.0)
    with pytest.raises(BadInputError, match="not symmetric"):
        largest_energy(np.array([[1.0, 1.0], [0.0, 1.0]]), 1.0)


# --- options of the core ---------------------------------------------------------------------------------------------


def test_causal_hardmax_is_the_cold_limit_of_causal_softmax(rng):
    tokens, score = unit(rng.normal(size=(12, 3))), rng.normal(size=(3, 3))
    cold = TokenFlow(math.inf, interaction=score, causal=True, cold_limit="hardmax")
    np.testing.assert_allclose(
        cold.velocity(tokens), TokenFlow(1e6, interaction=score, causal=True).velocity(tokens), atol=1e-9
    )
    seen = attend(tokens @ score, tokens, tokens, mask=np.tri(12, dtype=bool)).leaders
    assert (seen <= np.arange(12)).all()


def test_a_causal_law_of_full_support_is_refused():
    with pytest.raises(BadInputError, match="no full-support limit"):
        TokenFlow(math.inf, causal=True, cold_limit="full support")


def test_causal_hardmax_runs_from_the_command_line(tmp_path):
    table = tmp_path / "tokens.csv"
    table.write_text("x,y\n1,0\n0.6,0.8\n-1,0.1\n0,1\n", encoding="utf-8")
    arguments = [
        "simulate",
        str(table),
        "--model",
        "meanfield",
        "--causal",
        "--zero-temperature",
        "hardmax",
        "--normalise",
    ]
    assert command([*arguments, "--time", "1", "--out", str(tmp_path / "run")]) == 0


def test_layers_of_every_normalisation_are_written_out(rng):
    tokens, head = rng.normal(size=(5, 3)), Head(inverse_temperature=2.0)

    def mean(x):
        return head.attend(x).means

    expected = {
        None: tokens + mean(tokens),
        "post": unit(tokens + mean(tokens)),
        "pre": tokens + mean(unit(tokens)),
        "peri": tokens + unit(mean(unit(tokens))),
        "ngpt": unit(tokens + unit(mean(unit(tokens)))),
    }
    for kind, moved in expected.items():
        np.testing.assert_allclose(ResidualLayer((head,), normalisation=kind)(tokens)[0], moved, atol=1e-14)
    with pytest.raises(BadInputError, match="normalisation is 'layer'"):
        ResidualLayer((head,), normalisation="layer")


@pytest.mark.parametrize("kind", ["pre", "peri", "ngpt"])
def test_the_layer_method_is_the_layer_of_the_normalisation(rng, kind):
    tokens = unit(rng.normal(size=(6, 3)))
    run = integrate(TokenFlow(2.0, normalisation=kind), tokens, [0.0, 0.1], method="layers", step=0.1)
    moved = Head(inverse_temperature=2.0).attend(tokens).means
    moved = moved if kind == "pre" else unit(moved)
    after = tokens + 0.1 * moved
    np.testing.assert_allclose(run.states[-1], unit(after) if kind == "ngpt" else after, atol=1e-14)


def test_a_zero_token_has_no_direction_that_attends():
    with pytest.raises(SingularError, match="token 1: a token is zero"):
        TokenFlow(1.0, normalisation="pre").velocity(np.array([[1.0, 0.0], [0.0, 0.0]]))


def test_the_projected_law_is_that_of_post_normalisation():
    with pytest.raises(BadInputError, match="projected law"):
        simulate(TokenFlow(1.0, normalisation="pre"), on_circle(0.0, 1.0), [0.0, 1.0])
    with pytest.raises(BadInputError, match="keeps tokens on the sphere"):
        TokenFlow(1.0, normalisation="ngpt", on_sphere=False)


# --- the law without tokens ------------------------------------------------------------------------------------------


def harmonics_of(beta, noise, until, start, count=32):
    """Return the harmonics of noisy unnormalised attention from their own equation: no grid, no kernel."""
    from scipy.special import iv

    k = np.arange(-count, count + 1)
    strengths = iv(k, beta) / beta

    def rate(_, r):
        full = np.convolve(k * strengths * r, r)[count : 3 * count + 1]
        return -noise * k**2 * r + k * full

    first = np.zeros(2 * count + 1)
    first[count], first[count - 1], first[count + 1] = 1.0, start, start
    return solve_ivp(rate, (0, until), first, "DOP853", rtol=1e-10, atol=1e-12).y[count:, -1]


@pytest.mark.parametrize("noise", [0.3, 0.8])
def test_noisy_laws_are_those_of_the_equation_of_their_harmonics(noise):
    law = circle_law(
        TokenFlow(1.0, normalised=False), lambda angle: 1 + 0.4 * np.cos(angle), [0.0, 2.0], cells=256, step=0.02,
        noise=noise,
    )  # fmt: skip
    expected = harmonics_of(1.0, noise, 2.0, 0.2)
    np.testing.assert_allclose([law.order(k)[-1] for k in (1, 2, 3)], np.abs(expected[1:4]), atol=3e-4)


def test_a_law_keeps_its_mass_and_is_nowhere_negative():
    law = circle_law(lined_flow(300.0), asymmetric_density, [0.0, 3.0, 6.0], cells=256)
    assert np.abs(law.masses.sum(axis=1) - 1).max() < 1e-13
    assert law.masses.min() >= 0


def test_a_law_of_full_support_moves_in_closed_form():
    """``tan theta(t) = tan theta(0) e^{(v_2 - v_1) t}`` for B = I: every token moves alone."""
    flow = TokenFlow(math.inf, value=np.diag([1.0, 2.0]), cold_limit="full support")
    law = circle_law(flow, np.ones_like, [0.0, 0.7], cells=512)
    quarter = law.edges[1 : len(law.edges) // 4]
    before = np.arctan(np.tan(quarter) * math.exp(-0.7))
    np.testing.assert_allclose(law.cumulative()[1 : len(law.edges) // 4], before / (2 * math.pi), atol=1e-6)


def test_the_steps_of_a_law_are_of_the_second_order():
    def end(step):
        return circle_law(lined_flow(2.0), asymmetric_density, [0.0, 1.0], cells=2048, step=step).cumulative()

    exact = end(0.01)
    errors = [np.abs(end(step) - exact).max() for step in (0.08, 0.04)]
    assert np.log2(errors[0] / errors[1]) > 1.7


@pytest.mark.parametrize(
    ("flow", "words"),
    [
        (TokenFlow(1.0, causal=True), "no order of tokens"),
        (TokenFlow(1.0, normalisation="pre"), "normalisation='post'"),
        (TokenFlow(1.0, value=np.eye(3)), "2 coordinates"),
        (TokenFlow(math.inf, cold_limit="hardmax"), "full support"),
        (TokenFlow(400.0, normalised=False), "beyond inverse_temperature=300"),
    ],
)
def test_what_is_no_law_on_the_circle_is_refused(flow, words):
    with pytest.raises(BadInputError, match=words):
        circle_law(flow, np.ones_like, [0.0, 1.0], cells=32)


@pytest.mark.parametrize(("count", "status"), [(400, "resolved"), (12, "unresolved")])
def test_a_resolved_run_is_near_the_law_and_an_unresolved_one_need_not_be(count, status):
    times = np.linspace(0, 6, 25)
    run = simulate(lined_flow(100.0), circle_quantiles(count, asymmetric_density), times)
    law = circle_law(lined_flow(100.0), asymmetric_density, times, cells=1024)
    least = int(run.distances.argmin())
    gap = law.distance(np.arctan2(run.trajectory.states[least][:, 1], run.trajectory.states[least][:, 0]), least)
    assert run.resolution.status == status
    assert (gap < 0.05) == (status == "resolved")


# --- the constants of the bound --------------------------------------------------------------------------------------


def bounded(betas, times, amplitude, growth, rate, seed, factor=lambda beta: np.sqrt(np.log(beta + 1) / beta)):
    rng = np.random.default_rng(seed)
    shapes = [factor(beta) * np.exp(growth * times) + np.exp(-rate * times) for beta in betas]
    return [amplitude * shape * np.exp(0.02 * rng.normal(size=len(times))) for shape in shapes]


def test_the_constants_of_the_bound_are_found_where_they_are_known():
    betas, times = np.geomspace(300, 1e6, 8), np.linspace(0, 9, 91)
    fitted = fit_constants(betas, [times] * 8, bounded(betas, times, 0.9, 0.25, 0.7, 5))
    for estimate, truth in ((fitted.amplitude, 0.9), (fitted.growth, 0.25), (fitted.rate, 0.7)):
        assert estimate.value == pytest.approx(truth, rel=0.05)
        assert estimate.low < estimate.value < estimate.high
    assert 0.9 < fitted.sufficient < 1.1
    assert fitted.latex().count(r"\\") == len(fitted.rows()) + 1


def test_the_two_powers_of_beta_are_told_apart():
    betas, times = np.geomspace(30, 1e6, 9), np.linspace(0, 12, 121)
    source = fit_constants(betas, [times] * 9, bounded(betas, times, 0.5, 1e-3, 3.0, 1))
    power = fit_constants(betas, [times] * 9, bounded(betas, times, 0.5, 1e-3, 3.0, 1, lambda beta: beta**-0.5))
    assert source.logarithm.low > 0.5
    assert power.logarithm.high < 0.5


def test_too_few_or_idle_runs_are_refused():
    times = np.linspace(0, 5, 51)
    with pytest.raises(BadInputError, match="4 different"):
        fit_constants([10.0, 100.0, 1e3], [times] * 3, [np.exp(-times)] * 3)
    with pytest.raises(BadInputError, match=r"beta = 10 never came near"):
        fit_constants([10.0, 1e2, 1e3, 1e4], [times] * 4, [np.ones(51), *[np.exp(-times)] * 3])


def test_the_command_fits_the_bound_and_writes_its_table(tmp_path, capsys):
    arguments = ["phase", "--fit", "--value", "diag(1,2)", "--score", "diag(4,1)", "--tokens", "120", "--no-report"]
    assert command([*arguments, "--betas", "10,30,100"]) == 2
    assert "4 different" in capsys.readouterr().err
    folder = tmp_path / "phase"
    assert command([*arguments, "--betas", "20,40,80,160", "--out", str(folder)]) == 0
    assert "95 %" in capsys.readouterr().err
    assert (folder / "constants.tex").read_text(encoding="utf-8").startswith(r"\begin{tabular}")
    assert (folder / "constants.csv").read_text(encoding="utf-8").startswith("constant,value,low,high")


# --- the law at low temperature, beside its projection ---------------------------------------------------------------


def test_a_banded_kernel_is_the_dense_one(monkeypatch):
    edges = np.linspace(0, 2 * np.pi, 1025)
    masses = np.diff(np.cumsum(np.insert(asymmetric_density(edges[:-1]), 0, 0.0)))
    flow = replace(lined_flow(3000.0), interaction=np.array([[4.0, 0.5], [-0.3, 1.0]]))
    banded = CellVelocity(flow, edges)
    monkeypatch.setattr("tokendyn.particles.meanfield.cell_velocity._CUT", 1e9)
    dense = CellVelocity(flow, edges)
    assert isinstance(dense.kernel, np.ndarray)
    assert banded.kernel.nnz < dense.kernel.size / 8
    np.testing.assert_allclose(banded(masses), dense(masses), atol=1e-13)
    # Far from all mass an edge asks for the direction of its query, as at zero temperature.
    point = np.zeros(1024)
    point[0] = 1.0
    cold = replace(flow, inverse_temperature=math.inf, cold_limit="full support")
    np.testing.assert_allclose(banded(point)[200:800], CellVelocity(cold, edges)(point)[200:800], atol=1e-12)


def test_the_distance_of_a_law_is_the_transport_to_two_points():
    run = simulate_law(lined_flow(30.0), asymmetric_density, [0.0, 1.0, 2.0, 3.0], cells=1024)
    turn = np.linspace(-np.pi / 2, np.pi / 2, 20_001)
    inside, outside = (np.trapezoid(asymmetric_density(turn + start), turn) for start in (0, np.pi))
    share = inside / (inside + outside)
    for state in (0, 3):
        # One linear programme: the share of each cell that goes to the first point.
        points = on_circle(*run.law.centres)
        cost = ((points[:, None] - np.array([[1.0, 0.0], [-1.0, 0.0]])) ** 2).sum(axis=2)
        masses = run.law.masses[state]
        solved = linprog(
            (masses[:, None] * (cost[:, :1] - cost[:, 1:])).ravel(), A_eq=masses[None], b_eq=[share], bounds=(0, 1)
        )
        assert run.distances[state] ** 2 == pytest.approx(solved.fun + masses @ cost[:, 1], rel=1e-6)


def test_a_law_leaves_when_tokens_that_resolve_it_leave():
    times = np.linspace(0, 10, 41)
    law = simulate_law(lined_flow(100.0), asymmetric_density, times)
    tokens = simulate(lined_flow(100.0), circle_quantiles(400, asymmetric_density), times, check=False)
    assert law.resolved
    assert len(law.law.times) < len(times) == len(law.distances)
    departures = [detect_phases(times, curve).departure for curve in (law.distances, tokens.distances)]
    assert departures[0] == pytest.approx(departures[1], rel=0.01)


def test_cells_that_do_not_hold_a_law_leave_it_unresolved():
    times = np.linspace(0, 4, 9)
    assert not simulate_law(lined_flow(1000.0), asymmetric_density, times, cells=1024).resolved
    # Nothing to leave for: the law is soon narrower than a cell.
    settled = TokenFlow(3.0, value=np.diag([6.0, 1.0]))
    assert not simulate_law(settled, np.ones_like, 3 * times, cells=1024).resolved


def test_laws_that_cannot_be_followed_are_refused():
    with pytest.raises(BadInputError, match="no projected law"):
        simulate_law(TokenFlow(3.0), asymmetric_density, [0.0, 1.0])
    with pytest.raises(BadInputError, match="take at most 8,192 cells"):
        circle_law(TokenFlow(1.0), np.ones_like, [0.0, 1.0], cells=2**14)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--tokens", "10"], "no --tokens"),
        (["--causal"], "no --causal"),
        (["--start", "uniform"], "a start by --density"),
    ],
)
def test_a_diagram_without_tokens_refuses_what_tokens_have(tmp_path, capsys, options, problem):
    arguments = ["phase", "--without-tokens", "--value", "diag(1,2)", "--score", "diag(4,1)", "--betas", "30"]
    assert command([*arguments, *options, "--out", str(tmp_path / "phase")]) == 2
    assert problem in capsys.readouterr().err


def test_a_diagram_without_tokens_is_kept_apart_from_one_of_tokens(tmp_path, capsys):
    arguments = ["phase", "--value", "diag(1,2)", "--score", "diag(4,1)", "--no-report", "--betas", "20,40"]
    arguments += ["--time", "7", "--every", "0.5", "--out", str(tmp_path / "phase")]
    assert command([*arguments, "--without-tokens"]) == 0
    said = capsys.readouterr().err
    assert "2 runs of the asymmetric law on the circle, without tokens" in said
    assert said.count(": leaves; least distance") == 2
    assert command(arguments) == 2
    assert "without_tokens" in capsys.readouterr().err
