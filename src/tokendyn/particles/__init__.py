"""Tokens as interacting particles: clustering in pure-attention transformers."""

from tokendyn.particles.clustering import ClusteringRun, simulate
from tokendyn.particles.lemmas import LemmaReport, check_lemmas
from tokendyn.particles.limits import LimitPrediction, LimitSet, limit_set, predict_limits

__all__ = [
    "ClusteringRun",
    "LemmaReport",
    "LimitPrediction",
    "LimitSet",
    "check_lemmas",
    "limit_set",
    "predict_limits",
    "simulate",
]
