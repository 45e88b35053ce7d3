"""Proper orthogonal decomposition: fields to a few coefficients and back, even for fields larger than memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from tokendyn.data.snapshots.grids import Grid
from tokendyn.errors import BadInputError
from tokendyn.forecast.field_files import Field, open_field
from tokendyn.forecast.ranks import AUTO, gavish_donoho
from tokendyn.results.fields import check_fields
from tokendyn.runs.files import new_folder, read_json, read_tensors, write_json, write_tensors
from tokendyn.words import counted

SCHEMA, SCHEMA_VERSION = "tokendyn-pod", 1
Basis = TypeVar("Basis", bound="POD")
#: Weights of points without their cell areas.
EQUAL = "equal"
#: Share of the variance at which the automatic count ends.
_AUTO_SHARE = 0.999


class POD(BaseEstimator):  # type: ignore[misc]
    """The modes that carry most of a field's variance (Lumley 1967; method of snapshots: Sirovich 1987).

    With the mean removed, ``X - mean = U S Phi`` in the inner product ``<a, b> = sum_p w_p a_p b_p``; modes are the
    rows of Phi, orthonormal in it, and coefficients are ``(X - mean) W Phi^T``. A field that fits into ``chunk_bytes``
    is decomposed by the thin SVD. A larger field is read in pieces: the correlation of its snapshots (or of its points,
    if there are more snapshots than points) is summed over the pieces, and its eigenvectors are computed; modes whose
    singular value is below 1e-7 of the first are then lost to rounding.

    Parameters
    ----------
    modes
        Number of modes, the share of the variance that they must hold, in (0, 1), or "auto": the modes above the
        threshold of Gavish and Donoho (:func:`~tokendyn.forecast.ranks.gavish_donoho`), up to ``0.999`` of the
        variance.
    chunk_bytes
        Memory for one piece of the field. The modes themselves, the mean, and the correlation need in addition
        ``8 (modes + 1) points + 16 min(time, points)^2`` bytes.
    scale
        Divide each of several fields by its deviation (the root of its mean variance), to be independent of units.

    Attributes
    ----------
    modes_
        ``(modes, *space)``; the entry of largest magnitude of each is positive.
    mean_
        ``(*space)``; NaN at masked points.
    weights_
        ``w``, ``(*space)``.
    grid_
        Names, dimensions and coordinates of the points, if the field had any.
    singular_values_
        S of the kept modes.
    energies_
        Share of the variance that each kept mode holds.
    """

    modes_: Float[np.ndarray, "modes ..."]
    mean_: Float[np.ndarray, "..."]
    weights_: Float[np.ndarray, "..."]
    singular_values_: Float[np.ndarray, " modes"]
    energies_: Float[np.ndarray, " modes"]
    grid_: Grid | None

    def __init__(self, modes: int | float | str = 10, chunk_bytes: int = 2**28, *, scale: bool = True):
        self.modes = modes
        self.chunk_bytes = chunk_bytes
        self.scale = scale

    def fit(self: Basis, field: Any, *, variable: str | Sequence[str] | None = None, weights: Any = None) -> Basis:
        """Find the modes of a field.

        Parameters
        ----------
        field
            An array ``(time, *space)``, a memory map, a DataArray or Dataset of xarray, or a path: see
            :func:`~tokendyn.forecast.field_files.open_field`. Points that are NaN in every snapshot are left out.
        variable
            Name of the field in its file; several names, or a Dataset, give one basis for all of them.
        weights
            Positive weights of the points, of any shape that broadcasts to space. By default cell areas, cos(latitude),
            if a coordinate is a latitude, else 1; "equal" for 1 in any case.

        Raises
        ------
        BadInputError
            For a file that cannot be read, values that are not finite, fewer than two snapshots, a constant field,
            or more modes than there can be.
        """
        with open_field(field, variable) as unmasked:
            opened = unmasked.masked()
            self._check(opened)
            self.grid_ = opened.grid
            self.weights_ = _weights(_areas(opened) if weights is None else weights, opened.shape[1:])
            if self.scale and opened.grid is not None and len(opened.grid.variables) > 1:
                self.weights_ /= self._variances(opened, opened.grid.variable_of)
            if 8 * int(np.prod(opened.shape)) <= self.chunk_bytes:
                self._fit_whole(opened)
            elif opened.shape[0] <= int(np.prod(opened.shape[1:])):
                self._fit_snapshots(opened)
            else:
                self._fit_points(opened)
        largest = np.abs(self.modes_.reshape(len(self.modes_), -1)).argmax(axis=1)
        signs = np.sign(self.modes_.reshape(len(self.modes_), -1)[np.arange(len(largest)), largest])
        self.modes_ *= signs.reshape(-1, *[1] * self.mean_.ndim)
        if opened.kept is not None:
            self.mean_[~opened.kept] = np.nan
            self.modes_[:, ~opened.kept] = 0.0  # instead of their rounding errors
        return self

    @classmethod
    def from_basis(cls: type[Basis], modes: Any, mean: Any = None, weights: Any = None) -> Basis:
        """Return a POD with given modes ``(modes, *space)``, orthonormalised in the weights if necessary.

        Raises
        ------
        BadInputError
            If the modes are not finite or depend on each other, or shapes do not fit.
        """
        given = np.array(modes, dtype=np.float64)
        if given.ndim < 2 or not np.isfinite(given).all():
            raise BadInputError(f"modes have shape {given.shape}; expected finite numbers (modes, *space)")
        pod = cls(modes=len(given))
        pod.grid_ = None
        pod.weights_ = _weights(weights, given.shape[1:])
        pod.mean_ = np.zeros(given.shape[1:]) if mean is None else np.array(mean, dtype=np.float64)
        if pod.mean_.shape != given.shape[1:]:
            raise BadInputError(f"the mean has shape {pod.mean_.shape}, the modes {given.shape[1:]}; expected the same")
        root = np.sqrt(pod.weights_).ravel()
        q, r = np.linalg.qr((given.reshape(len(given), -1) * root).T)
        sizes = np.abs(np.diag(r))
        if len(given) > root.size or sizes.min() <= 1e-12 * sizes.max():
            raise BadInputError(f"the {len(given)} modes depend on each other; leave some out")
        pod.modes_ = ((q * np.sign(np.diag(r))).T / root).reshape(given.shape)
        pod.singular_values_, pod.energies_ = np.full(len(given), np.nan), np.full(len(given), np.nan)
        return pod

    def transform(self, field: Any, *, variable: str | Sequence[str] | None = None) -> Float[np.ndarray, "time modes"]:
        """Return the coefficients of a field, read in pieces if it is large.

        Raises
        ------
        BadInputError
            As :meth:`fit`, or if the points are not those of the basis.
        """
        self._check_fitted()
        with open_field(field, variable) as unmasked:
            opened = unmasked.masked()
            if opened.shape[1:] != self.mean_.shape:
                raise BadInputError(f"{opened.source} has points {opened.shape[1:]}; the basis has {self.mean_.shape}")
            land, mean = np.isnan(self.mean_), np.nan_to_num(self.mean_)
            if opened.kept is not None and (~opened.kept & ~land).any():
                new = int((~opened.kept & ~land).sum())
                raise BadInputError(f"{opened.source} is NaN at {counted(new, 'point')} of the basis; fill them")
            weighted = (self.modes_ * self.weights_).reshape(len(self.modes_), -1)
            coefficients = np.empty((opened.shape[0], len(self.modes_)))
            for piece in opened.pieces(self.chunk_bytes // 16, over_time=True):
                block = opened.piece(piece) - mean
                coefficients[piece[0]] = block.reshape(len(block), -1) @ weighted.T
        return coefficients

    def inverse_transform(self, coefficients: Float[np.ndarray, "time modes"], times: Any = None) -> Any:
        """Return the fields ``mean + coefficients Phi``, masked points as NaN.

        Parameters
        ----------
        coefficients
            Coefficients (time, modes).
        times
            Times of the rows, for fields of xarray.

        Returns
        -------
        An array ``(time, *space)``; a DataArray or Dataset with its coordinates if the basis was fitted to one.

        Raises
        ------
        BadInputError
            If the number of coefficients is not the number of modes.
        """
        self._check_fitted()
        if coefficients.ndim != 2 or coefficients.shape[1] != len(self.modes_):
            raise BadInputError(
                f"coefficients have shape {coefficients.shape}; expected (time, {len(self.modes_)}), one for each mode"
            )
        fields = coefficients @ self.modes_.reshape(len(self.modes_), -1) + self.mean_.ravel()
        if self.grid_ is None:
            return fields.reshape(-1, *self.mean_.shape)
        return self.grid_.to_xarray(fields, times)

    def modes_as_given(self) -> Any:
        """Return the modes in the form of the fitted fields, over the dimension ``mode``; masked points are NaN."""
        self._check_fitted()
        rows = np.where(np.isnan(self.mean_), np.nan, self.modes_).reshape(len(self.modes_), -1)
        if self.grid_ is None:
            return rows.reshape(self.modes_.shape)
        return self.grid_.to_xarray(rows, np.arange(1, len(rows) + 1), "mode")

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the basis to a folder, ``pod.json`` and ``pod.safetensors``, completely or not at all."""
        self._check_fitted()
        known = bool(np.isfinite(self.energies_).all())
        record = {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "parameters": self.get_params(),
            "energies": known,
            "grid": None if self.grid_ is None else self.grid_.record(),
        }
        tensors = {"modes": self.modes_, "mean": self.mean_, "weights": self.weights_}
        with new_folder(path, overwrite=overwrite) as place:
            write_json(place / "pod.json", record)
            spectrum = {"singular_values": self.singular_values_, "energies": self.energies_}
            write_tensors(place / "pod.safetensors", tensors | (spectrum if known else {}))

    @classmethod
    def load(cls: type[Basis], path: str | Path) -> Basis:
        """Read a basis written by :meth:`save`.

        Raises
        ------
        BadInputError
            If a file is missing, truncated, of a newer schema, or inconsistent.
        """
        path = Path(path)
        record = read_json(path / "pod.json", schema=SCHEMA, version=SCHEMA_VERSION)
        tensors = read_tensors(path / "pod.safetensors", {"modes", "mean", "weights"})
        try:
            check_fields(cls.__init__, record["parameters"], "pod.json")
            pod = cls(**record["parameters"])
            pod.grid_ = None if record.get("grid") is None else Grid.read(record["grid"])
            pod.modes_, pod.mean_, pod.weights_ = tensors["modes"], tensors["mean"], tensors["weights"]
            unknown = np.full(len(pod.modes_), np.nan)
            pod.singular_values_ = tensors.get("singular_values", unknown)
            pod.energies_ = tensors.get("energies", unknown)
            fits = pod.modes_.shape[1:] == pod.mean_.shape == pod.weights_.shape
            if not fits or pod.energies_.shape != pod.modes_.shape[:1] or not np.isfinite(pod.modes_).all():
                raise ValueError("shapes differ or modes are not finite")
        except (KeyError, TypeError, ValueError) as error:
            raise BadInputError(f"{path}: pod.json and pod.safetensors do not fit together ({error})") from None
        return pod

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether there is a basis."""
        return hasattr(self, "modes_")

    def _check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise NotFittedError("this POD has no basis; call fit(field), or POD.from_basis")

    def _check(self, field: Field) -> None:
        """Raise if the parameters do not suit the field."""
        most = min(field.shape[0] - 1, int(np.prod(field.shape[1:])))
        problems = []
        if isinstance(self.modes, bool | str) and self.modes != AUTO:
            problems.append(f"modes is {self.modes!r}; expected a whole number, a share between 0 and 1, or {AUTO!r}")
        elif not isinstance(self.modes, str) and not (0 < self.modes < 1 or self.modes == int(self.modes) >= 1):
            problems.append(f"modes is {self.modes!r}; expected a whole number, or a share between 0 and 1")
        elif not isinstance(self.modes, str) and self.modes > most:
            problems.append(f"{self.modes} modes of {counted(field.shape[0], 'snapshot')}; at most {most}")
        if not isinstance(self.chunk_bytes, int) or self.chunk_bytes < 2**10:
            problems.append(f"chunk_bytes is {self.chunk_bytes!r}; expected 1024 or more")
        if field.shape[0] < 2:
            problems.append(f"{field.source} has {counted(field.shape[0], 'snapshot')}; expected 2 or more")
        if problems:
            raise BadInputError.all_of("POD", problems)

    def _keep(self, squares: np.ndarray, total: float, field: Field) -> int:
        """Set the spectrum from all squared singular values, largest first, and return how many modes are kept."""
        shape = (field.shape[0], int(np.prod(field.shape[1:])) if field.kept is None else int(field.kept.sum()))
        if not total > 0:
            raise BadInputError(f"{field.source} is constant over time; nothing is left when its mean is removed")
        shares = np.maximum(squares, 0) / total
        if isinstance(self.modes, str):
            values = np.sqrt(np.maximum(squares, 0))
            enough = int(np.searchsorted(shares.cumsum(), _AUTO_SHARE) + 1)
            count = min(gavish_donoho(values, shape), enough)
        elif self.modes < 1:
            count = int(np.searchsorted(shares.cumsum(), self.modes * (1 - 1e-12)) + 1)
        else:
            count = int(self.modes)
        count = min(count, max(int((shares > 1e-28 * len(shares)).sum()), 1))
        self.energies_, self.singular_values_ = shares[:count], np.sqrt(shares[:count] * total)
        return count

    def _variances(self, field: Field, variable_of: np.ndarray) -> np.ndarray:
        """Return, at every point, the weighted mean variance of its field."""
        pieces = list(field.pieces(self.chunk_bytes // 24, over_time=True))
        mean = sum(field.piece(piece).sum(axis=0) for piece in pieces) / field.shape[0]
        variances = sum(((field.piece(piece) - mean) ** 2).sum(axis=0) for piece in pieces) / field.shape[0]
        sea = np.ones(len(variable_of)) if field.kept is None else field.kept.astype(float)
        weights = self.weights_ * sea
        found = np.bincount(variable_of, weights * variances) / np.maximum(np.bincount(variable_of, weights), 1e-300)
        found[found == 0] = 1.0  # a field that never changes adds nothing in any unit
        return np.asarray(found[variable_of])

    def _fit_whole(self, field: Field) -> None:
        """Thin SVD in memory."""
        values = field.piece(tuple(slice(0, n) for n in field.shape))
        self.mean_ = values.mean(axis=0)
        root = np.sqrt(self.weights_)
        _, s, phi = np.linalg.svd(((values - self.mean_) * root).reshape(len(values), -1), full_matrices=False)
        kept = self._keep(s**2, float((s**2).sum()), field)
        self.modes_ = phi[:kept].reshape(kept, *field.shape[1:]) / root

    def _fit_snapshots(self, field: Field) -> None:
        """Read pieces of space, sum the correlation of snapshots, and read again for the modes."""
        count, space = field.shape[0], field.shape[1:]
        self.mean_ = np.empty(space)
        gram = np.zeros((count, count))
        # A piece, its copy without the mean, and its product are in memory at once.
        pieces = list(field.pieces(self.chunk_bytes // 24, over_time=False))
        for piece in pieces:
            values = field.piece(piece)
            self.mean_[piece[1:]] = values.mean(axis=0)
            block = ((values - self.mean_[piece[1:]]) * np.sqrt(self.weights_[piece[1:]])).reshape(count, -1)
            gram += block @ block.T
        squares, vectors = np.linalg.eigh(gram)
        squares, vectors = squares[::-1], vectors[:, ::-1]
        kept = self._keep(squares, float(np.trace(gram)), field)
        self.modes_ = np.empty((kept, *space))
        left = vectors[:, :kept] / self.singular_values_
        for piece in pieces:
            values = field.piece(piece) - self.mean_[piece[1:]]
            modes = left.T @ values.reshape(count, -1)
            self.modes_[(slice(None), *piece[1:])] = modes.reshape(kept, *values.shape[1:])

    def _fit_points(self, field: Field) -> None:
        """Read pieces of time, sum the mean, then the correlation of points; its eigenvectors are the modes."""
        space, points = field.shape[1:], int(np.prod(field.shape[1:]))
        pieces = list(field.pieces(self.chunk_bytes // 24, over_time=True))
        self.mean_ = np.zeros(space)
        for piece in pieces:
            self.mean_ += field.piece(piece).sum(axis=0) / field.shape[0]
        root = np.sqrt(self.weights_)
        correlation = np.zeros((points, points))
        for piece in pieces:
            block = ((field.piece(piece) - self.mean_) * root).reshape(-1, points)
            correlation += block.T @ block
        squares, vectors = np.linalg.eigh(correlation)
        kept = self._keep(squares[::-1], float(np.trace(correlation)), field)
        self.modes_ = vectors[:, ::-1][:, :kept].T.reshape(kept, *space) / root


def _areas(field: Field) -> np.ndarray | None:
    """Return the cell areas of the points of a field; None if there are no latitudes."""
    areas = None if field.grid is None else field.grid.areas()
    return None if areas is None else areas.reshape(field.shape[1:])


def _weights(weights: Any, space: tuple[int, ...]) -> np.ndarray:
    """Return positive weights on every point."""
    if isinstance(weights, str) and weights != EQUAL:
        raise BadInputError(f"weights is {weights!r}; expected numbers, {EQUAL!r}, or nothing for cell areas")
    try:
        found = np.broadcast_to(
            np.asarray(1.0 if weights is None or isinstance(weights, str) else weights, dtype=np.float64), space
        ).copy()
    except ValueError:
        raise BadInputError(f"weights have shape {np.shape(weights)}; expected one that fits points {space}") from None
    if not (np.isfinite(found).all() and (found > 0).all()):
        raise BadInputError("weights must be finite and above 0; leave points of weight 0 out")
    return found
