"""How good a forecast is (:mod:`~.series`), how far two laws of tokens are (:mod:`~.transport`), how they cluster.

Clustering: how far their directions agree (:mod:`~.alignment`), and which of them merge when (:mod:`~.merging`).
"""

from tokendyn.metrics.alignment import Alignment, effective_rank, pair_alignment, rank_one_residual
from tokendyn.metrics.merging import Merge, cluster_staircase, merge_events, renyi_centres
from tokendyn.metrics.series import (
    Calibration,
    Exponent,
    ValidTimes,
    dominant_frequency,
    ensemble_calibration,
    exponent_of_series,
    histogram_distance,
    largest_exponent,
    normalised_error,
    nrmse,
    power_spectrum,
    spectral_distance,
    valid_prediction_times,
)
from tokendyn.metrics.transport import (
    Transport,
    coupling_distance,
    effective_sample_size,
    line_distance,
    sliced_distance,
    two_atom_distance,
    wasserstein,
)

__all__ = [
    "Alignment",
    "Calibration",
    "Exponent",
    "Merge",
    "Transport",
    "ValidTimes",
    "cluster_staircase",
    "coupling_distance",
    "dominant_frequency",
    "effective_rank",
    "effective_sample_size",
    "ensemble_calibration",
    "exponent_of_series",
    "histogram_distance",
    "largest_exponent",
    "line_distance",
    "merge_events",
    "normalised_error",
    "nrmse",
    "pair_alignment",
    "power_spectrum",
    "rank_one_residual",
    "renyi_centres",
    "sliced_distance",
    "spectral_distance",
    "two_atom_distance",
    "valid_prediction_times",
    "wasserstein",
]
