"""The choice of the backend of an attention step.

Hardmax backends (:data:`HARDMAX`) are exact: all return the canonical leaders, tie counts and means to the last bit,
and differ in the keys that they visit. Softmax backends (:data:`SOFTMAX`) other than ``dense`` and ``fused`` return
means with a stated bound and are considered only when ``error_tolerance > 0``.

A softmax backend is a module with two functions, named in :data:`SOFTMAX` and imported on first use::

    def offer(problem: Problem) -> Offer | str: ...  # cost estimate and its reason, or why it does not apply
    def softmax(problem: Problem) -> Softmax: ...  # means, log partition functions, the bound that holds for them

``offer`` must be cheap (at most a pass over the keys; :class:`Problem` caches what several backends need). The lowest
cost estimate below that of the direct kernel wins. A name given as ``backend`` overrides it; then it is an error when
the backend does not apply. ``softmax`` checks itself: rows that miss ``problem.error_tolerance`` are recomputed
directly (:func:`tokendyn.attention.fused.softmax_rows`), so that ``error_bound <= error_tolerance``. A hardmax backend
finds leaders, ties and top scores of a softmax step, unless ``find_leaders=False``.
"""

import importlib
import math
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from tokendyn.attention.problem import NOTHING, Choice, Offer, Problem, Softmax, nothing_found
from tokendyn.errors import BadInputError

#: Hardmax backends: the dense reference (torch), the fused kernels (numba), two that first discard keys, and tiles of
#: matrix products (torch).
HARDMAX = ("dense", "fused", "polytope", "prefix", "gemm")

#: The backends that discard keys.
REDUCED = ("polytope", "prefix")

#: Softmax backends that compute leaders and means in one direct pass.
DIRECT = ("dense", "fused")

#: Softmax backends with a tolerance: the module with ``offer`` and ``softmax`` for each name.
SOFTMAX: "dict[str, str | SoftmaxBackend]" = {
    "merged": "tokendyn.attention.softmax_merged",
    "online": "tokendyn.attention.softmax_direct",
    "circle": "tokendyn.attention.softmax_circle",
    "sphere": "tokendyn.attention.softmax_sphere",
    "truncated": "tokendyn.attention.softmax_truncated",
}

#: Prefix of a torch device in the name of a backend that computes the whole step there: ``"tensors:cuda"``.
TENSORS = "tensors:"

#: Up to this many keys or rows, all pairs are faster than a reduction (``benchmarks/thresholds.py``).
FEW_KEYS, FEW_ROWS = 2000, 1500

#: The same limits per coordinate: keys for the norm prefix, rows for both reductions.
PREFIX_KEYS_EACH, ROWS_EACH = 700, 400

#: Largest dimension in which the inner polytope is used, and the norm prefix.
POLYTOPE_DIM, PREFIX_DIM = 4, 16


@runtime_checkable
class SoftmaxBackend(Protocol):
    """A softmax backend: a module or an object with these two functions."""

    def offer(self, problem: Problem) -> Offer | str:
        """Return estimated seconds and the reason, or why the backend does not apply."""

    def softmax(self, problem: Problem) -> Softmax:
        """Return means whose relative error is at most ``problem.error_tolerance``."""


def register_attention(name: str, backend: SoftmaxBackend) -> None:
    """Register a softmax backend for :func:`tokendyn.attention.attend`, in this process.

    It is considered when a step accepts an error (``error_tolerance > 0``), or selected by its name.
    :class:`tokendyn.testing.AttentionBackendContract` tests its contract.

    Parameters
    ----------
    name
        Name for ``backend=``; an earlier registration is replaced, the name of a backend of the library is refused.
    backend
        An object or a module with ``offer(problem)`` and ``softmax(problem)``.

    Raises
    ------
    BadInputError
        If the name is taken or is not an identifier, or a function is missing.
    """
    problems = [
        f"it has no {part}(problem)" for part in ("offer", "softmax") if not callable(getattr(backend, part, None))
    ]
    if (
        not isinstance(name, str)
        or not name.isidentifier()
        or name == "auto"
        or name in HARDMAX
        or isinstance(SOFTMAX.get(name), str)
    ):
        problems.append(f"the name {name!r} is taken, or is not an identifier")
    if problems:
        raise BadInputError.all_of(f"attention backend {name!r}", problems)
    SOFTMAX[name] = backend


