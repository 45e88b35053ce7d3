"""Words that a slider moves through the layers: the position, the leader and the description of each."""

import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tokendyn.show.palette import NEUTRAL
from tokendyn.show.scene import TokenScene
from tokendyn.show.views import View, principal_axes, side_axes

#: More tokens are not moved: the leaders and the most frequent ones are.
MOST_TOKENS = 800

#: Most layers at which a deep run stops, the first and the last included.
MOST_STOPS = 41

#: Most leaders of a layer that are named in the plane.
MOST_NAMES = 14

_WIDTH, _TALLEST, _LOWEST = 640.0, 420.0, 120.0
_SIDE, _TOP, _FOOT = 56.0, 34.0, 46.0
_LARGEST, _SMALLEST, _DOT = 17.0, 6.5, 4.5
_FONT, _LONGEST = 17.0, 20

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Mark:
    """A token in the plane at the last layer: its number, its word, place, and colour of the one it follows."""

    token: int
    word: str
    x: float
    y: float
    colour: str
    to_x: float
    to_y: float


@dataclass(frozen=True)
class Star:
    """A leader in the plane at the last layer; ``size`` is its radius, ``name`` None when there is no room for it."""

    place: int
    title: str
    colour: str
    x: float
    y: float
    size: float
    name: tuple[float, float] | None


@dataclass(frozen=True)
class Motion:
    """What the slider's part of a page shows.

    Attributes
    ----------
    height
        Of the drawing, which is 640 wide.
    marks, stars
        The tokens and the leaders at the last stop, which is shown without scripts.
    mean
        Where the mean of all tokens is at the last stop.
    ends
        The classes that the two ends of the first coordinate support; empty when they support none.
    zero
        Where the first coordinate is 0 and supports neither class.
    layers
        The layer of each stop.
    said
        The last stop in words.
    token_of
        From a word to its token.
    note
        What the drawing leaves out, in words.
    data
        All stops as JSON values, for the script.
    """

    height: float
    marks: list[Mark]
    stars: list[Star]
    mean: float
    ends: tuple[str, str]
    zero: float
    layers: list[int]
    said: str
    token_of: dict[str, int]
    note: str
    data: dict[str, Any]

    def number_at_the_end(self, token: int) -> str:
        """Return the number of the leader that a token ends with: "0" for the neutral pole, "" for none."""
        leader = self.data["stops"][-1]["follow"][token]
        return self.data["numbers"][leader] if leader >= 0 else ""


def motion(scene: TokenScene, colours: dict[str, str], numbers: dict[str, int]) -> Motion:
    """Return a scene as something that a slider moves.

    Parameters
    ----------
    scene
        The words in motion, with at least one layer.
    colours, numbers
        Of the leaders of the text, by word; other leaders have the colour of the scene and no number.
    """
    view = View(scene)
    layers = [
        int(layer) for layer in np.unique(np.linspace(0, scene.layers, min(scene.layers + 1, MOST_STOPS)).round())
    ]
    tokens = _chosen(scene)
    names = _names(scene)
    drawn, height, zero = _drawn(view, layers)
    looks = _looks(view, names, colours, numbers)
    stops = [_stop(view, layer, where, height, names, looks) for layer, where in zip(layers, drawn, strict=True)]
    last = stops[-1]
    new = {int(old): place for place, old in enumerate(tokens)}
    at = drawn[-1].tolist()
    marks = [
        Mark(
            token=new[old],
            word=names[old],
            x=at[old][0],
            y=at[old][1],
            colour=looks[last.follows[old]].colour if last.follows[old] >= 0 else NEUTRAL,
            to_x=at[last.followed[old]][0],
            to_y=at[last.followed[old]][1],
        )
        for old in map(int, tokens)
    ]
    stars = [
        Star(
            place=place,
            title=look.title,
            colour=look.colour,
            x=at[look.token][0],
            y=at[look.token][1],
            size=last.sizes[place],
            name=last.names[place],
        )
        for place, look in enumerate(looks)
    ]
    left_out = len(scene.labels) - len(tokens)
    note = f" {left_out:,} rarer words are not drawn." if left_out else ""
    return Motion(
        height=height,
        marks=marks,
        stars=stars,
        mean=last.mean,
        ends=scene.ends,
        zero=zero,
        layers=layers,
        said=last.said,
        token_of={names[old]: new[old] for old in reversed([int(old) for old in tokens]) if old != _pole(scene)},
        note=" ".join(view.note.split()) + note,
        data={
            "words": [names[old] for old in tokens],
            "leaders": [new[look.token] for look in looks],
            "colours": [look.colour for look in looks],
            "numbers": [look.number for look in looks],
            "largest": max(
                (size for size, look in zip(last.sizes, looks, strict=True) if look.number != "0"), default=1.0
            ),
            "stops": [stop.json(tokens, new, at) for stop, at in zip(stops, drawn, strict=True)],
        },
    )


