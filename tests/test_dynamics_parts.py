"""Parts of layers and flows: budgets that are spent, steps that are too short."""

import math

import numpy as np

from tokendyn.dynamics import Budget, TokenFlow, integrate

PAIR = np.array([[math.cos(a), math.sin(a)] for a in (0.3, 1.4)])


def test_a_flow_that_is_too_fast_stops_early_unless_the_caller_set_a_budget():
    fast = TokenFlow(1.0, value=np.diag([1e6, 2e6]))
    run = integrate(fast, PAIR, [0.0, 1e3])
    assert run.status == "out of steps"
    assert "so fast" in run.reason
    spent = integrate(fast, PAIR, [0.0, 1e3], budget=Budget(steps=700))
    assert (spent.status, spent.reason[:9]) == ("out of steps", "700 steps")
