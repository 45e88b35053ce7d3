"""The page of an inspection: the verdict, its figures, and the table of heads."""

from typing import TYPE_CHECKING

import numpy as np

from tokendyn.models.figures import (
    cold_figure,
    gathering_figure,
    ladder_figure,
    leaders_figure,
    motion_figure,
    paths_film,
)
from tokendyn.models.tables import ablations_table, heads_table, layers_table, motion_table, weights_table
from tokendyn.models.verdict import measured, number
from tokendyn.show import KeyFigures, Report, Text, closing, prose
from tokendyn.show.report import Picture, Section

if TYPE_CHECKING:
    from tokendyn.models.inspection import Inspection

_DISCRETE = (
    "A layer is one step of size 1, and each layer has its own heads: a discrete system that changes in time, and not "
    "the flow of one head. What is necessary in this model need not be the cause in another."
)


def inspection_page(inspection: "Inspection", *, title: str, command: str) -> Report:
    """Return the page."""
    sections: list[Section] = [KeyFigures(_facts(inspection)), Text(prose(inspection.describe()), "Verdict")]
    what = "Gathering of the tokens by layer, also with pieces switched off"
    sections.append(
        Picture(gathering_figure(inspection), what, _gathering_caption(inspection), "Do the tokens gather?")
    )
    if "cold" in inspection.head_measures:
        caption = (
            "Spread of a row of scores over sqrt(2 log n), the median of rows. Above 1: a few keys hold the weight."
        )
        if "cold_random" in inspection.head_measures:
            null = float(np.nanmedian(inspection.head_measures["cold_random"]))
            caption += f" Heads with random weights: {number(null)} (median)."
        sections.append(Picture(cold_figure(inspection), "Cold index of every head", caption, "How cold is each head?"))
    if inspection.received is not None and inspection.tokens:
        sections += _leaders(inspection)
    if inspection.motion_shares is not None:
        caption = (
            f"An exact split: the shares of a layer add up to 1; the parts add up to the motion within "
            f"{inspection.motion_error:.1g}. A share of motion is no cause."
        )
        sections.append(Picture(motion_figure(inspection), "Share of each part", caption, "What moves the tokens?"))
    if inspection.ladder_rank:
        caption = "Rank correlation of all pairwise cosines; pieces are switched on one by one, from the first states."
        sections.append(
            Picture(ladder_figure(inspection), "Ladder of pieces", caption, "How much of it does the theory hold?")
        )
    sections += [paths_film(inspection), layers_table(inspection)]
    if inspection.motion_shares is not None:
        sections.append(motion_table(inspection))
    if inspection.effects:
        sections.append(ablations_table(inspection))
    if inspection.head_measures:
        sections.append(heads_table(inspection))
    if inspection.head_weights:
        sections.append(weights_table(inspection))
    sections.append(Text(_DISCRETE, "How to read it"))
    sections += closing(command, inspection.provenance)
    return Report(title, f"{inspection.family or 'states'}, {inspection.layers} layers", sections)


def _facts(inspection: "Inspection") -> dict[str, object]:
    last = inspection.gathered()[:, -1]
    facts: dict[str, object] = {"layers": inspection.layers, "texts": inspection.texts}
    facts["tokens"] = int(np.sum(inspection.lengths))
    if np.isfinite(last).all():
        facts["gathering, last layer"] = measured(last, inspection)
    cold = inspection.head_measures.get("cold")
    if cold is not None:
        facts["frozen heads in a text"] = f"{(cold > 1).sum(axis=(1, 2)).mean():.0f} of {cold[0].size}"
    return facts


def _gathering_caption(inspection: "Inspection") -> str:
    others = "reference texts that ship with tokendyn" if inspection.by_reference else "the other texts"
    known = np.isfinite(inspection.error(inspection.gathered())).all()
    bands = "shaded: two standard errors over texts" if known else "no error is given for fewer than eight texts"
    return f"Mean cosine inside a text less that across to {others}; {bands}. The first token is left out."


def _leaders(inspection: "Inspection") -> list[Section]:
    """Return the map of leaders, and the same without sinks where there are some."""
    what = "Attention that each token receives, layer by layer"
    caption = (
        "Rings: the three tokens that draw most attention and are no sinks. Crosses: sinks, which draw attention and "
        "give nothing; the darker, the more heads."
    )
    sections: list[Section] = [
        Picture(leaders_figure(inspection, sinks=True), what, f"First text. {caption}", "Who leads?")
    ]
    if (np.asarray(inspection.sinks).max(axis=0) > 0.5).any():
        without = "The same without the tokens that are sinks in most heads of a layer."
        sections.append(Picture(leaders_figure(inspection, sinks=False), f"{what}, without sinks", without))
    return sections
