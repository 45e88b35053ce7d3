"""Explanation, trace, the scikit-learn classifier, and regularised training."""

import dataclasses
import json
import warnings

import numpy as np
import pytest
from exact_data import gauss, ragged, vocabulary
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import check_is_fitted

from tokendyn import exact
from tokendyn.errors import BadInputError


@pytest.mark.parametrize("strategy", ["narrow", "fused"])
def test_the_questions_lead_to_the_label_that_the_weights_give(strategy):
    sequences, labels = vocabulary(sequences=60)
    model = exact.compile(sequences, labels, strategy=strategy)
    for sequence, label in zip(sequences, labels, strict=True):
        why = model.explain(sequence)
        assert (why.label, why.known) == (label, True)
        trace = model.trace(sequence)
        classes = trace["s"][:, 0]
        assert set(why.path) <= set(classes.astype(int))
        assert classes[-1] == why.path[-1]
        for question in why.questions:
            assert (trace["b"][question.block] == 0).all() == question.yes
            inside = (why.projections >= question.low) & (why.projections <= question.high)
            assert question.hits == tuple(np.flatnonzero(inside))


def test_an_explanation_can_be_read_drawn_and_written():
    sequences, labels = ragged()
    why = exact.compile(sequences, labels, strategy="narrow").explain(sequences[5])
    lines = str(why).splitlines()
    assert lines[: len(why.questions)] == [str(question) for question in why.questions]
    assert lines[-1].startswith(f"label {labels[5]!r}: it holds while no token moves by more than")
    assert why.to_dict()["path"] == list(why.path)
    axes = why.figure().axes[0]
    assert len(axes.get_yticks()) == len(why.questions)
    stranger = exact.compile(sequences, labels, strategy="fused").explain(np.array([[9.0, 9.0]]))
    assert not stranger.known
    assert "no guarantee" in str(stranger)


EVERY = ("auto", "narrow", "fused", "strict", "half-space", "slab", "fingerprint", "hat")


@pytest.mark.parametrize("strategy", EVERY)
@pytest.mark.parametrize("attention", ["hardmax", "softmax"])
def test_every_strategy_says_which_token_decides_and_by_how_much(strategy, attention):
    sequences, labels = gauss(sequences=20, dim=32 if strategy == "half-space" else 3)
    model = exact.compile(sequences, labels, strategy=strategy, attention=attention)
    radii = model.certificate.radii()
    for j, (sequence, label) in enumerate(zip(sequences, labels, strict=True)):
        why = model.explain(sequence)
        assert (why.label, why.known) == (label, True)
        assert why.evidence
        assert {item.token for item in why.evidence} <= set(range(len(sequence)))
        assert why.radius == pytest.approx(radii[j], rel=1e-6)
        assert f"token {why.evidence[0].token} " in str(why)
        assert len(why.describe()) <= 24
        assert json.loads(json.dumps(why.to_dict()))["evidence"][0]["token"] == why.evidence[0].token
    assert len(why.figure().axes[0].get_yticks()) == len(why.questions or why.evidence)


def test_the_pull_of_a_token_is_what_the_mean_loses_without_it():
    sequences, labels = gauss(sequences=20, dim=3)
    model = exact.compile(sequences, labels, strategy="fingerprint")
    for sequence in sequences:
        why = model.explain(np.concatenate([sequence, sequence[:2]]))  # repetitions do not count
        p = sequence @ np.array(model.certificate.direction)
        assert [item.token for item in why.evidence] == sorted(
            range(len(p)), key=lambda k: -abs(p.mean() - np.delete(p, k).mean())
        )
        for item in why.evidence:
            without = np.delete(p, item.token)
            assert item.amount == pytest.approx(p.mean() - without.mean())
            rest = model.outputs([np.delete(sequence, item.token, axis=0)])[0][0, 0]
            nearest = int(np.clip(np.rint(rest), 0, len(model.labels) - 1))
            assert ("without it" in item.text) == (model.labels[nearest] != why.label)


def test_the_token_that_is_named_is_the_one_that_decides():
    """A bank says yes because of one token: without it the sequence has the label of what is left."""
    for strategy, dim in (("half-space", 32), ("slab", 3)):
        sequences, labels = gauss(sequences=20, dim=dim, labels=2)
        model = exact.compile(sequences, labels, strategy=strategy)
        for sequence in sequences:
            why = model.explain(sequence)
            inside = [item for item in why.evidence if item.amount > 0]
            rest = np.delete(sequence, [item.token for item in inside], axis=0)
            assert (model.explain(rest).label != why.label) == bool(inside)


