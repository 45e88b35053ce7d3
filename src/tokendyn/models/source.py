"""A trained model that is opened from a folder, or given, and run on texts with hooks on its blocks."""

import copy
import inspect
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from tokendyn.data.tokenizing import Cut, cut_texts
from tokendyn.errors import BadInputError, MissingLibraryError
from tokendyn.models.families import Family, family_of
from tokendyn.models.folder import RULES, check_folder
from tokendyn.models.parts import (
    BlockNorms,
    HeadMatrices,
    Norm,
    array,
    blocks_of,
    found,
    head_count,
    read_heads,
    read_norm,
    submodule,
)
from tokendyn.models.tracing import Ablation, LayerView, Tracer, mask_name, of_pairs
from tokendyn.optional import library, missing

#: Halves of a model that has both, where its family is not known.
_HALVES = ("encoder", "decoder")
#: Settings with the largest number of tokens of a model.
_LENGTHS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_seq_length")
#: Families that count places of tokens from behind the padding token, so that they take two fewer.
_PADDED_PLACES = {"roberta", "camembert", "xlm-roberta", "mpnet", "data2vec-text"}


@dataclass(frozen=True)
class Encoded:
    """One input of a model.

    Attributes
    ----------
    ids
        ``(tokens,)`` numbers of tokens, or ``(channels, height, width)`` of an image.
    names
        The tokens as the tokenizer writes them.
    added
        Which of them the tokenizer adds, such as [CLS].
    left_out
        How many tokens at the end are cut, since the model takes no more.
    """

    ids: np.ndarray
    names: tuple[str, ...]
    added: tuple[bool, ...]
    left_out: int = 0


@dataclass(frozen=True)
class Run:
    """What one input gave.

    Attributes
    ----------
    states
        ``(layers + 1, tokens, dim)``: before the first and after each block, without the norm behind the last one.
    outputs
        What each block returned, from which :meth:`Model.run` can start.
    """

    states: Float[np.ndarray, "layers_and_one tokens dim"]
    outputs: tuple[Any, ...]


