"""Parts of exact models: outputs of several sequences, counts of the planner."""

from fractions import Fraction

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.utils import get_tags

from tokendyn import exact
from tokendyn.exact import planner_kernels
from tokendyn.exact.certificate import _ratio
from tokendyn.exact.estimator import _is_ragged

SEQUENCES = [np.array([[0.0, 1.0]]), np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([[2.0, 1.0], [0.0, 1.0], [1.0, 1.0]])]


def test_outputs_of_several_sequences_are_those_of_each_alone():
    model = exact.compile(SEQUENCES, [0, 1, 2])
    outputs = model.outputs(SEQUENCES)
    assert [len(rows) for rows in outputs] == [1, 2, 3]
    for sequence, rows in zip(SEQUENCES, outputs, strict=True):
        np.testing.assert_array_equal(rows, model.outputs([sequence])[0])


def test_the_planner_counts_the_live_sequences_that_hold_a_symbol_of_an_interval():
    rng = np.random.default_rng(0)
    for _ in range(30):
        holders = [rng.choice(6, size=rng.integers(0, 4), replace=False) for _ in range(5)]
        starts = np.cumsum([0, *map(len, holders)])
        alive = rng.random(6) < 0.7
        first, last = sorted(rng.integers(0, 5, size=2))
        sequences = np.concatenate(holders).astype(np.int64)
        stamps = np.zeros(6, dtype=np.int64)
        count = planner_kernels._count(first, last, np.arange(1, 6), starts, sequences, alive, stamps, 1)
        held = {int(j) for holder in holders[first : last + 1] for j in holder}
        assert count == len({j for j in held if alive[j]})


def test_a_rational_of_either_library_becomes_the_float_next_to_it():
    assert _ratio(Fraction(3, 7)) == 3 / 7
    flint = pytest.importorskip("flint")
    assert _ratio(flint.fmpq(3, 7)) == 3 / 7


def test_a_report_names_repeated_sequences_only_where_there_are_some():
    repeated = exact.check([*SEQUENCES, SEQUENCES[1]], [0, 1, 2, 1])
    assert repeated.duplicates == 1
    assert "1 sequence repeats an earlier one with the same label" in repeated.describe()
    assert not any("repeat" in line for line in exact.check(SEQUENCES, [0, 1, 2]).describe())


def test_lists_and_arrays_of_sequences_are_told_from_matrices_and_from_nothing():
    ragged = np.empty(2, dtype=object)
    ragged[:] = SEQUENCES[:2]
    for sequences in (SEQUENCES, tuple(SEQUENCES), ragged, np.zeros((2, 3, 2))):
        assert _is_ragged(sequences)
    for rows in ([], (), [[1.0, 2.0]], np.zeros((2, 3)), np.zeros(0, dtype=object), "text"):
        assert not _is_ragged(rows)


def test_a_classifier_that_was_not_fitted_knows_nothing_and_says_so():
    with pytest.raises(NotFittedError):
        exact.ExactClassifier().is_known(SEQUENCES)


def test_the_classifier_tells_scikit_learn_that_it_takes_sequences_of_tokens():
    assert get_tags(exact.ExactClassifier()).input_tags.three_d_array
