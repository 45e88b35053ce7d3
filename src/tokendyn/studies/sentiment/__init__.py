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
    from tokendyn.studies.sentiment.leading_words import LeaderTable, leader_table, text_leaders

__all__ = [
    "ClassifierComparison",
    "Comparison",
    "Curve",
    "Evaluation",
    "FaithfulnessReport",
    "LeaderCurve",
    "LeaderTable",
    "compare_classifiers",
    "evaluate_explanations",
    "leader_table",
    "text_leaders",
    "usual_contenders",
]

_HOME = {
    "ClassifierComparison": "experiments",
    "Comparison": "comparison",
    "Curve": "experiments",
    "Evaluation": "experiments",
    "FaithfulnessReport": "faithfulness",
    "LeaderCurve": "curve",
    "LeaderTable": "leading_words",
    "leader_table": "leading_words",
    "text_leaders": "leading_words",
    "compare_classifiers": "comparison",
    "evaluate_explanations": "faithfulness",
    "usual_contenders": "comparison",
}

__getattr__ = attributes_at(__name__, _HOME)
