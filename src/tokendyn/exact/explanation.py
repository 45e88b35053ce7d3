"""Why a sequence has its label: which token decides, by how much, and the questions that were asked."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float

from tokendyn.errors import BadInputError
from tokendyn.exact.evidence import Evidence, Reading, evidence_of, number_of, read, short
from tokendyn.exact.forms import canonical
from tokendyn.exact.plan import DONE, ROOT, Plan, ask
from tokendyn.exact.radius import line_of, on_line
from tokendyn.exact.sequences import Sequences
from tokendyn.results import Bars, Curves, Result
from tokendyn.words import counted

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from tokendyn.exact.built import Built

#: Lines of an explanation, so that it fits a screen.
SCREEN = 24
#: Rows of a figure.
_ROWS = 40


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
        return self.line()

    def line(self, names: Sequence[str] | None = None) -> str:
        """Return the question and its answer in one line, with the names of the tokens if they have any."""
        hits = [str(k) if names is None else f"{k} {short(names[k])}" for k in self.hits[:5]]
        more = f" and {len(self.hits) - 5} more" if len(self.hits) > 5 else ""
        noun = "token" if len(self.hits) == 1 else "tokens"
        where = f"{noun} {', '.join(hits)}{more}" if self.yes else "no token"
        then = "it has its label" if self.next_class == DONE else f"class {self.next_class}"
        return (
            f"block {self.block}, class {self.class_number}: p in [{self.low:.6g}, {self.high:.6g}]? "
            f"{'yes' if self.yes else 'no'} ({where}), then {then}"
        )


@dataclass(frozen=True)
class Explanation(Result, kind="exact-explanation"):
    """Why a sequence has its label: which token decides, and by how much.

    Attributes
    ----------
    label
        What the sequence ends with.
    known
        Whether it is one that the transformer was built from; only then is the label guaranteed.
    strategy
        How the transformer was built.
    decision
        What decides, in one sentence.
    evidence
        What each token does for the label, the strongest first.
    measure
        What ``Evidence.amount`` is, with its unit.
    radius
        How far all tokens may move, in their own unit, before the label can change.
    questions
        For ``narrow``, ``fused`` and ``strict``: those that its class was asked, in order; else empty.
    projections
        ``(tokens,)``: p of each token; empty for half-spaces, which do not read tokens on one line.
    direction
        ``(dim,)``: p = <direction, token>; empty likewise.
    names
        Names of the tokens, such as words; None for their positions.
    """

    parts: ClassVar = (Evidence, Question)

    label: Any
    known: bool
    strategy: str
    decision: str
    evidence: tuple[Evidence, ...]
    measure: str
    radius: float
    questions: tuple[Question, ...]
    projections: Float[np.ndarray, " tokens"]
    direction: Float[np.ndarray, " dim"]
    names: tuple[str, ...] | None = None

    @property
    def path(self) -> tuple[int, ...]:
        """The classes that the sequence was in, from 2, without repetition; 1 at the end if a question gave it."""
        classes = [ROOT]
        for question in self.questions:
            if question.next_class != classes[-1]:
                classes.append(question.next_class)
        return tuple(classes)

    def named(self, names: Sequence[str] | None) -> "Explanation":
        """Return the explanation with a name for each token of the sequence."""
        return replace(self, names=None if names is None else tuple(names))

    def to_dict(self) -> dict[str, Any]:
        """Return the complete explanation as JSON values."""
        return {
            "label": self.label,
            "known": self.known,
            "strategy": self.strategy,
            "decision": self.decision,
            "measure": self.measure,
            "evidence": [
                {"token": item.token, "name": self._name(item.token), "amount": item.amount, "text": item.text}
                for item in self.evidence
            ],
            "radius": self.radius if math.isfinite(self.radius) else None,
            "path": list(self.path) if self.questions else [],
            "projections": self.projections.tolist(),
            "questions": [
                {
                    "query": q.query, "block": q.block, "class": q.class_number, "low": q.low, "high": q.high,
                    "hits": list(q.hits), "next_class": q.next_class,
                }
                for q in self.questions
            ],
        }  # fmt: skip

    def describe(self, most: int = SCREEN) -> list[str]:
        """Return readable lines, at most ``most`` (and at least 8); a line tells how many are left out.

        One line for each question that the sequence was asked; if there are too many, those without a hit are joined.
        """
        room = max(most, 8) - 3
        lines = [question.line(self.names) for question in self.questions]
        if len(lines) > room // 2:
            lines = self._gathered()
        lines = _cut(lines, room // 2 if self.evidence else room, "questions")
        shown = self.evidence[: room - len(lines)] if len(self.evidence) > room - len(lines) else self.evidence
        lines.append(self.decision)
        lines += [f"{self._token(item.token)} {item.text}" for item in shown]
        if len(shown) < len(self.evidence):
            lines[-1] = f"{counted(len(self.evidence) - len(shown) + 1, 'more token')} with less effect"
        reach = "" if math.isinf(self.radius) else f": it holds while no token moves by more than {self.radius:.3g}"
        known = "" if self.known else " (not among the given sequences: no guarantee)"
        return [*lines, f"label {short(repr(self.label))}{known}{reach}"]

    @property
    def status(self) -> str:
        """``"completed"``; whether the label is guaranteed is :attr:`known`."""
        return "completed"

    def summary(self) -> dict[str, Any]:
        """Return the explanation in numbers and words."""
        return {
            "status": self.status, "label": str(self.label), "known": self.known, "strategy": self.strategy,
            "radius": self.radius, "questions": len(self.questions),
        }  # fmt: skip

    def table(self) -> "pd.DataFrame":
        """Return one row for each token that the label rests on, the strongest first."""
        import pandas as pd

        rows = [(item.token, self._name(item.token), item.amount, item.text) for item in self.evidence]
        return pd.DataFrame(rows, columns=["token", "name", "amount", "text"])

    def picture(self) -> Bars:
        """Return a bar for each token that the label rests on."""
        names = [self._token(item.token) for item in self.evidence]
        title = f"label {short(repr(self.label))}"
        return Bars(names, [item.amount for item in self.evidence], self.measure, title)

    def _name(self, token: int) -> str | None:
        return None if self.names is None else self.names[token]

    def _token(self, token: int) -> str:
        return f"token {token}" + ("" if self.names is None else f" ({short(self.names[token])})")

    def _gathered(self) -> list[str]:
        """Return one line for each question with a hit, and one for each run of questions without a hit."""
        lines: list[str] = []
        run: list[Question] = []
        for question in (*self.questions, None):
            if question is not None and not question.yes:
                run.append(question)
                continue
            if len(run) == 1:
                lines.append(run[0].line(self.names))
            elif run:
                gaps = [np.maximum(q.low - self.projections, self.projections - q.high) for q in run]
                near = min(range(len(run)), key=lambda i: gaps[i].min())
                token = int(gaps[near].argmin())
                lines.append(
                    f"blocks {run[0].block} to {run[-1].block}, class {run[0].class_number}: no to {len(run)} "
                    f"questions; {self._token(token)} came nearest, p = {self.projections[token]:.6g} for "
                    f"[{run[near].low:.6g}, {run[near].high:.6g}]"
                )
            run = []
            if question is not None:
                lines.append(question.line(self.names))
        return lines

    def figure(self) -> "Figure":
        """Return the figure of the pages: tokens on the line p and the queried intervals, one row for each question.

        Without questions, a bar for each token. At most 40 rows; the title gives their total number.
        """
        return self._plot_questions() if self.questions else self._plot_evidence()

    def _plot_questions(self) -> "Figure":
        from matplotlib.figure import Figure

        shown = self._shown()
        figure = Figure(figsize=(7, 1.6 + 0.22 * len(shown)), layout="constrained")
        axes = figure.add_subplot()
        reach = np.ptp(self.projections) or 1.0
        left, right = self.projections.min() - 0.1 * reach, self.projections.max() + 0.1 * reach
        axes.vlines(self.projections, -0.5, len(shown) - 0.5, color="#B8BEC6", linewidth=0.8, zorder=1)
        for row, question in enumerate(shown):
            low, high = max(question.low, left), min(question.high, right)
            colour = "#D55E00" if question.yes else "#8A9099"
            if high >= low:
                axes.plot([low, high], [row, row], color=colour, linewidth=5, solid_capstyle="butt", zorder=2)
                # An interval may be narrower than a pixel.
                axes.plot((low + high) / 2, row, "|", color=colour, markersize=7, zorder=2)
            axes.plot(self.projections[list(question.hits)], [row] * len(question.hits), "o", color="#20252B", ms=4)
        axes.set_yticks(range(len(shown)), [f"class {q.class_number}, block {q.block}" for q in shown], fontsize=7)
        axes.set(xlim=(left, right), ylim=(max(len(shown), 1) - 0.5, -0.5), xlabel="p, the projection of a token")
        path = [*map(str, self.path)]
        path = path if len(path) <= 12 else [*path[:6], "…", *path[-5:]]
        cut = "" if len(shown) == len(self.questions) else f"\n{len(shown)} of {len(self.questions)} questions: "
        cut += "those with a hit, then the last without" if cut else ""
        axes.set_title(f"path {' → '.join(path)}: label {str(self.label)[:40]!r}{cut}", fontsize=9)
        figure.legend(handles=_question_marks(), loc="outside lower center", ncols=2, frameon=False, fontsize=8)
        return figure

    def _shown(self) -> tuple[Question, ...]:
        """Return the questions to draw, in order: hits are chosen before misses, and the last before the first."""
        numbers = sorted(range(len(self.questions)), key=lambda k: (not self.questions[k].yes, -k))[:_ROWS]
        return tuple(self.questions[k] for k in sorted(numbers))

    def _plot_evidence(self) -> "Figure":
        from matplotlib.figure import Figure

        shown = self.evidence[:_ROWS]
        figure = Figure(figsize=(7, 1.6 + 0.22 * max(len(shown), 1)), layout="constrained")
        axes = figure.add_subplot()
        amounts = [item.amount for item in shown]
        axes.barh(range(len(shown)), amounts, color=["#D55E00" if amount > 0 else "#8A9099" for amount in amounts])
        axes.axvline(0, color="#20252B", linewidth=0.8)
        axes.set_yticks(range(len(shown)), [self._token(item.token)[:40] for item in shown], fontsize=7)
        axes.set(ylim=(max(len(shown), 1) - 0.5, -0.5))
        axes.set_xlabel(self.measure, fontsize=8)
        cut = (
            ""
            if len(shown) == len(self.evidence)
            else f", the strongest {len(shown)} of {counted(len(self.evidence), 'token')}"
        )
        axes.set_title(f"{self.strategy}: label {str(self.label)[:40]!r}{cut}", fontsize=9)
        return figure


def _question_marks() -> list[Any]:
    """Return the legend of the questions."""
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color="#D55E00", linewidth=5, label="interval with a token in it: yes"),
        Line2D([], [], color="#8A9099", linewidth=5, label="interval without one: no"),
        Line2D([], [], color="#20252B", marker="o", ms=4, linestyle="none", label="token that answers yes"),
        Line2D([], [], color="#B8BEC6", linewidth=0.8, label="place p of a token"),
    ]


def _cut(lines: list[str], room: int, what: str) -> list[str]:
    """Return the first and the last lines, with the number of omitted lines between them."""
    if len(lines) <= room:
        return lines
    first, last = (room - 1) // 2, room - 1 - (room - 1) // 2
    cut = f"... left out: {counted(len(lines) - first - last, 'line')} of {what} (--json and to_dict hold all)"
    return [*lines[:first], cut, *lines[-last:]]


@dataclass(frozen=True)
class Trace(Result, kind="exact-trace"):
    """Residuals of one sequence after each block.

    Attributes
    ----------
    names
        Names of the channels that the construction uses.
    tokens
        ``(tokens, dim)``: the input.
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

    @property
    def status(self) -> str:
        """``"completed"``."""
        return "completed"

    def describe(self) -> list[str]:
        """Return the sizes of the trace in a sentence."""
        blocks, tokens, channels = self.states.shape
        return [
            f"{counted(tokens, 'token')} through {counted(blocks, 'block')}; channels "
            f"{', '.join(self.names[:channels])}"
        ]

    def table(self) -> "pd.DataFrame":
        """Return one row for each block and token, one column for each channel."""
        import pandas as pd

        blocks, tokens, _ = self.states.shape
        columns = {"block": np.repeat(np.arange(1, blocks + 1), tokens), "token": np.tile(np.arange(tokens), blocks)}
        return pd.DataFrame({**columns, **{name: self[name].ravel() for name in self.names}})

    def picture(self) -> Curves:
        """Return the last channel of each token over the blocks."""
        name = self.names[-1]
        curves = {f"token {number}": values for number, values in enumerate(self[name].T)}
        return Curves(np.arange(1, len(self.states) + 1), curves, "block", name)


