"""Words in pictures: which can be drawn, and where they do not cover each other."""

import functools
import unicodedata
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation, Text
from matplotlib.textpath import text_to_path

from tokendyn.show.palette import INK

#: Longer labels are cut.
LONGEST = 22

_SPARE_FAMILIES = ("Noto Sans CJK", "Noto Sans Devanagari", "Noto Sans Arabic", "WenQuanYi", "Droid Sans")


@dataclass(frozen=True)
class Wish:
    """A label that wants a place: ``radius`` is the size in points of the mark that it names."""

    text: str
    xy: tuple[float, float]
    radius: float
    colour: str = INK
    bold: bool = False


@functools.cache
def families() -> tuple[str, ...]:
    """Return matplotlib's own font and the installed ones that draw further scripts."""
    installed = sorted({font.name for font in fontManager.ttflist})
    return ("DejaVu Sans", *(name for name in installed if name.startswith(_SPARE_FAMILIES)))


@functools.cache
def _drawable_codes() -> frozenset[int]:
    fonts = [get_font(findfont(FontProperties(family=name))) for name in families()]
    return frozenset(code for font in fonts for code in font.get_charmap())


def shown(label: str, longest: int = LONGEST) -> str:
    """Return a label as it can be drawn: one line, cut, a box for each letter that no font has."""
    line = " ".join(unicodedata.normalize("NFC", label[: 8 * longest]).split()) or "(empty)"
    line = line if len(line) <= longest else line[: longest - 1] + "…"
    codes = _drawable_codes()
    return "".join(letter if ord(letter) in codes and letter.isprintable() else "□" for letter in line)


def write(
    axes: Axes, x: float, y: float, text: str, size: float | int, longest: int = LONGEST, **style: object
) -> Text:
    """Write a user's text on axes as it is: no mathematics in dollar signs, no missing letters."""
    font = FontProperties(family=list(families()), size=size, weight=str(style.pop("weight", "normal")))
    return axes.text(x, y, shown(text, longest), fontproperties=font, parse_math=False, **style)  # type: ignore[arg-type]


def letters_within(text: str, size: float | int, points: float, most: int) -> int:
    """Return the number of letters of a bold title that fit within a width, at least twelve and at most ``most``."""
    lengths = range(min(len(text), most), 12, -1)
    return next((length for length in lengths if text_width(shown(text, length), size, "bold") <= points), 12)


@functools.lru_cache(maxsize=4096)
def text_width(text: str, size: float | int, weight: str = "normal") -> float:
    """Return the width of a drawn text in points."""
    font = FontProperties(family=list(families()), size=size, weight=weight)
    return float(text_to_path.get_text_width_height_descent(text, font, False)[0])


def place_labels(
    axes: Axes,
    wishes: list[Wish],
    panel: Float[np.ndarray, "2 2"],
    size: float,
    dots: Float[np.ndarray, "dots 2"],
    points_per_unit: Float[np.ndarray, " 2"],
) -> list[Annotation]:
    """Write labels beside their marks, important ones first; one that finds no free place is left out.

    Parameters
    ----------
    axes
        Where to write.
    wishes
        Labels in order of importance, in data coordinates.
    panel
        Data limits, one row for each axis: labels stay inside.
    size
        Font size in points.
    dots
        Marks that labels had better not cover.
    points_per_unit
        Points (1/72 inch) for each unit of the two axes.
    """
    origin = panel[:, 0]
    bounds = (panel[:, 1] - origin) * points_per_unit
    marks = (dots - origin) * points_per_unit
    centres = [(np.array(wish.xy) - origin) * points_per_unit for wish in wishes]
    boxes = [_box_around(centre, wish.radius) for centre, wish in zip(centres, wishes, strict=True) if wish.bold]
    written = []
    for wish, centre in zip(wishes, centres, strict=True):
        text = shown(wish.text)
        weight = "bold" if wish.bold else "normal"
        extent = np.array([text_width(text, size, weight), 0.95 * size])
        best = _best_place(centre, wish.radius, extent, bounds, boxes, marks)
        if best is None:
            continue
        boxes.append(np.concatenate([best, best + extent]))
        written.append(_annotate(axes, wish, text, best + np.array([0, 0.2 * size]) - centre, size, weight))
    return written


def _annotate(axes: Axes, wish: Wish, text: str, offset: np.ndarray, size: float, weight: str) -> Annotation:
    font = FontProperties(family=list(families()), size=size, weight=weight)
    return axes.annotate(
        text,
        wish.xy,
        xytext=(float(offset[0]), float(offset[1])),
        textcoords="offset points",
        fontproperties=font,
        color=wish.colour,
        zorder=7,
        parse_math=False,
        annotation_clip=False,
        path_effects=[withStroke(linewidth=2.2, foreground="white")],
        gid="label",
    )


def _box_around(centre: np.ndarray, radius: float) -> np.ndarray:
    return np.concatenate([centre - 0.8 * radius, centre + 0.8 * radius])


def _best_place(
    centre: np.ndarray,
    radius: float,
    extent: np.ndarray,
    bounds: np.ndarray,
    occupied: list[np.ndarray],
    marks: np.ndarray,
) -> np.ndarray | None:
    """Return the lower left corner, in points, of the free place that covers the fewest marks."""
    best, fewest = None, np.inf
    for rank, direction in enumerate(_DIRECTIONS):
        corner = centre + direction * (radius + 1.5) + (np.array(direction) - 1) / 2 * extent
        far = corner + extent
        if (corner < 1).any() or (far > bounds - 1).any():
            continue
        boxes = np.array(occupied).reshape(-1, 4)
        if ((corner < boxes[:, 2:]) & (far > boxes[:, :2])).all(axis=1).any():
            continue
        covered = ((marks > corner - 1.5) & (marks < far + 1.5)).all(axis=1).sum() + 0.05 * rank
        if covered < fewest:
            best, fewest = corner, covered
    return best


_DIRECTIONS = np.array(
    [(1, 0.35), (-1, 0.35), (0, 1), (0, -1), (1, -0.6), (-1, -0.6), (0.7, 1), (-0.7, 1), (0.7, -1), (-0.7, -1)]
)
