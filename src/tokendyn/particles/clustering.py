"""Clustering in pure-attention transformers (arXiv 2407.01602): run, explain, predict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from tokendyn.attention import Head
from tokendyn.attention.dispatch import on_device
from tokendyn.attention.step import Backend
from tokendyn.data.tokens import named_tokens
from tokendyn.dynamics import Layer, Progress, Record, Trajectory, checked_tokens, run
from tokendyn.dynamics.freeze import Arithmetic
from tokendyn.dynamics.run import check_run
from tokendyn.errors import BadInputError, ConvergenceError, TheoremError
from tokendyn.geometry import Polytope, same_points
from tokendyn.late import function_at
from tokendyn.particles.limits import (
    LimitPrediction,
    LimitSet,
    leading_polytope,
    limit_set,
    predict_limits,
)
from tokendyn.results import Paths, Result
from tokendyn.runs.checkpoint import AnyCheckpoint
from tokendyn.runs.memory import check_memory
from tokendyn.show.scene import TokenScene
from tokendyn.words import counted

if TYPE_CHECKING:
    from tokendyn.show.report import Report

_save_run = function_at("tokendyn.particles.report:save_run")
_write_figures = function_at("tokendyn.particles.report:write_figures")
_run_report = function_at("tokendyn.particles.report:run_report")

#: A run agrees with its prediction when they differ by less than this share of the size of each token.
DISAGREEMENT = 1e-9

#: Bytes that a layer takes in lists and sets of layers, whatever is recorded.
_LAYER_BYTES = 150.0


@dataclass(frozen=True, repr=False)
class ClusteringRun(Result):
    """A run of the clustering model with what the theory says about it.

    Attributes
    ----------
    trajectory
        States, leaders and ties of every layer.
    alpha, score, inverse_temperature, tie_tolerance
        Parameters of the run; ``score`` is ``A``, ``inf`` is hardmax.
    prediction
        The limit of each token under hardmax, from its leaders.
    departures
        Hypotheses of the theorem that the input does not meet, in words; empty when it applies.
    hardmax
        The hardmax trajectory of the same tokens: the run itself when it uses hardmax, else a second run.
    arithmetic
        How ties were decided; see :func:`tokendyn.dynamics.run`.
    """

    trajectory: Trajectory
    alpha: float
    score: Float[np.ndarray, "dim dim"]
    inverse_temperature: float
    tie_tolerance: float
    prediction: LimitPrediction
    departures: tuple[str, ...]
    hardmax: Trajectory
    arithmetic: Arithmetic = "float"

    @property
    def status(self) -> str:
        """How the run ended.

        ``"diverged"``; ``"disagrees"`` when the end of the hardmax run differs from its prediction by more than
        :data:`DISAGREEMENT`; ``"rounding"`` when a leader was chosen within rounding of a tie, without proof; else
        ``"completed"``.
        """
        if self.trajectory.status != "completed":
            return self.trajectory.status
        if self.disagreeing.size:
            return "disagrees"
        return "rounding" if self.doubtful.size else "completed"

    @property
    def disagreeing(self) -> Int[np.ndarray, " tokens"]:
        """Tokens whose end in the hardmax run differs from the prediction."""
        predicted = self.prediction.at(self.hardmax.layers)
        known = np.isfinite(predicted).all(axis=1)
        sizes = np.maximum(np.abs(self.hardmax.states[0]), np.abs(self.hardmax.states[-1])).max(axis=1)
        gaps = np.abs(predicted - self.hardmax.states[-1]).max(axis=1)
        return np.flatnonzero(known & (gaps > DISAGREEMENT * sizes))

    @property
    def doubtful(self) -> Int[np.ndarray, " tokens"]:
        """Tokens with a leader that was chosen within rounding of a tie, in the run or in its prediction."""
        settled = self.prediction.doubtful[self.prediction.kinds[self.prediction.doubtful] != "unsettled"]
        return np.union1d(self.hardmax.doubtful, settled)

    @property
    def is_hardmax(self) -> bool:
        """Whether the run itself used hardmax."""
        return math.isinf(self.inverse_temperature)

    @cached_property
    def polytope(self) -> Polytope | None:
        """The limiting polytope K, the hull of the leaders; None without leaders or above dimension 8."""
        return leading_polytope(self.prediction)

    @cached_property
    def limit_set(self) -> LimitSet | None:
        """The set S of possible limits; None when it is not defined (see ``departures``) or too large."""
        if self.polytope is None:
            return None
        try:
            return limit_set(self.polytope, self.score)
        except BadInputError:
            return None

    @property
    def predicted_states(self) -> Float[np.ndarray, "tokens dim"]:
        """The predicted point of each token after the layers of the run; NaN for tokens not settled by then."""
        return self.prediction.at(self.trajectory.layers)

    @property
    def prediction_error(self) -> float:
        """Largest coordinate difference between the hardmax run and its prediction; NaN if unsettled."""
        errors = np.abs(self.prediction.at(self.hardmax.layers) - self.hardmax.states[-1])
        return float(np.nanmax(errors)) if np.isfinite(errors).any() else math.nan

    @property
    def hardmax_gaps(self) -> Float[np.ndarray, " states"]:
        """Root mean square distance between the run and the hardmax run, layer by layer."""
        shared = min(len(self.trajectory.states), len(self.hardmax.states))
        gaps = self.trajectory.states[:shared] - self.hardmax.states[:shared]
        return np.asarray(np.sqrt((gaps**2).sum(axis=2).mean(axis=1)))

    def scene(self, title: str = "") -> TokenScene:
        """Return the run as a scene for figures and animations.

        Raises
        ------
        BadInputError
            If not every layer is recorded.
        """
        if not self.trajectory.is_whole:
            raise BadInputError('pictures need every layer; run again with record="all"')
        limits, leaders = self.prediction.limits, self.prediction.leaders
        return TokenScene(
            states=self.trajectory.states,
            followed=self.trajectory.leaders[:, 0],
            labels=self.trajectory.labels,
            weights=np.ones(len(limits)),
            leaders=leaders,
            leader_layers=self.prediction.leader_layers,
            leader_of=self._leader_of(),
            polytope=None if self.polytope is None else self.polytope.vertices,
            limit_points=None if self.limit_set is None else self.limit_set.points,
            limit_dimensions=None if self.limit_set is None else self.limit_set.face_dimensions,
            title=title,
        )

    def _leader_of(self) -> Int[np.ndarray, " tokens"]:
        """Return, for each token, the index in the list of leaders of the leader where it ends; -1 for none."""
        limits, leaders = self.prediction.limits, self.prediction.leaders
        leader_of, near = np.full(len(limits), -1, dtype=np.int64), 1e-9 * self.trajectory.sizes(limits)
        for index, leader in enumerate(leaders):
            leader_of[same_points(limits, limits[leader], near)] = index
        return leader_of

    def picture(self) -> Paths:
        """Return the paths of the tokens, coloured by the leader where they end."""
        names = [self.trajectory.labels[leader] for leader in self.prediction.leaders]
        return Paths(self.trajectory.states, self.trajectory.recorded, self._leader_of(), names)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the run and its table into a new folder; ``tokendyn report FOLDER`` draws the page."""
        _save_run(self, folder, title="Clustering run", animation=None, report=False, overwrite=overwrite)

    def _page(self, title: str, pictures: Path) -> "Report":
        if not self.trajectory.is_whole:  # the figures of the full page need every layer
            return super()._page(title, pictures)
        _write_figures(self, pictures, title)
        report: Report = _run_report(self, title=title, pictures=pictures)
        return report

    def table(self) -> pd.DataFrame:
        """Return one row for each token: start, end, leaders, settled layer, predicted limit."""
        trajectory, prediction = self.trajectory, self.prediction
        axes = [f"x{axis + 1}" for axis in range(trajectory.states.shape[2])]
        labels = np.array(trajectory.labels, dtype=object)
        is_leader = np.zeros(len(labels), dtype=bool)
        is_leader[prediction.leaders] = True
        columns: dict[str, Any] = {"token": labels}
        columns |= {f"start_{name}": trajectory.states[0, :, axis] for axis, name in enumerate(axes)}
        columns |= {f"end_{name}": trajectory.states[-1, :, axis] for axis, name in enumerate(axes)}
        columns |= {f"limit_{name}": prediction.limits[:, axis] for axis, name in enumerate(axes)}
        columns["leads"] = is_leader
        columns["follows_at_first"] = labels[trajectory.leaders[0, 0]]
        columns["follows_at_last"] = labels[trajectory.leaders[-1, 0]]
        columns["settled_layer"] = prediction.settled_layers
        columns["limit_kind"] = prediction.kinds
        columns["cluster"] = trajectory.clusters().labels
        columns["distance_to_limit"] = np.linalg.norm(trajectory.states[-1] - prediction.limits, axis=1)
        return pd.DataFrame(columns)

    def summary(self) -> dict[str, Any]:
        """Return the run in numbers, as JSON values."""
        kinds = self.prediction.kinds
        emerging = int((self.prediction.leader_layers > 0).sum())
        return {
            "status": self.status,
            "tokens": len(self.trajectory.labels),
            "dim": int(self.trajectory.states.shape[2]),
            "layers": self.trajectory.layers,
            "alpha": self.alpha,
            "inverse_temperature": None if self.is_hardmax else self.inverse_temperature,
            "leaders": [self.trajectory.labels[i] for i in self.prediction.leaders],
            "emerging_leaders": emerging,
            "clusters": len(self.trajectory.clusters().sizes),
            "ends_at_vertices": int((kinds == "vertex").sum()),
            "ends_at_faces": int((kinds == "face").sum()),
            "unsettled": int((kinds == "unsettled").sum()),
            "layers_until_settled": int(self.prediction.settled_layers.max()),
            "prediction_error": None if math.isnan(self.prediction_error) else self.prediction_error,
            "disagreeing": [self.trajectory.labels[i] for i in self.disagreeing],
            "arithmetic": self.arithmetic,
            "doubtful": [self.trajectory.labels[i] for i in self.doubtful],
            "theorem_applies": not self.departures,
            "departures": list(self.departures),
            "seconds": self.trajectory.provenance.get("seconds"),
        }

    def describe(self) -> list[str]:
        """Return the run in a few sentences."""
        summary, trajectory = self.summary(), self.trajectory
        attention = "hardmax" if self.is_hardmax else f"softmax at inverse temperature {self.inverse_temperature:g}"
        lines = [
            f"{counted(summary['tokens'], 'token')} in {counted(summary['dim'], 'dimension')}, "
            f"{counted(summary['layers'], 'layer')} of {attention}, alpha = {self.alpha:g}: "
            f"{counted(summary['clusters'], 'cluster')} at the end"
        ]
        leaders = self.prediction.leaders
        emerging = f" ({summary['emerging_leaders']} emerging)" if summary["emerging_leaders"] else ""
        led = f"{counted(len(leaders), 'leader')}{emerging}: {self._names(leaders)}"
        lines.append(led if len(leaders) else "no token is known to lead")
        since = summary["layers_until_settled"]
        known = "no limit is known" if since < 0 else f"limits are known from layer {since} on"
        lines.append(
            f"{known}: {counted(summary['ends_at_vertices'], 'token')} ending at leaders, "
            f"{summary['ends_at_faces']} at face projections, {summary['unsettled']} unsettled"
        )
        if self.disagreeing.size:
            lines.append(self.disagreement())
        elif self.is_hardmax and summary["prediction_error"] is not None:
            lines.append(self._agreement(summary["prediction_error"]))
        lines += self._proofs()
        if not self.is_hardmax:
            first = f"{self.hardmax_gaps[1]:.2g} after one layer, " if self.trajectory.is_whole else ""
            lines.append(
                f"root mean square distance from the hardmax run: {first}{self.hardmax_gaps[-1]:.2g} at the end"
            )
        if trajectory.status == "diverged":
            lines.append(f"the run diverged; {counted(trajectory.layers, 'finite layer')} kept")
        lines += [f"the theorem does not apply: {departure}" for departure in self.departures]
        return lines + self._one_sided()

    def _one_sided(self) -> list[str]:
        """Return a hint if one token leads all because the origin lies outside: columns such as temperatures.

        A positive score of every token with the only leader puts all tokens into one open half-space.
        """
        leaders, states = self.prediction.leaders, self.trajectory.states
        if len(leaders) != 1 or len(self.trajectory.labels) < 3 or not self.trajectory.is_whole:
            return []
        with np.errstate(over="ignore", invalid="ignore"):  # only signs matter
            one_sided = (states[0] @ self.score @ states[0][leaders[0]] > 0).all()
        if not one_sided:
            return []
        return [
            "all tokens lie on one side of the origin, so one leads all: if the zero of the columns means nothing, "
            "subtract the mean of each column first"
        ]

    def disagreement(self) -> str:
        """Return a sentence about the largest difference between the run and its prediction."""
        tokens = self.disagreeing
        ends = self.hardmax.states[-1][tokens]
        predicted = self.prediction.at(self.hardmax.layers)[tokens]
        worst = int(np.abs(ends - predicted).max(axis=1).argmax())
        run_at, predicted_at = (", ".join(f"{x:.4g}" for x in points[worst]) for points in (ends, predicted))
        return (
            f"The run disagrees with its prediction for {counted(len(tokens), 'token')} ({self._names(tokens)}): token "
            f"{self.trajectory.labels[tokens[worst]]} ends at ({run_at}), and was predicted at ({predicted_at}). "
            "Trust neither."
        )

    def _agreement(self, error: float) -> str:
        """Return in words how close the run is to its prediction, and for which tokens that proves nothing."""
        if not self.doubtful.size:
            return f"the run {self._apart(error)}"
        # Both decide such a tie by the same rounding, so their agreement is no evidence for either.
        decided = "run and prediction decided a tie by the same rounding, so that their agreement proves nothing"
        gaps = np.abs(self.prediction.at(self.hardmax.layers) - self.hardmax.states[-1]).max(axis=1)
        gaps[self.doubtful] = np.nan
        sure = np.isfinite(gaps)
        if not sure.any():
            return f"for {counted(len(self.doubtful), 'token')} {decided}"
        return (
            f"for {counted(int(sure.sum()), 'token')} the run {self._apart(gaps[sure].max())}; "
            f"for {counted(len(self.doubtful), 'token')} {decided}"
        )

    def _apart(self, error: float) -> str:
        """Return in words how far the end of the run is from its prediction; a few units in the last place are none."""
        rounding = 8 * np.finfo(np.float64).eps * float(np.abs(self.hardmax.states[0]).max())
        return "ends as predicted" if error <= rounding else f"differs from the prediction by at most {error:.1e}"

    def _proofs(self) -> list[str]:
        """Return sentences about the proved leaders and about tokens within rounding of a tie."""
        doubtful = self.doubtful
        if not doubtful.size:
            # Bounds cannot distinguish tokens that have converged to one point, and the run does not depend on it.
            positions = "the points of all leaders are proved, to 1e-12 of their size"
            return {"float": [], "rational": ["all leaders are proved"], "interval": [positions]}[self.arithmetic]
        proved = np.setdiff1d(self.prediction.leaders, doubtful)
        are = "is" if len(doubtful) == 1 else "are"
        names = self._names(doubtful)
        word = "token" if len(doubtful) == 1 else "tokens"
        lines = [f"{word} {names} {are} within rounding of a tie: exact arithmetic may send {word} {names} elsewhere"]
        if proved.size:
            lines.append(f"proved leaders: {self._names(proved)}")
        return lines

    def _names(self, tokens: Int[np.ndarray, " some"]) -> str:
        more = f" and {len(tokens) - 8} more" if len(tokens) > 8 else ""
        return ", ".join(self.trajectory.labels[i] for i in tokens[:8]) + more


