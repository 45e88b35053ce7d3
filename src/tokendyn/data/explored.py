"""What the explorer page runs, as JSON that page and Python share: tokens, parameters, and the states it ended with."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
from jaxtyping import Float

from tokendyn.errors import BadInputError
from tokendyn.runs.bounded import read_json_value

SCHEMA, SCHEMA_VERSION = "tokendyn-explored", 1

#: What one page handles; larger files are refused before they are parsed.
MOST_TOKENS, MOST_STEPS, MOST_BYTES = 2000, 2000, 50_000_000

ExploredModel = Literal["clustering", "meanfield"]
_METHODS = ("rk4", "heun", "euler", "layers")
_COLD_LIMITS = ("hardmax", "full support")
_ENDS = ("hardmax", "softmax")


@dataclass(frozen=True)
class Explored:
    """Tokens and parameters of a hardmax run and a softmax run side by side.

    Attributes
    ----------
    tokens
        ``(tokens, dim)``: in the plane for ``"clustering"``, unit vectors in 2 or 3 dimensions for ``"meanfield"``.
    model
        ``"clustering"``: layers ``z <- z + alpha/(1+alpha) (V m(z) - z)`` (arXiv 2407.01602 for V = I).
        ``"meanfield"``: the flow ``xdot = P_x V m(x)`` on the sphere (arXiv 2605.10931).
    inverse_temperature
        Of the softmax run, positive and finite.
    labels, weights
        A name and a positive weight for each token; by default numbers and equal weights.
    matrix
        ``A`` of the scores ``<A z_i, z_j>`` (clustering) or ``B`` of ``<x, B y>`` (meanfield, ``A = B^T``); None is the
        identity.
    value
        ``V``; None is the identity.
    tie_tolerance
        Of the hardmax.
    alpha, layers
        Of the clustering.
    cold_limit, causal, method, step, steps
        Of the flow: what zero temperature means, whether a token sees itself and those before it only, and how it is
        integrated.
    title, note
        For people.
    final
        States at the end of the ``"hardmax"`` and the ``"softmax"`` run, as far as the page had computed them.
    """

    tokens: Float[np.ndarray, "tokens dim"]
    model: ExploredModel = "clustering"
    inverse_temperature: float = 20.0
    labels: tuple[str, ...] = ()
    weights: Float[np.ndarray, " tokens"] | None = None
    matrix: Float[np.ndarray, "dim dim"] | None = None
    value: Float[np.ndarray, "dim dim"] | None = None
    tie_tolerance: float = 0.0
    alpha: float = 0.5
    layers: int = 30
    cold_limit: Literal["hardmax", "full support"] = "hardmax"
    causal: bool = False
    method: Literal["rk4", "heun", "euler", "layers"] = "rk4"
    step: float = 0.1
    steps: int = 100
    title: str = ""
    note: str = ""
    final: Mapping[str, Float[np.ndarray, "tokens dim"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.labels:
            object.__setattr__(self, "labels", tuple(map(str, range(len(self.tokens)))))
        problems = self._problems()
        if problems:
            raise BadInputError.first_of("explorer settings", problems, "problems")

    def _problems(self) -> list[str]:
        problems, dim = [], self.tokens.shape[1]
        dims = (2,) if self.model == "clustering" else (2, 3)
        if dim not in dims:
            shown = " or ".join(map(str, dims))
            problems.append(f"tokens have {dim} coordinates; the explorer shows {self.model} in {shown}")
        if not 1 <= len(self.tokens) <= MOST_TOKENS:
            problems.append(f"{len(self.tokens)} tokens; the explorer takes 1 to {MOST_TOKENS}")
        if not np.isfinite(self.tokens).all():
            problems.append("tokens must be finite")
        elif self.model == "meanfield" and (np.abs(np.linalg.norm(self.tokens, axis=1) - 1) > 1e-9).any():
            problems.append("tokens on the sphere must have norm 1; divide them by their norms")
        if len(self.labels) != len(self.tokens):
            problems.append(f"{len(self.labels)} labels for {len(self.tokens)} tokens")
        if self.weights is not None and (
            self.weights.shape != (len(self.tokens),) or not (np.isfinite(self.weights) & (self.weights > 0)).all()
        ):
            problems.append("weights must be one positive number for each token")
        for name in ("matrix", "value"):
            matrix = getattr(self, name)
            if matrix is not None and (matrix.shape != (dim, dim) or not np.isfinite(matrix).all()):
                problems.append(f"{name} must be a finite {dim} by {dim} matrix")
        for kind, state in self.final.items():
            if kind not in _ENDS or state.shape != self.tokens.shape or not np.isfinite(state).all():
                problems.append(f"final state {kind!r} must be one of {', '.join(_ENDS)}, as large as tokens, finite")
        return problems + self._range_problems()

    def _range_problems(self) -> list[str]:
        problems = []
        for name in ("inverse_temperature", "alpha", "step"):
            number = getattr(self, name)
            if not (math.isfinite(number) and number > 0):
                problems.append(f"{name} must be positive and finite, got {number}")
        for name in ("layers", "steps"):
            if not 1 <= getattr(self, name) <= MOST_STEPS:
                problems.append(f"{name} must be 1 to {MOST_STEPS}, got {getattr(self, name)}")
        if self.causal and (self.model != "meanfield" or self.cold_limit != "hardmax"):
            problems.append("causal needs the model 'meanfield' and cold_limit 'hardmax'")
        if not 0 <= self.tie_tolerance <= 0.1:
            problems.append(f"tie_tolerance must be 0 to 0.1, got {self.tie_tolerance}")
        choices = (
            ("model", get_args(ExploredModel)), ("method", _METHODS), ("cold_limit", _COLD_LIMITS),
        )  # fmt: skip
        for name, allowed in choices:
            if getattr(self, name) not in allowed:
                problems.append(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        return problems

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object that :func:`explored_from` and the page read."""
        mine = (
            ("alpha", "layers") if self.model == "clustering" else ("cold_limit", "causal", "method", "step", "steps")
        )
        shared = ("title", "note", "model", "inverse_temperature", "tie_tolerance", *mine)
        return {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            **{name: getattr(self, name) for name in shared},
            _matrix_name(self.model): _listed(self.matrix),
            "value": _listed(self.value),
            "labels": list(self.labels),
            "weights": _listed(self.weights),
            "tokens": _listed(self.tokens),
            "final": {kind: _listed(state) for kind, state in self.final.items()},
        }


