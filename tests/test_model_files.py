"""What model files leave out is said or refused; texts become tokens without the settings of batches."""

import csv
import json
import math

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from tokendyn.cli import run
from tokendyn.data.model_text import read_text_tokens
from tokendyn.data.tokens import read_tokens
from tokendyn.data.weights import read_embedding, read_head
from tokendyn.errors import BadInputError
from tokendyn.particles.meanfield.heads import head_theory
from tokendyn.runs.opened import recording

pytestmark = pytest.mark.usefixtures("unchecked")

DIM, HEADS, SIZE = 32, 4, 8
ATTENTION = "model.layers.0.self_attn."


def matrices(rng, *names, rows=DIM):
    return {name + ".weight": rng.normal(size=(rows, DIM)).astype(np.float32) / DIM**0.5 for name in names}


def llama(rng, output="o_proj", shared=HEADS):
    return {
        **matrices(rng, ATTENTION + "q_proj", ATTENTION + output),
        **matrices(rng, ATTENTION + "k_proj", ATTENTION + "v_proj", rows=shared * SIZE),
    }


def write(folder, tensors, **config):
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def said(head):
    return " | ".join(head.notes)


def test_the_output_of_phi_is_read_under_its_own_name(tmp_path, rng):
    dense = llama(rng, "dense")
    found = read_head(write(tmp_path / "a", dense, model_type="phi", num_attention_heads=HEADS), 0, 1)
    np.testing.assert_array_equal(found.output, dense[ATTENTION + "dense.weight"][:, SIZE : 2 * SIZE])
    renamed = {name.replace("dense", "o_proj"): array for name, array in dense.items()}
    other = read_head(write(tmp_path / "b", renamed, model_type="llama", num_attention_heads=HEADS), 0, 1)
    np.testing.assert_array_equal(found.value_matrix, other.value_matrix)


@pytest.mark.parametrize("norm", ["q_norm", "k_norm", "q_layernorm", "query_layernorm", "k_ln", "qk_norm"])
def test_normalised_queries_and_keys_are_refused(tmp_path, rng, norm):
    tensors = llama(rng, shared=2) | {f"{ATTENTION}{norm}.weight": np.full(SIZE, 5, dtype=np.float32)}
    path = write(tmp_path, tensors, model_type="qwen3", num_attention_heads=HEADS, num_key_value_heads=2)
    with pytest.raises(BadInputError, match=rf"normalises queries and keys \(.*{norm}"):
        read_head(path, 0, 0)


@pytest.mark.parametrize("switch", ["use_qk_norm", "qk_layernorm"])
def test_normalised_queries_without_gains_are_refused_too(tmp_path, rng, switch):
    path = write(tmp_path, llama(rng), model_type="llama4_text", num_attention_heads=HEADS, **{switch: True})
    with pytest.raises(BadInputError, match=r"normalises queries and keys \(config\.json says so\)"):
        read_head(path, 0, 0)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("int8", "I8"), ("uint8", "U8"), ("int32", "I32"), ("float8_e4m3fn", "F8_E4M3"), ("float8_e5m2", "F8_E5M2")],
)
def test_codes_without_their_scale_are_no_weights(tmp_path, rng, kind, name):
    tensors = {n: torch.tensor(a * 10).to(getattr(torch, kind)) for n, a in llama(rng).items()}
    save_torch(tensors, tmp_path / "model.safetensors")
    with pytest.raises(BadInputError, match=f"stored as {name}, which has no meaning without its scale"):
        read_head(tmp_path / "model.safetensors", 0, 0, heads=HEADS)


@pytest.mark.parametrize("scale", ["weight_scale", "weight_scale_inv", "weight.absmax", "weight.SCB"])
def test_a_scale_beside_a_weight_means_that_it_is_quantised(tmp_path, rng, scale):
    path = write(tmp_path, llama(rng) | {f"{ATTENTION}k_proj.{scale}": np.ones(1)}, num_attention_heads=HEADS)
    with pytest.raises(BadInputError, match=r"k_proj.weight is quantised"):
        read_head(path, 0, 0)


def test_packed_weights_are_named_as_such(tmp_path):
    save_file({ATTENTION + "q_proj.qweight": np.ones((4, 4), dtype=np.int32)}, tmp_path / "model.safetensors")
    with pytest.raises(BadInputError, match="holds quantised weights"):
        read_head(tmp_path / "model.safetensors", 0, 0, heads=HEADS)


