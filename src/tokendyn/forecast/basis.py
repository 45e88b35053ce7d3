"""Maps with fixed inner weights: linear, polynomial, or random units of a window, solved by least squares."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from tokendyn.errors import BadInputError
from tokendyn.forecast.base import Forecaster, Progress
from tokendyn.forecast.cell import tokens_of
from tokendyn.forecast.checks import check_count, check_number, deviations
from tokendyn.forecast.embedding import window_length
from tokendyn.forecast.functions import Basis, Fits, draw_basis, solve_ridges
from tokendyn.forecast.monomials import Monomials, monomial_count
from tokendyn.forecast.sites import local_rows, neighbours, stretches, whole_operators
from tokendyn.forecast.smoothing import RATIO, smoothed
from tokendyn.forecast.tddmd import TDDMD
from tokendyn.runs.memory import check_memory
from tokendyn.words import counted

#: Largest number of monomials in a model.
MOST_TERMS = 20_000
#: Weight of the model against the data in the first rounds of smoothing, when the model is still rough.
_SOFT = 4.0
#: Largest number of windows of single sites in a fit: neighbouring sites hold nearly the same information.
MOST_LOCAL = 20_000


class BasisMap(Forecaster):
    """Map of a window with fixed inner weights: ``x_{k+1} = x_k + b + L h_k + P m(h_k) + W act(C h_k + a)``.

    ``h_k`` is the normalised window with the inputs ``u_k, u_{k+1}``, ``m`` its monomials from order 2 on. Only b, L, P
    and W are fitted, by ridge least squares (:func:`solve_ridges`). Without monomials and units it is TD-DMD; with
    monomials alone it is the polynomial map that is also known as NVAR (D. Gauthier et al., Nature Communications 12,
    5564 (2021)); with units it is an extreme learning machine of the window. Windows are not whitened: with nearly
    collinear delays this would amplify the noise (measured in :doc:`theory-forecast`).

    Parameters
    ----------
    delays, stride
        Number of snapshots in a window, and the steps between them.
    order
        Highest order of the monomials; 1 for none.
    directions
        Number of principal directions of the windows for the monomials; 0 for the window itself.
    units
        Number of fixed nonlinear units. Their weights are standard normal (sin) or of deviation 1/2 (tanh) on at most
        16 principal directions; sin units divide these by the deviation of the first, tanh units by the geometric mean
        of the first and their own. Each unit is centred at a window of the data.
    activation
        "sin" or "tanh".
    reach
        For columns that are the sites of a grid, in order: number of neighbours on each side that a site depends on;
        all sites share one map. 0 for other columns.
    periodic
        Whether the last site of a grid is a neighbour of the first.
    difference
        Learn the differences of the series, and sum the forecasts from the last snapshot: for trends.
    noise
        Standard deviation of noise added to the windows in training, relative to the data; the targets stay unchanged.
    ridge
        Weight of the penalty, as a share of the samples; see :func:`solve_ridges`.
    smoothing
        Rounds that alternate a fit and a smoothing of the training series by the model; for noisy data.
    history
        Number of snapshots, smoothed by the model, from which a forecast starts; 0 to start from the window as
        measured.
    random_state
        Seed of the units and of the noise.

    Attributes
    ----------
    basis_
        The fixed functions.
    coefficients_
        (terms, features), in normalised units; one column if all sites share them.
    residual_
        Root mean square of the one-step residual in training, in standard deviations.

    Examples
    --------
    >>> from tokendyn.data.systems import lorenz63
    >>> from tokendyn.forecast import BasisMap
    >>> series = lorenz63(3000, seed=0)
    >>> model = BasisMap(order=4, ridge=1e-12).fit(series.values[:2000], dt=series.dt)
    >>> model.family, len(model.coefficients_)
    ('polynomial map', 35)
    >>> errors = model.backtest(series.values[2000:], horizon=200, every=50).errors
    >>> bool(errors.max() < 0.01)
    True
    """

    def __init__(
        self,
        *,
        delays: int = 1,
        stride: int = 1,
        order: int = 1,
        directions: int = 0,
        units: int = 0,
        activation: str = "sin",
        reach: int = 0,
        periodic: bool = True,
        difference: bool = False,
        noise: float = 0.0,
        ridge: float = 1e-8,
        smoothing: int = 0,
        history: int = 0,
        random_state: int = 0,
    ) -> None:
        self.delays = delays
        self.stride = stride
        self.order = order
        self.directions = directions
        self.units = units
        self.activation = activation
        self.reach = reach
        self.periodic = periodic
        self.difference = difference
        self.noise = noise
        self.ridge = ridge
        self.smoothing = smoothing
        self.history = history
        self.random_state = random_state

    @property
    def family(self) -> str:
        """The name of the model by its settings."""
        if self.units:
            name = "fixed units" if self.order == 1 else "polynomial map with fixed units"
        else:
            name = "TD-DMD" if self.order == 1 else "polynomial map"
        return f"{name} of neighbours" if self.reach else name

    @property
    def parameters_(self) -> int:
        """Return the number of trained parameters."""
        return int(self.coefficients_.size)

    def _parameter_problems(self) -> list[str]:
        """Return the faults of the parameters."""
        problems = check_count("delays", self.delays) + check_count("stride", self.stride)
        problems += check_count("order", self.order) + check_count("random_state", self.random_state, 0)
        for name in ("directions", "units", "reach", "smoothing", "history"):
            problems += check_count(name, getattr(self, name), 0)
        problems += check_number("noise", self.noise) + check_number("ridge", self.ridge)
        if self.activation not in ("sin", "tanh"):
            problems.append(f"activation is {self.activation!r}, expected sin or tanh")
        return problems

    def _span(self) -> int:
        """Return the number of snapshots that a step depends on."""
        return window_length(self.delays, self.stride) + bool(self.difference)

    def _window_length(self) -> int:
        """Return the number of snapshots of a step, or the history if that is longer."""
        return max(self._span(), self.history)

    def _fit(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], progress: Progress) -> None:
        """Solve, with smoothing in alternation with the smoothing of the series."""
        self.training_rows_, self.first_window_ = len(series[0]), series[0][: self.window_length_].copy()
        self._normalise(series, inputs)
        z, w = self._normalised(series, inputs)
        if self.reach and self.smoothing:
            z, w = stretches(z, w, self._span() + 1)
        noisy = z
        for done in range(self.smoothing):
            progress(done / (self.smoothing + 1), f"round {done}")
            self._set(self._solve(z, w, (self.ridge,)), 0)
            ratio = _SOFT * (RATIO / _SOFT) ** min(2 * done / max(self.smoothing - 1, 1), 1.0)
            z = smoothed(self, noisy, w, guess=z, ratio=ratio, rounds=2)
        progress(self.smoothing / (self.smoothing + 1), "least squares")
        self._set(self._solve(z, w, (self.ridge,)), 0)
        progress(1.0, counted(len(self.coefficients_), "function"))

    def fit_ridges(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], ridges: Sequence[float]) -> Fits:
        """Return the fits for several ridges, for a search; the series are float64 arrays without gaps.

        The model itself gets the normalisation and is ready for :meth:`roll`, but has no coefficients of its own.
        """
        stacked = np.concatenate(list(series))
        self.n_features_, self.n_inputs_ = stacked.shape[1], inputs[0].shape[1]
        self.window_length_ = self._window_length()
        self.low_, self.high_, self.scale_ = stacked.min(axis=0), stacked.max(axis=0), deviations(stacked)
        self._normalise(series, inputs)
        return self._solve(*self._normalised(series, inputs), ridges)

    def _set(self, fits: Fits, number: int) -> None:
        """Take one of several fits as the model."""
        self.basis_ = fits.basis
        self.coefficients_ = np.ascontiguousarray(fits.coefficients[number])
        self.residual_ = float(fits.residuals[number])

    def _normalise(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray]) -> None:
        """Set centre and scale of the learned quantity: the series or its differences."""
        learned = np.concatenate([np.diff(one, axis=0) if self.difference else one for one in series])
        driven = np.concatenate(list(inputs))
        self.centre_, self.width_ = learned.mean(axis=0), deviations(learned)
        self.input_centre_, self.input_width_ = driven.mean(axis=0), deviations(driven)
        if self.reach:  # sites that share a map share their scale
            self.width_ = np.full_like(self.width_, learned.std() or 1.0)
            self.centre_ = np.full_like(self.centre_, learned.mean())

    def _normalised(
        self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return normalised series and inputs."""
        learned = [np.diff(one, axis=0) if self.difference else one for one in series]
        driven = [one[1:] if self.difference else one for one in inputs]
        return (
            [(one - self.centre_) / self.width_ for one in learned],
            [(one - self.input_centre_) / self.input_width_ for one in driven],
        )

    def _solve(self, z: Sequence[np.ndarray], w: Sequence[np.ndarray], ridges: Sequence[float]) -> Fits:
        """Return the fits to normalised series."""
        # A window of the last snapshot has no target; tokens_of leaves it out.
        rows = np.concatenate([self._rows(one, driven) for one, driven in zip(z, w, strict=True)])
        first = window_length(self.delays, self.stride)
        targets = np.concatenate([one[first:] for one in z])
        rows, targets = self._local(rows), targets.reshape(-1, 1) if self.reach else targets
        if self.reach and len(rows) > MOST_LOCAL:
            kept = np.random.default_rng(self.random_state).choice(len(rows), MOST_LOCAL, replace=False)
            rows, targets = rows[kept], targets[kept]
        terms = self._terms(rows.shape[1])
        check_memory(
            8 * 4 * len(rows) * terms,
            f"{counted(len(rows), 'window')} and {counted(terms, 'function')}",
            "use a lower order",
        )
        rng = np.random.default_rng(self.random_state)
        basis = draw_basis(
            rows, order=self.order, directions=self.directions, units=self.units, activation=self.activation, rng=rng
        )
        near = 2 * self.reach + 1 if self.reach else z[0].shape[1]
        newest = (self.delays - 1) * near + self.reach
        state = slice(newest, newest + targets.shape[1])
        if self.noise:
            rows = rows + self.noise * rng.standard_normal(rows.shape)
        coefficients, residuals = solve_ridges(basis(rows), targets - rows[:, state], ridges)
        return Fits(basis, tuple(ridges), coefficients, residuals)

    def _terms(self, width: int) -> int:
        """Return the number of functions."""
        monomials = monomial_count(self.directions or width, self.order)
        if monomials > MOST_TERMS:
            raise BadInputError(
                f"the monomials of {counted(self.directions or width, 'column')} to order {self.order} are "
                f"{monomials}, at most "
                f"{MOST_TERMS} are fitted; use a lower order, fewer delays, or directions"
            )
        return 1 + width + monomials + self.units

    def _rows(self, z: np.ndarray, w: np.ndarray) -> np.ndarray:
        """Return each window that has a next snapshot with the inputs at its end and after it."""
        return self._flat(tokens_of(z, w, self.delays, self.stride))

    def _flat(self, tokens: Float[np.ndarray, "samples delays width"]) -> Float[np.ndarray, "samples columns"]:
        """Return tokens of windows as rows: all snapshots, then the inputs of the newest."""
        states = tokens[:, :, : self.n_features_].reshape(len(tokens), -1)
        return np.concatenate([states, tokens[:, -1, self.n_features_ :]], axis=1)

    def _local(self, rows: Float[np.ndarray, "samples columns"]) -> np.ndarray:
        """Return windows as they are, or those of every site with its neighbours."""
        if not self.reach:
            return rows
        return local_rows(rows, self.delays, neighbours(self.n_features_, self.reach, periodic=self.periodic))

    def step(self, tokens: Float[np.ndarray, "samples delays width"]) -> Float[np.ndarray, "samples features"]:
        """Return the next normalised snapshot of each window."""
        newest = tokens[:, -1, : self.n_features_]
        return newest + (self.basis_(self._local(self._flat(tokens))) @ self.coefficients_).reshape(newest.shape)

    def operators(
        self, tokens: Float[np.ndarray, "samples delays width"]
    ) -> Float[np.ndarray, "samples delays features width"]:
        """Return ``d x_{k+1} / d token`` of each window, for the snapshots of the tokens alone."""
        samples, delays, width = tokens.shape
        states, features = delays * self.n_features_, self.n_features_
        local = self.basis_.jacobian(self._local(self._flat(tokens)), self.coefficients_)
        operators = np.zeros((samples, delays, features, width))
        if self.reach:
            near = neighbours(features, self.reach, periodic=self.periodic)
            operators[..., :features] = whole_operators(local[:, 0], delays, near)
        else:
            by_delay = local[:, :, :states].reshape(samples, features, delays, features)
            operators[..., :features] = by_delay.transpose(0, 2, 1, 3)
        operators[:, -1, :, :features] += np.eye(features)
        return operators

    def _one_step(self, series: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Predict each snapshot from the true ones before it."""
        first = self.window_length_ - self._span()
        (z,), (w,) = self._normalised([series[first:]], [inputs[first:]])
        predicted = self.centre_ + self.width_ * self.step(tokens_of(z, w, self.delays, self.stride))
        return series[self.window_length_ - 1 : -1] + predicted if self.difference else predicted

    def _rollout(self, windows: np.ndarray, steps: int, inputs: np.ndarray) -> tuple[np.ndarray, None]:
        """Roll out from the windows, smoothed before if there is a history."""
        return self.roll(self.basis_, self.coefficients_[None], windows, steps, inputs)[0], None

    def roll(
        self,
        basis: Basis,
        coefficients: Float[np.ndarray, "ridges terms outputs"],
        windows: Float[np.ndarray, "batch window features"],
        steps: int,
        inputs: Float[np.ndarray, "batch rows inputs"],
        truth: Float[np.ndarray, "batch steps features"] | None = None,
        stop: float = np.inf,
    ) -> Float[np.ndarray, "ridges batch steps features"]:
        """Return the closed loops of several fits from several windows, all in one batch.

        With ``truth``, the loops end when the errors of all exceed ``stop`` standard deviations (root mean square over
        the features); later entries are NaN.
        """
        fits, batch = len(coefficients), len(windows)
        pairs = [self._normalised([one], [driven]) for one, driven in zip(windows, inputs, strict=True)]
        z, w = np.stack([pair[0][0] for pair in pairs]), np.stack([pair[1][0] for pair in pairs])
        # A history no longer than the window has no step to compare a model with.
        if self.history > self._span():
            known = list(w[:, : z.shape[1]])
            z = np.stack(smoothed(self, list(z), known, guess=list(z), ratio=RATIO, rounds=6))
        span, features = window_length(self.delays, self.stride), self.n_features_
        driven = w[:, z.shape[1] - span :]
        orbit = np.full((fits, batch, span + steps, features), np.nan)
        orbit[:, :, :span] = z[:, -span:]
        last = windows[:, -1]
        missed = np.zeros((fits, batch), dtype=bool)
        with np.errstate(over="ignore", invalid="ignore"):
            for step in range(steps):
                window = orbit[:, :, step : step + span : self.stride].reshape(fits * batch, -1)
                if self.n_inputs_:
                    drive = np.concatenate([driven[:, step + span - 1], driven[:, step + span]], axis=1)
                    window = np.concatenate([window, np.tile(drive, (fits, 1))], axis=1)
                values = basis(self._local(window))
                moved = np.matmul(values.reshape(fits, -1, values.shape[1]), coefficients)
                orbit[:, :, step + span] = orbit[:, :, step + span - 1] + moved.reshape(fits, batch, features)
                if truth is not None:
                    now = orbit[:, :, step + span] * self.width_ + self.centre_
                    if self.difference:
                        now = last + (orbit[:, :, span : step + span + 1] * self.width_ + self.centre_).sum(axis=2)
                    error = np.sqrt((((now - truth[:, step]) / self.scale_) ** 2).mean(axis=2))
                    missed |= ~(error <= stop)
                    if missed.all():
                        break
            values = orbit[:, :, span:] * self.width_ + self.centre_
            return last[:, None] + np.cumsum(values, axis=2) if self.difference else values

    def linear_model(self) -> TDDMD:
        """Return a linear map as :class:`TDDMD`, which has a spectrum.

        Raises
        ------
        BadInputError
            If the map is not linear, or learned differences.
        """
        if self.order > 1 or self.units or self.difference or self.history or self.reach:
            raise BadInputError(f"a {self.family} is not a TDDMD; only a linear map of the snapshots themselves is")
        delays, features = self.delays, self.n_features_
        model = TDDMD(delays=delays, stride=self.stride, ridge=self.ridge)
        names = ("n_features_", "n_inputs_", "window_length_", "dt_", "low_", "high_", "scale_", "fit_seconds_")
        for name in (*names, "form_", "last_window_", "last_inputs_"):
            setattr(model, name, getattr(self, name))
        matrix = self.coefficients_[1:] * self.width_
        states = matrix[: delays * features].reshape(delays, features, features) / self.width_[None, :, None]
        states[-1] += np.eye(features)
        model.coefficients_ = np.ascontiguousarray(states.transpose(0, 2, 1))
        drive = np.zeros((delays, 2 * self.n_inputs_, features))
        drive[-1] = matrix[delays * features :] / np.tile(self.input_width_, 2)[:, None]
        model.input_coefficients_ = np.ascontiguousarray(drive.reshape(-1, features).T)
        resting = self.coefficients_[0] * self.width_ + self.centre_
        resting = resting - np.tensordot(model.coefficients_, self.centre_, axes=([2], [0])).sum(axis=0)
        model.intercept_ = (
            resting - model.input_coefficients_[:, -2 * self.n_inputs_ :] @ np.tile(self.input_centre_, 2)
            if self.n_inputs_
            else resting
        )
        model.rank_, model.singular_values_ = delays * features, np.empty(0)
        model.training_rows_ = self.training_rows_
        model.first_window_ = self.first_window_
        model._space, model.hint_ = None, ""
        return model

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the basis, the coefficients and the units."""
        tensors = {name: getattr(self, f"{name}_") for name in _TENSORS}
        tensors |= {"weights": self.basis_.weights, "bias": self.basis_.bias}
        if self.basis_.projection is not None:
            tensors["projection"] = np.ascontiguousarray(self.basis_.projection)
        tensors["first_window"] = self.first_window_
        return {"residual": self.residual_, "rows": self.training_rows_}, tensors

    def _restore(self, record: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        """Set the basis and the units; ValueError where shapes do not fit."""
        near, outputs = (2 * self.reach + 1, 1) if self.reach else (self.n_features_, self.n_features_)
        width = self.delays * near + 2 * self.n_inputs_
        projection = tensors.get("projection")
        columns = width if projection is None else projection.shape[1]
        terms = 1 + width + monomial_count(columns, self.order) + self.units
        expected = {
            "coefficients": (terms, outputs),
            "weights": (self.units, width),
            "bias": (self.units,),
            "centre": (self.n_features_,),
            "width": (self.n_features_,),
            "input_centre": (self.n_inputs_,),
            "input_width": (self.n_inputs_,),
        }
        wrong = [name for name, shape in expected.items() if tensors[name].shape != shape]
        if wrong or (projection is not None and projection.shape[0] != width):
            raise ValueError(f"{', '.join(wrong) or 'projection'} has the wrong shape")
        for name in _TENSORS:
            setattr(self, f"{name}_", tensors[name])
        monomials = Monomials.graded(columns, self.order)
        self.basis_ = Basis(projection, monomials, tensors["weights"], tensors["bias"], self.activation)
        self.residual_ = float(record["residual"])
        self.training_rows_ = int(record.get("rows", self.window_length_))
        self.first_window_ = tensors.get("first_window", np.zeros((self.window_length_, self.n_features_)))


_TENSORS = ("coefficients", "centre", "width", "input_centre", "input_width")
