"""The settings of the prior of values, chosen on held-out texts."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from tokendyn.sentiment.values import Prior, Sample, Values, fit_values, prior_scale

#: Settings that are tried, one after the other from the first guess; chosen on splits of the training half of IMDb, the
#: movie sentences and docstrings of installed packages.
_PHANTOMS = (5.0, 10.0, 20.0, 35.0, 50.0, 70.0, 100.0, 140.0, 200.0, 280.0, 400.0)
_FLOORS = (0.2, 0.4, 0.8, 1.6)
_STRENGTHS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
#: In few or short texts, marginal effects of words are mostly chance.
_MARGINALS = (0.0, 0.3, 1.0)
#: Folds: all five if one fold has at most this number of texts times columns, fewer for larger samples, at least one.
_FOLDS, _FEW = 5, 2_500
#: Above this number of entries times columns, the search leaves out tokens of fewer texts than _RARE: they hardly
#: change its losses. With several classes the settings depend on rare words, whose values make probabilities too
#: extreme.
_MANY_ENTRIES, _RARE, _RARE_OF_SEVERAL = 1_000_000, 5, 2
#: Up to this number of texts the strength is searched. With more texts the held-out losses hardly depend on it, and a
#: stronger prior than the guess makes probabilities for other kinds of texts too small.
_SEARCHED = 5_000
#: Up to this number of texts the search starts without marginal effects of words.
_FEW_TEXTS = 1_000
#: Gradient at which a fit of the search ends.
_ROUGH = 5e-5
#: Largest number of iterations; each fit starts from the result for the setting before.
_ROUGH_ITERATIONS = 60
#: The search moves to a neighbouring setting only if its loss is less by this amount, and by this over the root of the
#: number of texts: losses of held-out texts are not more certain than that.
_ENOUGH, _CHANCE = 2e-3, 0.2


@dataclass(frozen=True)
class Choice:
    """The chosen settings, the mean held-out log-loss of all settings tried, and whether the search was completed."""

    prior: Prior
    tried: tuple[tuple[Prior, float], ...]
    completed: bool


def choose_prior(
    sample: Sample,
    crops: Sample | None,
    parents: Int[np.ndarray, " crops"],
    keys: Int[np.ndarray, " texts"],
    *,
    fixed: dict[str, float],
    progress: Callable[[str], None] = lambda _: None,
    deadline: float = math.inf,
) -> Choice:
    """Return the settings of least held-out log-loss, searched one after the other.

    The loss of a setting is that on texts outside the fit, averaged with the loss on their crops if crops are given.
    Folds go by the rank of the text within its class, so nothing is random.

    Parameters
    ----------
    sample
        The texts.
    crops
        Pieces of them to learn from as well; None for none.
    parents
        Number of the text of each crop.
    keys
        A number for each text, the same for equal texts, by which they are ranked.
    fixed
        Settings by name that are not searched.
    progress
        Called with each setting that is tried.
    deadline
        Time after which no further setting is tried, on the clock of :func:`time.monotonic`.
    """
    usual = float(np.median(sample.sizes))
    few = len(sample) <= _FEW_TEXTS
    # With many phantom words the bias outweighs the words of a few short texts; with many texts, longer ones are surer.
    most = max(usual if few and crops is None else 4 * usual, _PHANTOMS[0])
    short = _PHANTOMS[0] if few else 2 * usual
    guess = Prior(phantom=100.0 if crops is not None else short, floor=0.4, strength=4.0, marginal=0.0 if few else 1.0)
    if crops is None and not few and sample.targets.shape[1] == 1:
        # With many sentences in two classes, both have the same held-out loss; on folds of film sentences this setting
        # has a third of a percentage point more right.
        guess = replace(guess, floor=0.2, strength=2.0)
    best = replace(guess, **fixed)
    folds = [_Fold(sample, crops, parents, held) for held in held_out(sample.targets, keys)]
    losses: dict[Prior, float] = {}
    enough = max(_ENOUGH, _CHANCE / math.sqrt(len(sample)))

    def loss(prior: Prior) -> float:
        if prior not in losses:
            if time.monotonic() > deadline:
                return math.inf
            progress(
                f"phantom {prior.phantom:g}, floor {prior.floor:g}, marginal {prior.marginal:g}, "
                f"strength {prior.strength:g}"
            )
            losses[prior] = float(np.mean([fold.loss(prior) for fold in folds]))
        return losses[prior]

    phantoms = [phantom for phantom in _PHANTOMS if phantom <= most]
    # With few texts, a lower floor hides words behind the bias: fewer texts are right, though losses fall slightly.
    floors = [floor for floor in _FLOORS if floor >= guess.floor or not few]
    grids = {"phantom": phantoms, "marginal": _MARGINALS, "floor": floors, "strength": _STRENGTHS}
    strength = ("strength",) if len(sample) <= _SEARCHED else ()
    # Likewise the marginal effect with many long texts: less of it is a stronger prior too.
    marginal = ("marginal",) if crops is None or len(sample) <= _SEARCHED else ()
    for name in ("phantom", *marginal, "floor", *strength, "phantom"):
        if name not in fixed:
            best = _descend(best, name, list(grids[name]), loss, enough)
    loss(best)
    return Choice(prior=best, tried=tuple(losses.items()), completed=time.monotonic() <= deadline)


def _descend(best: Prior, name: str, grid: list[float], loss: Callable[[Prior], float], enough: float) -> Prior:
    """Move along one setting from its present value while the loss falls clearly: convex in practice."""
    at = min(range(len(grid)), key=lambda number: abs(grid[number] - getattr(best, name)))
    best = replace(best, **{name: grid[at]})
    for step in (1, -1):
        here, moved = at + step, False
        while 0 <= here < len(grid) and loss(replace(best, **{name: grid[here]})) < loss(best) - enough:
            best, here, moved = replace(best, **{name: grid[here]}), here + step, True
        if moved:
            break
    return best


def held_out(
    targets: Float[np.ndarray, "texts columns"], keys: Int[np.ndarray, " texts"]
) -> Iterator[Int[np.ndarray, " held"]]:
    """Yield the texts of each fold: every fifth of each (likeliest) class by its key; one fold for many texts.

    Texts of equal keys are in one fold, in any order; only if no class has two different texts does their order decide,
    and then it makes no difference.
    """
    classes = targets[:, 0] > 0.5 if targets.shape[1] == 1 else targets.argmax(axis=1)
    turn, order = np.empty(len(targets), dtype=np.int64), np.empty(len(targets), dtype=np.int64)
    for side in np.unique(classes):
        members = np.flatnonzero(classes == side)
        turn[members] = np.unique(keys[members], return_inverse=True)[1]
        order[members] = np.arange(len(members))
    if not turn.any():
        turn = order
    for fold in range(int(np.clip(_FEW // targets.size, 1, _FOLDS))):
        held = np.flatnonzero(turn % _FOLDS == fold)
        if 0 < len(held) < len(targets):
            yield held


class _Fold:
    """Training and held-out texts with the crops of both, and the last fit as the start of the next."""

    def __init__(
        self,
        sample: Sample,
        crops: Sample | None,
        parents: Int[np.ndarray, " crops"],
        held: Int[np.ndarray, " held"],
    ) -> None:
        out = np.zeros(len(sample), dtype=bool)
        out[held] = True
        learned = [sample.rows(np.flatnonzero(~out))]
        self.held = [sample.rows(held)]
        if crops is not None:
            learned.append(crops.rows(np.flatnonzero(~out[parents])))
            self.held.append(crops.rows(np.flatnonzero(out[parents])))
        frequency = np.bincount(learned[0].counts.indices, minlength=sample.counts.shape[1])
        rare = _RARE if sample.targets.shape[1] == 1 else _RARE_OF_SEVERAL
        tokens = np.flatnonzero(
            frequency >= (rare if sample.counts.nnz * sample.targets.shape[1] > _MANY_ENTRIES else 1)
        )
        self.held = [part.tokens(tokens) for part in self.held]
        texts = learned[0].tokens(tokens)
        self.presence = texts.counts.sign()
        self.texts = texts
        self.learned = join([texts, *(part.tokens(tokens) for part in learned[1:])])
        self.scales: dict[tuple[float, float], np.ndarray] = {}
        self.start: Values | None = None

    def loss(self, prior: Prior) -> float:
        """Return the mean held-out log-loss of a fit with these settings."""
        scale = prior.floor, prior.marginal
        if scale not in self.scales:
            self.scales[scale] = prior_scale(self.presence, self.texts.targets, *scale)
        # The strength is a number of texts: it is the same on four fifths of them as on all.
        self.start = fit_values(
            self.learned,
            self.scales[scale],
            prior,
            start=self.start,
            gradient=_ROUGH,
            iterations=_ROUGH_ITERATIONS,
        )
        parts = [np.average(self.start.losses(part), weights=part.importance) for part in self.held]
        return float(np.mean(parts))


def join(parts: list[Sample]) -> Sample:
    """Return several samples as one."""
    if len(parts) == 1:
        return parts[0]
    return Sample(
        counts=sparse.vstack([part.counts for part in parts], format="csr"),
        sizes=np.concatenate([part.sizes for part in parts]),
        targets=np.concatenate([part.targets for part in parts]),
        importance=np.concatenate([part.importance for part in parts]),
    )
