"""Claims of arXiv 2407.01602, last part: a classifier that gathers words around leaders."""

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
import pandas as pd

from tokendyn.data.collections import Split, split_texts
from tokendyn.data.texts import small_reviews
from tokendyn.sentiment import Explanation, LeaderClassifier
from tokendyn.studies.claims.claim import Claim, Finding, Profile, at_least, at_most
from tokendyn.studies.claims.drawing import bars, curves
from tokendyn.studies.claims.leaders import CLAIM as LEADERS
from tokendyn.studies.sentiment import evaluate_explanations

SOURCE = "arXiv 2407.01602, sentiment analysis"

#: Texts that explanations are tried on, and variants for explainers that sample.
_SIZE = {"quick": (20, 300), "full": (120, 5000)}
_RIVALS = ("loo", "lime", "shap")


def trained(parts: Split, seed: int) -> LeaderClassifier:
    """Train the published model: the claims are about leaders that decide."""
    model = LeaderClassifier(transfer=1.0, ngrams=1, active_words=8000, random_state=seed)
    model.fit(parts.training.texts, parts.training.labels or ())
    return model


def context(profile: Profile, seed: int, *, explainer: str = "leaders", rivals: Sequence[str] = _RIVALS) -> Finding:
    """Measure what leaders weigh in the decision, and the loss of the verdict when they are removed."""
    texts, samples = _SIZE[profile]
    parts = split_texts(small_reviews(), 0.3, seed)
    model, test = trained(parts, seed), parts.test.texts[:texts]
    rows = [_weights_of(model.explain(text)) for text in test]
    table = pd.DataFrame(rows).dropna()
    rivals = [name for name in rivals if name == "loo" or find_spec(name) is not None]
    report = evaluate_explanations(
        model, test, tuple(dict.fromkeys((explainer, *rivals, "random"))), seed=seed, seeds=1, samples=samples
    )
    measured = report.table().set_index("explainer")["comprehensiveness"]
    over_random, error = report.difference(explainer, "random")
    values = {
        "value of a leader by that of another word": float(table["leader"].mean() / table["other"].mean()),
        "lost without leaders, minus without random words": over_random - 2 * error,
        "lost without leaders, minus the best rival": float(measured[explainer] - measured[rivals].max()),
    }
    names = ", ".join(rivals)
    remark = f"{len(test)} held-out texts of the shipped corpus; rivals installed here: {names}; {samples} variants."
    figure = bars(measured.to_dict(), "probability lost (comprehensiveness)")
    return Finding(values=values, table=report.table(), figure=figure, remark=remark)


def _weights_of(why: Explanation) -> dict[str, float]:
    """Return the mean ``|value|`` of the leaders, and of all other words of the text (0 for a word without one)."""
    leading = {leader.word for leader in why.leaders}
    others = [abs(word.value) for word in why.contributions if word.word not in leading]
    words = why.known_words + why.unknown_words - sum(len(leader.spans) for leader in why.leaders)
    if not leading or words < 1:
        return {"leader": np.nan, "other": np.nan}
    return {"leader": float(np.mean([abs(leader.value) for leader in why.leaders])), "other": sum(others) / words}


def interpretable(profile: Profile, seed: int, *, layers: int | None = None) -> Finding:
    """Rebuild verdicts by hand from the parts that can be read off: embedding, alpha, hyperplane and offset."""
    parts = split_texts(small_reviews(), 0.3, seed)
    model = trained(parts, seed)
    rows = []
    for text in parts.test.texts[: _SIZE[profile][0]]:
        why = model.explain(text)
        by_hand = _verdict_by_hand(model, why, model.layers if layers is None else layers)
        total = why.bias + why.residual + sum(leader.contribution for leader in why.leaders)
        rows.append({"logit": why.logit, "by hand": by_hand, "sum of leaders": total})
    table = pd.DataFrame(rows)
    gaps = table.sub(table["logit"], axis=0).abs().max()
    values = {
        "logit, by hand": float(gaps["by hand"]),
        "logit, sum of contributions": float(gaps["sum of leaders"]),
        "verdicts": float(len(table)),
    }
    figure = curves({"verdicts": (table["logit"], table["by hand"])}, "logit of the model", "by hand", joined=False)
    return Finding(values=values, table=table, figure=figure, remark="Held-out texts of the shipped corpus.")


def _verdict_by_hand(model: LeaderClassifier, why: Explanation, layers: int) -> float:
    """Return the logit of a text by the published equations alone, in plain loops."""
    number_of = {word: number for number, word in enumerate(model.words_)}
    tokens = np.array([model.embedding_[number_of.get(word, -1)] for word in why.token_labels])
    counts = np.asarray(why.token_weights)
    share = model.alpha / (1 + model.alpha)
    for _ in range(layers):
        scores = tokens @ tokens.T
        followed = [np.average(tokens[row == row.max()], axis=0, weights=counts[row == row.max()]) for row in scores]
        tokens = tokens + share * (np.array(followed) - tokens)
    mean = np.average(tokens, axis=0, weights=counts)
    return float(model.decoder_ @ mean + model.intercept_)


CLAIMS = (
    Claim(
        id="sentiment.context",
        statement="The model captures context: words of little meaning gather around leader words that carry the most.",
        source=SOURCE,
        how="Values of leaders against other words; loss of the verdict's probability when words are removed.",
        bounds={
            "value of a leader by that of another word": at_least(2.0),
            "lost without leaders, minus without random words": at_least(0.05),
            "lost without leaders, minus the best rival": at_least(-0.02),
        },
        check=context,
    ),
    Claim(
        id="sentiment.interpretable",
        statement="The model is fully interpretable: encoder, attention and decoder are each read off.",
        source=SOURCE,
        how=(
            "Verdicts rebuilt by hand from embedding, alpha, hyperplane and offset, and from the leaders' "
            "contributions."
        ),
        bounds={
            "logit, by hand": at_most(1e-9),
            "logit, sum of contributions": at_most(1e-9),
            "verdicts": at_least(20.0),
        },
        check=interpretable,
    ),
    LEADERS,
)
