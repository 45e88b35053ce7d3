"""The tables of the page of a model: columns in groups, a mean and its error in one cell, words for each head."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tokendyn.metrics.attention import LEADS
from tokendyn.models.measures import CUTS
from tokendyn.models.motion import PARTS
from tokendyn.models.verdict import number
from tokendyn.show.report import Cell, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from tokendyn.models.inspection import Inspection

#: Heads that the page lists; ``heads.csv`` has all.
_ROWS = 400
#: Effective keys over all keys, above which a head is called even.
_EVEN = 0.8
#: Share of attention that goes to sinks, above which a head is called idle.
_IDLE = 0.5


@dataclass(frozen=True)
class _Column:
    """A column of a table: its name, the column of the data, how numbers are shown, and the column of the errors."""

    name: str
    source: str
    digits: int = 2
    factor: float = 1.0
    error: str = ""

    def cell(self, row: "pd.Series") -> Cell:
        value = row[self.source]
        if isinstance(value, str):
            return Cell(value)
        text = _shown(self.factor * float(value), self.digits)
        error = self.factor * float(row[self.error]) if self.error in row.index else float("nan")
        return Cell(text if np.isnan(error) else f"{text} ± {_shown(error, self.digits)}", number=True)


def _shown(value: float, digits: int) -> str:
    return "–" if np.isnan(value) else number(value, digits)


def _table(frame: "pd.DataFrame", groups: "Sequence[tuple[str, Sequence[_Column]]]", heading: str, note: str) -> Table:
    """Return the columns that the data have, under the headings of their groups."""
    known = [(name, [column for column in columns if column.source in frame]) for name, columns in groups]
    known = [(name, columns) for name, columns in known if columns]
    columns = [column for _, group in known for column in group]
    rows = [[column.cell(row) for column in columns] for _, row in frame.iterrows()]
    return Table(
        rows, heading, columns=[column.name for column in columns], note=note, most_rows=_ROWS,
        groups=[(name, len(group)) for name, group in known],
    )  # fmt: skip


def layers_table(inspection: "Inspection") -> Table:
    """Return gathering, cosines, rank and clusters of each layer, each beside its null."""
    runs = [
        _Column(name, key, 3, error=f"{key}, error")
        for name in inspection.within
        for key in ["gathering" if name == "model" else f"gathering, {name}"]
    ]
    counts = []
    for cut in CUTS:
        key = f"clusters / tokens at {cut:g}"
        counts += [_Column(f"at {cut:g}", key), _Column("mixed texts", f"{key}, mixed texts")]
    groups = [
        ("", [_Column("layer", "layer", 0)]),
        ("Gathering", runs),
        ("Mean cosine", [_Column("in a text", "cosine"), _Column("across", "cosine across")]),
        ("Rank / tokens",
         [_Column("model", "rank / tokens"), _Column("random weights", "rank / tokens, random weights")]),
        ("Clusters / tokens", counts),
    ]  # fmt: skip
    note = (
        "Gathering is the cosine in a text less that across, ± one standard error over texts. Rank is the effective "
        "rank. A mixed text has as many tokens, drawn from all texts."
    )
    return _table(inspection.geometry, groups, "Layers", note)


def motion_table(inspection: "Inspection") -> Table:
    """Return the share of each part in the motion, beside that of permuted tokens."""
    groups = [("", [_Column("layer", "layer", 0)])]
    for part in PARTS:
        share = _Column("%", part, 1, 100.0, error=f"{part}, error")
        groups.append((part.capitalize(), [share, _Column("permuted", f"{part}, permuted", 1, 100.0)]))
    note = (
        "Shares of a layer add up to 100 %. Permuted: the part of another token in place of its own; what remains is "
        "what all tokens have in common."
    )
    return _table(inspection.motion, groups, "Motion", note)


def ablations_table(inspection: "Inspection") -> Table:
    """Return the effect of each ablation; single heads are in the table of heads."""
    table = inspection.ablations
    table = table[~table["off"].str.startswith("head ")]
    groups = [
        ("", [_Column("off", "off")]),
        ("Gathering, last layer", [_Column("change", "effect", 3, error="error")]),
        ("Own last state", [_Column("cosine", "own cosine", 3)]),
    ]
    note = (
        "Change of the gathering in the last layer ± one standard error over texts, and mean cosine of a token to its "
        "own last state. A layer has its attention off; a key is masked for all tokens but itself, the loudest one and "
        "as its null a random content token."
    )
    return _table(table, groups, "What is switched off", note)


def heads_table(inspection: "Inspection") -> Table:
    """Return every head, its measures beside their nulls, and words for its special properties."""
    frame = inspection.heads
    frame["what"] = [", ".join(head_words(row)) or "–" for _, row in frame.iterrows()]
    frame["name"] = [f"{layer}.{head}" for layer, head in zip(frame["layer"], frame["head"], strict=True)]
    groups = [
        ("", [_Column("head", "name"), _Column("special", "what")]),
        ("How cold",
         [_Column("index", "cold"), _Column("random weights", "cold_random"), _Column("keys", "keys", 1),
          _Column("keys / all, %", "entropy", 0, 100.0)]),
        ("Score of theory",
         [_Column("slope", "slope"), _Column("R²", "r2"), _Column("variation", "variation"),
          _Column("top key, %", "same_top", 0, 100.0), _Column("other query, %", "permuted", 0, 100.0),
          _Column("commonest, %", "commonest", 0, 100.0)]),
        ("Leaders of layer 0",
         [_Column("hold, %", "held", 0, 100.0), _Column("commonest, %", "held_null", 0, 100.0)]),
        ("Loudest key", [_Column("lead", "lead", 1), _Column("permuted", "lead_null", 1)]),
        ("Sinks",
         [_Column("attention, %", "sink_attention", 0, 100.0), _Column("output, %", "sink_output", 0, 100.0)]),
        ("Moves", [_Column("share, %", "moved", 1, 100.0)]),
        ("Without it", [_Column("gathering", "effect", 3, error="effect, error")]),
    ]  # fmt: skip
    note = (
        "layer.head, means over texts; heads.csv has all. Cold index: spread of a row of scores over sqrt(2 log n). "
        "Keys: effective number, and exp(entropy) over the number of keys. Variation: total variation of the predicted "
        "rows to the real ones. Top key: rows whose heaviest key is predicted; beside it the prediction for another "
        "query and the commonest key. Lead: attention over that of a uniform head. Special: frozen, index above 1; "
        f"even, keys above {100 * _EVEN:.0f} %; idle, {100 * _IDLE:.0f} % or more to sinks; led, a key of {LEADS:g} "
        "times its share that is no sink; as in layer 0, its leaders 20 % above the commonest key; biases, R² below "
        f"{_IDLE:g}; gathers or parts, a change beyond three errors without it."
    )
    return _table(frame, groups, "Heads", note)


def weights_table(inspection: "Inspection") -> Table:
    """Return the properties of the weights of each head."""
    frame = inspection.weights
    frame["name"] = [f"{layer}.{head}" for layer, head in zip(frame["layer"], frame["head"], strict=True)]
    frame["does"] = ["attracts" if attracts else "repels" for attracts in frame["attracts"]]
    groups = [
        ("", [_Column("head", "name")]),
        ("Scores (B)",
         [_Column("beta", "beta", 1), _Column("norm", "score_norm", 4),
          _Column("symmetric, %", "score_symmetric", 0, 100.0),
          _Column("queries", "queries"), _Column("keys", "keys")]),
        ("Values (V)",
         [_Column("norm", "value_norm", 1), _Column("radius", "value_radius", 1), _Column("trace", "value_trace", 1),
          _Column("does", "does"), _Column("reads", "reads"), _Column("writes", "writes")]),
        ("Theory", [_Column("turn, degrees", "turn", 0)]),
    ]  # fmt: skip
    note = (
        "From the weights alone, gains folded in; weights.csv has all. Words are the embeddings furthest along the "
        "first singular directions, as the first layer sees them. Turn: the angle by which V turns the dominant "
        "directions of V Bᵀ out of themselves; the theory requires 0."
    )
    return _table(frame, groups, "Weights of the heads", note)


def head_words(row: "pd.Series") -> list[str]:
    """Return the special properties of a head in words: only measures beyond their bounds."""

    def known(name: str, beyond: Callable[[float], bool]) -> bool:
        return name in row.index and bool(np.isfinite(row[name])) and beyond(float(row[name]))

    words = []
    if known("cold", lambda value: value > 1):
        words.append("frozen")
    if known("entropy", lambda value: value > _EVEN):
        words.append("even")
    if known("sink_attention", lambda value: value > _IDLE):
        words.append("idle")
    elif known("lead", lambda value: value > LEADS) and known("sink_attention", lambda value: value < _IDLE / 5):
        words.append("led")
    # In layer 0 the leaders are those of the head itself.
    if row["layer"] > 0 and known("held", lambda value: value > float(row.get("held_null", 1.0)) + 0.2):
        words.append("as in layer 0")
    if known("r2", lambda value: value < _IDLE):
        words.append("biases")
    if known("effect, error", lambda error: abs(float(row["effect"])) > 3 * error):
        words.append("gathers" if row["effect"] < 0 else "parts")
    return words
