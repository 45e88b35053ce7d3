"""What ``config.json`` beside a model says of its attention: numbers of heads, the scale of scores, what else acts."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokendyn.errors import BadInputError
from tokendyn.runs.bounded import read_json_value
from tokendyn.runs.opened import note_opened

_HEADS = ("num_attention_heads", "n_head", "num_heads", "n_heads", "encoder_attention_heads")

#: Words in the names of tensors for the parts that a composite configuration describes.
_PARTS = {
    "vision": ("vision", "visual"), "text": ("text", "language"), "llm": ("llm", "language"),
    "language": ("language",),
}  # fmt: skip

#: Parts that are meant when the names of the tensors do not tell.
_MAIN = ("text_config", "llm_config", "language_config", "thinker_config")

#: Families whose scores are ``<q, k>``, not divided by anything.
_UNSCALED = {"t5", "mt5", "umt5", "longt5", "switch_transformers", "pop2piano", "udop", "gpt_neo"}

#: Families with a multi-query switch that is on unless the configuration says otherwise.
_MULTI_QUERY = {"falcon", "RefinedWeb", "RefinedWebModel", "gpt_bigcode"}

#: Families that normalise the attention's output before it is added.
_NORMALISED_OUTPUT = {"gemma2", "gemma3", "gemma3_text", "gemma3n", "gemma3n_text", "glm4", "olmo2", "olmo3", "t5gemma"}

_QK_NORM = ("use_qk_norm", "qk_norm", "qk_layernorm", "use_qk_layernorm", "qk_ln", "use_qk_ln")
_MULTIPLIERS = ("key_multiplier", "attention_in_multiplier", "attention_out_multiplier", "residual_multiplier")


@dataclass(frozen=True)
class ModelConfig:
    """The configuration of one part of a model; every value is checked when asked for.

    Attributes
    ----------
    values
        Settings of the part over those of the whole.
    model_types
        Names of the family, the part's first; empty when the file is missing or has none.
    """

    values: dict[str, Any]
    model_types: tuple[str, ...]

    def whole(self, *names: str) -> int | None:
        """Return the first of the settings that is a positive whole number."""
        return next((v for v in map(self.values.get, names) if type(v) is int and v > 0), None)

    def number(self, *names: str) -> float | None:
        """Return the first of the settings that is a positive finite number."""
        values = [self.values.get(name) for name in names]
        return next((float(v) for v in values if isinstance(v, (int, float)) and v is not True and 0 < v < 1e300), None)

    def flag(self, name: str, default: bool) -> bool:
        """Return a setting that is true or false."""
        value = self.values.get(name)
        return value if isinstance(value, bool) else default

    def has_type(self, *names: str) -> bool:
        """Return whether the family is one of the names."""
        return any(name in self.model_types for name in names)

    def heads(self, prefix: str) -> int | None:
        """Return the number of query heads; None when it is not given."""
        first = ("decoder_attention_heads",) if "decoder" in prefix else ()
        return self.whole(*first, *_HEADS)

    def key_value_heads(self, heads: int) -> int:
        """Return the number of key and value heads for a number of query heads."""
        if self.has_type(*_MULTI_QUERY):
            if self.flag("new_decoder_architecture", False):
                return self.whole("num_kv_heads", "n_head_kv", "num_key_value_heads") or heads
            return 1 if self.flag("multi_query", True) else heads
        if self.has_type("chatglm") and self.flag("multi_query_attention", False):
            return self.whole("multi_query_group_num") or heads
        return self.whole("num_key_value_heads", "num_kv_heads", "n_kv_heads", "kv_n_heads") or heads

    def scale(self, head_dim: int, layer: int) -> tuple[float, str]:
        """Return the factor of ``<q, k>`` in the exponent, and its formula."""
        if self.has_type(*_UNSCALED):
            return 1.0, "1"
        scalar = self.number("query_pre_attn_scalar")
        if scalar is not None:
            return scalar**-0.5, f"1/sqrt({scalar:g}) of query_pre_attn_scalar"
        factor = self.number("attention_multiplier")
        if factor is not None:
            return factor, f"{factor:g} of attention_multiplier"
        factor = self.number("softmax_scale")
        if factor is not None:
            return factor, f"{factor:g} of softmax_scale"
        scale, formula = 1 / math.sqrt(head_dim), "1/sqrt(head)"
        if self.has_type("deberta-v2", "deberta"):
            kinds = str(self.values.get("pos_att_type"))
            parts = 1 + ("c2p" in kinds) + ("p2c" in kinds)
            scale, formula = 1 / math.sqrt(parts * head_dim), f"1/sqrt({parts} head)" if parts > 1 else formula
        if not self.flag("scale_attn_weights", True):
            scale, formula = 1.0, "1 (scale_attn_weights is false)"
        if self.flag("scale_attn_by_inverse_layer_idx", False):
            scale, formula = scale / (layer + 1), f"{formula}, divided by {layer + 1}"
        return scale, formula

    def normalises_queries(self) -> bool:
        """Return whether queries and keys are normalised, which tensors alone may not show."""
        return any(self.flag(name, False) for name in _QK_NORM)

    def notes(self, layer: int) -> list[str]:
        """Return what acts in the layer beside the matrices, one sentence each."""
        found = []
        for name, value in sorted(self.values.items()):
            if re.match(r"(attn|attention)_.*cap", name) and type(value) in (int, float) and value > 0:
                found.append(f"scores are capped at {value:g} ({name}), which is left out")
        window = self._window(layer)
        if window:
            found.append(f"the layer sees a sliding window of {window} only; here every token sees all")
        if self.number("clip_qkv") is not None:
            found.append(f"queries, keys and values are clipped at {self.number('clip_qkv'):g}, which is left out")
        if self.flag("attn_temperature_tuning", False):
            found.append("the temperature changes with the position (attn_temperature_tuning), which is left out")
        if self.has_type(*_NORMALISED_OUTPUT):
            found.append("the output of the attention is normalised before it is added, which is left out")
        factors = {name: self.number(name) for name in _MULTIPLIERS}
        shown = ", ".join(f"{name} {value:g}" for name, value in factors.items() if value not in (None, 1.0))
        if shown:
            found.append(f"factors of the model are left out: {shown}")
        return found

    def positions(self) -> set[str]:
        """Return how positions enter the scores, as far as the settings tell: ``alibi``, ``relative``, ``rotary``."""
        kind = str(self.values.get("position_embedding_type")).lower()
        found = set()
        if self.flag("alibi", False) or self.flag("use_alibi", False) or kind == "alibi":
            found.add("alibi")
        if kind.startswith("relative") or self.flag("relative_attention", False):
            found.add("relative")
        if kind in ("rotary", "rope"):
            found.add("rotary")
        return found

    def _window(self, layer: int) -> str:
        """Return the width of the layer's window in words; empty when the layer sees all, as far as is known."""
        kinds = _local_layers(self.values)
        if layer < len(kinds):
            local = any(word in kinds[layer] for word in ("sliding", "local", "chunked"))
        elif self.whole("global_attn_every_n_layers") is not None:
            local = layer % (self.whole("global_attn_every_n_layers") or 1) != 0
        elif self.whole("sliding_window_pattern") is not None:
            local = (layer + 1) % (self.whole("sliding_window_pattern") or 1) != 0
        elif self.has_type("gemma2"):
            local = layer % 2 == 0
        elif self.has_type("qwen2", "qwen2_moe", "qwen3", "qwen3_moe"):
            local = self.flag("use_sliding_window", False) and layer >= (self.whole("max_window_layers") or 0)
        else:
            local = self.flag("use_sliding_window", True)
        widths = self.values.get("attention_window")
        width = self.whole(
            "sliding_window", "local_attention", "window_size", "attention_window", "attention_chunk_size"
        )
        if isinstance(widths, list) and layer < len(widths) and type(widths[layer]) is int:
            width = widths[layer]
        return f"{width} tokens" if local and width else "some tokens" if local and layer < len(kinds) else ""


