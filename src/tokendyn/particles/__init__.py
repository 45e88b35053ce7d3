"""Tokens as interacting particles: clustering in pure-attention transformers."""

from typing import TYPE_CHECKING

from tokendyn.late import attributes_at

if TYPE_CHECKING:
    from tokendyn.particles.clustering import ClusteringRun, simulate
    from tokendyn.particles.lemmas import LemmaReport, check_lemmas
    from tokendyn.particles.limits import LimitPrediction, LimitSet, limit_set, predict_limits

#: The module of each name, imported at first use, so that reading the options of a command imports no numerical code.
_HOMES = {
    "ClusteringRun": "tokendyn.particles.clustering",
    "LemmaReport": "tokendyn.particles.lemmas",
    "LimitPrediction": "tokendyn.particles.limits",
    "LimitSet": "tokendyn.particles.limits",
    "check_lemmas": "tokendyn.particles.lemmas",
    "limit_set": "tokendyn.particles.limits",
    "predict_limits": "tokendyn.particles.limits",
    "simulate": "tokendyn.particles.clustering",
}

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

__getattr__ = attributes_at(__name__, _HOMES)
