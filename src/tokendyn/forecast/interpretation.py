"""Readings of a fitted TD-TF along an orbit: attention, local operators, linear and nonlinear shares."""

from typing import Any

import numpy as np
from jaxtyping import Complex

from tokendyn.forecast.checks import check_series, check_window_inputs
from tokendyn.forecast.embedding import window_length
from tokendyn.forecast.network import forward
from tokendyn.forecast.orbit_reading import OrbitReading
from tokendyn.forecast.spectra import Spectrum, companion, spectrum_of
from tokendyn.forecast.tdtf import TDTF


def read_orbit(model: TDTF, series: Any, inputs: Any = None) -> OrbitReading:
    """Return attention, operators and shares of a model at every window of a series.

    Parameters
    ----------
    model
        A fitted model.
    series, inputs
        As for :meth:`tokendyn.forecast.Forecaster.one_step`.
    """
    model._check_fitted()
    array = check_series(series, "series", features=model.n_features_)
    driven = check_window_inputs(inputs, len(array), model.n_inputs_)
    tokens = model.tokens(array, driven)
    scale = model.units_.scale[: model.n_features_]
    linear, nonlinear = model.cell_.increments(tokens)
    local = model.cell_.operators(tokens)[..., : model.n_features_]
    attention = forward(model.cell_.network, tokens).attention
    return OrbitReading(attention, local * scale[:, None] / scale, linear * scale, nonlinear * scale)


def local_eigenvalues(reading: OrbitReading, stride: int) -> Complex[np.ndarray, "samples modes"]:
    """Return the eigenvalues of the local linear recursion at each window, the largest modulus first.

    They are those of the block companion matrix of the local operators, to be compared with
    ``TDDMD.spectrum().eigenvalues``.
    """
    rows = []
    for operators in reading.operators:
        eigenvalues = np.linalg.eigvals(companion(operators, stride)).astype(np.complex128)
        rows.append(eigenvalues[np.lexsort((-eigenvalues.imag, -np.abs(eigenvalues).round(12)))])
    return np.stack(rows)


def local_spectrum(model: TDTF, window: Any) -> Spectrum:
    """Return the spectrum of the model linearised at one window (no inputs): Hz, growth, modes.

    The amplitudes are those of the window relative to its newest snapshot at rest.
    """
    array = check_series(window, "window", features=model.n_features_)
    array = array[-window_length(model.delays_, model.stride_) :]
    reading = read_orbit(model, np.concatenate([array, array[-1:]]))
    operator = companion(reading.operators[0], model.stride_)
    size = len(operator)
    decoder = np.eye(model.n_features_, size, k=size - model.n_features_)
    state = (array - array[-1]).ravel()
    return spectrum_of(operator, decoder, state, array[-1], model.dt_)