def _local_layers(values: dict[str, Any]) -> list[str]:
    """Return the kind of attention of each layer, where the settings list it."""
    listed = values.get("layer_types") or values.get("attention_layers")
    if isinstance(listed, list):
        return [str(kind) for kind in listed]
    kinds: list[str] = []
    types = values.get("attention_types")
    for group in types if isinstance(types, list) else []:
        if isinstance(group, list) and len(group) == 2 and isinstance(group[0], list) and type(group[1]) is int:
            kinds += [str(kind) for kind in group[0]] * min(max(group[1], 0), 10_000)
    return kinds


def read_config(path: Path) -> dict[str, Any]:
    """Return ``config.json`` beside a model file or in its folder; empty when there is none.

    Raises
    ------
    BadInputError
        If it is no JSON object.
    """
    beside = (path if path.is_dir() else path.parent) / "config.json"
    note_opened(beside)
    if not beside.exists():
        return {}
    record = read_json_value(beside)
    if not isinstance(record, dict):
        raise BadInputError(f"{beside} holds no JSON object")
    return record


def config_of(table: dict[str, Any], prefix: str) -> ModelConfig:
    """Return the settings of the part of a model whose tensors start with a prefix.

    A composite configuration has one table a part (``text_config``, ``vision_config``, ``encoder``); the prefix tells
    which is meant, and else the text is.
    """
    parts = {
        key: value
        for key, value in table.items()
        if isinstance(value, dict)
        and (key.endswith("_config") or key in ("encoder", "decoder"))
        and ("model_type" in value or any(name in value for name in _HEADS))
    }
    places = {key: _first_place(key.removesuffix("_config"), prefix) for key in parts}
    named = [key for key, place in places.items() if place >= 0]
    main = [key for key in _MAIN if key in parts and not any(word in prefix for word in (*_PARTS["vision"], "audio"))]
    chosen = min(named, key=places.__getitem__) if named else next(iter(main), None)
    part = parts[chosen] if chosen is not None else {}
    inner = part.get("attn_config") or table.get("attn_config")
    values = {**table, **part, **(inner if isinstance(inner, dict) else {})}
    types = [value.get("model_type") for value in (part, table)]
    return ModelConfig(values, tuple(dict.fromkeys(name for name in types if isinstance(name, str) and name)))


def _first_place(part: str, prefix: str) -> int:
    places = [prefix.find(word) for word in _PARTS.get(part, (part,))]
    return min((place for place in places if place >= 0), default=-1)
