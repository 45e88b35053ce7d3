"""Forecasts of fields: a forecaster of the coefficients of their modes, as a model of the field."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import clone

from tokendyn.errors import BadInputError
from tokendyn.forecast.base import Forecaster, Progress
from tokendyn.forecast.checks import check_count, check_series, deviations
from tokendyn.forecast.forms import Form, open_window
from tokendyn.forecast.kinds import kind_of, known_kinds
from tokendyn.forecast.pod import POD
from tokendyn.forecast.ranks import AUTO
from tokendyn.forecast.spectra import Spectrum
from tokendyn.results import Result

#: Number of columns above which a search first reduces a series by POD.
WIDE = 64
#: Above this number of bytes a field is decomposed by the correlation of its snapshots, many times faster than by the
#: SVD; the modes that are lost hold less than 1e-14 of the variance.
_CHUNK = 2**24
#: Attributes of the data of a member; its data are coefficients.
_COUNTS = ("n_features_", "n_inputs_", "window_length_")
_RANGES = ("low_", "high_", "scale_")


class FieldForecaster(Forecaster):
    """A field by POD with a forecaster of its coefficients: ``x = mean + c Phi``, where the member forecasts c.

    The inner product of the modes weights each point of a grid with a latitude by its cell area, and divides each of
    several fields, or each of many plain columns, by its deviation (:class:`~tokendyn.forecast.pod.POD`). The remainder
    outside the modes is lost: :attr:`kept_` has the share that is kept.

    Parameters
    ----------
    member
        Forecaster of the coefficients: a model that is not fitted, or its kind and parameters,
        ``["TDDMD", {"delays": 10}]``.
    modes
        Number of modes: a count, a share of the variance in (0, 1), or "auto" as in POD, then at most ``most_modes``.
    most_modes
        Upper bound of the automatic count.
    areas
        Weight points by the cosine of their latitude, if there is one.
    scale
        Divide several fields, or plain columns, by their deviation.

    Attributes
    ----------
    pod_
        The fitted basis, on the features in a row.
    member_
        The fitted forecaster of the coefficients.
    kept_
        Share of the variance that the modes hold, in their inner product.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.forecast import TDDMD, FieldForecaster
    >>> time, x = np.arange(200.0), np.linspace(0, 6, 500)
    >>> wave = np.cos(0.1 * time[:, None] - x) + 0.5 * np.sin(0.23 * time[:, None] + 2 * x)
    >>> model = FieldForecaster(member=TDDMD(delays=4)).fit(wave[:150])
    >>> len(model.pod_.modes_), bool(abs(model.predict(50) - wave[150:]).max() < 1e-6)
    (4, True)
    """

    def __init__(
        self,
        *,
        member: Any = ("TDDMD", {"delays": 10}),
        modes: int | float | str = AUTO,
        most_modes: int = 50,
        areas: bool = True,
        scale: bool = True,
    ) -> None:
        self.member = member
        self.modes = modes
        self.most_modes = most_modes
        self.areas = areas
        self.scale = scale

    def coefficients(self, field: Any) -> np.ndarray:
        """Return the coefficients ``(time, modes)`` of a field as :meth:`fit` takes it."""
        self._check_fitted()
        opened = open_window(field, self.form_, "field")
        array = check_series(opened.values, "field", features=self.n_features_)
        return self.pod_.transform(array)

    def fields(self, coefficients: np.ndarray) -> np.ndarray:
        """Return the features ``(time, features)`` of coefficients."""
        rows: np.ndarray = self.pod_.inverse_transform(coefficients)
        return rows

    def mode_maps(self) -> Any:
        """Return the modes over the grid, as an xarray object over ``mode``; rows of features without a grid."""
        self._check_fitted()
        return on_grid(self.form_, self.pod_.modes_)

    def spectrum(self, window: Any = None) -> Spectrum:
        """Return the spectrum of the member with its modes on the features of the field.

        Parameters
        ----------
        window
            Snapshots of the field in which amplitudes are measured; by default the end of the training series.

        Raises
        ------
        BadInputError
            If the member has no spectrum.
        """
        self._check_fitted()
        if not hasattr(self.member_, "spectrum"):
            raise BadInputError(f"a {type(self.member_).__name__} has no spectrum; TDDMD has one")
        given = self.last_window_ if window is None else window
        found: Spectrum = self.member_.spectrum(self.coefficients(given) if len(given) else None)
        rest = self.fields(found.rest[None])[0]
        return replace(found, modes=self.pod_.modes_.T @ found.modes, rest=rest)

    def explain(self, series: Any = None, inputs: Any = None) -> Result:
        """Return what the member has learned of the coefficients; a spectrum has its modes on the field."""
        if hasattr(self.member_, "spectrum"):
            return self.spectrum(series)
        return self.member_.explain(None if series is None else self.coefficients(series), inputs)

    def reduce(
        self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], dt: float, form: Form
    ) -> list[np.ndarray]:
        """Fit the basis alone and return the coefficients of each series; :meth:`adopt` completes the model."""
        self.form_ = form
        self._note_data(series, inputs, dt, window=1)
        return self._reduce(series)

    def adopt(
        self, member: Forecaster, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray]
    ) -> "FieldForecaster":
        """Adopt a forecaster that was fitted to the coefficients from :meth:`reduce`.

        Parameters
        ----------
        member
            The forecaster.
        series, inputs
            As for :meth:`reduce`.
        """
        self.member_, self.member = member, [type(member).__name__, member._parameter_record()]
        self.window_length_, self.fit_seconds_ = member.window_length_, member.fit_seconds_
        self._keep_end(series, inputs)
        return self

    def _reduce(self, series: Sequence[np.ndarray]) -> list[np.ndarray]:
        stacked = np.concatenate(list(series))
        pod = POD(modes=self.modes, chunk_bytes=_CHUNK).fit(stacked, weights=self._weights(stacked))
        if self.modes == AUTO:
            kept = min(len(pod.modes_), self.most_modes)
            pod.modes_, pod.singular_values_ = pod.modes_[:kept], pod.singular_values_[:kept]
            pod.energies_ = pod.energies_[:kept]
        self.pod_, self.kept_ = pod, float(pod.energies_.sum())
        return [pod.transform(part) for part in series]

    def _weights(self, stacked: np.ndarray) -> np.ndarray:
        """Return the weight of every feature in the inner product of the modes."""
        grid = self.form_.grid
        areas = grid.areas() if grid is not None and self.areas else None
        weights = np.ones(stacked.shape[1]) if areas is None else areas
        if self.scale and grid is None:
            weights = weights / deviations(stacked) ** 2
        elif self.scale and grid is not None and len(grid.variables) > 1:
            sums = np.bincount(grid.variable_of, weights * stacked.var(axis=0))
            variances = np.asarray(sums / np.bincount(grid.variable_of, weights), dtype=np.float64)
            variances[variances == 0] = 1.0  # a field that never changes adds nothing in any unit
            weights = weights / variances[grid.variable_of]
        return np.asarray(weights)

    def _template(self) -> Forecaster:
        """Return the member before fit."""
        if isinstance(self.member, Forecaster):
            copy: Forecaster = clone(self.member)
            return copy
        kind, parameters = self.member
        built: Forecaster = kind_of(kind)(**parameters)
        return built

    def _parameter_record(self) -> dict[str, Any]:
        """Return the parameters, the member as its kind and parameters."""
        member = self._template()
        own = {name: getattr(self, name) for name in ("modes", "most_modes", "areas", "scale")}
        return {"member": [type(member).__name__, member._parameter_record()], **own}

    def _parameter_problems(self) -> list[str]:
        """Return the faults of the parameters, including those of the member."""
        if not isinstance(self.member, Forecaster) and self.member[0] not in known_kinds():
            return [f"no kind of model is called {self.member[0]!r}"]
        return check_count("most_modes", self.most_modes) + self._template()._parameter_problems()

    def _window_length(self) -> int:
        """Return the window length of the member."""
        return self._template()._window_length()

    def _fit(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], progress: Progress) -> None:
        """Fit the basis, then the member to the coefficients."""
        began = time.perf_counter()
        progress(0.0, "POD")
        coefficients = self._reduce(series)
        given = list(inputs) if self.n_inputs_ else None
        self.member_ = self._template().fit(coefficients, dt=self.dt_, inputs=given, progress=progress)
        self.fit_seconds_ = time.perf_counter() - began

    def _one_step(self, series: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Return the fields of the member's predictions."""
        return self.fields(self.member_._one_step(self.pod_.transform(series), inputs))

    def _rollout(self, windows: np.ndarray, steps: int, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the fields of the member's closed loop."""
        batch, span, _ = windows.shape
        reduced = self.pod_.transform(windows.reshape(batch * span, -1)).reshape(batch, span, -1)
        values, spread = self.member_._rollout(reduced, steps, inputs)
        with np.errstate(over="ignore", invalid="ignore"):  # of diverged values
            fields = self.fields(values.reshape(batch * steps, -1)).reshape(batch, steps, -1)
            if spread is not None:
                spread = np.sqrt(spread**2 @ self.pod_.modes_**2)
        return fields, spread

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return basis and member, the arrays of the latter with a prefix."""
        record, arrays = self.member_._state()
        member = self.member_
        counts = {name: int(getattr(member, name)) for name in _COUNTS}
        tensors = {f"member_{name}": array for name, array in arrays.items()}
        tensors |= {f"range_{name}": getattr(member, name) for name in _RANGES}
        tensors |= {"modes": self.pod_.modes_, "mean": self.pod_.mean_, "weights": self.pod_.weights_}
        tensors |= {"energies": self.pod_.energies_, "singular_values": self.pod_.singular_values_}
        return {"member": record, "counts": counts}, tensors

    def _restore(self, record: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        """Set basis and member."""
        features = self.n_features_
        pod = POD(modes=self.modes)
        pod.modes_, pod.mean_, pod.weights_ = (tensors[name] for name in ("modes", "mean", "weights"))
        pod.energies_, pod.singular_values_, pod.grid_ = tensors["energies"], tensors["singular_values"], None
        if pod.modes_.ndim != 2 or pod.modes_.shape[1] != features or pod.mean_.shape != (features,):
            raise ValueError(f"modes have shape {pod.modes_.shape}, expected (modes, {features})")
        self.pod_, self.kept_ = pod, float(pod.energies_.sum())
        member = self._template()
        for name in _COUNTS:
            setattr(member, name, int(record["counts"][name]))
        for name in _RANGES:
            setattr(member, name, tensors[f"range_{name}"])
        member.dt_, member.fit_seconds_, member.form_ = self.dt_, self.fit_seconds_, Form("array")
        member.last_window_ = np.empty((0, member.n_features_))
        member.last_inputs_ = np.empty((0, member.n_inputs_))
        prefix = "member_"
        own = {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
        member._restore(record["member"], own)
        self.member_ = member


def on_grid(form: Form, rows: np.ndarray) -> Any:
    """Return rows of features on the grid of a form, over the dimension ``mode``; as they are without a grid."""
    if form.grid is None:
        return rows
    return form.grid.to_xarray(rows, np.arange(1, len(rows) + 1), "mode")
