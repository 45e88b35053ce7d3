"""The lattice-Boltzmann solver against exact flows, its symmetries, and what its users can get wrong."""

import sys
from pathlib import Path

import numpy as np
import pytest

from tokendyn.data.recorded import cylinder_wake
from tokendyn.errors import BadInputError
from tokendyn.metrics import dominant_frequency
from tokendyn.studies.flow import aerofoil_flow, cylinder_flow, kernels, quasi_periodic
from tokendyn.studies.flow.bodies import as_function
from tokendyn.studies.flow.solver import SPEED, Grid, Tank

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import record_wake

NO_PROBES = np.empty((0, 2))


def tank(shape=kernels.CYLINDER, size=0.0, resolution=24):
    """Return a square of still fluid, two units wide, of Reynolds number 20."""
    grid = Grid(resolution, 2.0, 2.0, 1.0, 1.0)
    return Tank(grid, 20.0, shape, (size, 0.0, 0.0), NO_PROBES, moves=False, stream=0.0)


def start(box, u, v):
    """Put a tank into equilibrium with a velocity field."""
    for i in range(9):
        eu = kernels.EX[i] * u + kernels.EY[i] * v
        box.now[i, 1:-1, 1:-1] = kernels.WEIGHT[i] * (1 + 3 * eu + 4.5 * eu**2 - 1.5 * (u**2 + v**2))


def test_vortices_decay_with_the_viscosity_of_the_rates():
    """Taylor and Green: ``u = sin(k x) cos(k y) exp(-2 nu k^2 t)``."""
    box = tank(resolution=24)
    n = 48
    x, k = np.arange(n), 2 * np.pi / n
    u, v = 0.02 * np.outer(np.cos(k * x), np.sin(k * x)), -0.02 * np.outer(np.sin(k * x), np.cos(k * x))
    start(box, u, v)
    box.run(np.zeros((100, 2)))
    first = np.abs(box.field()).max()
    box.run(np.zeros((400, 2)))
    viscosity = SPEED * 24 / 20.0
    assert np.log(first / np.abs(box.field()).max()) / 400 == pytest.approx(2 * viscosity * k**2, rel=5e-3)


def test_mass_and_momentum_stay_without_a_body(rng):
    box = tank(resolution=10)
    start(box, 0.03 + 0.01 * rng.normal(size=(20, 20)), 0.01 * rng.normal(size=(20, 20)))

    def totals():
        inner = box.now[:, 1:-1, 1:-1].sum(axis=(1, 2))
        return np.array([inner.sum(), inner @ kernels.EX, inner @ kernels.EY])

    before = totals()
    box.run(np.zeros((200, 2)))
    np.testing.assert_allclose(totals(), before, rtol=1e-12)


def test_a_turning_cup_spins_its_fluid_up_to_rigid_rotation():
    """The slowest mode decays with ``nu (3.8317 / R)^2``, the first zero of J_1; the end is ``u = spin r``."""
    radius, spin = 10.3, 2e-3
    cup = tank(kernels.CUP, radius, resolution=13)
    motion = np.tile([0.0, spin], (1, 1))
    y, x = np.mgrid[1:27, 1:27] - cup.pose[1::-1, None, None]
    fluid = x**2 + y**2 < radius**2
    gaps, torques = [], []
    for _ in range(3):
        out = cup.run(np.repeat(motion, 200, axis=0))
        turned = (x * cup.field()[1] - y * cup.field()[0])[fluid].sum()
        gaps.append(spin * (x**2 + y**2)[fluid].sum() - turned)
        torques.append(out[2])
    rate = np.log(gaps[0] / gaps[1]) / 200
    assert rate == pytest.approx(SPEED * 13 / 20 * (3.8317 / radius) ** 2, rel=0.01)
    assert -torques[1] * 200 == pytest.approx(gaps[0] - gaps[1], rel=0.03)
    cup.run(np.repeat(motion, 4000, axis=0))
    np.testing.assert_allclose(cup.field()[0][fluid], (-spin * y)[fluid], atol=1e-3 * spin * radius)


def test_a_symmetric_flow_lifts_nothing_and_drags_downstream():
    channel = Grid(8, 8.0, 4.0, 3.0, 1.5)
    probes = np.array([[1.0, 0.5], [1.0, -0.5]])
    box = Tank(channel, 20.0, kernels.CYLINDER, (4.0, 0.0, 0.0), probes, moves=False)
    box.run(np.zeros((400, 2)))
    out = box.run(np.zeros((100, 2)))
    assert out[0] > 0
    assert abs(out[1]) < 1e-12
    assert abs(out[2]) < 1e-12
    field = box.field()
    np.testing.assert_allclose(field[0], field[0, ::-1], atol=1e-12)
    np.testing.assert_allclose(field[1], -field[1, ::-1], atol=1e-12)


