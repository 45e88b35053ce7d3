"""Where the parts of a trained model are, family by family: module paths as data, no code of any model.

Paths begin at a block, except ``layers``, ``first`` and ``last``, which begin at the model.
"""

from dataclasses import dataclass
from typing import Any, Literal

from tokendyn.data import families as head_families
from tokendyn.data.attention_names import Scheme
from tokendyn.errors import BadInputError

#: How the sums of a block are built: ``x`` enters, ``A`` is the attention, ``F`` the feed-forward part, ``N`` a norm.
#: post: ``y = N1(x + A(x))``, ``N2(y + F(y))``. pre: ``y = x + A(N x)``, ``y + F(N2 y)``. parallel:
#: ``x + A(N x) + F(N2 x)``. sandwich: ``y = x + N1(A(N x))``, ``y + N2(F(N3 y))``.
Order = Literal["post", "pre", "parallel", "sandwich"]

#: What a score holds beside the bilinear form: nothing; a rotation of queries and keys by their places, which turns
#: a coordinate with the one half the width away, or with its neighbour (pairs); a term for the places of two tokens;
#: or products of tokens with codes of distances (disentangled).
Positions = Literal["none", "rotary", "rotary pairs", "relative", "alibi", "disentangled"]

#: Rows of a projection: one matrix each; Q, K, V one after the other; head by head; grouped as Falcon groups them.
Layout = Literal["separate", "stacked", "by head", "grouped"]


@dataclass(frozen=True, kw_only=True)
class Family:
    """Module paths of one family of models.

    Attributes
    ----------
    name
        For messages.
    model_types
        ``model_type`` of its configurations.
    layers
        The list of blocks; ``*`` stands for every number.
    attention
        The module that returns the attention weights.
    output
        The projection that takes the concatenated heads.
    feed_forward
        The module whose output the feed-forward part adds.
    projections
        The projections of Q, K and V, or the projection that holds all three.
    feed
        The modules that make the feed-forward part, one after the other.
    layout
        Of their rows of the projections.
    order
        How the sums are built.
    norm
        In front of the attention, for pre, parallel and sandwich; several are tried in turn.
    middle
        In front of the feed-forward part, likewise; one that is not there is left out.
    attention_norm, feed_forward_norm
        Norms of the sums (post) or of the added parts (sandwich).
    first
        For post: the norm whose output enters the first block, from the model; empty where there is none.
    last
        For the other orders: the norm behind the last block, from the model.
    positions
        What the score holds beside the bilinear form.
    part
        Part of the model that is meant, such as ``encoder``; several are tried in turn.
    asks
        Whether weights are returned only when ``output_attentions`` is set.
    term
        Argument by which the attention is given a term of the scores; empty where it returns it, or has none.
    term_is_scaled
        Whether that term is added before the scores are scaled.
    mask
        Meaning of the mask of an attention for a key: a number that is added to its score, 1 where it may be seen
        (keeps), or 1 where it may not (hides).
    """

    name: str
    model_types: frozenset[str]
    layers: str
    attention: str
    output: str
    feed_forward: str
    projections: tuple[str, ...]
    feed: tuple[str, ...]
    layout: Layout = "separate"
    order: Order = "pre"
    norm: tuple[str, ...] = ()
    middle: tuple[str, ...] = ()
    attention_norm: str = ""
    feed_forward_norm: str = ""
    first: str = ""
    last: str = ""
    positions: Positions = "none"
    part: tuple[str, ...] = ()
    asks: bool = False
    term: str = ""
    term_is_scaled: bool = False
    mask: Literal["added", "keeps", "hides"] = "added"


def _family(name: str, types: str, layers: str, attention: str, output: str, feed_forward: str, projections: str,
            feed: str, **more: Any) -> Family:  # fmt: skip
    """Return a family; words separated by blanks."""
    return Family(
        name=name, model_types=frozenset(types.split()), layers=layers, attention=attention, output=output,
        feed_forward=feed_forward, projections=tuple(projections.split()), feed=tuple(feed.split()), **more,
    )  # fmt: skip


_SEPARATE = "self_attn.q_proj self_attn.k_proj self_attn.v_proj"
_LLAMA = ("layers", "self_attn", "self_attn.o_proj", "mlp.down_proj", _SEPARATE, "mlp")
_HALF = ("encoder.layers", "self_attn", "self_attn.out_proj", "mlp.fc2", _SEPARATE, "mlp")
_BART = ("layers", "self_attn", "self_attn.out_proj", "fc2", _SEPARATE, "fc1 activation_fn fc2")
_BERT = (
    "encoder.layer", "attention.self", "attention.output.dense", "output.dense",
    "attention.self.query attention.self.key attention.self.value", "intermediate output.dense",
)  # fmt: skip