class Model:
    """A trained model of the ``transformers`` library.

    Parameters
    ----------
    module
        The model. Its attention must be eager, since other implementations return no weights.
    rules
        ``tokenizer.json``; None where texts are not needed.
    source
        What to call it in messages.
    part
        ``"encoder"`` or ``"decoder"`` of a model with both; by default the encoder.

    Raises
    ------
    BadInputError
        If the blocks cannot be found.
    """

    def __init__(self, module: Any, rules: Path | None = None, source: str = "model", part: str = "") -> None:
        whole = module
        family = family_of(str(whole.config.model_type))
        self.part = part
        base = getattr(whole, "base_model", whole)
        halves = family.part if family is not None else _HALVES if whole.config.is_encoder_decoder else ()
        if halves:
            self.part, base = _part(base, halves, part)
        self.module, self.family, self.rules, self.source = base, family, rules, source
        self.config = base.config
        self.model_type = str(self.config.model_type)
        family = family_of(self.model_type) or family
        self.family = _adjusted(family, self.config)
        if self.family is None:
            self.blocks = _longest_list(base, source)
        else:
            self.blocks = blocks_of(base, self.family.layers)
        base.eval()

    @property
    def dim(self) -> int:
        """Dimension of the tokens."""
        return int(getattr(self.config, "hidden_size", 0) or self.config.d_model)

    @property
    def heads(self) -> int:
        """Number of heads of a layer."""
        return head_count(self.config, self.part)

    @property
    def bytes(self) -> int:
        """Bytes of its weights."""
        return sum(weight.numel() * weight.element_size() for weight in self.module.parameters())

    @property
    def is_double(self) -> bool:
        """Whether it computes in float64."""
        return next(self.module.parameters()).element_size() == 8

    @property
    def takes_images(self) -> bool:
        """Whether its inputs are pixels, and no tokens."""
        return "pixel_values" in self._accepted and "input_ids" not in self._accepted

    @property
    def has_tokenizer(self) -> bool:
        """Whether it cuts texts into tokens; without one it takes numbers of tokens."""
        return self.rules is not None and self.rules.is_file()

    @property
    def most_tokens(self) -> int | None:
        """Largest number of tokens of the model; None if its configuration has none."""
        most = next((int(value) for name in _LENGTHS if (value := getattr(self.config, name, None))), None)
        if most is None or self.model_type not in _PADDED_PLACES:
            return most
        return most - 1 - int(getattr(self.config, "pad_token_id", None) or 0)

    @property
    def causal(self) -> bool:
        """Whether tokens see only those before them."""
        return bool(self._causal)

    @cached_property
    def _causal(self) -> bool:
        seen: list[np.ndarray] = []

        def look(view: LayerView) -> None:
            if view.attention is not None:
                seen.append(np.abs(np.triu(view.attention, 1)).max(keepdims=True))

        self.run(self.blank(8), visit=look)
        return bool(seen) and float(np.max(seen)) == 0.0

    def blank(self, tokens: int) -> Encoded:
        """Return an input of some tokens, for a look at the model."""
        ids = np.arange(tokens, dtype=np.int64) % max(int(getattr(self.config, "vocab_size", tokens)), 1)
        return Encoded(ids=ids, names=tuple(map(str, ids)), added=(False,) * tokens)

    def encode(self, texts: Sequence[str], most: int | None = None) -> list[Encoded]:
        """Return texts as tokens, by the model's own tokenizer without padding and truncation.

        Parameters
        ----------
        texts
            With words in them.
        most
            Largest number of tokens of a text; by default that of the model. A last token added by the tokenizer stays.

        Raises
        ------
        BadInputError
            For empty texts, a model without ``tokenizer.json``, or tokens that the model does not have.
        """
        empty = [str(number) for number, text in enumerate(texts) if not text.strip()]
        if empty or not texts:
            where = f"texts {', '.join(empty[:10])} are empty" if len(texts) > 1 else "the text is empty"
            raise BadInputError(f"{where}; give texts with words" if texts else "there are no texts; give one")
        if self.rules is None or not self.has_tokenizer:
            raise BadInputError(
                f"{self.source} has no {RULES}, which cuts texts into tokens; write it with "
                "AutoTokenizer.from_pretrained(folder).save_pretrained(folder), or give numbers of tokens"
            )
        limit = min((number for number in (most, self.most_tokens) if number is not None), default=None)
        return [self._encoded(cut, limit) for cut in cut_texts(self.rules, texts)]

    def _encoded(self, cut: Cut, limit: int | None) -> Encoded:
        names, added = cut.names, cut.added
        if sum(added) == len(added):
            raise BadInputError("a text has no token, only those that the tokenizer adds; give texts with words")
        ids = np.array(cut.ids, dtype=np.int64)
        most = int(getattr(self.config, "vocab_size", ids.max() + 1))
        if ids.max() >= most:
            raise BadInputError(f"{self.rules} numbers tokens up to {ids.max()}, the model has {most}")
        over = 0 if limit is None else max(len(ids) - limit, 0)
        if over:
            # The tokenizer ends a text with a token such as [SEP], which a model expects at the end.
            closing = 1 if added[-1] else 0
            keep = [*range(len(ids) - over - closing), *range(len(ids) - closing, len(ids))]
            ids, names, added = ids[keep], tuple(names[k] for k in keep), tuple(added[k] for k in keep)
        return Encoded(ids=ids, names=names, added=added, left_out=over)

    def run(
        self,
        encoded: Encoded,
        *,
        visit: Callable[[LayerView], None] | None = None,
        ablation: Ablation | None = None,
        start: tuple[int, Run] | None = None,
    ) -> Run:
        """Run the model on one input.

        Parameters
        ----------
        encoded
            The input.
        visit
            Called after each block: its states, its attention, and the outputs of its parts. Nothing of a
            block is kept.
        ablation
            What is switched off.
        start
            A layer, and an earlier run on the same input: the blocks before that layer are not computed again.

        Raises
        ------
        BadInputError
            If the states are not finite.
        """
        import torch

        ablation = ablation or Ablation()
        size = self._head_size if ablation.heads else 0
        scale = self.layers[0].scale if self.family is not None and self.family.term_is_scaled else 1.0
        known = self.family is not None
        tracer = Tracer(self.blocks, self.family, ablation, visit if known else None, size, scale)
        with torch.inference_mode(), self._settings(), tracer.attached(), self._skipped(start):
            given = self.module(**self._inputs(encoded, public=not known))
        states = tracer.all_states() if known else self._public_states(given, tracer)
        if not np.isfinite(states).all():
            raise BadInputError(f"{self.source}: {self._not_finite()}")
        if visit is not None and not known:
            _visit_public(states, given, visit)
        return Run(states=states, outputs=tuple(tracer.outputs))

    def _not_finite(self) -> str:
        """Return the reason for states that are not finite, and a remedy."""
        for name, weight in self.module.named_parameters():
            if not weight.isfinite().all():
                return f"{name} holds NaN or infinity: its weights are damaged; get the model again"
        more = "; its weights are too large" if self.is_double else "; run it with double=True"
        return f"states are NaN or infinite{more}"

    def _public_states(self, given: Any, tracer: Tracer) -> np.ndarray:
        """Return the states of an unknown family: those of its blocks if they agree with the output of the model.

        Blocks give the last state without the norm behind it; but in a family that is not known a list of modules need
        not be the blocks, nor take tokens as rows.
        """
        returned = getattr(given, "hidden_states", None)
        traced = tracer.all_states() if tracer.outputs else None
        if returned is None and traced is None:
            raise BadInputError(f"{self.source} returns no hidden states; write them yourself, and give the file")
        if returned is None:
            return np.asarray(traced)
        public = np.stack([array(layer[0]) for layer in returned])
        if traced is None or traced.shape != public.shape:
            return public
        left = [output[0] if isinstance(output, tuple) else output for output in tracer.outputs[:-1]]
        are_blocks = np.allclose(traced[:-1], public[:-1], rtol=1e-3, atol=1e-3) and all(
            np.allclose(array(output[0]), state, rtol=1e-3, atol=1e-3)
            for output, state in zip(left, public[1:-1], strict=True)
        )
        return traced if are_blocks else public

    def _inputs(self, encoded: Encoded, *, public: bool = False) -> dict[str, Any]:
        import torch

        ids = torch.as_tensor(encoded.ids)[None]
        if encoded.ids.ndim == 3:
            dtype = next(self.module.parameters()).dtype
            return {"pixel_values": ids.to(dtype)}
        inputs: dict[str, Any] = {"input_ids": ids}
        if "use_cache" in self._accepted:
            inputs["use_cache"] = False
        if public or (self.family is not None and self.family.asks):
            inputs["output_attentions"] = True
        if public:
            inputs["output_hidden_states"] = True
        return inputs

    @property
    def takes_mask(self) -> bool:
        """Whether tokens can be masked as keys."""
        return self.family is not None and bool(mask_name(submodule(self.blocks[0], self.family.attention)))

    @cached_property
    def _accepted(self) -> frozenset[str]:
        return frozenset(inspect.signature(self.module.forward).parameters)

    @cached_property
    def _head_size(self) -> int:
        return self.layers[0].query.shape[1]

    @contextmanager
    def _settings(self) -> Iterator[None]:
        """Switch the cache off in the configuration while the model runs."""
        before = getattr(self.config, "use_cache", None)
        if before is not None:
            self.config.use_cache = False
        try:
            yield
        finally:
            if before is not None:
                self.config.use_cache = before

    @contextmanager
    def _skipped(self, start: tuple[int, Run] | None) -> Iterator[None]:
        """Let the blocks before a layer return their outputs of an earlier run."""
        if start is None or "*" in (self.family.layers if self.family else ""):
            yield
            return
        layer, earlier = start
        skipped = self.blocks[:layer]
        try:
            for block, output in zip(skipped, earlier.outputs, strict=False):
                block.forward = _returning(output)
            yield
        finally:
            for block in skipped:
                vars(block).pop("forward", None)

    @cached_property
    def layers(self) -> list[HeadMatrices]:
        """The matrices of the heads of each layer, in the order of the blocks that the model calls."""
        if self.family is None:
            raise BadInputError(self.unknown)
        return [
            read_heads(block, self.family, self.config, layer, self.part) for layer, block in enumerate(self.called)
        ]

    @cached_property
    def called(self) -> list[Any]:
        """The blocks in the order in which the model calls them; shared ones several times."""
        if self.family is None or "*" not in self.family.layers:
            return self.blocks
        order: list[Any] = []
        handles = [block.register_forward_pre_hook(lambda module, _: order.append(module)) for block in self.blocks]
        try:
            self.run(self.blank(3))
        finally:
            for handle in handles:
                handle.remove()
        return order

    @property
    def not_bilinear(self) -> str:
        """Reason why the scores are not a bilinear form of the input of a layer; empty if they are.

        Rotations by places, and a term that depends on places alone, leave them one.
        """
        if self.not_a_system:
            return self.not_a_system
        if any(norm is not None for norm in self.score_norms[0]):
            return "its queries and keys are normalised"
        return "its scores are capped" if self.cap else ""

    @property
    def not_a_system(self) -> str:
        """Why the model is not stated as a system of residual layers; empty if it is."""
        if self.family is None:
            return self.unknown
        if self.family.positions == "disentangled":
            return "its scores have products of tokens with codes of distances, which hooks do not see"
        if self.family.positions == "rotary pairs" and not self._turned:
            return "it turns its queries and keys inside its attention, where no hook sees the angles"
        return ""

    @cached_property
    def _turned(self) -> bool:
        views: list[LayerView] = []
        self.run(self.blank(3), visit=views.append)
        return views[0].rotation is not None

    @property
    def cap(self) -> float:
        """``c`` of scores ``c tanh(s / c)``; 0 where they are not capped."""
        return float(getattr(self.config, "attn_logit_softcapping", None) or 0.0)

    @cached_property
    def score_norms(self) -> list[tuple[Norm | None, Norm | None]]:
        """The norms of queries and keys of each block; None where there is none."""
        if self.family is None:
            return []
        attentions = [submodule(block, self.family.attention) for block in self.called]
        return [(self._norm(part, "q_norm", "q_layernorm"), self._norm(part, "k_norm", "k_layernorm"))
                for part in attentions]  # fmt: skip

    @property
    def unknown(self) -> str:
        """Message for a missing family."""
        return (
            f"{self.source} is of the family {self.model_type!r}, whose parts are not known: its states are there, and "
            "its attention where it returns it, but nothing that needs its parts; name them with "
            "td.register_family(td.models.Family(...))"
        )

    @cached_property
    def norms(self) -> list[BlockNorms]:
        """The norms of each block, as formulas; read once, since reading a norm calls it."""
        if self.family is None:
            return []
        sums = [tuple(self._norm(block, path) for path in (self.family.attention_norm, self.family.feed_forward_norm))
                for block in self.called]  # fmt: skip
        fronts = [self._front(layer, sums) for layer in range(len(sums))]
        middles = [self._norm(block, *self.family.middle) for block in self.called]
        return [
            BlockNorms(front=front, middle=middle, attention=attention, feed_forward=feed_forward)
            for front, middle, (attention, feed_forward) in zip(fronts, middles, sums, strict=True)
        ]

    def _front(self, layer: int, sums: list[Any]) -> Norm | None:
        """Return the norm whose output the attention of a layer reads."""
        family = self.family
        assert family is not None
        if family.order != "post":
            return self._norm(self.called[layer], *family.norm)
        if layer:
            norm: Norm | None = sums[layer - 1][1]
            return norm
        widened = getattr(self.module, "embeddings_project", None)  # ELECTRA widens its embeddings behind the norm
        return None if widened is not None else self._norm(self.module, family.first)

    @staticmethod
    def _norm(module: Any, *paths: str) -> Norm | None:
        """Return the norm at the first path that exists; None where there is none."""
        modules = (found(module, path) for path in paths if path)
        norm = next((inner for inner in modules if inner is not None), None)
        if norm is None:
            return None
        formula = read_norm(norm)
        if formula is None:
            raise BadInputError(f"{type(norm).__name__} is a norm that is neither LayerNorm nor RMSNorm")
        return formula

    def with_random_weights(self, seed: int) -> "Model":
        """Return a model of the same shape with the random weights that its library starts training from."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fresh = type(self.module)(copy.deepcopy(self.config))
        dtype = next(self.module.parameters()).dtype
        model = copy.copy(self)
        for name in ("layers", "norms", "score_norms", "called", "_causal", "_turned", "_accepted", "_head_size"):
            vars(model).pop(name, None)
        model.module = fresh.to(dtype).eval()
        family = self.family
        model.blocks = blocks_of(fresh, family.layers) if family else _longest_list(fresh, self.source)
        return model


def open_model(folder: str | Path, *, double: bool = False, part: str = "") -> Model:
    """Open a trained model from a folder, without network and without running any code that came with it.

    Parameters
    ----------
    folder
        With ``config.json``, safetensors weights and, for texts, ``tokenizer.json``.
    double
        Compute in float64; twice the memory.
    part
        ``"encoder"`` or ``"decoder"`` of a model with both.

    Raises
    ------
    BadInputError
        For a folder that cannot be used; see :func:`tokendyn.models.folder.check_folder`.
    MissingLibraryError
        Without the extra ``models``.
    """
    for name in ("torch", "transformers"):
        if lacking := missing(name):
            raise MissingLibraryError(f'{lacking.partition(":")[0]}: pip install "tokendyn[models]"')
    check_folder(folder, double=double)
    transformers, torch = library("transformers"), library("torch")
    with quiet():
        try:
            module, loading = transformers.AutoModel.from_pretrained(
                str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=False,
                attn_implementation="eager", dtype=torch.float64 if double else torch.float32, output_loading_info=True,
            )  # fmt: skip
        except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise BadInputError(f"{folder} cannot be read by the transformers library ({reason})") from None
    model = Model(module, Path(folder) / RULES, Path(folder).resolve().name, part)
    _check_trained(model, module, loading["missing_keys"])
    return model


def _check_trained(model: Model, whole: Any, lacking: Collection[str]) -> None:
    """Refuse a model with a weight that no file holds: the library fills it with random numbers.

    A pooler, or the unused half, may be random: it moves no token.
    """
    import torch

    embeddings = [module for module in model.module.modules() if isinstance(module, torch.nn.Embedding)]
    own = {id(weight) for module in (*model.blocks, *embeddings) for weight in module.parameters()}
    lost = sorted(name for name, weight in whole.named_parameters() if name in lacking and id(weight) in own)
    if lost:
        raise BadInputError(
            f"{model.source}: {len(lost)} weights of its layers are in no file, such as {lost[0]}, and would be "
            "random; save the whole model under the names of its library: model.save_pretrained(folder)"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the library from printing progress and advice."""
    logging = library("transformers").logging
    level = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _part(base: Any, halves: Sequence[str], part: str) -> tuple[str, Any]:
    """Return the requested part of a model, or its first part; a part that is given is returned unchanged."""
    known = {name: found(base, name) for name in halves}
    known = {name: module for name, module in known.items() if module is not None}
    if part and part not in known and known:
        raise BadInputError(f"part is {part!r}, expected one of {', '.join(known)}")
    if not known:
        return part, base
    chosen = part or next(iter(known))
    return chosen, known[chosen]


