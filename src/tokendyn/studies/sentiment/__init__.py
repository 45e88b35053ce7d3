"""Classifiers beside each other, and how faithful explanations are."""

from tokendyn.studies.sentiment.comparison import Comparison, compare_classifiers, usual_contenders
from tokendyn.studies.sentiment.faithfulness import FaithfulnessReport, evaluate_explanations

__all__ = ["Comparison", "FaithfulnessReport", "compare_classifiers", "evaluate_explanations", "usual_contenders"]
