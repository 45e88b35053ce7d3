"""Training one softmax block with Tikhonov regularisation, as in the experiments of arXiv 2502.02270 (v2, v3).

``J(theta) = 1/N sum_j max_i |o_ij - y_j|^2 + eps |theta|^2``. Where parameters theta* with ``o_ij = y_j`` exist, the
least value of J is at most the threshold ``eps |theta*|^2``, since that is ``J(theta*)``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from tokendyn.errors import BadInputError
from tokendyn.optional import torch

if TYPE_CHECKING:
    import pandas as pd

Tensor = torch.Tensor
Start = Literal["random", "solution"]
#: Parameters of one or more blocks: q, k, v (runs, dim), out (runs, dim), U (runs, width, dim), c (runs, width) and
#: W (runs, dim, width).
Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class TikhonovProblem:
    """Sequences, their targets, and parameters that send every token of a sequence to its target.

    Attributes
    ----------
    tokens
        float64.
    targets
        One point a sequence.
    solution
        theta*, by the names of :data:`Parameters`, without the axis of runs.
    """

    tokens: Float[np.ndarray, "sequences tokens dim"]
    targets: Float[np.ndarray, "sequences dim"]
    solution: dict[str, np.ndarray]

    @property
    def squared_norm(self) -> float:
        """``|theta*|^2``."""
        return float(sum((array**2).sum() for array in self.solution.values()))


def tikhonov_problem(
    *, sequences: int = 10, length: int = 100, dim: int = 16, width: int = 4, seed: int = 0
) -> TikhonovProblem:
    """Return normal tokens, and as targets the outputs of a random block with ``Q = K = 0``.

    With ``Q = K = 0`` every token attends to all alike, so that the outputs of a sequence are one point and the block
    that made them is a theta*. The sizes by default are the source's; the variances (``2 / fan-in``, biases 1) are
    ours.

    Raises
    ------
    BadInputError
        If a size is below one.
    """
    if min(sequences, length, dim, width) < 1:
        raise BadInputError(f"sizes must be at least 1, got {sequences=}, {length=}, {dim=}, {width=}")
    rng = np.random.default_rng([seed, 21])
    solution = _random_block(rng, dim, width)
    solution["q"], solution["k"] = np.zeros(dim), np.zeros(dim)
    tokens = rng.normal(size=(sequences, length, dim))
    outputs = block_outputs(torch.from_numpy(tokens), _stacked([solution]))
    return TikhonovProblem(tokens=tokens, targets=outputs[0, :, -1].numpy(), solution=solution)


def block_outputs(tokens: Tensor, parameters: Parameters) -> Tensor:
    """Return the output of blocks for sequences: ``(runs, sequences, tokens, dim)``.

    ``o_i = W relu(U out m_i + c)``, ``m_i = sum_j p_ij <v, x_j>``, softmax weights ``p_ij ~ e^{<q, x_i> <k, x_j>}``:
    one head of size 1 at temperature 1, then a feed-forward layer. Without skip connections: with them, no block sends
    all tokens of a sequence to one point (whether the source has them is not known to us).
    """
    asked, keys, values = (torch.einsum("snd,rd->rsn", tokens, parameters[name]) for name in ("q", "k", "v"))
    weights = torch.softmax(asked[..., :, None] * keys[..., None, :], dim=-1)
    means = (weights @ values[..., None])[..., 0]
    inner = torch.einsum("rwd,rd->rw", parameters["U"], parameters["out"])
    hidden = torch.relu(means[..., None] * inner[:, None, None, :] + parameters["c"][:, None, None, :])
    return hidden @ parameters["W"].transpose(1, 2)[:, None]


@dataclass(frozen=True)
class TikhonovRuns:
    """What trainings of one problem came to, one row a run.

    Attributes
    ----------
    regularisation
        eps of every run.
    starts
        ``"random"`` or ``"solution"``.
    loss
        J before the first and after every epoch.
    misfit
        The part of J without the regularisation.
    threshold
        ``eps |theta*|^2`` of every run.
    """

    regularisation: Float[np.ndarray, " runs"]
    starts: tuple[str, ...]
    loss: Float[np.ndarray, "runs epochs"]
    misfit: Float[np.ndarray, "runs epochs"]
    threshold: Float[np.ndarray, " runs"]

    @property
    def least(self) -> Float[np.ndarray, " runs"]:
        """The least J of every run."""
        return self.loss.min(axis=1)

    @property
    def reached(self) -> Float[np.ndarray, " runs"]:
        """The first epoch at which J is at most the threshold; NaN if it never is."""
        below = self.loss <= self.threshold[:, None] * (1 + 1e-9)
        return np.where(below.any(axis=1), below.argmax(axis=1), np.nan)

    def table(self) -> "pd.DataFrame":
        """Return one row a run: eps, start, epochs, least J, its misfit, the threshold and when it was reached."""
        import pandas as pd

        best = self.loss.argmin(axis=1)
        return pd.DataFrame(
            {
                "regularisation": self.regularisation, "start": self.starts, "epochs": self.loss.shape[1] - 1,
                "least loss": self.least, "misfit": self.misfit[np.arange(len(best)), best],
                "threshold": self.threshold, "reached at epoch": self.reached,
            }
        )  # fmt: skip


def tikhonov_training(
    problem: TikhonovProblem,
    regularisation: Sequence[float],
    *,
    epochs: int,
    starts: Sequence[Start] = ("random", "solution"),
    learning_rate: float = 1e-3,
    lowered: bool = False,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> TikhonovRuns:
    """Train a block on a problem for every eps and every start: full batch, Adam, cosine to zero.

    Parameters
    ----------
    problem
        Of :func:`tikhonov_problem`, or your own.
    regularisation
        Values of eps, positive.
    epochs
        Steps of Adam.
    starts
        ``"random"``: a new random block each time it is named; ``"solution"``: theta*.
    learning_rate
        At the first epoch.
    lowered
        Train for the largest eps first, and begin each smaller one where the one before it ended. A small eps alone
        leaves random starts in worse minima, or far from any, for tens of thousands of epochs. By default every eps
        begins at the starts, and all are trained at once.
    seed
        Of the random starts.
    progress
        Called with the epochs that are done, and their number.

    Raises
    ------
    BadInputError
        If an option is out of range.
    """
    _check(regularisation, epochs, starts, learning_rate)
    rng = np.random.default_rng([seed, 22])
    width, dim = problem.solution["U"].shape
    levels = sorted(regularisation, reverse=True) if lowered else list(regularisation)
    runs = [(eps, start) for eps in levels for start in starts]
    group = len(starts) if lowered else len(runs)
    blocks = [problem.solution if start == "solution" else _random_block(rng, dim, width) for _, start in runs[:group]]
    parameters = _stacked(blocks)
    parts = []
    for first in range(0, len(runs), group):

        def count(epoch: int, done: int = first // group * epochs) -> None:
            if progress is not None and epoch % 100 == 0:
                progress(done + epoch, epochs * len(runs) // group)

        strengths = torch.tensor([eps for eps, _ in runs[first : first + group]], dtype=torch.float64)
        parts.append(_trained(problem, parameters, strengths, epochs, learning_rate, count))
    eps = np.array([strength for strength, _ in runs])
    return TikhonovRuns(
        regularisation=eps,
        starts=tuple(start for _, start in runs),
        loss=np.concatenate([loss for loss, _ in parts]),
        misfit=np.concatenate([misfit for _, misfit in parts]),
        threshold=eps * problem.squared_norm,
    )


def _trained(
    problem: TikhonovProblem, parameters: Parameters, strengths: Tensor, epochs: int, learning_rate: float,
    count: Callable[[int], None],
) -> tuple[Float[np.ndarray, "runs epochs"], Float[np.ndarray, "runs epochs"]]:  # fmt: skip
    """Train blocks in place, each for its own eps; return J and its misfit over the epochs."""
    tokens, targets = torch.from_numpy(problem.tokens), torch.from_numpy(problem.targets)[:, None]
    trained = [tensor.requires_grad_(True) for tensor in parameters.values()]
    optimiser = torch.optim.Adam(trained, lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    loss, misfit = np.empty((2, len(strengths), epochs + 1))
    for epoch in range(epochs + 1):
        gaps = ((block_outputs(tokens, parameters) - targets) ** 2).sum(dim=-1).amax(dim=-1).mean(dim=-1)
        norms = sum((tensor**2).flatten(1).sum(dim=1) for tensor in trained)
        losses = gaps + strengths * norms
        loss[:, epoch], misfit[:, epoch] = losses.detach().numpy(), gaps.detach().numpy()
        if epoch < epochs:
            optimiser.zero_grad()
            losses.sum().backward()  # type: ignore[no-untyped-call,unused-ignore]
            optimiser.step()
            schedule.step()
        count(epoch)
    return loss, misfit


def _check(regularisation: Sequence[float], epochs: int, starts: Sequence[str], learning_rate: float) -> None:
    problems = []
    if not regularisation or not min(regularisation) > 0:
        problems.append(f"regularisation must be one or more positive numbers, got {list(regularisation)}")
    if epochs < 1 or not learning_rate > 0:
        problems.append(f"epochs must be at least 1 and learning_rate positive, got {epochs} and {learning_rate}")
    if not starts or set(starts) - {"random", "solution"}:
        problems.append(f"starts must be 'random' or 'solution', got {list(starts)}")
    if problems:
        raise BadInputError.all_of("Tikhonov training", problems)


def _random_block(rng: np.random.Generator, dim: int, width: int) -> dict[str, np.ndarray]:
    """Return normal parameters with the variance 2 / fan-in, biases with 1."""
    block = {name: rng.normal(size=dim) * (2 / dim) ** 0.5 for name in ("q", "k", "v")}
    block |= {"out": rng.normal(size=dim), "U": rng.normal(size=(width, dim)) * (2 / dim) ** 0.5}
    return block | {"c": rng.normal(size=width), "W": rng.normal(size=(dim, width)) * (2 / width) ** 0.5}


def _stacked(blocks: Sequence[dict[str, np.ndarray]]) -> Parameters:
    return {name: torch.from_numpy(np.stack([block[name] for block in blocks])) for name in blocks[0]}
