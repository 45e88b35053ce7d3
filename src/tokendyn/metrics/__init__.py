"""How good a forecast is (:mod:`~tokendyn.metrics.series`), and how far two laws of tokens are (:mod:`~.transport`)."""

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
    "Calibration",
    "Exponent",
    "Transport",
    "ValidTimes",
    "coupling_distance",
    "dominant_frequency",
    "effective_sample_size",
    "ensemble_calibration",
    "exponent_of_series",
    "histogram_distance",
    "largest_exponent",
    "line_distance",
    "normalised_error",
    "nrmse",
    "power_spectrum",
    "sliced_distance",
    "spectral_distance",
    "two_atom_distance",
    "valid_prediction_times",
    "wasserstein",
]
