"""Vector fields that are linear in their coefficients, fitted in integral form and run by Runge-Kutta."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from tokendyn.errors import BadInputError
from tokendyn.forecast.base import Forecaster, Progress
from tokendyn.forecast.checks import check_count, check_number, deviations
from tokendyn.forecast.flow_kernels import ACTIVATIONS, flow
from tokendyn.forecast.functions import Basis, Fits, draw_basis, solve_ridges
from tokendyn.forecast.hinges import between, fitted_hinges, integrals
from tokendyn.forecast.monomials import Monomials, monomial_count
from tokendyn.forecast.sites import local_rows, neighbours, stretches, whole_operators
from tokendyn.forecast.smoothing import RATIO, smoothed
from tokendyn.runs.memory import check_memory
from tokendyn.words import counted

#: Number of snapshots on each side of an interval for its integral: eight in all, exact to degree seven.
_BESIDE = 3
#: Largest number of windows of single sites in a fit: neighbouring sites hold nearly the same information.
_MOST_LOCAL = 20_000
#: A step of the closed loop is halved until it changes by less than this share of the residual, at most this often.
_EXACT, _HALVINGS = 0.1, 3
#: Steps with an error below this, in standard deviations, are exact enough.
_ROUNDING = 1e-10
#: Number of snapshots for the choice of the step.
_PROBED = 64
#: Weight of the model against the data in the first rounds of smoothing, when the model is still rough.
_SOFT = 4.0


def interval_weights(beside: int) -> Float[np.ndarray, " points"]:
    """Return the weights of ``f(-beside), ..., f(beside + 1)`` in the integral of f from 0 to 1.

    They are exact for polynomials of degree ``2 beside + 1``: ``sum_j w_j j^p = 1 / (p + 1)``.
    """
    nodes = np.arange(-beside, beside + 2)
    powers = np.arange(len(nodes))
    return np.linalg.solve(nodes[None, :].astype(float) ** powers[:, None], 1.0 / (powers + 1.0))


def warm_up() -> None:
    """Compile the closed loop: the first call on a machine takes some seconds, which should not count in a search."""
    orbit, states, near = np.empty((1, 1, 1, 1)), np.zeros((1, 1)), np.zeros((1, 1), dtype=int)
    factors = np.empty(0, dtype=int)
    nothing = np.empty(0)
    flow(
        orbit, states, np.zeros((1, 2, 1)), near, factors, factors, np.empty((0, 1)), nothing, ACTIVATIONS["sin"], 1,
        np.empty((0, 0, 0)), np.ones(1), np.inf,
    )  # fmt: skip


class VectorField(Forecaster):
    """Autonomous flow ``x' = f(x)`` with ``f = b + L x + P m(x) + W act(C x + a)``, all variables seen.

    Only b, L, P and W are fitted: ``x_{k+m} - x_k`` is the integral of f along the data, which is interpolated by
    polynomials of degree seven, so that no derivative of the data is needed and the problem is linear (the integral
    form of H. Schaeffer and S. McCalla, Phys. Rev. E 96, 023302 (2017), without its sparsity; the quadrature is our
    own). Forecasts are steps of Runge-Kutta of order four, as short as the residual requires. If the equations are
    polynomials, it finds them; for hidden variables or distant snapshots use maps of delays (:class:`BasisMap`).

    Parameters
    ----------
    order
        Highest order of the monomials; 1 for none.
    units, activation
        Number of fixed nonlinear units as in :class:`BasisMap`; or with "hinge", functions ``max(0, x_i - c)`` of
        single variables, whose kinks c are fitted: for flows that are piecewise linear, or that saturate.
    reach, periodic
        For columns that are the sites of a grid: as in :class:`BasisMap`.
    interval
        Number of steps m of an increment; several for noisy data.
    ridge
        Weight of the penalty, as a share of the samples; see :func:`tokendyn.forecast.functions.solve_ridges`.
    smoothing
        Rounds that alternate a fit and a smoothing of the training series by the model; for noisy data.
    history
        Number of snapshots, smoothed by the model, from which a forecast starts; 0 to start from the last as measured.
    random_state
        Seed of the units.

    Attributes
    ----------
    basis_, coefficients_
        The functions, and their coefficients times the time step, in normalised units.
    substeps_
        Steps of Runge-Kutta between two snapshots.
    residual_
        Root mean square residual of the increments, in standard deviations of the data.

    Examples
    --------
    >>> from tokendyn.data.systems import lorenz63
    >>> from tokendyn.forecast import VectorField
    >>> series = lorenz63(3000, seed=0)
    >>> model = VectorField(order=2, ridge=1e-14).fit(series.values[:2000], dt=series.dt)
    >>> errors = model.backtest(series.values[2000:], horizon=100, every=50).errors
    >>> bool(errors.max() < 0.01)
    True
    """

    #: A step depends on one snapshot, as :func:`tokendyn.forecast.smoothing.smoothed` requires.
    delays = stride = 1

    def __init__(
        self,
        *,
        order: int = 2,
        units: int = 0,
        activation: str = "sin",
        reach: int = 0,
        periodic: bool = True,
        interval: int = 1,
        ridge: float = 1e-10,
        smoothing: int = 0,
        history: int = 0,
        random_state: int = 0,
    ) -> None:
        self.order = order
        self.units = units
        self.activation = activation
        self.reach = reach
        self.periodic = periodic
        self.interval = interval
        self.ridge = ridge
        self.smoothing = smoothing
        self.history = history
        self.random_state = random_state

    @property
    def family(self) -> str:
        """The name of the model by its settings."""
        name = "vector field" if self.units else "polynomial vector field" if self.order > 1 else "linear vector field"
        return f"{name} of neighbours" if self.reach else name

    @property
    def parameters_(self) -> int:
        """Return the number of trained parameters."""
        return int(self.coefficients_.size)

    def _parameter_problems(self) -> list[str]:
        """Return the faults of the parameters."""
        problems = check_count("order", self.order) + check_count("interval", self.interval)
        for name in ("units", "reach", "smoothing", "history", "random_state"):
            problems += check_count(name, getattr(self, name), 0)
        problems += check_number("ridge", self.ridge)
        if self.activation not in ACTIVATIONS:
            problems.append(f"activation is {self.activation!r}, expected {', '.join(ACTIVATIONS)}")
        elif not problems and self.activation == "hinge" and self.units and self.reach:
            problems.append("hinges are not fitted for neighbours; leave out reach, or use sin or tanh")
        return problems

    def _window_length(self) -> int:
        """Return the last snapshot, or the history."""
        return max(1, self.history)

    def _fit(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], progress: Progress) -> None:
        """Solve, with smoothing in alternation with the smoothing of the series."""
        if self.n_inputs_:
            raise BadInputError("a vector field takes no inputs; use BasisMap")
        z = self._normalise(series)
        w = [np.empty((len(one), 0)) for one in z]
        if self.reach and self.smoothing:
            z, w = stretches(z, w, len(interval_weights(_BESIDE)) + self.interval)
        noisy = z
        for done in range(self.smoothing):
            progress(done / (self.smoothing + 1), f"round {done}")
            self._set(self._solve(z, (self.ridge,)), 0, z)
            ratio = _SOFT * (RATIO / _SOFT) ** min(2 * done / max(self.smoothing - 1, 1), 1.0)
            z = smoothed(self, noisy, w, guess=z, ratio=ratio, rounds=2)
        self._set(self._solve(z, (self.ridge,)), 0, z)
        progress(1.0, counted(len(self.coefficients_), "function"))

    def fit_ridges(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], ridges: Sequence[float]) -> Fits:
        """Return the fits for several ridges, for a search, as :meth:`BasisMap.fit_ridges` does."""
        stacked = np.concatenate(list(series))
        self.n_features_, self.n_inputs_ = stacked.shape[1], 0
        self.window_length_ = self._window_length()
        self.low_, self.high_, self.scale_ = stacked.min(axis=0), stacked.max(axis=0), deviations(stacked)
        z = self._normalise(series)
        fits = self._solve(z, ridges)
        self._set(fits, int(np.argmin(fits.residuals)), z)
        return fits

    def _normalise(self, series: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Set centre and scale, and return the series in them."""
        stacked = np.concatenate(list(series))
        self.centre_, self.width_ = stacked.mean(axis=0), deviations(stacked)
        if self.reach:  # sites that share a field share their scale
            self.width_ = np.full_like(self.width_, stacked.std() or 1.0)
            self.centre_ = np.full_like(self.centre_, stacked.mean())
        return [(one - self.centre_) / self.width_ for one in series]

    def _solve(self, z: Sequence[np.ndarray], ridges: Sequence[float]) -> Fits:
        """Return the fits to normalised series."""
        weights = interval_weights(_BESIDE)
        long = [one for one in z if len(one) >= len(weights) + self.interval - 1]
        if not long:
            raise BadInputError(f"a vector field needs {len(weights) + self.interval - 1} snapshots in a row")
        rng = np.random.default_rng(self.random_state)
        rows = self._local(np.concatenate(long))
        count = monomial_count(rows.shape[1], self.order) + self.units + 1 + rows.shape[1]
        what = f"{counted(len(rows), 'snapshot')} and {counted(count, 'function')}"
        check_memory(8 * 4 * len(rows) * count, what, "use a lower order")
        drawn = 0 if self.activation == "hinge" else self.units
        basis = draw_basis(rows, order=self.order, units=drawn, activation=self.activation, rng=rng)
        columns, targets = zip(*(self._integrals(one, basis, weights) for one in long), strict=True)
        columns, targets = np.concatenate(columns), np.concatenate(targets)
        if self.units and not drawn:
            basis, columns = self._with_hinges(basis, columns, targets, long)
        if self.reach and len(columns) > _MOST_LOCAL:
            kept = rng.choice(len(columns), _MOST_LOCAL, replace=False)
            columns, targets = columns[kept], targets[kept]
        coefficients, residuals = solve_ridges(columns, targets, ridges)
        return Fits(basis, tuple(ridges), coefficients, residuals)

    def _with_hinges(
        self, basis: Basis, columns: np.ndarray, targets: np.ndarray, long: Sequence[np.ndarray]
    ) -> tuple[Basis, np.ndarray]:
        """Return the basis and its integrals with hinges whose kinks are fitted."""
        fine = [between(one, _BESIDE) for one in long]

        def summed(weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
            return np.concatenate([self._over_intervals(integrals(one, weights, bias)) for one in fine])

        weights, bias = fitted_hinges(summed, np.concatenate(long), columns, targets, self.units)
        return replace(basis, weights=weights, bias=bias), np.concatenate([columns, summed(weights, bias)], axis=1)

    def _integrals(self, z: np.ndarray, basis: Basis, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the integrals of all functions over each interval, in steps of time, and the increments."""
        values = basis(self._local(z)).reshape(len(z), -1)
        count = len(z) - len(weights) + 1
        means = np.zeros((count, values.shape[1]))
        for j, weight in enumerate(weights):
            means += weight * values[j : j + count]
        means = self._over_intervals(means)
        first, steps, rows = _BESIDE, self.interval, len(means)
        increments = (z[first + steps : first + steps + rows] - z[first : first + rows]) / steps
        if not self.reach:
            return means, increments
        return means.reshape(rows * self.n_features_, -1), increments.reshape(-1, 1)

    def _over_intervals(self, means: np.ndarray) -> np.ndarray:
        """Return means over one step as means over the steps of an interval."""
        if self.interval == 1:
            return means
        sums = np.concatenate([np.zeros((1, means.shape[1])), np.cumsum(means, axis=0)])
        return np.asarray((sums[self.interval :] - sums[: -self.interval]) / self.interval)

    def _local(self, rows: np.ndarray) -> np.ndarray:
        """Return snapshots unchanged, or those of every site with its neighbours."""
        if not self.reach:
            return rows
        return local_rows(rows, 1, self._near())

    def _set(self, fits: Fits, number: int, z: Sequence[np.ndarray]) -> None:
        """Adopt one of several fits as the model, with the number of substeps that its residual requires."""
        self.basis_ = fits.basis
        self.coefficients_ = np.ascontiguousarray(fits.coefficients[number])
        self.residual_ = float(fits.residuals[number])
        rows = np.concatenate(list(z))
        probe = rows[:: max(len(rows) // _PROBED, 1)]
        allowed = max(_EXACT * self.residual_, _ROUNDING)
        self.substeps_ = 1
        with np.errstate(over="ignore", invalid="ignore"):
            coarse = self._advance(probe, self.basis_, self.coefficients_[None])
            for _ in range(_HALVINGS):
                self.substeps_ *= 2
                fine = self._advance(probe, self.basis_, self.coefficients_[None])
                # Halving leaves a sixteenth of the error: the coarse step is kept if it is good enough by itself.
                if not np.sqrt(((fine - coarse) ** 2).mean()) > allowed:
                    self.substeps_ //= 2
                    break
                coarse = fine

    def _slope(self, states: np.ndarray, basis: Basis, coefficients: np.ndarray) -> np.ndarray:
        """Return f, times the time step, for states of several fits one after another: (fits batch, features)."""
        values = basis(self._local(states))
        return np.matmul(values.reshape(len(coefficients), -1, values.shape[1]), coefficients).reshape(states.shape)

    def _advance(self, states: np.ndarray, basis: Basis, coefficients: np.ndarray) -> np.ndarray:
        """Return the states one snapshot later, by the classical method of Runge and Kutta."""
        h = 1.0 / self.substeps_
        for _ in range(self.substeps_):
            k1 = self._slope(states, basis, coefficients)
            k2 = self._slope(states + h / 2 * k1, basis, coefficients)
            k3 = self._slope(states + h / 2 * k2, basis, coefficients)
            k4 = self._slope(states + h * k3, basis, coefficients)
            states = states + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return states

    def step(self, tokens: Float[np.ndarray, "samples delays width"]) -> Float[np.ndarray, "samples features"]:
        """Return the next normalised snapshot of each window."""
        return self._advance(tokens[:, -1], self.basis_, self.coefficients_[None])

    def operators(
        self, tokens: Float[np.ndarray, "samples delays width"]
    ) -> Float[np.ndarray, "samples delays features width"]:
        """Return ``d x_{k+1} / d x_k``: the derivative of the same steps of Runge-Kutta, by the chain rule."""
        states, h = tokens[:, -1], 1.0 / self.substeps_
        unit = np.eye(self.n_features_)
        total = np.repeat(unit[None], len(states), axis=0)
        for _ in range(self.substeps_):
            slopes: list[np.ndarray] = []
            jacobians: list[np.ndarray] = []
            for share in (0.0, 0.5, 0.5, 1.0):
                at = states + share * h * slopes[-1] if slopes else states
                slopes.append(self._slope(at, self.basis_, self.coefficients_[None]))
                local = self.basis_.jacobian(self._local(at), self.coefficients_)
                if self.reach:
                    local = whole_operators(local[:, 0], 1, self._near())[:, 0]
                jacobians.append(local @ (unit + share * h * jacobians[-1]) if jacobians else local)
            weights = (1.0, 2.0, 2.0, 1.0)
            states = states + h / 6 * sum(weight * slope for weight, slope in zip(weights, slopes, strict=True))
            total = (unit + h / 6 * sum(w * one for w, one in zip(weights, jacobians, strict=True))) @ total
        return total[:, None]

    def _one_step(self, series: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Predict each snapshot from the true one before it."""
        z = (series[self.window_length_ - 1 : -1] - self.centre_) / self.width_
        return self.centre_ + self.width_ * self._advance(z, self.basis_, self.coefficients_[None])

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
        """Return the closed loops of several fits from several windows, as :meth:`BasisMap.roll` does.

        With ``truth``, each loop ends when its error exceeds ``stop``; later entries are NaN.
        """
        z = (windows - self.centre_) / self.width_
        if self.history > 1:
            w = [np.empty((z.shape[1], 0))] * len(z)
            z = np.stack(smoothed(self, list(z), w, guess=list(z), ratio=RATIO, rounds=6))
        orbit = np.full((len(coefficients), len(windows), steps, self.n_features_), np.nan)
        states = np.ascontiguousarray(z[:, -1])
        known = np.empty((0, 0, 0)) if truth is None else (truth - self.centre_) / self.width_
        weight = np.divide(self.width_, self.scale_, out=np.zeros_like(self.width_), where=self.scale_ > 0)
        parents, columns = basis.monomials.flat(self._near().shape[1])
        flow(
            orbit, states, np.ascontiguousarray(coefficients), self._near(), parents, columns, basis.weights,
            basis.bias, ACTIVATIONS[basis.activation], self.substeps_, known, weight, stop,
        )  # fmt: skip
        return orbit * self.width_ + self.centre_

    def _near(self) -> np.ndarray:
        """Return the columns in the window of a site; all of them if there are no sites."""
        if not self.reach:
            return np.arange(self.n_features_)[None]
        return neighbours(self.n_features_, self.reach, periodic=self.periodic)

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the coefficients, the normalisation and the units."""
        tensors = {"coefficients": self.coefficients_, "centre": self.centre_, "width": self.width_}
        tensors |= {"weights": self.basis_.weights, "bias": self.basis_.bias}
        return {"residual": self.residual_, "substeps": self.substeps_}, tensors

    def _restore(self, record: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        """Set the field; ValueError where shapes do not fit."""
        features = self.n_features_
        width, outputs = (2 * self.reach + 1, 1) if self.reach else (features, features)
        terms = 1 + width + monomial_count(width, self.order) + self.units
        expected = {
            "coefficients": (terms, outputs), "centre": (features,), "width": (features,),
            "weights": (self.units, width), "bias": (self.units,),
        }  # fmt: skip
        wrong = [name for name, shape in expected.items() if tensors[name].shape != shape]
        if wrong:
            raise ValueError(f"{', '.join(wrong)} have the wrong shape")
        monomials = Monomials.graded(width, self.order)
        self.basis_ = Basis(None, monomials, tensors["weights"], tensors["bias"], self.activation)
        self.coefficients_, self.centre_, self.width_ = (tensors[name] for name in ("coefficients", "centre", "width"))
        self.residual_, self.substeps_ = float(record["residual"]), int(record["substeps"])
