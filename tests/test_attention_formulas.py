"""Rules of the attention step beside oracles written down again: pair masks, what is named, what is counted."""

import math

import numpy as np
import pytest

from tokendyn.attention import attend
from tokendyn.attention.head import Head
from tokendyn.attention.softmax_direct import direct_softmax
from tokendyn.attention.softmax_result import as_softmax
from tokendyn.errors import BadInputError


@pytest.mark.parametrize("beta", [2.0, math.inf])
def test_a_mask_of_pairs_leaves_every_token_in_place(beta, rng):
    tokens, score = rng.normal(size=(6, 2)), rng.normal(size=(2, 2))
    mask = np.tril(np.ones((6, 6), dtype=bool))
    queries = tokens @ score.T
    means = []
    for i in range(6):
        scores = tokens[: i + 1] @ queries[i]
        shares = np.exp(2.0 * (scores - scores.max())) if beta == 2 else (scores == scores.max()).astype(float)
        means.append(shares @ tokens[: i + 1] / shares.sum())
    for step in (
        Head(score=score, inverse_temperature=beta).attend(tokens, mask=mask),
        attend(queries, tokens, tokens, inverse_temperature=beta, mask=mask),
    ):
        np.testing.assert_allclose(step.means, means, rtol=1e-13)


def test_the_token_that_is_not_finite_is_named_beside_tokens_that_a_lifted_head_would_overflow():
    tokens = np.array([[1.7e308, 1.7e308], [math.nan, 0.0]])
    with pytest.raises(BadInputError, match=r"index \(1, 0\)"):
        Head(score=np.full((2, 2), 1e-300)).attend(tokens)


def test_a_pass_over_all_pairs_recomputes_no_row(rng):
    tokens = rng.normal(size=(9, 2))
    means = direct_softmax(tokens, tokens, tokens, inverse_temperature=1.0)
    assert (means.recomputed, as_softmax(means).note) == (0, "")
