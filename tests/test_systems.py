"""The generated systems: known exponents and frequencies, exact solutions, order of convergence, seeds."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from tokendyn.data.systems import (
    LYAPUNOV,
    kernels,
    kuramoto_sivashinsky,
    lambda_omega,
    lorenz63,
    mackey_glass,
    rossler,
    sinusoids,
)
from tokendyn.data.systems.fields import ExponentialRungeKutta
from tokendyn.errors import BadInputError
from tokendyn.metrics import dominant_frequency, largest_exponent

LORENZ, ROSSLER = np.array([10.0, 28.0, 8 / 3]), np.array([0.2, 0.2, 5.7])


def test_the_lorenz_system_agrees_with_an_independent_integrator():
    ours = lorenz63(50, dt=0.02, seed=3)

    def slope(_, z):
        return [10 * (z[1] - z[0]), z[0] * (28 - z[2]) - z[1], z[0] * z[1] - 8 / 3 * z[2]]

    theirs = solve_ivp(slope, (0, 0.98), ours.values[0], "DOP853", ours.times, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours.values, theirs.y.T, atol=1e-8)


def test_the_lorenz_system_has_its_largest_exponent():
    found = largest_exponent(
        lambda z: kernels.integrate(kernels.LORENZ, z, LORENZ, 0.005, 100, 2)[1], lorenz63(2).values[0], 0.5, 6000, 50
    )
    assert found.value == pytest.approx(LYAPUNOV["lorenz63"], abs=0.015)
    assert found.standard_error < 0.01


def test_the_rossler_system_has_its_largest_exponent():
    found = largest_exponent(
        lambda z: kernels.integrate(kernels.ROSSLER, z, ROSSLER, 0.02, 250, 2)[1], rossler(2).values[0], 5.0, 6000, 50
    )
    assert found.value == pytest.approx(LYAPUNOV["rossler"], abs=0.004)


def test_mackey_glass_has_its_largest_exponent():
    past = 171

    def advance(history):
        x, f = kernels.integrate_delay(history[0], history[1], 0.2, 0.1, 10.0, 17.0, 0.1, 340)
        return np.stack([x[-past:], f[-past:]])

    x = mackey_glass(200, dt=0.1, discard=3000.0).values[-past:, 0]
    found = largest_exponent(advance, np.stack([x, np.gradient(x, 0.1)]), 34.0, 6000, 50, separation=1e-6)
    assert found.value == pytest.approx(LYAPUNOV["mackey_glass"], abs=3e-4)


def test_mackey_glass_converges_at_fourth_order():
    def end(h):
        grid = np.arange(round(17 / h) + 1) * h
        x0, f0 = 1 + 0.1 * np.sin(grid), 0.1 * np.cos(grid)
        return kernels.integrate_delay(x0, f0, 0.2, 0.1, 10.0, 17.0, h, round(10 / h))[0][-1]

    exact = end(0.0125)
    assert abs(end(0.2) - exact) / abs(end(0.1) - exact) > 12


def test_kuramoto_sivashinsky_has_its_largest_exponent_and_keeps_its_mean():
    series = kuramoto_sivashinsky(2, grid=32, seed=1)
    np.testing.assert_allclose(series.values.mean(axis=1), 0, atol=1e-10)

    def advance(u):
        return kuramoto_sivashinsky(2, dt=5.0, grid=32, start=u, discard=0.0).values[1]

    found = largest_exponent(advance, series.values[0], 5.0, 400, 20, separation=1e-6)
    assert 0.033 < found.value < 0.060


def test_exponential_steps_are_exact_for_linear_equations_and_of_fourth_order_for_others():
    def end(h):
        scheme = ExponentialRungeKutta(np.array([-5.0]), lambda v: v**2, h)
        v = np.array([1.0 + 0j])
        for _ in range(round(1 / h)):
            v = scheme.step(v)
        return v[0].real

    exact = 5 / (1 + 4 * np.exp(5.0))  # v' = -5 v + v^2 (Bernoulli)
    assert abs(end(0.1) - exact) / abs(end(0.05) - exact) > 13


def test_the_uniform_solution_of_lambda_omega_turns_at_beta():
    start = np.stack([np.ones((8, 8)), np.zeros((8, 8))])
    series = lambda_omega(101, dt=0.05, beta=1.0, grid=8, start=start)
    fields = series.values.reshape(-1, 2, 64)
    np.testing.assert_allclose(fields[:, 0], np.cos(series.times)[:, None] * np.ones(64), atol=1e-5)
    np.testing.assert_allclose(fields[:, 1], -np.sin(series.times)[:, None] * np.ones(64), atol=1e-5)


def test_plane_waves_of_lambda_omega_obey_the_dispersion_relation():
    k = 2 * np.pi / 20 * 3
    a2 = 1 - 0.1 * k**2
    x = 20 / 32 * np.arange(32) * np.ones((32, 1))
    start = np.sqrt(a2) * np.stack([np.cos(k * x), np.sin(k * x)])
    series = lambda_omega(401, dt=0.05, grid=32, start=start)
    u = series.values.reshape(-1, 2, 32, 32)
    np.testing.assert_allclose((u**2).sum(axis=1), a2, rtol=1e-5)
    wanted = np.sqrt(a2) * np.cos(k * x - a2 * series.times[-1])
    np.testing.assert_allclose(u[-1, 0], wanted, atol=1e-4)


def test_the_spiral_rotates_with_the_frequency_of_its_far_field():
    """The centre's frequency and the far field's amplitude A obey ``omega = beta A^2`` (Kopell and Howard)."""
    series = lambda_omega(600, dt=0.1, discard=60.0, grid=48)
    fields = series.values.reshape(-1, 2, 48, 48)
    omega = 2 * np.pi * dominant_frequency(fields[:, 0, 24, 12], 0.1)
    amplitude = (fields[:, :, 24, 8:14] ** 2).sum(axis=1).mean()
    assert omega == pytest.approx(amplitude, rel=0.02)


def test_sinusoids_obey_their_linear_recurrence():
    x = sinusoids(400, 0.05, (0.5, np.sqrt(2)), (0.1, -0.2), seed=2).values[:, 0]
    roots = np.exp(0.05 * (np.array([0.1, -0.2]) + 2j * np.pi * np.array([0.5, np.sqrt(2)])))
    recurrence = np.poly([*roots, *roots.conj()]).real
    np.testing.assert_allclose(np.convolve(x, recurrence, "valid"), 0, atol=1e-12)


def test_noise_has_its_level():
    clean, noisy = sinusoids(5000, channels=2), sinusoids(5000, channels=2, noise=0.1)
    np.testing.assert_allclose((noisy.values - clean.values).std(axis=0) / clean.values.std(axis=0), 0.1, rtol=0.05)


@pytest.mark.parametrize("system", [lorenz63, rossler, mackey_glass, kuramoto_sivashinsky, sinusoids])
def test_the_same_seed_gives_the_same_bits_and_another_seed_another_series(system):
    one, again, other = system(20, seed=4), system(20, seed=4), system(20, seed=5)
    assert (one.values == again.values).all()
    assert not np.allclose(one.values, other.values)
    np.testing.assert_allclose(np.diff(one.times), one.dt)


@pytest.mark.parametrize("system", [lorenz63, mackey_glass, lambda_omega, sinusoids])
@pytest.mark.parametrize("sampling", [{"points": 1}, {"dt": 0.0}, {"dt": float("nan")}])
def test_bad_sampling_is_refused(system, sampling):
    with pytest.raises(BadInputError, match="at least 2 points"):
        system(**sampling)


def test_bad_parameters_are_refused():
    with pytest.raises(BadInputError, match="even number"):
        kuramoto_sivashinsky(grid=9)
    with pytest.raises(BadInputError, match="below 1/"):
        sinusoids(dt=0.1, frequencies=(6.0,))
    with pytest.raises(BadInputError, match="3 growth rates"):
        sinusoids(growth_rates=(0.1, 0.2, 0.3))
    with pytest.raises(BadInputError, match="tau"):
        mackey_glass(tau=0.01)