@pytest.mark.parametrize("strategy", ["narrow", "fused", "strict"])
def test_an_explanation_says_what_the_label_would_be_without_the_last_hit(strategy):
    sequences, labels = ragged(sequences=40, labels=3)
    model = exact.compile(sequences, labels, strategy=strategy)
    told = []
    for sequence in sequences:
        why = model.explain(sequence)
        hits = [question.hits for question in why.questions if question.yes]
        rest = np.delete(sequence, list(hits[-1]), axis=0) if hits else sequence[:0]
        if len(rest):
            other = model.predict([rest], abstain=False, backend="ragged")[0]
            told.append(other != why.label)
            assert why.decision.endswith(f"the label would {'' if told[-1] else 'still '}be {other!r}")
        else:
            assert "without" not in why.decision
    assert {True, False} == set(told)


@pytest.mark.parametrize("strategy", ["narrow", "strict", "fingerprint", "hat"])
def test_what_is_said_of_strangers_is_what_the_network_says_in_any_order(strategy):
    """A token of a stranger may stand on a ramp or between in and out of an interval."""
    sequences, labels = ragged(sequences=8, labels=3)
    model = exact.compile(sequences, labels, strategy=strategy)
    rng = np.random.default_rng(0)
    between = 0
    for stranger in rng.normal(size=(150, 4, 2)):
        why = model.explain(stranger)
        assert not why.known
        for tokens in (stranger, stranger[::-1], np.concatenate([stranger[2:], stranger])):
            assert model.predict([tokens], abstain=False) == [why.label]
        between += "between in and out" in why.decision
        for item in why.evidence if strategy in ("fingerprint", "hat") else ():
            other = model.predict([np.delete(stranger, item.token, axis=0)], abstain=False)[0]
            assert (f"without it the label would be {other!r}" in item.text) == (other != why.label)
    assert between > 0 or strategy in ("fingerprint", "hat")


def test_a_long_explanation_fits_a_screen_and_says_what_it_leaves_out():
    sequences, labels = gauss(sequences=220, tokens=4, dim=2)
    model = exact.compile(sequences, labels, strategy="narrow")
    whys = [model.explain(sequence) for sequence in sequences]
    longest = max(whys, key=lambda why: len(why.questions))
    assert len(longest.questions) > 40
    named = longest.named(["one", "two", "three", "four"])
    lines = named.describe()
    assert len(lines) <= 24
    told = sum(int(line.split("no to ")[1].split()[0]) for line in lines if "no to " in line)
    single = sum(" p in [" in line for line in lines)
    assert told + single == len(longest.questions)
    assert any(name in "".join(lines) for name in ("one", "two", "three", "four"))
    assert f"40 of {len(longest.questions)} questions" in longest.figure().axes[0].get_title()
    assert len(longest.to_dict()["questions"]) == len(longest.questions)
    long = model.explain(np.random.default_rng(1).normal(size=(500, 2)))
    assert len(long.describe()) <= 24
    mean = exact.compile(sequences, labels, strategy="fingerprint").explain(
        np.random.default_rng(1).normal(size=(500, 2))
    )
    assert len(mean.describe()) <= 24
    assert any("more tokens with less effect" in line for line in mean.describe())
    assert "40 of 500 tokens" in mean.figure().axes[0].get_title()


def test_paths_of_many_classes_are_cut_with_a_word():
    sequences = [np.array([[float(k)] for k in range(12) if code >> k & 1 or k == 0]) for code in range(0, 4096, 37)]
    labels = [bin(code).count("1") % 2 for code in range(0, 4096, 37)]
    model = exact.compile(sequences, labels, strategy="narrow")
    whys = [model.explain(sequence) for sequence in sequences]
    assert max(len(why.questions) for why in whys) > 6
    for why in whys:
        assert len(why.describe(8)) <= 8
        if len(why.questions) > 5:
            assert "left out" in "".join(why.describe(8)) or "no to " in "".join(why.describe(8))


def test_outputs_of_sequences_and_unknown_channels_are_refused():
    sequences, labels = gauss()
    model = exact.compile(sequences, labels, strategy="fingerprint")
    outputs = exact.compile_seq2seq(sequences[:5], [[1.0]] * 5)
    with pytest.raises(BadInputError, match="trace"):
        outputs.explain(sequences[0])
    with pytest.raises(BadInputError, match="p, m, z"):
        model.trace(sequences[0])["q"]
    assert np.array_equal(model.trace(sequences[0])["o"][-1], np.full(5, model.targets[0, 0]))


