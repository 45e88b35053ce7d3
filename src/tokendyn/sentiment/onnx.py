"""The scoring path of a classifier as an ONNX graph: from token numbers with counts to probabilities."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.utils.validation import check_is_fitted

from tokendyn.errors import BadInputError
from tokendyn.runs.onnx_files import OnnxGraph, write_onnx
from tokendyn.sentiment.checks import check_texts
from tokendyn.sentiment.frozen import SCHEMA, SCHEMA_VERSION
from tokendyn.sentiment.modifiers import CONTRASTS, INTENSIFIER_REACH, INTENSIFIERS, NEGATOR_REACH
from tokendyn.sentiment.neighbours import LEAST, MOST, REACH
from tokendyn.sentiment.tokens import NEGATORS

if TYPE_CHECKING:
    from tokendyn.sentiment.frozen import FrozenModel

_HOW = (
    "words[i] are the numbers of the distinct tokens of text i, counts[i] how often each occurs; a token is its place "
    "in 'tokens', and all that are not there are together one token of number len(tokens). Pad with count 0. Where the "
    "graph takes lengths, lengths[i] is how many words text i has, known or not, n-grams not counted. Where token_rule "
    "has a negator, a single word counts 1 + negator in place of 1 when one of the negators, or a word in n't, stands "
    "among the negator_reach words before it in its sentence, with no contrast between. A negator counts so too, and "
    "then no word follows it. Other words count 1 + before_contrast when one of the contrasts stands behind them in "
    "their sentence, else 1 + after_contrast when one stands before them, else 1 + intensifier when one of the "
    "intensifiers stands among the intensifier_reach words before them; contrasts do not follow contrasts, nor "
    "intensifiers intensifiers. Where token_rule has neighbours, the count of a single word is multiplied by 1 plus "
    "the first number of each of the neighbour_reach words before it in its sentence and the second number of each of "
    "those behind it, within neighbour_bounds; other words than the neighbours have 0. Where closing is not 0, all "
    "tokens, n-grams too, count 1 + closing (9 x^8 - m) times as much: x = (s - 1/2) / S for a first word in sentence "
    "s of S, m the mean of 9 x^8 over the S sentences. A run of marks or a piece of markup ends a sentence, even one "
    "without words; words behind the last one belong to the last sentence, and a text without marks is one sentence."
)


def export_onnx(model: "FrozenModel", path: str | Path) -> None:
    """Write the scoring path of a fitted classifier as an ONNX file, float64 throughout.

    Inputs: ``words`` int64 (texts, tokens), the numbers of the distinct tokens of each text, with ``len(words_)`` for
    the neutral pole; ``counts`` float64 (texts, tokens), the count of each token, 0 for padding. Outputs:
    ``probabilities`` (texts, classes) and ``logits``, (texts,) for two classes and (texts, classes) for more. The graph
    runs the K layers with the canonical tie rule (products summed left to right, unfused; all tokens of the largest
    score lead), takes the mean over tokens, and decodes. The logit of a text without tokens is the bias.

    With phantom words, and at transfer 0, there is a third input, ``lengths`` float64 (texts,), the number of words of
    each text. At transfer 0 the verdict is a sum over the tokens, and the graph has no layer.

    The tokeniser is not in the graph; the metadata contain the tokens, the classes, the rule of the tokeniser and a
    description of the inputs. :func:`onnx_inputs` computes them. A layer needs memory for texts x tokens x tokens
    numbers.

    Parameters
    ----------
    model
        A fitted classifier.
    path
        File to write; it appears only when it is complete, and replaces an existing file.

    Raises
    ------
    BadInputError
        If the classifier is not fitted.
    MissingLibraryError
        Without the package onnx.
    OutputError
        If the file cannot be written.
    """
    write_onnx(onnx_model(model), path)


def onnx_model(model: "FrozenModel") -> Any:
    """Return the model that :func:`export_onnx` writes; see there."""
    if not hasattr(model, "words_"):
        raise BadInputError("the classifier is not fitted; call fit(texts, labels) before exporting it")
    return _Graph().classifier(model)


def onnx_inputs(
    model: "FrozenModel", texts: Iterable[Any]
) -> dict[str, Int[np.ndarray, "texts tokens"] | Float[np.ndarray, "texts tokens"] | Float[np.ndarray, " texts"]]:
    """Return ``words`` and ``counts`` (and ``lengths``) of some texts for the graph of :func:`export_onnx`.

    Tokens ascend and the neutral pole comes last, as in the classifier; the text with most tokens sets the width.
    """
    check_is_fitted(model)
    ragged = model._lookup.encode(check_texts(texts, empty_allowed=True))
    sizes = np.diff(ragged.indptr)
    width = int(np.max(sizes + (ragged.neutral > 0), initial=1))
    words = np.full((len(ragged), width), len(model.words_), dtype=np.int64)
    counts = np.zeros((len(ragged), width))
    filled = np.arange(width) < sizes[:, None]
    words[filled], counts[filled] = ragged.words, ragged.counts
    unknown = np.flatnonzero(ragged.neutral > 0)
    counts[unknown, sizes[unknown]] = ragged.neutral[unknown]
    return {"words": words, "counts": counts, **({"lengths": ragged.lengths} if _needs_lengths(model) else {})}


def _needs_lengths(model: "FrozenModel") -> bool:
    """Return whether the verdict depends on the number of words."""
    return bool(model._linear or model.phantom_)


class _Graph(OnnxGraph):
    """The graph of a classifier, one method for each step.

    Symbols: ``z`` tokens (texts, tokens), one coordinate each, ``p`` weights (sum 1 in each text), ``C`` the leaders.
    """

    def classifier(self, classifier: "FrozenModel") -> Any:
        """Return the graph as an ONNX model with its metadata."""
        whole, double = self.onnx.TensorProto.INT64, self.onnx.TensorProto.DOUBLE
        several, classes = len(classifier.classes_) > 2, len(classifier.classes_)
        self._score(classifier, several=several)
        return self.model(
            "tokendyn_sentiment",
            {
                "words": (whole, ["texts", "tokens"]),
                "counts": (double, ["texts", "tokens"]),
                **({"lengths": (double, ["texts"])} if _needs_lengths(classifier) else {}),
            },
            {
                "probabilities": (double, ["texts", classes]),
                "logits": (double, ["texts", classes] if several else ["texts"]),
            },
            _metadata(classifier),
        )

    def total(self, values: str, axis: int) -> str:
        """Sum along an axis, which is dropped."""
        return self.add("ReduceSum", values, self.constant([axis]), keepdims=0)

    def _score(self, classifier: "FrozenModel", *, several: bool) -> None:
        """Add everything from the inputs to the outputs."""
        # Padding refers to the pole, with weight 0: an index outside the table would be an error.
        there = self.add("Greater", "counts", self.constant(0.0))
        pole = self.constant(len(classifier.words_))
        if classifier._linear:
            self._sum(classifier, there, pole, several=several)
            return
        tokens = self.add(
            "Gather", self.constant(classifier.embedding_, "embedding"), self.add("Where", there, "words", pole)
        )
        dim = classifier.embedding_.shape[1]
        z = [self.add("Gather", tokens, self.constant(k), axis=2) for k in range(dim)]
        counts = self.add("Where", there, "counts", self.constant(0.0))
        whole = self.add("ReduceSum", counts, self.constant([1]), keepdims=1)
        p = self.add("Div", counts, self.add("Max", whole, self.constant(np.finfo(np.float64).tiny)))
        for _ in range(classifier.layers):
            z = self._layer(z, p, there, float(classifier.alpha))
        means = [self.total(self.add("Mul", p, one), 1) for one in z[:-1]]
        if classifier.phantom_:
            of_text = self.add("Div", "lengths", self._mass(classifier))
            means = [self.add("Mul", of_text, mean) for mean in means]
        self._decode(means, classifier, several=several)

    def _mass(self, classifier: "FrozenModel") -> str:
        """Add the number of words of each text with the phantom words, at least the smallest number."""
        mass = self.add("Add", "lengths", self.constant(float(classifier.phantom_)))
        return self.add("Max", mass, self.constant(np.finfo(np.float64).tiny))

    def _sum(self, classifier: "FrozenModel", there: str, pole: str, *, several: bool) -> None:
        """Add ``sum_j m_j v_j / (n + phantom) + b``; the table holds the values, and a row of 0 for other tokens."""
        table = np.concatenate([classifier.values_, np.zeros((1, classifier.values_.shape[1]))])
        values = self.add("Gather", self.constant(table, "values"), self.add("Where", there, "words", pole))
        counts = self.add("Where", there, "counts", self.constant(0.0))
        whole = self.total(self.add("Mul", values, self.add("Unsqueeze", counts, self.constant([2]))), 1)
        mean = self.add("Div", whole, self.add("Unsqueeze", self._mass(classifier), self.constant([1])))
        columns = [self.add("Gather", mean, self.constant(k), axis=1) for k in range(table.shape[1])]
        self._decode(columns, classifier, several=several)

    def _layer(self, z: list[str], p: str, there: str, alpha: float) -> list[str]:
        """Add ``z_i <- z_i + (1-c) (mean_{C_i} z - z_i)``, ``C_i = {j : <z_i,z_j> = max_l <z_i,z_l>}``."""
        rows = [self.add("Unsqueeze", coordinate, self.constant([2])) for coordinate in z]
        columns = [self.add("Unsqueeze", coordinate, self.constant([1])) for coordinate in z]
        # Products and sums one at a time: a matrix product may fuse or reorder them, and ties would break differently.
        scores = ""
        for row, column in zip(rows, columns, strict=True):
            product = self.add("Mul", row, column)
            scores = self.add("Add", scores, product) if scores else product
        key = self.add("Unsqueeze", there, self.constant([1]))
        masked = self.add("Where", key, scores, self.constant(-np.inf))
        leads = self.add("Equal", masked, self.add("ReduceMax", masked, axes=[2], keepdims=1))
        share = self.add("Where", leads, self.add("Unsqueeze", p, self.constant([1])), self.constant(0.0))
        among = self.add("Cast", leads, to=self.onnx.TensorProto.DOUBLE)
        alone = self.add("Equal", self.total(among, 2), self.constant(1.0))
        weight = self.add("Max", self.total(share, 2), self.constant(np.finfo(np.float64).tiny))
        moved = []
        for coordinate, column in zip(z, columns, strict=True):
            # A single leader is copied: p z / p could differ from z in the last bit.
            single = self.total(self.add("Where", leads, column, self.constant(0.0)), 2)
            mean = self.add("Div", self.total(self.add("Mul", share, column), 2), weight)
            target = self.add("Where", alone, single, mean)
            way = self.add("Mul", self.constant(1.0 - 1.0 / (1.0 + alpha)), self.add("Sub", target, coordinate))
            moved.append(self.add("Add", coordinate, way))
        return moved

    def _decode(self, means: list[str], classifier: "FrozenModel", *, several: bool) -> None:
        """Add ``logit = gain mean + bias`` and its probabilities."""
        gain, bias = (
            self.constant(1.0 if classifier._linear else classifier._gain),
            self.constant(classifier.intercept_, "bias"),
        )
        if several:
            stacked = [self.add("Unsqueeze", mean, self.constant([1])) for mean in means]
            joined = self.add("Concat", *stacked, axis=1)
            self.add("Add", self.add("Mul", gain, joined), bias, output="logits")
            self._probabilities("logits", classifier)
            return
        self.add("Add", self.add("Mul", gain, means[0]), bias, output="logits")
        # The softmax of (0, x) is (1 - p, p) with p the logistic function of x, without overflow.
        column = self.add("Unsqueeze", "logits", self.constant([1]))
        both = self.add("Concat", self.add("Sub", column, column), column, axis=1)
        self._probabilities(both, classifier)

    def _probabilities(self, scores: str, classifier: "FrozenModel") -> None:
        """Add the softmax of the scores, with the doubt of :func:`tokendyn.sentiment.doubt.doubted`."""
        if not classifier.doubt_:
            self.add("Softmax", scores, output="probabilities", axis=1)
            return
        plain = self.add("Softmax", scores, axis=1)
        classes = len(classifier.classes_)
        most, phantom = 1.0 - 1.0 / classes, self.constant(float(classifier.phantom_))
        share = self.add("Div", phantom, self._mass(classifier))
        floor = self.add("Mul", self.constant(float(classifier.doubt_)), self.add("Mul", share, share))
        error = self.add("Sub", self.constant(1.0), self.add("ReduceMax", plain, axes=[1], keepdims=0))
        relative = self.add("Div", error, self.constant(most))
        room = self.add("Sub", self.constant(1.0), self.add("Mul", relative, relative))
        added = self.add("Mul", self.add("Mul", floor, floor), self.add("Max", room, self.constant(0.0)))
        raised = self.add("Sqrt", self.add("Add", self.add("Mul", error, error), added))
        left = self.add("Max", self.add("Sub", self.constant(most), error), self.constant(np.finfo(np.float64).tiny))
        part = self.add("Unsqueeze", self.add("Div", self.add("Sub", raised, error), left), self.constant([1]))
        kept = self.add("Mul", self.add("Sub", self.constant(1.0), part), plain)
        self.add("Add", kept, self.add("Mul", part, self.constant(1.0 / classes)), output="probabilities")


def _metadata(classifier: "FrozenModel") -> dict[str, str]:
    """Return what a user of the file needs to know beside the graph."""
    rule: dict[str, Any] = {"ngrams": int(classifier.ngrams), "negation": bool(classifier.negation)}
    if classifier._linear and classifier._lookup.spelling is not None:
        rule["spelling"] = "an unknown word counts as the frequent word that one slip makes it of"
    if classifier._linear and not classifier.modifiers_.idle:
        rule |= {
            **asdict(classifier.modifiers_), "negator_reach": NEGATOR_REACH, "negators": sorted(NEGATORS),
            "contrasts": sorted(CONTRASTS), "intensifier_reach": INTENSIFIER_REACH,
            "intensifiers": sorted(INTENSIFIERS),
        }  # fmt: skip
    if classifier._linear and not classifier.neighbours_.idle:
        of = classifier.neighbours_
        pairs = zip(of.words, of.behind.tolist(), of.before.tolist(), strict=True)
        rule |= {
            "closing": of.closing, "neighbour_reach": REACH, "neighbour_bounds": [LEAST, MOST],
            "neighbours": {word: [behind, before] for word, behind, before in pairs},
        }  # fmt: skip
    own = classifier.tokeniser is not None
    return {
        "schema": f"{SCHEMA}-onnx",
        "schema_version": str(SCHEMA_VERSION),
        "inputs": _HOW,
        "classes": json.dumps(classifier.classes_.tolist(), ensure_ascii=False),
        "tokens": json.dumps(list(classifier.words_), ensure_ascii=False),
        "token_rule": json.dumps(rule | {"tokeniser": "of the user's own" if own else "tokendyn find_words"}),
    }
