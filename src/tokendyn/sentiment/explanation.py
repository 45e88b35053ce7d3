"""The explanation of a verdict: the leaders of the text, exactly."""

from dataclasses import asdict, dataclass, field, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from tokendyn.data.explored import MOST_STEPS, MOST_TOKENS, Explored
from tokendyn.late import function_at
from tokendyn.results import Bars, Result

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.figure import Figure

_explained_text = function_at("tokendyn.sentiment.report:explained_text")
_scene = function_at("tokendyn.sentiment.report:scene")

Span = tuple[int, int]
#: Number of modified words in a summary.
_SHOWN = 5
#: Part of the largest change by a modifier from which on a change is named.
_WORTH = 0.05
#: Factor from which on a weight is clearly not 1.
_CLEARLY = 1.4


@dataclass(frozen=True)
class LeaderWord:
    """A word of the text that leads other words, or stands alone.

    Attributes
    ----------
    word, spans
        The word in normal form and its positions in the original text.
    mass
        Its share w: its own tokens and those of its followers; all shares sum to 1. At transfer 0 a share of all tokens
        of the text, phantom words included, which only sizes the star.
    value
        Its learned value; the sign shows the class. At transfer 0 an occurrence of weight m in a text of n words adds
        ``m value / (n + phantom_)``.
    contribution
        Its exact part of the logit. At transfer 0, the sum over the word and its followers; at transfer 1, ``gain mass
        value``.
    own
        Effect of the word alone: at transfer 0 the fall of the logit when all its occurrences are removed from the
        text, with the n-grams that vanish and form, while ends of sentences stay; at transfer 1 ``gain value`` times
        the share of its own occurrences.
    followers
        Words that ended with it; at transfer 0, those of largest effect first.
    by_class
        With more than two classes, its contribution to the score of each class; else empty. ``value`` and
        ``contribution`` are then those towards the predicted class: at transfer 0, against the second best.
    """

    word: str
    spans: tuple[Span, ...]
    mass: float
    value: float
    contribution: float
    own: float
    followers: tuple[str, ...]
    by_class: tuple[float, ...] = ()


@dataclass(frozen=True)
class NeutralPole:
    """The one token that stands for all words without a value.

    Attributes
    ----------
    mass
        Its share of the verdict; its contribution to the logit is 0.
    words
        Number of words of the text that it stands for.
    followers
        Words with a value that ended with it.
    follows
        The leader that it ended with, None when it leads itself or is absent.
    """

    mass: float
    words: int
    followers: tuple[str, ...]
    follows: str | None


class WordContribution(NamedTuple):
    """Share, value and exact contribution of one distinct word, leader or not.

    Attributes
    ----------
    word, spans, mass, value, contribution, leader
        As in :class:`LeaderWord`, with the leader that it follows, None for a leader and for other words.
    by_class
        With more than two classes, its contribution to the score of each class; else empty.
    weight
        At transfer 0, how often an occurrence counts on average, by its modifier, its neighbours and its sentence.
        ``contribution = len(spans) weight value / (words of the text + phantom_)``.
    """

    word: str
    spans: tuple[Span, ...]
    mass: float
    value: float
    contribution: float
    leader: str | None
    by_class: tuple[float, ...] = ()
    weight: float = 1.0


class Departure(NamedTuple):
    """A word removed from the text, in the order of succession.

    Attributes
    ----------
    word, spans
        The word and its positions.
    margin
        Margin of the verdict without this word and the words before it: its score minus the largest score of another
        class; for two classes, the logit towards the verdict. Negative once the verdict has turned.
    """

    word: str
    spans: tuple[Span, ...]
    margin: float


class Modified(NamedTuple):
    """A word that counts more or less than once, because it follows a negator, a contrast or an intensifier.

    Attributes
    ----------
    word, span
        The word and its position.
    by
        The modifier that it follows.
    weight
        Weight of the occurrence instead of 1; a negative weight reverses the word.
    contribution
        Contribution of this occurrence to the logit; without the modifier it would be ``contribution / weight``.
    """

    word: str
    span: Span
    by: tuple[str, ...]
    weight: float
    contribution: float = 0.0

    @property
    def effect(self) -> str:
        """Effect of the modifier: "reverses", "silences", "weakens" or "strengthens"."""
        if self.weight <= 0.0:
            return "reverses" if self.weight else "silences"
        return "weakens" if self.weight < 1.0 else "strengthens"

    @property
    def change(self) -> float:
        """Change of the logit by the modifier through this word."""
        return self.contribution * (1.0 - 1.0 / self.weight) if self.weight else 0.0

    def __str__(self) -> str:
        before = f" from {self.contribution / self.weight:+.3g}" if self.weight else ""
        return f"“{' '.join(self.by)}” {self.effect} “{self.word}”{before} to {self.contribution:+.3g}"