def simulate(
    tokens: Any,
    *,
    alpha: float = 0.5,
    score: Float[np.ndarray, "dim dim"] | None = None,
    layers: int = 30,
    inverse_temperature: float = math.inf,
    tie_tolerance: float = 0.0,
    labels: Sequence[str] | None = None,
    strict: bool = False,
    record: Record = "all",
    arithmetic: Arithmetic = "float",
    backend: Backend = "auto",
    device: str | None = None,
    processes: int = 1,
    progress: Progress | None = None,
    checkpoint: AnyCheckpoint | None = None,
) -> ClusteringRun:
    """Run ``z_i <- z_i + alpha/(1+alpha) (mean over C_i of z_j - z_i)`` (arXiv 2407.01602) and explain it.

    Parameters
    ----------
    tokens
        ``(tokens, dim)`` real, finite: an array, nested lists, the result of :func:`tokendyn.data.tokens.read_tokens`,
        a DataFrame or an xarray DataArray. The last three bring the names of the tokens.
    alpha
        Step parameter ``> 0``.
    score
        ``A``, ``(dim, dim)``; None is the identity. The theorem needs it symmetric positive definite.
    layers
        Number of layers, at least 1.
    inverse_temperature
        ``inf`` is hardmax; a finite value replaces the mean over ``C_i`` by the softmax mean.
    tie_tolerance
        See :func:`tokendyn.attention.attend`.
    labels
        A name for each token, instead of those that come with the tokens.
    strict
        Refuse input that does not meet the hypotheses of the theorem.
    record, arithmetic, backend, device, processes, progress, checkpoint
        See :func:`tokendyn.dynamics.run`.

    Raises
    ------
    BadInputError
        If tokens or parameters are invalid.
    TheoremError
        If ``strict`` is set and the theorem does not apply; the message lists the departures.
    ConvergenceError
        If a token overflows in the first layer; later divergence is the status of the trajectory.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.particles import simulate
    >>> result = simulate(np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.2]]), alpha=0.5, layers=10)
    >>> result.prediction.leaders
    array([0, 1])
    >>> result.prediction.limits
    array([[2., 0.],
           [0., 1.],
           [2., 0.]])
    >>> result.trajectory.states[-1].round(2)
    array([[2.  , 0.  ],
           [0.  , 1.  ],
           [1.98, 0.  ]])
    """
    tokens, names = named_tokens(tokens)
    labels = names if labels is None else labels
    tokens, stack = check_simulation(
        checked_tokens(tokens), alpha=alpha, score=score, layers=layers, inverse_temperature=inverse_temperature,
        tie_tolerance=tie_tolerance, labels=labels, strict=strict, record=record, arithmetic=arithmetic,
    )  # fmt: skip
    matrix = np.asarray(stack[0].heads[0].score)
    config: dict[str, Any] = {
        "model": "clustering",
        "alpha": alpha,
        "score": matrix.tolist(),
        "layers": layers,
        "inverse_temperature": None if math.isinf(inverse_temperature) else inverse_temperature,
        "tie_tolerance": tie_tolerance,
        "arithmetic": arithmetic,
    }
    trajectory = run(
        tokens,
        stack,
        labels=labels,
        record=record,
        arithmetic=arithmetic,
        backend=backend,
        device=device,
        processes=processes,
        config=config,
        progress=progress,
        checkpoint=checkpoint,
    )
    if not trajectory.layers:
        raise ConvergenceError(
            "the tokens overflowed in the first layer, so there is no state to keep; divide tokens or score by a large "
            "number, or lower the inverse temperature"
        )
    return complete(
        trajectory,
        alpha,
        matrix,
        inverse_temperature,
        tie_tolerance,
        arithmetic=arithmetic,
        backend=on_device(device, backend),
    )  # fmt: skip