def _offer(name: str, problem: Problem) -> Offer | str:
    """Return the offer of a backend; raise when one of the user returns something else."""
    offer: Any = _module(name).offer(problem)
    if not isinstance(offer, Offer | str):
        raise BadInputError(
            f"attention backend {name!r}: offer(problem) returned {type(offer).__name__}, expected an Offer, or a text "
            "that says why it does not apply"
        )
    return offer


@dataclass(frozen=True)
class Request:
    """The checked input of :func:`tokendyn.attention.attend`: a flat batch of problems.

    Attributes
    ----------
    queries, attends, slack
        ``(batch, rows, score_dim)``; and ``(batch, rows)``: which rows attend, and their slack.
    keys, values, weights, mask
        ``(batch, tokens, ...)``.
    inverse_temperature, error_tolerance
        See :class:`Problem`.
    backend
        ``"auto"``, or a name.
    find_leaders
        Whether leaders, ties and top scores are computed at finite temperature.
    """

    queries: Float[np.ndarray, "batch rows score_dim"]
    attends: Bool[np.ndarray, "batch rows"]
    slack: Float[np.ndarray, "batch rows"]
    keys: Float[np.ndarray, "batch tokens score_dim"]
    values: Float[np.ndarray, "batch tokens value_dim"]
    weights: Float[np.ndarray, "batch tokens"]
    mask: Bool[np.ndarray, "batch tokens"]
    inverse_temperature: float
    error_tolerance: float = 0.0
    backend: str = "auto"
    find_leaders: bool = True

    @property
    def is_hardmax(self) -> bool:
        """Whether the temperature is zero."""
        return math.isinf(self.inverse_temperature)

    def problem(self, item: int) -> tuple[Problem, Int[np.ndarray, " rows"], Int[np.ndarray, " tokens"]]:
        """Return one item without masked tokens and inactive rows; the active rows; the existing tokens."""
        asking, alive = np.flatnonzero(self.attends[item]), np.flatnonzero(self.mask[item])
        queries, slack = _chosen(item, asking, self.queries, self.slack)
        keys, values, weights = _chosen(item, alive, self.keys, self.values, self.weights)
        problem = Problem(
            queries=queries,
            slack=slack,
            keys=keys,
            values=values,
            weights=weights,
            inverse_temperature=self.inverse_temperature,
            error_tolerance=self.error_tolerance,
        )
        return problem, asking, alive


def compute(request: Request) -> tuple[tuple[np.ndarray, ...], Choice]:
    """Return the fields of :class:`~tokendyn.attention.AttentionStep` and the choice of the backend."""
    if request.backend.startswith(TENSORS):
        return _on_tensors(request)
    if request.is_hardmax:
        return _hardmax(request)
    if request.backend in DIRECT:
        return _direct(request, Choice(request.backend, "selected by name"))
    if request.backend == "auto":
        refused = _stays_direct(request)
        if refused:
            return _direct(request, Choice("fused", refused))
    return _softmax(request)


def compute_pairs(
    request: Request, allowed: Bool[np.ndarray, "batch rows tokens"]
) -> tuple[tuple[np.ndarray, ...], Choice]:
    """Return the fields of a step with a mask of pairs of row and token, and the choice of the backend."""
    from tokendyn.attention.pair_kernels import step_pairs

    if request.backend not in ("auto", "fused"):
        raise BadInputError(f"a mask of pairs is computed by backend 'fused', not by {request.backend!r}")
    fields = nothing_found(request.attends.shape, request.values.shape[2])
    for item in range(len(request.attends)):
        arrays = (request.queries, request.slack, request.keys, request.values, request.weights, allowed)
        parts = [np.ascontiguousarray(array[item]) for array in arrays]
        step_pairs(float(request.inverse_temperature), *parts, *(field[item] for field in fields))
    return fields, Choice("fused", "pair by pair, because each row has a mask of its own")


