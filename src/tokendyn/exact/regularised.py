"""Training a bank, the shallow construction, with Tikhonov regularisation: from itself and from random starts.

``J(theta) = 1/N sum_j 1/n_j sum_i |o_ij - y_j|^2 + lambda |theta|^2``, as in arXiv 2502.02270 (v2), where the
construction bounds the least value. That the shallow bank is the start, being one attention layer deep, is our choice;
the experiment of the source itself is :mod:`tokendyn.exact.tikhonov`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from tokendyn.errors import BadInputError
from tokendyn.exact.compiler import compile as compile_transformer
from tokendyn.exact.module import TransformerBlocks
from tokendyn.exact.sequences import Given
from tokendyn.exact.transformer import ExactTransformer
from tokendyn.optional import torch
from tokendyn.results import Curves, Result
from tokendyn.words import counted

Tensor = torch.Tensor

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Progress = Callable[[int, int], None]

#: The stacks that are trained; q and k of a bank are zero and stay so.
_TRAINED = ("U", "c", "W")


@dataclass(frozen=True)
class LossCurves(Result, kind="exact-loss-curves"):
    """Losses of every start, one number an epoch, the first before any step.

    Attributes
    ----------
    names
        ``"bank"`` and ``"random 0"``, ``"random 1"``, ...
    loss
        ``(starts, epochs + 1)``: the regularised loss J.
    misfit
        The part of it without the regularisation.
    accuracy
        Share of the sequences whose output rounds to the label.
    regularisation
        lambda.
    """

    names: tuple[str, ...]
    loss: Float[np.ndarray, "starts epochs"]
    misfit: Float[np.ndarray, "starts epochs"]
    accuracy: Float[np.ndarray, "starts epochs"]
    regularisation: float

    @property
    def status(self) -> str:
        """``"diverged"`` when a loss is not finite, else ``"completed"``."""
        return "completed" if np.isfinite(self.loss).all() else "diverged"

    @property
    def threshold(self) -> float:
        """``lambda |theta*|^2`` of the bank, its loss before training: the least loss is at most that."""
        return float(self.loss[0, 0])

    def describe(self) -> list[str]:
        """Return the threshold, and a sentence about the final loss of each start."""
        lines = [
            f"{name}: loss {loss[0]:.3g} at the start, {loss[-1]:.3g} after {counted(len(loss) - 1, 'epoch')}, "
            f"accuracy {accuracy[-1]:.3f}"
            for name, loss, accuracy in zip(self.names, self.loss, self.accuracy, strict=True)
        ]
        return [f"threshold lambda |theta*|^2 = {self.threshold:.3g}", *lines]

    def table(self) -> "pd.DataFrame":
        """Return one row for each start and epoch."""
        import pandas as pd

        starts, epochs = self.loss.shape
        columns = {name: getattr(self, name).ravel() for name in ("loss", "misfit", "accuracy")}
        return pd.DataFrame(
            {"start": np.repeat(self.names, epochs), "epoch": np.tile(np.arange(epochs), starts), **columns}
        )

    def picture(self) -> Curves:
        """Return the losses over the epochs."""
        curves = dict(zip(self.names, self.loss, strict=True))
        return Curves(np.arange(self.loss.shape[1]), curves, "epoch", "loss", log=bool((self.loss > 0).all()))

    def figure(self) -> "Figure":
        """Return a figure with loss, misfit and accuracy side by side, one line for each start."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 3), layout="constrained")
        panels = figure.subplots(1, 3)
        for axes, title in zip(panels, ("loss", "misfit", "accuracy"), strict=True):
            for name, values in zip(self.names, getattr(self, title), strict=True):
                bank = name == "bank"
                axes.plot(values, color="#D55E00" if bank else "#8A9099", linewidth=2 if bank else 1, label=name)
            axes.set(title=title, xlabel="epoch")
            if title == "loss":
                axes.axhline(self.threshold, color="0.4", linestyle="--", linewidth=1, label="threshold")
            if title != "accuracy":
                axes.set_yscale("symlog" if np.min(getattr(self, title)) <= 0 else "log")
        panels[0].legend(fontsize=7)
        return figure


