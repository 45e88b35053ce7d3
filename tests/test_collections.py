"""Texts from class folders and dataset objects, and texts that occur twice."""

import numpy as np
import pytest

from tokendyn.data.collections import from_dataset, read_class_folders, repeated_texts, split_texts
from tokendyn.data.texts import LabelledTexts, read_texts, stream_texts
from tokendyn.errors import BadInputError


@pytest.fixture
def folders(tmp_path):
    for label, texts in {"pos": ["good\nfilm", "ein schöner Film"], "neg": ["bad film"]}.items():
        (tmp_path / label).mkdir()
        for number, text in enumerate(texts):
            (tmp_path / label / f"{number}.txt").write_bytes(text.encode())
    (tmp_path / ".hidden").mkdir()
    return tmp_path


def test_a_folder_of_class_folders_is_read_in_sorted_order(folders):
    found = read_texts(folders)
    assert found.texts == ("bad film", "good\nfilm", "ein schöner Film")
    assert found.labels == ("neg", "pos", "pos")


def test_files_that_are_not_utf_8_are_named(folders):
    (folders / "pos" / "x.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(BadInputError, match=r"pos.x\.txt"):
        read_class_folders(folders)


@pytest.mark.parametrize("name", ["", "none"])
def test_a_folder_without_texts_is_an_error(tmp_path, name):
    with pytest.raises(BadInputError, match="one folder for each class"):
        read_class_folders(tmp_path / name)


class Dataset(list):
    """What matters of a ``datasets.Dataset``: records, and features that name integer labels."""

    class Names:
        names = ("negative", "positive")

    def __init__(self, records):
        super().__init__(records)
        self.features = {"label": self.Names()}


def test_integer_labels_of_a_dataset_get_their_names():
    records = [{"text": "good", "label": 1}, {"text": "bad", "label": 0}]
    assert from_dataset(Dataset(records)).labels == ("positive", "negative")
    assert from_dataset(records).labels == ("1", "0")
    assert from_dataset(records, label=None).labels is None


def test_records_at_fault_are_named_by_row():
    records = [
        {"text": "good", "label": 1},
        {"text": 3, "label": 1},
        {"label": 1},
        {"text": "x", "label": None},
        "text",
    ]
    with pytest.raises(BadInputError, match=r"4 problems[\s\S]*row 2[\s\S]*row 3[\s\S]*row 4[\s\S]*row 5"):
        from_dataset(records)
    with pytest.raises(BadInputError, match="no rows"):
        from_dataset([])


@pytest.mark.parametrize("label", [-1, 2, np.int64(-1), float("nan"), " ", np.array([0, 1]), [0]])
def test_a_label_that_is_no_class_is_refused(label):
    with pytest.raises(BadInputError, match="row 2: 'label' is"):
        from_dataset(Dataset([{"text": "good", "label": 1}, {"text": "bad", "label": label}]))


def test_labels_of_arrays_get_their_names():
    records = [{"text": "good", "label": np.int64(1)}, {"text": "bad", "label": np.int32(0)}]
    assert from_dataset(Dataset(records)).labels == ("positive", "negative")


def test_texts_that_occur_in_both_parts_are_found_up_to_case_and_white_space():
    one = LabelledTexts(("A good  film.", "bad"), None)
    other = LabelledTexts(("worse", "a good film.\n"), None)
    assert repeated_texts(one, other) == [(0, 1)]


def test_texts_that_are_the_same_stay_on_one_side_of_a_split():
    texts = [f"text {number % 40}" for number in range(100)]
    data = LabelledTexts(tuple(texts), tuple("pn"[number % 2] for number in range(100)))
    found = split_texts(data, 0.3, seed=1)
    assert not repeated_texts(found.training, found.test)
    assert len(found.training) + len(found.test) == 100
    assert (found.repeated, found.disputed) == (60, 0)
    assert found.moved > 0
    again = split_texts(data, 0.3, seed=1)
    assert again.test.texts == found.test.texts
    disputed = LabelledTexts(("A film", "a  film", "other", "more", "yet more"), ("p", "n", "n", "p", "n"))
    assert split_texts(disputed, 0.5, seed=0).disputed == 1
    with pytest.raises(BadInputError, match="3 texts hold only 1 that differ: too few to hold out 30%"):
        split_texts(LabelledTexts(("A film", "a  film", "A FILM"), ("p", "n", "n")), 0.3, seed=0)


def test_a_split_of_different_texts_holds_out_exactly_the_share():
    data = LabelledTexts(tuple(f"text {number}" for number in range(50)), None, tuple(range(1, 51)))
    found = split_texts(data, 0.2, seed=3)
    assert (len(found.test), found.repeated, found.disputed, found.moved) == (10, 0, 0, 0)
    assert sorted(found.training.rows + found.test.rows) == list(range(1, 51))
    assert list(found.test.rows) == sorted(found.test.rows)
    assert len(split_texts(data, 0.0, seed=3).test) == 0
    with pytest.raises(BadInputError, match=r"\[0, 1\)"):
        split_texts(data, 1.0, seed=3)


def test_a_folder_of_class_folders_is_one_part_of_a_stream(tmp_path):
    for name, content in (("pos/a.txt", "warm"), ("neg/a.txt", "dull")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(content)
    (part,) = stream_texts(tmp_path, label="label", part=1)
    assert (part.texts, part.labels) == (("dull", "warm"), ("neg", "pos"))
