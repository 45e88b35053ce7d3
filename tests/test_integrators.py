"""Integrators: measured orders, SciPy as oracle, events, budgets, every way to end, noise, saving."""

import json
import math

import numpy as np
import pytest
from jaxtyping import config as jaxtyping_config
from scipy.integrate import solve_ivp

from tokendyn.dynamics import Budget, Event, FlowTrajectory, TokenFlow, integrate
from tokendyn.errors import BadInputError

RNG = np.random.default_rng(3)
START = RNG.normal(size=(20, 3))
START /= np.linalg.norm(START, axis=1)[:, None]
FLOW = TokenFlow(2.0, interaction=RNG.normal(size=(3, 3)), value=RNG.normal(size=(3, 3)))


@pytest.fixture(scope="module", autouse=True)
def _unchecked_hot_loops():
    """Integrations call the velocity thousands of times; its shapes are checked in the tests of the drift."""
    jaxtyping_config.update("jaxtyping_disable", True)
    yield
    jaxtyping_config.update("jaxtyping_disable", False)


def oracle(flow, start, until):
    """Return the end of SciPy's DOP853 on the velocity extended by ``f(x) = f(x / |x|)``."""

    def field(_, flat):
        x = flat.reshape(start.shape)
        return flow.velocity(x / np.linalg.norm(x, axis=1)[:, None]).ravel()

    found = solve_ivp(field, (0, until), start.ravel(), method="DOP853", rtol=1e-12, atol=1e-13)
    return found.y[:, -1].reshape(start.shape)


@pytest.fixture(scope="module")
def exact():
    return oracle(FLOW, START, 1.0)


def error(state, exact):
    return np.sqrt(((state - exact) ** 2).sum(axis=1).mean())


@pytest.mark.parametrize(("method", "order"), [("layers", 1), ("euler", 1), ("heun", 2), ("rk4", 4)])
def test_fixed_steps_have_their_order(exact, method, order):
    steps = (0.05, 0.025, 0.0125)
    errors = [error(integrate(FLOW, START, [0.0, 1.0], method=method, step=h).states[-1], exact) for h in steps]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)
    assert np.log2(errors[1] / errors[2]) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("tolerance", [1e-5, 1e-8])
def test_the_adaptive_method_keeps_its_tolerance(exact, tolerance):
    run = integrate(FLOW, START, [0.0, 0.3, 1.0], method="adaptive", tolerance=tolerance)
    assert error(run.states[-1], exact) < 30 * tolerance
    np.testing.assert_allclose(np.linalg.norm(run.states, axis=2), 1, atol=1e-14)


def test_the_dense_output_is_as_good_as_the_steps():
    times = np.linspace(0, 1, 21)
    run = integrate(FLOW, START, times, method="adaptive", tolerance=1e-8)
    assert run.steps < 40
    assert error(run.states[13], oracle(FLOW, START, times[13])) < 1e-6


def test_layers_are_the_post_normalised_transformer():
    run = integrate(FLOW, START, [0.0, 0.2], method="layers", step=0.1)
    x = START
    for _ in range(2):
        x = x + 0.1 * FLOW.output(x)
        x = x / np.linalg.norm(x, axis=1)[:, None]
    np.testing.assert_allclose(run.states[-1], x, atol=1e-15)
    assert run.evaluations == run.steps == 2


def test_an_event_is_found_where_it_happens():
    tokens = np.array([[1.0, 0.0], [math.cos(2.0), math.sin(2.0)]])
    level = math.tanh(0.7 + math.atanh(math.cos(2.0)))
    met = Event("met", lambda t, x: float(x[0] @ x[1]) - level)
    stop = Event("stop", lambda t, x: t - 1.1, terminal=True)
    run = integrate(
        TokenFlow(0.0), tokens, [0.0, 0.5, 2.0], method="adaptive", tolerance=1e-11, events=[met, stop]
    )  # fmt: skip
    assert run.events["met"] == [pytest.approx(0.7, abs=1e-8)]
    assert run.status == "event"
    np.testing.assert_allclose(run.times, [0.0, 0.5, 1.1])
    assert run.states[-1][0] @ run.states[-1][1] == pytest.approx(math.tanh(1.1 + math.atanh(math.cos(2.0))), abs=1e-8)


