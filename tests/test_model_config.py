"""What config.json says of layers, case by case."""

import math
import os

import pytest

from tokendyn.data.model_config import config_of, read_config
from tokendyn.errors import BadInputError

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.mark.parametrize(
    ("settings", "local"),
    [
        ({"sliding_window": 8, "sliding_window_pattern": 3}, [0, 1, 3, 4]),
        ({"local_attention": 8, "global_attn_every_n_layers": 3}, [1, 2, 4, 5]),
        ({"model_type": "gemma2", "sliding_window": 8}, [0, 2, 4]),
        ({"model_type": "qwen2", "sliding_window": 8, "use_sliding_window": True, "max_window_layers": 4}, [4, 5]),
        ({"model_type": "qwen2", "sliding_window": 8, "max_window_layers": 4}, []),
        ({"window_size": 8, "attention_types": [[["global", "local"], 3]]}, [1, 3, 5]),
        ({"window_size": 8, "attention_layers": ["local"] * 2 + ["global"] * 4}, [0, 1]),
        ({"sliding_window": 8, "layer_types": ["full_attention"] * 5 + ["sliding_attention"]}, [5]),
        ({"attention_chunk_size": 8, "layer_types": ["chunked_attention"] + ["full_attention"] * 5}, [0]),
        ({"attention_window": [8, 8, 8, 8, 8, 8]}, [0, 1, 2, 3, 4, 5]),
        ({"sliding_window": 8}, [0, 1, 2, 3, 4, 5]),
        ({}, []),
    ],
)
def test_the_layers_with_a_window_are_those_of_the_settings(settings, local):
    config = config_of(settings, "")
    windows = [any("sliding window of 8 tokens" in note for note in config.notes(layer)) for layer in range(6)]
    assert [layer for layer, window in enumerate(windows) if window] == local


@pytest.mark.parametrize(
    ("settings", "shared"),
    [
        ({}, 8),
        ({"num_key_value_heads": 2}, 2),
        ({"model_type": "falcon"}, 1),
        ({"model_type": "falcon", "multi_query": False}, 8),
        ({"model_type": "falcon", "num_kv_heads": 4}, 1),
        ({"model_type": "falcon", "new_decoder_architecture": True, "num_kv_heads": 4}, 4),
        ({"model_type": "falcon", "new_decoder_architecture": True}, 8),
        ({"model_type": "gpt_bigcode"}, 1),
        ({"model_type": "mpt", "attn_config": {"kv_n_heads": 4}}, 4),
        ({"model_type": "chatglm", "multi_query_attention": True, "multi_query_group_num": 2}, 2),
        ({"model_type": "chatglm", "multi_query_group_num": 2}, 8),
    ],
)
def test_key_and_value_heads(settings, shared):
    assert config_of(settings, "").key_value_heads(8) == shared


@pytest.mark.parametrize(
    ("settings", "scale"),
    [
        ({}, 1 / 4), ({"model_type": "umt5"}, 1.0), ({"query_pre_attn_scalar": 64}, 1 / 8),
        ({"attention_multiplier": 0.5}, 0.5), ({"attn_config": {"softmax_scale": 0.3}}, 0.3),
        ({"attn_config": {"softmax_scale": None}}, 1 / 4), ({"scale_attn_weights": False}, 1.0),
        ({"scale_attn_by_inverse_layer_idx": True}, 1 / 12), ({"model_type": "deberta-v2"}, 1 / 4),
        ({"model_type": "deberta-v2", "pos_att_type": "c2p"}, 32**-0.5),
    ],
)  # fmt: skip
def test_the_scale_of_scores(settings, scale):
    assert config_of(settings, "").scale(16, 2)[0] == pytest.approx(scale, rel=1e-15)


@pytest.mark.parametrize(
    ("prefix", "types"),
    [
        ("model.text_model.encoder.", ("t", "whole")), ("model.vision_model.encoder.", ("v", "whole")),
        ("visual.", ("v", "whole")), ("model.", ("t", "whole")), ("decoder.encoder.", ("d", "whole")),
        ("encoder.", ("e", "whole")), ("audio_tower.", ("a", "whole")),
    ],
)  # fmt: skip
def test_the_part_is_the_one_that_the_prefix_names_first(prefix, types):
    parts = {"text_config": "t", "vision_config": "v", "audio_config": "a", "encoder": "e", "decoder": "d"}
    table = {"model_type": "whole", "num_attention_heads": 2} | {
        key: {"model_type": kind, "num_attention_heads": 7} for key, kind in parts.items()
    }
    config = config_of(table, prefix)
    assert config.model_types == types
    assert config.heads(prefix) == 7


def test_heads_of_a_decoder_are_its_own():
    config = config_of({"encoder_attention_heads": 4, "decoder_attention_heads": 2}, "")
    assert (config.heads("model.encoder."), config.heads("model.decoder.")) == (4, 2)


