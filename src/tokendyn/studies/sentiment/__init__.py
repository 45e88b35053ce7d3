"""Classifiers beside each other, accuracy against leaders, and how faithful explanations are.

Importing this package is light; each public name is imported when it is first used.
"""

from typing import TYPE_CHECKING

from tokendyn.late import attributes_at

if TYPE_CHECKING:
    from tokendyn.studies.sentiment.comparison import Comparison, compare_classifiers, usual_contenders
    from tokendyn.studies.sentiment.curve import LeaderCurve
    from tokendyn.studies.sentiment.experiments import Compare, Curve, Evaluate
    from tokendyn.studies.sentiment.faithfulness import FaithfulnessReport, evaluate_explanations

__all__ = [
    "Compare",
    "Comparison",
    "Curve",
    "Evaluate",
    "FaithfulnessReport",
    "LeaderCurve",
    "compare_classifiers",
    "evaluate_explanations",
    "usual_contenders",
]

_HOME = {
    "Compare": "experiments",
    "Comparison": "comparison",
    "Curve": "experiments",
    "Evaluate": "experiments",
    "FaithfulnessReport": "faithfulness",
    "LeaderCurve": "curve",
    "compare_classifiers": "comparison",
    "evaluate_explanations": "faithfulness",
    "usual_contenders": "comparison",
}

__getattr__ = attributes_at(__name__, _HOME)
