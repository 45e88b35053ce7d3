"""States that any other tool wrote: the same geometry, and heads where attention is there."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tokendyn.data.states import SUFFIXES, HiddenStates, check_stream, read_states
from tokendyn.errors import BadInputError
from tokendyn.metrics.attention import (
    cold_index,
    commonest_top,
    effective_keys,
    largest_lead,
    leaders,
    permuted_lead,
    visible,
)
from tokendyn.models.corpus import combined
from tokendyn.models.layout import Table
from tokendyn.models.measures import LEAST_TOKENS, TextMeasures, measure_states
from tokendyn.models.nulls import MOST_SOURCES, Pool, generator_of, pool_of
from tokendyn.runs.provenance import provenance

if TYPE_CHECKING:
    from tokendyn.models.inspection import Inspection


def is_states(given: Any) -> bool:
    """Return whether something is hidden states: an array, a result of ``read_states``, a file, or a list of them."""
    if isinstance(given, list | tuple):
        return bool(given) and all(map(is_states, given))
    if isinstance(given, str | Path):
        return Path(given).suffix.lower() in SUFFIXES and not Path(given).is_dir()
    return isinstance(given, HiddenStates | np.ndarray)


def inspect_states(given: Any) -> "Inspection":
    """Return the inspection of hidden states: geometry and, where attention is there, heads and leaders.

    Parameters
    ----------
    given
        What :func:`is_states` accepts; a list has the states of one text each.

    Raises
    ------
    BadInputError
        For a file that cannot be read, another shape, fewer than four tokens, numbers that are not finite, or streams
        of different models.
    """
    from tokendyn.models.inspection import Inspection

    began = time.perf_counter()
    streams = [_stream(entry) for entry in (given if isinstance(given, list | tuple) else [given])]
    shapes = {(stream.states.shape[0], stream.states.shape[2]) for stream in streams}
    if len(shapes) > 1:
        raise BadInputError("the states have different numbers of layers or dimensions; they are of different models")
    heads = {stream.attention.shape[1] for stream in streams if stream.attention is not None}
    if len(heads) > 1:
        raise BadInputError(f"attention has {min(heads)} to {max(heads)} heads; the states are of different models")
    sources = streams[:MOST_SOURCES]
    pool = pool_of((stream.states for stream in sources), len(sources)) if len(sources) > 1 else None
    texts = [_measured(stream, pool) for stream in streams]
    notes = ["motion, temperature and ablations need the weights: give the folder of the model"]
    if any(stream.attention is None for stream in streams):
        notes.append("heads and leaders need an array attention")
    first = texts[0]
    return Inspection(
        source=streams[0].source, family="", tokens=first.tokens, lengths=tuple(len(text.tokens) for text in texts),
        states=first.states, received=first.received, sinks=first.sinks, **combined(Table.of(texts)),
        notes=tuple(notes), provenance=provenance({}, seed=None, seconds=time.perf_counter() - began),
    )  # fmt: skip


def _stream(given: Any) -> HiddenStates:
    stream = read_states(given) if isinstance(given, str | Path) else given
    if isinstance(stream, np.ndarray):
        stream = _from_array(stream)
    elif stream is given:
        check_stream(stream)
    tokens = stream.states.shape[1]
    if tokens < LEAST_TOKENS or stream.layers < 1:
        raise BadInputError(
            f"{stream.source}: {tokens} tokens before and after {stream.layers} layers; expected {LEAST_TOKENS} tokens "
            "or more, since the first one is left out, and a layer or more"
        )
    known: HiddenStates = stream
    return known


def _measured(stream: HiddenStates, pool: Pool | None) -> TextMeasures:
    measured = TextMeasures(tokens=stream.labels)
    measure_states(stream.states, measured, pool=pool)
    if stream.attention is not None:
        _measure_attention(stream.attention, measured)
    return measured


def _from_array(states: np.ndarray) -> HiddenStates:
    if states.ndim != 3 or 0 in states.shape or states.dtype.kind not in "fiu":
        raise BadInputError(
            f"the states are {states.dtype} of shape {states.shape}; expected real (layers + 1, tokens, dim)"
        )
    if not np.isfinite(states).all():
        raise BadInputError("the states hold NaN or infinity; write them in a wider type")
    return HiddenStates(states=states.astype(np.float64), labels=tuple(map(str, range(states.shape[1]))))


def _measure_attention(attention: np.ndarray, into: TextMeasures) -> None:
    """Measure the heads of each layer; without values no key is called a sink."""
    rows: dict[str, list[np.ndarray]] = {}
    generator = generator_of(into.states[0])
    for layer in attention:
        seen = visible(layer)
        keys, entropy = effective_keys(layer, seen)
        found = leaders(layer, seen)
        measures = {
            "cold": cold_index(layer, seen), "keys": keys, "entropy": entropy, "commonest": commonest_top(layer),
            "lead": largest_lead(found, seen), "lead_null": permuted_lead(layer, seen, generator),
            "received": found.lead.mean(axis=0),
        }  # fmt: skip
        for name, value in measures.items():
            rows.setdefault(name, []).append(value)
    into.received = np.stack(rows.pop("received"))
    into.sinks = np.zeros_like(into.received)
    into.heads = {name: np.stack(values) for name, values in rows.items()}
