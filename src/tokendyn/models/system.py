"""A trained model as the system of the theory: unit tokens, folded heads at one temperature, residual layers.

What a layer reads is ``u = sqrt(d) g o y + b`` with unit tokens ``y`` (up to the small number in the root of a norm).
With gains folded into the matrices the score is ``beta <y_i, B y_j> + <c, y_j>`` up to a constant of the row, and
``beta = scale * d``, which is ``d / sqrt(d_h)`` for the usual scale: it *is* the temperature. Pieces can be switched
off; with everything on the system is the model.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from tokendyn.attention import AttentionStep, Head, attend
from tokendyn.attention.step import Backend
from tokendyn.errors import BadInputError
from tokendyn.metrics.attention import visible
from tokendyn.models.families import Order
from tokendyn.models.parts import BlockNorms, HeadMatrices, Norm, array, submodule
from tokendyn.models.scores import Rotation, turned
from tokendyn.models.source import Encoded, Model
from tokendyn.models.tracing import LayerView

#: A gain this small beside the largest cannot be folded: the unit token could not be found from the state.
_LEAST_GAIN = 1e-9


@dataclass(frozen=True)
class FoldedHead:
    """One head for unit tokens: ``beta <y_i, B y_j> + <c, y_j>`` and ``sum_j p_ij (V y_j + v)``.

    Attributes
    ----------
    query, key
        ``(head, dim)``: ``B = query^T key``, gains folded in.
    value, output
        ``(head, dim)`` and ``(dim, head)``: ``V = output value``, the length ``sqrt(d)`` folded in.
    key_bias
        ``c``.
    value_bias
        ``v``, the same for every token.
    inverse_temperature
        ``beta``.
    """

    query: Float[np.ndarray, "head dim"]
    key: Float[np.ndarray, "head dim"]
    value: Float[np.ndarray, "head dim"]
    output: Float[np.ndarray, "dim head"]
    key_bias: Float[np.ndarray, " dim"]
    value_bias: Float[np.ndarray, " dim"]
    inverse_temperature: float

    @property
    def interaction(self) -> Float[np.ndarray, "dim dim"]:
        """``B``."""
        return np.asarray(self.query.T @ self.key)

    @property
    def value_matrix(self) -> Float[np.ndarray, "dim dim"]:
        """``V``."""
        return np.asarray(self.output @ self.value)

    def core(self) -> Head:
        """Return the head of the core for tokens ``(y, 1)``: the last coordinate carries ``c`` and ``v``.

        Its means have one coordinate more than ``y``, which is zero.
        """
        size, dim = self.query.shape
        query, key = np.zeros((size + 1, dim + 1)), np.zeros((size + 1, dim + 1))
        query[:size, :dim], key[:size, :dim] = self.query, self.key
        query[size, dim] = 1.0
        key[size, :dim] = self.key_bias / self.inverse_temperature
        value = np.zeros((dim + 1, dim + 1))
        value[:dim, :dim], value[:dim, dim] = self.value_matrix, self.value_bias
        return Head(query=query, key=key, value=value, inverse_temperature=self.inverse_temperature)


@dataclass(frozen=True, kw_only=True)
class ModelLayer:
    """One block of a model as a layer of the core: :func:`tokendyn.run` takes a list of them.

    Attributes
    ----------
    matrices
        The heads.
    norms
        Of the block; ``norms.front`` is folded into the heads.
    order
        How the sums are built.
    feed_forward
        ``(tokens, dim)`` to the output of the feed-forward part; None adds nothing.
    seen
        ``(tokens, tokens)``: which keys a query may see.
    rotation
        Of rotary places, for the places of this text.
    term
        What the places of two tokens add to their score.
    score_norms
        Norms of queries and of keys, if a model has them: its scores are then not a bilinear form.
    cap
        ``c`` of scores ``c tanh(s / c)``; 0 where they are not capped.
    attention
        Whether attention adds anything.
    biases
        Whether queries, keys, values and the output have their biases.
    hard
        Hardmax in place of softmax.
    """

    matrices: HeadMatrices
    norms: BlockNorms
    order: Order
    feed_forward: Callable[[np.ndarray], np.ndarray] | None
    seen: Bool[np.ndarray, "tokens tokens"]
    rotation: Rotation | None = None
    term: np.ndarray | None = None
    score_norms: tuple[Norm | None, Norm | None] = (None, None)
    cap: float = 0.0
    attention: bool = True
    biases: bool = True
    hard: bool = False

    @property
    def inverse_temperature(self) -> float:
        """``beta`` of unit tokens."""
        return self.matrices.scale * self.matrices.query.shape[2]

    @property
    def heads(self) -> tuple[Head, ...]:
        """The heads of the core, for tokens ``(y, 1)``; rotations and terms by places are not in them."""
        return tuple(self.folded(head).core() for head in range(len(self.matrices)))

    def folded(self, head: int) -> FoldedHead:
        """Return one head for unit tokens.

        Raises
        ------
        BadInputError
            If the scores are not a bilinear form.
        """
        if self.cap or any(norm is not None for norm in self.score_norms):
            raise BadInputError("scores that are capped, or of normalised queries and keys, are no bilinear form")
        matrices, root = self.matrices, math.sqrt(self.matrices.query.shape[2])
        gain, shift = self._gain, self._shift
        query, key, value = matrices.query[head], matrices.key[head], matrices.value[head]
        whole = float(self.biases)
        row = query @ shift + whole * matrices.query_bias[head]
        constant = value @ shift + whole * matrices.value_bias[head]
        return FoldedHead(
            query=query * gain, key=key * gain, value=root * value * gain, output=matrices.output[head],
            key_bias=matrices.scale * root * gain * (key.T @ row), value_bias=matrices.output[head] @ constant,
            inverse_temperature=self.inverse_temperature,
        )  # fmt: skip

    def unit_tokens(self, tokens: Float[np.ndarray, "tokens dim"]) -> Float[np.ndarray, "tokens dim"]:
        """Return ``y`` of the states that enter the layer."""
        root = math.sqrt(tokens.shape[1])
        front = self.norms.front
        if front is not None and self.order != "post":
            return np.asarray(front.centred(tokens) / front.scale(tokens) / root)
        return np.asarray((tokens - self._shift) / self._gain / root)

    @property
    def _gain(self) -> np.ndarray:
        front = self.norms.front
        dim = self.matrices.query.shape[2]
        if front is None or (
            self.order == "post" and np.abs(front.gain).min() < _LEAST_GAIN * np.abs(front.gain).max()
        ):
            return np.ones(dim)
        return front.gain

    @property
    def _shift(self) -> np.ndarray:
        return np.zeros(self.matrices.query.shape[2]) if self.norms.front is None else self.norms.front.bias

    def __call__(
        self,
        tokens: Float[np.ndarray, "tokens dim"],
        *,
        weights: Float[np.ndarray, " tokens"] | None = None,
        mask: Bool[np.ndarray, "*shape"] | None = None,
        backend: Backend = "auto",
    ) -> tuple[Float[np.ndarray, "tokens dim"], tuple[AttentionStep, ...]]:
        """Return the states after the block, and the attention step of each head."""
        if tokens.shape[0] != len(self.seen):
            raise BadInputError(f"the system is that of a text of {len(self.seen)} tokens, got {tokens.shape[0]}")
        steps = self._steps(self.unit_tokens(tokens), weights, mask, backend)
        added = np.zeros_like(tokens)
        if self.attention:
            for step, output in zip(steps, self.matrices.output, strict=True):
                added += step.means @ output.T
            added += self.matrices.output_bias * self.biases
        return self._moved(tokens, added), steps

    def _steps(self, units: np.ndarray, weights: Any, mask: Any, backend: Backend) -> tuple[AttentionStep, ...]:
        """Return the attention step of each head; its means are those of the values, before the output projection."""
        matrices, root = self.matrices, math.sqrt(units.shape[1])
        whole, shift = float(self.biases), self._shift
        allowed = self.seen if mask is None else self.seen & np.asarray(mask)
        every = bool(allowed.all())  # attention without a mask takes a tenth of the time

        def read(part: np.ndarray, bias: np.ndarray) -> np.ndarray:
            constant = part @ shift + whole * bias
            return np.asarray(root * units @ (part * self._gain).transpose(0, 2, 1) + constant[:, None])

        query, key = read(matrices.query, matrices.query_bias), read(matrices.key, matrices.key_bias)
        query, key = (part if norm is None else norm(part)
                      for part, norm in zip((query, key), self.score_norms, strict=True))  # fmt: skip
        query, key = turned(query, self.rotation), turned(key, self.rotation)
        value, scale = read(matrices.value, matrices.value_bias), matrices.scale
        if self.term is not None or self.cap:
            query, key, scale = self._tabled(query, key)
        return tuple(
            attend(
                query[head], key[head], value[head], inverse_temperature=math.inf if self.hard else scale,
                weights=weights, mask=None if every else allowed, backend=backend,
            )
            for head in range(len(matrices))
        )  # fmt: skip

    def _tabled(self, query: np.ndarray, key: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Return queries and keys whose products are all scores, where those are more than products.

        The query of token ``i`` is the ``i``-th unit vector, and the keys are the columns of the table of scores.
        """
        scores = self.matrices.scale * query @ key.transpose(0, 2, 1)
        scores = scores if self.term is None else scores + self.term
        scores = self.cap * np.tanh(scores / self.cap) if self.cap else scores
        tokens = scores.shape[1]
        return np.broadcast_to(np.eye(tokens), scores.shape), scores.transpose(0, 2, 1), 1.0

    def _moved(self, tokens: np.ndarray, added: np.ndarray) -> np.ndarray:
        """Return the tokens after the sums, norms and the feed-forward part of the block."""
        norms = self.norms

        def fed(state: np.ndarray) -> np.ndarray:
            if self.feed_forward is None:
                return np.zeros_like(state)
            return self.feed_forward(state if norms.middle is None else norms.middle(state))

        def sandwiched(norm: Norm | None, part: np.ndarray) -> np.ndarray:
            return part if norm is None else norm(part)

        if self.order == "parallel":
            return tokens + added + fed(tokens)
        if self.order == "post":
            middle = sandwiched(norms.attention, tokens + added)
            return sandwiched(norms.feed_forward, middle + fed(middle))
        middle = tokens + (sandwiched(norms.attention, added) if self.order == "sandwich" else added)
        return middle + (sandwiched(norms.feed_forward, fed(middle)) if self.order == "sandwich" else fed(middle))