def check_simulation(
    tokens: Float[np.ndarray, "tokens dim"],
    *,
    alpha: float,
    score: np.ndarray | None,
    layers: int,
    inverse_temperature: float,
    tie_tolerance: float,
    labels: Sequence[str] | None,
    strict: bool,
    record: Record,
    arithmetic: Arithmetic,
) -> tuple[Float[np.ndarray, "tokens dim"], list[Layer]]:
    """Return tokens and layers of :func:`simulate`, or raise the errors that it raises before it starts."""
    tokens = checked_tokens(tokens)
    if not isinstance(layers, int | np.integer) or layers < 1:
        raise BadInputError(f"layers must be at least 1, a whole number; got {layers!r}")
    score = np.eye(tokens.shape[1]) if score is None else score
    head = Head(score=score, inverse_temperature=inverse_temperature, tie_tolerance=tie_tolerance)
    if head.score is None or head.score.shape[0] != tokens.shape[1]:
        raise BadInputError(
            f"A has shape {np.shape(score)}, but the tokens have {counted(tokens.shape[1], 'coordinate')}"
        )
    departures = hypothesis_departures(tokens, head.score)
    if strict and departures:
        raise TheoremError.all_of(
            "the theorem of arXiv 2407.01602 does not apply (drop strict=True to run)", [*departures]
        )
    check_memory(_LAYER_BYTES * layers, f"the lists of {counted(layers, 'layer')}", "take fewer layers")
    stack = [Layer(alpha, (head,))] * layers
    check_run(tokens, stack, labels=labels, record=record, arithmetic=arithmetic)
    return tokens, stack


