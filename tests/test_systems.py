"""The generated systems: known exponents and frequencies, exact solutions, order of convergence, seeds."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from tokendyn.data.systems import (
    LYAPUNOV,
    aerofoil_gusts,
    kernels,
    kuessner,
    kuramoto_sivashinsky,
    lambda_omega,
    linear_wave,
    lorenz63,
    mackey_glass,
    rossler,
    sinusoids,
    sprott,
    wagner,
)
from tokendyn.data.systems.fields import ExponentialRungeKutta
from tokendyn.data.systems.gusts import lift_of
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
    assert 13 < abs(end(0.1) - exact) / abs(end(0.05) - exact) < 20
    assert abs(end(0.1) - exact) < 1e-6


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


def rossler_slope(_, z):
    return [-z[1] - z[2], z[0] + 0.1 * z[1], 0.3 + z[2] * (z[0] - 6.0)]


def test_the_rossler_system_agrees_with_an_independent_integrator_from_the_given_start():
    start = np.array([1.0, -2.0, 0.5])
    ours = rossler(40, 0.07, 0.1, 0.3, 6.0, start, discard=0.0)
    theirs = solve_ivp(rossler_slope, (0, 3), start, "DOP853", 0.07 * np.arange(40), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours.values, theirs.y.T, atol=1e-9)
    np.testing.assert_array_equal(ours.times, 0.07 * np.arange(40))
    assert (ours.names, ours.dt, len(ours)) == (("x", "y", "z"), 0.07, 40)


@pytest.mark.parametrize(("system", "inner"), [(lorenz63, 1e-3), (rossler, 5e-3)])
def test_what_is_discarded_is_time_before_the_first_snapshot(system, inner):
    start = np.array([1.0, 2.0, 0.5])
    whole = system(31, 10 * inner, start=start, discard=0.0)
    late = system(11, 10 * inner, start=start, discard=200 * inner)
    np.testing.assert_allclose(late.values, whole.values[20:], rtol=1e-12)
    np.testing.assert_array_equal(whole.values[0], start)
    # A step of ten inner steps and two of them agree to rounding, so inner steps are no longer than that.
    fine = system(61, 5 * inner, start=start, discard=0.0)
    np.testing.assert_allclose(whole.values, fine.values[::2], rtol=1e-10)


def test_mackey_glass_agrees_with_the_method_of_steps():
    """Over one delay the past is known, and the equation an ordinary one; the history is the documented wave."""
    seed, tau = 5, 3.0
    phase, size = np.random.default_rng(seed).uniform((0.0, 0.1), (2 * np.pi, 0.3))
    past = [lambda t: 1.2 + size * np.sin(np.pi * (1 + t / tau) + phase)]
    state = past[0](0.0)
    for k in range(4):

        def slope(t, x, k=k):
            late = past[k](t - tau)
            return 0.25 * late / (1 + late**8) - 0.12 * x

        piece = solve_ivp(slope, (k * tau, (k + 1) * tau), [state], "DOP853", rtol=1e-11, atol=1e-11, dense_output=True)
        past.append(lambda t, piece=piece: piece.sol(t)[0])
        state = piece.y[0, -1]
    ours = mackey_glass(13, 0.5, tau, 0.25, 0.12, 8.0, discard=6.0, seed=seed)
    times = 6.0 + 0.5 * np.arange(13)
    exact = [past[min(int(t / tau), 3) + 1](t) for t in times]
    np.testing.assert_allclose(ours.values[:, 0], exact, atol=5e-6)
    np.testing.assert_array_equal(ours.times, 0.5 * np.arange(13))


def test_kuramoto_sivashinsky_agrees_with_an_independent_integrator():
    length, grid = 12.0, 16
    x = length / grid * np.arange(grid)
    start = np.cos(2 * np.pi * x / length) + 0.3 * np.sin(4 * np.pi * x / length)
    waves = 2j * np.pi / length * np.fft.fftfreq(grid, 1 / grid)
    kept = np.abs(np.fft.fftfreq(grid, 1 / grid)) < grid / 3

    def slope(_, u):
        v = np.fft.fft(u)
        return np.fft.ifft(-(waves**2) * v - waves**4 * v - waves / 2 * kept * np.fft.fft(u**2)).real

    theirs = solve_ivp(slope, (0, 3), start, "BDF", [0, 1, 2, 3], rtol=1e-9, atol=1e-10)
    ours = kuramoto_sivashinsky(4, 1.0, length, grid, start, discard=0.0)
    np.testing.assert_allclose(ours.values, theirs.y.T, atol=2e-4)
    late = kuramoto_sivashinsky(2, 1.0, length, grid, start, discard=2.0)
    np.testing.assert_allclose(late.values, ours.values[2:], atol=1e-12)
    assert (ours.names[-1], ours.dt) == ("u15", 1.0)
    assert kuramoto_sivashinsky(2, grid=8, discard=0.0).values.shape == (2, 8)


def test_lambda_omega_starts_from_the_documented_spiral():
    series = lambda_omega(3, 0.1, 0.2, 0.7, 12.0, 8)
    fields = series.values.reshape(-1, 2, 8, 8)
    for i, y in enumerate(1.5 * np.arange(8) - 6):
        for j, x in enumerate(1.5 * np.arange(8) - 6):
            r, phi = np.hypot(x, y), np.arctan2(y, x)
            expected = np.tanh(r) * np.array([np.cos(phi - r), np.sin(phi - r)])
            np.testing.assert_allclose(fields[0, :, i, j], expected, atol=1e-12)
    assert series.names[:2] + series.names[64:66] == ("u0,0", "u0,1", "v0,0", "v0,1")
    np.testing.assert_allclose(lambda_omega(2, 0.1, 0.2, 0.7, 12.0, 8, discard=0.1).values, series.values[1:])
    waves = 2 * np.pi / 12 * np.fft.fftfreq(8, 1 / 8)
    laplacian = -(waves[:, None] ** 2) - waves**2

    def slope(_, w):
        u, v = w.reshape(2, 8, 8)
        a2 = u**2 + v**2
        spread = 0.2 * np.fft.ifft2(laplacian * np.fft.fft2([u, v])).real
        return (spread + np.stack([(1 - a2) * u + 0.7 * a2 * v, -0.7 * a2 * u + (1 - a2) * v])).ravel()

    theirs = solve_ivp(slope, (0, 0.2), series.values[0], "DOP853", series.times, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(series.values, theirs.y.T, atol=1e-5)


def test_exponential_steps_without_a_nonlinear_part_are_exponentials():
    scheme = ExponentialRungeKutta(np.array([-3.0, 0.5]), np.zeros_like, 0.7)
    np.testing.assert_allclose(scheme.step(np.array([2.0 + 1j, 1.0])), [np.exp(-2.1) * (2 + 1j), np.exp(0.35)])
    constant = ExponentialRungeKutta(np.array([-3.0, 0.0]), np.ones_like, 0.7)
    np.testing.assert_allclose(constant.step(np.array([2.0 + 0j, 1.0])), [1 / 3 + np.exp(-2.1) * 5 / 3, 1.7])


def test_sinusoids_are_their_formula():
    sigma, a, f = np.array([0.1, -0.2, 0.0]), np.array([1.0, 2.0, 0.5]), np.array([0.3, 1.1, 9.9])
    series = sinusoids(50, 0.05, [0.3, 1.1, 9.9], [0.1, -0.2, 0.0], [1.0, 2.0, 0.5], channels=2, seed=7)
    rng = np.random.default_rng(7)
    phases, gains = rng.uniform(0, 2 * np.pi, (2, 3)), rng.uniform(0.5, 1.5, (2, 3))
    for c in range(2):
        for k in (0, 1, 49):
            t = 0.05 * k
            waves = np.exp(sigma * t) * np.cos(2 * np.pi * f * t + phases[c])
            assert series.values[k, c] == pytest.approx((a * gains[c] * waves).sum(), rel=1e-12)
    single = sinusoids(20, 0.05, [0.3], seed=7).values[:, 0]
    phase = np.random.default_rng(7).uniform(0, 2 * np.pi)
    np.testing.assert_allclose(single, np.cos(0.6 * np.pi * 0.05 * np.arange(20) + phase))
    for frequencies in ([10.0], [-10.0], []):
        with pytest.raises(BadInputError, match="below 1/"):
            sinusoids(50, 0.05, frequencies)


def test_sinusoids_obey_their_linear_recurrence():
    x = sinusoids(400, 0.05, (0.5, np.sqrt(2)), (0.1, -0.2), seed=2).values[:, 0]
    roots = np.exp(0.05 * (np.array([0.1, -0.2]) + 2j * np.pi * np.array([0.5, np.sqrt(2)])))
    recurrence = np.poly([*roots, *roots.conj()]).real
    np.testing.assert_allclose(np.convolve(x, recurrence, "valid"), 0, atol=1e-12)


def test_noise_has_its_level():
    clean, noisy = sinusoids(5000, channels=2), sinusoids(5000, channels=2, noise=0.1)
    np.testing.assert_allclose((noisy.values - clean.values).std(axis=0) / clean.values.std(axis=0), 0.1, rtol=0.05)


@pytest.mark.parametrize(
    ("system", "documented"),
    [
        (lorenz63, {"dt": 0.02, "sigma": 10.0, "rho": 28.0, "beta": 8 / 3, "discard": 50.0, "seed": 0}),
        (rossler, {"dt": 0.1, "a": 0.2, "b": 0.2, "c": 5.7, "discard": 200.0, "seed": 0}),
        (mackey_glass, {"dt": 1.0, "tau": 17.0, "beta": 0.2, "gamma": 0.1, "n": 10.0, "discard": 500.0, "seed": 0}),
        (kuramoto_sivashinsky, {"dt": 0.25, "length": 22.0, "grid": 64, "discard": 200.0, "seed": 0}),
        (lambda_omega, {"dt": 0.05, "diffusion": 0.1, "beta": 1.0, "box": 20.0, "grid": 64, "discard": 0.0}),
        (sinusoids, {"dt": 0.05, "frequencies": (0.5, 1.0), "growth_rates": 0.0, "amplitudes": 1.0, "noise": 0.0}),
    ],
)
def test_defaults_are_the_parameters_of_the_sources(system, documented):
    default, given = system(3), system(3, **documented)
    np.testing.assert_array_equal(default.values, given.values)
    np.testing.assert_array_equal(default.times, given.times)


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


# --- an aerofoil in gusts, and public systems -------------------------------------------------------------------------


def duhamel(signal, dt, response):
    """Return ``u(0) g(s) + int u'(r) g(s - r) dr`` of a piecewise linear signal, by a fine midpoint rule."""
    fine = 200
    total = np.zeros(len(signal))
    middles = (np.arange(fine) + 0.5) / fine * dt
    for row in range(1, len(signal)):
        for step in range(row):
            slope = (signal[step + 1] - signal[step]) / dt
            total[row] += slope * response((row - step) * dt - middles).mean() * dt
    return total + signal[0] * response(np.zeros(1))[0]


