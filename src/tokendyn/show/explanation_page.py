"""The page of one explained text: verdict, coloured text, contributions, leaders, motion of its words."""

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tokendyn.show.explained import ExplainedText, Piece, pieces
from tokendyn.show.motion import Motion, motion
from tokendyn.show.palette import NEUTRAL, leader_styles
from tokendyn.show.report import Picture, render, source, write_page
from tokendyn.show.scene import TokenScene

#: Longer texts are shown around their leaders only.
MOST_CHARACTERS = 20_000

_MOST_BARS, _MOST_ROWS, _MOST_FOLLOWERS, _MOST_GONE = 14, 60, 24, 12


def explanation_html(
    explained: ExplainedText,
    scene: TokenScene | None = None,
    pictures: Sequence[Picture] = (),
    title: str = "Why this verdict",
) -> str:
    """Return an explained text as one HTML document that loads nothing.

    Its one script moves the slider; the page's policy admits it by its hash and no other. Without scripts the
    last layer is shown.

    Parameters
    ----------
    explained
        The verdict and its reasons.
    scene
        The words in motion: a slider moves them through the layers and recolours the text; panels and a strip
        show the same in print. Words are matched by their labels, so that text and pictures share the colours.
    pictures
        Further pictures.
    title
        Title of the page.
    """
    page = _page(explained, scene, [*_scene_pictures(scene, summed=explained.others is not None), *pictures])
    script = source("motion.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return render("explanation.html.j2", page=page, title=title, script=script, digest=digest)


def explanation_fragment(
    explained: ExplainedText, scene: TokenScene | None = None, pictures: Sequence[Picture] = ()
) -> str:
    """Return the same as a piece of HTML with its own style, to embed in a notebook or another page.

    It has no ``id``, so that any number of pieces share a page. A scene gives the slider, not the pictures.
    """
    return render("explanation_fragment.html.j2", page=_page(explained, scene, pictures), script=source("motion.js"))


def write_explanation(
    explained: ExplainedText,
    path: str | Path,
    scene: TokenScene | None = None,
    pictures: Sequence[Picture] = (),
    title: str = "Why this verdict",
) -> None:
    """Write :func:`explanation_html` to a file, which appears only when it is whole."""
    write_page(explanation_html(explained, scene, pictures, title), path)


@dataclass(frozen=True)
class _Shown:
    """A piece of text as the template needs it; ``token`` is its token in the plane, -1 for none."""

    text: str
    gap: int = 0
    colour: str = ""
    looks: str = ""
    sign: str = ""
    tip: str = ""
    star: str = "1"
    number: str = ""
    token: int = -1

    @property
    def spoken(self) -> str:
        return self.tip.replace("\n", ", ")


@dataclass(frozen=True)
class _Bar:
    """A signed bar; places are percentages of the track."""

    name: str
    number: str
    value: str
    colour: str
    left: float
    width: float
    zero: float
    negative: bool
    total: bool = False


@dataclass(frozen=True)
class _Row:
    """A row of the table of leaders."""

    colour: str
    number: str
    word: str
    mass: str
    value: str
    own: str
    contribution: str
    times: str
    followers: str


@dataclass(frozen=True)
class _Page:
    """All that the template shows."""

    label: str
    confidence: str
    summary: str
    note: str
    pieces: list[_Shown]
    positive: str
    negative: str
    text_notes: list[str]
    bars: list[_Bar]
    sum_line: str
    succession_line: str
    rows: list[_Row]
    neutral_line: str
    pictures: Sequence[Picture]
    motion: Motion | None
    summed: bool


def _page(explained: ExplainedText, scene: TokenScene | None, pictures: Sequence[Picture]) -> _Page:
    colours = leader_colours(explained, scene)
    parts, dropped = pieces(explained, MOST_CHARACTERS)
    negative, positive = explained.classes
    moving = _motion(explained, scene, colours)
    numbers = _numbers(explained)
    return _Page(
        label=explained.label,
        confidence=percent(explained.confidence),
        summary=_summary(explained),
        note=explained.note,
        pieces=[_shown(explained, piece, colours, numbers, moving) for piece in parts],
        positive=positive,
        negative=negative,
        text_notes=_text_notes(explained, sum(piece.gap for piece in parts), dropped),
        bars=_bars(explained, colours),
        sum_line=sum_line(explained),
        succession_line=succession_line(explained),
        rows=_rows(explained, colours),
        neutral_line=neutral_line(explained),
        pictures=pictures,
        motion=moving,
        summed=explained.others is not None,
    )


def _motion(explained: ExplainedText, scene: TokenScene | None, colours: list[str]) -> Motion | None:
    """Return the words that the slider moves, leaders coloured and numbered as in the text."""
    if scene is None or not scene.layers or not scene.labels:
        return None
    words = [leader.word for leader in explained.leaders]
    return motion(scene, dict(zip(words, colours, strict=True)), dict(zip(words, _numbers(explained), strict=True)))


def _numbers(explained: ExplainedText) -> list[int]:
    """Return the number of each leader, 1 for the strongest: it distinguishes leaders of similar colours."""
    rank = {leader: number for number, leader in enumerate(explained.by_contribution, start=1)}
    return [rank[leader] for leader in range(len(rank))]


def leader_colours(explained: ExplainedText, scene: TokenScene | None = None) -> list[str]:
    """Return a colour for each leader; with a scene, that of the scene's leader of the same label."""
    if scene is None:
        masses = np.array([leader.mass for leader in explained.leaders], dtype=np.float64)
        return [style.colour for style in leader_styles(masses)]
    leader_of = {scene.labels[int(token)]: leader for leader, token in reversed(list(enumerate(scene.leaders)))}
    others = [leader.word for leader in explained.leaders if leader.word not in leader_of]
    leader_of |= {word: len(scene.leaders) + number for number, word in enumerate(others)}
    styles = leader_styles(np.append(scene.leader_masses, np.zeros(len(others))), scene.neutral)
    return [styles[leader_of[leader.word]].colour for leader in explained.leaders]


def _summary(explained: ExplainedText) -> str:
    count = len(explained.leaders)
    if not count and explained.residual:
        return (
            f"No word leads: all end at the neutral pole. What they add ({signed(explained.residual)}) and "
            f"the bias ({signed(explained.bias)}) decide."
        )
    if not count:
        return (
            f"No word of the text speaks for either class: the verdict comes from the bias ({signed(explained.bias)})."
        )
    best = explained.leaders[explained.by_contribution[0]]
    if explained.others is not None:
        alone = "" if best.own is None else f" (without “{best.word}” the logit moves by {signed(-best.own)})"
        group = f"“{best.word}” with the words that it leads" if best.followers else f"“{best.word}”"
        return (
            f"The verdict is the sum of all words; {count} {'leader groups' if count == 1 else 'leaders group'} the "
            f"strong ones. Most comes from {group}: {signed(best.contribution)}{alone}. "
            f"The logit is {signed(explained.logit)}; above zero it means {explained.classes[1]}."
        )
    leads = "One leader decides:" if count == 1 else f"{count} leaders decide; the strongest is"
    return (
        f"{leads} “{best.word}” with {signed(best.contribution)}. "
        f"The logit is {signed(explained.logit)}; above zero it means {explained.classes[1]}."
    )


def neutral_line(explained: ExplainedText) -> str:
    """Return the content of the neutral pole in words; empty if there is nothing to add."""
    if explained.others is not None:
        low, high = explained.others
        if not low and not high:
            return ""
        return f"All other words and n-grams add {signed(high)} and {signed(low)}: {signed(explained.residual)}."
    if not explained.neutral_words:
        return "The neutral pole is empty: every known word follows a leader."
    words = "1 word" if explained.neutral_words == 1 else f"{explained.neutral_words:,} words"
    return f"The neutral pole gathers {words} (mass {short(explained.neutral_mass)}) and adds nothing to the logit."


def scaling_lines(explained: ExplainedText) -> list[str]:
    """Return what modifiers and neighbours do to the words of the text: a sentence each, none if nothing."""
    lines = [f"Modifiers in the text: {'; '.join(explained.scaled)}."] if explained.scaled else []
    if explained.attended:
        lines.append(f"By the words beside them and their place in the text: {', '.join(explained.attended)}.")
    return lines


def sum_line(explained: ExplainedText) -> str:
    """Return the sum of all parts and the logit in words, with a remark if they differ."""
    rest = "residual" if explained.others is None else "other words"
    parts = f"Bias, contributions and {rest} add up to {explained.sum:+.6f}".replace("-", "−")
    if explained.adds_up:
        return f"{parts}, {_meaning(explained)}."
    return f"{parts}, but the logit is {signed(explained.logit, 6)}: the parts do not account for all of it."


def _meaning(explained: ExplainedText) -> str:
    """Return the relation of logit and probability in words."""
    rival, label = explained.classes
    if not explained.several:
        kept = (
            f", but a text of its length leaves either class at least {explained.doubt:.2%}" if explained.doubt else ""
        )
        return f"the logit; its logistic function is the probability of {label}{kept}"
    return f"the score of {label}" if explained.others is None else f"by which {label} leads {rival}, the second best"


def succession_line(explained: ExplainedText) -> str:
    """Return the words whose removal turns the verdict, in a sentence; empty if unknown."""
    if not explained.succession:
        return ""
    turned = next((number for number, (_, margin) in enumerate(explained.succession) if margin < 0), None)
    removed = [word for word, _ in explained.succession[: None if turned is None else turned + 1]]
    more = f" and {len(removed) - _MOST_GONE} more" if len(removed) > _MOST_GONE else ""
    names = ", ".join(removed[:_MOST_GONE]) + more
    stands = "is weakest and still stands" if turned is None else "turns"
    return f"Without these words the verdict {stands}, removed in this order: {names}."


def _text_notes(explained: ExplainedText, hidden: int, dropped: int) -> list[str]:
    notes = []
    if hidden:
        notes.append(
            f"The text has {len(explained.text):,} characters; {hidden:,} of them, "
            "away from the leaders, are not shown."
        )
    if dropped:
        notes.append(
            "1 word overlaps a stronger one and is not coloured; what it adds counts all the same."
            if dropped == 1
            else f"{dropped:,} words overlap stronger ones and are not coloured; what they add counts all the same."
        )
    return notes + scaling_lines(explained)


def _shown(
    explained: ExplainedText, piece: Piece, colours: list[str], numbers: list[int], moving: Motion | None
) -> _Shown:
    token = piece.token
    at = moving.token_of.get(token.word, -1) if moving and token else -1
    if token is None or (token.leader < 0 and at < 0):
        return _Shown(piece.text, piece.gap)
    if token.leader < 0:
        tip = f"“{token.word}” ends with no leader\nadds {signed(token.contribution, 4)}"
        number = moving.number_at_the_end(at) if moving else ""
        looks = _direction(token.contribution) + " td-free"
        return _Shown(piece.text, colour=NEUTRAL, looks=looks, tip=tip, number=number, token=at)
    leader = explained.leaders[token.leader]
    part = leader.contribution if piece.leads else token.contribution
    towards = f"towards {explained.classes[part > 0]}" if part else "no direction"
    colour, number = colours[token.leader], str(numbers[token.leader])
    looks = _direction(part)
    if not piece.leads:
        tip = f"“{token.word}” follows “{leader.word}”\nadds {signed(token.contribution, 4)}, {towards}"
        return _Shown(piece.text, colour=colour, looks=looks, tip=tip, number=number, token=at)
    heaviest = max(other.mass for other in explained.leaders)
    share = math.sqrt(leader.mass / heaviest) if heaviest > 0 else 1.0
    tip = (
        f"“{token.word}” leads: mass {short(leader.mass)}, value {signed(leader.value)}\n"
        + ("" if leader.own is None else f"without it the logit moves by {signed(-leader.own, 4)}\n")
        + f"its cluster adds {signed(leader.contribution, 4)}, {towards}"
    )
    sign = "+" if part > 0 else "−" if part < 0 else ""
    star = f"{max(0.5, 1.45 * share):.2f}"
    return _Shown(
        text=piece.text,
        gap=0,
        colour=colour,
        looks=looks + " td-lead",
        sign=sign,
        tip=tip,
        star=star,
        number=number,
        token=at,
    )


def _direction(part: float) -> str:
    return " td-neg" if part < 0 else ""


def contribution_lines(explained: ExplainedText, most: int = _MOST_BARS) -> list[tuple[str, float, int]]:
    """Return name, part and leader (-1 for none) of every line of the sum; weak leaders share one line."""
    order = explained.by_contribution
    lines = [(explained.leaders[i].word, explained.leaders[i].contribution, i) for i in order[:most]]
    rest = order[most:]
    if rest:
        lines.append((f"{len(rest)} weaker leaders", math.fsum(explained.leaders[i].contribution for i in rest), -1))
    rest_of_text = "residual" if explained.others is None else "other words"
    return [*lines, (rest_of_text, explained.residual, -1), ("bias", explained.bias, -1)]


def _bars(explained: ExplainedText, colours: list[str]) -> list[_Bar]:
    lines = [*contribution_lines(explained), ("= logit", explained.sum, -2)]
    low, high = min(0.0, *(part for _, part, _ in lines)), max(0.0, *(part for _, part, _ in lines))
    extent = high - low or 1.0
    zero = 100 * -low / extent
    numbers = _numbers(explained)
    bars = []
    for name, part, leader in lines:
        colour = colours[leader] if leader >= 0 else NEUTRAL
        left = round(100 * (min(part, 0.0) - low) / extent, 3)
        width = round(100 * abs(part) / extent, 3)
        number = str(numbers[leader]) if leader >= 0 else ""
        bars.append(
            _Bar(
                name=name,
                number=number,
                value=signed(part),
                colour=colour,
                left=left,
                width=width,
                zero=round(zero, 3),
                negative=part < 0,
                total=leader == -2,
            )
        )
    return bars


def _rows(explained: ExplainedText, colours: list[str]) -> list[_Row]:
    rows = []
    for number, index in enumerate(explained.by_contribution[:_MOST_ROWS], start=1):
        leader = explained.leaders[index]
        names = ", ".join(list(leader.followers)[:_MOST_FOLLOWERS])
        left = len(leader.followers) - _MOST_FOLLOWERS
        rows.append(
            _Row(
                colours[index],
                str(number),
                leader.word,
                short(leader.mass),
                signed(leader.value),
                "–" if leader.own is None else signed(leader.own, 4),
                signed(leader.contribution, 4),
                f"{len(leader.spans):,}",
                (names + (f" and {left} more" if left > 0 else "")) or "–",
            )
        )
    if explained.neutral_words:
        name, part, tokens = (
            ("(neutral pole)", "0", "words")
            if explained.others is None
            else ("(other words)", signed(explained.residual, 4), "words and n-grams")
        )
        followers = f"{explained.neutral_words:,} {tokens}"
        mass = short(explained.neutral_mass)
        rows.append(_Row(NEUTRAL, "0", name, mass, "–", "–", part, "–", followers))
    return rows


def _scene_pictures(scene: TokenScene | None, *, summed: bool) -> list[Picture]:
    if scene is None:
        return []
    from tokendyn.show.panels import chosen_layers, panels
    from tokendyn.show.strip import following_strip

    layers = ", ".join(map(str, chosen_layers(scene, None)))
    names = ", ".join(scene.labels[int(token)] for token in scene.leaders[:12])
    speaks = "every word still adds its own part" if summed else "it speaks for all of them"
    share = "its star's area; it does not scale the verdict" if summed else "its weight"
    what = f"{len(scene.labels)} tokens at layers {layers}; leaders: {names or 'none'}"
    return [
        Picture(
            picture=panels(scene),
            alt=f"Panels of {what}.",
            caption=f"Notice that words of one colour end at one star, their leader: {speaks}.",
            narrow=panels(scene, narrow=True),
        ),
        Picture(
            picture=following_strip(scene),
            alt=f"Bands of who follows whom: {what}.",
            caption=f"Notice the widths at the right edge: the share of the words that a leader has is {share}.",
            narrow=following_strip(scene, narrow=True),
        ),
    ]


def signed(value: float, digits: int = 3) -> str:
    """Return a number with its sign, and a true minus."""
    rounded = round(value, digits)
    return f"{rounded if rounded else 0.0:+.{digits}f}".replace("-", "−")


def short(value: float) -> str:
    """Return a mass or share without needless digits."""
    return f"{value:,.0f}" if abs(value - round(value)) < 1e-9 and abs(value) >= 1 else f"{value:.3g}"


def percent(share: float) -> str:
    """Return a probability in percent that never rounds to certainty."""
    if 0.9995 < share < 1:
        return "over 99.9 %"
    return "under 0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"
