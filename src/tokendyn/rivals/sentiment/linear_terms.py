"""The rival explanation: the terms of a linear model with their coefficients, exact for that model."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from tokendyn.errors import BadInputError
from tokendyn.sentiment.stability import drawn

#: Terms that a reader is shown, as many as a classifier has leaders.
TOP = 5


@dataclass(frozen=True, eq=False)
class LinearTerms:
    """A linear model of texts as a sum over terms.

    Attributes
    ----------
    model
        A pipeline of scikit-learn: a vectoriser, and a linear model of two classes as its last step.
    names
        Its terms.
    weights
        Their coefficients.
    """

    model: Any
    names: np.ndarray
    weights: Float[np.ndarray, " terms"]

    def of(self, text: str) -> list[tuple[str, float]]:
        """Return the terms of a text with coefficient times feature, which add up to the logit less the intercept."""
        row = self.model[:-1].transform([text]).tocsr()
        parts = row.data * self.weights[row.indices]
        order = np.argsort(-np.abs(parts), kind="stable")
        return [(str(self.names[row.indices[place]]), float(parts[place])) for place in order]

    def top(self, text: str) -> list[str]:
        """Return the five terms of largest effect."""
        return [term for term, _ in self.of(text)[:TOP]]


@functools.lru_cache(maxsize=4)
def linear_terms(model: Any) -> LinearTerms:
    """Return a fitted pipeline as a sum over terms.

    Raises
    ------
    BadInputError
        If it is none, or tells more than two classes apart.
    """
    if not is_linear(model):
        raise BadInputError(
            f"coefficients explain a pipeline of a vectoriser and a linear model of two classes, not "
            f"{type(model).__name__}"
        )
    linear = getattr(model[-1], "best_estimator_", model[-1])
    return LinearTerms(model=model, names=model[:-1].get_feature_names_out(), weights=np.asarray(linear.coef_)[0])


def is_linear(model: Any) -> bool:
    """Return whether a model is a fitted pipeline whose terms and coefficients can be read."""
    steps = getattr(model, "steps", None)
    if not steps:
        return False
    linear = getattr(steps[-1][1], "best_estimator_", steps[-1][1])
    readable = all(hasattr(step, "get_feature_names_out") for _, step in steps[:-1])
    return readable and np.shape(getattr(linear, "coef_", ()))[:1] == (1,)


def rival_of(texts: list[str], labels: list[Any], seed: int) -> tuple[Any, list[Any]]:
    """Return TF-IDF with logistic regression on words and pairs, tuned, and two retrainings on 90 % of the texts.

    The retrainings have the strength that the first one chose.
    """
    from sklearn.base import clone
    from sklearn.pipeline import make_pipeline

    from tokendyn.rivals.sentiment.contenders import linear_model

    model: Any = linear_model("rival", 2, tuned=True).make(seed)
    model.fit(texts, labels)
    again = [
        make_pipeline(clone(model[0]), clone(model[-1].best_estimator_)).fit(
            [texts[row] for row in rows], [labels[row] for row in rows]
        )
        for rows in drawn(len(texts), 2, seed)
    ]
    return model, again
