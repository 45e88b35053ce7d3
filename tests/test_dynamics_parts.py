"""Parts of layers and flows: budgets that are spent, steps that are too short."""

import math

import numpy as np

from tokendyn.attention import Head, attend
from tokendyn.dynamics import Budget, Layer, TokenFlow, integrate
from tokendyn.dynamics.freeze import Frozen

PAIR = np.array([[math.cos(a), math.sin(a)] for a in (0.3, 1.4)])


def test_a_flow_that_is_too_fast_stops_early_unless_the_caller_set_a_budget():
    fast = TokenFlow(1.0, value=np.diag([1e6, 2e6]))
    run = integrate(fast, PAIR, [0.0, 1e3])
    assert run.status == "out of steps"
    assert "so fast" in run.reason
    spent = integrate(fast, PAIR, [0.0, 1e3], budget=Budget(steps=700))
    assert (spent.status, spent.reason[:9]) == ("out of steps", "700 steps")


def test_steps_thrown_away_are_a_whole_number_and_exact_means_are_said():
    run = integrate(TokenFlow(1.0), PAIR, [0.0, 50.0], method="adaptive", tolerance=1e-9)
    assert type(run.rejected) is int
    assert run.provenance["config"]["exact_means"] is True

    def means(queries, tokens, weights, inverse_temperature):
        return attend(queries, tokens, tokens, weights=weights, inverse_temperature=inverse_temperature).means

    other = integrate(TokenFlow(1.0, means=means), PAIR, [0.0, 1.0])
    assert other.provenance["config"]["exact_means"] is False
    np.testing.assert_allclose(other.states[-1], integrate(TokenFlow(1.0), PAIR, [0.0, 1.0]).states[-1], atol=1e-9)


def test_every_token_between_the_same_two_leaders_is_frozen_at_once():
    tokens = np.array([[1.0, 1.0], [1.0, -1.0], [0.5, 0.0], [0.25, 0.0]])
    frozen = Frozen(tokens, [Layer(1.0, (Head(),))] * 3)
    for number in range(3):
        frozen.step(Layer(1.0, (Head(),)), number)
    assert frozen.since.tolist() == [0, 0, 0, 0]
    assert frozen.between.tolist() == [False, False, True, True]
    np.testing.assert_array_equal(frozen.advance(3)[2:], [[1 - 0.5 / 8, 0], [1 - 0.75 / 8, 0]])