def test_the_named_channels_hold_what_their_names_say():
    sequences, labels = ragged()
    model = exact.compile(sequences, labels, strategy="narrow", direction="coordinate")
    trace = model.trace(sequences[0])
    axis = int(np.flatnonzero(model.construction.plan.line.direction)[0])
    assert np.array_equal(trace["p"], np.tile(sequences[0][:, axis], (model.stats.blocks, 1)))
    assert np.array_equal(trace["o"][-1], np.full(len(sequences[0]), model.targets[0, 0]))
    assert (trace["r"][::2] == 0).all()
    assert (trace["b"][::2] == 0).all()


def test_the_numbers_of_a_transformer_are_those_of_its_module():
    model = exact.compile(*ragged(), strategy="narrow")
    stats, module = model.stats, model.module
    assert module.U.shape == (stats.blocks, stats.width, stats.dim)
    stacks = [getattr(module, name) for name in ("U", "c", "W", "q", "k", "v_in")]
    assert sum(int((stack != 0).sum()) for stack in stacks) == stats.nonzeros
    assert all(int(np.linalg.matrix_rank(module.v_out[b] @ module.v_in[b])) <= 1 for b in range(stats.blocks))
    assert f"{stats.blocks} blocks" in repr(model)


# --- scikit-learn ----------------------------------------------------------------------------------------------------


def test_the_classifier_takes_lists_cubes_and_matrices():
    rng = np.random.default_rng(0)
    labels = rng.choice(["x", "y", "z"], 40)
    for data in (list(rng.normal(size=(40, 3, 2))), rng.normal(size=(40, 3, 2)), rng.normal(size=(40, 4))):
        model = exact.ExactClassifier().fit(data, labels)
        assert model.score(data, labels) == 1
        assert model.predict(data).dtype == labels.dtype
        assert model.classes_.tolist() == ["x", "y", "z"]
    assert model.n_features_in_ == 4
    assert model.fit(data.tolist(), labels).score(data, labels) == 1


def test_the_classifier_follows_the_conventions():
    model = exact.ExactClassifier(strategy="fused", dtype="float32", min_margin=1e-4)
    again = clone(model)
    assert again.get_params() == model.get_params()
    with pytest.raises(ValueError, match="not fitted"):
        check_is_fitted(model)
    sequences, labels = gauss()
    assert model.fit(sequences, labels) is model
    assert model.transformer_.strategy == "fused"
    assert model.transformer_.certificate.delta_min >= 1e-4
    with pytest.raises(BadInputError, match="one label"):
        model.fit(sequences, np.zeros((60, 2)))


def test_the_classifier_abstains_on_unseen_input():
    sequences, labels = gauss()
    strangers = gauss(seed=9)[0]
    for model in (exact.ExactClassifier(), exact.ExactClassifier(abstain=True, unseen_label=-1)):
        model.fit(sequences, labels)
        assert (model.predict(strangers) == -1).all()
        assert (model.predict(sequences) == labels).all()
        assert (model.predict([*sequences, *strangers]).dtype, model.unseen_label_) == (np.dtype(int), -1)
        assert model.is_known([*sequences, *strangers]).sum() == len(sequences)
    guessing = exact.ExactClassifier(abstain=False).fit(sequences, labels)
    assert set(guessing.predict(strangers)) <= set(labels)


