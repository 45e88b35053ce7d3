"""A film inside a page: points that move from stop to stop, with a button for each stop, and without any script."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tokendyn.errors import BadInputError

#: Most points and stops of a film: its page would grow without bound.
MOST_POINTS, MOST_STOPS = 256, 41
#: Size of the drawing, room around the points and below them for the ruler, and seconds from stop to stop.
_WIDTH, _HEIGHT, _ROOM, _RULER, _SECONDS = 640.0, 440.0, 46.0, 40.0, 0.9
#: Width of a letter and height of a line of labels.
_LETTER, _LINE = 7.4, 12.0
#: Share of the film after which it rests on the last stop.
_REST = 0.9


@dataclass(frozen=True)
class FilmPoint:
    """One point of a film.

    Attributes
    ----------
    label
        Shown on touch, and beside the point where ``named``.
    colour
        ``#RRGGBB``.
    places
        ``x`` and ``y`` at each stop, in units of the drawing.
    large
        Whether it is drawn larger.
    named
        Whether the label is always there.
    """

    label: str
    colour: str
    places: Sequence[tuple[float, float]]
    large: bool = False
    named: bool = False

    @property
    def style(self) -> str:
        """The places as variables of a style."""
        return "".join(f"--x{k}:{x:.1f}px;--y{k}:{y:.1f}px;" for k, (x, y) in enumerate(self.places))

    @property
    def path(self) -> str:
        """The places as the points of a line."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.places)


@dataclass(frozen=True)
class Film:
    """Points that move through stops, as a section of a report.

    The page shows the last stop. A button for each stop moves the points there, and two others play and pause. All of
    it is style, so that pages need no script; with reduced motion the tokens jump instead of gliding.

    Attributes
    ----------
    points, stops
        The points in the order of drawing, and what each stop is called.
    ruler
        The mark that runs along the stops below the drawing.
    unit
        What a stop is, such as ``layer``.
    alt, caption, heading
        As those of :class:`tokendyn.show.report.Picture`.
    """

    points: Sequence[FilmPoint]
    stops: Sequence[str]
    ruler: FilmPoint
    unit: str
    alt: str
    caption: str = ""
    heading: str = ""
    kind: ClassVar[str] = "film"
    width: ClassVar[float] = _WIDTH
    height: ClassVar[float] = _HEIGHT + _RULER

    @property
    def name(self) -> str:
        """A name of its own in a page with several films."""
        content = "".join(point.style + point.label for point in self.points) + self.heading
        return "film-" + hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()[:10]

    @property
    def seconds(self) -> float:
        """How long one showing takes."""
        return round(_SECONDS * (len(self.stops) - 1) / _REST, 2)

    @property
    def shares(self) -> list[float]:
        """At which percentage of a showing the points are at each stop."""
        return [round(100 * _REST * k / (len(self.stops) - 1), 3) for k in range(len(self.stops))]


def film(
    places: Float[np.ndarray, "stops points 2"],
    labels: Sequence[str],
    colours: Sequence[str],
    named: Sequence[bool],
    *,
    unit: str,
    alt: str,
    caption: str = "",
    heading: str = "",
) -> Film:
    """Return a film of points, on equal scales.

    Parameters
    ----------
    places
        Of each point at each stop; of more than :data:`MOST_STOPS` stops some are chosen evenly. Of more than
        :data:`MOST_POINTS` points those that are named, and of the others the last ones.
    labels, colours
        See :class:`FilmPoint`.
    named
        Points that are large and have their label beside them where it covers no other at the last stop.
    unit, alt, caption, heading
        See :class:`Film`.

    Raises
    ------
    BadInputError
        For fewer than two stops, or places that are not finite.
    """
    if len(places) < 2 or not np.isfinite(places).all():
        raise BadInputError(f"a film needs finite places at two stops or more, got {places.shape}")
    stops = np.unique(np.linspace(0, len(places) - 1, min(len(places), MOST_STOPS)).round().astype(np.int64))
    # Points that are named are drawn last, on top of the others.
    order = sorted(range(places.shape[1]), key=lambda point: bool(named[point]))[-MOST_POINTS:]
    drawn = _fitted(places[stops])
    kept = _with_room(drawn[-1], [point for point in reversed(order) if named[point]], labels)
    points = [
        FilmPoint(label=labels[point], colour=colours[point], large=bool(named[point]), named=point in kept,
                  places=[(float(x), float(y)) for x, y in drawn[:, point]])
        for point in order
    ]  # fmt: skip
    along = np.linspace(_ROOM, _WIDTH - _ROOM, len(stops))
    ruler = FilmPoint(label="", colour="", places=[(float(x), _HEIGHT + 12.0) for x in along])
    return Film(
        points=points, stops=[str(stop) for stop in stops], ruler=ruler, unit=unit, alt=alt, caption=caption,
        heading=heading,
    )  # fmt: skip


def _with_room(places: Float[np.ndarray, "points 2"], points: Sequence[int], labels: Sequence[str]) -> set[int]:
    """Return the points whose labels cover none of those before them."""
    boxes: list[tuple[float, float, float]] = []
    kept = set()
    for point in points:
        x, y = (float(coordinate) for coordinate in places[point])
        end = x + 10 + _LETTER * len(labels[point])
        if all(end < left or x > right or abs(y - height) > _LINE for left, right, height in boxes):
            boxes.append((x, end, y))
            kept.add(point)
    return kept


def _fitted(places: Float[np.ndarray, "stops points 2"]) -> Float[np.ndarray, "stops points 2"]:
    """Return places in the drawing: y upwards, the middle of the points in the middle."""
    low, high = places.min(axis=(0, 1)), places.max(axis=(0, 1))
    extent = np.maximum(high - low, 1e-300)
    scale = min((_WIDTH - 2 * _ROOM) / extent[0], (_HEIGHT - _ROOM) / extent[1])
    return np.asarray((places - (low + high) / 2) * scale * np.array([1, -1]) + np.array([_WIDTH / 2, _HEIGHT / 2]))
