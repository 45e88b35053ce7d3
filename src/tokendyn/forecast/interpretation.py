"""What a fitted TD-TF does along an orbit: attention, local operators, linear and nonlinear shares."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from tokendyn.forecast.checks import check_series, check_window_inputs
from tokendyn.forecast.embedding import window_length
from tokendyn.forecast.network import forward
from tokendyn.forecast.spectra import Spectrum, companion, spectrum_of
from tokendyn.forecast.tdtf import TDTF


@dataclass(frozen=True)
class OrbitReading:
    """One row for each snapshot of a series that has a complete window before it.

    Attributes
    ----------
    attention
        Weight of each delay, (samples, delays), the oldest first; rows sum to 1.
    operators
        Derivative of the predicted snapshot by each snapshot of its window, in the units of the data,
        (samples, delays, features, features).
    linear, nonlinear
        The two parts of the predicted increment, in the units of the data, (samples, features).
    """

    attention: Float[np.ndarray, "samples delays"]
    operators: Float[np.ndarray, "samples delays features features"]
    linear: Float[np.ndarray, "samples features"]
    nonlinear: Float[np.ndarray, "samples features"]

    @property
    def nonlinear_share(self) -> Float[np.ndarray, " samples"]:
        """Norm of the nonlinear part over the sum of both norms, for each prediction."""
        ours, theirs = np.linalg.norm(self.nonlinear, axis=1), np.linalg.norm(self.linear, axis=1)
        return ours / np.maximum(ours + theirs, np.finfo(float).tiny)

    @property
    def delay_importance(self) -> Float[np.ndarray, " delays"]:
        """Root mean square over the orbit of the size of each delay's operator."""
        return np.sqrt((self.operators**2).sum(axis=(2, 3)).mean(axis=0))


def read_orbit(model: TDTF, series: Any, inputs: Any = None) -> OrbitReading:
    """Return what the model does at every window of a series.

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

    They are those of the block companion matrix of the local operators, to be held against
    ``TDDMD.spectrum().eigenvalues``.
    """
    rows = []
    for operators in reading.operators:
        eigenvalues = np.linalg.eigvals(companion(operators, stride)).astype(np.complex128)
        rows.append(eigenvalues[np.lexsort((-eigenvalues.imag, -np.abs(eigenvalues).round(12)))])
    return np.stack(rows)


def local_spectrum(model: TDTF, window: Any) -> Spectrum:
    """Return the spectrum of the model linearised at one window (no inputs): Hz, growth, modes.

    The amplitudes are those of the window around its own newest snapshot held still.
    """
    array = check_series(window, "window", features=model.n_features_)
    array = array[-window_length(model.delays, model.stride) :]
    reading = read_orbit(model, np.concatenate([array, array[-1:]]))
    operator = companion(reading.operators[0], model.stride)
    size = len(operator)
    decoder = np.eye(model.n_features_, size, k=size - model.n_features_)
    state = (array - array[-1]).ravel()
    return spectrum_of(operator, decoder, state, array[-1], model.dt_)
