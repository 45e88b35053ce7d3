"""A softmax backend as the dispatcher takes it, written plainly: one dense matrix."""

import numpy as np

from tokendyn.attention.problem import Offer, Problem, Softmax


def offer(problem: Problem) -> Offer | str:
    if problem.error_tolerance == 0:
        return "it promises 1e-12 only"
    return Offer(1e-9, "one dense matrix")


def softmax(problem: Problem) -> Softmax:
    logits = problem.inverse_temperature * problem.queries @ problem.keys.T + np.log(problem.weights)
    top = logits.max(axis=1, keepdims=True)
    masses = np.exp(logits - top)
    sums = masses.sum(axis=1)
    return Softmax(masses @ problem.values / sums[:, None], top[:, 0] + np.log(sums), 1e-12, "no row recomputed")
