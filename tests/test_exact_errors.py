"""Bad input is one error with places and a remedy, and the remedy works when it is followed."""

import numpy as np
import pytest
from exact_data import gauss

from tokendyn import exact
from tokendyn.errors import BadInputError

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.mark.parametrize(
    ("second", "remedy"),
    [
        ([[2.0, 3.0], [0.0, 1.0]], {"positions": True}),
        ([[0.0, 1.0], [0.0, 1.0], [2.0, 3.0]], {"multiplicity": "frequency"}),
        ([[-0.0, 1.0], [2.0, 3.0]], None),
    ],
    ids=["order", "multiplicity", "sign of zero"],
)
def test_the_same_set_with_two_labels_is_refused(second, remedy):
    sequences = [np.array([[5.0, 5.0]]), np.array([[0.0, 1.0], [2.0, 3.0]]), np.array(second)]
    with pytest.raises(exact.ContradictoryLabelsError, match="sequences 1 and 2") as caught:
        exact.compile(sequences, ["a", "b", "c"])
    assert (caught.value.first, caught.value.second) == (1, 2)
    assert isinstance(caught.value, ValueError)
    report = exact.check(sequences, ["a", "b", "c"])
    assert report.contradictions == ((1, 2),)
    assert not report.ok
    if remedy is not None:
        assert exact.compile(sequences, ["a", "b", "c"], **remedy).predict(sequences) == ["a", "b", "c"]
    assert exact.compile(sequences, ["a", "b", "b"]).predict(sequences) == ["a", "b", "b"]


def test_the_check_counts_duplicates_and_lists_all_contradictions():
    token = np.array([[1.0, 2.0]])
    report = exact.check([token, token, token, token, token + 1], [0, 0, 1, 2, 0])
    assert report.duplicates == 1
    assert report.contradictions == ((0, 2), (0, 3))
    assert report.labels == {0: 3, 1: 1, 2: 1}
    assert any("0 and 3" in line for line in report.describe())


def test_all_unusable_sequences_are_named_with_their_positions():
    good = np.zeros((2, 2))
    bad = [good, np.empty((0, 2)), np.array([[0.0, 1], [np.nan, 0]]), np.array([[np.inf, 0]]), np.zeros((2, 3)), ["x"]]
    with pytest.raises(BadInputError) as caught:
        exact.compile(bad, range(6))
    message = str(caught.value)
    assert "5 problems" in message
    places = ["1 is empty", "2 holds NaN or infinity at position 1", "3 holds NaN", "4 has", "5"]
    for part in (f"sequence {place}" for place in places):
        assert part in message


@pytest.mark.parametrize(
    ("sequences", "labels", "message"),
    [
        ([], [], "no sequence"),
        ([np.zeros((1, 2))], [], "1 sequences and 0 labels"),
        ([np.zeros((1, 2))], [[1]], "not hashable"),
        ([np.zeros(3)], [0], "shape"),
        ([[[1.0], [2.0, 3.0]]], [0], "sequence 0 is no"),
        ([np.zeros((1, 2)), []], [0, 1], "sequence 1 is empty"),
        (None, [0], "the sequences are a NoneType"),
        (np.array(5.0), [0], "the sequences are a ndarray"),
        ([np.ma.array([[1.0]], mask=[[True]])], [0], "sequence 0 has masked entries"),
        (np.ma.array(np.ones((2, 1, 1)), mask=[[[False]], [[True]]]), [0, 1], "sequence 1 has masked entries"),
        ({0: np.zeros((1, 2))}, [0], "the sequences are a dict"),
        ([np.zeros((1, 2))], None, "labels is missing"),
    ],
)
def test_input_of_the_wrong_shape_is_refused(sequences, labels, message):
    with pytest.raises(ValueError, match=message):
        exact.compile(sequences, labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "deep"}, "strategy='deep'"),
        ({"attention": "linear"}, "attention"),
        ({"direction": "up"}, "direction"),
        ({"dtype": "bfloat16"}, "float32"),
        ({"multiplicity": "bag"}, "multiplicity"),
        ({"trials": 0}, "trials"),
        ({"min_margin": -1.0}, "min_margin"),
        ({"min_margin": float("nan")}, "min_margin"),
        ({"min_margin": "wide"}, "min_margin"),
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"beta": 10.0}, "attention='softmax'"),
        ({"beta": float("nan"), "attention": "softmax"}, "beta=nan"),
        ({"beta": "x", "attention": "softmax"}, "beta='x'"),
        ({"beta": 0.0, "attention": "softmax"}, "beta=0.0"),
    ],
)
def test_an_unknown_option_is_refused(options, message):
    with pytest.raises(BadInputError, match=message):
        exact.compile(*gauss(), **options)