def test_attached_lift_is_duhamels_integral_of_both_indicial_functions(rng):
    inputs = 0.1 * rng.normal(size=(12, 3))
    inputs[0] = 0
    lift = lift_of(inputs, 0.5)
    angle, apparent, gust = inputs.T
    expected = 2 * np.pi * (duhamel(angle, 0.5, wagner) + duhamel(gust, 0.5, kuessner)) + apparent
    np.testing.assert_allclose(lift, expected, atol=1e-5)


def test_slight_gusts_do_not_stall_and_strong_ones_do():
    for amplitude, differs in ((1e-3, False), (0.2, True)):
        attached, stalled = (aerofoil_gusts(400, amplitude=amplitude, stall=stall).values for stall in (False, True))
        assert (np.abs(attached - stalled).max() > 0.1 * np.abs(attached).max()) == differs
        assert np.abs(stalled).max() <= np.abs(attached).max() + 1e-12


@pytest.mark.parametrize("case", ["A", "B", "C"])
def test_sprott_flows_move_by_their_equations(case):
    series = sprott(case, 30, dt=1e-3)
    assert series.values[0].tolist() == [1.5, 1.5, 0.5]
    x, y, z = series.values[1:-1].T
    velocities = {"A": (y, -x + y * z, 1 - y * y), "B": (y * z, x - y, 1 - x * y), "C": (y * z, x - y, 1 - x * x)}
    moved = (series.values[2:] - series.values[:-2]) / 2e-3
    np.testing.assert_allclose(moved, np.stack(velocities[case], axis=1), atol=1e-5)


def test_the_linear_wave_is_that_of_dalembert():
    series = linear_wave(50, dt=0.1, cells=40)

    def start(x):
        return 0.5 * np.sin(x) + np.sin(2 * x) + 1.5 * np.sin(5 * x)

    places = 2 * np.pi * np.arange(40) / 40
    expected = [(start(places - t) + start(places + t)) / 2 for t in 0.1 * np.arange(50)]
    np.testing.assert_allclose(series.values, expected, atol=1e-12)


def test_systems_that_cannot_be_are_refused():
    with pytest.raises(BadInputError, match="amplitude must be positive"):
        aerofoil_gusts(amplitude=0.0)
    with pytest.raises(BadInputError, match="cells must be at least 1"):
        linear_wave(cells=0)
