"""Sentiment by leaders: a small text classifier that decides at hardmax and says which words decided.

Importing this package is light; each public name is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokendyn.sentiment.classifier import LeaderClassifier, TokenSet
    from tokendyn.sentiment.comparison import compare_classifiers
    from tokendyn.sentiment.explanation import Departure, Explanation, LeaderWord, NeutralPole, WordContribution
    from tokendyn.sentiment.faithfulness import FaithfulnessReport, evaluate_explanations
    from tokendyn.sentiment.onnx import export_onnx, onnx_inputs
    from tokendyn.sentiment.published import PublishedHardmax
    from tokendyn.sentiment.store import load, save
    from tokendyn.sentiment.tokenise import find_words
    from tokendyn.sentiment.tokens import TokenRule
    from tokendyn.sentiment.verdicts import LedBy, Verdict

__all__ = [
    "Departure",
    "Explanation",
    "FaithfulnessReport",
    "LeaderClassifier",
    "LeaderWord",
    "LedBy",
    "NeutralPole",
    "PublishedHardmax",
    "TokenRule",
    "TokenSet",
    "Verdict",
    "WordContribution",
    "compare_classifiers",
    "evaluate_explanations",
    "export_onnx",
    "find_words",
    "load",
    "onnx_inputs",
    "save",
]

_HOME = {
    "Explanation": "explanation",
    "FaithfulnessReport": "faithfulness",
    "LeaderClassifier": "classifier",
    "LeaderWord": "explanation",
    "NeutralPole": "explanation",
    "TokenRule": "tokens",
    "PublishedHardmax": "published",
    "TokenSet": "classifier",
    "LedBy": "verdicts",
    "Verdict": "verdicts",
    "Departure": "explanation",
    "WordContribution": "explanation",
    "compare_classifiers": "comparison",
    "evaluate_explanations": "faithfulness",
    "export_onnx": "onnx",
    "onnx_inputs": "onnx",
    "load": "store",
    "find_words": "tokenise",
    "save": "store",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"tokendyn.sentiment.{_HOME[name]}"), name)
