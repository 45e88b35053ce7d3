"""Attention rows of every family, from tensors packed as it packs them, against its definition in plain loops."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from tokendyn.data.weights import read_head
from tokendyn.errors import BadInputError

pytestmark = pytest.mark.usefixtures("unchecked")

DIM, HEADS, SIZE, LAYERS, TOKENS = 12, 4, 5, 3, 6


class Layer:
    """Matrices of one layer, head by head: the key-value heads are those that query heads share."""

    def __init__(self, rng, shared, bias):
        self.query = rng.normal(size=(HEADS, SIZE, DIM)) / 3
        self.key, self.value = rng.normal(size=(2, shared, SIZE, DIM)) / 3
        self.out = rng.normal(size=(HEADS, DIM, SIZE))
        self.query_bias = rng.normal(size=(HEADS, SIZE)) * bias
        self.key_bias, self.value_bias = rng.normal(size=(2, shared, SIZE)) * bias
        self.gain, self.norm_bias = rng.uniform(0.5, 2, size=DIM), rng.normal(size=DIM) * bias

    def o(self):
        return np.hstack(list(self.out))


def flat(blocks):
    return np.concatenate(list(blocks))


def separate(stem, q="q_proj", k="k_proj", v="v_proj", o="o_proj"):
    def pack(n, layer):
        start = stem.replace("#", str(n))
        named = {q: (layer.query, layer.query_bias), k: (layer.key, layer.key_bias), v: (layer.value, layer.value_bias)}
        tensors = {f"{start}{name}.weight": flat(blocks) for name, (blocks, _) in named.items()}
        tensors |= {f"{start}{name}.bias": flat(bias) for name, (_, bias) in named.items()}
        return tensors | {f"{start}{o}.weight": layer.o()}

    return pack


def stacked(stem, fused, o, turned=False):
    def pack(n, layer):
        start = stem.replace("#", str(n))
        whole = flat([*layer.query, *layer.key, *layer.value])
        bias = flat([*layer.query_bias, *layer.key_bias, *layer.value_bias])
        out = layer.o()
        return {
            f"{start}{fused}.weight": whole.T if turned else whole,
            f"{start}{fused}.bias": bias,
            f"{start}{o}.weight": out.T if turned else out,
        }

    return pack


def grouped(stem, fused, o):
    """Pack, for each key-value head, its queries, then its key, then its value."""

    def pack(n, layer):
        start, rows, bias = stem.replace("#", str(n)), [], []
        each = HEADS // len(layer.key)
        for group in range(len(layer.key)):
            rows += [*layer.query[group * each : (group + 1) * each], layer.key[group], layer.value[group]]
            bias += [
                *layer.query_bias[group * each : (group + 1) * each],
                layer.key_bias[group],
                layer.value_bias[group],
            ]
        return {
            f"{start}{fused}.weight": flat(rows), f"{start}{fused}.bias": flat(bias), f"{start}{o}.weight": layer.o()
        }  # fmt: skip

    return pack


def one_for_all(pack):
    """Pack the first layer only, which all layers share."""
    return lambda n, layer: pack(n, layer) if n == 0 else {}


BERT = "encoder.layer.#.attention."
SELF = "model.layers.#.self_attn."
ROOT = 1 / SIZE**0.5

#: model_type: (packing, stem of the norm, what it does, key-value heads, scale in layer 1, settings). The norm "pre"
#: stands in front of the attention, "post" ends the layer before; "rms" does not subtract the mean.
CASES = {
    "bert": (separate(BERT, "self.query", "self.key", "self.value", "output.dense"),
             "encoder.layer.#.output.LayerNorm", "post", HEADS, ROOT, {}),
    "roberta-prelayernorm": (separate(BERT, "self.query", "self.key", "self.value", "output.dense"),
                             "encoder.layer.#.attention.LayerNorm", "pre", HEADS, ROOT, {}),
    "mpnet": (separate(BERT + "attn.", "q", "k", "v", "o"), "encoder.layer.#.output.LayerNorm", "post", HEADS, ROOT,
              {}),
    "distilbert": (separate("distilbert.transformer.layer.#.attention.", "q_lin", "k_lin", "v_lin", "out_lin"),
                   "distilbert.transformer.layer.#.output_layer_norm", "post", HEADS, ROOT, {}),
    "deberta-v2": (separate(BERT, "self.query_proj", "self.key_proj", "self.value_proj", "output.dense"),
                   "encoder.layer.#.output.LayerNorm", "post", HEADS, (3 * SIZE) ** -0.5,
                   {"pos_att_type": ["c2p", "p2c"]}),
    "vit": (separate(BERT, "attention.query", "attention.key", "attention.value", "output.dense"),
            "encoder.layer.#.layernorm_before", "pre", HEADS, ROOT, {}),
    "modernbert": (stacked("model.layers.#.attn.", "Wqkv", "Wo"), "model.layers.#.attn_norm", "pre", HEADS, ROOT, {}),
    "gpt2": (stacked("transformer.h.#.attn.", "c_attn", "c_proj", turned=True), "transformer.h.#.ln_1", "pre", HEADS,
             ROOT / 2, {"scale_attn_by_inverse_layer_idx": True}),
    "imagegpt": (stacked("transformer.h.#.attn.", "c_attn", "c_proj", turned=True), "transformer.h.#.ln_1", "pre rms",
                 HEADS, ROOT, {}),
    "mistral": (separate(SELF), "model.layers.#.input_layernorm", "pre rms", 2, ROOT * 1.2**2,
                {"num_key_value_heads": 2, "rope_scaling": {"type": "yarn", "factor": 2, "attention_factor": 1.2}}),
    "persimmon": (grouped(SELF, "query_key_value", "dense"), "model.layers.#.input_layernorm", "pre", HEADS, ROOT, {}),
    "qwen": (stacked("transformer.h.#.attn.", "c_attn", "c_proj"), "transformer.h.#.ln_1", "pre rms", HEADS, ROOT, {}),
    "gpt_bigcode": (grouped("transformer.h.#.attn.", "c_attn", "c_proj"), "transformer.h.#.ln_1", "pre", 1, ROOT, {}),
    "gpt_neo": (separate("transformer.h.#.attn.attention.", o="out_proj"), "transformer.h.#.ln_1", "pre", HEADS, 1.0,
                {}),
    "gptj": (separate("transformer.h.#.attn.", o="out_proj"), "transformer.h.#.ln_1", "pre", HEADS, ROOT, {}),
    "gpt_neox": (grouped("gpt_neox.layers.#.attention.", "query_key_value", "dense"),
                 "gpt_neox.layers.#.input_layernorm", "pre", HEADS, ROOT, {}),
    "bloom": (grouped("h.#.self_attention.", "query_key_value", "dense"), "h.#.input_layernorm", "pre", HEADS, ROOT,
              {}),
    "falcon": (grouped("transformer.h.#.self_attention.", "query_key_value", "dense"),
               "transformer.h.#.input_layernorm", "pre", 1, ROOT, {"multi_query": True}),
    "RefinedWeb": (grouped("transformer.h.#.self_attention.", "query_key_value", "dense"), "transformer.h.#.ln_attn",
                   "pre", 2, ROOT, {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "mpt": (stacked("transformer.blocks.#.attn.", "Wqkv", "out_proj"), "transformer.blocks.#.norm_1", "pre", HEADS, 0.7,
            {"attn_config": {"softmax_scale": 0.7}}),
    "internlm2": (grouped("model.layers.#.attention.", "wqkv", "wo"), "model.layers.#.attention_norm", "pre rms", 2,
                  ROOT, {"num_key_value_heads": 2}),
    "llama": (separate(SELF), "model.layers.#.input_layernorm", "pre rms", 2, ROOT, {"num_key_value_heads": 2}),
    "granite": (separate(SELF), "model.layers.#.input_layernorm", "pre rms", 2, 0.25,
                {"num_key_value_heads": 2, "attention_multiplier": 0.25}),
    "gemma2": (separate(SELF), "model.layers.#.input_layernorm", "pre rms one", 1, 24**-0.5,
               {"num_key_value_heads": 1, "query_pre_attn_scalar": 24}),
    "nemotron": (separate(SELF), "model.layers.#.input_layernorm", "pre one", 2, ROOT, {"num_key_value_heads": 2}),
    "phi": (separate(SELF, o="dense"), "model.layers.#.input_layernorm", "pre", HEADS, ROOT, {}),
    "phi3": (stacked(SELF, "qkv_proj", "o_proj"), "model.layers.#.input_layernorm", "pre rms", 2, ROOT,
             {"num_key_value_heads": 2}),
    "opt": (separate("model.decoder.layers.#.self_attn.", o="out_proj"), "model.decoder.layers.#.self_attn_layer_norm",
            "pre", HEADS, ROOT, {}),
    "bart": (separate("model.encoder.layers.#.self_attn.", o="out_proj"), "model.encoder.layers.#.final_layer_norm",
             "post", HEADS, ROOT, {}),
    "t5": (separate("encoder.block.#.layer.0.SelfAttention.", "q", "k", "v", "o"),
           "encoder.block.#.layer.0.layer_norm", "pre rms", HEADS, 1.0, {}),
    "albert": (one_for_all(separate("albert.encoder.albert_layer_groups.#.albert_layers.0.attention.", "query", "key",
                                    "value", "dense")),
               "albert.encoder.albert_layer_groups.#.albert_layers.0.full_layer_layer_norm", "post", HEADS, ROOT,
               {"num_hidden_layers": LAYERS}),
}  # fmt: skip


def write_model(folder, kind, layers):
    pack, norm, acts, _, _, settings = CASES[kind]
    tensors = {}
    for n, layer in enumerate(layers):
        tensors |= pack(n, layer)
        if kind == "albert" and n > 0:
            continue
        stem = norm.replace("#", str(n))
        tensors[stem + ".weight"] = layer.gain - ("one" in acts)
        if "rms" not in acts:
            tensors[stem + ".bias"] = layer.norm_bias
    folder.mkdir(exist_ok=True)
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, folder / "model.safetensors")
    config = {"model_type": kind, "num_attention_heads": HEADS, **settings}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def normalised(states, acts, gain, bias):
    """Return the output of a LayerNorm or RMSNorm, from its definition."""
    rows = []
    for row in states:
        centred = row if "rms" in acts else row - sum(row) / len(row)
        size = (sum(centred**2) / len(row)) ** 0.5
        rows.append(gain * centred / size + (0 if "rms" in acts else bias))
    return np.array(rows)


def defined_rows(layer, head, shared, scale, read):
    """Return the attention of one head without mask and positions, as the family defines it, for what it reads."""
    own = head // (HEADS // shared)
    rows = []
    for x in read:
        q = layer.query[head] @ x + layer.query_bias[head]
        scores = [scale * float(q @ (layer.key[own] @ y + layer.key_bias[own])) for y in read]
        weights = np.exp(np.array(scores) - max(scores))
        rows.append(weights / weights.sum())
    return np.array(rows)


@pytest.mark.parametrize("kind", CASES)
def test_unit_tokens_attend_as_the_family_defines_it(tmp_path, rng, kind):
    _, _, acts, shared, scale, _ = CASES[kind]
    layers = [Layer(rng, shared, bias=1.0) for _ in range(LAYERS)]
    write_model(tmp_path, kind, layers)
    layer, earlier = (layers[0], layers[0]) if kind == "albert" else (layers[1], layers[0])
    stream = rng.normal(size=(TOKENS, DIM)) + 0.3
    source = layer if "pre" in acts else earlier
    read = normalised(stream, acts, source.gain, source.norm_bias)
    if "pre" in acts:
        tokens = stream if "rms" in acts else stream - stream.mean(axis=1, keepdims=True)
        tokens, length = tokens / np.linalg.norm(tokens, axis=1, keepdims=True), np.ones(TOKENS)
        expected = scale * DIM
    else:
        # The head takes one norm for all tokens, the mean one: undo that here, token by token.
        square = (source.gain**2).sum() + (source.norm_bias**2).sum()
        norms = np.linalg.norm(read, axis=1)
        tokens, length = read / norms[:, None], norms / square**0.5
        expected = scale * square
    for head in range(HEADS):
        found = read_head(tmp_path, 1, head)
        assert found.own_temperature == pytest.approx(expected, rel=1e-12)
        scores = found.own_temperature * (tokens @ found.interaction @ tokens.T) * np.outer(length, length)
        scores += (tokens @ found.key_bias) * length
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(weights, defined_rows(layer, head, shared, scale, read), atol=1e-10)
        own = head // (HEADS // shared)
        folded = source.gain if "pre" in acts else 1.0
        np.testing.assert_allclose(found.value_matrix, layer.out[head] @ (layer.value[own] * folded), atol=1e-12)
        assert (found.heads, found.key_value_heads, found.centred) == (
            HEADS,
            shared,
            acts.startswith("pre") and "rms" not in acts,
        )


def test_the_last_layer_that_shared_matrices_run_as_is_there_and_none_after_it(tmp_path, rng):
    write_model(tmp_path, "albert", [Layer(rng, HEADS, 1.0)])
    assert read_head(tmp_path, LAYERS - 1, 0).layer == LAYERS - 1
    with pytest.raises(BadInputError, match="has layers 0 to 2; got layer=3"):
        read_head(tmp_path, LAYERS, 0)


def test_layers_of_several_groups_and_inner_layers_are_counted_as_they_run(tmp_path, rng):
    tensors, first = {}, {}
    for group in range(2):
        for inner in range(2):
            stem = f"encoder.albert_layer_groups.{group}.albert_layers.{inner}.attention."
            pack = {name: rng.normal(size=(DIM, DIM)) for name in ("query", "key", "value", "dense")}
            first[group, inner] = pack["query"]
            tensors |= {f"{stem}{name}.weight": array for name, array in pack.items()}
    save_file(tensors, tmp_path / "model.safetensors")
    settings = {"num_hidden_layers": 4, "num_hidden_groups": 2, "inner_group_num": 2, "num_attention_heads": 3}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "albert", **settings}))
    order = []
    for hidden in range(4):
        group = int(hidden / (4 / 2))
        order += [first[group, 0], first[group, 1]]
    for layer, whole in enumerate(order):
        np.testing.assert_array_equal(read_head(tmp_path, layer, 1).query, whole[4:8])


def test_a_linear_layer_under_the_names_of_gpt2_is_not_turned(tmp_path, rng):
    layer = Layer(rng, HEADS, 1.0)
    tensors = stacked("transformer.h.#.attn.", "c_attn", "c_proj")(0, layer)
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, tmp_path / "model.safetensors")
    found = read_head(tmp_path, 0, 2, heads=HEADS)
    np.testing.assert_array_equal(found.query, layer.query[2])
    np.testing.assert_array_equal(found.output, layer.out[2])


def test_query_heads_of_one_stacked_matrix_share_keys_by_a_mapping(tmp_path, rng):
    layer = Layer(rng, 2, 0.0)
    mapping = tmp_path / "names.toml"
    for layout, pack in (("stacked", stacked), ("interleaved", grouped)):
        save_file(pack("net.#.", "qkv", "o")(7, layer), tmp_path / "model.safetensors")
        mapping.write_text(
            f'fused = "net.{{layer}}.qkv.weight"\noutput = "net.{{layer}}.o.weight"\nlayout = "{layout}"\n'
            "heads = 4\nkey_value_heads = 2\n"
        )
        found = read_head(tmp_path / "model.safetensors", 7, 3, mapping=mapping)
        np.testing.assert_array_equal(found.query, layer.query[3])
        np.testing.assert_array_equal(found.key, layer.key[1])
        np.testing.assert_array_equal(found.value, layer.value[1])


def test_the_norm_of_the_embeddings_stands_in_front_of_layer_0(tmp_path, rng):
    write_model(tmp_path, "bert", [Layer(rng, HEADS, 1.0)])
    from safetensors.numpy import load_file

    tensors = load_file(tmp_path / "model.safetensors")
    gain, bias = rng.uniform(1, 2, size=DIM), rng.normal(size=DIM)
    tensors |= {"embeddings.LayerNorm.gamma": gain, "embeddings.LayerNorm.beta": bias}
    save_file(tensors, tmp_path / "model.safetensors")
    expected = ((gain**2).sum() + (bias**2).sum()) / SIZE**0.5
    assert read_head(tmp_path, 0, 0).own_temperature == pytest.approx(expected, rel=1e-12)
