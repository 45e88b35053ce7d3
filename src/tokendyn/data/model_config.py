"""What ``config.json`` beside a model says of its attention: numbers of heads, the scale of scores, what else acts."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokendyn.errors import BadInputError
from tokendyn.runs.bounded import read_json_value
from tokendyn.runs.opened import note_opened

_HEADS = (
    "num_attention_heads", "n_head", "num_heads", "n_heads", "attention_heads", "encoder_attention_heads",
)  # fmt: skip

#: Most bytes of ``config.json``: a list of empty lists takes twenty times its length in memory.
MOST_CONFIG_BYTES = 16 * 2**20

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
_MULTIPLIERS = (
    "key_multiplier", "attention_in_multiplier", "attention_out_multiplier", "residual_multiplier", "scale_depth",
)  # fmt: skip


#: Layers whose kinds are listed: a configuration may repeat a list without an end.
_MOST_LAYERS = 10_000

#: Numbers beyond it are mistakes.
_LARGEST = 1e300


def _wrong(name: str, value: object, expected: str) -> BadInputError:
    return BadInputError(f"config.json: {name} is {str(value)[:40]!r}; expected {expected}")


@dataclass(frozen=True)
class ModelConfig:
    """The configuration of one part of a model; every value is checked on access.

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
        """Return the first of the settings that is given as a positive whole number; lists, one a layer, are not."""
        values = (self._checked(name, "a whole number") for name in names)
        return next((int(value) for value in values if value is not None and value > 0), None)

    def count(self, *names: str) -> int | None:
        """Return the first of the settings that is given, as a number of things; zero is refused."""
        for name in names:
            value = self._checked(name, "a whole number above 0")
            if value is not None and value <= 0:
                raise _wrong(name, value, "a whole number above 0")
            if value is not None:
                return int(value)
        return None

    def number(self, *names: str) -> float | None:
        """Return the first of the settings that is given as a number; one that is not positive is refused."""
        for name in names:
            value = self._checked(name, "a number above 0")
            if value is not None and value <= 0:
                raise _wrong(name, value, "a number above 0")
            if value is not None:
                return float(value)
        return None

    def _checked(self, name: str, expected: str) -> int | float | None:
        """Return a setting that is a number, None when there is none; what only looks like one is refused."""
        value = self.values.get(name)
        if value is None or isinstance(value, list | dict):
            return None
        fits = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST
        if not fits or ("whole" in expected and value != int(value)):
            raise _wrong(name, value, expected)
        return value if isinstance(value, int) else float(value)

    def flag(self, name: str, default: bool) -> bool:
        """Return a setting that is true or false."""
        value = self.values.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or value in (0, 1):
            return bool(value)
        raise _wrong(name, value, "true or false")

    def has_type(self, *names: str) -> bool:
        """Return whether the family is one of the names."""
        return any(name in self.model_types for name in names)

    def heads(self, prefix: str) -> int | None:
        """Return the number of query heads; None when it is not given."""
        first = ("decoder_attention_heads",) if "decoder" in prefix else ()
        return self.count(*first, *_HEADS)

    def key_value_heads(self, heads: int) -> int:
        """Return the number of key and value heads for a number of query heads."""
        if self.has_type(*_MULTI_QUERY):
            if self.flag("new_decoder_architecture", False):
                return self.count("num_kv_heads", "n_head_kv", "num_key_value_heads") or heads
            return 1 if self.flag("multi_query", True) else heads
        if self.has_type("chatglm") and self.flag("multi_query_attention", False):
            return self.count("multi_query_group_num") or heads
        if self.values.get("attn_type") == "multiquery_attention":
            return 1
        return self.count("num_key_value_heads", "num_kv_heads", "n_kv_heads", "kv_n_heads") or heads

    def scale(self, head_dim: int, layer: int) -> tuple[float, str]:
        """Return the factor of ``<q, k>`` in the exponent, and its formula.

        Rotary embeddings that are stretched to longer texts (YaRN, LongRoPE) multiply queries and keys alike.
        """
        scale, formula = self._plain_scale(head_dim, layer)
        turned = self._rotary_factor(layer)
        if turned == 1 or self._turns_a_part():
            return scale, formula
        return scale * turned**2, f"{formula} times {turned:.4g}^2 of the rotary embedding"

    def _turns_a_part(self) -> bool:
        parts = ("partial_rotary_factor", "rotary_pct")
        nested = self.values.get("rope_parameters")
        return any((self.number(name) or 1) < 1 for name in parts) or (
            isinstance(nested, dict) and (ModelConfig(nested, ()).number(*parts) or 1) < 1
        )

    def _rotary_factor(self, layer: int) -> float:
        """Return by what stretched rotary embeddings multiply queries and keys."""
        table = self.values.get("rope_parameters") or self.values.get("rope_scaling")
        kinds = _local_layers(self.values)
        if isinstance(table, dict) and layer < len(kinds) and isinstance(table.get(kinds[layer]), dict):
            table = table[kinds[layer]]
        if not isinstance(table, dict):
            return 1.0
        stretch = ModelConfig(self.values | table, ())
        kind = table.get("rope_type") or table.get("type")
        attention_factor = stretch.number("attention_factor", "short_mscale")
        before, after = stretch.number("original_max_position_embeddings"), self.number("max_position_embeddings")
        factor = stretch.number("factor") or (after / before if after and before else 1.0)
        if kind == "yarn":
            steep, whole = stretch.number("mscale"), stretch.number("mscale_all_dim")
            own = _yarn(factor, steep) / _yarn(factor, whole) if steep and whole else _yarn(factor, 1.0)
        elif kind in ("longrope", "su"):
            factor = after / before if after and before else factor
            base = before or after or 1.0
            own = math.sqrt(1 + math.log(factor) / math.log(base)) if factor > 1 and base > 1 else 1.0
        else:
            return 1.0
        return attention_factor or own

    def _plain_scale(self, head_dim: int, layer: int) -> tuple[float, str]:
        if self.has_type(*_UNSCALED):
            return 1.0, "1"
        scalar = self.number("query_pre_attn_scalar")
        if scalar is not None:
            return scalar**-0.5, f"1/sqrt({scalar:g}) of query_pre_attn_scalar"
        for name in ("attention_multiplier", "softmax_scale"):
            factor = self.number(name)
            if factor is not None:
                return factor, f"{factor:g} of {name}"
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
        return any(self.flag(name, self.has_type("llama4_text") and name == "use_qk_norm") for name in _QK_NORM)

    def notes(self, layer: int) -> list[str]:
        """Return what acts in the layer beside the matrices, one sentence each."""
        sentences = []
        for name, value in sorted(self.values.items()):
            if re.match(r"(attn|attention)_.*cap", name) and type(value) in (int, float) and value > 0:
                sentences.append(f"scores are capped at {value:g} ({name}), which is left out")
        window = self._window(layer)
        if window:
            sentences.append(f"the layer sees a sliding window of {window} only; here every token sees all")
        turned = self._rotary_factor(layer)
        if turned != 1 and self._turns_a_part():
            sentences.append(f"the rotary embedding multiplies a part of each query and key by {turned:.4g}: left out")
        if self.number("clip_qkv") is not None:
            sentences.append(f"queries, keys and values are clipped at {self.number('clip_qkv'):g}, which is left out")
        if self.flag("attn_temperature_tuning", False):
            sentences.append("the temperature changes with the position (attn_temperature_tuning), which is left out")
        if self.has_type(*_NORMALISED_OUTPUT):
            sentences.append("the output of the attention is normalised before it is added, which is left out")
        factors = {name: self.number(name) for name in _MULTIPLIERS}
        shown = ", ".join(f"{name} {value:g}" for name, value in factors.items() if value not in (None, 1.0))
        if shown:
            sentences.append(f"factors of the model are left out: {shown}")
        return sentences

    def positions(self) -> set[str]:
        """Return how positions enter the scores, as far as the settings tell: ``alibi``, ``relative``, ``rotary``."""
        kind = str(self.values.get("position_embedding_type")).lower()
        kinds = set()
        if self.has_type("baichuan"):  # the small model turns, the large one penalises, and has no such setting
            kinds.add("rotary" if "max_position_embeddings" in self.values else "alibi")
        if self.flag("alibi", self.has_type("mpt")) or self.flag("use_alibi", False) or kind == "alibi":
            kinds.add("alibi")
        if kind.startswith("relative") or self.flag("relative_attention", False):
            kinds.add("relative")
        if kind in ("rotary", "rope"):
            kinds.add("rotary")
        return kinds

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


