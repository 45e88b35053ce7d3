"""An explained text in the terminal, by rich."""

import re

from rich.console import Group
from rich.rule import Rule
from rich.style import Style
from rich.table import Table
from rich.text import Text

from tokendyn.show.explained import ExplainedText, pieces
from tokendyn.show.explanation_page import (
    contribution_lines,
    leader_colours,
    neutral_line,
    percent,
    scaling_lines,
    short,
    signed,
    succession_line,
    sum_line,
)
from tokendyn.show.palette import NEUTRAL

#: Characters of the text that are shown.
MOST_CHARACTERS = 900

_BAR = 24
#: Characters of the words that a leader leads.
_LED = 36
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def explanation_terminal(explained: ExplainedText) -> Group:
    """Return an explained text for ``rich.print``: verdict, coloured excerpt, contributions that add up.

    Leaders are bold and starred, words have the colour of their leader, words against the second class
    are underlined too. Control characters of the text are replaced, so it cannot steer the terminal.
    """
    colours = leader_colours(explained)
    parts: list[Text | Table | Rule] = [_verdict(explained)]
    if explained.note:
        parts.append(Text(_clean(explained.note), style="italic"))
    parts += [Rule(style="dim"), _excerpt(explained, colours), Rule(style="dim"), _table(explained, colours)]
    parts += [Text(line, style="dim") for line in (sum_line(explained), neutral_line(explained)) if line]
    parts += [Text(_clean(line)) for line in scaling_lines(explained)]
    turning = succession_line(explained)
    if turning:
        parts.append(Text(_clean(turning)))
    return Group(*parts)


def _clean(text: str) -> str:
    return _CONTROL.sub("·", text.replace("\r\n", "\n").replace("\r", "\n"))


def _verdict(explained: ExplainedText) -> Text:
    line = Text()
    line.append(_clean(explained.label), style="bold")
    line.append(f"  {percent(explained.confidence)}", style="bold")
    line.append(f"   logit {signed(explained.logit)}: above zero means {_clean(explained.classes[1])}", style="dim")
    return line


def _excerpt(explained: ExplainedText, colours: list[str]) -> Text:
    parts, _ = pieces(explained, MOST_CHARACTERS)
    text = Text()
    for piece in parts:
        if piece.gap:
            text.append(f" [… {piece.gap:,} characters …] ", style="dim italic")
        elif piece.token is None or piece.token.leader < 0:
            text.append(_clean(piece.text), style="dim")
        else:
            leader = explained.leaders[piece.token.leader]
            part = leader.contribution if piece.leads else piece.token.contribution
            colour = colours[piece.token.leader]
            style = Style(color=colour, bold=piece.leads, underline=part < 0)
            star = "★" if piece.leads else ""
            text.append(star + _clean(piece.text), style=style)
    return text


def _table(explained: ExplainedText, colours: list[str]) -> Table:
    table = Table(box=None, pad_edge=False, show_footer=True, header_style="dim", footer_style="bold")
    table.add_column("leader", footer="= logit", overflow="ellipsis", max_width=24, no_wrap=True)
    summed = explained.others is not None
    table.add_column("alone" if summed else "mass", justify="right")
    table.add_column("with its words" if summed else "adds", justify="right", footer=signed(explained.sum))
    negative, positive = (_clean(name)[: _BAR // 2] for name in explained.classes)
    table.add_column(f"{negative:>{_BAR // 2}}│{positive}", no_wrap=True)
    if summed:
        table.add_column("its words", no_wrap=True, overflow="ellipsis")
    lines = contribution_lines(explained, 10)
    widest = max((abs(part) for _, part, _ in lines), default=0.0) or 1.0
    for name, part, place in lines:
        colour = colours[place] if place >= 0 else NEUTRAL
        table.add_row(
            Text(_clean(name), style=Style(color=colour, bold=place >= 0)),
            _first_number(explained, place),
            signed(part),
            _bar(part / widest if round(part, 3) else 0.0, colour),  # no bar beside "+0.000"
            *([Text(_clean(_led(explained, place)), style="dim")] if summed else []),
        )
    return table


def _first_number(explained: ExplainedText, place: int) -> str:
    """Return what a leader adds alone, or its mass; nothing on the lines that are no leader."""
    if place < 0:
        return ""
    leader = explained.leaders[place]
    return short(leader.mass) if leader.own is None else signed(leader.own)


def _led(explained: ExplainedText, place: int) -> str:
    """Return the words that a leader leads, as many as a line holds."""
    names = list(explained.leaders[place].followers) if place >= 0 else []
    shown: list[str] = []
    while names and len(", ".join([*shown, names[0]])) <= _LED:
        shown.append(names.pop(0))
    return ", ".join(shown) + (f" and {len(names)} more" if names and shown else "")


def _bar(share: float, colour: str) -> Text:
    half = _BAR // 2
    blocks = round(abs(share) * half) or (1 if share else 0)
    bar = "█" * blocks
    left, right = (bar.rjust(half), "") if share < 0 else (" " * half, bar)
    line = Text(left, style=Style(color=colour))
    line.append("│", style="dim")
    line.append(right, style=Style(color=colour))
    return line
