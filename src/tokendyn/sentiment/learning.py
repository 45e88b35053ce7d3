"""From texts and targets to the values and positions of words, without random choices."""

import math
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from tokendyn.sentiment.doubt import fit_doubt
from tokendyn.sentiment.groups import Grouping, members_of, topics_of, with_leaders
from tokendyn.sentiment.modifier_fit import fit_modifiers, scaled
from tokendyn.sentiment.modifiers import Modifiers
from tokendyn.sentiment.selection import choose_prior, join
from tokendyn.sentiment.slope import fit_slope
from tokendyn.sentiment.tokens import TokenRule
from tokendyn.sentiment.values import Prior, Sample, Values, fit_values, prior_scale
from tokendyn.sentiment.vocabulary import CountedTexts, count_words

#: Cost of an error on a crop, relative to 1 on a text.
_CROP_IMPORTANCE = 0.1
#: Up to this number of texts a token must occur in one text, above it in two texts.
_FEW_TEXTS = 1_000
#: Least share of all words that may lead, if it is not given.
_LEAST_SHARE = 0.05
#: Iterations of the fits together with which the modifiers are learned.
_ROUGH_ITERATIONS = 80
#: A negator that leaves less than half of the words' effect may as well reverse half of it. On a development split of
#: IMDb held-out losses for -1, -1.25 and -1.5 are equal, and all below the loss for -0.75, which is learned with values
#: from texts without modifiers, while of 32 negated statements 11, 20 and 24 are right.
_WEAKENS, _REVERSES = -0.5, -1.5
#: Largest size of a fit: number of values times number of classes.
_MOST_UNKNOWNS = 4_000_000


@dataclass(frozen=True)
class Settings:
    """Settings of a fit; the attributes are parameters of :class:`tokendyn.sentiment.LeaderClassifier`."""

    rule: TokenRule
    active_words: int
    phantom: float | None
    floor: float | None
    marginal: float | None
    prior_strength: float | None
    doubt: float | None
    leaders: float
    strong_share: float | None
    dimensions: int
    layers: int
    alpha: float

    def fixed(self) -> dict[str, float]:
        """Return the settings of the prior that are not searched for."""
        named = {
            "phantom": self.phantom,
            "floor": self.floor,
            "marginal": self.marginal,
            "strength": self.prior_strength,
        }
        return {name: float(value) for name, value in named.items() if value is not None}


@dataclass(frozen=True)
class Learned:
    """The results of a fit.

    Attributes
    ----------
    words
        The tokens with a value.
    values
        Their values, the biases and the phantom mass.
    grouping
        Their positions and strengths.
    prior
        The settings of the fit.
    modifiers
        Factors by which negators, contrasts and intensifiers scale the words that follow them.
    doubt
        The least chance of an error: see :func:`tokendyn.sentiment.doubt.floors`.
    record
        The settings tried with their held-out losses, and the numbers of tokens and crops.
    """

    words: tuple[str, ...]
    values: Values
    grouping: Grouping
    prior: Prior
    modifiers: Modifiers
    doubt: float
    record: dict[str, object]


