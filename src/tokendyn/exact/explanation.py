"""Why a sequence has its label: the questions that it was asked, one block or two for each."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from tokendyn.errors import BadInputError
from tokendyn.exact.directions import project
from tokendyn.exact.plan import DONE, ROOT, ask

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tokendyn.exact.transformer import ExactTransformer


@dataclass(frozen=True)
class Question:
    """A question: is there a token with p in [low, high].

    Attributes
    ----------
    query
        Its number in the plan.
    block
        The block whose attention answers it.
    class_number
        The class that is asked.
    low, high
        Ends of the interval, widened by a quarter of the gap.
    hits
        Positions of the tokens in it.
    next_class
        The class that the sequence is in afterwards; 1 if it has its label.
    """

    query: int
    block: int
    class_number: int
    low: float
    high: float
    hits: tuple[int, ...]
    next_class: int

    @property
    def yes(self) -> bool:
        """Whether a token was hit."""
        return bool(self.hits)

    def __str__(self) -> str:
        where = f"tokens {', '.join(map(str, self.hits[:5]))}" if self.yes else "no token"
        then = "it has its label" if self.next_class == DONE else f"class {self.next_class}"
        return (
            f"block {self.block}, class {self.class_number}: p in [{self.low:.6g}, {self.high:.6g}]? "
            f"{'yes' if self.yes else 'no'} ({where}), then {then}"
        )


@dataclass(frozen=True)
class Explanation:
    """The path of one sequence through the classes.

    Attributes
    ----------
    label
        What the sequence ends with.
    known
        Whether its set of tokens is one that the transformer was built from; only then is the label guaranteed.
    questions
        Those that its class was asked, in order.
    projections
        ``(tokens,)``: p of each token.
    direction
        ``(dim,)``: p = <direction, token>.
    """

    label: Any
    known: bool
    questions: tuple[Question, ...]
    projections: Float[np.ndarray, " tokens"]
    direction: Float[np.ndarray, " dim"]

    @property
    def path(self) -> tuple[int, ...]:
        """The classes that the sequence was in, from 2, without repetition; 1 at the end if a question gave it."""
        classes = [ROOT]
        for question in self.questions:
            if question.next_class != classes[-1]:
                classes.append(question.next_class)
        return tuple(classes)

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON knows it."""
        return {
            "label": self.label,
            "known": self.known,
            "path": list(self.path),
            "projections": self.projections.tolist(),
            "questions": [
                {
                    "query": q.query, "block": q.block, "class": q.class_number, "low": q.low, "high": q.high,
                    "hits": list(q.hits), "next_class": q.next_class,
                }
                for q in self.questions
            ],
        }  # fmt: skip

    def __str__(self) -> str:
        last = f"label {self.label!r}" + ("" if self.known else " (not among the given sequences: no guarantee)")
        return "\n".join([*map(str, self.questions), last])

    def plot(self) -> "Figure":
        """Return a figure: tokens on the line p, and below them the intervals asked for, one row a question."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 1.4 + 0.22 * min(len(self.questions), 60)), layout="constrained")
        axes = figure.add_subplot()
        shown = self.questions[-60:]
        reach = np.ptp(self.projections) or 1.0
        left, right = self.projections.min() - 0.1 * reach, self.projections.max() + 0.1 * reach
        axes.vlines(self.projections, -0.5, len(shown) - 0.5, color="#B8BEC6", linewidth=0.8, zorder=1)
        for row, question in enumerate(shown):
            low, high = max(question.low, left), min(question.high, right)
            colour = "#D55E00" if question.yes else "#8A9099"
            if high >= low:
                axes.plot([low, high], [row, row], color=colour, linewidth=5, solid_capstyle="butt", zorder=2)
            axes.plot(self.projections[list(question.hits)], [row] * len(question.hits), "o", color="#20252B", ms=4)
        axes.set_yticks(range(len(shown)), [f"class {q.class_number}, block {q.block}" for q in shown], fontsize=7)
        axes.set(xlim=(left, right), ylim=(max(len(shown), 1) - 0.5, -0.5), xlabel="p, the projection of a token")
        axes.set_title(f"path {' → '.join(map(str, self.path))}: label {self.label!r}", fontsize=9)
        return figure


@dataclass(frozen=True)
class Trace:
    """Residuals of one sequence after each block.

    Attributes
    ----------
    names
        Names of the channels that the construction uses.
    tokens
        ``(tokens, dim)``: what went in.
    states
        ``(blocks, tokens, channels)``.
    """

    names: tuple[str, ...]
    tokens: Float[np.ndarray, "tokens dim"]
    states: Float[np.ndarray, "blocks tokens channels"]

    def __getitem__(self, name: str) -> Float[np.ndarray, "blocks tokens"]:
        """Return one channel after each block."""
        if name not in self.names:
            raise BadInputError(f"there is no channel {name!r}; the channels are {', '.join(self.names)}")
        return self.states[:, :, self.names.index(name)]


def explain(model: "ExactTransformer", sequence: Any) -> Explanation:
    """Return the questions that a sequence was asked; see :meth:`ExactTransformer.explain`."""
    plan = model.construction.plan
    if plan is None or not model.labels:
        raise BadInputError(
            f"strategy {model.strategy!r} asks all its questions at once; use trace(sequence), or build with "
            "strategy='fused'"
        )
    ready = model.prepare([sequence])
    values = project(ready.tokens, plan.line.direction, plan.line.name).values
    label, answers = ask(plan, values)
    per_query = 1 if plan.lagged else 2
    questions = []
    for query, hit in answers:
        quarter = float(plan.gap[query]) / 4
        cls = int(plan.asked[query])
        block = per_query * int(plan.slots[query]) + 1
        after = int(plan.moved[query]) if hit.any() else cls
        questions.append(
            Question(
                query, block, cls, float(plan.low[query]) - quarter, float(plan.high[query]) + quarter,
                tuple(np.flatnonzero(hit).tolist()), after,
            )
        )  # fmt: skip
    known = bool(model.is_known(ready)[0])
    return Explanation(model.labels[label], known, tuple(questions), values, plan.line.direction.astype(np.float64))