@dataclass(frozen=True)
class _Look:
    """How a leader looks everywhere."""

    token: int
    title: str
    colour: str
    number: str


@dataclass(frozen=True)
class _Stop:
    """One layer: places of the leaders followed, tokens followed, radii and names of the stars, words about it."""

    layer: int
    follows: Int[np.ndarray, " tokens"]
    followed: Int[np.ndarray, " tokens"]
    sizes: list[float]
    names: list[tuple[float, float] | None]
    mean: float
    said: str

    def json(self, tokens: np.ndarray, new: dict[int, int], at: Float[np.ndarray, "tokens 2"]) -> dict[str, Any]:
        return {
            "layer": self.layer,
            "said": self.said,
            "xy": [round(float(number), 1) for number in at[tokens].ravel()],
            "follow": self.follows[tokens].tolist(),
            "to": [new.get(int(self.followed[old]), new[int(old)]) for old in tokens],
            "sizes": self.sizes,
            "names": self.names,
            "mean": self.mean,
        }


def _chosen(scene: TokenScene) -> Int[np.ndarray, " chosen"]:
    """Return the tokens that are moved, ascending: all, or the leaders and those that occur most often."""
    count = len(scene.labels)
    if count <= MOST_TOKENS:
        return np.arange(count)
    rank = scene.weights.copy()
    rank[scene.leaders] = np.inf
    return np.sort(np.argsort(-rank, kind="stable")[:MOST_TOKENS])


def _pole(scene: TokenScene) -> int:
    """Return the token that is the neutral pole, -1 when none leads."""
    return int(scene.leaders[scene.neutral]) if scene.neutral >= 0 else -1


def _names(scene: TokenScene) -> list[str]:
    pole = _pole(scene)
    return ["neutral pole" if token == pole else word for token, word in enumerate(scene.labels)]


def _looks(view: View, names: list[str], colours: dict[str, str], numbers: dict[str, int]) -> list[_Look]:
    """Return the look of each leader of the scene; the neutral pole is grey and has the number 0."""
    looks = []
    for leader, token in enumerate(map(int, view.scene.leaders)):
        neutral = leader == view.scene.neutral
        word = names[token]
        colour = NEUTRAL if neutral else colours.get(word, view.styles[leader].colour)
        number = "0" if neutral else str(numbers.get(word, ""))
        shown = word if len(word) <= _LONGEST else word[: _LONGEST - 1] + "…"
        looks.append(_Look(token=token, title=f"{number} {shown}".strip(), colour=colour, number=number))
    return looks


def _drawn(view: View, layers: list[int]) -> tuple[list[Float[np.ndarray, "tokens 2"]], float, float]:
    """Return where the tokens are drawn at each stop, on equal scales, the drawing's height, and where 0 is."""
    points = view.points[layers]
    if view.dim == 1:
        points = np.concatenate([points, np.zeros_like(points)], axis=2)
    elif view.dim > 2:
        centre, axes, _ = (side_axes if view.scene.ends[1] else principal_axes)(points[0])
        points = (points - centre) @ axes.T
    low, high = points.min(axis=(0, 1)), points.max(axis=(0, 1))
    if view.scene.ends[1]:
        low[0], high[0] = min(low[0], 0.0), max(high[0], 0.0)
    extent = high - low
    wide, tall = _WIDTH - 2 * _SIDE, _TALLEST - _TOP - _FOOT
    scale = min(wide / max(extent[0], 1e-300), tall / max(extent[1], 1e-300), 1e300)
    height = max(float(extent[1] * scale), _LOWEST) + _TOP + _FOOT
    middle = (low + high) / 2
    origin = np.array([_WIDTH / 2, _TOP + (height - _TOP - _FOOT) / 2])
    positions = [np.round((at - middle) * scale * np.array([1, -1]) + origin, 1) for at in points]
    return positions, round(height, 1), round(float(origin[0] - middle[0] * scale), 1)