FAMILIES: tuple[Family, ...] = (
    _family(
        "BERT", "bert roberta camembert xlm-roberta electra data2vec-text rembert ernie", *_BERT, order="post",
        attention_norm="attention.output.LayerNorm", feed_forward_norm="output.LayerNorm", first="embeddings.LayerNorm",
    ),
    _family(
        "DistilBERT", "distilbert", "transformer.layer", "attention", "attention.out_lin", "ffn.lin2",
        "attention.q_lin attention.k_lin attention.v_lin", "ffn", order="post", attention_norm="sa_layer_norm",
        feed_forward_norm="output_layer_norm", first="embeddings.LayerNorm",
    ),
    _family(
        "MPNet", "mpnet", "encoder.layer", "attention.attn", "attention.attn.o", "output.dense",
        "attention.attn.q attention.attn.k attention.attn.v", "intermediate output.dense", order="post",
        attention_norm="attention.LayerNorm",
        feed_forward_norm="output.LayerNorm", first="embeddings.LayerNorm", positions="relative", asks=True,
        term="position_bias",
    ),
    _family(
        "DeBERTa", "deberta-v2", "encoder.layer", "attention.self", "attention.output.dense", "output.dense",
        "attention.self.query_proj attention.self.key_proj attention.self.value_proj", "intermediate output.dense",
        order="post", attention_norm="attention.output.LayerNorm", feed_forward_norm="output.LayerNorm",
        first="embeddings.LayerNorm", positions="disentangled", asks=True,
        mask="keeps",
    ),
    _family(
        "ALBERT", "albert", "encoder.albert_layer_groups.*.albert_layers.*", "attention", "attention.dense",
        "ffn_output", "attention.query attention.key attention.value", "ffn activation ffn_output", order="post",
        attention_norm="attention.LayerNorm", feed_forward_norm="full_layer_layer_norm",
    ),
    _family(
        "ModernBERT", "modernbert", "layers", "attn", "attn.Wo", "mlp.Wo", "attn.Wqkv", "mlp", layout="stacked",
        norm=("attn_norm",), middle=("mlp_norm",), last="final_norm", positions="rotary",
    ),
    _family(
        "ViT", "vit", "layers", "attention", "attention.o_proj", "mlp.fc2",
        "attention.q_proj attention.k_proj attention.v_proj", "mlp", norm=("layernorm_before",),
        middle=("layernorm_after",), last="layernorm",
    ),
    _family(
        "CLIP", "clip clip_text_model", *_HALF, norm=("layer_norm1",), middle=("layer_norm2",), last="final_layer_norm",
        part=("text_model", "vision_model"),
    ),
    _family(
        "CLIP, images", "clip_vision_model", *_HALF, norm=("layer_norm1",), middle=("layer_norm2",),
        last="post_layernorm",
    ),
    _family(
        "BART", "bart", *_BART, order="post", attention_norm="self_attn_layer_norm",
        feed_forward_norm="final_layer_norm", first="layernorm_embedding", part=("encoder", "decoder"),
    ),
    _family(
        "GPT-2", "gpt2", "h", "attn", "attn.c_proj", "mlp.c_proj", "attn.c_attn", "mlp", layout="stacked",
        norm=("ln_1",),
        middle=("ln_2",),
        last="ln_f",
    ),
    _family(
        "GPT-J", "gptj", "h", "attn", "attn.out_proj", "mlp.fc_out", "attn.q_proj attn.k_proj attn.v_proj", "mlp",
        order="parallel", norm=("ln_1",), middle=("ln_1",), last="ln_f", positions="rotary pairs",
    ),
    _family(
        "GPT-Neo", "gpt_neo", "h", "attn.attention", "attn.attention.out_proj", "mlp.c_proj",
        "attn.attention.q_proj attn.attention.k_proj attn.attention.v_proj", "mlp", norm=("ln_1",), middle=("ln_2",),
        last="ln_f",
    ),
    _family(
        "GPT-NeoX", "gpt_neox", "layers", "attention", "attention.dense", "mlp.dense_4h_to_h",
        "attention.query_key_value", "mlp", layout="by head", order="parallel", norm=("input_layernorm",),
        middle=("post_attention_layernorm",),
        last="final_layer_norm", positions="rotary",
    ),
    _family(
        "BLOOM", "bloom", "h", "self_attention", "self_attention.dense", "mlp.dense_4h_to_h",
        "self_attention.query_key_value", "mlp.dense_h_to_4h mlp.gelu_impl mlp.dense_4h_to_h", layout="by head",
        norm=("input_layernorm",), middle=("post_attention_layernorm",), last="ln_f", positions="alibi",
        term="alibi",
    ),
    _family(
        "OPT", "opt", "layers", "self_attn", "self_attn.out_proj", "fc2", _SEPARATE,
        "fc1 activation_fn fc2", norm=("self_attn_layer_norm",), middle=("final_layer_norm",),
        last="final_layer_norm", part=("decoder",),
    ),
    _family(
        "Phi", "phi", "layers", "self_attn", "self_attn.dense", "mlp.fc2", _SEPARATE, "mlp", order="parallel",
        norm=("input_layernorm",), middle=("input_layernorm",), last="final_layernorm", positions="rotary",
    ),
    _family(
        "Falcon", "falcon", "h", "self_attention", "self_attention.dense", "mlp.dense_4h_to_h",
        "self_attention.query_key_value", "mlp", layout="grouped", order="parallel",
        norm=("ln_attn", "input_layernorm"), middle=("ln_mlp", "post_attention_layernorm", "input_layernorm"),
        last="ln_f", positions="rotary", asks=True,
    ),
    _family(
        "MPT", "mpt", "blocks", "attn", "attn.out_proj", "ffn.down_proj", "attn.Wqkv",
        "ffn.up_proj ffn.act ffn.down_proj", layout="stacked", norm=("norm_1",), middle=("norm_2",), last="norm_f",
        positions="alibi", term="position_bias", mask="hides",
    ),
    _family(
        "LLaMA", "llama mistral qwen2 qwen3 gemma", *_LLAMA, norm=("input_layernorm",),
        middle=("post_attention_layernorm",),
        last="norm", positions="rotary",
    ),
    _family(
        "Gemma 2 and 3", "gemma2 gemma3_text", *_LLAMA, order="sandwich", norm=("input_layernorm",),
        middle=("pre_feedforward_layernorm",),
        attention_norm="post_attention_layernorm", feed_forward_norm="post_feedforward_layernorm", last="norm",
        positions="rotary",
    ),
    _family(
        "T5", "t5", "block", "layer.0.SelfAttention", "layer.0.SelfAttention.o", "layer.-1.DenseReluDense.wo",
        "layer.0.SelfAttention.q layer.0.SelfAttention.k layer.0.SelfAttention.v", "layer.-1.DenseReluDense",
        norm=("layer.0.layer_norm",), middle=("layer.-1.layer_norm",),
        last="final_layer_norm", positions="relative", part=("encoder", "decoder"),
    ),
)  # fmt: skip