@dataclass(frozen=True)
class System:
    """A model on one text as a list of layers.

    Attributes
    ----------
    layers
        Of the core.
    start
        ``(tokens, dim)``: the states that enter the first.
    """

    layers: tuple[ModelLayer, ...]
    start: Float[np.ndarray, "tokens dim"]

    def run(self) -> Float[np.ndarray, "layers_and_one tokens dim"]:
        """Return the states before the first and after each layer."""
        return np.stack(list(self.states()))

    def states(self) -> Iterator[Float[np.ndarray, "tokens dim"]]:
        """Yield the states before the first and after each layer."""
        state = self.start
        yield state
        for layer in self.layers:
            state, _ = layer(state)
            yield state

    def switched(
        self,
        *,
        gains: bool = True,
        norm_biases: bool = True,
        biases: bool = True,
        attention: bool = True,
        feed_forward: bool = True,
        hard: bool = False,
    ) -> "System":
        """Return the system with pieces off.

        Parameters
        ----------
        gains, norm_biases
            Those of all norms. For post order those of the first norm are also removed from the initial states.
        biases
            Of queries, keys, values and output.
        attention, feed_forward
            Whether these parts add anything.
        hard
            Hardmax in place of softmax.
        """

        def plain(norm: Norm | None) -> Norm | None:
            if norm is None:
                return None
            return replace(
                norm, gain=norm.gain if gains else np.ones_like(norm.gain),
                bias=norm.bias if norm_biases else np.zeros_like(norm.bias),
            )  # fmt: skip

        layers = tuple(
            replace(
                layer,
                norms=BlockNorms(**{name: plain(norm) for name, norm in vars(layer.norms).items()}),
                biases=layer.biases and biases, attention=layer.attention and attention, hard=layer.hard or hard,
                feed_forward=layer.feed_forward if feed_forward else None,
            )
            for layer in self.layers
        )  # fmt: skip
        first = self.layers[0]
        start = self.start
        if first.order == "post" and first.norms.front is not None:
            front = first.norms.front
            start = start if norm_biases else start - front.bias
            if not gains:
                start = (self.start - front.bias) / front.gain + (front.bias if norm_biases else 0.0)
        return System(layers, start)


