"""Under which names model files keep the matrices of attention layers, and how the matrices are laid out."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from tokendyn.errors import BadInputError
from tokendyn.runs.bounded import read_toml

#: How Q, K and V lie in their tensors. ``separate``: one matrix each, (out, in). ``stacked``: Q over K over V.
#: ``interleaved``: for each head its Q, K, V. ``columns``: Q, K, V side by side, (in, out), as GPT-2 keeps them.
Layout = Literal["separate", "stacked", "interleaved", "columns"]

_KEYS = {"query", "key", "value", "fused", "output", "layout", "transposed", "heads", "key_value_heads"}


@dataclass(frozen=True)
class Scheme:
    """The names of one family of models; ``{layer}`` stands for the number of the layer.

    Attributes
    ----------
    name
        Of the family.
    layout
        How Q, K, V lie.
    inputs
        Names of the tensors: of Q, K, V, or of the one that holds all.
    output
        Name of the output projection O; empty for none.
    transposed
        Whether matrices are kept as (in, out).
    rotary
        Whether the model turns queries and keys by their positions, which a flow of tokens leaves out.
    heads, key_value_heads
        Numbers of heads that a mapping gives.
    exact
        Whether names must match from their first letter; else any prefix is allowed.
    """

    name: str
    layout: Layout
    inputs: tuple[str, ...]
    output: str
    transposed: bool = False
    rotary: bool = False
    heads: int | None = None
    key_value_heads: int | None = None
    exact: bool = False

    def layers(self, names: Iterable[str]) -> dict[int, set[str]]:
        """Return the layers found among names, each with the prefixes under which it was found."""
        pattern = re.escape(self.inputs[0]).replace(re.escape("{layer}"), r"(?P<layer>\d+)")
        found: dict[int, set[str]] = {}
        for name in names:
            match = re.fullmatch(("(?P<prefix>)" if self.exact else r"(?P<prefix>(?:.*\.)?)") + pattern, name)
            if match is not None:
                number = int(match["layer"]) if "layer" in match.groupdict() else 0
                found.setdefault(number, set()).add(match["prefix"])
        return found


def _separate(name: str, stem: str, parts: str, output: str, **more: Any) -> Scheme:
    return Scheme(name, "separate", tuple(stem + part + ".weight" for part in parts.split()), stem + output, **more)


SCHEMES: tuple[Scheme, ...] = (
    Scheme(
        "BERT", "separate",
        tuple(f"layer.{{layer}}.attention.self.{part}.weight" for part in ("query", "key", "value")),
        "layer.{layer}.attention.output.dense.weight",
    ),
    Scheme(
        "ViT", "separate",
        tuple(f"layer.{{layer}}.attention.attention.{part}.weight" for part in ("query", "key", "value")),
        "layer.{layer}.attention.output.dense.weight",
    ),
    _separate("DistilBERT", "layer.{layer}.attention.", "q_lin k_lin v_lin", "out_lin.weight"),
    Scheme("GPT-2", "columns", ("h.{layer}.attn.c_attn.weight",), "h.{layer}.attn.c_proj.weight", transposed=True),
    Scheme(
        "GPT-NeoX", "interleaved", ("layers.{layer}.attention.query_key_value.weight",),
        "layers.{layer}.attention.dense.weight", rotary=True,
    ),
    Scheme(
        "BLOOM", "interleaved", ("h.{layer}.self_attention.query_key_value.weight",),
        "h.{layer}.self_attention.dense.weight",
    ),
    _separate("LLaMA", "layers.{layer}.self_attn.", "q_proj k_proj v_proj", "o_proj.weight", rotary=True),
    _separate("OPT", "layers.{layer}.self_attn.", "q_proj k_proj v_proj", "out_proj.weight"),
    Scheme(
        "torch.nn.MultiheadAttention", "stacked", ("layers.{layer}.self_attn.in_proj_weight",),
        "layers.{layer}.self_attn.out_proj.weight",
    ),
    _separate("T5", "block.{layer}.layer.0.SelfAttention.", "q k v", "o.weight"),
)  # fmt: skip

#: Where models keep the embeddings of their tokens.
EMBEDDINGS = (
    "embeddings.word_embeddings.weight", "wte.weight", "embed_tokens.weight", "embed_in.weight", "shared.weight",
    "tok_embeddings.weight", "word_embeddings.weight",
)  # fmt: skip


def find_scheme(names: Iterable[str], source: str) -> tuple[Scheme, dict[int, set[str]]]:
    """Return the family whose names a model file has, and its layers.

    Raises
    ------
    BadInputError
        If no family fits.
    """
    known = sorted(names)
    fits = [(scheme, scheme.layers(known)) for scheme in SCHEMES]
    fits = [(scheme, layers) for scheme, layers in fits if layers]
    whole = [(scheme, layers) for scheme, layers in fits if _has_output(scheme, layers, set(known))]
    if whole or fits:
        return (whole or fits)[0]
    families = ", ".join(scheme.name for scheme in SCHEMES)
    some = ", ".join(known[:8]) + (f", ... ({len(known)} in all)" if len(known) > 8 else "")
    raise BadInputError(
        f"{source} names its attention like none of {families}; say which tensors hold Q, K, V with "
        f"--mapping FILE.toml (it holds: {some or 'nothing'})"
    )


def _has_output(scheme: Scheme, layers: Mapping[int, set[str]], known: set[str]) -> bool:
    layer, prefixes = next(iter(layers.items()))
    return any(prefix + scheme.output.format(layer=layer) in known for prefix in prefixes)


def read_mapping(path: str | Path) -> Scheme:
    """Read a scheme from a TOML file.

    Keys: ``query``, ``key``, ``value``, or ``fused`` with ``layout`` (``stacked``, ``interleaved`` or ``columns``);
    each a name with ``{layer}``. Optional: ``output``, ``transposed`` (matrices are (in, out)), ``heads``,
    ``key_value_heads``.

    Raises
    ------
    BadInputError
        For a file that is no TOML, unknown or missing keys.
    """
    table = read_toml(path)
    problems = [f"unknown key {key!r}; it may hold {', '.join(sorted(_KEYS))}" for key in sorted(table.keys() - _KEYS)]
    fused = "fused" in table
    wanted = ["fused"] if fused else ["query", "key", "value"]
    problems += [f"{name} is missing: the name of a tensor, with {{layer}}" for name in wanted if name not in table]
    problems += [
        f"{name} must be a name, got {table[name]!r}"
        for name in (*wanted, "output")
        if name in table and not isinstance(table[name], str)
    ]
    layout = table.get("layout", "stacked" if fused else "separate")
    if layout not in get_args(Layout) or (layout == "separate") == fused:
        problems.append(f"layout is {layout!r}; with fused it is stacked, interleaved or columns, else separate")
    for name in ("heads", "key_value_heads"):
        if name in table and not (type(table[name]) is int and table[name] > 0):
            problems.append(f"{name} must be a positive whole number, got {table[name]!r}")
    if problems:
        raise BadInputError.all_of(f"--mapping {path}", problems)
    return Scheme(
        Path(path).name, layout, tuple(table[name] for name in wanted), table.get("output", ""),
        bool(table.get("transposed", layout == "columns")), False, table.get("heads"), table.get("key_value_heads"),
        exact=True,
    )  # fmt: skip