@pytest.mark.parametrize(
    ("labels", "unseen", "dtype"),
    [
        (np.array([0, 1]), -1, "int64"),
        (np.array([-1, 1]), -2, "int64"),
        (np.array([-128, 127], dtype=np.int8), -127, "int8"),
        (np.array([0, 7], dtype=np.uint8), 8, "uint8"),
        (np.array([1, 255], dtype=np.uint8), 0, "uint8"),
        (np.array([1.0, 2.0]), -1, "float64"),
        (np.array([-3.0, 2.0]), -4.0, "float64"),
        # One less is no other number there.
        (np.array([-1e17, 2.0]), -1e17 - 16, "float64"),
        (np.array([-(2.0**25), 0.0], dtype=np.float32), -(2.0**25) - 4, "float32"),
        (np.array([-65504, 2], dtype=np.float16), 3, "float16"),
        (np.array([-65504, 65504], dtype=np.float16), 0, "float16"),
        (np.array([True, False]), -1, "int64"),
        (np.array(["a", "b"]), "unknown", "<U7"),
        (np.array(["unknown", "b"]), "unknown 2", "<U9"),
        (np.array(["a", "b"], dtype=object), "unknown", "object"),
    ],
    ids=str,
)
def test_the_label_of_unseen_input_has_the_type_of_the_labels_and_can_be_scored(labels, unseen, dtype):
    data = np.array([[0.0, 1.0], [2.0, 3.0]])
    model = exact.ExactClassifier().fit(data, labels)
    assert (model.unseen_label_, str(model.classes_.dtype)) == (unseen, str(labels.dtype))
    half = np.array([[0.0, 1.0], [9.0, 9.0]])
    assert model.predict(half).tolist() == [labels.tolist()[0], unseen]
    assert str(model.predict(half).dtype) == dtype
    assert model.predict(data).dtype == labels.dtype
    assert (model.score(half, labels), model.coverage(half), model.covered_score(half, labels)) == (0.5, 0.5, 1.0)
    assert np.isnan(model.covered_score(half[1:], labels[1:]))


@pytest.mark.parametrize(("labels", "unseen"), [([0, 1], 1), ([0, 1], "none"), (["a", "b"], -1), (["a", "b"], "a")])
def test_an_unseen_label_that_could_be_mistaken_is_refused(labels, unseen):
    with pytest.raises(BadInputError, match="unseen_label"):
        exact.ExactClassifier(unseen_label=unseen).fit([[0.0], [1.0]], labels)


@pytest.mark.parametrize(
    ("labels", "unseen"),
    [
        (np.array([0.0, 2.0**24], dtype=np.float32), 2**24 + 1),  # rounds to a class
        (np.array([0, 2**64 - 1], dtype=np.uint64), -1),  # no integer type holds both
        (np.array([0, 1]), 2**70),
        (np.array(["a", "b"], dtype=object), 3),
    ],
    ids=str,
)
def test_an_unseen_label_that_the_type_of_the_labels_cannot_hold_apart_is_refused(labels, unseen):
    with pytest.raises(BadInputError, match="unseen_label"):
        exact.ExactClassifier(unseen_label=unseen).fit([[0.0], [1.0]], labels)


@pytest.mark.usefixtures("unchecked")
def test_options_and_rows_that_the_classifier_cannot_use_are_named():
    with pytest.raises(BadInputError, match="sequence 0 is no"):
        exact.ExactClassifier().fit([[[1.0, 2.0], [3.0]], [[1.0, 2.0]]], ["a", "b"])
    for state in (np.random.default_rng(0), -1, "0", 1.5):
        with pytest.raises(BadInputError, match="random_state"):
            exact.ExactClassifier(random_state=state).fit([[0.0], [1.0]], ["a", "b"])


def test_cross_validation_gives_numbers():
    images, digits = load_digits(return_X_y=True)
    assert cross_val_score(exact.ExactClassifier(), images, digits, cv=2).tolist() == [0, 0]
    guesses = cross_val_score(exact.ExactClassifier(abstain=False), images, digits, cv=2)
    assert ((guesses > 0) & (guesses < 1)).all()
    rng = np.random.default_rng(0)
    ragged_data = np.empty(30, dtype=object)
    ragged_data[:] = [rng.normal(size=(n, 2)) for n in rng.geometric(0.3, 30)]
    assert np.isfinite(cross_val_score(exact.ExactClassifier(), ragged_data, rng.integers(0, 2, 30), cv=3)).all()


#: Why a check of scikit-learn is not passed. This one wants the label of the only class for new rows.
EXPECTED_FAILURES = {"check_classifiers_one_label": "new rows are unknown, and an ExactClassifier abstains by default"}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("abstain", [True, False])
def test_the_checks_of_scikit_learn_pass(abstain):
    expected = EXPECTED_FAILURES if abstain else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = check_estimator(exact.ExactClassifier(abstain=abstain), expected_failed_checks=expected, on_fail=None)
    assert [check["check_name"] for check in found if check["status"] == "failed"] == []
    assert {check["check_name"] for check in found if check["status"] == "xfail"} == set(expected)
    assert sum(check["status"] == "passed" for check in found) > 50


# --- regularised training --------------------------------------------------------------------------------------------