def _stop(
    view: View, layer: int, at: Float[np.ndarray, "tokens 2"], height: float, names: list[str], looks: list[_Look]
) -> _Stop:
    scene = view.scene
    follows = view.follows(layer)
    followed = scene.followed[min(layer, scene.layers - 1)]
    present = set(view.present(layer).tolist())
    mass = np.bincount(follows[follows >= 0], scene.weights[follows >= 0], minlength=len(looks))
    sizes = _sizes(view, mass, present)
    moved = sum(int(follows[token] < 0 or looks[follows[token]].token != token) for token in range(len(names)))
    return _Stop(
        layer=layer,
        follows=follows,
        followed=followed,
        sizes=sizes,
        names=_place_names([look.title for look in looks], at[scene.leaders], sizes, mass, height),
        mean=round(float(np.average(at[:, 0], weights=scene.weights)), 1),
        said=_said(view, layer, present, moved),
    )


def _sizes(view: View, mass: Float[np.ndarray, " leaders"], present: set[int]) -> list[float]:
    """Return the radii of the stars, 0 for one that does not lead yet: areas proportional to mass.

    As in the panels, the neutral pole is drawn no larger than the heaviest opinion of the last layer.
    """
    opinions = np.delete(view.masses, view.scene.neutral) if view.scene.neutral >= 0 else view.masses
    heaviest = float(opinions.max()) if len(opinions) else float(view.masses.max(initial=1.0))
    per_mass = min(_LARGEST / heaviest**0.5, 11.0)
    radii = np.clip(per_mass * np.sqrt(mass), _SMALLEST, _LARGEST).round(1)
    return [float(radius) if leader in present else 0.0 for leader, radius in enumerate(radii)]


def _said(view: View, layer: int, present: set[int], moved: int) -> str:
    """Return a layer in words."""
    scene = view.scene
    count = len(present - {scene.neutral})
    lead = "1 leader" if count == 1 else f"{count} leaders"
    pole = " and the neutral pole" if scene.neutral in present else ""
    follow = (
        "no token follows another"
        if not moved
        else f"{moved} of {len(scene.labels)} tokens {'follows' if moved == 1 else 'follow'} another"
    )
    where = ", the words where they stand" if layer == 0 else ", the last" if layer == scene.layers else ""
    return f"Layer {layer} of {scene.layers}{where}: {lead}{pole}; {follow}."


def _place_names(
    titles: list[str], at: Float[np.ndarray, "leaders 2"], sizes: list[float], mass: np.ndarray, height: float
) -> list[tuple[float, float] | None]:
    """Return the middle of each name relative to its star, heavy leaders first; None without room."""
    names: list[tuple[float, float] | None] = [None] * len(titles)
    shown = [leader for leader in np.argsort(-mass, kind="stable").tolist() if sizes[leader]]
    centres = at.tolist()
    boxes = [_around(x, y, 0.7 * sizes[leader], 0.7 * sizes[leader]) for leader in shown for x, y in [centres[leader]]]
    for leader in shown[:MOST_NAMES]:
        half = (_text_width(titles[leader]) / 2, 0.55 * _FONT)
        for dx, dy in _offsets(sizes[leader], half):
            box = _around(centres[leader][0] + dx, centres[leader][1] + dy, *half)
            inside = box[0] >= 2 and box[2] <= _WIDTH - 2 and box[1] >= 2 and box[3] <= height - _FOOT + 18
            if inside and not any(_touch(box, other) for other in boxes):
                names[leader] = (round(dx, 1), round(dy, 1))
                boxes.append(box)
                break
    return names


def _offsets(radius: float, half: tuple[float, float]) -> list[tuple[float, float]]:
    """Return where the middle of a name may be relative to its star, the best place first."""
    up, side = radius + half[1] + 1, radius + half[0] + 2
    return [
        (0.0, -up), (0.0, up), (side, 0.0), (-side, 0.0), (0.6 * side, -up), (-0.6 * side, -up), (0.6 * side, up),
        (-0.6 * side, up), (0.0, -up - 17), (0.0, up + 17), (0.6 * side, -up - 17), (-0.6 * side, -up - 17),
    ]  # fmt: skip


def _text_width(text: str) -> float:
    """Return about how wide a text is drawn."""
    return sum(_FONT * (1.0 if unicodedata.east_asian_width(letter) in "WF" else 0.6) for letter in text)


def _around(x: float, y: float, half_width: float, half_height: float) -> Box:
    return (x - half_width, y - half_height, x + half_width, y + half_height)


def _touch(first: Box, second: Box) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]