@pytest.mark.parametrize("method", ["heun", "adaptive"])
def test_a_spent_budget_keeps_what_was_reached(method):
    times = np.linspace(0, 10, 101)
    run = integrate(FLOW, START, times, method=method, tolerance=1e-10, budget=Budget(steps=30))
    assert run.status == "out of steps"
    assert "30 steps" in run.reason
    assert 1 < len(run.times) == len(run.states) < 101
    late = integrate(FLOW, START, times, method=method, budget=Budget(seconds=0.0))
    assert (late.status, len(late.times)) == ("out of time", 1)


@pytest.mark.parametrize("method", ["rk4", "adaptive"])
def test_divergence_keeps_the_finite_part(method):
    """Unnormalised attention with ``e^{beta |x|^2}`` in R^d blows up in finite time."""
    flow = TokenFlow(1.0, normalised=False, on_sphere=False)
    run = integrate(flow, 1.5 * START, np.linspace(0, 2, 21), method=method, tolerance=1e-4)
    assert run.status == "diverged"
    assert run.reason
    assert 1 <= len(run.times) < 21
    assert np.isfinite(run.states).all()


def test_a_token_that_reaches_a_zero_of_b_is_singular():
    """``V B^T`` turns (1, 0) towards (0, 1), which B^T maps to zero."""
    B = np.array([[1.0, 0.0], [0.0, 0.0]])
    flow = TokenFlow(math.inf, interaction=B, cold_limit="full support")
    run = integrate(flow, np.array([[0.0, 1.0], [1.0, 0.0]]), [0.0, 1.0])
    assert run.status == "singular"
    assert "token 0" in run.reason


def test_noise_is_brownian_motion_of_the_sphere():
    """``E x(t) = e^{-(d-1) D t} x(0)``; the pull is switched off by V = 0."""
    count, diffusivity = 20_000, 0.3
    tokens = np.zeros((count, 3))
    tokens[:, 0] = 1.0

    def nothing(queries, keys, weights, beta):
        return np.zeros_like(keys)

    still = TokenFlow(1.0, means=nothing)
    run = integrate(still, tokens, [0.0, 1.0], method="euler", step=0.01, noise=diffusivity, seed=5)
    expected = math.exp(-2 * diffusivity)
    assert run.states[-1][:, 0].mean() == pytest.approx(expected, abs=4 / math.sqrt(count) + 0.004)
    again = integrate(still, tokens, [0.0, 1.0], method="euler", step=0.01, noise=diffusivity, seed=5)
    assert np.array_equal(run.states, again.states)
    assert run.provenance["seed"] == 5


def test_a_trajectory_comes_back_from_its_folder(tmp_path):
    run = integrate(FLOW, START, [0.0, 0.5, 1.0])
    run.save(tmp_path / "run")
    back = FlowTrajectory.load(tmp_path / "run")
    assert np.array_equal(back.states, run.states)
    assert (back.status, back.steps, back.provenance) == (run.status, run.steps, run.provenance)


