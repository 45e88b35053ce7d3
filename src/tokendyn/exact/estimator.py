"""The construction as a scikit-learn classifier."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, column_or_1d, validate_data

from tokendyn.data.sequences import LabelledSequences
from tokendyn.errors import BadInputError
from tokendyn.exact.compiler import compile as compile_transformer
from tokendyn.late import function_at

if TYPE_CHECKING:
    from tokendyn.exact.explanation import Explanation

_save_classifier = function_at("tokendyn.exact.store:save_classifier")


class ExactClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Learn labelled sequences by heart, in closed form: every given sequence gets its label, certified.

    It does not generalise, so it abstains on unknown input: :meth:`predict` returns a label of the same type that is
    not one of the classes, which :meth:`score` counts as wrong. :meth:`coverage` is the share of input with an answer,
    :meth:`covered_score` the accuracy on that share.

    Parameters
    ----------
    strategy, attention, dtype, direction, trials, min_margin, multiplicity, positions
        As for :func:`tokendyn.exact.compile`.
    abstain
        Whether :meth:`predict` returns ``unseen_label_`` for unknown input. False: the label nearest to the network's
        output, which means nothing for it.
    unseen_label
        The label of unknown input, of the type of the classes but not one of them. None chooses ``"unknown"`` for
        strings, and for numbers -1, or the number below the smallest class.
    random_state
        Seed of random directions.

    Attributes
    ----------
    classes_
        The labels, sorted.
    unseen_label_
        What :meth:`predict` returns for input that was not given.
    n_features_in_
        Coordinates of a token.
    transformer_
        The :class:`tokendyn.exact.ExactTransformer`.

    Notes
    -----
    ``X`` is a list of ``(tokens, dim)`` arrays, a ``(sequences, tokens, dim)`` array, or an ordinary
    ``(samples, features)`` array, each row of which is a sequence of one token. Predictions have the dtype of the
    labels, widened where ``unseen_label_`` among them needs it: longer strings, and integers for truth values.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.exact import ExactClassifier
    >>> rng = np.random.default_rng(0)
    >>> sequences = [rng.normal(size=(n, 2)) for n in (3, 5, 4)]
    >>> model = ExactClassifier().fit(sequences, ["a", "b", "a"])
    >>> model.predict([*sequences, np.zeros((2, 2))])
    array(['a', 'b', 'a', 'unknown'], dtype='<U7')
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
        abstain: bool = True,
        unseen_label: Any = None,
        random_state: int | np.random.RandomState | None = 0,
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

    def fit(self, X: Any, y: Any = None) -> "ExactClassifier":
        """Build the transformer.

        ``y`` may be left out for sequences that were read with their labels
        (:func:`tokendyn.data.sequences.read_sequences`).

        Raises
        ------
        BadInputError
            For contradictions and everything that :func:`tokendyn.exact.compile` refuses.
        ValueError
            For labels that are not classes (numbers with fractions, NaN), as scikit-learn's classifiers do.
        """
        if isinstance(X, LabelledSequences):
            X, y = X.sequences, X.labels if y is None else y
        sequences = self._sequences(X, reset=True)
        if y is None:
            raise BadInputError("this classifier requires y to be passed, but the target y is None")
        labels = np.asarray(y)
        if labels.ndim > 2 or (labels.ndim == 2 and labels.shape[1] != 1):
            raise BadInputError(f"y has shape {labels.shape}, expected one label a sequence")
        labels = column_or_1d(labels, warn=True)
        check_classification_targets(labels)
        self.classes_ = np.unique(labels)
        self.unseen_label_ = _unseen(self.classes_, self.unseen_label)
        self.transformer_ = compile_transformer(
            sequences, labels, strategy=self.strategy, attention=self.attention, dtype=self.dtype,
            direction=self.direction, trials=self.trials, seed=_seed(self.random_state), min_margin=self.min_margin,
            multiplicity=self.multiplicity, positions=self.positions,
        )  # fmt: skip
        self.n_features_in_ = self.transformer_.input_dim - int(self.positions)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the label of each sequence, ``unseen_label_`` for those that were not given."""
        check_is_fitted(self)
        labels = self.transformer_.predict(self._sequences(X), abstain=self.abstain)
        if not any(label is None for label in labels):
            return np.array(labels, dtype=self.classes_.dtype)
        named = [self.unseen_label_ if label is None else label for label in labels]
        return np.array(named, dtype=_wide(self.classes_, self.unseen_label_))

    def is_known(self, X: Any) -> np.ndarray:
        """Return for each sequence whether it was given to :meth:`fit`."""
        check_is_fitted(self)
        return self.transformer_.is_known(self._sequences(X))

    def coverage(self, X: Any) -> float:
        """Return the share of sequences that were given to :meth:`fit`."""
        return float(np.mean(self.is_known(X)))

    def covered_score(self, X: Any, y: Any) -> float:
        """Return the accuracy on the sequences that were given to :meth:`fit`; NaN if there are none."""
        known = self.is_known(X)
        return float(accuracy_score(np.asarray(y)[known], self.predict(X)[known])) if known.any() else float("nan")

    def explain(self, sequence: Any) -> "Explanation":
        """Return why a sequence has its label; see :meth:`tokendyn.exact.ExactTransformer.explain`."""
        check_is_fitted(self)
        row = np.asarray(sequence)
        return self.transformer_.explain(row[None] if row.ndim == 1 else sequence)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the classifier with its transformer into a new folder; ``tokendyn.load`` reads it.

        Raises
        ------
        BadInputError
            For labels that JSON cannot hold, or a ``random_state`` that is not an integer.
        OutputError
            If the folder exists, or cannot be written.
        """
        check_is_fitted(self)
        _save_classifier(self, folder, overwrite=overwrite)

    def to_onnx(self, path: str | Path, *, unrolled: bool = False) -> Path:
        """Write the transformer as an ONNX file: see :func:`tokendyn.exact.to_onnx`; it does not abstain."""
        check_is_fitted(self)
        return self.transformer_.to_onnx(path, unrolled=unrolled)

    def _sequences(self, X: Any, *, reset: bool = False) -> Any:
        """Return input as sequences, checked by scikit-learn's rules if it is a matrix."""
        if isinstance(X, LabelledSequences):
            X = X.sequences
        if _is_ragged(X):
            return X if isinstance(X, np.ndarray) else list(X)
        matrix = validate_data(self, X, reset=reset, dtype=None, ensure_all_finite=True)
        if matrix.dtype.kind not in "fiub":
            matrix = check_array(matrix, dtype=np.float64)
        return matrix[:, None, :]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        tags.input_tags.three_d_array = True
        return tags


