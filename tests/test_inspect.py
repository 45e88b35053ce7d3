"""td.inspect and tokendyn inspect: a model folder, states, verdict, files, and everything that can be wrong."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from tiny_models import WORDS, library_model, tiny_folder
from transformers import BertConfig, BertModel

import tokendyn as td
from tokendyn.cli import run
from tokendyn.errors import BadInputError
from tokendyn.models import Ablation, Model, open_model
from tokendyn.models.corpus import reference_texts
from tokendyn.models.inspecting import Inspecting
from tokendyn.models.weights import head_weights

TEXTS = [f"a warm film {word} is never dull the plot is thin" for word in WORDS[4:]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_folder(tmp_path_factory.mktemp("models") / "tiny-bert")


@pytest.fixture(scope="module")
def inspected(folder):
    return td.inspect(folder, TEXTS)


def copied(folder, place):
    place.mkdir()
    for file in folder.iterdir():
        (place / file.name).write_bytes(file.read_bytes())
    return place


def test_padding_and_truncation_of_the_file_are_off(folder):
    sentence = "a warm film is never dull the plot is thin"
    (encoded,) = open_model(folder).encode([sentence])
    assert encoded.names == ("[CLS]", *sentence.split(), "[SEP]")
    assert encoded.added == (True, *[False] * 10, True)
    assert encoded.left_out == 0


def test_a_text_that_is_too_long_is_cut_before_its_last_token_and_said(folder):
    (encoded,) = open_model(folder).encode([" ".join(["film"] * 100)])
    assert len(encoded.ids) == 64
    assert encoded.left_out == 38
    assert encoded.names[-1] == "[SEP]"
    result = td.inspect(folder, [" ".join(["warm film"] * 50), *TEXTS[:2]], ablate="none", ladder=False)
    assert any("1 of 3 texts is cut at 64 tokens" in note and "38 tokens" in note for note in result.notes)


def test_an_inspection_has_tables_sentences_figure_and_page(inspected, tmp_path):
    assert inspected.texts == len(TEXTS)
    assert inspected.geometry["layer"].tolist() == [0, 1, 2, 3]
    assert len(inspected.heads) == 12
    assert inspected.motion[["heads", "feed-forward", "biases", "norm"]].sum(axis=1).to_numpy() == pytest.approx(1)
    assert inspected.ablations["off"].tolist() == ["layer 0", "layer 1", "layer 2", "loudest key", "random key"]
    assert inspected.ladder.set_index("pieces")["rank correlation"]["all = model"] == pytest.approx(1, abs=1e-3)
    assert inspected.leaders(2)["place"].tolist() != list(range(12)) or len(inspected.leaders(2)) == 12
    assert len(inspected.plot().axes) == 1
    inspected.report(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for heading in (
        "Verdict",
        "Do the tokens gather?",
        "How cold is each head?",
        "Who leads?",
        "What moves the tokens?",
    ):
        assert heading in page
    with pytest.raises(BadInputError, match="expected 0 to 2"):
        inspected.leaders(3)
    with pytest.raises(BadInputError, match="expected one of model, no attention"):
        inspected.gathered("nothing")


def test_gathering_is_the_cosine_inside_a_text_less_that_across(folder, inspected):
    model = open_model(folder)
    states = [model.run(encoded).states[-1][1:] for encoded in model.encode(TEXTS)]
    unit = [state / np.linalg.norm(state, axis=1, keepdims=True) for state in states]
    pairs = unit[0] @ unit[0].T
    inside = pairs[np.triu_indices(len(pairs), 1)].mean()
    across = np.mean([(unit[0] @ other.T).mean() for other in unit[1:]])
    assert inspected.gathered()[0, -1] == pytest.approx(inside - across)


def test_the_loudest_token_is_masked_beside_a_random_one(folder, inspected):
    model = open_model(folder)
    (encoded,) = model.encode(TEXTS[:1])
    base = model.run(encoded).states[-1][1:]
    loudest = int(inspected.received.sum(axis=0).argmax())
    masked = model.run(encoded, ablation=Ablation(keys=(loudest,))).states[-1][1:]
    cosines = (base * masked).sum(axis=1) / np.linalg.norm(base, axis=1) / np.linalg.norm(masked, axis=1)
    assert inspected.own["loudest key"][0] == pytest.approx(cosines.mean())
    assert inspected.own["random key"][0] != pytest.approx(cosines.mean())
    assert np.isfinite(inspected.effects["random key"]).all()


def test_every_measure_has_its_null(inspected):
    geometry, motion = inspected.geometry, inspected.motion
    assert geometry["rank / tokens, random weights"].between(0, 1).all()
    assert geometry["clusters / tokens at 0.5, mixed texts"].between(0, 1).all()
    assert {"heads, permuted", "norm, permuted"} <= set(motion)
    heads = inspected.heads
    assert (heads["cold_random"] < 1).all()
    assert (heads["lead_null"] >= 1).all()
    assert heads["permuted"].between(0, 1).all()


def test_a_saved_inspection_comes_back_and_holds_states_for_others(inspected, tmp_path):
    inspected.save(tmp_path / "seen")
    again = td.load(tmp_path / "seen")
    assert str(again) == str(inspected)
    assert again.heads.equals(inspected.heads)
    stream = td.read_states(tmp_path / "seen" / "states.safetensors")
    assert np.array_equal(stream.states, inspected.states)
    rows = (tmp_path / "seen" / "heads.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 13


def test_few_texts_are_compared_with_the_reference_texts_and_have_no_error(folder):
    result = td.inspect(folder, TEXTS[:1], ablate="none", null="none", ladder=False)
    assert result.by_reference
    assert np.isnan(result.error(result.gathered())).all()
    assert any("cannot tell" in line for line in result.describe())
    assert "random weights" not in result.within
    assert len(reference_texts()) == 16


def test_states_alone_give_the_geometry_of_the_model_route(folder, inspected):
    model = open_model(folder)
    states = [model.run(encoded).states for encoded in model.encode(TEXTS)]
    alone = td.inspect(states)
    assert alone.gathered() == pytest.approx(inspected.gathered())
    assert alone.rank == pytest.approx(inspected.rank)
    assert any("need the weights" in note for note in alone.notes)
    assert td.inspect(states[0]).describe()[1].startswith("Cannot tell whether tokens gather")


def test_states_with_attention_give_heads_and_leaders(folder, inspected, tmp_path):
    model = open_model(folder)
    (encoded,) = model.encode(TEXTS[:1])
    weights = []
    states = model.run(encoded, visit=lambda view: weights.append(view.attention)).states
    stream = td.HiddenStates(states=states, labels=encoded.names, attention=np.stack(weights).astype(np.float64))
    for name in ("stream.npz", "stream.safetensors"):
        td.write_states(stream, tmp_path / name)
        result = td.inspect(tmp_path / name)
        assert result.head_measures["cold"][0] == pytest.approx(inspected.head_measures["cold"][0], rel=1e-5)
        assert result.received == pytest.approx(inspected.received, rel=1e-5)
        assert not result.sinks.any()
    bad = td.HiddenStates(states=states, labels=encoded.names, attention=2 * stream.attention)
    td.write_states(bad, tmp_path / "bad.npz")
    with pytest.raises(BadInputError, match="rows above 0 that add to 1"):
        td.read_states(tmp_path / "bad.npz")
    with pytest.raises(BadInputError, match="rows above 0 that add to 1"):
        td.inspect(bad)
    fewer = dataclasses.replace(stream, attention=stream.attention[:, :1])
    with pytest.raises(BadInputError, match="1 to 4 heads"):
        td.inspect([stream, fewer])
    with pytest.raises(BadInputError, match="NaN or infinity"):
        td.inspect(dataclasses.replace(stream, states=np.full_like(states, np.nan, dtype=np.float64)))


def test_a_model_of_the_library_and_numbers_of_tokens_are_taken(inspected):
    module = library_model("gpt2")
    rng = np.random.default_rng(0)
    result = td.inspect(module, [rng.integers(3, 50, 20) for _ in range(8)], ablate="heads")
    assert result.family == "GPT-2"
    assert "effect" in result.heads
    assert len(result.ablations) == 3 + 12 + 2
    module.set_attn_implementation("sdpa")
    with pytest.raises(BadInputError, match="set_attn_implementation"):
        td.inspect(module, [rng.integers(3, 50, 20)] * 8)
    with pytest.raises(BadInputError, match="one input has no others"):
        td.inspect(library_model("gpt2"), rng.integers(3, 50, 20))


def test_images_are_inputs_of_an_image_model():
    rng = np.random.default_rng(0)
    result = td.inspect(library_model("vit"), [rng.normal(size=(3, 16, 16)) for _ in range(8)], ablate="none")
    assert result.lengths == (17,) * 8
    assert result.texts == 8


def test_the_command_writes_a_folder_and_prints_the_verdict(folder, inspected, tmp_path, capsys):
    table = tmp_path / "texts.csv"
    table.write_text("text\n" + "\n".join(TEXTS) + "\n", encoding="utf-8")
    assert run(["inspect", str(folder), "--texts", str(table), "--out", str(tmp_path / "seen"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["texts"] == len(TEXTS)
    assert told["gathering"] == pytest.approx(float(inspected.gathered()[:, -1].mean()))
    assert (tmp_path / "seen" / "report.html").is_file()
    assert run(["report", str(tmp_path / "seen"), "--out", str(tmp_path / "again.html")]) == 0
    assert run(["inspect", str(folder), "--out", str(tmp_path / "none")]) == 2
    assert "give one of --text, --texts and --images, or --all-heads" in capsys.readouterr().err


def edited(folder, **values):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


def sharded(folder):
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def renamed(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights = {name.replace("layer.1.", "layers.1."): value for name, value in weights.items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "no config.json"),
        (lambda f: (f / "model.safetensors").unlink(), "no model.safetensors"),
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "can run code when it is read"),
        (lambda f: (f / "model.safetensors").rename(f / "model.gguf"), "is quantised; give safetensors"),
        (lambda f: edited(f, auto_map={"AutoModel": "mine.Model"}), "code of its own"),
        (lambda f: edited(f, quantization_config={"bits": 4}), "quantised"),
        (lambda f: edited(f, model_type="nothing-known"), "cannot be read by the transformers library"),
        (lambda f: (f / "adapter_config.json").write_text("{}"), r"adapter \(LoRA\)"),
        (lambda f: (f / "tokenizer.json").unlink(), "has no tokenizer.json"),
        (lambda f: (f / "tokenizer.json").write_text("{"), "not a whole tokenizer"),
        (lambda f: (f / "model.safetensors").write_bytes(b"12"), "not a whole safetensors file"),
        (sharded, "model-2.safetensors is named by"),
        (renamed, "16 weights of its layers are in no file"),
    ],
)
def test_a_folder_that_cannot_be_used_is_one_message(folder, tmp_path, change, message):
    broken = copied(folder, tmp_path / "broken")
    change(broken)
    with pytest.raises(BadInputError, match=message):
        td.inspect(broken, TEXTS[:1])


def test_whole_numbers_are_no_weights(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    broken = copied(folder, tmp_path / "int8")
    weights = load_file(broken / "model.safetensors")
    weights = {name: (100 * value).to(torch.int8) if value.ndim == 2 else value for name, value in weights.items()}
    save_file(weights, broken / "model.safetensors")
    with pytest.raises(BadInputError, match=r"stored as I8: the weights are quantised"):
        open_model(broken)


def test_a_model_that_is_too_large_is_refused_before_it_is_read(folder, monkeypatch):
    from tokendyn.runs import memory

    monkeypatch.setattr(memory, "machine_memory", lambda: 1e4)
    with pytest.raises(BadInputError, match="more than half of the"):
        open_model(folder)


def test_names_files_and_texts_that_are_none_are_refused(folder):
    with pytest.raises(BadInputError, match="a name on a model hub is not looked up"):
        td.inspect("sentence-transformers/all-MiniLM-L6-v2", TEXTS)
    with pytest.raises(BadInputError, match="is a file; give the folder"):
        open_model(folder / "config.json")
    with pytest.raises(BadInputError, match="the text is empty"):
        td.inspect(folder, "  ")
    with pytest.raises(BadInputError, match="texts 1 are empty"):
        td.inspect(folder, ["a film", ""])
    with pytest.raises(BadInputError, match="expected 4 or more"):
        td.inspect(folder, "film")
    with pytest.raises(BadInputError, match="texts is None"):
        td.inspect(folder)
    with pytest.raises(BadInputError, match="expected a folder or a model"):
        td.inspect(3, TEXTS)
    with pytest.raises(BadInputError, match="NaN or infinity"):
        td.inspect(np.full((3, 5, 4), np.nan))
    with pytest.raises(BadInputError, match=r"expected real \(layers"):
        td.inspect(np.ones((5, 4)))
    with pytest.raises(BadInputError, match="expected 4 tokens or more"):
        td.inspect(np.ones((3, 2, 4)))


def test_a_folder_without_tokenizer_takes_numbers_of_tokens_and_no_pooler(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    bare = copied(folder, tmp_path / "bare")
    (bare / "tokenizer.json").unlink()
    weights = {name: value for name, value in load_file(bare / "model.safetensors").items() if "pooler" not in name}
    save_file(weights, bare / "model.safetensors", metadata={"format": "pt"})
    seen = td.inspect(bare, list(np.random.default_rng(0).integers(1, 20, (2, 9))), null="none", ladder=False)
    assert not seen.by_reference
    assert np.isfinite(seen.gathered()).all()


def test_numbers_of_tokens_that_the_model_has_not_are_refused_and_long_ones_are_cut():
    module = library_model("gpt2")
    config = module.config
    for ids in (np.arange(-1, 8), np.arange(config.vocab_size - 7, config.vocab_size + 1)):
        with pytest.raises(BadInputError, match=f"expected 0 to {config.vocab_size - 1}"):
            td.inspect(module, [ids, ids])
    long = [np.arange(config.n_positions + 6) % config.vocab_size] * 2
    seen = td.inspect(module, long, null="none", ablate="none", ladder=False)
    assert seen.lengths == (config.n_positions,) * 2
    assert "6 tokens are left out" in seen.notes[0]


def test_a_coarse_type_and_weights_that_are_no_numbers_are_refused():
    texts = list(np.random.default_rng(0).integers(3, 50, (2, 9)))
    with pytest.raises(BadInputError, match=r"computes in bfloat16.* model.float\(\)"):
        td.inspect(library_model("gpt2").bfloat16(), texts)
    damaged = library_model("gpt2")
    with torch.no_grad():
        damaged.h[1].mlp.c_fc.weight[0, 0] = torch.nan
    with pytest.raises(BadInputError, match=r"h.1.mlp.c_fc.weight holds NaN"):
        td.inspect(damaged, texts, null="none", ladder=False)


def test_options_that_do_not_fit_are_all_named(folder):
    with pytest.raises(BadInputError) as error:
        Inspecting(folder, states=[folder / "x.npz"], tokens=2).run()
    assert "give `model` or `states`" in str(error.value)
    assert "expected at least 4" in str(error.value)


def test_a_part_that_the_model_has_not_is_refused():
    with pytest.raises(BadInputError, match="expected one of encoder, decoder"):
        Model(library_model("t5"), part="middle")


def test_a_column_that_is_not_there_is_named_by_the_option_of_this_command(folder, tmp_path, capsys):
    table = tmp_path / "reviews.csv"
    table.write_text("comment,verdict\nwarm,good\n", encoding="utf-8")
    assert run(["inspect", str(folder), "--texts", str(table), "--out", str(tmp_path / "seen")]) == 2
    assert "name the column by --column" in capsys.readouterr().err
    assert not (tmp_path / "seen").exists()


def test_the_weights_of_a_head_are_measured_as_whole_matrices_are(folder):
    model = open_model(folder, double=True)
    table = head_weights(model)
    heads, gain = model.layers[1], model.norms[1].front.gain
    row = 1 * 4 + 2
    B = (heads.query[2] * gain).T @ (heads.key[2] * gain)
    V = np.sqrt(24) * heads.output[2] @ (heads.value[2] * gain)
    assert (table["layer"][row], table["head"][row]) == (1, 2)
    assert table["beta"][row] == pytest.approx(24 / np.sqrt(6))
    assert table["score_norm"][row] == pytest.approx(np.linalg.norm(B, 2))
    symmetric = np.linalg.norm((B + B.T) / 2) ** 2 / np.linalg.norm(B) ** 2
    assert table["score_symmetric"][row] == pytest.approx(symmetric)
    assert table["value_norm"][row] == pytest.approx(np.linalg.norm(V, 2))
    assert table["value_trace"][row] == pytest.approx(np.trace(V))
    assert table["value_radius"][row] == pytest.approx(np.abs(np.linalg.eigvals(V)).max())
    assert all(len(words.split()) == 3 for name in ("queries", "keys", "reads", "writes") for words in table[name])


def test_an_inspection_lists_the_weights_of_all_heads_when_asked(folder, tmp_path):
    seen = td.inspect(folder, TEXTS[:2], ablate="none", null="none", ladder=False, all_heads=True)
    seen.save(tmp_path / "seen")
    assert len((tmp_path / "seen" / "weights.csv").read_text(encoding="utf-8").splitlines()) == 13
    assert td.load(tmp_path / "seen").weights.equals(seen.weights)
    assert "Weights of the heads" in (tmp_path / "seen" / "report.html").read_text(encoding="utf-8")


def test_an_untrained_model_neither_gathers_nor_parts_its_tokens():
    """Codes of positions push tokens of a text below those of others, in any model of the shape: that is the null."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=200, hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=64,
        attn_implementation="eager",
    )  # fmt: skip
    texts = list(np.random.default_rng(0).integers(1, 200, size=(10, 24)))
    result = td.inspect(BertModel(config).eval(), texts, ablate="none", ladder=False)
    last = result.gathered()[:, -1]
    assert last.mean() < -4 * result.error(last)
    assert any(line.startswith("Cannot tell whether tokens of a text gather") for line in result.describe())
