"""Time-delayed dynamic mode decomposition: the linear recursion of delays that fits best."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float

from tokendyn.errors import BadInputError
from tokendyn.forecast.base import Forecaster, Progress
from tokendyn.forecast.checks import check_count, check_number, check_series
from tokendyn.forecast.embedding import delay_windows, hankel, input_windows, window_length
from tokendyn.forecast.ranks import AUTO, gavish_donoho
from tokendyn.forecast.spectra import Spectrum, companion, spectrum_of, stabilised, with_partners
from tokendyn.words import counted

if TYPE_CHECKING:
    from tokendyn.forecast.eigenvalue_bars import EigenvalueIntervals


class TDDMD(Forecaster):
    """Linear forecast from delays, ``x_{k+1} = sum_j A_j x_{k-js} + B w_k + b``, by truncated least squares.

    The windows of all series are the rows of one Hankel matrix H; ``A = V S^+ U^T Y`` of its truncated SVD
    ``H = U S V^T`` (H. Arbabi and I. Mezic, SIAM J. Appl. Dyn. Syst. 16, 2096 (2017); ridge: ``s / (s^2 + ridge
    samples)``). ``w_k`` holds the inputs ``u_i, u_{i+1}`` at each snapshot i of the window.

    Parameters
    ----------
    delays, stride
        Number of snapshots in a window, and the steps between them.
    rank
        Number of singular values to keep: a count, a share of the energy (a float below 1), None for all above
        rounding, or "auto" (also 0) for those above the threshold of Gavish and Donoho
        (:func:`~tokendyn.forecast.ranks.gavish_donoho`).
    ridge
        Weight of the penalty on the coefficients, as a share of the variance of one unit.
    intercept
        Fit b; windows and targets are then centred before the SVD.
    scale
        Divide each column by its standard deviation before the SVD, so that the truncation does not depend on units.
    stable
        Move eigenvalues outside the unit circle radially onto it.
    reduced
        Propagate the whole window in the span of the kept singular vectors, ``z_{k+1} = U^* H' V S^{-1} z_k``,
        as PyDMD's HankelDMD does, instead of the recursion. Without truncation both agree. For stride 1 and no
        inputs; with ``intercept=False, scale=False`` it is HankelDMD on one series.

    Attributes
    ----------
    coefficients_
        ``A_j``, (delays, features, features), the oldest delay first.
    input_coefficients_
        B, (features, delays * 2 * inputs).
    intercept_
        b, (features,).
    rank_
        Number of singular values kept.
    singular_values_
        All singular values.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.data.systems import sinusoids
    >>> from tokendyn.forecast import TDDMD
    >>> signal = sinusoids(300, 0.05, (0.5, 1.2), seed=0)
    >>> model = TDDMD(delays=6).fit(signal.values[:200], dt=signal.dt)
    >>> bool(abs(model.forecast(signal.values[:200], 100).values - signal.values[200:]).max() < 1e-6)
    True
    >>> np.unique(abs(model.spectrum().frequencies[:4]).round(3))
    array([0.5, 1.2])
    """

    #: The only training series, for error bars; a view of the argument, and not saved.
    _series: Float[np.ndarray, "time features"] | None = None

    def __init__(
        self,
        *,
        delays: int = 10,
        stride: int = 1,
        rank: int | float | str | None = None,
        ridge: float = 0.0,
        intercept: bool = True,
        scale: bool = True,
        stable: bool = False,
        reduced: bool = False,
    ) -> None:
        self.delays = delays
        self.stride = stride
        self.rank = rank
        self.ridge = ridge
        self.intercept = intercept
        self.scale = scale
        self.stable = stable
        self.reduced = reduced

    def spectrum(self, window: Any = None) -> Spectrum:
        """Return eigenvalues, modes, frequencies in Hz, growth rates and amplitudes.

        Parameters
        ----------
        window
            The snapshots (at least ``window_length_``) in which amplitudes are measured; None for the first
            window of the training data.
        """
        self._check_fitted()
        array = self.first_window_ if window is None else check_series(window, "window", features=self.n_features_)
        if len(array) < self.window_length_:
            raise BadInputError(
                f"the window has {counted(len(array), 'snapshot')}, expected at least {self.window_length_}"
            )
        space = self._space or self._companion_space()
        state = space.encode(array[None, -self.window_length_ :])[0]
        rest = _window_at_rest(space, self.training_rows_)
        resting = space.centre + space.decoder @ rest
        spectrum = spectrum_of(space.operator, space.decoder, state - rest, resting, self.dt_)
        return replace(spectrum, hint=self.hint_)

    def reconstruct(self, steps: int | None = None, modes: Any = None) -> Float[np.ndarray, "steps features"]:
        """Return the model's reconstruction of the training series from its first window, without corrections.

        Parameters
        ----------
        steps
            Number of snapshots, including the window; by default that of the first training series.
        modes
            Modes to use: indices in :meth:`spectrum`, or a truth value for each mode.

        Raises
        ------
        BadInputError
            For a model with inputs, or modes that do not exist.
        """
        self._check_free("reconstruct")
        count = self.training_rows_ if steps is None else steps
        problems = check_count("steps", count)
        if problems:
            raise BadInputError(problems[0])
        span = self.window_length_
        if modes is not None:
            return self.spectrum().select(modes).at(np.arange(count) - span + 1)
        if count <= span:
            return self.first_window_[:count].copy()
        return np.concatenate([self.first_window_, self.forecast(self.first_window_, count - span).values])

    def backcast(self, steps: int, window: Any = None, modes: Any = None) -> Float[np.ndarray, "steps features"]:
        """Return the snapshots before a window, oldest first, by running its modes backwards.

        Decaying modes grow backwards, and most of them consist of noise. By default only modes are used that keep a
        tenth of their size over one window; their amplitudes are fitted to the window anew.

        Parameters
        ----------
        steps
            Number of snapshots before the window.
        window
            Window to start from; by default the first of the training series.
        modes
            Modes to use instead of the default: indices in :meth:`spectrum`, or a truth value for each mode.

        Raises
        ------
        BadInputError
            For a model with inputs, or if no mode remains.
        """
        self._check_free("backcast")
        problems = check_count("steps", steps)
        if problems:
            raise BadInputError(problems[0])
        whole = self.spectrum(window)
        lasting = np.abs(whole.eigenvalues) ** self.window_length_ >= _LASTING
        if modes is None and not lasting.any():
            raise BadInputError("every mode fades within a window: there is nothing to run backwards")
        chosen = whole.select(lasting if modes is None else modes)
        array = self.first_window_ if window is None else check_series(window, "window", features=self.n_features_)
        rows = np.arange(1 - self.window_length_, 1)
        with np.errstate(all="ignore"):
            powers = chosen.eigenvalues[None, :] ** rows[:, None]
        design = (powers[:, None, :] * chosen.modes[None]).reshape(-1, len(chosen.eigenvalues))
        target = (array[-self.window_length_ :] - chosen.rest).ravel()
        amplitudes = np.linalg.lstsq(design, target.astype(np.complex128), rcond=None)[0]
        return replace(chosen, amplitudes=amplitudes).at(np.arange(-steps, 0) - self.window_length_ + 1)

    def select(self, modes: Any) -> "TDDMD":
        """Return a model restricted to some modes; the part of a window in the other modes is dropped.

        Parameters
        ----------
        modes
            Indices in :meth:`spectrum`, or a truth value for each mode; conjugate partners are included.

        Raises
        ------
        BadInputError
            If a mode does not exist, or the model is a reduced one.
        """
        self._check_fitted()
        if self.reduced:
            raise BadInputError(
                "modes of a model with reduced=True are not selected; fit it with reduced=False, or a rank"
            )
        space = self._space or self._companion_space()
        whole = self.spectrum()
        wanted = whole.eigenvalues[with_partners(whole.eigenvalues, modes)]
        values, vectors = np.linalg.eig(space.operator)
        places = np.unique([int(np.abs(values - value).argmin()) for value in wanted])
        right, left = vectors[:, places], np.linalg.pinv(vectors)[places]
        basis = np.linalg.svd(np.hstack([right.real, right.imag]), full_matrices=False)[0][:, : len(places)]
        onto = basis.T @ (right @ left).real
        rest = _window_at_rest(space, self.training_rows_)
        # The window at rest becomes the centre: the selected modes are deviations from it.
        left_over = space.offset - rest + space.operator @ rest
        selected: TDDMD = copy.copy(self)
        parts = (
            onto @ space.encoder, basis.T @ space.operator @ basis, space.decoder @ basis, onto @ space.driver,
            onto @ left_over, space.centre + space.decoder @ rest,
        )  # fmt: skip
        selected._space = StateSpace(*(np.ascontiguousarray(part) for part in parts))
        return selected

    def _check_free(self, what: str) -> None:
        """Raise if a model with inputs is asked for a property of models without inputs."""
        self._check_fitted()
        if self.n_inputs_:
            raise BadInputError(f"{what} is for models without inputs; forecast takes them")

    def eigenvalue_intervals(
        self,
        series: Any = None,
        *,
        level: float = 0.9,
        draws: int = 100,
        modes: int | None = None,
        noise: Literal["measurement", "process"] = "measurement",
        random_state: int = 0,
    ) -> "EigenvalueIntervals":
        """Return the eigenvalues with error bars, from fits to equally plausible series.

        With ``noise="measurement"`` the series is modelled as a signal of few modes with noise on every snapshot. The
        signal is the nearest series of about that rank (by alternating projections); every draw adds the remainder back
        in random order. With ``noise="process"`` a draw is an orbit of the fitted recursion, driven by its one-step
        residuals in random order. The intervals are basic bootstrap intervals (A. C. Davison, D. V. Hinkley, Bootstrap
        Methods and their Application, Cambridge 1997, section 2.4): they subtract the bias of least squares due to
        noise on the windows, so the fitted value itself may lie outside. :doc:`theory-forecast` has their coverage.

        Parameters
        ----------
        series
            One series of the training (time, features); by default the only series of the fit, unless the model was
            read from a folder.
        level
            Probability of each interval by itself.
        draws
            Number of repeated fits, at least 10. Each costs as much as the fit, plus the eigenvalues of the recursion.
        modes
            Number of eigenvalues, those that contribute most; None for the rank of the model, or without a rank for the
            number of singular values above the noise; at most 12.
        noise
            Where the noise enters.
        random_state
            Seed of the draws.

        Raises
        ------
        BadInputError
            If a parameter is out of its range, the model has inputs, or there is no single series.

        Examples
        --------
        >>> import numpy as np
        >>> from tokendyn.data.systems import sinusoids
        >>> from tokendyn.forecast import TDDMD
        >>> signal = sinusoids(300, 0.05, (0.5, 1.2), seed=0).with_noise(0.05, seed=0)
        >>> bars = TDDMD(delays=12, rank=4).fit(signal).eigenvalue_intervals(draws=50)
        >>> np.unique(abs(bars.frequencies).mean(axis=1).round(2))
        array([0.5, 1.2])
        """
        from tokendyn.forecast.eigenvalue_bars import eigenvalue_intervals

        self._check_fitted()
        array = self._series if series is None else self._read(series, None)[0]
        if array is None:
            raise BadInputError("there is no one series of the fit at hand; give it: eigenvalue_intervals(series)")
        return eigenvalue_intervals(
            self, array, level=level, draws=draws, modes=modes, noise=noise, random_state=random_state
        )

    def explain(self, series: Any = None, inputs: Any = None) -> Spectrum:
        """Return the :meth:`spectrum`; amplitudes are those at the end of a series, by default the training one."""
        self._check_fitted()
        array = self.last_window_ if series is None else self._read(series, inputs)[0]
        return self.spectrum(array if len(array) else None)

    def _parameter_problems(self) -> list[str]:
        """Return the faults of the parameters."""
        problems = check_count("delays", self.delays) + check_count("stride", self.stride)
        problems += check_number("ridge", self.ridge) + rank_problems(self.rank)
        if self.reduced and self.stride != 1:
            problems.append(f"stride is {self.stride} and reduced=True, expected stride 1, or reduced=False")
        return problems

    def _window_length(self) -> int:
        """Return ``(delays - 1) stride + 1``."""
        return window_length(self.delays, self.stride)

    def _fit(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], progress: Progress) -> None:
        """Solve the least-squares problem over all series."""
        if self.reduced and self.n_inputs_:
            raise BadInputError("reduced=True has no inputs; use reduced=False with inputs")
        if self.reduced and any(len(one) < self.window_length_ + 1 for one in series):
            raise BadInputError("reduced=True needs two windows of each series")
        progress(0.0, "least squares")
        columns, targets = regression(series, inputs, self.delays, self.stride)
        solved = truncated_least_squares(
            columns, targets, rank=self.rank, ridge=self.ridge, intercept=self.intercept, scale=self.scale,
            inverted=self.reduced,
        )  # fmt: skip
        states = self.delays * self.n_features_
        self.coefficients_ = np.ascontiguousarray(
            solved.matrix[:states].reshape(self.delays, self.n_features_, -1).transpose(0, 2, 1)
        )
        self.input_coefficients_ = np.ascontiguousarray(solved.matrix[states:].T)
        self.intercept_, self.rank_, self.singular_values_ = solved.intercept, solved.rank, solved.singular_values
        self.first_window_ = series[0][: self.window_length_].copy()
        self.training_rows_ = len(series[0])
        self._series = series[0] if len(series) == 1 else None
        self.hint_ = self._delays_hint(series, inputs, targets - columns @ solved.matrix - solved.intercept)
        self._space = self._make_space(series, solved)
        progress(1.0, f"rank {self.rank_}")

    def _delays_hint(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], residual: np.ndarray) -> str:
        """Return a hint on missing delays if two snapshots determine the next one and a single one does not.

        One column has one real eigenvalue and cannot oscillate; nor can a standing wave (J. H. Tu et al., J. Comput.
        Dyn. 1, 391 (2014)).
        """
        if self.delays > 1 or self.n_features_ > _HINTED or min(map(len, series)) < 4 * self.n_features_ + 4:
            return ""
        columns, targets = regression(series, inputs, 2, 1)
        solved = truncated_least_squares(columns, targets, rank=None, ridge=0.0, intercept=True, scale=True)
        error = float(np.sqrt(((targets - columns @ solved.matrix - solved.intercept) ** 2).mean()))
        own = float(np.sqrt((residual**2).mean()))
        if own <= _EXACT * float(np.sqrt((targets**2).mean())) or error >= _CLEARLY * own:
            return ""
        return (
            f"one snapshot does not tell how this series goes on: with delays=2 the error of one step is "
            f"{error / own:.2g} of that; give more delays, such as TDDMD(delays=12)"
        )

    def _make_space(self, series: Sequence[np.ndarray], solved: "LeastSquares") -> "StateSpace | None":
        """Return the state space for propagation, or None for the plain recursion."""
        if self.reduced:
            space = _reduced_space(series, solved, self.delays)
        elif self.stable:
            space = self._companion_space()
        else:
            return None
        operator = stabilised(space.operator) if self.stable else space.operator
        parts = (space.encoder, operator, space.decoder, space.driver, space.offset, space.centre)
        return StateSpace(*(np.ascontiguousarray(part) for part in parts))

    def _companion_space(self) -> "StateSpace":
        """Return the recursion as a state space of whole windows, centred at the middle of the training range."""
        centre = (self.low_ + self.high_) / 2 if self.intercept else np.zeros(self.n_features_)
        operator = companion(self.coefficients_, self.stride)
        size = len(operator)
        decoder = np.eye(self.n_features_, size, k=size - self.n_features_)
        still = self.coefficients_.sum(axis=0) @ centre + self.intercept_ - centre
        driver = decoder.T @ self.input_coefficients_
        return StateSpace(np.eye(size), operator, decoder, driver, decoder.T @ still, centre)

    def _one_step(self, series: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Predict each snapshot from the true ones before it."""
        if self._space is not None:
            states = self._space.encode(delay_windows(series[:-1], self.window_length_, 1))
            drive = input_windows(inputs, self.delays, self.stride).reshape(len(states), -1)
            return self._space.decode(self._space.advance(states, drive))
        columns, _ = regression([series], [inputs], self.delays, self.stride)
        return columns @ self._matrix() + self.intercept_

    def _rollout(self, windows: np.ndarray, steps: int, inputs: np.ndarray) -> tuple[np.ndarray, None]:
        """Roll out the recursion, or the state space."""
        drives = np.stack([input_windows(one, self.delays, self.stride).reshape(steps, -1) for one in inputs])
        values = np.full((len(windows), steps, self.n_features_), np.nan)
        with np.errstate(over="ignore", invalid="ignore"):
            if self._space is not None:
                state = self._space.encode(windows)
                for step in range(steps):
                    state = self._space.advance(state, drives[:, step])
                    values[:, step] = self._space.decode(state)
                return values, None
            matrix, span = self._matrix(), self.window_length_
            orbit = np.concatenate([windows, values], axis=1)
            for step in range(steps):
                window = orbit[:, step : step + span : self.stride].reshape(len(windows), -1)
                row = np.concatenate([window, drives[:, step]], axis=1)
                orbit[:, step + span] = row @ matrix + self.intercept_
        return orbit[:, span:], None

    def _matrix(self) -> np.ndarray:
        """Return A and B as one matrix that acts on the rows of :func:`regression`."""
        states = self.coefficients_.transpose(0, 2, 1).reshape(-1, self.n_features_)
        return np.concatenate([states, self.input_coefficients_.T])

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return coefficients and, if there is one, the state space."""
        tensors = {name: getattr(self, f"{name}_") for name in _TENSORS}
        if self._space is not None:
            tensors |= {f"space_{name}": getattr(self._space, name) for name in StateSpace.__dataclass_fields__}
        return {"rank": self.rank_, "rows": self.training_rows_, "hint": self.hint_}, tensors

    def _restore(self, record: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        """Set coefficients and state space."""
        features, drives = self.n_features_, 2 * self.delays * self.n_inputs_
        expected = {
            "coefficients": (self.delays, features, features),
            "input_coefficients": (features, drives),
            "intercept": (features,),
            "first_window": (self.window_length_, features),
        }
        for name, shape in expected.items():
            if tensors[name].shape != shape:
                raise ValueError(f"{name} has shape {tensors[name].shape}, expected {shape}")
        for name in _TENSORS:
            setattr(self, f"{name}_", tensors[name])
        self.rank_ = int(record["rank"])
        # Folders of 0.1 do not hold the length of the training series.
        self.training_rows_ = int(record.get("rows", self.window_length_))
        self.hint_ = str(record.get("hint", ""))
        self._space = None
        if self.reduced or self.stable or "space_operator" in tensors:
            self._space = StateSpace(*(tensors[f"space_{name}"] for name in StateSpace.__dataclass_fields__))


#: Share of its size that a mode must keep over a window for backward steps.
_LASTING = 0.1
#: Number of rows factored at a time.
_BLOCK = 8192
#: The hint on delays: largest number of columns, clearly smaller share of the one-step error, and a share of rounding.
_HINTED, _CLEARLY, _EXACT = 32, 1 / 3, 1e-10
_TENSORS = ("coefficients", "input_coefficients", "intercept", "singular_values", "first_window")


@dataclass(frozen=True)
class LeastSquares:
    """Solution of ``targets = columns matrix + intercept``; see :func:`truncated_least_squares`.

    Attributes
    ----------
    matrix
        (columns, targets).
    intercept
        (targets,).
    rank
        Number of singular values kept.
    singular_values
        All singular values of the centred and scaled columns.
    basis
        The kept right singular vectors, (columns, rank).
    pseudo_inverse
        (rank, samples): ``S^+ U^T``; None if not requested.
    centre, units
        Subtracted centre and divisors of the columns.
    """

    matrix: Float[np.ndarray, "columns targets"]
    intercept: Float[np.ndarray, " targets"]
    rank: int
    singular_values: Float[np.ndarray, " values"]
    basis: Float[np.ndarray, "columns rank"]
    pseudo_inverse: Float[np.ndarray, "rank samples"] | None
    centre: Float[np.ndarray, " columns"]
    units: Float[np.ndarray, " columns"]


@dataclass(frozen=True)
class StateSpace:
    """``z' = operator z + driver w + offset`` and ``x = centre + decoder z``, from ``z = encoder (h - centre)``."""

    encoder: Float[np.ndarray, "state window"]
    operator: Float[np.ndarray, "state state"]
    decoder: Float[np.ndarray, "features state"]
    driver: Float[np.ndarray, "state drive"]
    offset: Float[np.ndarray, " state"]
    centre: Float[np.ndarray, " features"]

    def encode(self, windows: Float[np.ndarray, "batch window features"]) -> Float[np.ndarray, "batch state"]:
        """Return the state of each window."""
        return (windows - self.centre).reshape(len(windows), -1) @ self.encoder.T

    def advance(
        self, states: Float[np.ndarray, "batch state"], drive: Float[np.ndarray, "batch drive"]
    ) -> Float[np.ndarray, "batch state"]:
        """Return the states one step later."""
        return states @ self.operator.T + drive @ self.driver.T + self.offset

    def decode(self, states: Float[np.ndarray, "batch state"]) -> Float[np.ndarray, "batch features"]:
        """Return the snapshot of each state."""
        return self.centre + states @ self.decoder.T