def test_a_damaged_trajectory_is_refused(tmp_path):
    integrate(FLOW, START, [0.0, 0.5]).save(tmp_path / "run")
    record = json.loads((tmp_path / "run" / "flow.json").read_text())
    record["status"] = "fine"
    (tmp_path / "run" / "flow.json").write_text(json.dumps(record))
    with pytest.raises(BadInputError, match="damaged"):
        FlowTrajectory.load(tmp_path / "run")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"times": [0.0, 1.0, 1.0]}, "increase"),
        ({"times": [1.0]}, "increase"),
        ({"times": [0.0, math.inf]}, "finite"),
        ({"step": 0.0}, "step"),
        ({"method": "leapfrog"}, "method"),
        ({"noise": 0.1}, "seed"),
        ({"noise": -0.1, "seed": 1, "method": "euler"}, "noise"),
        ({"tolerance": 0.0, "method": "adaptive"}, "tolerance"),
        ({"events": [Event("e", lambda t, x: t)]}, "adaptive"),
        ({"tokens": 1.1 * START}, "off the unit sphere"),
        ({"tokens": np.concatenate([START, np.zeros((1, 3))])}, r"\(20\): zero"),
        ({"tokens": np.ones((3, 1))}, "dimension 0"),
        ({"tokens": np.eye(2)}, "does not fit tokens of 2"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    settings = {"tokens": START, "times": [0.0, 1.0], **settings}
    with pytest.raises(BadInputError, match=message):
        integrate(FLOW, settings.pop("tokens"), settings.pop("times"), **settings)


def test_tokens_are_normalised_on_demand():
    run = integrate(FLOW, 3 * START, [0.0, 0.1], normalise=True)
    np.testing.assert_allclose(run.states[0], START, atol=1e-15)


class TestAutomaticSteps:
    def test_a_fast_flow_gives_the_answer_of_the_adaptive_method(self):
        angles = np.linspace(0.3, 6.0, 16)
        tokens = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        flow = TokenFlow(20.0, interaction=np.diag([4.0, 1.0]), value=np.diag([60.0, 120.0]))
        times = np.linspace(0, 0.3, 7)
        found = integrate(flow, tokens, times)
        expected = integrate(flow, tokens, times, method="adaptive", tolerance=1e-8)
        assert found.status == "completed"
        assert np.abs(found.states - expected.states).max() < 2e-3
        assert found.step_error <= 1e-4
        coarse = integrate(flow, tokens, times, step=0.1)
        assert coarse.step_error > 1e-2

    @pytest.mark.parametrize("method", ["euler", "heun", "rk4"])
    @pytest.mark.parametrize("scale", [1.0, 30.0])
    def test_every_method_keeps_the_error_of_a_step(self, method, scale):
        flow = TokenFlow(2.0, interaction=FLOW.interaction, value=scale * FLOW.value)
        found = integrate(flow, START, [0.0, 0.5 / scale, 1.0 / scale], method=method)
        assert error(found.states[-1], oracle(flow, START, 1.0 / scale)) < (2e-2 if method == "euler" else 2e-3)
        assert found.step_error <= 1e-4

    def test_unnormalised_attention_that_no_step_follows_says_so(self):
        tokens = START[:12]
        found = integrate(TokenFlow(25.0, normalised=False), tokens, [0.0, 0.5, 1.0])
        assert found.status == "out of steps"
        assert "shorter time" in found.reason
        slow = integrate(TokenFlow(4.0, normalised=False), tokens, [0.0, 0.02], step="auto")
        expected = oracle(TokenFlow(4.0, normalised=False), tokens, 0.02)
        assert error(slow.states[-1], expected) < 1e-3

    def test_a_slow_flow_takes_the_steps_that_were_the_default(self):
        flow = TokenFlow(30.0, interaction=np.diag([4.0, 1.0, 1.0]), value=np.diag([1.0, 2.0, 1.0]))
        times = np.linspace(0, 3, 31)
        found, fixed = integrate(flow, START, times), integrate(flow, START, times, step=0.1)
        assert np.array_equal(found.states, fixed.states)
        assert (found.steps, found.rejected) == (fixed.steps, fixed.rejected) == (30, 0)
        assert found.evaluations == fixed.evaluations == 1 + 4 * 30

    def test_steps_and_rejected_steps_are_all_that_were_tried(self):
        flow = TokenFlow(2.0, interaction=FLOW.interaction, value=30 * FLOW.value)
        found = integrate(flow, START, [0.0, 0.05], step="auto", method="heun")
        assert found.rejected > 0
        assert found.evaluations == 1 + 2 * (found.steps + found.rejected)

    def test_the_adaptive_method_rejects_nothing_on_a_smooth_flow(self):
        found = integrate(TokenFlow(0.0), START, [0.0, 1.0], method="adaptive", tolerance=1e-6)
        assert found.rejected == 0
        assert found.evaluations == 2 + 6 * found.steps  # two for the first step size

    def test_the_adaptive_method_counts_rejected_steps(self):
        flow = TokenFlow(2000.0, interaction=np.diag([4.0, 1.0, 1.0]), value=np.diag([1.0, 2.0, 1.5]))
        found = integrate(flow, START, [0.0, 4.0], method="adaptive", tolerance=1e-5)
        assert found.rejected > 0
        assert found.evaluations == 2 + 6 * (found.steps + found.rejected)

    @pytest.mark.parametrize("step", ["fast", 0.0, -1.0, math.nan, math.inf])
    def test_other_steps_are_refused(self, step):
        with pytest.raises(BadInputError, match="step"):
            integrate(FLOW, START, [0.0, 1.0], step=step)

    def test_layers_keep_their_step(self):
        flow = TokenFlow(2.0, interaction=FLOW.interaction, value=50 * FLOW.value)
        found, map_ = (integrate(flow, START, [0.0, 1.0], method="layers", **more) for more in ({}, {"step": 0.1}))
        assert np.array_equal(found.states, map_.states)
        assert found.steps == 10


@pytest.mark.parametrize("dim", [2, 3, 5, 8, 40])
@pytest.mark.parametrize("diffusivity", [0.05, 0.5, 2.0])
def test_noise_turns_tokens_as_brownian_motion_does_at_the_default_step(dim, diffusivity):
    """First two zonal harmonics: ``E c = e^{-(d-1) D t}``, ``E (d c^2 - 1) / (d - 1) = e^{-2 d D t}``."""
    count = 4000
    tokens = np.zeros((count, dim))
    tokens[:, 0] = 1.0
    until = 0.1 * max(1, round(0.7 / (diffusivity * (dim - 1) * 0.1)))
    still = TokenFlow(1.0, means=lambda queries, keys, weights, beta: np.zeros_like(keys))
    found = integrate(still, tokens, [0.0, until], method="euler", noise=diffusivity, seed=11).states[-1]
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-14)
    cosines = found[:, 0]
    for values, rate in ((cosines, dim - 1), ((dim * cosines**2 - 1) / (dim - 1), 2 * dim)):
        law = math.exp(-rate * diffusivity * until)
        assert values.mean() == pytest.approx(law, abs=4 * values.std() / math.sqrt(count) + 0.005 * law)


@pytest.mark.parametrize("dim", [3, 8, 100])
@pytest.mark.parametrize("time", [1e-4, 0.1, 1.0])
def test_the_mean_of_a_noisy_step_is_exact(dim, time):
    """``E cos(s chi)`` by quadrature, against the law."""
    from scipy.integrate import quad
    from scipy.stats import chi

    from tokendyn.dynamics.steps import _turn_scale

    spread = min(time, 0.5 / (dim - 1))
    scale = _turn_scale(dim - 1, spread)
    mean = quad(lambda r: math.cos(scale * r) * chi.pdf(r, dim - 1), 0, 40, limit=400, points=[math.sqrt(dim)])[0]
    assert mean == pytest.approx(math.exp(-(dim - 1) * spread), abs=1e-9)


def test_strong_pulls_are_followed_under_noise():
    tokens = START[:, :2] / np.linalg.norm(START[:, :2], axis=1)[:, None]
    flow = TokenFlow(1.0, value=np.diag([60.0, 120.0]))
    found = integrate(flow, tokens, [0.0, 0.5], method="euler", noise=1e-6, seed=1)
    assert found.steps > 100
    assert np.abs(found.states[-1][:, 1]).min() > 0.99
