"""Classifiers beside each other, accuracy against leaders, and how faithful explanations are.

Importing this package is light; each public name is imported when it is first used.
"""

from typing import TYPE_CHECKING

from tokendyn.late import attributes_at

if TYPE_CHECKING:
    from tokendyn.studies.sentiment.comparison import Comparison, compare_classifiers, usual_contenders
    from tokendyn.studies.sentiment.curve import LeaderCurve
    from tokendyn.studies.sentiment.experiments import ClassifierComparison, Curve, Evaluation
    from tokendyn.studies.sentiment.faithfulness import FaithfulnessReport, evaluate_explanations

__all__ = [
    "ClassifierComparison",
    "Comparison",
    "Curve",
    "Evaluation",
    "FaithfulnessReport",
    "LeaderCurve",
    "compare_classifiers",
    "evaluate_explanations",
    "usual_contenders",
]

_HOME = {
    "ClassifierComparison": "experiments",
    "Comparison": "comparison",
    "Curve": "experiments",
    "Evaluation": "experiments",
    "FaithfulnessReport": "faithfulness",
    "LeaderCurve": "curve",
    "compare_classifiers": "comparison",
    "evaluate_explanations": "faithfulness",
    "usual_contenders": "comparison",
}

__getattr__ = attributes_at(__name__, _HOME)
