"""Figures as SVG that follow the reader's colour scheme, and in a second shape for narrow screens."""

import io
import re
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: The colour of dark paper (``variables.css.j2`` has it too).
DARK_PAPER = "#1b1f24"
#: Colours of one figure above which they are shades of a map: these keep their meaning, only greys change.
_MOST_COLOURS = 64
#: Width in inches of a figure on a narrow screen, and that of a wide figure above which there is one.
NARROW, WIDE = 4.4, 6.0
#: Letters of a title in a line of a narrow figure, at 10 points.
_LINE = 44

_COLOUR = re.compile(r"(fill|stroke|stop-color): (#[0-9a-f]{6})")
_DECIMALS = re.compile(r"(\d\.\d\d)\d+")
_PATHS = re.compile(r' (?:d|x|y)="[^"]*"')


def dark(colours: Float[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape 3"]:
    """Return colours, from 0 to 1, as they are on dark paper.

    Greys and pale tints change places with dark ones; a strong colour keeps its hue and becomes as light as it must be
    to be seen. The function is continuous, so that the soft edges of a picture stay soft.
    """
    high, low = colours.max(axis=-1, keepdims=True), colours.min(axis=-1, keepdims=True)
    lightness, chroma = (high + low) / 2, high - low
    paper = np.array([int(DARK_PAPER[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    grey = 1 - lightness**1.25 * (1 - paper)
    # Strong colours are mixed with white, the darker ones more, so that their order stays: .3 becomes .6, .65 becomes
    # 0.8. Tints paler than 0.65 are mixed with black, down to the paper.
    light = np.maximum(np.clip(0.6 + (lightness - 0.3) * 0.57, 0.6, 0.8), lightness)
    lifted = colours + (1 - colours) * (light - lightness) / np.maximum(1 - lightness, 1e-9)
    wanted = np.where(lightness > 0.65, 0.8 - (lightness - 0.65) * 1.94, light)
    vivid = lifted * wanted / light
    share = np.clip((chroma - 0.1) / 0.15, 0, 1)
    return np.clip((1 - share) * grey + share * vivid, 0, 1)


def dark_colour(colour: str) -> str:
    """Return ``#rrggbb`` as it is on dark paper.

    Examples
    --------
    >>> from tokendyn.show.vector import dark_colour
    >>> dark_colour("#ffffff"), dark_colour("#000000")
    ('#1b1f24', '#ffffff')
    """
    channels = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return "#" + "".join(f"{round(255 * float(channel)):02x}" for channel in dark(channels))


def svg_of(figure: Any) -> str:
    """Return a matplotlib figure as SVG: light by itself, dark where the reader prefers dark pages.

    The same figure gives the same bytes. Letters are outlines, so that no font is needed.
    """
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "tokendyn"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": "Made by tokendyn"})
    svg = _PATHS.sub(lambda part: _DECIMALS.sub(r"\1", part[0]), buffer.getvalue())
    svg = re.sub(r"\s*\n\s*", "\n", svg[svg.index("<svg") :])
    uses = sorted({match.groups() for match in _COLOUR.finditer(svg)})
    paper = ""
    if len({colour for _, colour in uses}) > _MOST_COLOURS:
        # White lines and words on a map of shades stay white; only the paper around it becomes dark.
        uses = [(what, colour) for what, colour in uses if _is_grey(colour) and colour != "#ffffff"]
        paper = f"#patch_1>path{{fill:{DARK_PAPER}!important}}"
    rules = paper + "".join(
        f'[style*="{what}: {colour}"]{{{what}:{dark_colour(colour)}!important}}' for what, colour in uses
    )
    # matplotlib leaves black, the default of SVG, out.
    style = f"<style>@media screen and (prefers-color-scheme:dark){{svg{{fill:#fff}}{rules}}}</style>"
    start = svg.index(">", svg.index("<svg")) + 1
    return svg[:start] + style + svg[start:]


def dark_png(content: bytes) -> bytes:
    """Return a picture as PNG with the colours that it has on dark paper."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as picture:
        pixels = np.asarray(picture.convert("RGB"), dtype=np.float64) / 255
    # Few colours occur in a figure: the map is computed once for each.
    flat, places = np.unique((pixels.reshape(-1, 3) * 255).round().astype(np.uint8), axis=0, return_inverse=True)
    mapped = (dark(flat / 255) * 255).round().astype(np.uint8)[places.reshape(-1)].reshape(pixels.shape)
    buffer = io.BytesIO()
    Image.fromarray(mapped).quantize(128).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


@contextmanager
def narrowed(figure: "Figure") -> "Iterator[Figure]":
    """Give a figure the shape of a narrow screen while the block lasts: its axes one below the other.

    Only figures that matplotlib lays out itself can be given another shape (``layout="constrained"``).
    """
    from matplotlib.gridspec import GridSpec

    width, height = float(figure.get_figwidth()), float(figure.get_figheight())
    size = width, height
    axes = _in_one_grid(figure)
    specs = {part: spec for part in axes if (spec := part.get_subplotspec()) is not None}
    titles = [(text, text.get_text()) for text in _titles(figure)]
    bare = [part for part in axes if not part.yaxis.get_tick_params().get("labelleft", True)]
    columns = axes[0].get_subplotspec().get_gridspec().ncols if axes else 1  # type: ignore[union-attr]
    if columns > 1:
        rows = GridSpec(len(axes), 1, figure=figure)
        for number, part in enumerate(axes):
            _move(part, rows[number])
        for part in bare:  # its neighbour on the left had the numbers
            part.tick_params(labelleft=True)
        each = height / (len(axes) / columns)
        height = len(axes) * float(np.clip(NARROW * each / (width / columns), 2.0, 5.0))
    figure.set_size_inches(NARROW, height)
    for text, shown in titles:
        text.set_text("\n".join(textwrap.fill(line, _LINE) for line in shown.splitlines()))
    restore = _legends_below(figure)
    try:
        yield figure
    finally:
        restore()
        for part in bare:
            part.tick_params(labelleft=False)
        figure.set_size_inches(size)
        for part, spec in specs.items():
            _move(part, spec)
        for text, shown in titles:
            text.set_text(shown)


def can_be_narrow(figure: Any) -> bool:
    """Return whether a figure is wide, and can be given the shape of a narrow screen."""
    from matplotlib.figure import Figure

    return (
        isinstance(figure, Figure)
        and figure.get_layout_engine() is not None
        and float(figure.get_figwidth()) > WIDE
        and not any(axes.name == "3d" for axes in figure.axes)
    )


def _is_grey(colour: str) -> bool:
    channels = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    return max(channels) - min(channels) < 0.1 * 255


def _move(axes: "Axes", spec: Any) -> None:
    """Put axes into a cell of a grid, and their colour bars where they are.

    The layout takes a bar that is left behind for a margin of its axes, which may then leave no room for them.
    """
    axes.set_subplotspec(spec)
    for bar in getattr(axes, "_colorbars", ()):
        bar._set_position(axes.get_position())


def _in_one_grid(figure: "Figure") -> "list[Axes]":
    """Return the axes in reading order, if all of them are single cells of one grid; else none."""
    specs = [(axes, axes.get_subplotspec()) for axes in figure.axes if axes.get_subplotspec() is not None]
    grids = {id(spec.get_gridspec()) for _, spec in specs}  # type: ignore[union-attr]
    single = all(len(spec.rowspan) == len(spec.colspan) == 1 for _, spec in specs)  # type: ignore[union-attr]
    if len(grids) != 1 or not single or figure.subfigs:
        return []
    return [axes for axes, _ in sorted(specs, key=lambda pair: pair[1].num1)]  # type: ignore[union-attr]


def _titles(figure: "Figure") -> list[Any]:
    own = [figure._suptitle] if figure._suptitle is not None else []  # type: ignore[attr-defined]
    return own + [axes.title for axes in figure.axes] + [axes._left_title for axes in figure.axes]  # type: ignore[attr-defined]


def _legends_below(figure: "Figure") -> Callable[[], None]:
    """Put every legend in one column below what it explains, where it covers nothing; return what undoes that."""
    before = [(axes, axes.get_legend()) for axes in figure.axes if axes.get_legend() is not None]
    whole = list(figure.legends)
    rows = 0
    for axes, legend in before:
        style = _style_of(legend, figure)
        # Below the numbers and the label of the axis.
        inches = max(float(axes.get_position().height) * float(figure.get_figheight()), 1.0)
        axes.legend(**style, loc="upper left", bbox_to_anchor=(0.0, -0.6 / inches))
        rows += len(style["labels"])
    figure.legends.clear()
    for legend in whole:
        style = _style_of(legend, figure)
        figure.legend(**style, loc="outside lower left")
        rows += len(style["labels"])
    figure.set_figheight(float(figure.get_figheight()) + 0.19 * rows)

    def restore() -> None:
        for axes, legend in before:
            axes.legend_ = legend
        figure.legends[:] = whole

    return restore


def _style_of(legend: Any, figure: "Figure") -> dict[str, Any]:
    """Return what a legend shows and how."""
    texts = legend.get_texts()
    labels = [text.get_text() for text in texts]
    # What stands in a legend is a drawing of the curve; of bars of errors only the curve itself has all parts.
    curves = {
        label: curve for axes in figure.axes for curve, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    return {
        "handles": [curves.get(label, drawing) for label, drawing in zip(labels, legend.legend_handles, strict=True)],
        "labels": labels, "prop": legend.prop, "frameon": False, "borderaxespad": 0.0,
        "labelcolor": [text.get_color() for text in texts], "title": legend.get_title().get_text() or None,
    }  # fmt: skip
