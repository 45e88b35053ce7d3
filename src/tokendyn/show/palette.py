"""Colours and stars that colour-blind readers can distinguish, the same in every picture and page."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

#: Okabe-Ito with violet and wine for black and yellow, which text and white paper take. Each pair differs by at least
#: 16 in CIE Lab to every kind of colour blindness (Machado et al. 2009; see the test).
LEADER_COLOURS = (
    "#0072B2",  # blue
    "#D55E00",  # vermilion
    "#009E73",  # green
    "#CC79A7",  # pink
    "#E69F00",  # orange
    "#56B4E9",  # sky
    "#4B2E83",  # violet
    "#8C1A4B",  # wine
)

#: Tokens that follow no leader, and a leader that stands for "no opinion".
NEUTRAL = "#8A9099"

#: Text and outlines, and quieter text.
INK, QUIET = "#20252B", "#666D76"

#: Stars with five, four and six rays (matplotlib markers): one kind for each round of colours.
_MARKERS: tuple[str | tuple[int, int, float], ...] = ("*", (4, 1, 0.0), (6, 1, 0.0))
_ROUNDS = (0.0, -0.45, 0.5)

#: Leaders beyond this number share one grey; the heaviest keep their own colours.
MOST_DISTINCT = len(LEADER_COLOURS) * len(_ROUNDS)


@dataclass(frozen=True)
class LeaderStyle:
    """How one leader is drawn.

    Attributes
    ----------
    colour
        ``#RRGGBB``.
    marker
        A matplotlib marker, star-like.
    own
        Whether no other leader of the scene looks the same.
    """

    colour: str
    marker: str | tuple[int, int, float]
    own: bool = True


def leader_styles(masses: Float[np.ndarray, " leaders"], neutral: int = -1) -> tuple[LeaderStyle, ...]:
    """Return one style for each leader, by its place in the list.

    The first eight have a colour each; the next sixteen repeat the colours darker, then lighter, with other
    stars. With still more leaders, only the heaviest have a colour of their own.

    Parameters
    ----------
    masses
        ``(leaders,)``; used only when there are more than ``MOST_DISTINCT`` leaders.
    neutral
        Place of the leader that is drawn grey and takes no colour; -1 for none.
    """
    coloured = [leader for leader in range(len(masses)) if leader != neutral]
    if len(coloured) > MOST_DISTINCT:
        heaviest = sorted(coloured, key=lambda leader: (-masses[leader], leader))[:MOST_DISTINCT]
        coloured = sorted(heaviest)
    number = {leader: rank for rank, leader in enumerate(coloured)}
    return tuple(
        _style(number[leader])
        if leader in number
        else LeaderStyle(NEUTRAL, "*" if leader == neutral else ".", own=leader == neutral)
        for leader in range(len(masses))
    )


def _style(number: int) -> LeaderStyle:
    cycle, number = divmod(number, len(LEADER_COLOURS))
    return LeaderStyle(shaded(LEADER_COLOURS[number], _ROUNDS[cycle]), _MARKERS[cycle])


def shaded(colour: str, amount: float) -> str:
    """Return ``#RRGGBB`` mixed with white (``amount > 0``) or black (``amount < 0``)."""
    target = 255 if amount > 0 else 0
    channels = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "#" + "".join(f"{round(c + abs(amount) * (target - c)):02X}" for c in channels)