def sharded(folder, tensors, kept):
    names = list(tensors)
    files = {name: f"model-0000{1 + (n > 1)}-of-00002.safetensors" for n, name in enumerate(names)}
    for file in kept:
        save_file({name: tensors[name] for name in names if files[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "num_attention_heads": HEADS}))


def test_a_missing_shard_is_one_message_that_names_it(tmp_path, rng, capsys):
    sharded(tmp_path, llama(rng), ["model-00001-of-00002.safetensors"])
    assert run(["simulate", "--weights", str(tmp_path), "--theory-only", "--out", str(tmp_path / "o")]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "model-00002-of-00002.safetensors is missing; model.safetensors.index.json says that it holds" in message
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{")
    with pytest.raises(BadInputError, match=r"00002-of-00002.safetensors is not a whole safetensors file"):
        read_head(tmp_path, 0, 0)
    save_file({"x": np.ones(2)}, tmp_path / "model-00002-of-00002.safetensors")
    with pytest.raises(BadInputError, match=r"does not hold .*; model.safetensors.index.json says that it does"):
        read_head(tmp_path, 0, 0)


def test_every_file_that_a_head_comes_from_is_noted(tmp_path, rng):
    files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    sharded(tmp_path, llama(rng), files)
    with recording() as opened:
        read_head(tmp_path, 0, 0)
    names = {path.name for path in opened}
    assert names >= {*files, "config.json", "model.safetensors.index.json"}


def test_parts_of_a_model_are_told_apart_by_a_prefix(tmp_path, rng):
    tensors = {}
    for part in ("encoder", "decoder"):
        names = [f"model.{part}.layers.0.self_attn.{x}_proj" for x in ("q", "k", "v", "out")]
        tensors |= matrices(rng, *names)
    settings = {"encoder_attention_heads": HEADS, "decoder_attention_heads": 2}
    path = write(tmp_path, tensors, model_type="bart", **settings)
    with pytest.raises(BadInputError, match=r"prefix='model.decoder.' \(BART\), prefix='model.encoder.' \(BART\)"):
        read_head(path, 0, 0)
    for prefix, heads in (("model.encoder.", HEADS), ("model.encoder", HEADS), ("model.decoder.", 2)):
        found = read_head(path, 0, 1, prefix=prefix)
        size = DIM // heads
        name = prefix.removesuffix(".") + ".layers.0.self_attn.q_proj.weight"
        np.testing.assert_array_equal(found.query, tensors[name][size : 2 * size])
    assert "causal=True" in said(read_head(path, 0, 0, prefix="model.decoder."))
    assert "causal=True" not in said(read_head(path, 0, 0, prefix="model.encoder."))
    with pytest.raises(BadInputError, match="starts with prefix='vision"):
        read_head(path, 0, 0, prefix="vision")


def test_the_part_of_a_composite_model_has_its_own_settings(tmp_path, rng):
    text = {f"language_model.{name}": array for name, array in llama(rng).items()}
    stem = "vision_tower.vision_model.encoder.layers.0.self_attn."
    seen = matrices(rng, *(f"{stem}{x}_proj" for x in ("q", "k", "v", "out")))
    path = write(
        tmp_path, text | seen, model_type="llava",
        text_config={"model_type": "llama", "num_attention_heads": HEADS},
        vision_config={"model_type": "clip_vision_model", "num_attention_heads": 8},
    )  # fmt: skip
    with pytest.raises(BadInputError, match=r"language_model.model.' \(LLaMA\), prefix='vision_tower.*\(CLIP\)"):
        read_head(path, 0, 0)
    assert read_head(path, 0, 0, prefix="language_model.").heads == HEADS
    found = read_head(path, 0, 7, prefix="vision_tower.")
    assert (found.heads, found.scheme) == (8, "CLIP")


def test_a_part_whose_layout_is_not_known_does_not_hide_the_others(tmp_path, rng):
    text = {f"language_model.{name}": array for name, array in llama(rng).items()}
    seen = matrices(rng, "vision.layers.0.attention.query_key_value", rows=3 * DIM)
    seen |= matrices(rng, "vision.layers.0.attention.dense")
    settings = {"model_type": "llama", "num_attention_heads": HEADS}
    path = write(tmp_path, text | seen, model_type="newkind", text_config=settings)
    np.testing.assert_array_equal(read_head(path, 0, 0).query, text[f"language_model.{ATTENTION}q_proj.weight"][:SIZE])
    with pytest.raises(BadInputError, match="order of Q, K and V"):
        read_head(path, 0, 0, prefix="vision.")


@pytest.mark.parametrize("shared", [True, False])
def test_chatglm_stacks_shared_keys_and_interleaves_others(tmp_path, rng, shared):
    stem, rows = "transformer.encoder.layers.0.self_attention.", DIM + 2 * 2 * SIZE if shared else 3 * DIM
    tensors = matrices(rng, stem + "query_key_value", rows=rows) | matrices(rng, stem + "dense")
    settings = {"multi_query_attention": shared, "multi_query_group_num": 2, "num_attention_heads": HEADS}
    path = write(tmp_path, tensors, model_type="chatglm", kv_channels=SIZE, **settings)
    whole, found = tensors[stem + "query_key_value.weight"], read_head(path, 0, 3)
    query, key = (3, 5) if shared else (9, 10)
    np.testing.assert_array_equal(found.query, whole[query * SIZE : (query + 1) * SIZE])
    np.testing.assert_array_equal(found.key, whole[key * SIZE : (key + 1) * SIZE])


def test_the_model_type_decides_between_families_of_the_same_names(tmp_path, rng):
    fused = matrices(rng, "transformer.h.0.self_attention.query_key_value", rows=3 * DIM)
    fused |= matrices(rng, "transformer.h.0.self_attention.dense")
    whole = fused["transformer.h.0.self_attention.query_key_value.weight"]
    path = write(tmp_path, fused, model_type="bloom", n_head=HEADS)
    np.testing.assert_array_equal(read_head(path, 0, 1).query, whole[3 * SIZE : 4 * SIZE])
    assert "ALiBi" in said(read_head(path, 0, 1))
    path = write(tmp_path, fused, model_type="falcon", n_head=HEADS, multi_query=False)
    assert "rotary" in said(read_head(path, 0, 1))
    path = write(tmp_path, fused, model_type="falcon", n_head=HEADS, multi_query=False, alibi=True)
    assert "ALiBi" in said(read_head(path, 0, 1))
    assert "rotary" not in said(read_head(path, 0, 1))
    path = write(tmp_path, fused, model_type="someothermodel", n_head=HEADS)
    with pytest.raises(BadInputError, match=r"order of Q, K and V .* is not known for model_type someothermodel"):
        read_head(path, 0, 1)


def test_a_family_known_by_names_alone_is_said(tmp_path, rng):
    path = write(tmp_path, llama(rng), num_attention_heads=HEADS)
    assert "no model_type is given: read as LLaMA" in said(read_head(path, 0, 0))
    path = write(tmp_path, llama(rng), num_attention_heads=HEADS, model_type="newllama")
    assert "model_type newllama is not among the families that are known" in said(read_head(path, 0, 0))


@pytest.mark.parametrize(
    ("settings", "note"),
    [
        ({"model_type": "gemma2", "attn_logit_softcapping": 50.0}, "scores are capped at 50 (attn_logit_softcapping)"),
        ({"model_type": "gemma2", "sliding_window": 4096}, "sliding window of 4096 tokens"),
        ({"model_type": "mistral", "sliding_window": 512}, "sliding window of 512 tokens"),
        ({"model_type": "llama", "layer_types": ["sliding_attention"], "sliding_window": 8}, "window of 8 tokens"),
        ({"model_type": "llama", "alibi": True}, "ALiBi"),
        ({"model_type": "olmo", "clip_qkv": 8.0}, "clipped at 8"),
        ({"model_type": "granite", "residual_multiplier": 0.22}, "residual_multiplier 0.22"),
        ({"model_type": "gemma2"}, "normalised before it is added"),
        ({"model_type": "llama"}, "rotary embedding"),
        ({"model_type": "llama"}, "sees those before it only"),
        ({"model_type": "newkind", "position_embedding_type": "relative_key"}, "relative bias"),
    ],
)
def test_what_acts_beside_the_matrices_is_said_once(tmp_path, rng, settings, note):
    path = write(tmp_path, llama(rng), num_attention_heads=HEADS, **settings)
    assert said(read_head(path, 0, 0)).count(note) == 1


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": False}, "window"),
        ({"model_type": "llama", "layer_types": ["full_attention"], "sliding_window": 8}, "window"),
        ({"model_type": "mistral", "sliding_window": None}, "window"),
        ({"model_type": "gemma2", "final_logit_softcapping": 30.0}, "capped"),
        ({"model_type": "granite", "residual_multiplier": 1.0}, "factors"),
        ({"model_type": "llama", "is_causal": False}, "--causal"),
    ],
)
def test_what_does_not_act_is_not_said(tmp_path, rng, settings, word):
    path = write(tmp_path, llama(rng), num_attention_heads=HEADS, **settings)
    assert word not in said(read_head(path, 0, 0))


