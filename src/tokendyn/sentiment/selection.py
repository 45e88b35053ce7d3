"""Settings of the prior of values, by texts that a fit did not see."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from tokendyn.sentiment.values import Prior, Sample, Values, fit_values, prior_scale

#: Settings that are tried, one after the other from the first guess on; chosen on splits of the training half of IMDb,
#: the movie sentences and docstrings of installed packages.
_PHANTOMS = (0.0, 5.0, 20.0, 50.0, 100.0, 200.0, 400.0)
_FLOORS = (0.2, 0.4, 0.8, 1.6)
_STRENGTHS = (1.0, 2.0, 4.0, 8.0, 16.0)
#: Folds: all five up to so many texts, above it one.
_FOLDS, _FEW = 5, 2_000
#: Above so many entries, tokens of fewer texts than _RARE are left out of the search: they hardly move its losses.
_MANY_ENTRIES, _RARE = 1_000_000, 5
#: Gradient at which a fit of the search ends.
_ROUGH = 2e-4


@dataclass(frozen=True)
class Choice:
    """The chosen settings, and the mean held-out log-loss of all that were tried."""

    prior: Prior
    tried: tuple[tuple[Prior, float], ...]


def choose_prior(
    sample: Sample,
    crops: Sample | None,
    parents: Int[np.ndarray, " crops"],
    classes: int,
    *,
    fixed: dict[str, float],
    progress: Callable[[str], None] = lambda _: None,
) -> Choice:
    """Return the settings of least held-out log-loss, found one after the other: phantom, floor, strength, phantom.

    The loss of a setting is that on texts which the fit did not see, averaged with that on crops of them where crops
    are given. Folds go by the number of the text within its class, so nothing is random.

    Parameters
    ----------
    sample
        The texts.
    crops
        Pieces of them that are learned too; None for none.
    parents
        Of each crop, the number of its text.
    classes
        How many classes there are.
    fixed
        Settings by name that are not searched for.
    progress
        Called with each setting that is tried.
    """
    usual = float(np.median(sample.sizes))
    guess = Prior(phantom=100.0 if crops is not None else 20.0, floor=0.4, strength=4.0)
    best = replace(guess, **fixed)
    folds = [_Fold(sample, crops, parents, classes, held) for held in _held_out(sample.classes, len(sample))]
    losses: dict[Prior, float] = {}

    def loss(prior: Prior) -> float:
        if prior not in losses:
            progress(f"phantom {prior.phantom:g}, floor {prior.floor:g}, strength {prior.strength:g}")
            losses[prior] = float(np.mean([fold.loss(prior) for fold in folds]))
        return losses[prior]

    grids = {"phantom": [p for p in _PHANTOMS if p <= 4 * usual], "floor": _FLOORS, "strength": _STRENGTHS}
    for name in ("phantom", "floor", "strength", "phantom"):
        if name not in fixed:
            best = _descend(best, name, list(grids[name]), loss)
    loss(best)
    return Choice(prior=best, tried=tuple(losses.items()))


def _descend(best: Prior, name: str, grid: list[float], loss: Callable[[Prior], float]) -> Prior:
    """Walk along one setting, from where it stands, as long as the loss falls: convex in practice, so few fits."""
    at = min(range(len(grid)), key=lambda number: abs(grid[number] - getattr(best, name)))
    best = replace(best, **{name: grid[at]})
    for step in (1, -1):
        here, moved = at + step, False
        while 0 <= here < len(grid) and loss(replace(best, **{name: grid[here]})) < loss(best):
            best, here, moved = replace(best, **{name: grid[here]}), here + step, True
        if moved:
            break
    return best


def _held_out(classes: Int[np.ndarray, " texts"], texts: int) -> Iterator[Int[np.ndarray, " held"]]:
    """Yield the texts of each fold: every fifth of each class."""
    place = np.empty(texts, dtype=np.int64)
    for side in np.unique(classes):
        members = np.flatnonzero(classes == side)
        place[members] = np.arange(len(members))
    for fold in range(_FOLDS if texts <= _FEW else 1):
        yield np.flatnonzero(place % _FOLDS == fold)


class _Fold:
    """Texts to learn from and texts held out, with the crops of both, and the last fit to start the next one from."""

    def __init__(
        self,
        sample: Sample,
        crops: Sample | None,
        parents: Int[np.ndarray, " crops"],
        classes: int,
        held: Int[np.ndarray, " held"],
    ) -> None:
        out = np.zeros(len(sample), dtype=bool)
        out[held] = True
        learned = [sample.rows(np.flatnonzero(~out))]
        self.held = [sample.rows(held)]
        if crops is not None:
            learned.append(crops.rows(np.flatnonzero(~out[parents])))
            self.held.append(crops.rows(np.flatnonzero(out[parents])))
        frequency = np.diff(learned[0].counts.tocsc().indptr)
        tokens = np.flatnonzero(frequency >= (_RARE if sample.counts.nnz > _MANY_ENTRIES else 2))
        self.held = [part.tokens(tokens) for part in self.held]
        texts = learned[0].tokens(tokens)
        self.presence = (texts.counts > 0).astype(np.float64)
        self.texts, self.classes = texts, classes
        self.learned = join([texts, *(part.tokens(tokens) for part in learned[1:])])
        self.scales: dict[float, np.ndarray] = {}
        self.start: Values | None = None

    def loss(self, prior: Prior) -> float:
        """Return the mean held-out log-loss of a fit with these settings."""
        if prior.floor not in self.scales:
            self.scales[prior.floor] = prior_scale(self.presence, self.texts.classes, self.classes, prior.floor)
        # The strength counts texts: on four fifths of them it is what it is on all.
        self.start = fit_values(self.learned, self.scales[prior.floor], prior, start=self.start, gradient=_ROUGH)
        parts = [np.average(self.start.losses(part), weights=part.importance) for part in self.held]
        return float(np.mean(parts))


def join(parts: list[Sample]) -> Sample:
    """Return the texts of several samples as one."""
    from scipy import sparse

    if len(parts) == 1:
        return parts[0]
    return Sample(
        counts=sparse.vstack([part.counts for part in parts], format="csr"),
        sizes=np.concatenate([part.sizes for part in parts]),
        classes=np.concatenate([part.classes for part in parts]),
        importance=np.concatenate([part.importance for part in parts]),
    )
