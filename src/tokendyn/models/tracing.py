"""One run of a model, seen through hooks: the tokens before and after each block, and the outputs of its parts.

Attention weights are seen one layer at a time and not kept, so that memory does not grow with the number of layers.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from tokendyn.models.families import Family
from tokendyn.models.parts import array, found, stored, submodule

#: What a mask adds to the scores of keys that may not be seen is below this.
_MASKED = -1e9


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """What is switched off in a run.

    Attributes
    ----------
    attention
        Layers whose attention adds nothing, nor its bias; True for all.
    feed_forward
        Layers whose feed-forward part adds nothing; True for all.
    heads
        For a layer, the heads that are left out of the sum.
    keys
        Places of tokens to which only they themselves may attend: without any key a row would have no weights.
    """

    attention: frozenset[int] | bool = False
    feed_forward: frozenset[int] | bool = False
    heads: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    keys: tuple[int, ...] = ()


@dataclass
class LayerView:
    """One block in a run, for one input.

    Attributes
    ----------
    layer
        From 0.
    entering, leaving
        ``(tokens, dim)``: the state before and after the block.
    reads
        ``(tokens, dim)``: input of the attention, after the norm in front of it if there is one.
    attention
        ``(heads, tokens, tokens)`` as the model computes them; None where it returns none.
    concatenated
        ``(tokens, heads * head)``: input of the output projection.
    attended, fed
        ``(tokens, dim)``: outputs of attention (with its bias) and feed-forward part, before any norm of the sum.
    norm_inputs
        What the norms of the sums take, by ``"attention"`` and ``"feed_forward"``.
    rotation
        Cosines and sines ``(tokens, width)`` by which queries and keys are turned; None without rotary places.
    term
        ``(heads or 1, tokens or 1, tokens)``: term of the score from the positions of two tokens; None without one.
    """

    layer: int
    entering: Float[np.ndarray, "tokens dim"]
    leaving: Float[np.ndarray, "tokens dim"] = field(init=False)
    reads: Float[np.ndarray, "tokens dim"] | None = None
    attention: Float[np.ndarray, "heads tokens tokens"] | None = None
    concatenated: Float[np.ndarray, "tokens width"] | None = None
    attended: Float[np.ndarray, "tokens dim"] | None = None
    fed: Float[np.ndarray, "tokens dim"] | None = None
    norm_inputs: dict[str, np.ndarray] = field(default_factory=dict)
    rotation: tuple[np.ndarray, np.ndarray] | None = None
    term: np.ndarray | None = None


class Tracer:
    """Hooks on the blocks of a model.

    Parameters
    ----------
    blocks
        In the order in which the model calls them; shared blocks are there once.
    family
        Where their parts are; None gives states and attentions alone, as far as the blocks return them.
    ablation
        What is switched off.
    visit
        Called with each block when it has ended.
    size, scale
        Coordinates of a head, where heads are switched off; and the factor of its scores, where a term has it too.
    """

    def __init__(
        self,
        blocks: list[Any],
        family: Family | None,
        ablation: Ablation,
        visit: Callable[[LayerView], None] | None,
        size: int,
        scale: float = 1.0,
    ) -> None:
        self.blocks, self.family, self.ablation, self.visit, self.size = blocks, family, ablation, visit, size
        self.scale = scale
        self.states: list[np.ndarray] = []
        self.outputs: list[Any] = []
        self._view: LayerView | None = None
        self._first: Any = None

    @contextmanager
    def attached(self) -> Iterator["Tracer"]:
        """Keep hooks on the blocks while the model runs."""
        handles: list[Any] = []
        try:
            for block in self.blocks:
                self._hook(block, handles)
            yield self
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, block: Any, handles: list[Any]) -> None:
        handles.append(block.register_forward_pre_hook(self._enter, with_kwargs=True))
        family = self.family
        if family is not None:
            handles.append(submodule(block, family.output).register_forward_pre_hook(self._concatenated))
            handles.append(submodule(block, family.output).register_forward_hook(self._attended))
            handles.append(submodule(block, family.feed_forward).register_forward_hook(self._fed))
        if family is not None and self.ablation.keys:
            handles.append(submodule(block, family.attention).register_forward_pre_hook(self._masked, with_kwargs=True))
        if family is not None and self.visit is not None:
            attention = submodule(block, family.attention)
            handles.append(attention.register_forward_pre_hook(self._reads, with_kwargs=True))
            handles.append(attention.register_forward_hook(self._weights))
            for name, path in (("attention", family.attention_norm), ("feed_forward", family.feed_forward_norm)):
                norm = found(block, path) if path else None
                if norm is not None:
                    handles.append(norm.register_forward_pre_hook(self._norm_input(name)))
        handles.append(block.register_forward_hook(self._leave))

    @property
    def layer(self) -> int:
        """The block that is running."""
        return len(self.states) - 1

    def _enter(self, _module: Any, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        hidden = args[0] if args else named.get("hidden_states", next(iter(named.values())))
        self.states.append(np.array(stored(hidden[0])))
        entering = self.states[-1] if self.visit is None else self.states[-1].astype(np.float64, copy=False)
        self._view = LayerView(layer=self.layer, entering=entering)

    def _leave(self, _module: Any, _args: tuple[Any, ...], output: Any) -> None:
        self.outputs.append(output)
        view = self._now
        hidden = (output[0] if isinstance(output, tuple) else output)[0]
        self._last = np.array(stored(hidden))
        if self.visit is not None:
            view.leaving = self._last.astype(np.float64, copy=False)
            self.visit(view)
        self._view = None

    @property
    def _now(self) -> LayerView:
        assert self._view is not None  # hooks of parts run inside a block
        return self._view

    def _masked(self, module: Any, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
        assert self.family is not None
        hidden = args[0] if args else named["hidden_states"]
        return _without_keys(module, args, named, self.ablation.keys, hidden, self.family.mask)

    def _reads(self, module: Any, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        hidden = args[0] if args else named["hidden_states"]
        self._now.reads = array(hidden[0])
        family = self.family
        assert family is not None  # parts of blocks are hooked for a known family alone
        turns = named.get("position_embeddings")
        # Falcon gives the angles also where it does not turn.
        if family.positions.startswith("rotary") and isinstance(turns, tuple) and len(turns) == 2:
            first, second = array(turns[0][0]), array(turns[1][0])
            # Models that turn neighbouring coordinates give sines first, and one angle a pair; their queries and keys
            # are read with the coordinates of a pair half the width apart.
            pairs = family.positions == "rotary pairs"
            self._now.rotation = (_twice(second), _twice(first)) if pairs else (first, second)
        if family.term:
            given = inspect.signature(module.forward).bind_partial(*args, **named).arguments
            self._now.term = _term(given, family, self.scale, hidden.shape[1])

    def _weights(self, _module: Any, _args: tuple[Any, ...], output: Any) -> None:
        if not isinstance(output, tuple):
            return
        squares = [part for part in output[1:] if of_pairs(part)]
        if squares:
            self._now.attention = squares[-1][0].detach().cpu().numpy()
        if len(squares) == 2:
            # T5 returns the term of its scores too, before the weights.
            self._now.term = array(squares[0][0])

    def _concatenated(self, _module: Any, args: tuple[Any, ...]) -> Any:
        dropped = self.ablation.heads.get(self.layer, ())
        heads = args[0]
        if dropped:
            heads = heads.clone()
            for head in dropped:
                heads[..., head * self.size : (head + 1) * self.size] = 0.0
        if self.visit is not None:
            self._now.concatenated = array(heads[0])
        return (heads, *args[1:])

    def _attended(self, _module: Any, _args: tuple[Any, ...], output: Any) -> Any:
        output = _switched(output, self.ablation.attention, self.layer)
        if self.visit is not None:
            self._now.attended = array(output[0])
        return output

    def _fed(self, _module: Any, _args: tuple[Any, ...], output: Any) -> Any:
        output = _switched(output, self.ablation.feed_forward, self.layer)
        if self.visit is not None:
            # Feed-forward parts of some models lose their batch: (tokens, dim).
            self._now.fed = array(output.reshape(-1, output.shape[-1]))
        return output

    def _norm_input(self, name: str) -> Callable[..., None]:
        def keep(_module: Any, args: tuple[Any, ...]) -> None:
            self._now.norm_inputs[name] = array(args[0][0])

        return keep

    def all_states(self) -> Float[np.ndarray, "layers_and_one tokens dim"]:
        """Return the states before the first and after each block."""
        return np.stack([*self.states, self._last], dtype=np.float64)


def of_pairs(tensor: Any) -> bool:
    """Return whether a tensor has one number for each head and pair of tokens of one text."""
    return getattr(tensor, "ndim", 0) == 4 and tensor.shape[0] == 1 and tensor.shape[2] == tensor.shape[3]


def mask_name(attention: Any) -> str:
    """Return by which argument an attention is given its mask; empty where it takes none."""
    names = inspect.signature(attention.forward).parameters
    return next((name for name in ("attention_mask", "mask") if name in names), "")


def _without_keys(
    module: Any, args: tuple[Any, ...], named: dict[str, Any], keys: tuple[int, ...], hidden: Any, kind: str
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of an attention with keys masked for all tokens but themselves.

    The mask of one attention and not that of the model, by which some models count the places of their tokens.
    """
    import torch

    name = mask_name(module)
    bound = inspect.signature(module.forward).bind_partial(*args, **named)
    mask, tokens = bound.arguments.get(name), hidden.shape[1]
    if mask is None:
        mask = torch.zeros((1, 1, tokens, tokens), dtype=hidden.dtype)
    hidden_from = torch.zeros((tokens, tokens), dtype=torch.bool)
    hidden_from[:, list(keys)] = True
    hidden_from &= ~torch.eye(tokens, dtype=torch.bool)
    off: Any = {"keeps": 0, "hides": 1}.get(kind, 0)
    if kind == "added" and mask.is_floating_point():
        off = torch.finfo(mask.dtype).min
    masked = torch.where(hidden_from, torch.full((), off, dtype=mask.dtype), mask)
    if name in named or name not in bound.arguments:
        return args, {**named, name: masked}
    place = list(inspect.signature(module.forward).parameters).index(name)
    return (*args[:place], masked, *args[place + 1 :]), named


def _twice(angles: np.ndarray) -> np.ndarray:
    return np.concatenate([angles, angles], axis=-1)


def _term(given: Mapping[str, Any], family: Family, scale: float, tokens: int) -> np.ndarray | None:
    """Return the term of the scores from positions, from the arguments of an attention; None if there is none.

    A library may put a share of the term into the mask, as Falcon's does: what a mask adds to the keys that may be seen
    is a part of it.
    """
    if given.get(family.term) is None:
        return None
    term = array(given[family.term])
    term = term.reshape(-1, *term.shape[-2:])[..., -tokens:] * (scale if family.term_is_scaled else 1.0)
    mask = given.get("attention_mask")
    if mask is not None and mask.is_floating_point():
        added = array(mask).reshape(-1, *mask.shape[-2:])[..., -tokens:]
        term = term + np.where(added < _MASKED, 0.0, added)
    return np.asarray(term)


def _switched(output: Any, off: frozenset[int] | bool, layer: int) -> Any:
    return output * 0.0 if off is True or (not isinstance(off, bool) and layer in off) else output