def test_a_relative_bias_in_the_file_and_unread_names_are_said(tmp_path, rng):
    tensors = matrices(rng, *(f"encoder.layer.0.attention.attention.{x}" for x in ("query", "key", "value")))
    tensors |= matrices(rng, "encoder.layer.0.attention.output.dense")
    tensors["encoder.layer.0.attention.attention.relative_position_bias.table"] = np.ones(3)
    tensors["encoder.layer.0.lambda_1"] = np.ones(3)
    tensors["encoder.layer.1.lambda_1"] = np.ones(3)
    found = read_head(write(tmp_path, tensors, model_type="beit", num_attention_heads=HEADS), 0, 0)
    assert said(found).count("relative bias") == 1
    unread = "left unread in the layer: attention.attention.relative_position_bias.table, lambda_1"
    assert unread in found.notes


def test_attention_sinks_are_said_where_they_are(tmp_path, rng):
    sinks = {ATTENTION + "sinks": np.ones(HEADS)}
    path = write(tmp_path, llama(rng) | sinks, model_type="gpt_oss", num_attention_heads=HEADS)
    assert said(read_head(path, 0, 0)).count("(sinks)") == 1
    path = write(tmp_path, llama(rng), model_type="gpt_oss", num_attention_heads=HEADS)
    assert "sinks" not in said(read_head(path, 0, 0))


