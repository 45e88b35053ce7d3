"""Tiny random models of each family, made from their configuration classes in float64."""

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from torch.overrides import TorchFunctionMode
from transformers import AutoConfig, AutoModel

from tokendyn.models import Model
from tokendyn.models.source import quiet

#: The words of the tokenizer of :func:`tiny_folder`.
WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "a", "warm", "film", "never", "dull", "the", "plot", "is", "thin"]

_COMMON = {
    "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 40, "vocab_size": 50,
    "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_TOKENS = {"vocab_size": 50, "bos_token_id": 1, "eos_token_id": 2}
_GPT = {**_TOKENS, "n_embd": 24, "n_layer": 3, "n_head": 4, "n_positions": 64}
_IMAGE = {"image_size": 16, "patch_size": 4}
_SMALL = {name: _COMMON[name] for name in ("hidden_size", "num_hidden_layers", "num_attention_heads")}

#: model_type, and what its configuration is given.
CONFIGURATIONS = {
    "bert": _COMMON,
    "roberta": _COMMON,
    "distilbert": {"dim": 24, "n_layers": 3, "n_heads": 4, "hidden_dim": 40, "vocab_size": 50},
    "mpnet": _COMMON,
    "deberta-v2": {**_COMMON, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8},
    "albert": {**_COMMON, "embedding_size": 12},
    "electra": {**_COMMON, "embedding_size": 12},
    "modernbert": {**_COMMON, "cls_token_id": 1, "sep_token_id": 2},
    "vit": {**_SMALL, **_IMAGE, "intermediate_size": 40},
    "clip": {
        "text_config": {**_COMMON, "projection_dim": 8},
        "vision_config": {**_SMALL, **_IMAGE, "intermediate_size": 40, "projection_dim": 8},
    },
    "bart": {
        "d_model": 24, "encoder_layers": 3, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 40, "decoder_ffn_dim": 40, "vocab_size": 50,
        "max_position_embeddings": 64,
    },
    "gpt2": _GPT,
    "gptj": {**_GPT, "rotary_dim": 4},
    "gpt_neo": {
        **_TOKENS, "hidden_size": 24, "num_layers": 2, "num_heads": 4, "window_size": 4, "max_position_embeddings": 64,
        "attention_types": [[["global", "local"], 1]],
    },
    "gpt_neox": {**_COMMON, "rotary_pct": 0.5},
    "bloom": {**_TOKENS, "hidden_size": 24, "n_layer": 3, "n_head": 4},
    "opt": {**_SMALL, **_TOKENS, "ffn_dim": 40, "word_embed_proj_dim": 24, "max_position_embeddings": 64},
    "phi": {**_COMMON, "num_attention_heads": 2},
    "falcon": {**_SMALL, **_TOKENS},
    "falcon with alibi": {**_SMALL, **_TOKENS, "alibi": True},
    "mpt": {"vocab_size": 50, "d_model": 24, "n_layers": 3, "n_heads": 4, "max_seq_len": 64},
    "llama": {**_COMMON, "num_key_value_heads": 2},
    "mistral": {**_COMMON, "num_key_value_heads": 2},
    "qwen2": {**_COMMON, "num_key_value_heads": 2},
    "qwen3": {**_COMMON, "num_key_value_heads": 2, "head_dim": 8},
    "gemma": {**_COMMON, "num_key_value_heads": 2, "head_dim": 8},
    "gemma2": {**_COMMON, "num_key_value_heads": 2, "head_dim": 8, "attn_logit_softcapping": 2.0},
    "gemma3_text": {**_COMMON, "num_key_value_heads": 2, "head_dim": 8},
    "t5": {"d_model": 24, "d_kv": 6, "num_layers": 3, "num_heads": 4, "d_ff": 40, "vocab_size": 50},
}  # fmt: skip


class WholeFloat64(TorchFunctionMode):
    """Lets the library compute in float64 where it asks for float32, as many norms and softmaxes do."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.Tensor.float:
            function = torch.Tensor.double

        def widened(value):
            return torch.float64 if value is torch.float32 else value

        named = {name: widened(value) for name, value in (kwargs or {}).items()}
        return function(*map(widened, args), **named)


def library_model(model_type, seed=0, **changes):
    """Return a random model of the library; all its weights are drawn, so that gains and biases matter."""
    with quiet():
        config = AutoConfig.for_model(model_type.split()[0], **{**CONFIGURATIONS[model_type], **changes})
        module = AutoModel.from_config(config, attn_implementation="eager").double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            norm_gain = parameter.ndim == 1 and name.endswith("weight")
            parameter.copy_(1 + 0.2 * noise if norm_gain else noise * (0.3 if parameter.ndim > 1 else 0.1))
    return module


def tiny(model_type, part="", seed=0, **changes):
    """Return a tiny model as tokendyn sees it."""
    return Model(library_model(model_type, seed, **changes), source=model_type, part=part)


def tiny_folder(place, model_type="bert", **changes):
    """Write a tiny model with a tokenizer whose file asks for padding and truncation; return the folder."""
    library_model(model_type, **changes).float().save_pretrained(place)
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    tokenizer.enable_padding(length=32)
    tokenizer.enable_truncation(8)
    tokenizer.save(str(place / "tokenizer.json"))
    return place