def _yarn(factor: float, steep: float) -> float:
    return 0.1 * steep * math.log(factor) + 1 if factor > 1 else 1.0


def _local_layers(values: dict[str, Any]) -> list[str]:
    """Return the kind of attention of each layer, where the settings list it."""
    listed = values.get("layer_types") or values.get("attention_layers")
    if isinstance(listed, list):
        return [str(kind) for kind in listed]
    kinds: list[str] = []
    types = values.get("attention_types")
    for group in types if isinstance(types, list) else []:
        if isinstance(group, list) and len(group) == 2 and isinstance(group[0], list) and type(group[1]) is int:
            many = min(group[1], (_MOST_LAYERS - len(kinds)) // max(len(group[0]), 1))
            kinds += [str(kind) for kind in group[0]] * max(many, 0)
    return kinds


def read_config(path: Path) -> dict[str, Any]:
    """Return ``config.json`` beside a model file or in its folder; empty when there is none.

    Raises
    ------
    BadInputError
        If it is not a JSON object.
    """
    beside = (path if path.is_dir() else path.parent) / "config.json"
    note_opened(beside)
    if not beside.exists():
        return {}
    record = read_json_value(beside, MOST_CONFIG_BYTES)
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
    offsets = {key: _first_place(key.removesuffix("_config"), prefix) for key in parts}
    named = [key for key, offset in offsets.items() if offset >= 0]
    main = [key for key in _MAIN if key in parts and not any(word in prefix for word in (*_PARTS["vision"], "audio"))]
    chosen = min(named, key=offsets.__getitem__) if named else next(iter(main), None)
    part = parts[chosen] if chosen is not None else {}
    inner = part.get("attn_config") or table.get("attn_config")
    values = {**table, **part, **(inner if isinstance(inner, dict) else {})}
    types = [value.get("model_type") for value in (part, table)]
    return ModelConfig(values, tuple(dict.fromkeys(name for name in types if isinstance(name, str) and name)))


def _first_place(part: str, prefix: str) -> int:
    offsets = [prefix.find(word) for word in _PARTS.get(part, (part,))]
    return min((offset for offset in offsets if offset >= 0), default=-1)
