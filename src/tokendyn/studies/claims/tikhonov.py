"""The claim of arXiv 2502.02270 (v2, v3) on training with Tikhonov regularisation."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tokendyn.exact.tikhonov import Start, TikhonovProblem, TikhonovRuns, tikhonov_problem, tikhonov_training
from tokendyn.show.palette import LEADER_COLOURS, NEUTRAL
from tokendyn.studies.claims.claim import Claim, Finding, Profile, at_most
from tokendyn.studies.claims.drawing import axes

#: Makes the problem; another one stands in where a test takes the mechanism away.
ProblemMaker = Callable[..., TikhonovProblem]

#: Values of eps with their epochs: the source's, and few of them for a quick look. The source's weight decay of 1e-4
#: with 50,000 epochs is its run that reaches the threshold.
_EPOCHS = {"quick": {0.1: 800, 0.01: 800, 0.001: 800}, "full": {0.1: 5000, 0.01: 10_000, 0.001: 50_000, 1e-4: 50_000}}
#: Sequences, tokens, random starts and learning rate; those of the full profile are the source's, but the starts.
_SIZES: dict[str, dict[str, Any]] = {
    "quick": {"sequences": 5, "length": 30, "random": 4, "learning_rate": 0.03},
    "full": {"sequences": 10, "length": 100, "random": 2, "learning_rate": 1e-3},
}
#: Training in which eps is lowered from one value to the next, with two random starts; ours.
_LOWERED: dict[str, dict[str, Any]] = {
    "quick": {"epochs": 400, "learning_rate": 0.03},
    "full": {"epochs": 5000, "learning_rate": 0.01},
}


def tikhonov(profile: Profile, seed: int, *, maker: ProblemMaker = tikhonov_problem) -> Finding:
    """Train a block for several eps, from random starts and from theta*; fit the power of eps in the least loss."""
    size = _SIZES[profile]
    problem = maker(sequences=size["sequences"], length=size["length"], seed=seed)
    starts: list[Start] = ["random"] * size["random"]
    starts.append("solution")
    runs = [
        tikhonov_training(
            problem, strengths, epochs=epochs, starts=starts, learning_rate=size["learning_rate"], seed=seed
        )
        for strengths, epochs in _together(_EPOCHS[profile])
    ]
    table = pd.concat([run.table() for run in runs], ignore_index=True)
    lowered = tikhonov_training(
        problem, list(_EPOCHS[profile]), starts=["random"] * 2, lowered=True, seed=seed, **_LOWERED[profile]
    ).table()
    table = pd.concat([table, lowered.assign(start="random, eps lowered")], ignore_index=True)
    least = {start: rows.groupby("regularisation")["least loss"].min() for start, rows in table.groupby("start")}
    threshold = table.groupby("regularisation")["threshold"].first()
    slopes = {start: _slope(losses) for start, losses in least.items()}
    values = {
        "least loss of random starts by the threshold, largest over eps": float((least["random"] / threshold).max()),
        "slope of log least loss on log eps from random starts, distance from 1":
            abs(slopes["random, eps lowered"] - 1),
        "slope of log least loss on log eps from theta*, distance from 1": abs(slopes["solution"] - 1),
    }  # fmt: skip
    remark = (
        f"|theta*|^2 = {problem.squared_norm:.4g}; slope {slopes['solution']:.3f} from theta*, "
        f"{slopes['random, eps lowered']:.3f} from random starts when eps is lowered step by step, "
        f"{slopes['random']:.3f} when each eps begins at a random start."
    )
    return Finding(values=values, table=table, figure=_figure(runs), remark=remark)


def _slope(losses: "pd.Series[float]") -> float:
    """Return the slope of the logarithms over the source's three eps; the fourth is the threshold's alone."""
    fitted = [eps for eps in losses.index if eps > 5e-4]
    return float(np.polyfit(np.log(fitted), np.log(losses[fitted]), 1)[0])


def _together(epochs: dict[float, int]) -> list[tuple[list[float], int]]:
    """Return the values of eps that are trained for the same epochs, which one call trains at once."""
    return [([eps for eps in epochs if epochs[eps] == count], count) for count in dict.fromkeys(epochs.values())]


def _figure(runs: list[TikhonovRuns]) -> Figure:
    """Draw J by its threshold over the epochs: random starts coloured by eps, theta* in grey."""
    figure, panel = axes("epoch + 1", "loss by the threshold", logx=True, logy=True)
    colours = iter(LEADER_COLOURS)
    named: dict[float, str] = {}
    for run in runs:
        for eps, start, loss, threshold in zip(run.regularisation, run.starts, run.loss, run.threshold, strict=True):
            first = float(eps) not in named and start == "random"
            if first:
                named[float(eps)] = next(colours)
            colour = NEUTRAL if start == "solution" else named[float(eps)]
            label = f"eps = {eps:g}" if first else None
            panel.plot(np.arange(1, len(loss) + 1), loss / threshold, color=colour, lw=1, label=label)
    panel.axhline(1, color="0.4", ls="--", lw=1, label="threshold eps |theta*|^2")
    panel.legend(frameon=False, fontsize=8)
    return figure


CLAIM = Claim(
    id="exact.tikhonov",
    statement=(
        "Training with Tikhonov regularisation reaches the threshold eps |theta*|^2, and its least loss falls linearly "
        "in eps."
    ),
    source="arXiv 2502.02270, second and third version; sizes in the full profile, block as far as known",
    how=(
        "Least regularised loss of one softmax block over eps, from random starts and from a theta*; slope of its "
        "logarithm, also from random starts with eps lowered step by step."
    ),
    bounds={
        "least loss of random starts by the threshold, largest over eps": at_most(1.0),
        "slope of log least loss on log eps from random starts, distance from 1": at_most(0.1),
        "slope of log least loss on log eps from theta*, distance from 1": at_most(0.1),
    },
    check=tikhonov,
)