def on_device(device: str | None, backend: str) -> str:
    """Return the backend that computes on a torch device; the given backend when there is no device.

    Raises
    ------
    BadInputError
        If both a device and a backend are given.
    """
    if device is None:
        return backend
    if backend != "auto":
        raise BadInputError(f"device={device!r} chooses the backend; leave out backend={backend!r}")
    return TENSORS + device


def _on_tensors(request: Request) -> tuple[tuple[np.ndarray, ...], Choice]:
    """Compute the items of a batch on a device, one after the other."""
    from tokendyn.attention.device import step_on

    fields, choices = nothing_found(request.attends.shape, request.values.shape[2]), []
    for item in range(len(request.attends)):
        problem, asking, alive = request.problem(item)
        if asking.size == 0:
            continue
        (means, leaders, *rest), choice = step_on(request.backend.removeprefix(TENSORS), problem)
        for field, part in zip(fields, (means, alive[leaders], *rest), strict=True):
            field[item, asking] = part
        choices.append(choice)
    return fields, _joined(choices)


def known_backends(inverse_temperature: float) -> tuple[str, ...]:
    """Return the names of backends at a temperature; :data:`TENSORS` followed by a device is accepted as well."""
    return ("auto", *(HARDMAX if math.isinf(inverse_temperature) else (*DIRECT, *SOFTMAX)))


def _direct(request: Request, choice: Choice) -> tuple[tuple[np.ndarray, ...], Choice]:
    module = importlib.import_module(f"tokendyn.attention.{choice.backend}")
    names = ("inverse_temperature", "queries", "attends", "slack", "keys", "values", "weights", "mask")
    return module.step_batch(*(getattr(request, name) for name in names)), choice


def _hardmax(request: Request) -> tuple[tuple[np.ndarray, ...], Choice]:
    name, reason = _hardmax_backend(request)
    if name not in REDUCED:
        return _direct(request, Choice(name, reason))
    from tokendyn.attention import reduced

    fields = nothing_found(request.attends.shape, request.values.shape[2])
    for item in range(len(request.attends)):
        problem, asking, alive = request.problem(item)
        if asking.size == 0:
            continue
        (means, leaders, counts, spreads, tops, masses), note = reduced.hardmax(problem, name)
        for field, part in zip(fields, (means, alive[leaders], counts, spreads, tops, np.log(masses)), strict=True):
            field[item, asking] = part
        reason = f"{reason}; {note}" if item == 0 else reason
    return fields, Choice(name, reason)


def _hardmax_backend(request: Request) -> tuple[str, str]:
    """Return the name of the hardmax backend, and why."""
    if request.backend != "auto":
        return request.backend, "selected by name"
    rows, keys, dim = request.attends.shape[1], *request.keys.shape[1:]
    few_rows = rows <= max(FEW_ROWS, ROWS_EACH * dim)
    name = "polytope" if 2 <= dim <= POLYTOPE_DIM else "prefix"
    few_keys = keys <= (FEW_KEYS if name == "polytope" else max(FEW_KEYS, PREFIX_KEYS_EACH * dim))
    if few_keys or few_rows or dim > PREFIX_DIM:
        many = f"{rows} rows of {dim} coordinates" if few_rows else f"{keys} keys of {dim} coordinates"
        return "fused", f"{many} do not pay for a reduction of the keys"
    return name, f"{keys} keys of {dim} coordinates"


def _stays_direct(request: Request) -> str:
    """Return why no softmax backend is considered; empty when they are."""
    if not SOFTMAX:
        return "no other softmax backend"
    if request.keys.shape[1] <= FEW_KEYS // 4:
        return f"{request.keys.shape[1]} keys are few"
    return ""