def learn(
    texts: Sequence[str],
    targets: Float[np.ndarray, "texts columns"],
    importance: Float[np.ndarray, " texts"],
    settings: Settings,
    progress: Callable[[str], None] = lambda _: None,
    *,
    deadline: float = math.inf,
) -> Learned:
    """Learn the values of words, and compute their positions.

    Parameters
    ----------
    texts
        The texts.
    targets, importance
        As in :class:`tokendyn.sentiment.values.Sample`.
    settings
        The settings; settings of the prior that are None are chosen by held-out losses. The last fit is on all texts.
    progress
        Called with a description of the next step; an exception raised there ends the fit.
    deadline
        Time after which no further setting is tried, on the clock of :func:`time.monotonic`.
    """
    progress("counting words")
    counted = count_words(texts, settings.rule, crops=True)
    tokens, sample, crops = _samples(counted, targets, importance)
    led = _led(counted, tokens)
    # A hash of the text itself, so that neither chance nor the order of the texts matters.
    keys = np.array([zlib.crc32(text.encode("utf-8", "surrogatepass")) for text in texts])
    choice = choose_prior(
        sample, crops, counted.parents, keys, fixed=settings.fixed(), progress=progress, deadline=deadline
    )
    presence = sparse.csr_matrix(
        (np.ones(sample.counts.nnz), sample.counts.indices, sample.counts.indptr), shape=sample.counts.shape
    )
    frequencies = np.bincount(sample.counts.indices, minlength=len(tokens))
    progress("modifiers")
    sides = [keys & 1 == half for half in (0, 1)]
    halves = [
        _Half(sample, crops, counted.parents, led, choice.prior, out) for out in sides if 0 < out.sum() < len(out)
    ]
    modifiers = _modifiers(halves) if led and halves else Modifiers()
    judged = [part for half in halves for part in half.judged(modifiers)] if targets.shape[1] > 1 else []
    slope = fit_slope(judged)
    doubt = settings.doubt
    if doubt is None:
        doubt = fit_doubt(
            [(part, values.times(slope)) for part, values in halves[0].judged(modifiers)] if halves else []
        )
    if led:
        sample = scaled(sample, [part[: len(sample)] for part in led], modifiers)
        crops = None if crops is None else scaled(crops, [part[len(sample) :] for part in led], modifiers)
    progress("values of words")
    scale = prior_scale(presence, sample.targets, choice.prior.floor, choice.prior.marginal)
    whole = fit_values(
        sample if crops is None else join([sample, crops]), scale, choice.prior, progress=_tell(progress)
    ).times(slope)
    # The second fit leaves out the weakest tokens: their values are small, and the losses stay the same.
    evidence = np.linalg.norm(whole.table, axis=1) * np.sqrt(frequencies)
    active = np.sort(np.argsort(-evidence, kind="stable")[: settings.active_words])
    active = active[evidence[active] > 0.0] if evidence.any() else active
    values = Values(table=np.ascontiguousarray(whole.table[active]), biases=whole.biases, phantom=whole.phantom)
    progress("places of words")
    words = tuple(counted.names[number] for number in tokens[active].tolist())
    sample = sample.tokens(active)
    share = settings.strong_share
    if share is None:
        share = min(1.0, max(_LEAST_SHARE, 2.0 * settings.leaders / max(float(sample.sizes.mean()), 1.0)))
    grouping = topics_of(
        sample, values, frequencies[active], members_of(words, settings.rule.ngrams),
        modifying=modifiers.of_words(words), share=share, dimensions=settings.dimensions,
    )  # fmt: skip
    sample = sample.rows(np.argsort(keys, kind="stable"))
    grouping = with_leaders(sample, values, grouping, settings.leaders, settings.layers, settings.alpha)
    record: dict[str, object] = {
        "modifiers": asdict(modifiers),
        "doubt": doubt,
        "slope": slope,
        "distinct_words": len(counted.names),
        "crops": len(counted.parents),
        "status": "completed" if choice.completed else "budget",
        "phantom": choice.prior.phantom,
        "floor": choice.prior.floor,
        "marginal": choice.prior.marginal,
        "prior_strength": choice.prior.strength,
        "tried": [
            {
                "phantom": prior.phantom,
                "floor": prior.floor,
                "marginal": prior.marginal,
                "prior_strength": prior.strength,
                "loss": loss,
            }
            for prior, loss in choice.tried
        ],
    }
    return Learned(
        words=words, values=values, grouping=grouping, prior=choice.prior, modifiers=modifiers, doubt=doubt,
        record=record,
    )  # fmt: skip


def _led(counted: CountedTexts, tokens: Int[np.ndarray, " tokens"]) -> list[sparse.csr_matrix]:
    """Return how many occurrences of each token follow a modifier, for each way of following; nothing if none does."""
    if not any(len(rows) for rows, _, _ in counted.led):
        return []
    shape = (len(counted), len(counted.names))
    return [
        sparse.csr_matrix((times.astype(np.float64), (rows, words)), shape=shape)[:, tokens]
        for rows, words, times in counted.led
    ]


def _modifiers(halves: Sequence["_Half"]) -> Modifiers:
    """Return the factors of modifiers, fitted to each half of the texts with values from the other half.

    Values that were learned without modifiers contain some of their effect. So a reversing negator is compared with the
    learned factor, with values learned anew, and kept if held-out texts are no less likely.
    """
    modifiers = fit_modifiers([part for half in halves for part in half.held()])
    reversing = replace(modifiers, negator=_REVERSES)
    if modifiers.negator > _WEAKENS or halves[0].loss(reversing) > halves[0].loss(modifiers):
        return modifiers
    return reversing


