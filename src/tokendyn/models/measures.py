"""All measures of one text: its geometry, its heads, its leaders, its motion, and its motion with pieces off."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Num

from tokendyn.metrics.attention import (
    cold_index,
    commonest_top,
    effective_keys,
    fit_scores,
    largest_lead,
    leaders,
    permuted_lead,
    permuted_top,
    visible,
)
from tokendyn.metrics.geometry import clusters, covariance_rank, mean_cosine, mean_direction, unit
from tokendyn.models.motion import split_motion
from tokendyn.models.nulls import Pool, Received, generator_of, key_ablations
from tokendyn.models.parts import HeadMatrices
from tokendyn.models.scores import bilinear_scores, output_norms
from tokendyn.models.source import Encoded, Model, Run
from tokendyn.models.tracing import Ablation, LayerView

#: Cosines at which clusters are cut.
CUTS = (0.5, 0.7)
#: What is measured for every head, in the order of the table.
HEAD_MEASURES = (
    "cold", "cold_random", "keys", "entropy", "slope", "r2", "variation", "same_top", "permuted", "commonest", "lead",
    "lead_null", "sink_attention", "sink_output", "moved", "held", "held_null",
)  # fmt: skip
#: What is measured for every layer of a run.
_LAYER_MEASURES = ("received", "sinks", "motion", "motion_null")
#: Runs in which pieces are off, for every layer of the geometry.
VARIANTS = ("model", "no attention", "no feed-forward", "random weights")
#: Attention weights that are measured at a time.
_MOST_WEIGHTS = 2**19
#: Tokens of a text at least: one is left out, and two make a pair.
LEAST_TOKENS = 4


@dataclass(frozen=True)
class Shape:
    """The geometry of one text in every layer: the values for cosines across texts, without states.

    Attributes
    ----------
    within
        ``(layers + 1,)``: mean cosine of its pairs.
    direction
        ``(layers + 1, dim)``: mean direction of its tokens.
    """

    within: Float[np.ndarray, " layers_and_one"]
    direction: Float[np.ndarray, "layers_and_one dim"]


@dataclass
class TextMeasures:
    """What one text gave.

    Attributes
    ----------
    tokens
        Its tokens, as the tokenizer writes them.
    states
        ``(layers + 1, tokens, dim)``.
    shapes
        Geometry of each of :data:`VARIANTS` that was run.
    rank, clusters
        Effective rank, and clusters at each of :data:`CUTS`, over the number of tokens: ``(layers + 1,)`` and
        ``(layers + 1, cuts)``.
    heads
        Of each of :data:`HEAD_MEASURES` ``(layers, heads)``; NaN where it is not known.
    received, sinks
        ``(layers, tokens)``: attention received over that of a uniform head, the mean over heads; and the share of
        heads that have a sink in this token.
    motion
        ``(layers, parts)`` of :data:`tokendyn.models.motion.PARTS`.
    motion_error
        Largest error of the split.
    ablated
        By the name of an ablation: the geometry of the last layer, and the mean cosine to the last states of the model.
    ladder
        By the name of a rung: rank correlation with the real cosines, and the geometry of the last layer.
    nulls
        Of ``rank`` (random weights), ``clusters`` (a mixed text of as many tokens), ``motion`` (parts of permuted
        tokens), as far as they are known.
    """

    tokens: tuple[str, ...]
    states: Any = None
    shapes: dict[str, Shape] = field(default_factory=dict)
    rank: Any = None
    clusters: Any = None
    heads: dict[str, np.ndarray] = field(default_factory=dict)
    received: Any = None
    sinks: Any = None
    motion: Any = None
    motion_error: float = 0.0
    ablated: dict[str, tuple[Shape, float]] = field(default_factory=dict)
    ladder: dict[str, tuple[float, Shape]] = field(default_factory=dict)
    nulls: dict[str, Any] = field(default_factory=dict)


def shape_of(states: Float[np.ndarray, "layers tokens dim"], first: int = 1) -> Shape:
    """Return the geometry of the states of a text; the first token is left out, since decoders make it a sink."""
    inner = [layer[first:] for layer in states]  # layer by layer, for the sake of memory
    return Shape(
        within=np.array([mean_cosine(layer) for layer in inner]),
        direction=np.stack([mean_direction(layer) for layer in inner]),
    )


def measure_states(
    states: Float[np.ndarray, "layers_and_one tokens dim"],
    into: TextMeasures,
    first: int = 1,
    pool: Pool | None = None,
) -> None:
    """Measure properties of the states alone; mixed texts come from the pool, if there is one."""
    inner = states[:, first:]
    count = inner.shape[1]
    into.states = states
    into.shapes["model"] = shape_of(states, first)
    into.rank = np.array([covariance_rank(layer) / count for layer in inner])
    into.clusters = np.array([[clusters(layer, cut) / count for cut in CUTS] for layer in inner])
    if pool is not None:
        into.nulls["clusters"] = pool.clusters(count, CUTS, generator_of(inner[0]))


def measure_text(
    model: Model,
    encoded: Encoded,
    *,
    random: Model | None = None,
    ablations: Sequence[tuple[str, int, Ablation]] = (),
    pool: Pool | None = None,
) -> TextMeasures:
    """Measure one text.

    Parameters
    ----------
    model
        The model.
    encoded
        The text.
    random
        A model of the same shape with random weights.
    ablations
        Name, first layer that changes, and the parts that are off. The loudest token is masked too, if there are any.
    pool
        Of the tokens of all texts.
    """
    measured = TextMeasures(tokens=encoded.names)
    watch = _Watch(model, encoded, measured)
    run = model.run(encoded, visit=watch)
    watch.end()
    measure_states(run.states, measured, pool=pool)
    _measure_others(run, model, encoded, measured, ablations=ablations, received=watch.received)
    if random is not None:
        _measure_random(random, encoded, measured)
    return measured


def measure_reference(
    model: Model,
    encoded: Encoded,
    *,
    random: Model | None = None,
    ablations: Sequence[tuple[str, int, Ablation]] = (),
) -> TextMeasures:
    """Measure only the values of a reference text for cosines across texts."""
    measured, received = TextMeasures(tokens=encoded.names), Received()
    run = model.run(encoded, visit=received if ablations else None)
    measured.shapes["model"] = shape_of(run.states)
    _measure_others(run, model, encoded, measured, ablations=ablations, received=received)
    if random is not None:
        measured.shapes["random weights"] = shape_of(random.run(encoded).states)
    return measured


def _measure_others(
    run: Run,
    model: Model,
    encoded: Encoded,
    measured: TextMeasures,
    *,
    ablations: Sequence[tuple[str, int, Ablation]],
    received: Received,
) -> None:
    """Measure the shapes that a run is held against: with parts switched off, and with keys masked."""
    if model.family is not None:
        for name, ablation in (
            ("no attention", Ablation(attention=True)),
            ("no feed-forward", Ablation(feed_forward=True)),
        ):
            measured.shapes[name] = shape_of(model.run(encoded, ablation=ablation).states)
        keys = key_ablations(model, encoded, received) if ablations else []
        for name, layer, ablation in (*ablations, *keys):
            measured.ablated[name] = _ablated(model, encoded, run, layer, ablation)


def _measure_random(random: Model, encoded: Encoded, measured: TextMeasures) -> None:
    """Measure the model with random weights: its shape, its rank and how cold its heads are."""
    cold: list[np.ndarray] = []

    def look(view: LayerView) -> None:
        if view.attention is not None:
            seen = visible(view.attention)
            groups = head_groups(view.attention)
            cold.append(np.concatenate([cold_index(view.attention[group], seen) for group in groups]))

    states = random.run(encoded, visit=look).states
    measured.shapes["random weights"] = shape_of(states)
    measured.nulls["rank"] = np.array([covariance_rank(layer) / (len(layer) - 1) for layer in states[:, 1:]])
    if cold:
        measured.heads["cold_random"] = np.stack(cold)


def _ablated(model: Model, encoded: Encoded, run: Run, layer: int, ablation: Ablation) -> tuple[Shape, float]:
    last = model.run(encoded, ablation=ablation, start=(layer, run)).states[-1:]
    own = (unit(last[0, 1:]) * unit(run.states[-1, 1:])).sum(axis=-1).mean()
    return shape_of(last), float(own)


class _Watch:
    """Measures each block while the model runs, so that no attention is kept."""

    def __init__(self, model: Model, encoded: Encoded, into: TextMeasures) -> None:
        self.model, self.into = model, into
        self.first_state: np.ndarray | None = None
        added = np.array(encoded.added, dtype=bool)
        # The first token of a decoder is a sink whether or not its tokenizer adds it.
        self.content = ~added if added.any() else np.arange(len(added)) > 0
        self.rows: dict[str, list[Any]] = {name: [] for name in (*_LAYER_MEASURES, *HEAD_MEASURES)}
        self.generator = generator_of(encoded.ids)
        self.received = Received()
        self.bilinear = not model.not_bilinear
        # Read before the model runs: to read a norm is to call it, and hooks would take that for a part of the run.
        self.norms, self.layers = (model.norms, model.layers) if model.family is not None else ([], [])

    def __call__(self, view: LayerView) -> None:
        if self.first_state is None:
            self.first_state = view.entering
            # The pieces of an image have no names; the first token of such a model is its own.
            self.content = self.content if len(self.content) else np.arange(len(view.entering)) > 0
        family = self.model.family
        known = family is not None
        measures: dict[str, Any] = {}
        if view.attention is not None:
            measures = self._attention(view, known)
        if family is not None and view.fed is not None:
            motion = split_motion(view, self.layers[view.layer], family, self.norms[view.layer])
            self.rows["motion"].append(motion.shares())
            self.rows["motion_null"].append(motion.permuted_shares(self.generator))
            measures["moved"] = motion.head_shares()
            self.into.motion_error = max(self.into.motion_error, motion.error)
        for name, row in measures.items():
            self.rows[name].append(row)

    def _attention(self, view: LayerView, known: bool) -> dict[str, Any]:
        attention = view.attention
        assert attention is not None
        seen = visible(attention)
        heads = self.layers[view.layer] if known and view.reads is not None else None
        norms = output_norms(heads, view.reads) if heads is not None and view.reads is not None else None
        # The permutations are the same for all groups of heads.
        seed = int(self.generator.integers(2**32))
        parts = []
        for group in head_groups(attention):
            generator = np.random.default_rng(seed)
            some = None if heads is None else heads.some(group)
            parts.append(self._of_heads(view, group, seen, some, None if norms is None else norms[group], generator))
        measures = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        measures |= {name: measures.pop(name).mean(axis=0) for name in ("received", "sinks")}
        self.received.add(measures["received"], seen)
        return measures

    def _of_heads(
        self, view: LayerView, group: slice, seen: np.ndarray, heads: HeadMatrices | None, norms: np.ndarray | None,
        generator: np.random.Generator,
    ) -> dict[str, Any]:  # fmt: skip
        """Return the measures of some heads of a block, each with the head as its first axis."""
        assert view.attention is not None
        attention = view.attention[group]
        found = leaders(attention, seen, norms)
        keys, entropy = effective_keys(attention, seen)
        measures: dict[str, Any] = {"cold": cold_index(attention, seen), "keys": keys, "entropy": entropy}
        measures["sink_attention"] = np.where(found.sinks, found.share, 0.0).sum(axis=-1)
        measures["sink_output"] = np.where(found.sinks, found.output_share, 0.0).sum(axis=-1)
        measures |= {"received": found.lead, "sinks": found.sinks}
        measures["commonest"] = commonest_top(attention)
        measures["lead"] = largest_lead(found, seen)
        measures["lead_null"] = permuted_lead(attention, seen, generator)
        if heads is not None and view.reads is not None and self.bilinear:
            norm = self.norms[view.layer].front
            shift = 0.0 if norm is None else norm.bias
            term = of_group(view.term, group)
            scores = bilinear_scores(heads, view.reads, shift, view.rotation, bias=False, term=term)
            fit = fit_scores(attention, scores, seen)
            measures |= {"slope": fit.slope, "r2": fit.r2, "variation": fit.variation, "same_top": fit.same_top}
            measures["permuted"] = permuted_top(attention, scores, seen, generator)
            del scores
            measures |= self._held(view, attention, seen, heads, term)
        return measures

    def _held(
        self, view: LayerView, attention: np.ndarray, seen: np.ndarray, heads: HeadMatrices, term: np.ndarray | None
    ) -> dict[str, Any]:
        """Return how often the hardmax leaders that layer 0 gives are the real ones, among content tokens."""
        assert self.first_state is not None
        content = self.content
        norm = self.norms[view.layer].front
        pre = self.model.family is not None and self.model.family.order != "post"
        start = norm(self.first_state) if pre and norm is not None else self.first_state
        scores = bilinear_scores(heads, start, 0.0, view.rotation, bias=True, term=term)
        allowed = seen[np.ix_(content, content)]
        rows = allowed.sum(axis=-1) >= 2
        if not rows.any():
            nothing = np.full(len(attention), np.nan)
            return {"held": nothing, "held_null": nothing}
        pick = np.ix_(np.arange(len(attention)), np.flatnonzero(content)[rows], np.flatnonzero(content))
        guess = np.where(allowed[rows], scores[pick], -np.inf).argmax(axis=-1)
        real = attention[pick].argmax(axis=-1)
        return {
            "held": (guess == real).mean(axis=-1),
            "held_null": np.array([np.bincount(row).max() / len(row) for row in real]),
        }

    def end(self) -> None:
        """Stack the layers."""
        layers = len(self.rows["cold"])
        for name in HEAD_MEASURES:
            if self.rows[name]:
                self.into.heads[name] = np.stack(self.rows[name])
        for name in ("received", "sinks", "motion"):
            if self.rows[name] and (layers or name == "motion"):
                setattr(self.into, name, np.stack(self.rows[name]))
        if self.rows["motion_null"]:
            self.into.nulls["motion"] = np.stack(self.rows["motion_null"])


def head_groups(attention: Num[np.ndarray, "heads tokens tokens"]) -> list[slice]:
    """Return heads that are measured at a time: their temporary arrays are then small, whatever their number."""
    heads, tokens, _ = attention.shape
    size = max(1, _MOST_WEIGHTS // tokens**2)
    return [slice(first, min(first + size, heads)) for first in range(0, heads, size)]


def of_group(term: np.ndarray | None, group: slice) -> np.ndarray | None:
    """Return a term of the scores for some heads; one that all heads share stays."""
    return term if term is None or len(term) == 1 else term[group]


def layer_ablations(model: Model) -> list[tuple[str, int, Ablation]]:
    """Return one ablation a layer: its attention is off."""
    return [(f"layer {layer}", layer, Ablation(attention=frozenset({layer}))) for layer in range(len(model.called))]


def head_ablations(model: Model) -> list[tuple[str, int, Ablation]]:
    """Return one ablation a head."""
    return [
        (f"head {layer}.{head}", layer, Ablation(heads={layer: (head,)}))
        for layer in range(len(model.called))
        for head in range(model.heads)
    ]