def test_the_first_layer_of_modernbert_reads_the_norm_of_the_embeddings(tmp_path, rng):
    stem, gain = "model.layers.0.attn.", rng.uniform(1, 2, size=DIM)
    tensors = matrices(rng, stem + "Wqkv", rows=3 * DIM) | matrices(rng, stem + "Wo")
    tensors["model.embeddings.norm.weight"] = gain
    path = write(tmp_path, tensors, model_type="modernbert", num_attention_heads=HEADS)
    found = read_head(path, 0, 0)
    assert found.own_temperature == pytest.approx((gain**2).sum() / SIZE**0.5, rel=1e-12)
    np.testing.assert_array_equal(found.query, tensors[stem + "Wqkv.weight"][:SIZE])
    assert not found.centred


def test_a_query_bias_is_said_with_its_size_and_a_key_bias_alone_adds_nothing(tmp_path, rng):
    tensors = llama(rng)
    bias = rng.normal(size=DIM).astype(np.float32)
    path = write(tmp_path, tensors | {ATTENTION + "k_proj.bias": bias}, model_type="qwen2", num_attention_heads=HEADS)
    found = read_head(path, 0, 0)
    assert not found.key_bias.any()
    assert "biases of the layer are left out" in found.notes
    path = write(tmp_path, tensors | {ATTENTION + "q_proj.bias": bias}, model_type="qwen2", num_attention_heads=HEADS)
    found = read_head(path, 0, 1)
    expected = (DIM / SIZE) ** 0.5 * tensors[ATTENTION + "k_proj.weight"][8:16].T.astype(float) @ bias[8:16]
    np.testing.assert_allclose(found.key_bias, expected, rtol=1e-6)
    assert f"|c| = {np.linalg.norm(expected):.3g}" in said(found)


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2 * DIM,)])
def test_a_bias_of_another_size_is_refused(tmp_path, rng, shape):
    tensors = llama(rng) | {ATTENTION + "q_proj.bias": np.ones(shape)}
    with pytest.raises(BadInputError, match="does not fit 4 heads of 8 numbers"):
        read_head(write(tmp_path, tensors, model_type="qwen2", num_attention_heads=HEADS), 0, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_attention_heads": 4, "num_key_value_heads": 3}, "do not share 3 key and value heads evenly"),
        ({"num_attention_heads": 4, "head_dim": 16}, "have 8 rows of Q, but config.json says 16"),
        ({"num_attention_heads": -4}, "num_attention_heads is '-4'; expected a whole number above 0"),
        ({"num_attention_heads": "4"}, "num_attention_heads is '4'; expected a whole number above 0"),
        ({"num_attention_heads": [4, 4]}, "number of heads is unknown"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, rng, settings, message):
    with pytest.raises(BadInputError, match=message):
        read_head(write(tmp_path, llama(rng), model_type="llama", **settings), 0, 0)


def test_weights_whose_products_overflow_are_refused(tmp_path, rng):
    tensors = {name: array.astype(np.float64) * 1e200 for name, array in llama(rng).items()}
    tensors["model.layers.0.input_layernorm.weight"] = np.full(DIM, 1e200)
    with pytest.raises(BadInputError, match="so large that products of them overflow"):
        read_head(write(tmp_path, tensors, model_type="llama", num_attention_heads=HEADS), 0, 0)


@pytest.mark.parametrize("given", [{"heads": 0}, {"heads": -3}, {"heads": 4, "key_value_heads": -2}])
def test_numbers_of_heads_below_one_are_refused(tmp_path, rng, given):
    with pytest.raises(BadInputError, match="must be at least 1"):
        read_head(write(tmp_path, llama(rng), model_type="llama"), 0, 0, **given)


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "warm", "film", ".", "great"]