@pytest.mark.parametrize(
    ("settings", "factor"),
    [
        ({"rope_scaling": {"type": "yarn", "factor": 4.0}}, 0.1 * math.log(4) + 1),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 32.0, "beta_fast": 32}}, 0.1 * math.log(32) + 1),
        ({"rope_scaling": {"type": "yarn", "factor": 8, "attention_factor": 1.5}}, 1.5),
        ({"rope_scaling": {"type": "yarn", "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0}}, 1.0),
        (
            {"rope_scaling": {"type": "yarn", "factor": 40, "mscale": 2.0, "mscale_all_dim": 1.0}},
            (0.2 * math.log(40) + 1) / (0.1 * math.log(40) + 1),
        ),
        (
            {
                "rope_scaling": {"type": "longrope", "short_factor": [1.0], "long_factor": [2.0]},
                "max_position_embeddings": 131072, "original_max_position_embeddings": 4096,
            },
            math.sqrt(1 + math.log(32) / math.log(4096)),
        ),
        ({"rope_scaling": {"type": "longrope", "short_mscale": 1.25, "long_mscale": 1.5}}, 1.25),
        ({"rope_scaling": {"type": "yarn", "factor": 1.0}}, 1.0),
        ({"rope_scaling": {"type": "linear", "factor": 4}}, 1.0),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0}}, 1.0),
        ({"rope_scaling": None}, 1.0), ({"rope_scaling": {}}, 1.0),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0}, "partial_rotary_factor": 0.5}, 1.0),
    ],
)  # fmt: skip
def test_stretched_rotary_embeddings_scale_the_scores(settings, factor):
    config = config_of({"model_type": "llama"} | settings, "")
    assert config.scale(16, 0)[0] == pytest.approx(factor**2 / 4, rel=1e-15)
    part = "partial_rotary_factor" in settings
    assert part == any("multiplies a part of each query" in note for note in config.notes(0))


def test_stretched_rotary_embeddings_of_one_kind_of_layers():
    stretched = {"rope_type": "yarn", "factor": 4.0}
    rope = {"full_attention": stretched, "sliding_attention": {"rope_type": "default"}}
    kinds = ["sliding_attention", "full_attention"]
    config = config_of({"rope_parameters": rope, "layer_types": kinds, "query_pre_attn_scalar": 64}, "")
    assert [config.scale(16, layer)[0] for layer in (0, 1)] == pytest.approx([1 / 8, (0.1 * math.log(4) + 1) ** 2 / 8])


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"num_attention_heads": "8"}, "num_attention_heads"), ({"num_attention_heads": 7.5}, "num_attention_heads"),
        ({"num_attention_heads": 0}, "num_attention_heads"), ({"num_attention_heads": -8}, "num_attention_heads"),
        ({"num_attention_heads": True}, "num_attention_heads"), ({"num_attention_heads": 1e301}, "num_attention_heads"),
        ({"num_key_value_heads": "2"}, "num_key_value_heads"), ({"num_key_value_heads": 0}, "num_key_value_heads"),
        ({"query_pre_attn_scalar": "256"}, "query_pre_attn_scalar"),
        ({"query_pre_attn_scalar": True}, "query_pre_attn_scalar"),
        ({"query_pre_attn_scalar": -1}, "query_pre_attn_scalar"), ({"attention_multiplier": 0}, "attention_multiplier"),
        ({"scale_attn_weights": "false"}, "scale_attn_weights"),
        ({"model_type": "falcon", "multi_query": "no"}, "multi_query"),
        ({"rope_scaling": {"type": "yarn", "factor": "4"}}, "factor"),
    ],
)  # fmt: skip
def test_settings_of_the_wrong_kind_are_refused(settings, name):
    config = config_of(settings, "")
    with pytest.raises(BadInputError, match=rf"config\.json: {name} is .*; expected"):
        config.key_value_heads(config.heads("") or 8), config.scale(16, 0)


def test_settings_that_are_whole_or_true_are_read_as_such():
    config = config_of({"model_type": "falcon", "num_attention_heads": 8.0, "multi_query": 0, "window": 0}, "")
    assert (config.heads(""), config.key_value_heads(8), config.whole("window")) == (8, 8, None)
    assert config_of({"attention_heads": 16}, "").heads("model.") == 16  # XGLM
    assert config_of({"num_attention_heads": [1, 2, 5]}, "").heads("") is None  # one number a stage


def test_positions_and_factors_that_no_setting_names():
    assert config_of({"model_type": "baichuan", "max_position_embeddings": 4096}, "").positions() == {"rotary"}
    assert config_of({"model_type": "baichuan", "model_max_length": 4096}, "").positions() == {"alibi"}
    assert config_of({"model_type": "mpt"}, "").positions() == {"alibi"}
    assert config_of({"model_type": "mpt", "attn_config": {"alibi": False}}, "").positions() == set()
    assert config_of({"model_type": "llama4_text"}, "").normalises_queries()
    assert not config_of({"model_type": "llama4_text", "use_qk_norm": False}, "").normalises_queries()
    assert (
        config_of({"model_type": "mpt", "attn_config": {"attn_type": "multiquery_attention"}}, "").key_value_heads(8)
        == 1
    )
    assert any("scale_depth 1.4" in note for note in config_of({"scale_depth": 1.4}, "").notes(0))


def test_layers_that_a_configuration_repeats_without_an_end_are_not_listed():
    types = [[["global", "local"] * 50, 10**9]] * 1000
    notes = config_of({"window_size": 8, "attention_types": types}, "").notes(9_999)
    assert notes == ["the layer sees a sliding window of 8 tokens only; here every token sees all"]


def test_a_configuration_that_is_a_bomb_or_a_pipe_is_refused(tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(b"[" + b"[]," * (6 * 2**20) + b"[]]")
    with pytest.raises(BadInputError, match="larger than 16 MiB"):
        read_config(tmp_path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(BadInputError, match="not a file but a pipe"):
        read_config(tmp_path)
