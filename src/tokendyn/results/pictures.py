"""Pictures as plain values, drawn in the user's own style.

A result says what to draw (curves, points, ways of tokens), and these draw it with the colours, sizes and fonts of
``matplotlib.rcParams``. The pages of reports have pictures with a style of their own (:mod:`tokendyn.show`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Num

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Largest number of paths of tokens, bars and curves drawn; more cannot be distinguished.
MOST_WAYS, MOST_BARS, MOST_CURVES = 1000, 30, 10


@runtime_checkable
class Picture(Protocol):
    """Anything that draws itself in axes."""

    def draw(self, ax: "Axes") -> None:
        """Draw in axes."""


def new_axes() -> "Axes":
    """Return the axes of a new figure that pyplot does not know, so that nothing global keeps it."""
    from matplotlib.figure import Figure

    axes: Axes = Figure(layout="constrained").subplots()
    return axes


@dataclass(frozen=True)
class Curves:
    """Lines over one axis; ``bands`` shades between two curves, ``marks`` are vertical lines with names."""

    x: Any
    curves: Mapping[str, Any]
    xlabel: str = ""
    ylabel: str = ""
    log: bool = False
    bands: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    marks: Mapping[str, float] = field(default_factory=dict)

    def draw(self, ax: "Axes") -> None:
        """Draw the first :data:`MOST_CURVES`."""
        for name, values in list(self.curves.items())[:MOST_CURVES]:
            (line,) = ax.plot(self.x, values, label=name)
            if name in self.bands:
                ax.fill_between(self.x, *self.bands[name], color=line.get_color(), alpha=0.25, linewidth=0)
        for name, x in self.marks.items():
            if np.isfinite(x):
                ax.axvline(x, linestyle=":", label=name, color=ax.xaxis.label.get_color())
        if self.log:
            ax.set_yscale("log")
        left_out = len(self.curves) - MOST_CURVES
        title = f"{MOST_CURVES} of {len(self.curves)} curves" if left_out > 0 else ""
        ax.set(xlabel=self.xlabel, ylabel=self.ylabel, title=title)
        if len(self.curves) + len(self.marks) > 1:
            ax.legend()


@dataclass(frozen=True)
class Points:
    """Points in the plane, those of one group in one colour."""

    x: Num[np.ndarray, " points"]
    y: Num[np.ndarray, " points"]
    xlabel: str = ""
    ylabel: str = ""
    groups: Sequence[str] | None = None
    unit_circle: bool = False

    def draw(self, ax: "Axes") -> None:
        """Draw them, with the unit circle where it means something."""
        names = np.zeros(len(self.x), dtype=np.int64) if self.groups is None else np.asarray(self.groups)
        for name in dict.fromkeys(names.tolist()):
            chosen = names == name
            ax.scatter(self.x[chosen], self.y[chosen], label=None if self.groups is None else str(name))
        if self.unit_circle:
            turn = np.linspace(0.0, 2 * np.pi, 200)
            ax.plot(np.cos(turn), np.sin(turn), linestyle=":", color=ax.xaxis.label.get_color())
            ax.set_aspect("equal")
        ax.set(xlabel=self.xlabel, ylabel=self.ylabel)
        if self.groups is not None:
            ax.legend()


@dataclass(frozen=True)
class Bars:
    """Named numbers as bars, the first on top."""

    names: Sequence[str]
    values: Sequence[float] | Num[np.ndarray, " bars"]
    xlabel: str = ""
    title: str = ""

    def draw(self, ax: "Axes") -> None:
        """Draw the first :data:`MOST_BARS`; negative ones in the second colour of the style."""
        shown = min(len(self.names), MOST_BARS)
        numbers = np.asarray(self.values[:shown], dtype=np.float64)
        numbers = np.where(np.isfinite(numbers), numbers, 0.0)
        rows = np.arange(shown)
        for colour, chosen in (("C0", numbers >= 0), ("C1", numbers < 0)):
            ax.barh(rows[chosen], numbers[chosen], color=colour)
        ax.set_yticks(rows, [_short(name) for name in self.names[:shown]])
        ax.set_ylim(max(shown, 1) - 0.5, -0.5)
        ax.axvline(0.0, color=ax.xaxis.label.get_color(), linewidth=0.8)
        more = f"the first {shown} of {len(self.names)}" if len(self.names) > shown else ""
        ax.set(xlabel=self.xlabel, title="; ".join(filter(None, (_short(self.title, 80), more))))


@dataclass(frozen=True)
class Heat:
    """A matrix as shades; rows from the bottom up."""

    values: Float[np.ndarray, "rows columns"]
    rows: Sequence[str]
    columns: Sequence[str]
    xlabel: str = ""
    ylabel: str = ""
    name: str = ""

    def draw(self, ax: "Axes") -> None:
        """Draw it with a bar that explains the shades."""
        shades = ax.pcolormesh(np.ma.masked_invalid(self.values))
        for axis, names in ((ax.xaxis, self.columns), (ax.yaxis, self.rows)):
            every = max(len(names) // 10, 1)
            axis.set_ticks(np.arange(len(names))[::every] + 0.5, [_short(name, 12) for name in names[::every]])
        ax.set(xlabel=self.xlabel, ylabel=self.ylabel)
        ax.figure.colorbar(shades, ax=ax, label=self.name)


@dataclass(frozen=True)
class Paths:
    """Ways of tokens; dots are where they end, the tokens of one group have one colour.

    One coordinate is drawn against time. Of more than three coordinates the two principal axes of all places are drawn.
    """

    states: Float[np.ndarray, "times tokens dim"]
    times: Num[np.ndarray, " times"]
    groups: Int[np.ndarray, " tokens"] | None = None
    names: Sequence[str] = ()
    time_label: str = "layer"

    def draw(self, ax: "Axes") -> None:
        """Draw at most :data:`MOST_WAYS` of them, evenly chosen."""
        tokens = self.states.shape[1]
        chosen = np.unique(np.linspace(0, tokens - 1, min(tokens, MOST_WAYS)).round().astype(np.int64))
        states, labels = _seen(self.states[:, chosen], self.times, self.time_label)
        groups = np.zeros(tokens, dtype=np.int64) if self.groups is None else self.groups
        for number, group in enumerate(np.unique(groups[chosen])):
            members = groups[chosen] == group
            colour = f"C{number % 10}"
            alpha = 0.6 if len(chosen) <= 100 else 0.15
            ax.plot(*states[:, members].transpose(2, 0, 1), color=colour, alpha=alpha, linewidth=0.8)
            name = self.names[group] if 0 <= group < len(self.names) and number < MOST_CURVES else None
            ax.scatter(*states[-1, members].T, color=colour, label=None if name is None else _short(name), zorder=3)
        more = f"{len(chosen)} of {tokens} tokens" if len(chosen) < tokens else ""
        ax.set(xlabel=labels[0], ylabel=labels[1], title=more)
        if self.names:
            ax.legend(title="follows")


def _seen(states: np.ndarray, times: np.ndarray, time_label: str) -> tuple[np.ndarray, tuple[str, str]]:
    """Return states in the plane of the picture, and the names of its axes."""
    dim = states.shape[2]
    if dim == 1:
        along = np.broadcast_to(np.asarray(times, dtype=np.float64)[:, None], states.shape[:2])
        return np.stack([along, states[:, :, 0]], axis=2), (time_label, "x1")
    if dim == 2:
        return states, ("x1", "x2")
    # Numbers near the largest float would overflow in the products of the decomposition.
    size = float(np.abs(states).max()) or 1.0
    flat = states.reshape(-1, dim) / size
    centred = flat - flat.mean(axis=0)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, :-3:-1]
    return size * (flat @ axes).reshape(*states.shape[:2], 2), ("first principal axis", "second principal axis")


def _short(name: object, most: int = 30) -> str:
    # "$" would begin a formula, which matplotlib refuses where it is none.
    text = str(name).replace("$", r"\$")
    return text if len(text) <= most else f"{text[: most - 1]}…"
