"""The families of models whose attention layers are read, and which of them a file belongs to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tokendyn.data.attention_names import Norm, Scheme
from tokendyn.data.model_config import ModelConfig, config_of
from tokendyn.errors import BadInputError


def _family(name: str, types: str, module: str, parts: str, output: str, *norms: Norm, **more: Any) -> Scheme:
    """Return a family with a matrix each for Q, K, V, whose names start alike."""
    inputs = tuple(f"{module}{part}.weight" for part in parts.split())
    layout = more.pop("layout", "separate")
    return Scheme(
        name=name,
        layout=layout,
        inputs=inputs,
        output=f"{module}{output}.weight",
        model_types=frozenset(types.split()),
        norms=norms,
        **more,
    )


def _rms(stem: str, offset: float = 0.0) -> Norm:
    return Norm(stem, centred=False, offset=offset)


def _after(stem: str, first: str) -> Norm:
    return Norm(stem, before=False, first=first)


_BERT = "layer.{layer}.attention."
_SELF = "layers.{layer}.self_attn."
_HEAD = "h.{layer}.attn."

#: In this order where names alone decide.
SCHEMES: tuple[Scheme, ...] = (
    _family(
        "BERT",
        "bert roberta camembert xlm-roberta electra layoutlm data2vec-text ernie rembert splinter bert-generation "
        "markuplm xmod roc_bert big_bird dpr longformer nezha",
        _BERT, "self.query self.key self.value", "output.dense",
        _after("layer.{layer}.output.LayerNorm", "embeddings.LayerNorm"),
    ),
    _family(
        "pre-norm BERT", "roberta-prelayernorm xlm-roberta-xl esm megatron-bert",
        _BERT, "self.query self.key self.value", "output.dense",
        Norm(_BERT + "LayerNorm"), Norm(_BERT + "self_attn_layer_norm"), Norm(_BERT + "ln"),
    ),
    _family(
        "ViT", "vit deit beit dinov2 dinov2_with_registers vit_mae vit_msn ijepa data2vec-vision yolos dpt",
        _BERT, "attention.query attention.key attention.value", "output.dense",
        Norm("layer.{layer}.layernorm_before"), Norm("layer.{layer}.norm1"),
    ),
    _family(
        "DeBERTa", "deberta-v2", _BERT, "self.query_proj self.key_proj self.value_proj", "output.dense",
        _after("layer.{layer}.output.LayerNorm", "embeddings.LayerNorm"), positions="relative",
    ),
    _family(
        "MPNet", "mpnet", _BERT, "attn.q attn.k attn.v", "attn.o",
        _after("layer.{layer}.output.LayerNorm", "embeddings.LayerNorm"), positions="relative",
    ),
    _family(
        "ALBERT", "albert", "albert_layer_groups.{layer}.attention.", "query key value", "dense",
        _after("albert_layer_groups.{layer}.full_layer_layer_norm", ""), slot=r"\d+\.albert_layers\.\d+",
    ),
    _family(
        "DistilBERT", "distilbert", _BERT, "q_lin k_lin v_lin", "out_lin",
        _after("layer.{layer}.output_layer_norm", "embeddings.LayerNorm"),
    ),
    _family(
        "XLM", "xlm flaubert", "attentions.{layer}.", "q_lin k_lin v_lin", "out_lin",
        _after("layer_norm2.{layer}", "layer_norm_emb"),
    ),
    _family(
        "ModernBERT", "modernbert", "layers.{layer}.attn.", "Wqkv", "Wo",
        Norm("layers.{layer}.attn_norm", first="embeddings.norm"), positions="rotary", layout="stacked",
    ),
    _family(
        "Nomic BERT", "nomic_bert", "layers.{layer}.attn.", "Wqkv", "out_proj",
        _after("layers.{layer}.norm2", "emb_ln"), positions="rotary", layout="stacked",
    ),
    _family(
        "GPT-2", "gpt2 decision_transformer", _HEAD, "c_attn", "c_proj", Norm("h.{layer}.ln_1"),
        layout="columns", transposed=True, causal=True,
    ),
    _family(
        "ImageGPT", "imagegpt", _HEAD, "c_attn", "c_proj", _rms("h.{layer}.ln_1"),
        layout="columns", transposed=True, causal=True,
    ),
    _family(
        "GPT", "openai-gpt", _HEAD, "c_attn", "c_proj", _after("h.{layer}.ln_2", ""),
        layout="columns", transposed=True, causal=True,
    ),
    _family(
        "GPT-BigCode", "gpt_bigcode", _HEAD, "c_attn", "c_proj", Norm("h.{layer}.ln_1"),
        layout="interleaved", causal=True,
    ),
    _family(
        "Qwen 1", "qwen", _HEAD, "c_attn", "c_proj", _rms("h.{layer}.ln_1"),
        layout="stacked", positions="rotary", causal=True,
    ),
    _family("GPT-J", "gptj", _HEAD, "q_proj k_proj v_proj", "out_proj", Norm("h.{layer}.ln_1"), positions="rotary",
            causal=True),
    _family("GPT-Neo", "gpt_neo", _HEAD + "attention.", "q_proj k_proj v_proj", "out_proj", Norm("h.{layer}.ln_1"),
            causal=True),
    _family("CTRL", "ctrl", "h.{layer}.multi_head_attention.", "Wq Wk Wv", "dense", Norm("h.{layer}.layernorm1"),
            causal=True),
    _family(
        "GPT-NeoX", "gpt_neox", "layers.{layer}.attention.", "query_key_value", "dense",
        Norm("layers.{layer}.input_layernorm"), layout="interleaved", positions="rotary", causal=True,
    ),
    _family(
        "BLOOM", "bloom", "h.{layer}.self_attention.", "query_key_value", "dense", Norm("h.{layer}.input_layernorm"),
        layout="interleaved", positions="alibi", causal=True,
    ),
    _family(
        "Falcon", "falcon RefinedWeb RefinedWebModel", "h.{layer}.self_attention.", "query_key_value", "dense",
        Norm("h.{layer}.ln_attn"), Norm("h.{layer}.input_layernorm"), layout="interleaved", positions="rotary",
        causal=True,
    ),
    _family(
        "ChatGLM", "chatglm", "layers.{layer}.self_attention.", "query_key_value", "dense",
        _rms("layers.{layer}.input_layernorm"), layout="stacked", positions="rotary", causal=True,
    ),
    _family(
        "MPT", "mpt", "blocks.{layer}.attn.", "Wqkv", "out_proj", Norm("blocks.{layer}.norm_1"), layout="stacked",
        causal=True,
    ),
    _family(
        "InternLM2", "internlm2", "layers.{layer}.attention.", "wqkv", "wo", _rms("layers.{layer}.attention_norm"),
        layout="interleaved", positions="rotary", causal=True,
    ),
    _family(
        "LLaMA",
        "llama mistral mixtral ministral qwen2 qwen2_moe qwen3 qwen3_moe qwen2_vl_text qwen2_5_vl_text granite "
        "granitemoe olmoe smollm3 arcee seed_oss ernie4_5 glm glm4 deepseek gpt_oss exaone4 hunyuan_v1_dense "
        "llama4_text mllama_text_model minicpm helium yi qwen2_vl qwen2_5_vl",
        _SELF, "q_proj k_proj v_proj", "o_proj", _rms("layers.{layer}.input_layernorm"), positions="rotary",
        causal=True,
    ),
    _family(
        "Gemma", "gemma gemma2 gemma3 gemma3_text vaultgemma t5gemma", _SELF, "q_proj k_proj v_proj", "o_proj",
        _rms("layers.{layer}.input_layernorm", 1.0), _rms("layers.{layer}.pre_self_attn_layernorm", 1.0),
        positions="rotary", causal=True,
    ),
    _family(
        "LLaMA with LayerNorm", "stablelm starcoder2 cohere cohere2 phimoe", _SELF, "q_proj k_proj v_proj",
        "o_proj", Norm("layers.{layer}.input_layernorm"), positions="rotary", causal=True,
    ),
    _family(
        "OLMo", "olmo", _SELF, "q_proj k_proj v_proj", "o_proj", Norm("", centred=True), positions="rotary",
        causal=True,
    ),
    _family(
        "Nemotron", "nemotron", _SELF, "q_proj k_proj v_proj", "o_proj",
        Norm("layers.{layer}.input_layernorm", offset=1.0), positions="rotary", causal=True,
    ),
    _family("EuroBERT", "eurobert", _SELF, "q_proj k_proj v_proj", "o_proj", _rms("layers.{layer}.input_layernorm"),
            positions="rotary"),
    _family(
        "Phi", "phi", _SELF, "q_proj k_proj v_proj", "dense", Norm("layers.{layer}.input_layernorm"),
        positions="rotary", causal=True,
    ),
    _family(
        "Phi-3", "phi3", _SELF, "qkv_proj", "o_proj", _rms("layers.{layer}.input_layernorm"), layout="stacked",
        positions="rotary", causal=True,
    ),
    _family(
        "Baichuan", "baichuan", _SELF, "W_pack", "o_proj", _rms("layers.{layer}.input_layernorm"), layout="stacked",
        causal=True,
    ),
    _family(
        "Persimmon", "persimmon", _SELF, "query_key_value", "dense", Norm("layers.{layer}.input_layernorm"),
        layout="interleaved", positions="rotary", causal=True,
    ),
    _family(
        "original LLaMA", "", "layers.{layer}.attention.", "wq wk wv", "wo", _rms("layers.{layer}.attention_norm"),
        positions="rotary", causal=True,
    ),
    _family(
        "OPT", "opt xglm biogpt mbart pegasus m2m_100 nllb whisper blenderbot speech_to_text", _SELF,
        "q_proj k_proj v_proj", "out_proj", Norm("layers.{layer}.self_attn_layer_norm"),
    ),
    _family(
        "BART", "bart marian blenderbot-small plbart mvp trocr", _SELF, "q_proj k_proj v_proj", "out_proj",
        _after("layers.{layer}.final_layer_norm", "layernorm_embedding"),
    ),
    _family(
        "CLIP", "clip clip_text_model clip_vision_model siglip siglip_text_model siglip_vision_model idefics2_vision "
        "clipseg chinese_clip_vision_model", _SELF, "q_proj k_proj v_proj", "out_proj",
        Norm("layers.{layer}.layer_norm1"),
    ),
    Scheme(
        name="torch.nn.MultiheadAttention", layout="stacked", inputs=("layers.{layer}.self_attn.in_proj_weight",),
        output="layers.{layer}.self_attn.out_proj.weight",
    ),
    _family(
        "T5", "t5 mt5 umt5 longt5 switch_transformers pop2piano udop", "block.{layer}.layer.0.SelfAttention.",
        "q k v", "o", _rms("block.{layer}.layer.0.layer_norm"), positions="relative",
    ),
    _family(
        "timm ViT", "qwen2_vl qwen2_5_vl", "blocks.{layer}.attn.", "qkv", "proj", Norm("blocks.{layer}.norm1"),
        layout="stacked",
    ),
)  # fmt: skip

#: Families whose decoders alone are causal, and those that have no encoder.
CAUSAL_TYPES = frozenset({"opt", "xglm", "biogpt", "clip_text_model"})

#: Where models keep the embeddings of their tokens.
EMBEDDINGS = (
    "embeddings.word_embeddings.weight", "wte.weight", "embed_tokens.weight", "embed_in.weight", "shared.weight",
    "tok_embeddings.weight", "word_embeddings.weight", "embeddings.tok_embeddings.weight", "word_embedding.weight",
    "token_embedding.weight", "w.weight", "tokens_embed.weight", "embeddings.weight",
)  # fmt: skip

#: Ends of names that quantised files have in place of weights.
_QUANTISED = (".qweight", ".qzeros", ".weight_packed", ".weight_quantized", ".B_scale", ".blocks")


@dataclass(frozen=True)
class Recognised:
    """The attention layers of a model file.

    Attributes
    ----------
    scheme
        The family.
    prefix
        What stands in front of its names.
    slots
        What stands for each layer in the names.
    config
        Settings of this part of the model.
    note
        How the family was recognised when its own configuration does not say it; empty otherwise.
    """

    scheme: Scheme
    prefix: str
    slots: Mapping[int, str]
    config: ModelConfig
    note: str = ""


_registered: dict[str, Scheme] = {}


def register_family(scheme: Scheme) -> None:
    """Register a family of models for :func:`tokendyn.data.weights.read_head` in this process.

    It is tried before the families of the library; one of the same name is replaced.

    Parameters
    ----------
    scheme
        Names and layout of the matrices.

    Raises
    ------
    BadInputError
        If the name is that of a family of the library, or ``{layer}`` is not in the name of a matrix.
    """
    if not isinstance(scheme, Scheme):
        raise BadInputError(f"scheme is {type(scheme).__name__}, expected a tokendyn.data.families.Scheme")
    problems = ["the library has a family of this name"] if any(scheme.name == known.name for known in SCHEMES) else []
    problems += [f"{name!r} has no {{layer}} in it" for name in scheme.inputs if "{layer}" not in name]
    if problems:
        raise BadInputError.all_of(f"family {scheme.name!r}", problems)
    _registered[scheme.name] = scheme


def known_families() -> tuple[Scheme, ...]:
    """Return the families that names are held against: those of the user first."""
    return (*_registered.values(), *SCHEMES)


def recognise(
    names: Iterable[str], table: dict[str, Any], source: str, prefix: str = "", scheme: Scheme | None = None
) -> Recognised:
    """Return the family of a model file: by ``model_type`` of its configuration, and then by its names.

    Parameters
    ----------
    names
        Of all tensors.
    table
        ``config.json``; empty for none.
    source
        The file, for messages.
    prefix
        Only tensors whose names start with it.
    scheme
        The one family to try, of a mapping.

    Raises
    ------
    BadInputError
        If no family fits, several parts of the model do, or the order of Q, K and V in one tensor is not known.
    """
    known = _below(sorted(names), prefix, source)
    schemes = known_families() if scheme is None else (scheme,)
    parts: dict[str, list[tuple[Scheme, list[str]]]] = {}
    for candidate in schemes:
        slots_of: dict[str, list[str]] = {}
        for slot, prefixes in candidate.layers(known).items():
            for part in prefixes:
                slots_of.setdefault(part, []).append(slot)
        for part, slots in slots_of.items():
            parts.setdefault(part, []).append((candidate, slots))
    if not parts:
        raise _unknown(known, source, scheme)
    chosen: dict[str, tuple[bool, Recognised]] = {}
    refused: list[BadInputError] = []
    for part, fits in parts.items():
        try:
            chosen[part] = _fitting(fits, set(known), part, table, source, scheme)
        except BadInputError as error:
            refused.append(error)
    if not chosen:
        raise refused[0]
    # A part with a whole layer counts before one that shares no more than the first name with a family.
    best = max(whole for whole, _ in chosen.values())
    left = {part: fit for part, (whole, fit) in chosen.items() if whole == best}
    if len(left) > 1:
        shown = ", ".join(f"prefix={part!r} ({fit.scheme.name})" for part, fit in sorted(left.items()))
        raise BadInputError(f"{source} has attention layers in several parts; say which: {shown}")
    return next(iter(left.values()))


def _below(names: list[str], prefix: str, source: str) -> list[str]:
    wanted = prefix if not prefix or prefix.endswith(".") else prefix + "."
    below = [name for name in names if name.startswith(wanted)]
    if names and not below:
        starts = sorted({".".join(name.split(".")[:2]) for name in names})[:8]
        raise BadInputError(
            f"{source} has no tensor whose name starts with prefix={wanted!r} (there are {', '.join(starts)})"
        )
    return below


def _fitting(
    fits: list[tuple[Scheme, list[str]]], known: set[str], part: str, table: dict[str, Any], source: str,
    mapped: Scheme | None,
) -> tuple[bool, Recognised]:  # fmt: skip
    """Return whether the layers of one part are whole, and how they are read."""
    config = config_of(table, part)
    typed = [(scheme, slots) for scheme, slots in fits if config.has_type(*scheme.model_types)]
    candidates = typed or fits
    whole = [(scheme, slots) for scheme, slots in candidates if _has_output(scheme, slots[0], part, known)]
    scheme, slots = (whole or candidates)[0]
    note = ""
    if mapped is None and not typed:
        kind = " and ".join(config.model_types)
        if kind and scheme.layout != "separate":
            raise BadInputError(
                f"{source}: the order of Q, K and V in {part}{scheme.inputs[0]} is not known for model_type {kind}; "
                "say it with mapping='FILE.toml'"
            )
        reason = f"model_type {kind} is not among the families that are known" if kind else "no model_type is given"
        note = f"{reason}: read as {scheme.name}, by the names of its tensors"
        rivals = [s for s, _ in (whole or candidates) if s.norms != scheme.norms]
        if rivals and scheme.name == "OPT":
            # These names stand for norms before and after the attention alike.
            scheme = replace(scheme, norms=())
    if scheme.name == "ChatGLM" and not config.flag("multi_query_attention", False):
        scheme = replace(scheme, layout="interleaved")
    return bool(whole), Recognised(
        scheme=scheme, prefix=part, slots=_numbered(scheme, slots, config), config=config, note=note
    )


def _has_output(scheme: Scheme, slot: str, prefix: str, known: set[str]) -> bool:
    return prefix + scheme.output.replace("{layer}", slot) in known


def _numbered(scheme: Scheme, slots: list[str], config: ModelConfig) -> dict[int, str]:
    """Return what stands for each layer; layers that share matrices are counted as they are run."""
    if scheme.slot == r"\d+":
        return {int(slot): slot for slot in slots}
    order = sorted(slots, key=lambda slot: [int(word) for word in slot.split(".") if word.isdigit()])
    groups = config.whole("num_hidden_groups") or 1
    inner = config.whole("inner_group_num") or 1
    layers = config.whole("num_hidden_layers") or groups
    if groups * inner != len(order) or layers * inner > 100_000:
        return dict(enumerate(order))
    # Run r of the stack is inner layer r % inner of the group to which hidden layer r // inner belongs.
    return {run: order[(run // inner) * groups // layers * inner + run % inner] for run in range(layers * inner)}


def _unknown(known: list[str], source: str, mapped: Scheme | None) -> BadInputError:
    some = ", ".join(known[:8]) + (f", ... ({len(known)} in all)" if len(known) > 8 else "")
    if mapped is not None:
        return BadInputError(f"{source} has no tensor {mapped.inputs[0]} of mapping={mapped.name!r} (it holds: {some})")
    if any(name.endswith(_QUANTISED) for name in known):
        return BadInputError(f"{source} holds quantised weights ({some}); give the model with float weights")
    families = ", ".join(scheme.name for scheme in known_families())
    return BadInputError(
        f"{source} names its attention like none of {families}; say which tensors hold Q, K, V with "
        f"mapping='FILE.toml' (it holds: {some or 'nothing'})"
    )
