"""Many tokens at low temperature: concentration on a projected law, metastability, the terminal phase.

Source: arXiv 2605.10931. Only its abstract was at hand: the equations are inferred from it and from the authors'
earlier work, agree with every statement of the abstract, and were checked numerically.
"""

from typing import TYPE_CHECKING

from tokendyn.late import attributes_at

if TYPE_CHECKING:
    from tokendyn.particles.meanfield.closure import Closure, Cluster, clusters_at, gaussian_closure
    from tokendyn.particles.meanfield.continuity import CircleLaw, circle_law
    from tokendyn.particles.meanfield.guard import Resolution, needed_tokens, resolution
    from tokendyn.particles.meanfield.law_run import LawRun, simulate_law
    from tokendyn.particles.meanfield.model import MeanFieldRun, simulate
    from tokendyn.particles.meanfield.phases import Phases, detect_phases
    from tokendyn.particles.meanfield.projection import (
        PredictedTimes,
        Projection,
        TerminalPhase,
        predicted_times,
        project,
        terminal_phase,
    )
    from tokendyn.particles.meanfield.refinement import Refinement, refine

#: The module of each name, imported at first use, so that reading the options of a command imports no numerical code.
_HOMES = {
    "CircleLaw": "tokendyn.particles.meanfield.continuity",
    "Closure": "tokendyn.particles.meanfield.closure",
    "Cluster": "tokendyn.particles.meanfield.closure",
    "LawRun": "tokendyn.particles.meanfield.law_run",
    "MeanFieldRun": "tokendyn.particles.meanfield.model",
    "Phases": "tokendyn.particles.meanfield.phases",
    "PredictedTimes": "tokendyn.particles.meanfield.projection",
    "Projection": "tokendyn.particles.meanfield.projection",
    "Refinement": "tokendyn.particles.meanfield.refinement",
    "Resolution": "tokendyn.particles.meanfield.guard",
    "TerminalPhase": "tokendyn.particles.meanfield.projection",
    "circle_law": "tokendyn.particles.meanfield.continuity",
    "clusters_at": "tokendyn.particles.meanfield.closure",
    "detect_phases": "tokendyn.particles.meanfield.phases",
    "gaussian_closure": "tokendyn.particles.meanfield.closure",
    "needed_tokens": "tokendyn.particles.meanfield.guard",
    "predicted_times": "tokendyn.particles.meanfield.projection",
    "project": "tokendyn.particles.meanfield.projection",
    "refine": "tokendyn.particles.meanfield.refinement",
    "resolution": "tokendyn.particles.meanfield.guard",
    "simulate": "tokendyn.particles.meanfield.model",
    "simulate_law": "tokendyn.particles.meanfield.law_run",
    "terminal_phase": "tokendyn.particles.meanfield.projection",
}

__all__ = [
    "CircleLaw",
    "Closure",
    "Cluster",
    "LawRun",
    "MeanFieldRun",
    "Phases",
    "PredictedTimes",
    "Projection",
    "Refinement",
    "Resolution",
    "TerminalPhase",
    "circle_law",
    "clusters_at",
    "detect_phases",
    "gaussian_closure",
    "needed_tokens",
    "predicted_times",
    "project",
    "refine",
    "resolution",
    "simulate",
    "simulate_law",
    "terminal_phase",
]

__getattr__ = attributes_at(__name__, _HOMES)
