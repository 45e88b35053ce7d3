"""Texts from class folders and dataset objects, and texts that occur twice."""

import pytest

from tokendyn.data.collections import from_dataset, read_class_folders, repeated_texts
from tokendyn.data.texts import LabelledTexts, read_texts
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


def test_texts_that_occur_in_both_parts_are_found_up_to_case_and_white_space():
    one = LabelledTexts(("A good  film.", "bad"), None)
    other = LabelledTexts(("worse", "a good film.\n"), None)
    assert repeated_texts(one, other) == [(0, 1)]