def _softmax(request: Request) -> tuple[tuple[np.ndarray, ...], Choice]:
    """Compute each item of the batch by the backend that is cheapest for it."""
    fields = nothing_found(request.attends.shape, request.values.shape[2])
    choices = []
    for item in range(len(request.attends)):
        item_request = _item(request, item)
        problem, asking, _ = item_request.problem(0)
        if asking.size == 0:
            continue
        name, reason = _cheapest(problem) if request.backend == "auto" else _requested(request.backend, problem)
        if name == "fused":
            outputs, choice = _direct(item_request, Choice(name, reason))
        else:
            outputs, choice = _with_leaders(item_request, problem, asking, name, reason)
        choices.append(choice)
        for field, part in zip(fields, outputs, strict=True):
            field[item] = part[0]
    return fields, _joined(choices)


def _cheapest(problem: Problem) -> tuple[str, str]:
    """Return the name of the backend with the lowest estimate, and the reason."""
    best, reason, seconds = "fused", "no other backend is estimated to be faster", problem.direct_seconds
    for name in SOFTMAX:
        offer = _offer(name, problem)
        if isinstance(offer, Offer) and offer.seconds < seconds:
            best, reason, seconds = name, offer.reason, offer.seconds
    return best, reason


def _requested(name: str, problem: Problem) -> tuple[str, str]:
    offer = _offer(name, problem)
    if isinstance(offer, str):
        raise BadInputError(f"backend {name!r} does not apply: {offer}")
    return name, f"selected by name; {offer.reason}"


def _with_leaders(
    request: Request, problem: Problem, asking: np.ndarray, name: str, reason: str
) -> tuple[tuple[np.ndarray, ...], Choice]:
    """Compute one item by a softmax backend, and its leaders, if requested, by a hardmax backend."""
    result: Any = _module(name).softmax(problem)
    if not isinstance(result, Softmax):
        raise BadInputError(
            f"attention backend {name!r}: softmax(problem) returned {type(result).__name__}, expected a Softmax"
        )
    if request.find_leaders:
        hard = replace(request, inverse_temperature=math.inf, backend="auto")
        means, leaders, counts, spreads, tops, masses = _hardmax(hard)[0]
    else:
        means, leaders, counts, spreads, tops, masses = nothing_found(request.attends.shape, problem.values.shape[1])
        tops[0, asking] = 0.0
    means[0, asking] = result.means
    masses[0, asking] = result.log_partitions - problem.inverse_temperature * tops[0, asking]
    note = "; ".join(filter(None, (reason, result.note)))
    return (means, leaders, counts, spreads, tops, masses), Choice(
        backend=name, reason=note, error_bound=result.error_bound
    )


def _module(name: str) -> "SoftmaxBackend | ModuleType":
    backend = SOFTMAX[name]
    return importlib.import_module(backend) if isinstance(backend, str) else backend


def _item(request: Request, item: int) -> Request:
    """Return a batch of one item."""
    at = slice(item, item + 1)
    return replace(
        request,
        queries=request.queries[at],
        attends=request.attends[at],
        slack=request.slack[at],
        keys=request.keys[at],
        values=request.values[at],
        weights=request.weights[at],
        mask=request.mask[at],
    )


def _joined(choices: list[Choice]) -> Choice:
    """Return one choice for all items of a batch, with the largest error bound."""
    if not choices:
        return NOTHING
    bound = max(choice.error_bound for choice in choices)
    names = sorted({choice.backend for choice in choices})
    if len(names) == 1:
        return Choice(backend=names[0], reason=choices[0].reason, error_bound=bound)
    counts = ", ".join(f"{sum(choice.backend == name for choice in choices)} by {name}" for name in names)
    return Choice(backend="mixed", reason=f"items of the batch differ: {counts}", error_bound=bound)


def _chosen(item: int, rows: np.ndarray, *arrays: np.ndarray) -> list[np.ndarray]:
    """Return the chosen rows of one item of a batch, contiguous, without a copy when all are chosen."""
    if rows.size == arrays[0].shape[1]:
        return [np.ascontiguousarray(array[item]) for array in arrays]
    return [array[item, rows] for array in arrays]
