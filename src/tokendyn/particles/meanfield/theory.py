"""The curves of the theory for a run: the Gaussian closure where it applies, and a bound of the theorem's form."""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tokendyn.dynamics import TokenFlow
from tokendyn.particles.meanfield.closure import Closure, clusters_at, gaussian_closure
from tokendyn.particles.meanfield.model import MeanFieldRun


@dataclass(frozen=True)
class Envelope:
    """A curve of the form of the theorem of arXiv 2605.10931, ``K (sqrt(log(beta + 1) / beta) e^{Ct} + e^{-ct})``.

    Attributes
    ----------
    times, distances
        The curve.
    constant
        ``K``: the smallest constant for which the curve lies above the distances of the run until its departure.
    growth
        ``C``. The theorem does not give it; this is the smallest that agrees with the departure time of our closure,
        ``log(beta) / (2C) = log(beta) (1/(2c) + 1/(2 rate))``, 0 without a terminal phase.
    decay
        ``c``, the contraction rate of the projection.
    """

    times: Float[np.ndarray, " times"]
    distances: Float[np.ndarray, " times"]
    constant: float
    growth: float
    decay: float


def envelope(run: MeanFieldRun) -> Envelope | None:
    """Return the bound for a run; None where the theorem does not apply (no rate, or beta not above 1)."""
    beta, decay = run.flow.inverse_temperature, run.projection.rate
    if not (run.asks and 1 < beta < math.inf and decay > 0):
        return None
    rate = run.terminal.rate
    growth = decay * rate / (decay + rate) if run.terminal.exists and rate > 0 else 0.0
    times = run.trajectory.times - run.trajectory.times[0]
    shape = math.sqrt(math.log(beta + 1) / beta) * np.exp(growth * times) + np.exp(-decay * times)
    concentrated = run.trajectory.times <= run.phases.departure
    constant = float((run.distances[concentrated] / shape[concentrated]).max())
    return Envelope(
        times=run.trajectory.times, distances=constant * shape, constant=constant, growth=growth, decay=decay
    )


def closure_beside(run: MeanFieldRun, beyond: float = 0.0) -> Closure | None:
    """Return the closure for the start of a run, until its last time plus ``beyond``; None where it does not apply.

    It applies to normalised attention on the circle at finite beta with diagonal V and B and one dominant direction.
    """
    trajectory = run.trajectory
    return closure_of(run.flow, trajectory.states[0], trajectory.weights, trajectory.times, beyond)


def closure_of(
    flow: TokenFlow, start: Float[np.ndarray, "tokens dim"], weights: Float[np.ndarray, " tokens"] | None,
    times: Float[np.ndarray, " times"], beyond: float = 0.0,
) -> Closure | None:  # fmt: skip
    """Return the closure for tokens at the first of some times; see :func:`closure_beside`."""
    plain = flow.normalised and not flow.causal and 0 < flow.inverse_temperature < math.inf
    if start.shape[1] != 2 or not plain:
        return None
    matrices = [np.eye(2) if matrix is None else matrix for matrix in (flow.value, flow.interaction)]
    if any(np.count_nonzero(matrix - np.diag(np.diag(matrix))) for matrix in matrices):
        return None
    v, b = map(np.diag, matrices)
    order = np.argsort(-v * b, kind="stable")
    v, b = v[order], b[order]
    clusters = clusters_at(np.ascontiguousarray(start[:, order]), weights)
    if not (v[0] * b[0] > v[1] * b[1] and b[0] > 0) or any(cluster.variance <= 0 for cluster in clusters):
        return None
    until = float(times[-1] - times[0]) + beyond
    closure = gaussian_closure(v.tolist(), b.tolist(), flow.inverse_temperature, clusters, until)
    return _later(closure, float(times[0])) if times[0] else closure


def _later(curve: Closure, start: float) -> Closure:
    """Return a closure whose times begin at ``start``."""
    phases = dataclasses.replace(
        curve.phases,
        concentration=curve.phases.concentration + start,
        metastable=(curve.phases.metastable[0] + start, curve.phases.metastable[1] + start),
        departure=curve.phases.departure + start,
    )
    return Closure(times=curve.times + start, distances=curve.distances, phases=phases)