def write_tokenizer(folder, *, special=True, padding=None, truncation=None):
    """Write a tokenizer of whole words; padding and truncation as its file holds them."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if special:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    record = json.loads(tokenizer.to_str())
    rest = {"pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]", "pad_to_multiple_of": None}
    record["padding"] = None if padding is None else {"strategy": padding, "direction": "Right", **rest}
    if truncation is not None:
        record["truncation"] = {
            "direction": "Right", "max_length": truncation, "strategy": "LongestFirst", "stride": 0
        }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(record))


@pytest.fixture
def model(tmp_path, rng):
    tensors = matrices(rng, *(f"encoder.layer.0.attention.self.{x}" for x in ("query", "key", "value")))
    tensors |= matrices(rng, "encoder.layer.0.attention.output.dense")
    tensors |= matrices(rng, "embeddings.word_embeddings", rows=len(WORDS))
    write(tmp_path, tensors, model_type="bert", num_attention_heads=HEADS, max_position_embeddings=16)
    write_tokenizer(tmp_path)
    return tmp_path


@pytest.mark.parametrize("padding", [None, {"Fixed": 16}, {"Fixed": 128}, "BatchLongest"])
@pytest.mark.parametrize("truncation", [None, 4, 128])
def test_a_text_is_its_tokens_whatever_the_file_says_of_batches(model, padding, truncation):
    write_tokenizer(model, padding=padding, truncation=truncation)
    found = read_text_tokens(model, "a warm film .", read_head(model, 0, 0))
    assert found.names == ("[CLS]", "a", "warm", "film", ".", "[SEP]")
    np.testing.assert_array_equal(found.positions, read_embedding(model)[[2, 4, 5, 6, 7, 3]])
    long = read_text_tokens(model, "great film " * 200, read_head(model, 0, 0))
    assert long.names == ("[CLS]", *["great", "film"] * 200, "[SEP]")
    assert any("402 tokens, more than the 16 that the model takes; none is cut" in note for note in long.notes)
    assert any("398 tokens repeat" in note for note in long.notes)


def test_added_tokens_are_said_and_left_out_when_asked(model):
    head = read_head(model, 0, 0)
    assert any("the tokenizer added [CLS], [SEP]" in note for note in read_text_tokens(model, "a film", head).notes)
    bare = read_text_tokens(model, "a [SEP] film", head, special=False)
    assert not any("added" in note for note in bare.notes)
    assert bare.names[0] == "a"
    unknown = read_text_tokens(model, "a frightful film", head)
    assert any("1 of 5 tokens are unknown" in note for note in unknown.notes)
    write_tokenizer(model, special=False)
    assert read_text_tokens(model, "a film", head).names == ("a", "film")


@pytest.mark.parametrize(
    ("text", "special", "message"),
    [
        ("", True, "empty"), (" \n\t", True, "empty"), ("film", False, "has 1 token, film"),
        ("\u200b \ufe0f", True, "knows none of them"), ("frightful boredom", False, "knows none of them"),
    ],
)  # fmt: skip
def test_a_text_without_two_tokens_is_refused(model, text, special, message):
    with pytest.raises(BadInputError, match=message):
        read_text_tokens(model, text, read_head(model, 0, 0), special=special)


def test_embeddings_of_another_size_are_refused(model, rng):
    from safetensors.numpy import load_file

    head, tensors = read_head(model, 0, 0), load_file(model / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"] = rng.normal(size=(len(WORDS), 7))
    save_file(tensors, model / "model.safetensors")
    with pytest.raises(BadInputError, match="the model puts a matrix between"):
        read_text_tokens(model, "a film", head)
    tensors["embeddings.word_embeddings.weight"] = rng.normal(size=(5, DIM))
    save_file(tensors, model / "model.safetensors")
    with pytest.raises(BadInputError, match=r"numbers tokens up to 6, but .* has 5 embeddings"):
        read_text_tokens(model, "a film", head)


def test_tokens_of_a_centred_head_have_mean_zero(tmp_path, rng):
    tensors = {
        "h.0.attn.c_attn.weight": rng.normal(size=(DIM, 3 * DIM)),
        "h.0.attn.c_proj.weight": rng.normal(size=(DIM, DIM)), "h.0.ln_1.weight": np.ones(DIM),
        "wte.weight": rng.normal(size=(len(WORDS), DIM)) + 1,
    }  # fmt: skip
    write(tmp_path, tensors, model_type="gpt2", n_head=HEADS)
    write_tokenizer(tmp_path, special=False)
    positions = read_text_tokens(tmp_path, "a warm film", read_head(tmp_path, 0, 0)).positions
    np.testing.assert_allclose(positions.mean(axis=1), 0, atol=1e-14)
    states = rng.normal(size=(5, DIM)) + 2
    np.save(tmp_path / "states.npy", states)
    words = ["simulate", tmp_path / "states.npy", "--weights", tmp_path, "--normalise", "--no-report", "--time", 0.1]
    assert run([*map(str, words), "--model", "meanfield", "--out", str(tmp_path / "o")]) == 0
    from tokendyn.dynamics import FlowTrajectory

    start = FlowTrajectory.load(tmp_path / "o").states[0]
    centred = states - states.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(start, centred / np.linalg.norm(centred, axis=1, keepdims=True), atol=1e-12)


def test_of_the_states_of_all_layers_those_that_enter_the_layer_are_the_tokens(model, rng):
    from tokendyn.data.states import HiddenStates, write_states
    from tokendyn.dynamics import FlowTrajectory

    states = rng.normal(size=(3, 5, DIM))
    write_states(HiddenStates(states=states, labels=tuple("abcde")), model / "states.npz")
    words = ["simulate", model / "states.npz", "--model", "meanfield", "--weights", model, "--no-report", "--time", 0.1]
    words = [*map(str, words), "--normalise", "--out", str(model / "run")]
    assert run(words) == 0
    start = FlowTrajectory.load(model / "run").states[0]
    np.testing.assert_allclose(start, states[0] / np.linalg.norm(states[0], axis=1, keepdims=True), atol=1e-12)


def test_a_text_at_the_command_line_weighs_its_tokens_alike(model, capsys):
    write_tokenizer(model, padding={"Fixed": 16})
    words = ["simulate", "--weights", model, "--text", "a warm film .", "--time", 0.1, "--no-report"]
    words += ["--out", model / "run"]
    assert run(list(map(str, words))) == 0
    message = capsys.readouterr().err
    assert "bare word embeddings" in message
    assert "6 tokens of" in message
    with (model / "run" / "tokens.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["token"] for row in rows] == ["[CLS]", "a", "warm", "film", ".", "[SEP]"]
    assert {float(row["weight"]) for row in rows} == {1 / 6}
    command = [*map(str, words), "--no-special-tokens", "--overwrite", "--dry-run"]
    assert run(command) == 0
    assert "4 tokens of" in capsys.readouterr().err
    assert run([*map(str, words[:3]), "--text", "review.txt", "--dry-run"]) == 2
    assert "names a file that is missing" in capsys.readouterr().err
    assert run([*map(str, words[:3]), "--no-special-tokens", "--dry-run"]) == 2
    assert "belongs to --weights with --text" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "float32", "float64", "int32", "bool"])
def test_token_files_of_every_plain_type_are_widened(tmp_path, kind):
    stored = torch.tensor([[1.0, -2.5, 0.0], [3.0, 0.125, 7.0]]).to(getattr(torch, kind))
    save_torch({"tokens": stored}, tmp_path / "tokens.safetensors")
    found = read_tokens(tmp_path / "tokens.safetensors").tokens
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, stored.double().numpy())


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "float8_e5m2", "complex64"])
def test_token_files_of_other_types_are_refused_by_name(tmp_path, kind):
    save_torch({"tokens": torch.ones(2, 3).to(getattr(torch, kind))}, tmp_path / "tokens.safetensors")
    with pytest.raises(BadInputError, match=r"tokens is (stored as (F8_E4M3|F8_E5M2)|complex)"):
        read_tokens(tmp_path / "tokens.safetensors")


@pytest.mark.parametrize("angle", [0.0, 1e-3, 45.0, 90.0, 120.0])
def test_the_turn_of_e_is_the_angle_that_v_was_built_with(angle):
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    rotation, pad = np.array([[c, -s], [s, c]]), np.eye(2, 5)
    # V turns the plane and B^T turns it back, so that M = V B^T = diag(2, 1, 0, 0, 0) and E is the first axis.
    key = (rotation.T @ np.diag([2.0, 1.0])).T @ pad
    theory = head_theory(pad, key, pad, pad.T @ rotation)
    assert theory.turn == pytest.approx(min(angle, 180 - angle), abs=1e-9)
    assert theory.terminal.invariant == (angle == 0)
    shown = {row["quantity"]: row["value"] for row in theory.rows(10.0)}
    assert shown["angle by which V turns E out of itself, degrees"] == theory.turn
    if angle:
        assert f"V turns E by {theory.turn:.3g} degrees" in shown["terminal phase"]


def edit_tokenizer(folder, **parts):
    record = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(record | parts))


TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}},
}


@pytest.mark.parametrize(
    "parts",
    [
        {"post_processor": TEMPLATE | {"special_tokens": {}}},
        {"post_processor": TEMPLATE | {"single": [{"Sequence": {"id": "B", "type_id": 0}}]}},
        {
            "post_processor": TEMPLATE
            | {"special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2, 2], "tokens": ["[CLS]"]}}}
        },
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAAAAAA"}},
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "/////wAA"}},
        {"pre_tokenizer": {"type": "FixedLength", "length": 0}},
        {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": False}},
        {"model": {"type": "WordLevel", "vocab": {"a": -1}, "unk_token": "a"}},
    ],
)
def test_a_tokenizer_that_ends_the_program_is_refused(model, parts):
    edit_tokenizer(model, **parts)
    with pytest.raises(BadInputError, match=r"is not a whole tokenizer|tokenizers library crash"):
        read_text_tokens(model, "a warm film", read_head(model, 0, 0))


def test_a_tokenizer_that_multiplies_a_text_is_refused(model, monkeypatch):
    monkeypatch.setattr("tokendyn.runs.limited.MOST_SECONDS", 20.0)
    tenfold = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 1000}
    edit_tokenizer(model, normalizer={"type": "Sequence", "normalizers": [tenfold] * 12})
    with pytest.raises(BadInputError, match=r"crash|within|not a whole tokenizer"):
        read_text_tokens(model, "a warm film", read_head(model, 0, 0))


def test_dropout_of_a_tokenizer_is_off(model):
    signs = ["a", "f", "i", "l", "m", "fi", "lm", "film"]
    merges = {"merges": ["f i", "l m", "fi lm"], "vocab": {sign: n for n, sign in enumerate(signs)}}
    edit_tokenizer(model, model={"type": "BPE", "dropout": 0.9, "unk_token": None, **merges}, post_processor=None)
    found = read_text_tokens(model, "film a film film film!", read_head(model, 0, 0))
    assert found.names == ("film", "a", "film", "film", "film")
    assert any("dropout of 0.9 is for training and is off" in note for note in found.notes)
    assert any("1 characters of the text are in no token" in note for note in found.notes)


def test_words_that_a_unigram_tokenizer_does_not_know_are_counted(model):
    unigram = {"type": "Unigram", "unk_id": 1, "vocab": [["a", -1.0], ["<unk>", 0.0], ["film", -2.0]]}
    edit_tokenizer(model, model=unigram, post_processor=None)
    found = read_text_tokens(model, "a film zzz a qq", read_head(model, 0, 0))
    assert any("2 of 5 tokens are unknown" in note for note in found.notes)
    assert any("2 tokens repeat" in note for note in found.notes)  # a, and the second word that is not known
    with pytest.raises(BadInputError, match="knows none of them"):
        read_text_tokens(model, "zzz qq", read_head(model, 0, 0))