def system_of(model: Model, encoded: Encoded) -> System:
    """Return a model on one text as a system of the theory.

    Parameters
    ----------
    model
        A model of a known family.
    encoded
        The text: rotations, terms of the scores and masks are those of its places.

    Raises
    ------
    BadInputError
        If the scores contain terms that hooks do not see; the message names them.
    """
    if model.not_a_system:
        raise BadInputError(f"{model.source} is no system of the theory: {model.not_a_system}")
    family = model.family
    assert family is not None  # a model without a family is not a system
    norms, matrices, blocks, score_norms = model.norms, model.layers, model.called, model.score_norms
    places: list[tuple[np.ndarray, Rotation | None, np.ndarray | None]] = []

    def look(view: LayerView) -> None:
        assert view.attention is not None
        places.append((visible(view.attention), view.rotation, view.term))

    run = model.run(encoded, visit=look)
    layers = tuple(
        ModelLayer(
            matrices=matrices[layer], norms=norms[layer], order=family.order, seen=seen, rotation=rotation, term=term,
            score_norms=score_norms[layer], cap=model.cap, feed_forward=_feed_forward(blocks[layer], family.feed),
        )
        for layer, (seen, rotation, term) in enumerate(places)
    )  # fmt: skip
    return System(layers, run.states[0])


def _feed_forward(block: Any, paths: tuple[str, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """Return the feed-forward part of a block as a function of arrays."""
    import torch

    modules = [submodule(block, path) for path in paths]
    dtype = next(block.parameters()).dtype

    def feed(tokens: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            hidden = torch.as_tensor(tokens, dtype=dtype)[None]
            for module in modules:
                hidden = module(hidden)
        return array(hidden[0])

    return feed
