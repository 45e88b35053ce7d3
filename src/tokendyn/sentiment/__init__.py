"""Sentiment by leaders: a small text classifier that decides at hardmax and says which words decided.

Importing this package is light; each public name is imported when it is first used.
"""

from typing import TYPE_CHECKING

from tokendyn.late import attributes_at

if TYPE_CHECKING:
    from tokendyn.sentiment.behaviour import BehaviourReport, Case, check_behaviour, read_cases
    from tokendyn.sentiment.classifier import LeaderClassifier
    from tokendyn.sentiment.distilling import Fidelity, fidelity
    from tokendyn.sentiment.experiments import Distillation, Export, Training
    from tokendyn.sentiment.explanation import (
        Departure,
        Explanation,
        LeaderWord,
        Modified,
        NeutralPole,
        WordContribution,
    )
    from tokendyn.sentiment.modifiers import Modifiers
    from tokendyn.sentiment.neighbours import Neighbours
    from tokendyn.sentiment.onnx import export_onnx, onnx_inputs
    from tokendyn.sentiment.outcome import OnnxScoring, TrainedModel
    from tokendyn.sentiment.stability import Stability
    from tokendyn.sentiment.store import load, save
    from tokendyn.sentiment.tokenise import find_words
    from tokendyn.sentiment.tokens import TokenRule
    from tokendyn.sentiment.tokensets import TokenSet
    from tokendyn.sentiment.verdicts import LedBy, Verdict

__all__ = [
    "BehaviourReport",
    "Case",
    "Departure",
    "Distillation",
    "Explanation",
    "Export",
    "Fidelity",
    "LeaderClassifier",
    "LeaderWord",
    "LedBy",
    "Modified",
    "Modifiers",
    "Neighbours",
    "NeutralPole",
    "OnnxScoring",
    "Stability",
    "TokenRule",
    "TokenSet",
    "TrainedModel",
    "Training",
    "Verdict",
    "WordContribution",
    "check_behaviour",
    "export_onnx",
    "fidelity",
    "find_words",
    "load",
    "onnx_inputs",
    "read_cases",
    "save",
]

_HOME = {
    "BehaviourReport": "behaviour",
    "Case": "behaviour",
    "check_behaviour": "behaviour",
    "read_cases": "behaviour",
    "Distillation": "experiments",
    "Explanation": "explanation",
    "Export": "experiments",
    "Fidelity": "distilling",
    "fidelity": "distilling",
    "LeaderClassifier": "classifier",
    "LeaderWord": "explanation",
    "Modified": "explanation",
    "Modifiers": "modifiers",
    "Neighbours": "neighbours",
    "NeutralPole": "explanation",
    "OnnxScoring": "outcome",
    "Stability": "stability",
    "TokenRule": "tokens",
    "TokenSet": "tokensets",
    "Training": "experiments",
    "TrainedModel": "outcome",
    "LedBy": "verdicts",
    "Verdict": "verdicts",
    "Departure": "explanation",
    "WordContribution": "explanation",
    "export_onnx": "onnx",
    "onnx_inputs": "onnx",
    "load": "store",
    "find_words": "tokenise",
    "save": "store",
}

__getattr__ = attributes_at(__name__, _HOME)