@pytest.mark.parametrize(
    ("second", "offered", "missing"),
    [
        ([[2.0, 3.0], [0.0, 1.0]], "positions=True", "frequency"),
        ([[0.0, 1.0], [2.0, 3.0], [2.0, 3.0]], "multiplicity='frequency'", "dtype"),
        ([[0.0, 1.0], [0.0, 1.0], [2.0, 3.0], [2.0, 3.0]], "positions=True", "frequency"),
        ([[-0.0, 1.0], [2.0, 3.0]], "give them one label", "positions"),
    ],
)
def test_a_contradiction_names_only_remedies_that_help(second, offered, missing):
    with pytest.raises(exact.ContradictoryLabelsError) as caught:
        exact.compile([np.array([[0.0, 1.0], [2.0, 3.0]]), np.array(second)], [0, 1])
    assert offered in str(caught.value)
    assert missing not in str(caught.value)


def test_tokens_that_merge_in_float32_are_refused_and_float64_helps():
    base = np.array([[1.0]])
    sequences = [base, base * (1 + 2.0**-30)]
    with pytest.raises(exact.ContradictoryLabelsError, match="dtype='float64'"):
        exact.compile(sequences, [0, 1], dtype="float32")
    assert exact.compile(sequences, [0, 1]).predict(sequences) == [0, 1]


def test_sequences_that_merge_on_the_line_are_refused_and_another_direction_helps():
    sequences = [np.array([[0.0, 1.0]]), np.array([[0.0, 2.0]]), np.array([[1.0, 1.0]])]
    labels = [0, 1, 1]
    with pytest.raises(exact.SeparationError, match="direction='auto'") as caught:
        exact.compile(sequences, labels, strategy="narrow", direction="coordinate")
    assert (caught.value.first, caught.value.second) == (0, 1)
    assert caught.value.gap < caught.value.needed
    assert exact.compile(sequences, labels, strategy="narrow").predict(sequences) == labels


def test_a_refusal_names_a_pair_that_is_too_near_and_not_just_any_of_two_labels():
    """Of a class that no interval splits, the first two sequences may be far apart."""
    rng = np.random.default_rng(0)
    scales = 10.0 ** np.arange(-20, 21, 2)
    tokens = np.array([(x, y) for x in scales for y in scales])
    labels = rng.integers(0, 2, len(tokens)).tolist()
    with pytest.raises(exact.SeparationError, match="rank of its value") as caught:
        exact.compile(tokens[:, None, :], labels)
    first, second = caught.value.first, caught.value.second
    assert first < second
    assert labels[first] != labels[second]
    assert caught.value.gap < caught.value.needed


def test_an_offset_leaves_float32_enough_for_small_differences():
    """The first block subtracts an exact centre; without it these tokens had no line in float32."""
    rng = np.random.default_rng(0)
    tokens = np.unique(1000 + 0.1 * rng.integers(0, 40, (800, 2)), axis=0)
    labels = rng.integers(0, 2, len(tokens)).tolist()
    model = exact.compile(tokens[:, None, :], labels, dtype="float32")
    assert model.predict(tokens[:, None, :]) == labels
    assert model.certificate.verify(exact=True).status == "completed"


def test_hats_refuse_sets_that_merge_on_the_line_and_another_direction_helps():
    sequences = [np.array([[0.0, 1.0], [1.0, 2.0]]), np.array([[0.0, 2.0], [1.0, 1.0]])]
    with pytest.raises(exact.SeparationError, match=r"sequences 0 and 1 .* direction='auto'"):
        exact.compile(sequences, [0, 1], strategy="hat", direction="coordinate")
    assert exact.compile(sequences, [0, 1], strategy="hat").predict(sequences) == [0, 1]


def test_hats_find_a_line_for_tokens_that_differ_in_their_last_bits():
    x, y = 1.0, 1 + 2.0**-40
    sequences = [np.array(tokens)[:, None] for tokens in ([x], [x, x, x], [x, x, y])]
    assert exact.compile(sequences, [0, 0, 1], positions=True, strategy="hat").predict(sequences) == [0, 0, 1]
    assert exact.compile(sequences, [0, 0, 1], positions=True, strategy="fused").predict(sequences) == [0, 0, 1]


def test_a_margin_that_is_too_large_is_refused_and_a_lower_one_helps():
    sequences, labels = gauss()
    with pytest.raises(exact.SeparationError, match="lower min_margin"):
        exact.compile(sequences, labels, strategy="narrow", min_margin=3.0)
    assert exact.compile(sequences, labels, strategy="narrow", min_margin=1e-6).predict(sequences) == labels


def test_a_gap_within_the_rounding_error_is_refused():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(20, 3, 64)).astype(np.float32)
    other = base.copy()
    other[:, :, 0] = np.nextafter(other[:, :, 0], np.float32(9))
    sequences, labels = [*base, *other], [0] * 20 + [1] * 20
    with pytest.raises(exact.SeparationError, match="float64"):
        exact.compile(sequences, labels, strategy="fused", dtype="float32", direction="random")
    assert exact.compile(sequences, labels, strategy="fused", direction="random").predict(sequences) == labels
    assert exact.compile(sequences, labels, strategy="fused", dtype="float32").predict(sequences) == labels