def explored_from(record: object, source: str = "the explorer's JSON") -> Explored:
    """Return the settings in a JSON object, or raise a :class:`BadInputError` that lists what is wrong with it."""
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        schema = record.get("schema") if isinstance(record, dict) else type(record).__name__
        raise BadInputError(f"{source} holds {schema!r}, expected {SCHEMA!r}; export JSON from the explorer")
    if record.get("schema_version") != SCHEMA_VERSION:
        raise BadInputError(
            f"{source} has schema version {record.get('schema_version')!r}; this tokendyn reads {SCHEMA_VERSION}"
        )
    model = record.get("model")
    kinds: dict[str, type | tuple[type, ...]] = {
        "model": str, "title": str, "note": str, "method": str, "cold_limit": str, "labels": list, "final": dict,
        "inverse_temperature": (int, float), "tie_tolerance": (int, float), "alpha": (int, float), "step": (int, float),
        "layers": int, "steps": int, "causal": bool,
    }  # fmt: skip
    known = {option.name for option in fields(Explored)}
    values = {name: record[name] for name in kinds if name in known and record.get(name) is not None}
    wrong = [
        f"{name} is {type(value).__name__}, which it cannot be"
        for name, value in values.items()
        if not isinstance(value, kinds[name]) or (isinstance(value, bool) and kinds[name] is not bool)
    ]
    if wrong:
        raise BadInputError.first_of(source, wrong, "problems")
    arrays = {
        name: _array(record.get(key), key, source)
        for name, key in (("tokens", "tokens"), ("weights", "weights"), ("value", "value"))
        if record.get(key) is not None
    }
    key = _matrix_name(str(model))
    if record.get(key) is not None:
        arrays["matrix"] = _array(record[key], key, source)
    if arrays.get("tokens", np.empty(0)).ndim != 2:
        raise BadInputError(f"{source}: tokens must be a list of rows of coordinates")
    for name in ("inverse_temperature", "tie_tolerance", "alpha", "step"):
        if name in values:
            values[name] = float(values[name])
    values["labels"] = tuple(map(str, values.get("labels", ())))
    values["final"] = {str(kind): _array(state, "final", source) for kind, state in values.get("final", {}).items()}
    return Explored(**values, **cast("dict[str, Any]", arrays))


def read_explored(path: str | Path) -> Explored:
    """Read a JSON file that the explorer exported.

    Raises
    ------
    BadInputError
        For a file that is missing, too large, no JSON, of another schema, or with settings out of range.
    """
    return explored_from(read_bounded_json(path), str(path))


def read_bounded_json(path: str | Path) -> object:
    """Return the value in a JSON file of at most ``MOST_BYTES``; NaN and infinity are refused."""
    path = Path(path)
    if path.is_file() and path.stat().st_size > MOST_BYTES:
        raise BadInputError(f"{path} is larger than {MOST_BYTES:,} bytes; the explorer takes {MOST_TOKENS} tokens")
    return read_json_value(path)


def _matrix_name(model: str) -> str:
    return "interaction" if model == "meanfield" else "score"


def _listed(array: np.ndarray | None) -> list[Any] | None:
    return None if array is None else array.tolist()


def _array(value: object, name: str, source: str) -> np.ndarray:
    try:
        array = np.array(value)
    except ValueError:
        raise BadInputError(f"{source}: {name} has rows of different lengths") from None
    if array.dtype.kind not in "fi" or array.size == 0 or array.ndim > 2:
        raise BadInputError(f"{source}: {name} must be numbers in rows of equal length")
    return array.astype(np.float64)