def test_training_from_the_bank_stays_below_training_from_chance():
    sequences, labels = gauss(sequences=20, tokens=3, dim=8, labels=2)
    curves = exact.bank_training(sequences, labels, epochs=10, random_starts=2, seed=0)
    assert curves.names == ("bank", "random 0", "random 1")
    assert curves.loss.shape == (3, 11)
    assert curves.misfit[0, 0] == 0
    assert curves.accuracy[0, 0] == 1
    assert curves.loss[0, -1] < curves.loss[0, 0]
    assert (curves.loss[0] < curves.loss[1:]).all()
    again = exact.bank_training(sequences, labels, epochs=10, random_starts=2, seed=0)
    assert np.array_equal(again.loss, curves.loss)
    assert len(curves.figure().axes) == 3
    assert curves.threshold == curves.loss[0, 0]


@pytest.mark.parametrize("options", [{"regularisation": -1.0}, {"epochs": 0}, {"learning_rate": 0.0}])
def test_a_bad_training_option_is_refused(options):
    with pytest.raises(BadInputError, match="expected numbers"):
        exact.bank_training(*gauss(), **options)


def block_by_hand(tokens, block):
    """Return the outputs of one block for one sequence, in plain loops."""
    outputs = []
    for token in tokens:
        shares = np.exp([(block["q"] @ token) * (block["k"] @ other) for other in tokens])
        mean = sum(share * (block["v"] @ other) for share, other in zip(shares, tokens, strict=True)) / shares.sum()
        outputs.append(block["W"] @ np.maximum(block["U"] @ block["out"] * mean + block["c"], 0))
    return np.array(outputs)


def test_the_solution_of_the_tikhonov_problem_meets_its_targets():
    problem = exact.tikhonov_problem(sequences=3, length=6, dim=5, seed=4)
    for tokens, target in zip(problem.tokens, problem.targets, strict=True):
        np.testing.assert_allclose(block_by_hand(tokens, problem.solution), target + np.zeros((6, 1)), atol=1e-13)
    runs = exact.tikhonov_training(problem, [0.5, 0.1], epochs=3)
    at_solution = [1, 3]
    np.testing.assert_allclose(runs.loss[at_solution, 0], runs.threshold[at_solution], rtol=1e-12)
    np.testing.assert_allclose(runs.threshold, problem.squared_norm * np.array([0.5, 0.5, 0.1, 0.1]))
    assert (runs.reached[at_solution] == 0).all()


def test_the_tikhonov_loss_is_the_largest_token_distance_squared_and_the_norm():
    problem = exact.tikhonov_problem(sequences=3, length=6, dim=5)
    rng = np.random.default_rng(7)
    moved = {name: array + rng.normal(size=array.shape) for name, array in problem.solution.items()}
    runs = exact.tikhonov_training(dataclasses.replace(problem, solution=moved), [0.2], epochs=1, starts=["solution"])
    farthest = [
        ((block_by_hand(tokens, moved) - target) ** 2).sum(axis=1).max()
        for tokens, target in zip(problem.tokens, problem.targets, strict=True)
    ]
    assert runs.misfit[0, 0] == pytest.approx(np.mean(farthest), rel=1e-12)
    norm = sum((array**2).sum() for array in moved.values())
    assert runs.loss[0, 0] == pytest.approx(np.mean(farthest) + 0.2 * norm, rel=1e-12)


def test_a_lowered_regularisation_begins_where_the_larger_one_ended():
    problem = exact.tikhonov_problem(sequences=3, length=6, dim=5)
    runs = exact.tikhonov_training(problem, [0.1, 0.4], epochs=5, starts=["random", "solution"], lowered=True)
    np.testing.assert_array_equal(runs.regularisation, [0.4, 0.4, 0.1, 0.1])
    norms = (runs.loss[:2, -1] - runs.misfit[:2, -1]) / 0.4
    np.testing.assert_allclose(runs.loss[2:, 0], runs.misfit[:2, -1] + 0.1 * norms, rtol=1e-12)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "options", [{"regularisation": [0.0]}, {"epochs": 0}, {"starts": ["bank"]}, {"learning_rate": -1.0}]
)
def test_a_tikhonov_training_that_cannot_be_is_refused(options):
    settings = {"regularisation": [0.1], "epochs": 2} | options
    with pytest.raises(BadInputError, match="Tikhonov training"):
        exact.tikhonov_training(exact.tikhonov_problem(length=4), **settings)
