"""Under which names model files keep the matrices of attention layers, and how the matrices are laid out."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from tokendyn.errors import BadInputError
from tokendyn.runs.bounded import read_toml

#: How Q, K and V lie in their tensors. ``separate``: one matrix each, (out, in). ``stacked``: Q over K over V of all
#: heads. ``interleaved``: for each key and value head its queries, its key, its value. ``columns``: Q, K, V side by
#: side, (in, out), as GPT-2 keeps them.
Layout = Literal["separate", "stacked", "interleaved", "columns"]

_KEYS = {"query", "key", "value", "fused", "output", "layout", "transposed", "heads", "key_value_heads"}


@dataclass(frozen=True)
class Norm:
    """The normalisation whose output a layer's attention reads.

    Attributes
    ----------
    stem
        Name of its tensors without ``.weight`` and ``.bias``; ``{layer}`` represents the number of the layer. Empty for
        a norm without gain and bias, which has no tensors.
    centred
        Whether it subtracts the mean (LayerNorm), which RMSNorm does not.
    offset
        What is added to the stored gain: 1 for families that store the gain less one.
    before
        Whether it stands in front of the attention, so that the stream itself is not normalised. Otherwise it ends a
        layer, and the layer after it reads its output.
    first
        For norms that end a layer: the stem of the one before layer 0.
    """

    stem: str
    centred: bool = True
    offset: float = 0.0
    before: bool = True
    first: str = ""


@dataclass(frozen=True)
class Scheme:
    """The names of one family of models; ``{layer}`` represents the number of the layer.

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
    model_types
        The ``model_type`` of ``config.json`` of the models that are read this way.
    norms
        The normalisation that the attention reads; the first whose gain is in the file.
    positions
        How positions enter scores, which a flow of tokens leaves out: ``rotary``, ``alibi``, ``relative`` or nothing.
    causal
        Whether tokens see those before them only.
    transposed
        Whether matrices are kept as (in, out).
    heads, key_value_heads
        Numbers of heads that a mapping gives.
    exact
        Whether names must match from their first letter; else any prefix is allowed.
    slot
        Pattern of what ``{layer}`` stands for; other than a number for families whose layers share matrices.
    """

    name: str
    layout: Layout
    inputs: tuple[str, ...]
    output: str
    model_types: frozenset[str] = frozenset()
    norms: tuple[Norm, ...] = ()
    positions: str = ""
    causal: bool = False
    transposed: bool = False
    heads: int | None = None
    key_value_heads: int | None = None
    exact: bool = False
    slot: str = r"\d+"

    def layers(self, names: Iterable[str]) -> dict[str, set[str]]:
        """Return what represents the layer in the names that fit, each with the prefixes under which it was found."""
        first, mark, rest = re.escape(self.inputs[0]).partition(re.escape("{layer}"))
        pattern = first + (f"(?P<layer>{self.slot})" if mark else "") + rest.replace(re.escape("{layer}"), "(?P=layer)")
        whole = re.compile(("(?P<prefix>)" if self.exact else r"(?P<prefix>(?:.*\.)?)") + pattern)
        ending = self.inputs[0].rpartition("{layer}")[2]  # a file may hold 100,000 names; most are passed over here
        prefixes: dict[str, set[str]] = {}
        for name in names:
            match = whole.fullmatch(name) if name.endswith(ending) else None
            if match is not None:
                prefixes.setdefault(match["layer"] if "layer" in match.groupdict() else "0", set()).add(match["prefix"])
        return prefixes

    @property
    def module(self) -> str:
        """Stem of the names of a layer: everything up to its number."""
        return self.inputs[0].partition("{layer}")[0] + "{layer}." if "{layer}" in self.inputs[0] else ""


def bias_of(name: str) -> str:
    """Return the name of the bias that belongs to a matrix."""
    if name.endswith("_weight"):
        return name.removesuffix("_weight") + "_bias"
    return name.removesuffix("weight") + "bias" if name.endswith("weight") else name + ".bias"


def read_mapping(path: str | Path) -> Scheme:
    """Read a scheme from a TOML file.

    Keys: ``query``, ``key``, ``value``, or ``fused`` with ``layout`` (``stacked``, ``interleaved`` or ``columns``, see
    :data:`Layout`); each a name with ``{layer}``. Optional: ``output``, ``transposed`` (matrices are (in, out)),
    ``heads``, ``key_value_heads``.

    Raises
    ------
    BadInputError
        For a file that is not TOML, unknown or missing keys.
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
    if not isinstance(table.get("transposed", False), bool):
        problems.append(f"transposed must be true or false, got {table['transposed']!r}")
    for name in ("heads", "key_value_heads"):
        if name in table and not (type(table[name]) is int and table[name] > 0):
            problems.append(f"{name} must be a positive whole number, got {table[name]!r}")
    if problems:
        raise BadInputError.all_of(str(path), problems)
    return Scheme(
        name=Path(path).name, layout=layout, inputs=tuple(table[name] for name in wanted),
        output=table.get("output", ""),
        transposed=bool(table.get("transposed", layout == "columns")), heads=table.get("heads"),
        key_value_heads=table.get("key_value_heads"), exact=True,
    )  # fmt: skip
