"""Many tokens at low temperature: concentration on a projected law, metastability, the terminal phase.

Source: arXiv 2605.10931. Only its abstract was at hand: the equations are inferred from it and from the authors'
earlier work, agree with every statement of the abstract, and were checked numerically.
"""

from tokendyn.particles.meanfield.closure import Closure, Cluster, clusters_at, gaussian_closure
from tokendyn.particles.meanfield.guard import Resolution, needed_tokens, resolution
from tokendyn.particles.meanfield.model import MeanFieldRun, Refinement, refine, simulate
from tokendyn.particles.meanfield.phases import Phases, detect_phases
from tokendyn.particles.meanfield.projection import (
    PredictedTimes,
    Projection,
    TerminalPhase,
    predicted_times,
    project,
    terminal_phase,
)

__all__ = [
    "Closure",
    "Cluster",
    "MeanFieldRun",
    "Phases",
    "PredictedTimes",
    "Projection",
    "Refinement",
    "Resolution",
    "TerminalPhase",
    "clusters_at",
    "detect_phases",
    "gaussian_closure",
    "needed_tokens",
    "predicted_times",
    "project",
    "refine",
    "resolution",
    "simulate",
    "terminal_phase",
]
