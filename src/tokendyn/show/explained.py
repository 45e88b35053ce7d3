"""One explained text as plain values, and its words laid out over the original text."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from tokendyn.errors import BadInputError

Spans = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class ExplainedLeader:
    """A word that leads a cluster.

    Attributes
    ----------
    word, spans
        The word, and its positions in the text: pairs of start and end, counted in characters.
    mass
        Share or number of words that end with it.
    value
        Position of the leader on the decoder's axis.
    contribution
        What its cluster adds to the logit.
    followers
        Words that end with it, without itself.
    own
        What the word itself adds, where its cluster is a sum over words; None where the leader speaks for all of them.
    """

    word: str
    spans: Spans
    mass: float
    value: float
    contribution: float
    followers: Sequence[str] = ()
    own: float | None = None


@dataclass(frozen=True)
class ExplainedToken:
    """A word of the text: its position, the leader that it ends with (-1: the neutral pole or none), its share.

    ``contribution`` is the part of the logit from the word itself.
    """

    word: str
    spans: Spans
    leader: int = -1
    contribution: float = 0.0


@dataclass(frozen=True)
class ExplainedText:
    """A verdict on a text, with the reasons.

    Attributes
    ----------
    text
        The original text.
    label
        The verdict: one of the two classes.
    probability
        Probability of the *second* class, the one that a positive logit means.
    classes
        The two class names: for a negative and for a positive logit.
    logit, bias, residual
        ``logit = bias + residual + sum of the leaders' contributions``. The residual is whatever no leader
        accounts for.
    leaders, tokens
        See :class:`ExplainedLeader`, :class:`ExplainedToken`; ``token.leader`` counts ``leaders`` from 0.
    neutral_mass, neutral_words
        Mass of the neutral pole, and number of words of the text at it.
    note
        Remark for the reader.
    succession
        Words removed one after the other, with the margin of the verdict without this word and those before it.
    others
        The residual as its negative and its positive part, where every word adds a part of its own; else None.
    several
        Whether there are more than the two classes: the logit is then a margin or a score, and its logistic function
        not the probability.
    scaled
        What modifiers do to words of the text, a sentence for each.
    attended
        Leaders that count more or less than once among their neighbours, a sentence for each.
    doubt
        Least chance of an error for a text of this length, whatever its logit.
    """

    text: str
    label: str
    probability: float
    classes: tuple[str, str]
    logit: float
    bias: float
    leaders: Sequence[ExplainedLeader]
    tokens: Sequence[ExplainedToken]
    residual: float = 0.0
    neutral_mass: float = 0.0
    neutral_words: int = 0
    note: str = ""
    succession: Sequence[tuple[str, float]] = ()
    others: tuple[float, float] | None = None
    several: bool = False
    scaled: Sequence[str] = ()
    attended: Sequence[str] = ()
    doubt: float = 0.0

    def __post_init__(self) -> None:
        problems = []
        if not 0 <= self.probability <= 1:
            problems.append(f"the probability must lie in [0, 1], got {self.probability}")
        if not all(map(math.isfinite, (self.logit, self.bias, self.residual))):
            problems.append("logit, bias and residual must be finite")
        if self.label not in self.classes:
            problems.append(f"the label {self.label!r} is none of the classes {self.classes}")
        wrong = [token.word for token in self.tokens if not -1 <= token.leader < len(self.leaders)]
        if wrong:
            problems.append(f"{len(wrong)} tokens name a leader that does not exist, the first is {wrong[0]!r}")
        if problems:
            raise BadInputError.all_of("the explained text", problems)

    @property
    def sum(self) -> float:
        """Bias, residual and contributions added up: the logit."""
        return math.fsum([self.bias, self.residual, *(leader.contribution for leader in self.leaders)])

    @property
    def adds_up(self) -> bool:
        """Whether the parts give the logit to 1e-5 (relative above 1)."""
        return abs(self.sum - self.logit) <= 1e-5 * max(1.0, abs(self.logit))

    @property
    def confidence(self) -> float:
        """Probability of the verdict itself."""
        return self.probability if self.label == self.classes[1] else 1 - self.probability

    @property
    def by_contribution(self) -> list[int]:
        """Places of the leaders, the strongest contribution first."""
        return sorted(range(len(self.leaders)), key=lambda number: -abs(self.leaders[number].contribution))


@dataclass(frozen=True)
class Piece:
    """A run of text with one look: a word (``token`` set), plain text, or a gap that is not shown."""

    text: str
    token: ExplainedToken | None = None
    leads: bool = False
    gap: int = 0


def pieces(explained: ExplainedText, most: int) -> tuple[list[Piece], int]:
    """Cut the text into words and what is between them.

    Spans outside the text are cut to it; of overlapping ones, leaders and then strong contributions win.
    A text longer than ``most`` characters is shown around its leaders only.

    Returns
    -------
    list of Piece
        In order; their texts are those shown.
    int
        How many occurrences of words are not coloured, because they overlap others.
    """
    windows = shown_windows(explained, most)
    leading = {leader.word for leader in explained.leaders}
    wanted = _occurrences(explained, leading, windows)
    kept, dropped = _without_overlaps(wanted)
    parts: list[Piece] = []
    at, number = 0, 0
    for start, end in windows:
        if start > at:
            parts.append(Piece("", gap=start - at))
        at = start
        while number < len(kept) and kept[number][0] < end:
            low, high, token, leads = kept[number]
            if low > at:
                parts.append(Piece(explained.text[at:low]))
            parts.append(Piece(text=explained.text[low:high], token=token, leads=leads))
            at, number = high, number + 1
        if at < end:
            parts.append(Piece(explained.text[at:end]))
            at = end
    if at < len(explained.text):
        parts.append(Piece("", gap=len(explained.text) - at))
    return parts, dropped


Occurrence = tuple[int, int, ExplainedToken, bool]


def _occurrences(explained: ExplainedText, leading: set[str], windows: list[tuple[int, int]]) -> list[Occurrence]:
    """Return the spans that lie in a window, strongest first."""
    starts = [start for start, _ in windows]
    occurrences: list[Occurrence] = []
    for token in explained.tokens:
        leads = token.leader >= 0 and explained.leaders[token.leader].word == token.word and token.word in leading
        for low, high in token.spans:
            number = bisect_left(starts, max(0, low) + 1) - 1
            if number < 0:
                continue
            start, end = windows[number]
            low, high = max(low, start), min(high, end)  # noqa: PLW2901
            if low < high:
                occurrences.append((low, high, token, leads))
    # Leaders first, then by strength; where spans begin together, the longer one.
    return sorted(occurrences, key=lambda span: (not span[3], -abs(span[2].contribution), span[0], -span[1]))


def _without_overlaps(wanted: list[Occurrence]) -> tuple[list[Occurrence], int]:
    """Accept occurrences in order of strength unless they touch an accepted one."""
    starts: list[int] = []
    accepted: dict[int, Occurrence] = {}
    for occurrence in wanted:
        low, high = occurrence[:2]
        position = bisect_left(starts, low)
        before = accepted[starts[position - 1]] if position else None
        if (before is not None and before[1] > low) or (position < len(starts) and starts[position] < high):
            continue
        starts.insert(position, low)
        accepted[low] = occurrence
    return [accepted[start] for start in starts], len(wanted) - len(accepted)


def shown_windows(explained: ExplainedText, most: int) -> list[tuple[int, int]]:
    """Return which parts of the text are shown: all of it, or windows around its leaders and its beginning."""
    length = len(explained.text)
    if length <= most:
        return [(0, length)] if length else []
    centres = [0]
    for number in explained.by_contribution:
        centres += [low for low, high in explained.leaders[number].spans if 0 <= low < high][:200]
    reach = max(40, min(300, most // (2 * min(len(centres), 30))))
    windows: list[tuple[int, int]] = []
    for centre in dict.fromkeys(centres):
        window = (max(0, centre - reach), min(length, centre + reach))
        merged = _merged([*windows, window])
        if sum(end - start for start, end in merged) > most:
            break
        windows = merged
    return [(_word_start(explained.text, start), end) for start, end in windows]


def _word_start(text: str, start: int) -> int:
    """Return the place behind the next blank, so that a window does not begin inside a word."""
    blank = text.find(" ", start, start + 20) if start else -1
    return blank + 1 if blank >= 0 else start


def _merged(windows: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(windows):
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