_registered: dict[str, Family] = {}


def register_family(family: "Family | Scheme") -> None:
    """Register a family of models for :func:`tokendyn.inspect` and :func:`tokendyn.read_head` in this process.

    It is tried before the families of the library; one of the same name is replaced.

    Parameters
    ----------
    family
        A :class:`tokendyn.models.Family`, module paths for :func:`tokendyn.inspect`; or a
        :class:`tokendyn.data.families.Scheme`, names of tensors for :func:`tokendyn.read_head`.

    Raises
    ------
    BadInputError
        If it is neither, has the name of a family of the library, or names no model types.
    """
    if isinstance(family, Scheme):
        head_families.register_family(family)
        return
    if not isinstance(family, Family):
        raise BadInputError(
            f"family is {type(family).__name__}, expected a tokendyn.models.Family (module paths) or a "
            "tokendyn.data.families.Scheme (names of tensors)"
        )
    problems = ["the library has a family of this name"] if any(family.name == known.name for known in FAMILIES) else []
    problems += [] if family.model_types else ["it names no model types"]
    problems += [] if len(family.projections) in (1, 3) else ["projections are those of Q, K and V, or one for all"]
    if problems:
        raise BadInputError.all_of(f"family {family.name!r}", problems)
    _registered[family.name] = family


def family_of(model_type: str) -> Family | None:
    """Return the family of a model type; None for one that is not known."""
    known = (*reversed(_registered.values()), *FAMILIES)
    return next((family for family in known if model_type in family.model_types), None)
