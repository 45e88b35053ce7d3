"""What a model's measures are held against, beside the model with random weights: mixed texts, and masked keys."""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from tokendyn.metrics.attention import leaders, often_seen, visible
from tokendyn.metrics.geometry import clusters
from tokendyn.models.source import Encoded, Model
from tokendyn.models.tracing import Ablation, LayerView

#: Tokens of a pool, and texts that it is drawn from, at most.
MOST_POOLED, MOST_SOURCES = 1024, 16
#: Names of the runs in which one token is masked as a key, and the null of it.
LOUDEST, ANY = "loudest key", "random key"


def generator_of(numbers: np.ndarray) -> np.random.Generator:
    """Return a generator that depends on the text alone, so that its nulls are the same in every order of texts."""
    return np.random.default_rng(zlib.crc32(np.ascontiguousarray(numbers).tobytes()))


@dataclass(frozen=True)
class Pool:
    """Tokens of several texts, from which mixed texts are drawn.

    Attributes
    ----------
    states
        ``(layers + 1, tokens, dim)``, as many of each text.
    """

    states: Float[np.ndarray, "layers_and_one tokens dim"]

    def clusters(
        self, count: int, cuts: Sequence[float], generator: np.random.Generator
    ) -> Float[np.ndarray, "layers_and_one cuts"]:
        """Return clusters over tokens of a mixed text of ``count`` tokens; NaN where the pool has fewer."""
        layers, tokens, _ = self.states.shape
        if tokens < count:
            return np.full((layers, len(cuts)), np.nan)
        chosen = generator.choice(tokens, count, replace=False)
        return np.array([[clusters(layer[chosen], cut) / count for cut in cuts] for layer in self.states])


def pool_of(texts: Iterable[Float[np.ndarray, "layers_and_one _ dim"]], sources: int, first: int = 1) -> Pool:
    """Return a pool of the tokens of texts.

    Parameters
    ----------
    texts
        States of each; only a sample of each is kept.
    sources
        How many there are.
    first
        Tokens before this one are left out.
    """
    share = -(-MOST_POOLED // sources)
    samples = []
    for states in texts:
        inner = states[:, first:]
        chosen = generator_of(inner[0]).permutation(inner.shape[1])[:share]
        samples.append(inner[:, chosen].astype(np.float32))
    return Pool(np.concatenate(samples, axis=1))


def model_pool(model: Model, inputs: Sequence[Encoded]) -> Pool | None:
    """Return the pool of the first inputs of a model; None for a single one, which has nothing to be mixed with."""
    chosen = inputs[:MOST_SOURCES]
    return pool_of((model.run(entry).states for entry in chosen), len(chosen)) if len(chosen) > 1 else None


class Received:
    """Adds up the attention that each key receives while a model runs.

    Attributes
    ----------
    total
        ``(keys,)`` over that of a uniform head, summed over layers; None before a layer with attention has run.
    often
        ``(keys,)``: which of them enough queries may attend to in the last layer.
    """

    def __init__(self) -> None:
        self.total: np.ndarray | None = None
        self.often = np.zeros(0, dtype=bool)

    def add(self, lead: Float[np.ndarray, " keys"], seen: Bool[np.ndarray, "tokens keys"]) -> None:
        """Add the mean lead of each key in one layer."""
        self.total = lead if self.total is None else self.total + lead
        self.often = often_seen(seen)

    def __call__(self, view: LayerView) -> None:
        """Add a layer of a run."""
        if view.attention is not None:
            seen = visible(view.attention)
            self.add(leaders(view.attention, seen).lead.mean(axis=0), seen)


def key_ablations(model: Model, encoded: Encoded, received: Received) -> list[tuple[str, int, Ablation]]:
    """Return the runs in which the loudest token is masked as a key, and as its null a random content token.

    Parameters
    ----------
    model
        A model whose attention takes a mask; others give no runs.
    encoded
        The text.
    received
        Of a run on it.
    """
    if encoded.ids.ndim != 1 or received.total is None or not model.takes_mask:
        return []
    # Late keys of causal models have a base near zero; as a null they would be masked for hardly any query.
    often = received.often
    loudest = int(np.where(often, received.total, -np.inf).argmax())
    content = [place for place, added in enumerate(encoded.added) if not added and place not in (0, loudest)]
    content = [place for place in content if often[place]] or content
    other = int(generator_of(encoded.ids).choice(content)) if content else 0
    return [(LOUDEST, 0, Ablation(keys=(loudest,))), (ANY, 0, Ablation(keys=(other,)))]
