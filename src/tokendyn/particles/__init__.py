"""Tokens as interacting particles: clustering in pure-attention transformers."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokendyn.particles.clustering import ClusteringRun, simulate
    from tokendyn.particles.lemmas import LemmaReport, check_lemmas
    from tokendyn.particles.limits import LimitPrediction, LimitSet, limit_set, predict_limits

#: Where each name is: loaded when it is used, so that the options of a command can be read without what computes.
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


def __getattr__(name: str) -> Any:
    """Load a name when it is used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