def regression(
    series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], delays: int, stride: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows (window, inputs of the window) of all series, and the next snapshot of each."""
    rows, targets = [], []
    for one, driven in zip(series, inputs, strict=True):
        states = hankel(one[:-1], delays, stride)
        drive = input_windows(driven, delays, stride).reshape(len(states), -1)
        rows.append(np.concatenate([states, drive], axis=1) if drive.shape[1] else states)
        targets.append(one[window_length(delays, stride) :])
    if len(rows) == 1:  # avoids another copy of a long series
        return rows[0], targets[0]
    return np.concatenate(rows), np.concatenate(targets)


def truncated_least_squares(
    columns: Float[np.ndarray, "samples columns"],
    targets: Float[np.ndarray, "samples targets"],
    *,
    rank: int | float | str | None,
    ridge: float,
    intercept: bool,
    scale: bool,
    inverted: bool = False,
) -> LeastSquares:
    """Solve least squares by the SVD of the columns, truncated and with a ridge; see :class:`TDDMD`.

    The SVD is that of the triangle of a QR factorisation, whose rows are taken in blocks: a tenth of the operations of
    the SVD of a tall matrix, and no more memory than a block. With ``inverted`` the pseudo-inverse is returned as well.
    """
    width = columns.shape[1]
    centre = columns.mean(axis=0) if intercept else np.zeros(width)
    target_centre = targets.mean(axis=0) if intercept else np.zeros(targets.shape[1])
    blocks = [slice(first, first + _BLOCK) for first in range(0, len(columns), _BLOCK)]
    units = np.ones(width)
    if scale:
        mean = columns.mean(axis=0)
        units = np.sqrt(sum(((columns[block] - mean) ** 2).sum(axis=0) for block in blocks) / len(columns))
    units[columns.min(axis=0) == columns.max(axis=0)] = 1.0
    if inverted:
        rows, onto = (columns - centre) / units, targets - target_centre
    else:
        rows, onto = _triangle(columns, targets, centre, units, target_centre, blocks)
    left, values, right = np.linalg.svd(rows, full_matrices=False)
    kept = kept_rank(values, rank, columns.shape)
    inverse = values[:kept] / (values[:kept] ** 2 + ridge * len(columns))
    pseudo_inverse = inverse[:, None] * left[:, :kept].T
    basis = np.ascontiguousarray(right[:kept].T)
    matrix = basis @ (pseudo_inverse @ onto) / units[:, None]
    pseudo_inverse = pseudo_inverse if inverted else None
    return LeastSquares(matrix, target_centre - centre @ matrix, kept, values, basis, pseudo_inverse, centre, units)


def _triangle(
    columns: np.ndarray,
    targets: np.ndarray,
    centre: np.ndarray,
    units: np.ndarray,
    target_centre: np.ndarray,
    blocks: Sequence[slice],
) -> tuple[np.ndarray, np.ndarray]:
    """Return R of ``columns = Q R``, centred and in their units, and ``Q^T targets``, by one block after another."""
    width = columns.shape[1]
    both = np.empty((0, width + targets.shape[1]))
    for block in blocks:
        rows = np.concatenate([(columns[block] - centre) / units, targets[block] - target_centre], axis=1)
        both = np.asarray(np.linalg.qr(np.concatenate([both, rows]), mode="r"))
    return both[:width, :width], both[:width, width:]


def kept_rank(values: Float[np.ndarray, " values"], rank: int | float | str | None, shape: tuple[int, int]) -> int:
    """Return the number of singular values to keep, never those at the level of rounding."""
    sound = max(int((values > values[0] * max(shape) * np.finfo(float).eps).sum()), 1)
    if rank is None:
        return sound
    if isinstance(rank, str) or rank == 0:
        return min(gavish_donoho(values, shape), sound)
    if isinstance(rank, int | np.integer):
        return min(int(rank), sound)
    energy = np.cumsum(values**2) / np.sum(values**2)
    return min(int((energy < rank).sum()) + 1, sound)


def rank_problems(rank: Any) -> list[str]:
    """Return the fault of a rank."""
    if (
        rank is None
        or rank == AUTO
        or (isinstance(rank, int | np.integer) and not isinstance(rank, bool) and rank >= 0)
    ):
        return []
    if isinstance(rank, float) and 0 < rank < 1:
        return []
    return [f"rank is {rank!r}, expected a count, a share of the energy between 0 and 1, {AUTO!r}, or None"]


def _reduced_space(series: Sequence[np.ndarray], solved: LeastSquares, delays: int) -> StateSpace:
    """Return the propagation of whole windows in the span of the kept singular vectors."""
    features = series[0].shape[1]
    following = np.concatenate([hankel(one[1:], delays, 1) for one in series])
    centre = solved.centre[-features:]
    stacked = np.tile(centre, delays)
    later = (following - following.mean(axis=0) if solved.centre.any() else following) / solved.units
    assert solved.pseudo_inverse is not None  # _fit asks for it
    operator = (solved.pseudo_inverse @ later @ solved.basis).T
    means = (following.mean(axis=0) - stacked) / solved.units if solved.centre.any() else np.zeros(len(stacked))
    before = (solved.centre - stacked) / solved.units
    offset = solved.basis.T @ means - operator @ (solved.basis.T @ before)
    encoder = solved.basis.T / solved.units
    decoder = (solved.basis * solved.units[:, None])[-features:]
    return StateSpace(encoder, operator, decoder, np.zeros((len(operator), 0)), offset, centre)


def _window_at_rest(space: "StateSpace", rows: int) -> np.ndarray:
    """Return the fixed point of a step, as far as the data determine it.

    A mode slower than the length of the data, such as a trend, would have its fixed point far outside of them or
    nowhere; along it the state at rest is the mean of the data.
    """
    rest = np.linalg.lstsq(np.eye(len(space.operator)) - space.operator, space.offset, rcond=None)[0]
    values, vectors = np.linalg.eig(space.operator)
    slow = np.abs(1.0 - values) < 1.0 / rows
    if slow.any():
        rest = rest - (vectors[:, slow] @ (np.linalg.pinv(vectors)[slow] @ rest)).real
    return np.asarray(rest)
