"""Settings of the prior of values, by texts that a fit did not see."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from tokendyn.sentiment.values import Prior, Sample, Values, fit_values, prior_scale

#: Settings that are tried, one after the other from the first guess on; chosen on splits of the training half of IMDb,
#: the movie sentences and docstrings of installed packages.
_PHANTOMS = (5.0, 10.0, 20.0, 35.0, 50.0, 70.0, 100.0, 140.0, 200.0, 280.0, 400.0)
_FLOORS = (0.2, 0.4, 0.8, 1.6)
_STRENGTHS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
#: Marginal effects of words in few or short texts are mostly chance.
_MARGINALS = (0.0, 0.3, 1.0)
#: Folds: all five where they are a fifth of so many texts times columns, fewer of larger samples, at least one.
_FOLDS, _FEW = 5, 2_500
#: Above so many entries times columns, tokens of fewer texts than _RARE are left out of the search: they hardly
#: move its losses. Of several classes the settings hang on rare words, whose values make probabilities too sure.
_MANY_ENTRIES, _RARE, _RARE_OF_SEVERAL = 1_000_000, 5, 2
#: Up to so many texts the strength is searched for. Of more texts the held-out losses hardly depend on it, and a
#: stronger prior than the guess makes probabilities of texts of other kinds too small.
_SEARCHED = 5_000
#: Up to so many texts the marginal effects of words are left out at first.
_FEW_TEXTS = 1_000
#: Gradient at which a fit of the search ends.
_ROUGH = 5e-5
#: And the most iterations; each fit begins where that of the setting before ended.
_ROUGH_ITERATIONS = 60
#: A setting is left for a neighbour whose loss is less by so much, and by this over the root of the number of texts:
#: losses of held-out texts are no surer than that.
_ENOUGH, _CHANCE = 2e-3, 0.2


@dataclass(frozen=True)
class Choice:
    """The chosen settings, the mean held-out log-loss of all that were tried, and whether the search was completed."""

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
    """Return the settings of least held-out log-loss, found one after the other.

    The loss of a setting is that on texts which the fit did not see, averaged with that on crops of them where crops
    are given. Folds go by the rank of the text within its class, so nothing is random.

    Parameters
    ----------
    sample
        The texts.
    crops
        Pieces of them that are learned too; None for none.
    parents
        Of each crop, the number of its text.
    keys
        A number of each text, the same for equal texts, by which they are ranked.
    fixed
        Settings by name that are not searched for.
    progress
        Called with each setting that is tried.
    deadline
        When no further setting is tried, by :func:`time.monotonic`.
    """
    usual = float(np.median(sample.sizes))
    few = len(sample) <= _FEW_TEXTS
    # With many phantom words the bias outweighs the words of a few short texts; of many, longer ones are surer.
    most = max(usual, _PHANTOMS[0]) if few and crops is None else 4 * usual
    short = _PHANTOMS[0] if few else 2 * usual
    guess = Prior(phantom=100.0 if crops is not None else short, floor=0.4, strength=4.0, marginal=0.0 if few else 1.0)
    if crops is None and not few and sample.targets.shape[1] == 1:
        # Of many sentences in two classes, both have the same held-out loss; on folds of film sentences this one has
        # a third of a point more right.
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
    # A lower floor of few texts hides words behind the bias: fewer texts right, though losses are a little less.
    floors = [floor for floor in _FLOORS if floor >= guess.floor or not few]
    grids = {"phantom": phantoms, "marginal": _MARGINALS, "floor": floors, "strength": _STRENGTHS}
    strength = ("strength",) if len(sample) <= _SEARCHED else ()
    # Nor is the marginal effect of many long texts: less of it is a stronger prior too.
    marginal = ("marginal",) if crops is None or len(sample) <= _SEARCHED else ()
    for name in ("phantom", *marginal, "floor", *strength, "phantom"):
        if name not in fixed:
            best = _descend(best, name, list(grids[name]), loss, enough)
    loss(best)
    return Choice(prior=best, tried=tuple(losses.items()), completed=time.monotonic() <= deadline)


def _descend(best: Prior, name: str, grid: list[float], loss: Callable[[Prior], float], enough: float) -> Prior:
    """Walk along one setting, from where it stands, as long as the loss falls clearly: convex in practice."""
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
    """Yield the texts of each fold: every fifth of each (likeliest) class by its key; of many texts, one fold.

    Texts of equal keys are in one fold, in whatever order they are; only where no class has two different texts do
    they go by their order, which makes no difference then.
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
    """Texts to learn from and texts held out, with the crops of both, and the last fit to start the next one from."""

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
        self.presence = (texts.counts > 0).astype(np.float64)
        self.texts = texts
        self.learned = join([texts, *(part.tokens(tokens) for part in learned[1:])])
        self.scales: dict[tuple[float, float], np.ndarray] = {}
        self.start: Values | None = None

    def loss(self, prior: Prior) -> float:
        """Return the mean held-out log-loss of a fit with these settings."""
        scale = prior.floor, prior.marginal
        if scale not in self.scales:
            self.scales[scale] = prior_scale(self.presence, self.texts.targets, *scale)
        # The strength counts texts: on four fifths of them it is what it is on all.
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
    """Return the texts of several samples as one."""
    if len(parts) == 1:
        return parts[0]
    return Sample(
        counts=sparse.vstack([part.counts for part in parts], format="csr"),
        sizes=np.concatenate([part.sizes for part in parts]),
        targets=np.concatenate([part.targets for part in parts]),
        importance=np.concatenate([part.importance for part in parts]),
    )