@dataclass(frozen=True)
class Explanation(Result, kind="sentiment-explanation"):
    """The verdict on one text and its exact decomposition.

    The contributions of the leaders, ``residual`` and ``bias`` add up to ``logit``; so do ``contributions`` and
    ``bias``. They describe the verdict as the model computed it. They do not tell what the verdict would be without a
    word, since another leader would then take over: see ``succession``.

    Attributes
    ----------
    text, label
        The text and the predicted class.
    probability, logit, bias
        Probability of ``classes[1]``, its logit, and the logit of a text without words. With more than two classes, the
        values of the predicted class, with its score as the logit; at transfer 0, its score minus that of ``rival``.
    classes
        The classes; of two, ``classes[1]`` is the positive side.
    rival
        With more than two classes at transfer 0, the second best class; else None.
    modified
        At transfer 0, the words that a modifier scales, in the order of the text.
    doubt
        Least chance of an error for a text of this length, whatever its logit: with 0, ``probability`` is the logistic
        function of ``logit``.
    probabilities, scores, biases
        Values of each class, when there are more than two; else empty.
    leaders
        Words that are among their own leaders at the last layer, largest ``|contribution|`` first; at transfer 0,
        largest ``|own|`` first.
    neutral
        The pole of the words without a value.
    residual
        Sum of the contributions of all words that are not leaders; at transfer 0, of all words that are neither leaders
        nor followers.
    others
        The residual as its negative and its positive part.
    contributions
        Every distinct word with a value, largest ``|contribution|`` first.
    succession
        Words removed one after the other, each time the word without which the margin of the verdict is least, until
        the verdict has clearly turned (another class leads by 1) or no further word lowers the margin (at most 32): see
        :func:`tokendyn.sentiment.succession.take_out`. With n-grams, tokens are removed as if the words around them
        stayed.
    known_words, unknown_words
        Numbers of words of the text, repeats included, with and without a value.
    note
        Remark on this verdict; usually empty.
    token_labels, token_weights, token_spans
        The distinct words and, last, "neutral" when there is one; their counts and positions.
    states
        Float64 (layers + 1, tokens, dim): the tokens before the first and after each layer.
    token_leaders
        Int64 (layers, tokens): the leader of each token at each layer (the lowest index if several).
    alpha
        Step parameter of the layers.
    transfer
        0 if the verdict is the sum of all words and leaders group its terms, 1 if leaders speak for the words that
        follow them.
    """

    parts: ClassVar = (LeaderWord, NeutralPole, WordContribution, Departure, Modified)

    text: str
    label: Any
    probability: float
    logit: float
    bias: float
    classes: tuple[Any, ...]
    leaders: tuple[LeaderWord, ...]
    neutral: NeutralPole
    residual: float
    contributions: tuple[WordContribution, ...]
    succession: tuple[Departure, ...]
    known_words: int
    unknown_words: int
    note: str
    token_labels: tuple[str, ...]
    token_weights: Float[np.ndarray, " tokens"] = field(repr=False)
    token_spans: tuple[tuple[Span, ...], ...] = field(repr=False)
    states: Float[np.ndarray, "layers_and_one tokens dim"] = field(repr=False)
    token_leaders: Int[np.ndarray, "layers tokens"] = field(repr=False)
    alpha: float
    transfer: float = 1.0
    others: tuple[float, float] = (0.0, 0.0)
    rival: Any = None
    modified: tuple[Modified, ...] = ()
    doubt: float = 0.0
    probabilities: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()
    biases: tuple[float, ...] = ()

    @property
    def summed(self) -> bool:
        """Whether every word adds its own part, so that the contribution of a leader is the sum of its group."""
        return self.transfer == 0

    @property
    def turns(self) -> bool:
        """Whether removing the words of ``succession`` turns the verdict."""
        return any(gone.margin < 0 for gone in self.succession)

    @property
    def sides(self) -> tuple[Any, Any]:
        """The classes that negative and positive contributions support."""
        if len(self.classes) == 2:
            return self.classes[0], self.classes[1]
        if self.rival is not None:
            return self.rival, self.label
        return f"not {self.label}", self.label

    @property
    def status(self) -> str:
        """``"completed"``."""
        return "completed"

    def summary(self) -> dict[str, Any]:
        """Return the verdict in numbers and words."""
        return {
            "status": self.status, "label": _plain(self.label), "probability": self.probability, "logit": self.logit,
            "leaders": len(self.leaders), "known_words": self.known_words, "unknown_words": self.unknown_words,
        }  # fmt: skip

    def scaled(self) -> list[str]:
        """Return a sentence for each of the words that modifiers change most."""
        most = max((abs(word.change) for word in self.modified), default=0.0)
        worth = [word for word in self.modified if abs(word.change) >= _WORTH * most]
        largest = sorted(worth, key=lambda word: -abs(word.change))[:_SHOWN]
        more = len(self.modified) - len(largest)
        others = "1 more word is scaled" if more == 1 else f"{more} more words are scaled"
        return [*map(str, largest), *([others] if more else [])]

    def attended(self) -> list[str]:
        """Return a sentence for each leader that counts clearly more or less than once, apart from its modifier."""
        leaders = {leader.word for leader in self.leaders[:8]}
        weights = [(word.word, self._without_modifier(word)) for word in self.contributions if word.word in leaders]
        clear = [(word, weight) for word, weight in weights if not 1.0 / _CLEARLY <= weight <= _CLEARLY]
        return [f"“{word}” counts {weight:.2g} times" for word, weight in clear[:_SHOWN]]

    def _without_modifier(self, word: WordContribution) -> float:
        """Return the weight of a word by its neighbours and its place; 1 where a modifier hides it."""
        scales = [modified.weight for modified in self.modified if modified.word == word.word]
        if not scales:
            return word.weight
        # Of several occurrences, the mean weight is not that of the modifiers times that of the neighbours.
        return word.weight / scales[0] if len(word.spans) == 1 and scales[0] else 1.0

    def describe(self) -> list[str]:
        """Return the verdict, the leaders, and the words whose removal would turn it, in a few sentences."""
        led = ", ".join(map(self._led, self.leaders[:8]))
        more = f" and {len(self.leaders) - 8} more" if len(self.leaders) > 8 else ""
        of = f" of {self.classes[1]}" if len(self.classes) == 2 else ""
        lines = [
            f"{self.label}: probability{of} {self.probability:.3g}, logit {self.logit:.3g}",
            f"leaders: {led}{more}" if self.leaders else "no word of the text has a value",
            f"{self._rest()}a text without words {self.bias:+.3g}",
        ]
        if self.modified:
            lines.append(f"modifiers: {'; '.join(self.scaled())}")
        if attended := self.attended():
            lines.append(f"by the words beside them and their place in the text: {', '.join(attended)}")
        if self.turns:
            count = next(place for place, gone in enumerate(self.succession, start=1) if gone.margin < 0)
            lines.append(
                f"without {', '.join(gone.word for gone in self.succession[:count][:8])} the verdict would turn"
            )
        return [*lines, self.note] if self.note else lines

    def _led(self, leader: LeaderWord) -> str:
        """Return a leader with its contribution alone and together with its followers."""
        if not (self.summed and leader.followers):
            return f"{leader.word} ({leader.contribution:+.3g})"
        names = ", ".join(leader.followers[:4]) + (", …" if len(leader.followers) > 4 else "")
        return f"{leader.word} ({leader.own:+.3g}; with {names}: {leader.contribution:+.3g})"

    def _rest(self) -> str:
        """Return the residual, with its two parts if words have contributions of their own; empty if it has none."""
        if not self.summed:
            return f"all other words together {self.residual:+.3g}, "
        low, high = self.others
        return f"all other words together {self.residual:+.3g} ({high:+.3g}, {low:+.3g}), " if low or high else ""

    def table(self) -> "pd.DataFrame":
        """Return one row for each distinct word with a value, the largest contribution first."""
        import pandas as pd

        columns = ["word", "contribution", "mass", "value", "weight", "leader"]
        rows = [[getattr(word, name) for name in columns] for word in self.contributions]
        leads = {leader.word for leader in self.leaders}
        table = pd.DataFrame(rows, columns=columns)
        return table.assign(leads=[word.word in leads for word in self.contributions])

    def picture(self) -> Bars:
        """Return the contributions of the leaders as bars."""
        negative, positive = self.sides
        names = [leader.word for leader in self.leaders]
        towards = f"contribution: {negative} below 0, {positive} above"
        return Bars(names, [leader.contribution for leader in self.leaders], towards, str(self.label))

    def report(self, path: "str | Path", *, title: str = "", overwrite: bool = False) -> None:
        """Write one HTML page: verdict, coloured text, contributions, moving tokens."""
        from tokendyn.runs.folders import check_page
        from tokendyn.show import write_explanation

        check_page(path, overwrite=overwrite)
        write_explanation(_explained_text(self), path, _scene(self), title=title or "Why this verdict")

    def as_list(self) -> list[tuple[str, float]]:
        """Return the leaders as (word, contribution), largest ``|contribution|`` first."""
        pairs = [(leader.word, leader.contribution) for leader in self.leaders]
        return sorted(pairs, key=lambda pair: -abs(pair[1]))

    def to_html(self) -> str:
        """Return one HTML page that works from a file: verdict, coloured text, contributions, moving tokens."""
        from tokendyn.show import explanation_html

        return explanation_html(_explained_text(self), _scene(self))

    def _repr_html_(self) -> str:
        """Return the same as a piece of HTML, for notebooks: the slider without the pictures."""
        from tokendyn.show import explanation_fragment

        return explanation_fragment(_explained_text(self), _scene(self))

    def figure(self) -> "Figure | None":
        """Return the figure of the pages: the words as moving tokens, layer by layer.

        None when there is no token or layer.
        """
        from tokendyn.show.panels import panels

        moving = _scene(self)
        return None if moving is None else panels(moving)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the trajectory as JSON values.

        With tokens in the plane, ``"explorer"`` is their start, for ``tokendyn explore``; at transfer 0, the side of
        each word beside the pole.
        """
        several = {"probabilities": self.probabilities, "scores": self.scores, "biases": self.biases}
        return {
            "text": self.text,
            "label": _plain(self.label),
            "probability": self.probability,
            "logit": self.logit,
            "bias": self.bias,
            "classes": [_plain(label) for label in self.classes],
            "leaders": [_json(leader) for leader in self.leaders],
            "neutral": _json(self.neutral),
            "transfer": self.transfer,
            "residual": self.residual,
            "others": list(self.others),
            "contributions": [_json(word) for word in self.contributions],
            "succession": [_json(gone) for gone in self.succession],
            "known_words": self.known_words,
            "unknown_words": self.unknown_words,
            "note": self.note,
            **({} if self.rival is None else {"rival": _plain(self.rival)}),
            **({"doubt": self.doubt} if self.doubt else {}),
            **({"modified": [_json(word) for word in self.modified]} if self.modified else {}),
            **{name: list(numbers) for name, numbers in several.items() if numbers},
            **self._explorer(),
        }

    def _explorer(self) -> dict[str, Any]:
        layers, tokens, dim = self.states.shape
        if not (dim == 2 or self.summed) or not 0 < tokens <= MOST_TOKENS or not 1 < layers <= MOST_STEPS:
            return {}
        # At transfer 0 the plane is that of the two sides and the pole; topics stand across it.
        words = Explored(
            np.ascontiguousarray(self.states[0][:, [0, -1]]),
            labels=self.token_labels, weights=self.token_weights, alpha=self.alpha, layers=layers - 1,
            title=f"Words of a text: {self.label}", note=self.text[:160] + ("…" if len(self.text) > 160 else ""),
        )  # fmt: skip
        return {"explorer": words.to_dict()}


def _json(value: Any) -> dict[str, Any]:
    """Return a dataclass or named tuple as JSON values: tuples become lists."""
    fields = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value._asdict()
    return {name: _listed(item) for name, item in fields.items() if name != "by_class" or item}


def _listed(item: Any) -> Any:
    return [_listed(part) for part in item] if isinstance(item, tuple | list) else item


def _plain(label: Any) -> Any:
    """Return a label as a plain Python value."""
    return label.item() if isinstance(label, np.generic) else label
