"""What config.json says of layers, case by case."""

import pytest

from tokendyn.data.model_config import config_of

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
        ({"model_type": "deberta-v2", "pos_att_type": "c2p"}, 32**-0.5), ({"query_pre_attn_scalar": -1}, 1 / 4),
        ({"query_pre_attn_scalar": True}, 1 / 4),
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