def complete(
    trajectory: Trajectory,
    alpha: float,
    score: Float[np.ndarray, "dim dim"],
    inverse_temperature: float,
    tie_tolerance: float,
    *,
    arithmetic: Arithmetic = "float",
    backend: Backend = "auto",
) -> ClusteringRun:
    """Return a trajectory with its predicted limits, its departures from the theorem, and its hardmax run."""
    tokens, hardmax = trajectory.states[0], trajectory
    if not math.isinf(inverse_temperature):
        head = Head(score=score, tie_tolerance=tie_tolerance)
        hardmax = run(
            tokens, [Layer(alpha, (head,))] * trajectory.layers, labels=trajectory.labels, backend=backend,
            record=trajectory.recorded.tolist(),
        )  # fmt: skip
    # A prediction needs exact leaders but no rational states, so "float" suffices for "rational" too.
    bounded: Arithmetic = "interval" if arithmetic == "interval" else "float"
    prediction = predict_limits(tokens, alpha, score, tie_tolerance=tie_tolerance, arithmetic=bounded)
    departures = tuple(hypothesis_departures(tokens, score))
    return ClusteringRun(
        trajectory=trajectory,
        alpha=alpha,
        score=score,
        inverse_temperature=inverse_temperature,
        tie_tolerance=tie_tolerance,
        prediction=prediction,
        departures=departures,
        hardmax=hardmax,
        arithmetic=arithmetic,
    )


def hypothesis_departures(tokens: Float[np.ndarray, "tokens dim"], score: Float[np.ndarray, "dim dim"]) -> list[str]:
    """Return, in words, which hypotheses of the theorem the input does not meet."""
    departures = []
    if not np.allclose(score, score.T, rtol=1e-12, atol=1e-12 * float(np.abs(score).max())):
        departures.append("A is not symmetric: leaders still freeze what follows them, but S is not defined")
    elif np.linalg.eigvalsh(score).min() <= 0:
        departures.append("A is not positive definite: the limit set S is not defined")
    zero = np.flatnonzero((tokens == 0).all(axis=1))
    if zero.size:
        departures.append(f"token {zero[0]} is zero: it has no direction and averages all tokens")
    repeated = len(tokens) - len(np.unique(tokens, axis=0))
    if repeated:
        repeat = "repeats another one: it counts" if repeated == 1 else "repeat others: they count"
        departures.append(f"{counted(repeated, 'token')} {repeat} as multiplicity")
    if len(tokens) == 1:
        departures.append("there is one token only: it stays where it is")
    return departures
