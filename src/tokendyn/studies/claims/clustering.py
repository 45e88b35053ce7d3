"""Claims of arXiv 2407.01602 on clustering at hardmax."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tokendyn.attention import Head
from tokendyn.dynamics import Layer, Trajectory, run
from tokendyn.particles import LimitPrediction, LimitSet, limit_set, predict_limits
from tokendyn.particles.limits import leading_polytope
from tokendyn.studies.claims.claim import Claim, Finding, Profile, at_least, at_most
from tokendyn.studies.claims.drawing import curves

SOURCE = "arXiv 2407.01602"
_ALPHAS = (0.3, 1.0, 3.0)

#: What turns tokens into a trajectory: tokens, alpha, A, layers.
Runner = Callable[[np.ndarray, float, np.ndarray, int], Trajectory]


def hardmax(tokens: np.ndarray, alpha: float, score: np.ndarray, layers: int) -> Trajectory:
    """Run hardmax layers; every token attends in every layer, nothing is taken from the closed form."""
    return run(tokens, [Layer(alpha, (Head(score=score),))] * layers, freeze=False)


@dataclass(frozen=True)
class _Case:
    seed: int
    dim: int
    alpha: float
    score: np.ndarray
    trajectory: Trajectory
    prediction: LimitPrediction
    limits: LimitSet

    @property
    def row(self) -> dict[str, float]:
        return {"seed": self.seed, "dim": self.dim, "alpha": self.alpha}


def _cases(profile: Profile, seed: int, runner: Runner) -> Iterator[_Case]:
    """Yield runs of random tokens, long enough for a token that follows one leader to come within 1e-13 of it."""
    for number in range(10 if profile == "quick" else 100):
        for dim in (2, 3):
            rng = np.random.default_rng([seed, number, dim])
            alpha = _ALPHAS[number % len(_ALPHAS)]
            tokens = rng.standard_normal((30, dim))
            mix = rng.standard_normal((dim, dim))
            score = np.eye(dim) if number % 2 else mix @ mix.T + 0.1 * np.eye(dim)
            prediction = predict_limits(tokens, alpha, score)
            polytope = leading_polytope(prediction)
            if polytope is None:
                continue
            layers = prediction.layers + math.ceil(30 / math.log1p(alpha))
            trajectory = runner(tokens, alpha, score, layers)
            yield _Case(
                seed=number,
                dim=dim,
                alpha=alpha,
                score=score,
                trajectory=trajectory,
                prediction=prediction,
                limits=limit_set(polytope, score),
            )


def converges(profile: Profile, seed: int, *, runner: Runner = hardmax) -> Finding:
    """Measure how far tokens end from the limit set, relative to the largest coordinate."""
    rows, paths = [], {}
    for case in _cases(profile, seed, runner):
        scale = case.trajectory.scale
        distances = [float(case.limits.distances(state).max()) / scale for state in case.trajectory.states]
        rows.append(case.row | {"largest distance": distances[-1], "layers": case.trajectory.layers})
        if case.seed < len(_ALPHAS) and case.dim == 2:
            paths[f"alpha = {case.alpha:g}"] = (np.arange(len(distances)), np.maximum(distances, 1e-17))
    table = pd.DataFrame(rows)
    figure = curves(paths, "layer", "distance to the limit set", bound=1e-9, logy=True)
    values = {"largest distance": float(table["largest distance"].max()), "runs": float(len(table))}
    return Finding(
        values=values, table=table, figure=figure, remark=f"{len(table)} runs of 30 tokens in dimension 2 and 3."
    )


def leaders(profile: Profile, seed: int, *, runner: Runner = hardmax) -> Finding:
    """Measure whether clusters end where leaders put them, and whether a leader ever moves."""
    rows, motion = [], {}
    for case in _cases(profile, seed, runner):
        trajectory, scale = case.trajectory, case.trajectory.scale
        own = np.arange(trajectory.states.shape[1])
        leads = (trajectory.leaders[:, 0] == own) & (trajectory.tie_counts[:, 0] == 1)
        since = np.maximum.accumulate(leads, axis=0)
        moves = np.abs(np.diff(trajectory.states, axis=0)).max(axis=2) / scale
        leaders = np.flatnonzero(leads.any(axis=0))
        gaps = np.linalg.norm(trajectory.states[-1] - case.prediction.limits, axis=1) / scale
        rows.append(
            case.row
            | {
                "leaders": len(leaders),
                "motion of a leader": float(np.where(since, moves, 0.0).max()),
                "leaders not foreseen": len(set(case.prediction.leaders.tolist()) ^ set(leaders.tolist())),
                "distance from the leaders' prediction": float(np.nanmax(gaps)),
            }
        )
        if case.seed < len(_ALPHAS) and case.dim == 2:
            followers = np.where(since, 0.0, moves).max(axis=1)
            motion[f"followers, alpha = {case.alpha:g}"] = (np.arange(len(followers)), np.maximum(followers, 1e-17))
    table = pd.DataFrame(rows)
    names = ("motion of a leader", "leaders not foreseen", "distance from the leaders' prediction")
    values = {name: float(table[name].max()) for name in names}
    return Finding(values=values, table=table, figure=curves(motion, "layer", "largest move of a follower", logy=True))


def rate(profile: Profile, seed: int, *, runner: Runner = hardmax) -> Finding:
    """Measure by which factor a token comes nearer to its leader in a layer, while it has one and keeps it."""
    rows, paths = [], {}
    for case in _cases(profile, seed, runner):
        trajectory = case.trajectory
        target = trajectory.followed_points()
        gaps = np.linalg.norm(trajectory.states[:-1] - target, axis=2)
        after = np.linalg.norm(trajectory.states[1:] - target, axis=2)
        single = (trajectory.tie_counts[:, 0] == 1) & (gaps > 1e-3 * trajectory.scale)
        factors = after[single] / gaps[single]
        wanted = 1 / (1 + case.alpha)
        worst = float(np.abs(factors - wanted).max(initial=0.0)) / wanted
        rows.append(case.row | {"steps": int(single.sum()), "factor": float(factors.mean()), "relative error": worst})
        if case.seed < len(_ALPHAS) and case.dim == 2:
            paths[f"alpha = {case.alpha:g}"] = (np.arange(len(gaps)), np.maximum(gaps.max(axis=1), 1e-17))
    table = pd.DataFrame(rows)
    values = {"relative error": float(table["relative error"].max()), "steps": float(table["steps"].sum())}
    return Finding(
        values=values, table=table, figure=curves(paths, "layer", "largest distance from the leader", logy=True)
    )


CLAIMS = (
    Claim(
        id="clustering.converges",
        statement="Tokens converge to a clustered equilibrium.",
        source=f"{SOURCE}, main theorem",
        how="Largest distance of a token from the limit set S at the end of a run, over random tokens, alpha and A.",
        bounds={"largest distance": at_most(1e-9), "runs": at_least(10.0)},
        check=converges,
    ),
    Claim(
        id="clustering.leaders",
        statement=(
            "Special points, the leaders, determine the equilibrium; once a token leads itself it never moves again."
        ),
        source=f"{SOURCE}, leaders",
        how="Moves of leaders after they led; ends of all tokens against those that the leaders alone foretell.",
        bounds={
            "motion of a leader": at_most(1e-12),
            "leaders not foreseen": at_most(0.0),
            "distance from the leaders' prediction": at_most(1e-9),
        },
        check=leaders,
    ),
    Claim(
        id="clustering.rate",
        statement=(
            "While its leaders stay the same, a token approaches their mean by the factor 1 / (1 + alpha) a layer."
        ),
        source=f"{SOURCE}, equation of a layer",
        how="Ratio of distances before and after every layer in which a token has one leader, against 1 / (1 + alpha).",
        bounds={"relative error": at_most(1e-9), "steps": at_least(100.0)},
        check=rate,
    ),
)