def _adjusted(family: Family | None, config: Any) -> Family | None:
    """Return a family as a configuration switches its order and its positions."""
    from dataclasses import replace

    if family is None:
        return None
    if family.name == "OPT" and not config.do_layer_norm_before:
        return replace(
            family, order="post", norm=(), attention_norm="self_attn_layer_norm",
            feed_forward_norm="final_layer_norm",
        )  # fmt: skip
    if family.name == "GPT-NeoX" and not config.use_parallel_residual:
        return replace(family, order="pre")
    if family.name == "Falcon":
        parallel = config.parallel_attn or config.new_decoder_architecture
        places: dict[str, Any] = {"positions": "alibi", "term": "alibi", "term_is_scaled": True} if config.alibi else {}
        return replace(family, order="parallel" if parallel else "pre", **places)
    return family


def _visit_public(states: np.ndarray, given: Any, visit: Callable[[LayerView], None]) -> None:
    """Show the blocks of a family that is not known, with the attention that the model returns."""
    weights = getattr(given, "attentions", None) or ()
    for number in range(len(states) - 1):
        view = LayerView(layer=number, entering=states[number])
        view.leaving = states[number + 1]
        if len(weights) == len(states) - 1 and of_pairs(weights[number]):
            view.attention = weights[number][0].detach().cpu().numpy()
        visit(view)


def _longest_list(base: Any, source: str) -> list[Any]:
    """Return the longest list of blocks of one class, for a family that is not known."""
    import torch

    lists = [
        module for module in base.modules()
        if isinstance(module, torch.nn.ModuleList) and len({type(block) for block in module}) == 1
    ]  # fmt: skip
    if not lists:
        raise BadInputError(f"{source}: no list of blocks is found in it; it is no transformer")
    return list(max(lists, key=lambda blocks: len(list(blocks))))


def _returning(output: Any) -> Callable[..., Any]:
    return lambda *_args, **_named: output