def bank_training(
    sequences: Given,
    labels: Sequence[Any] | np.ndarray,
    *,
    regularisation: float = 1e-6,
    epochs: int = 300,
    learning_rate: float = 1e-3,
    random_starts: int = 3,
    seed: int = 0,
    progress: Progress | None = None,
) -> LossCurves:
    """Train the bank's architecture from the bank's weights and from random ones, by Adam over all sequences at once.

    Parameters
    ----------
    sequences, labels
        As for :func:`tokendyn.exact.compile`; a bank must exist for them.
    regularisation
        lambda, at least 0.
    epochs, learning_rate
        Full-batch steps of Adam.
    random_starts
        Number of random starts: all trained stacks are normal, with the variance of He's initialisation.
    seed
        Seed of the random starts.
    progress
        Called with epochs done, over all starts, and their number.

    Raises
    ------
    BadInputError
        If an option is out of range, or no bank exists for the sequences.
    """
    if not (regularisation >= 0 and epochs >= 1 and learning_rate > 0 and random_starts >= 0):
        raise BadInputError(
            f"regularisation={regularisation}, epochs={epochs}, learning_rate={learning_rate}, random_starts="
            f"{random_starts}; expected numbers of at least 0, 1, more than 0, at least 0"
        )
    model = compile_transformer(sequences, labels, strategy="bank")
    tokens, mask, codes = _batch(model)
    names = ("bank", *(f"random {k}" for k in range(random_starts)))
    curves = []
    for number, _ in enumerate(names):
        module = _fresh(model)
        if number:
            _randomise(module, torch.Generator().manual_seed(seed + number))
        curves.append(_train(module, tokens, mask, codes, regularisation, epochs, learning_rate))
        if progress is not None:
            progress((number + 1) * epochs, len(names) * epochs)
    stacked = np.array(curves)
    return LossCurves(
        names=names,
        loss=stacked[:, :, 0],
        misfit=stacked[:, :, 1],
        accuracy=stacked[:, :, 2],
        regularisation=regularisation,
    )


def _batch(model: ExactTransformer) -> tuple[Tensor, Tensor, Tensor]:
    """Return all sequences padded to one length, their mask and their label numbers."""
    data = model.sequences
    longest = int(data.lengths.max())
    mask = np.arange(longest)[None, :] < data.lengths[:, None]
    tokens = np.zeros((len(data), longest, model.input_dim))
    tokens[mask] = data.tokens
    return torch.from_numpy(tokens), torch.from_numpy(mask), torch.from_numpy(model.targets[data.starts[:-1], 0])


def _fresh(model: ExactTransformer) -> TransformerBlocks:
    construction = model.construction
    module = TransformerBlocks(model.weights, model.input_dim, construction.dim, construction.outputs)
    for name in _TRAINED:
        getattr(module, name).requires_grad_(True)
    return module


def _randomise(module: TransformerBlocks, generator: torch.Generator) -> None:
    """Replace the trained stacks by normal numbers of variance 2 / fan-in; biases become 0."""
    with torch.no_grad():
        for name in _TRAINED:
            stack = getattr(module, name)
            if name == "c":
                stack.zero_()
            else:
                stack.copy_(torch.randn(stack.shape, generator=generator, dtype=stack.dtype))
                stack.mul_((2 / stack.shape[-1]) ** 0.5)


def _train(
    module: TransformerBlocks,
    tokens: Tensor,
    mask: Tensor,
    codes: Tensor,
    regularisation: float,
    epochs: int,
    learning_rate: float,
) -> list[tuple[float, float, float]]:
    """Return (loss, misfit, accuracy) before the first and after every epoch."""
    trained = [getattr(module, name) for name in _TRAINED]
    optimiser = torch.optim.Adam(trained, lr=learning_rate)
    record = []
    for _ in range(epochs + 1):
        optimiser.zero_grad()
        output = module(tokens, mask)[..., 0]
        share = mask / mask.sum(dim=1, keepdim=True)
        misfit = ((output - codes[:, None]) ** 2 * share).sum(dim=1).mean()
        loss = misfit + regularisation * sum((stack**2).sum() for stack in trained)
        right = (torch.round(output[:, 0]) == codes).double().mean()
        record.append((float(loss.detach()), float(misfit.detach()), float(right)))
        loss.backward()
        optimiser.step()
    return record
