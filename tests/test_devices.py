"""Devices and processes are reached from run, integrate and simulate, with the bits of the run without them."""

import numpy as np
import pytest
from adversarial import tokens_of

from tokendyn.attention import Head, attend
from tokendyn.dynamics import Layer, TokenFlow, integrate, run
from tokendyn.errors import BadInputError
from tokendyn.particles import simulate


@pytest.mark.parametrize("family", ["ordinary", "lattice", "duplicates", "zero_token"])
def test_a_hardmax_run_on_tensors_has_the_same_bits(family):
    tokens = tokens_of(family, 3)
    layers = [Layer(0.5, (Head(score=np.diag([2.0, 1.0, 1.0])),))] * 6
    for freeze in (True, False):
        here, there = (run(tokens, layers, freeze=freeze, device=device) for device in (None, "cpu"))
        for name in ("states", "leaders", "tie_counts"):
            assert getattr(there, name).tobytes() == getattr(here, name).tobytes()


def test_a_step_on_tensors_says_so_and_leaves_masked_tokens_out(rng):
    tokens, mask = rng.normal(size=(2, 9, 2)), np.ones((2, 9), dtype=bool)
    mask[0, 3:] = False
    for beta in (np.inf, 2.0):
        here = attend(tokens, tokens, tokens, inverse_temperature=beta, mask=mask)
        there = attend(tokens, tokens, tokens, inverse_temperature=beta, mask=mask, backend="tensors:cpu")
        np.testing.assert_allclose(there.means, here.means, rtol=0, atol=1e-14)
        np.testing.assert_allclose(there.log_masses, here.log_masses, rtol=0, atol=1e-13)
        assert there.leaders.tobytes() == here.leaders.tobytes()
        assert there.choice.backend == "tiled"


def test_a_softmax_simulation_on_tensors_agrees_to_rounding(rng):
    tokens = rng.normal(size=(30, 2))
    here, there = (simulate(tokens, layers=5, inverse_temperature=3.0, device=device) for device in (None, "cpu"))
    np.testing.assert_allclose(there.trajectory.states, here.trajectory.states, rtol=0, atol=1e-13)
    assert there.hardmax.states.tobytes() == here.hardmax.states.tobytes()


@pytest.mark.parametrize("beta", [0.0, 4.0, np.inf])
def test_a_flow_on_tensors_agrees_to_rounding(beta, rng):
    angles = rng.uniform(0, 3, size=12)
    tokens = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    flow = TokenFlow(beta, value=np.diag([1.0, 2.0]), cold_limit="hardmax" if np.isinf(beta) else None)
    here, there = (integrate(flow, tokens, [0.0, 0.5], step=0.1, device=device) for device in (None, "cpu"))
    np.testing.assert_allclose(there.states, here.states, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("unchecked")
def test_what_has_no_device_is_refused(rng):
    tokens = rng.normal(size=(5, 2))
    with pytest.raises(BadInputError, match="device='nowhere' cannot be used here"):
        run(tokens, [Layer(0.5)], device="nowhere")
    with pytest.raises(BadInputError, match="leave out backend='fused'"):
        run(tokens, [Layer(0.5)], device="cpu", backend="fused")
    with pytest.raises(BadInputError, match="full, normalised attention"):
        TokenFlow(1.0, causal=True, device="cpu")


@pytest.mark.parametrize("family", ["ordinary", "lattice"])
def test_two_processes_give_the_bits_of_one(family):
    tokens = tokens_of(family, 2)
    weights = np.arange(1.0, len(tokens) + 1)
    layers = [Layer(alpha) for alpha in (0.5, 1.0, 0.3) * 2]
    here = run(tokens, layers, weights=weights, record="last")
    there = run(tokens, layers, weights=weights, record="last", processes=2)
    for name in ("states", "leaders", "tie_counts", "tie_spreads", "recorded", "doubtful"):
        assert getattr(there, name).tobytes() == getattr(here, name).tobytes(), name


@pytest.mark.usefixtures("unchecked")
def test_what_processes_cannot_share_is_refused(rng):
    tokens = rng.normal(size=(5, 2))
    with pytest.raises(BadInputError, match="may freeze"):
        run(tokens, [Layer(0.5, (Head(inverse_temperature=2.0),))], record="last", processes=2)
    with pytest.raises(BadInputError, match='record="last"'):
        run(tokens, [Layer(0.5)] * 5, processes=2)
    with pytest.raises(BadInputError, match=r"(?s)at least 1.*no device"):
        run(tokens, [Layer(0.5)], processes=0, device="cpu")
    for processes in (1.5, "2", True):
        with pytest.raises(BadInputError, match="processes must be a whole number of at least 1"):
            run(tokens, [Layer(0.5)], record="last", processes=processes)
    # Refused here, not by a process that has started.
    for weights, message in ((np.ones(len(tokens) + 1), "must have shape"), (np.full(len(tokens), np.inf), "finite")):
        with pytest.raises(BadInputError, match=f"weights.* {message}"):
            run(tokens, [Layer(0.5)], weights=weights, record="last", processes=2)