def explain(model: "Built", sequence: Any) -> Explanation:
    """Return why a sequence has its label; see :meth:`ExactTransformer.explain`."""
    if not model.labels:
        raise BadInputError(
            "a transformer that turns sequences into outputs has no label to explain; use trace(sequence)"
        )
    reading = read(model, sequence)
    known = bool(model.is_known([sequence])[0])
    line = line_of(model)
    direction = np.empty(0) if line is None else line[0]
    values = np.empty(0) if line is None else on_line(model, reading.tokens)
    plan = model.construction.plan
    if plan is None:
        decision, measure, evidence = evidence_of(model, reading)
        return Explanation(
            label=reading.label,
            known=known,
            strategy=model.strategy,
            decision=decision,
            evidence=evidence,
            measure=measure,
            radius=reading.radius,
            questions=(),
            projections=values,
            direction=direction,
        )
    label, questions = _questions_asked(plan, values)
    decision, evidence = _of_questions(model, questions, values, reading, float(np.linalg.norm(direction)))
    if model.labels[label] != reading.label:
        decision += f"; a token stands between in and out of an interval, which adds up to {short(repr(reading.label))}"
    return Explanation(
        label=reading.label,
        known=known,
        strategy=model.strategy,
        decision=decision,
        evidence=evidence,
        measure="distance to the edge of the interval, in the unit of the tokens; negative outside",
        radius=reading.radius,
        questions=questions,
        projections=values,
        direction=direction,
    )


