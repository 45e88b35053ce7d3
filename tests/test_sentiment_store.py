import json

import numpy as np
import pytest
from published_leaders import published

from tokendyn.data.texts import small_reviews
from tokendyn.errors import BadInputError, OutputError
from tokendyn.runs.files import read_tensors, write_tensors
from tokendyn.sentiment import load, save


@pytest.fixture(scope="module")
def corpus():
    return small_reviews()


@pytest.fixture(scope="module")
def model(corpus):
    return published(epochs=2).fit(corpus.texts, corpus.labels)


@pytest.fixture
def folder(model, tmp_path):
    save(model, tmp_path / "model")
    return tmp_path / "model"


def test_a_loaded_model_gives_the_same_verdicts_and_explanations(model, folder, corpus):
    loaded = load(folder)
    assert np.array_equal(loaded.decision_function(corpus.texts), model.decision_function(corpus.texts))
    assert loaded.explain(corpus.texts[0]).to_dict() == model.explain(corpus.texts[0]).to_dict()
    assert loaded.get_params() == model.get_params()
    assert loaded.training_ == model.training_
    assert sorted(path.name for path in folder.iterdir()) == [".tokendyn.json", "model.json", "model.safetensors"]


@pytest.mark.parametrize("labels", [[0, 1], [-1, 1], [1.5, 2.5], [False, True]])
def test_labels_of_any_kind_survive(tmp_path, corpus, labels):
    given = [labels[label == "pos"] for label in corpus.labels]
    model = published(epochs=1).fit(corpus.texts, given)
    save(model, tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.classes_.tolist() == labels
    assert loaded.classes_.dtype == model.classes_.dtype
    json.dumps(loaded.explain("fine").to_dict())


def test_an_existing_folder_is_replaced_only_when_asked(model, folder):
    with pytest.raises(OutputError, match="exists"):
        save(model, folder)
    save(model, folder, overwrite=True)
    load(folder)


def test_an_unfitted_classifier_is_not_saved(tmp_path):
    with pytest.raises(BadInputError, match="not fitted"):
        save(published(), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def change_json(folder, **changes):
    record = json.loads((folder / "model.json").read_text())
    for name, value in changes.items():
        if value is None:
            del record[name]
        else:
            record[name] = value
    (folder / "model.json").write_text(json.dumps(record))


def change_tensors(folder, **changes):
    tensors = read_tensors(folder / "model.safetensors") | changes
    write_tensors(folder / "model.safetensors", {name: array for name, array in tensors.items() if array is not None})


OLD = {name: value for name, value in published().get_params().items() if name != "tokeniser"}
NAN = np.full(2, np.nan)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "model.json").unlink(), "model.json is missing"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda f: (f / "model.json").write_text("{"), "cannot be read"),
        (lambda f: (f / "model.json").write_text("[]"), "tokendyn-sentiment"),
        (lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-9]), "not a whole"),
        (lambda f: (f / "model.safetensors").write_bytes(b""), "not a whole"),
        (lambda f: change_json(f, schema_version=3), "update"),
        (lambda f: change_json(f, words=["a", "b"]), "for 2 words"),
        (lambda f: change_json(f, words=["a", "a"]), "occurs twice"),
        (lambda f: change_json(f, words="ab"), "list of strings"),
        (lambda f: change_json(f, words=None), "lacks 'words'"),
        (lambda f: change_json(f, classes=["pos", "neg"]), "sorted"),
        (lambda f: change_json(f, classes=["pos"]), "two labels"),
        (lambda f: change_json(f, classes=[[], {}]), "two labels"),
        (lambda f: change_json(f, parameters={}), "parameters"),
        (lambda f: change_json(f, parameters=OLD | {"alpha": -1.0}), "alpha=-1.0"),
        (lambda f: change_json(f, training=[]), "training"),
        (lambda f: change_tensors(f, decoder=NAN), "NaN"),
        (lambda f: change_tensors(f, decoder=np.ones(3)), "shape"),
        (lambda f: change_tensors(f, decoder=np.ones(2)), "decoder"),
        (lambda f: change_tensors(f, decoder=np.ones(2, np.float32)), "float32"),
        (lambda f: change_tensors(f, intercept=None), "lacks intercept"),
    ],
)
def test_a_damaged_folder_is_one_clear_error(folder, damage, words):
    damage(folder)
    with pytest.raises(BadInputError) as caught:
        load(folder)
    assert words in str(caught.value)


def test_a_path_that_is_no_folder_is_an_error(tmp_path):
    with pytest.raises(BadInputError, match="not a folder"):
        load(tmp_path / "none")
