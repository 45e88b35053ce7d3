"""An explanation as something to show: plain values, a scene of moving words, one HTML page."""

from pathlib import Path

import numpy as np

from tokendyn.sentiment.explanation import Explanation
from tokendyn.show import ExplainedLeader, ExplainedText, ExplainedToken, TokenScene
from tokendyn.show import write_explanation as write_page


def explained_text(explanation: Explanation) -> ExplainedText:
    """Return the explanation as plain values."""
    number_of = {leader.word: number for number, leader in enumerate(explanation.leaders)}
    tokens = [
        ExplainedToken(
            word=word.word,
            spans=word.spans,
            leader=number_of.get(word.leader or word.word, -1),
            contribution=word.contribution,
        )
        for word in explanation.contributions
    ]
    negative, positive = explanation.sides
    return ExplainedText(
        text=explanation.text,
        label=str(explanation.label),
        probability=explanation.probability,
        classes=(str(negative), str(positive)),
        logit=explanation.logit,
        bias=explanation.bias,
        leaders=[
            ExplainedLeader(
                word=word.word,
                spans=word.spans,
                mass=word.mass,
                value=word.value,
                contribution=word.contribution,
                followers=word.followers,
                own=word.own if explanation.summed else None,
            )
            for word in explanation.leaders
        ],
        tokens=tokens,
        residual=explanation.residual,
        neutral_mass=explanation.neutral.mass,
        neutral_words=explanation.neutral.words,
        note=explanation.note,
        succession=[(gone.word, gone.margin) for gone in explanation.succession],
        others=explanation.others if explanation.summed else None,
        several=len(explanation.classes) > 2,
        scaled=explanation.scaled(),
        attended=explanation.attended(),
        doubt=explanation.doubt,
    )


def scene(explanation: Explanation, title: str = "") -> TokenScene | None:
    """Return the words of the text as moving tokens; None when the text has no word or the model no layer."""
    followed = explanation.token_leaders
    if followed.size == 0:
        return None
    own = np.arange(followed.shape[1])
    led = followed == own
    leaders = np.flatnonzero(led[-1])
    rank = np.full(len(own), -1, dtype=np.int64)
    rank[leaders] = np.arange(len(leaders))
    return TokenScene(
        states=explanation.states,
        followed=followed,
        labels=explanation.token_labels,
        weights=explanation.token_weights,
        leaders=leaders,
        leader_layers=led[:, leaders].argmax(axis=0).astype(np.int64),
        leader_of=rank[followed[-1]],
        neutral=int(rank[-1]) if explanation.neutral.words else -1,
        title=title,
        ends=_ends(explanation),
    )


def _ends(explanation: Explanation) -> tuple[str, str]:
    """Return what the two ends of the first coordinate mean: the classes, when it is the decoder's axis."""
    if len(explanation.classes) > 2 and explanation.rival is None:
        return ("", "")
    negative, positive = explanation.sides
    return str(negative), str(positive)


def write_explanation(explanation: Explanation, path: str | Path) -> None:
    """Write the page of an explained text: verdict, coloured words, contributions, moving tokens."""
    write_page(explained_text(explanation), path, scene(explanation), title="Why this verdict")