SMALL = {"resolution": 8, "length": 9.0, "height": 4.0, "upstream": 3.0, "discard": 5.0, "points": 20}


def test_turning_one_way_lifts_the_other_way_round():
    """Magnus: a cylinder that turns clockwise in a stream from the left lifts up."""
    down = cylinder_flow(reynolds=40.0, rotation=np.ones(20), **SMALL).series
    up = cylinder_flow(reynolds=40.0, rotation=-np.ones(20), **SMALL).series
    assert down.values[-1, 0] < -0.3
    assert up.values[-1, 0] > 0.3
    assert (up.inputs == -1).all()
    assert up.input_names == ("rotation",)


def test_an_aerofoil_lifts_towards_its_nose_and_follows_its_motion():
    small = {"resolution": 20, "length": 6.0, "height": 3.0, "points": 60, "discard": 3.0}
    pitched = aerofoil_flow(pitch=quasi_periodic(5.0, (0.5,), (0.0,)), angle=10.0, frames_every=30, **small)
    still = aerofoil_flow(angle=-10.0, **small).series
    assert pitched.series.values[:, 0].mean() > 0.2
    assert still.values[-1, 0] < -0.2
    assert still.inputs is None
    angles, rates = pitched.series.inputs.T
    np.testing.assert_allclose(angles, 10 + 5 * np.sin(np.pi * pitched.series.times), atol=1e-9)
    np.testing.assert_allclose(rates, 5 * np.pi * np.cos(np.pi * pitched.series.times), rtol=1e-3, atol=1e-9)
    assert pitched.fields.shape == (2, 2, 60, 120)
    assert dominant_frequency(pitched.series.values[:, 0], pitched.series.dt) == pytest.approx(0.5, abs=0.05)
    area = 0.685 * 0.15 * 20**2  # of the section, in cells
    assert pitched.solid.sum() == pytest.approx(area, rel=0.1)


def test_a_motion_is_its_formula_and_samples_are_joined_by_lines():
    default = quasi_periodic(2.0)
    for t in (0.0, 0.7, 31.0):
        waves = np.sin(0.22 * np.pi * t) + np.sin(0.22 * 3**0.5 * np.pi * t + 1.0)
        assert default(t) == pytest.approx(waves, rel=1e-12)
    joined = as_function(np.array([1.0, 2.0, -4.0]), 3, 0.5, 4.0, "rotation")
    assert [joined(t) for t in (-1.0, 0.0, 0.25, 0.5, 0.75, 1.0, 9.0)] == [1.0, 1.0, 1.5, 2.0, -1.0, -4.0, -4.0]
    for wrong in ([1.0, np.nan, 0.0], [1.0, 4.1, 0.0], [-4.1, 0.0, 0.0]):
        with pytest.raises(BadInputError, match="at most 4"):
            as_function(np.array(wrong), 3, 0.5, 4.0, "rotation")


def test_the_same_flow_gives_the_same_bits():
    one, again = (cylinder_flow(**SMALL).series for _ in range(2))
    assert (one.values == again.values).all()
    assert one.names == ("lift", "drag", "torque", "u0", "v0", "u1", "v1", "u2", "v2", "u3", "v3")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reynolds": 1e5}, "expected 20 to 200"),
        ({"resolution": 3}, "6 cells or more"),
        ({"height": 1.0}, "height 3"),
        ({"points": 1}, "2 or more"),
        ({"rotation": np.ones(3)}, "one number for each of 20 samples"),
        ({"rotation": lambda _: 9.0}, "at most 2"),
        ({"probes": [(100.0, 0.0)]}, "outside of the domain"),
        ({"resolution": 500, "length": 40.0, "height": 20.0}, "more than 20 million"),
    ],
)
def test_what_the_solver_cannot_do_is_refused(changes, message):
    with pytest.raises(BadInputError, match=message):
        cylinder_flow(**SMALL | changes)


def test_a_wrong_aerofoil_is_refused():
    with pytest.raises(BadInputError, match=r"(?s)50 to 1,000.*thickness 0.9"):
        aerofoil_flow(reynolds=1e4, thickness=0.9)


def test_the_recorded_wake_is_what_its_script_computes():
    recorded, computed = cylinder_wake(), record_wake.wake()
    assert (recorded.names, recorded.dt) == (computed.names, computed.dt)
    np.testing.assert_allclose(recorded.times, computed.times, rtol=1e-12)
    # Rounding of another machine grows little: shedding is periodic and stable.
    np.testing.assert_allclose(recorded.values, computed.values, rtol=0, atol=1e-9)