class _Half:
    """Half of the texts with values from the other half, to learn and evaluate modifiers and doubt."""

    def __init__(
        self,
        sample: Sample,
        crops: Sample | None,
        parents: Int[np.ndarray, " crops"],
        led: list[sparse.csr_matrix],
        prior: Prior,
        out: Bool[np.ndarray, " texts"],
    ) -> None:
        held, kept = np.flatnonzero(out), np.flatnonzero(~out)
        self.prior = prior
        self.parts = [(sample.rows(held), [matrix[held] for matrix in led])]
        learned = [(sample.rows(kept), [matrix[kept] for matrix in led])]
        if crops is not None:
            for parts, chosen in ((self.parts, out[parents]), (learned, ~out[parents])):
                rows = np.flatnonzero(chosen)
                parts.append((crops.rows(rows), [matrix[len(sample) + rows] for matrix in led]))
        self.learned = learned
        texts = learned[0][0]
        self.scale = prior_scale((texts.counts > 0).astype(np.float64), texts.targets, prior.floor, prior.marginal)
        self.fits: dict[Modifiers, Values] = {}

    def held(self) -> list[tuple[Sample, list[sparse.csr_matrix], Values]]:
        """Return held-out texts, the followers of modifiers in them, and the values."""
        return [(part, led, self._values(Modifiers())) for part, led in self.parts]

    def judged(self, modifiers: Modifiers) -> list[tuple[Sample, Values]]:
        """Return these texts scaled by modifiers, and values learned with the modifiers."""
        values = self._values(modifiers)
        return [(scaled(part, led, modifiers), values) for part, led in self.parts]

    def loss(self, modifiers: Modifiers) -> float:
        """Return the mean log-loss of these texts under values learned with modifiers."""
        judged = self.judged(modifiers)
        losses = np.concatenate([values.losses(part) for part, values in judged])
        return float(np.average(losses, weights=np.concatenate([part.importance for part, _ in judged])))

    def _values(self, modifiers: Modifiers) -> Values:
        """Return values of the other half, started from those without modifiers; each fit is done once."""
        if modifiers not in self.fits:
            start = None if modifiers.idle else self._values(Modifiers())
            learned = join([scaled(part, led, modifiers) for part, led in self.learned])
            self.fits[modifiers] = fit_values(
                learned, self.scale, self.prior, start=start, iterations=_ROUGH_ITERATIONS
            )
        return self.fits[modifiers]


def _tell(progress: Callable[[str], None]) -> Callable[[int], None]:
    """Return a callback of the fit that names its iteration."""
    return lambda iteration: progress(f"values of words, iteration {iteration}")


def _samples(
    counted: CountedTexts, targets: Float[np.ndarray, "texts columns"], importance: Float[np.ndarray, " texts"]
) -> tuple[Int[np.ndarray, " tokens"], Sample, Sample | None]:
    """Return which tokens can be learned, the texts and their crops (None for none)."""
    texts = len(targets)
    entries = int(counted.indptr[texts])
    frequency = np.bincount(counted.words[:entries], minlength=len(counted.names))
    tokens = np.flatnonzero(frequency >= (1 if texts <= _FEW_TEXTS else 2))
    most = _MOST_UNKNOWNS // targets.shape[1]
    if len(tokens) > most:
        warnings.warn(
            f"{len(tokens)} tokens with {targets.shape[1]} classes exceed the size of a fit; "
            f"the {most} tokens in most texts are kept",
            UserWarning,
            stacklevel=5,
        )
        tokens = np.sort(tokens[np.argsort(-frequency[tokens], kind="stable")[:most]])
    counts = sparse.csr_matrix(
        (counted.counts, counted.words, counted.indptr), shape=(len(counted), len(counted.names))
    )[:, tokens]
    lengths = counted.lengths.astype(np.float64)
    sample = Sample(counts=counts[:texts], sizes=lengths[:texts], targets=targets, importance=importance)
    if not len(counted.parents):
        return tokens, sample, None
    crops = Sample(
        counts=counts[texts:],
        sizes=lengths[texts:],
        targets=targets[counted.parents],
        importance=_CROP_IMPORTANCE * importance[counted.parents],
    )
    return tokens, sample, crops