def _is_ragged(X: Any) -> bool:
    """Return whether X holds sequences of tokens rather than rows of a matrix."""
    if hasattr(X, "ndim"):
        return bool(X.ndim == 3 or (X.ndim == 1 and X.dtype == object and len(X) and np.ndim(X[0]) == 2))
    if not isinstance(X, list | tuple) or not len(X):
        return False
    try:
        return bool(np.ndim(X[0]) == 2)
    except ValueError:  # rows that differ in length, which the check of sequences names
        return True


def _seed(random_state: Any) -> int:
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if not (random_state is None or (isinstance(random_state, int | np.integer) and random_state >= 0)):
        raise BadInputError(
            f"random_state={random_state!r}; expected an integer of at least 0, a numpy.random.RandomState or None"
        )
    return int(np.random.default_rng().integers(2**31) if random_state is None else random_state)


def _unseen(classes: np.ndarray, requested: Any) -> Any:
    """Return a label of the type of the classes that is none of them, as the predictions will hold it."""
    if requested is not None:
        numeric = isinstance(requested, int | float | np.number)
        alike = any(type(requested) is type(label) for label in classes.tolist())
        fits = {"U": isinstance(requested, str), "O": alike}.get(classes.dtype.kind, numeric)
        if not fits or not _is_apart(classes, requested):
            raise BadInputError(
                f"unseen_label={requested!r}; expected a label of the type of the classes {classes[:3].tolist()}, ... "
                "and none of them, or None"
            )
        return requested
    if classes.dtype.kind in "biuf":
        return next(number for number in _beside(classes) if _is_apart(classes, number))
    names = ("unknown", *(f"unknown {number}" for number in range(2, len(classes) + 2)))
    return next(name for name in names if name not in classes.tolist())


def _beside(classes: np.ndarray) -> Iterator[Any]:
    """Yield numbers for strangers: -1, below the smallest class, above the largest, then between them."""
    low, high = classes.min().item(), classes.max().item()
    kind = classes.dtype
    if kind.kind == "f":
        with np.errstate(over="ignore"):
            steps = [low - 1, np.nextafter(classes.min(), -np.inf).item(), high + 1]
        yield from ([-1] if low > -1 else []) + [step for step in steps if np.isfinite(step)]
        yield from range(len(classes) + 1)
        return
    if low > -1 and kind.kind != "u":
        yield -1
    least, most = (0, 1) if kind.kind == "b" else (np.iinfo(kind).min, np.iinfo(kind).max)
    yield from [low - 1] * (low > least) + [high + 1] * (high < most)
    yield from range(int(low), int(high) + 2)


def _is_apart(classes: np.ndarray, unseen: Any) -> bool:
    """Return whether the dtype of the predictions holds the label, apart from all classes."""
    kind = _wide(classes, unseen)
    try:
        with np.errstate(over="ignore"):
            extended = np.append(classes.astype(kind), np.array([unseen], dtype=kind))
    except OverflowError:
        return False
    exact = classes.dtype.kind == "f" or extended[-1] == unseen
    return bool(exact and np.array_equal(extended[:-1], classes) and not (extended[:-1] == extended[-1]).any())


def _wide(classes: np.ndarray, unseen: Any) -> np.dtype[Any]:
    """Return a dtype that holds the classes and the label for what was not given."""
    kind = classes.dtype
    if kind.kind == "b":
        return np.dtype(np.int64)
    if kind.kind in "iu" and isinstance(unseen, int) and not isinstance(unseen, bool):
        holds = np.iinfo(kind).min <= unseen <= np.iinfo(kind).max
        return kind if holds else np.dtype(np.int64)
    if (kind.kind == "U" and isinstance(unseen, str)) or (kind.kind == "f" and isinstance(unseen, int | float)):
        return np.result_type(kind, np.array(unseen)) if kind.kind == "U" else kind
    return np.dtype(object)