def test_integers_beyond_float32_are_named_and_float64_helps():
    sequences = [np.array([[1, 2]]), np.array([[3, 4], [2**24 + 1, 5]])]
    with pytest.raises(exact.PrecisionError, match=r"sequence 1, position 1: 16777217 .*float64"):
        exact.compile(sequences, [0, 1], dtype="float32")
    assert exact.compile(sequences, [0, 1]).predict(sequences) == [0, 1]
    with pytest.raises(exact.PrecisionError, match="ranks"):
        exact.compile([np.array([[2**53 + 1]])], [0])
    mixed = [np.array([[0.5]]), np.array([[1], [2**53 + 1]])]
    with pytest.raises(exact.PrecisionError, match="sequence 1, position 1: 9007199254740993"):
        exact.compile(mixed, [0, 1])


@pytest.mark.parametrize("strategy", ["slab", "fingerprint", "hat", "strict"])
def test_shallow_constructions_refuse_float32_that_is_too_coarse_and_name_one_that_works(strategy):
    sequences, labels = gauss(sequences=200, tokens=8)
    with pytest.raises((exact.PrecisionError, exact.SeparationError), match=r"strategy='(fused|narrow)'"):
        exact.compile(sequences, labels, strategy=strategy, dtype="float32")
    assert exact.compile(sequences, labels, strategy="fused", dtype="float32").predict(sequences) == labels


def test_too_many_labels_for_channels_are_refused():
    sequences, _ = gauss(sequences=100)
    with pytest.raises(exact.PrecisionError, match="fused"):
        exact.compile(sequences, range(100), strategy="fingerprint")
    assert exact.compile(sequences, range(100)).predict(sequences) == list(range(100))


def test_sequences_without_a_token_of_their_own_have_no_bank():
    tokens = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    sequences, labels = [tokens[[0, 1]], tokens[[1, 2]], tokens[[0, 2]], tokens], [0, 1, 0, 1]
    with pytest.raises(exact.SeparationError, match="fused"):
        exact.compile(sequences, labels, strategy="bank")
    assert exact.compile(sequences, labels).predict(sequences) == labels


def test_an_output_longer_than_the_distinct_tokens_is_refused():
    sequences = [np.array([[0.0, 1.0], [1.0, 2.0]]), np.array([[3.0, 1.0], [3.0, 1.0]])]
    with pytest.raises(exact.OutputLengthError, match="sequence 1 has 1 distinct token,") as caught:
        exact.compile_seq2seq(sequences, [[1.0, 2.0], [1.0, 2.0]])
    assert caught.value.sequence == 1
    assert isinstance(caught.value, ValueError)
    exact.compile_seq2seq(sequences, [[1.0, 2.0], [1.0]])


@pytest.mark.parametrize(
    "outputs", [[[1.0], [np.nan]], [[1.0], []], [[1.0], [[1.0, 2.0]]], [], [[1.0]], [["x"], ["y"]], None]
)
def test_unusable_outputs_are_refused(outputs):
    with pytest.raises(BadInputError):
        exact.compile_seq2seq([np.zeros((1, 1)), np.ones((1, 1))], outputs)


@pytest.mark.parametrize("sequences", [None, 5, "ab", {0: [[1.0]]}, np.array(5.0), [[1.0]]])
def test_sequence_to_sequence_refuses_what_compile_refuses(sequences):
    with pytest.raises(BadInputError) as compiled:
        exact.compile(sequences, [0])
    with pytest.raises(BadInputError) as turned:
        exact.compile_seq2seq(sequences, [[1.0]])
    assert str(turned.value) == str(compiled.value)


def test_sequences_may_come_from_a_generator():
    tokens = [np.array([[0.0], [1.0]]), np.array([[2.0]])]
    assert exact.compile((array for array in tokens), (label for label in "ab")).predict(iter(tokens)) == ["a", "b"]
    turned = exact.compile_seq2seq((array for array in tokens), [[1.0, 2.0], [3.0]])
    assert [found.tolist() for found in turned.predict(iter(tokens))] == [[[1.0], [2.0]], [[3.0]]]


def test_tokens_of_another_dimension_are_refused_at_prediction():
    model = exact.compile(*gauss(dim=3))
    with pytest.raises(BadInputError, match="2 coordinates, and this transformer was built for 3"):
        model.predict([np.zeros((1, 2))])
    with pytest.raises(BadInputError, match="backend"):
        model.predict(gauss()[0], backend="gpu")
    assert model.predict([np.zeros((1, 3))], abstain=True) == [None]
    assert model.predict(gauss(dim=3)[0], abstain=True) == gauss(dim=3)[1]
