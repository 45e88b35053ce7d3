"""The figures of the page of a model: gathering, coldness, leaders, motion, and the paths of the tokens."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from tokendyn.metrics.geometry import unit
from tokendyn.models.motion import PARTS
from tokendyn.show.axes import line, new_figure, quiet
from tokendyn.show.film import Film, film
from tokendyn.show.palette import INK, LEADER_COLOURS, NEUTRAL, QUIET

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tokendyn.models.inspection import Inspection

#: Tokens whose names fit below a figure; of longer texts those that lead are named.
_NAMED = 60
#: Tokens that a film names as leaders.
_LEADING = 10
#: Heads whose numbers fit into the cells of a map.
_WRITTEN = 24
#: Share of the heads from which a cross marks a sink.
_MARKED = 0.05


def gathering_figure(inspection: "Inspection") -> Figure:
    """Draw the gathering by layer, with bands of two errors, and the cosine across texts dashed."""
    figure = new_figure(7.5, 4.0)
    axes = figure.subplots()
    layers = np.arange(inspection.layers + 1)
    for number, name in enumerate(inspection.within):
        gathered = inspection.gathered(name)
        if np.isnan(gathered).any():
            axes.plot(layers, inspection.within[name].mean(axis=0), **line(number), label="cosine in the text")
            continue
        mean, error = gathered.mean(axis=0), 2 * inspection.error(gathered)
        axes.plot(layers, mean, marker="o", markersize=3, **line(number), label=name)
        if np.isfinite(error).all():
            axes.fill_between(layers, mean - error, mean + error, color=line(number)["color"], alpha=0.15, linewidth=0)
    across = inspection.across["model"].mean(axis=0)
    if np.isfinite(across).all():
        axes.plot(layers, across, color=NEUTRAL, linestyle="--", label="cosine across texts")
    axes.axhline(0.0, color=QUIET, linewidth=0.6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    quiet(axes, "layer", "cosine inside a text less that across texts")
    axes.legend(fontsize=8)
    return figure


def cold_figure(inspection: "Inspection") -> Figure:
    """Draw the cold index of every head as a map, numbers in the cells where they fit."""
    cold = np.asarray(inspection.head_measures["cold"])
    values = np.nanmean(cold, axis=0)
    layers, heads = values.shape
    figure = new_figure(min(3.0 + 0.45 * heads, 12.0), min(1.5 + 0.35 * layers, 9.0))
    axes = figure.subplots()
    image = axes.imshow(np.clip(values, 0, 1.5), cmap="cividis_r", vmin=0, vmax=1.5, aspect="auto")
    # Pages turn black letters white for dark paper, and the map stays: edges keep them readable on each of its colours.
    edges = [withStroke(linewidth=2.0, foreground="white")]
    for (layer, head), value in np.ndenumerate(values if max(heads, layers) <= _WRITTEN else np.empty((0, 0))):
        axes.text(head, layer, f"{value:.1f}", ha="center", va="center", fontsize=8, color=INK, path_effects=edges)
    quiet(axes, "head", "layer")
    axes.grid(visible=False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    _name_shades(figure, axes, image, "cold index")
    return figure


def leaders_figure(inspection: "Inspection", *, sinks: bool) -> Figure:
    """Draw the attention that each token of the first text receives in each layer.

    Parameters
    ----------
    inspection
        The inspection.
    sinks
        Whether tokens that are sinks in most heads keep their place; without them the scale is that of the others.
    """
    received, drained = np.asarray(inspection.received), np.asarray(inspection.sinks)
    shown = received if sinks else np.where(drained.max(axis=0) > 0.5, np.nan, received)
    layers, tokens = shown.shape
    figure = new_figure(min(4.0 + 0.18 * tokens, 13.0), 1.8 + 0.22 * layers + 0.6)
    axes = figure.subplots()
    top = max(float(np.nanmax(shown)), 2.0)
    image = axes.imshow(np.maximum(shown, 0.1), cmap="magma_r", norm=LogNorm(0.1, top), aspect="auto")
    leading = np.argsort(-np.where(drained > _MARKED, -np.inf, np.nan_to_num(received)), axis=1)[:, :3]
    for layer, best in enumerate(leading):
        axes.plot(best, np.full(len(best), layer), "o", markerfacecolor="none", markeredgecolor=LEADER_COLOURS[5], ms=7)
        for token in np.flatnonzero(drained[layer] > _MARKED) if sinks else ():
            axes.plot(
                token, layer, "x", color=LEADER_COLOURS[2], ms=6, alpha=float(np.clip(drained[layer, token], 0.2, 1))
            )
    marked = np.flatnonzero(drained.max(axis=0) > 0.5) if sinks else np.empty(0, dtype=np.int64)
    quiet(axes, "", "layer")
    _name_tokens(axes, inspection, np.union1d(leading, marked))
    axes.grid(visible=False)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _name_shades(figure, axes, image, "attention, times uniform")
    return figure


def _name_shades(figure: Figure, axes: "Axes", image: Any, label: str) -> None:
    """Draw a bar that explains the shades, in the sizes of the axes."""
    bar = figure.colorbar(image, ax=axes)
    bar.set_label(label, fontsize=9, color=QUIET)
    bar.ax.tick_params(which="both", labelsize=8, colors=QUIET)


def _name_tokens(axes: "Axes", inspection: "Inspection", leading: np.ndarray) -> None:
    """Name all tokens of a short text, of a long one those that lead in some layer and do not touch."""
    tokens = len(inspection.tokens)
    places = [int(place) for place in (np.arange(tokens) if tokens <= _NAMED else leading)]
    kept: list[int] = []
    for place in places:
        if not kept or place - kept[-1] >= tokens / _NAMED:
            kept.append(place)
    names = [shown_token(inspection.tokens[place]) for place in kept]
    axes.set_xticks(kept, names, rotation=90, fontsize=8 if tokens <= _NAMED else 10)


def shown_token(token: str) -> str:
    """Return a token for a picture: marks of byte-level tokenizers for blanks are left out."""
    text = token.replace("Ġ", "").replace("▁", "").replace("Ċ", "↵").replace("$", r"\\$") or "␣"
    return text if len(text) <= 14 else f"{text[:13]}…"


def motion_figure(inspection: "Inspection") -> Figure:
    """Draw the share of each part in the motion, layer by layer."""
    shares = np.asarray(inspection.motion_shares)
    means, errors = shares.mean(axis=0), 2 * inspection.error(shares)
    figure = new_figure(7.5, 3.6)
    axes = figure.subplots()
    width = 0.8 / len(PARTS)
    layers = np.arange(len(means))
    for number, part in enumerate(PARTS):
        bars: Any = errors[:, number] if np.isfinite(errors).all() else None
        axes.bar(layers + (number - 1.5) * width, means[:, number], width, label=part, yerr=bars,
                 color=LEADER_COLOURS[number], error_kw={"linewidth": 0.7})  # fmt: skip
    axes.axhline(0.0, color=QUIET, linewidth=0.6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    quiet(axes, "layer", "share of the motion")
    axes.legend(fontsize=8)
    return figure


def ladder_figure(inspection: "Inspection") -> Figure:
    """Draw how well the pieces of the model rank the pairs of its last layer."""
    table = inspection.ladder
    figure = new_figure(7.5, 1.0 + 0.32 * len(table))
    axes = figure.subplots()
    errors = 2 * table["error"].to_numpy()
    bars: Any = errors if np.isfinite(errors).all() else None
    axes.barh(
        np.arange(len(table)), table["rank correlation"], xerr=bars, color=[_rung_colour(n) for n in table.pieces]
    )
    axes.set_yticks(np.arange(len(table)), list(table.pieces))
    axes.invert_yaxis()
    quiet(axes, "rank correlation with the real last layer")
    return figure


def _rung_colour(name: str) -> str:
    """Return grey for no dynamics, one colour for attention, one for the feed-forward part, ink for the model."""
    if name == "no dynamics":
        return NEUTRAL
    if name == "all = model":
        return INK
    return LEADER_COLOURS[1 if name.startswith("feed") else 3 if "hardmax" in name else 0]


def paths_film(inspection: "Inspection") -> Film:
    """Return the directions of the tokens of the first text moving through the layers, in the plane of the last one."""
    directions = unit(np.asarray(inspection.states))[:, 1:]
    centre = directions[-1].mean(axis=0)
    _, sizes, axes = np.linalg.svd(directions[-1] - centre, full_matrices=False)
    share = float((sizes[:2] ** 2).sum() / max((sizes**2).sum(), 1e-300))
    tokens = directions.shape[1]
    labels = [shown_token(token) for token in inspection.tokens[1:]] or [str(place) for place in range(1, tokens + 1)]
    leading, sinks = _last_leaders(inspection)
    colours = [LEADER_COLOURS[7] if place in sinks else LEADER_COLOURS[0] if place in leading else NEUTRAL
               for place in range(tokens)]  # fmt: skip
    few = tokens <= _NAMED // 2
    who = "Blue: those that draw most attention in the last layer and are no sinks; wine: sinks. " if leading else ""
    return film(
        (directions - centre) @ axes[:2].T, labels, colours,
        [few or place in leading or place in sinks for place in range(tokens)], unit="layer",
        alt="Tokens of the first text moving through the layers", heading="Where do they go?",
        caption=(
            "Directions of the tokens of the first text, without the first, in one plane: that of the last layer, "
            f"which holds {100 * share:.0f} % of its variance. {who}Choose a layer, or play."
        ),
    )  # fmt: skip


def _last_leaders(inspection: "Inspection") -> tuple[set[int], set[int]]:
    """Return the places, without the first token, that lead in the last layer, and those that are sinks there."""
    if inspection.received is None:
        return set(), set()
    received, drained = np.asarray(inspection.received)[-1, 1:], np.asarray(inspection.sinks)[-1, 1:]
    sinks = {int(place) for place in np.flatnonzero(drained > _MARKED)}
    order = [int(place) for place in np.argsort(-received) if int(place) not in sinks]
    return set(order[:_LEADING]), sinks
