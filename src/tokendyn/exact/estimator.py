"""The construction as a scikit-learn classifier."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from tokendyn.errors import BadInputError
from tokendyn.exact.compiler import compile as compile_transformer


class ExactClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Learn labelled sequences by heart, in closed form: every given sequence gets its label, certified.

    It does not generalise: what it says of other input is what the intervals happen to say. Use ``abstain``.

    Parameters
    ----------
    strategy, attention, dtype, direction, trials, min_margin, multiplicity, positions
        As for :func:`tokendyn.exact.compile`.
    abstain
        Whether :meth:`predict` returns ``unseen_label`` for input whose set of tokens was not given.
    unseen_label
        What it returns then.
    random_state
        Seed of random directions.

    Attributes
    ----------
    classes_
        The labels, sorted.
    n_features_in_
        Coordinates of a token.
    transformer_
        The :class:`tokendyn.exact.ExactTransformer`.

    Notes
    -----
    ``X`` is a list of ``(tokens, dim)`` arrays, a ``(sequences, tokens, dim)`` array, or an ordinary
    ``(samples, features)`` array, each row of which is a sequence of one token.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.exact import ExactClassifier
    >>> rng = np.random.default_rng(0)
    >>> sequences = [rng.normal(size=(n, 2)) for n in (3, 5, 4)]
    >>> model = ExactClassifier(abstain=True, unseen_label="unknown").fit(sequences, ["a", "b", "a"])
    >>> model.predict([*sequences, np.zeros((2, 2))])
    array(['a', 'b', 'a', 'unknown'], dtype=object)
    """

    def __init__(
        self,
        *,
        strategy: str = "auto",
        attention: str = "hardmax",
        dtype: str = "float64",
        direction: str = "auto",
        trials: int = 1,
        min_margin: float = 0.0,
        multiplicity: str = "set",
        positions: bool = False,
        abstain: bool = False,
        unseen_label: Any = None,
        random_state: int = 0,
    ) -> None:
        self.strategy = strategy
        self.attention = attention
        self.dtype = dtype
        self.direction = direction
        self.trials = trials
        self.min_margin = min_margin
        self.multiplicity = multiplicity
        self.positions = positions
        self.abstain = abstain
        self.unseen_label = unseen_label
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> "ExactClassifier":
        """Build the transformer.

        Raises
        ------
        BadInputError
            For contradictions and everything that :func:`tokendyn.exact.compile` refuses.
        """
        sequences = _sequences(X)
        labels = np.asarray(y)
        if labels.ndim != 1:
            raise BadInputError(f"y has shape {labels.shape}, expected one label a sequence")
        self.transformer_ = compile_transformer(
            sequences, labels, strategy=self.strategy, attention=self.attention, dtype=self.dtype,
            direction=self.direction, trials=self.trials, seed=self.random_state, min_margin=self.min_margin,
            multiplicity=self.multiplicity, positions=self.positions,
        )  # fmt: skip
        self.classes_ = np.unique(labels)
        self.n_features_in_ = self.transformer_.input_dim - int(self.positions)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the label of each sequence; with ``abstain``, ``unseen_label`` for input that was not given."""
        check_is_fitted(self)
        sequences = _sequences(X)
        predicted = self.transformer_.predict(sequences)
        if not self.abstain:
            return np.array(predicted, dtype=self.classes_.dtype)
        known = self.transformer_.is_known(sequences)
        out = np.empty(len(predicted), dtype=object)
        for place, (label, sure) in enumerate(zip(predicted, known, strict=True)):
            out[place] = label if sure else self.unseen_label
        return out

    def is_known(self, X: Any) -> np.ndarray:
        """Return for each sequence whether its set of tokens was given to :meth:`fit`."""
        check_is_fitted(self)
        return self.transformer_.is_known(_sequences(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        tags.input_tags.three_d_array = True
        return tags


def _sequences(X: Any) -> Any:
    """Return input as sequences; the rows of a matrix are sequences of one token."""
    if hasattr(X, "to_numpy"):
        X = X.to_numpy()
    if isinstance(X, np.ndarray) and X.dtype.kind in "fiub":
        return X[:, None, :] if X.ndim == 2 else X
    if isinstance(X, np.ndarray) or not len(X) or np.ndim(X[0]) == 2:
        return list(X)
    matrix = np.asarray(X)
    return matrix[:, None, :] if matrix.ndim == 2 else list(X)