def _questions_asked(plan: Plan, values: Float[np.ndarray, " tokens"]) -> tuple[int, tuple[Question, ...]]:
    """Return the label number and the questions that a sequence is asked."""
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
                query=query,
                block=block,
                class_number=cls,
                low=float(plan.low[query]) - quarter,
                high=float(plan.high[query]) + quarter,
                hits=tuple(np.flatnonzero(hit).tolist()),
                next_class=after,
            )
        )
    return label, tuple(questions)


def _of_questions(
    model: "Built", questions: tuple[Question, ...], values: np.ndarray, reading: Reading, norm: float
) -> tuple[str, tuple[Evidence, ...]]:
    """Return the decision and the tokens of the last hit; without a hit, the token that came closest to one."""
    positions = sorted(set(reading.first.tolist()))
    hit = next((question for question in reversed(questions) if question.yes), None)
    if hit is not None:
        depth = np.minimum(values - hit.low, hit.high - values) / norm
        inside = sorted((k for k in positions if k in hit.hits), key=lambda k: -depth[k])
        evidence = tuple(
            Evidence(token=k, amount=float(depth[k]), text=f"is {depth[k]:.3g} inside that interval") for k in inside
        )
        decision = f"the last hit decides, in block {hit.block}"
        return decision + _without(model, reading, np.isin(reading.first, hit.hits)), evidence
    if not questions:
        return "no question is asked: every sequence has this label", ()
    gaps = np.stack([np.maximum(q.low - values, values - q.high) for q in questions]) / norm
    number, token = np.unravel_index(int(gaps.argmin()), gaps.shape)
    near, gap = questions[int(number)], float(gaps[number, token])
    text = f"came nearest to one, {gap:.3g} outside [{near.low:.6g}, {near.high:.6g}] of block {near.block}"
    evidence = (Evidence(token=int(token), amount=-gap, text=text),)
    return "no token is in any of the intervals: it has the label of what is left", evidence


def _without(model: "Built", reading: Reading, hit: np.ndarray) -> str:
    """Return a clause about the label without the tokens of the hit."""
    rest = reading.form.tokens[~hit]
    if not len(rest):
        return ""
    sequence = Sequences(rest, np.array([0, len(rest)]))
    other = model.labels[number_of(model, canonical(sequence, model.multiplicity).sequences)]
    what = "that token" if len(np.unique(reading.first[hit])) == 1 else "those tokens"
    still = "still " if other == reading.label else ""
    return f"; without {what} the label would {still}be {short(repr(other))}"
