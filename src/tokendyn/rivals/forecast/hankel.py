"""PyDMD's HankelDMD behind the interface of the forecasters."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from tokendyn.errors import BadInputError, TokendynError
from tokendyn.forecast.base import Forecaster, Progress
from tokendyn.forecast.checks import check_count
from tokendyn.forecast.embedding import hankel
from tokendyn.optional import library


class PyDMDHankel(Forecaster):
    """Hankel dynamic mode decomposition as PyDMD fits it (Demo, Tezzele, Rozza 2018; Arbabi and Mezic 2017).

    PyDMD gives modes Phi and eigenvalues lambda of the delay-embedded series; the forecast of a window h is
    ``Phi diag(lambda^k) Phi^+ h``, real part of the newest snapshot. It takes one series and no inputs.

    Parameters
    ----------
    delays
        PyDMD's ``d``.
    rank
        PyDMD's ``svd_rank``: 0 chooses the optimal hard threshold, -1 keeps all.
    """

    def __init__(self, delays: int = 50, rank: int = 0):
        self.delays = delays
        self.rank = rank

    def _parameter_problems(self) -> list[str]:
        problems = check_count("delays", self.delays)
        if not isinstance(self.rank, int) or self.rank < -1:
            problems.append(f"rank is {self.rank!r}, expected -1, 0 or a number of modes")
        return problems

    def _window_length(self) -> int:
        return self.delays

    def _fit(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], progress: Progress) -> None:
        if len(series) > 1 or self.n_inputs_:
            raise BadInputError("PyDMD's HankelDMD takes one series and no inputs; use TDDMD")
        pydmd = library("pydmd")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                model = pydmd.HankelDMD(svd_rank=self.rank, d=self.delays).fit(series[0].T)
                modes, eigenvalues = np.asarray(model.modes, np.complex128), np.asarray(model.eigs, np.complex128)
            except (ValueError, np.linalg.LinAlgError) as error:
                raise TokendynError(f"PyDMD could not fit ({error}); lower the rank or the delays") from None
        self._set(modes, eigenvalues)

    def _set(self, modes: np.ndarray, eigenvalues: np.ndarray) -> None:
        self.modes_, self.eigenvalues_ = np.ascontiguousarray(modes), np.ascontiguousarray(eigenvalues)
        self._encoder = np.linalg.pinv(self.modes_)
        self._decoder = self.modes_[-self.n_features_ :]

    def _one_step(self, series: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        amplitudes = hankel(series[:-1], self.delays, 1) @ self._encoder.T
        return ((amplitudes * self.eigenvalues_) @ self._decoder.T).real

    def _rollout(self, windows: np.ndarray, steps: int, inputs: np.ndarray) -> tuple[np.ndarray, None]:
        amplitudes = windows.reshape(len(windows), -1) @ self._encoder.T
        values = np.empty((len(windows), steps, self.n_features_))
        with np.errstate(over="ignore", invalid="ignore"):
            for step in range(steps):
                amplitudes = amplitudes * self.eigenvalues_
                values[:, step] = (amplitudes @ self._decoder.T).real
        return values, None

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        parts = {"modes": self.modes_, "eigenvalues": self.eigenvalues_}
        real = {f"{name}_real": part.real for name, part in parts.items()}
        return {}, real | {f"{name}_imaginary": part.imag for name, part in parts.items()}

    def _restore(self, record: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        modes = tensors["modes_real"] + 1j * tensors["modes_imaginary"]
        eigenvalues = tensors["eigenvalues_real"] + 1j * tensors["eigenvalues_imaginary"]
        if modes.shape != (self.delays * self.n_features_, len(eigenvalues)):
            raise ValueError(f"modes have shape {modes.shape}")
        self._set(modes, eigenvalues)
