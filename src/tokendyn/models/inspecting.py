"""``tokendyn inspect``: a trained model, or the states of one, measured as an interacting particle system."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tokendyn.errors import BadInputError
from tokendyn.experiments import Experiment, ProgressCallback

if TYPE_CHECKING:
    from tokendyn.models.inspection import Inspection
    from tokendyn.models.measures import TextMeasures
    from tokendyn.models.source import Encoded, Model
    from tokendyn.models.tracing import Ablation
    from tokendyn.runs.checkpoint import Checkpoint

Ablate = Literal["layers", "heads", "none"]
Null = Literal["random", "none"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inspecting(Experiment["Inspection"]):
    """A trained transformer as a particle system: do its tokens gather, who leads, how cold is each head.

    Parameters
    ----------
    model
        Folder with config.json, tokenizer.json and safetensors weights; no name on a hub, nothing is downloaded.
    text
        One text.
    texts
        File of texts: CSV, TSV, JSON lines, plain text, or a folder of text files.
    column
        Column of the file that holds the texts.
    states
        Hidden states of any model in place of the model: npz or safetensors with states (layers + 1, tokens, dim).
    tokens
        Tokens of a text at most; the rest of it is left out, and said.
    ablate
        What is switched off in turn, to see what the gathering owes to it: the attention of each layer; each head too;
        or nothing.
    null
        What the model is compared with: a model of its shape with random weights, or nothing.
    ladder
        Run the model as a system of the theory too, its pieces switched on one by one.
    all_heads
        List what the weights of every head tell without a text: temperature, spectra, words along its directions.
    double
        Compute in float64.
    part
        Half of a model that has both: encoder or decoder.
    seed
        Of the random weights.
    """

    command: ClassVar[str] = "inspect"
    unit: ClassVar[str] = "texts"

    model: Path | None = dataclasses.field(default=None, kw_only=False)
    text: str | None = None
    texts: Path | None = None
    column: str = "text"
    states: Path | None = None
    tokens: int = 512
    ablate: Ablate = "layers"
    null: Null = "random"
    ladder: bool = True
    all_heads: bool = False
    double: bool = False
    part: str = ""
    seed: int = 0

    def folder(self) -> Path:
        """Return a folder that is named after the model, where the command runs."""
        given = self.model or self.states or Path("model")
        return Path(f"{given.resolve().stem}-inspection")

    def outline(self) -> Sequence[str]:
        """Return what will be looked at."""
        problems = []
        if (self.model is None) == (self.states is None):
            problems.append("give `model` or `states`, and not both")
        if self.model is not None and (self.text is None) == (self.texts is None):
            problems.append("give `text` or `texts`, and not both")
        if self.states is not None and (self.text is not None or self.texts is not None):
            problems.append("`states` hold the tokens: `text` and `texts` do not apply")
        if self.tokens < 4:
            problems.append(f"`tokens` is {self.tokens}; expected at least 4")
        if problems:
            raise BadInputError.all_of("inspect", problems)
        return ()

    def run(
        self,
        *,
        progress: ProgressCallback | None = None,
        checkpoint: "Checkpoint | Path | str | None" = None,
        budget: float | None = None,
    ) -> "Inspection":
        """Measure every text.

        Parameters
        ----------
        progress
            Called with how many texts are measured, and how many there are.
        checkpoint, budget
            Not used.
        """
        self.outline()
        if self.states is not None:
            return inspect(self.states, seed=self.seed)
        assert self.model is not None
        return inspect(
            self.model, self._texts, tokens=self.tokens, ablate=self.ablate, null=self.null, ladder=self.ladder,
            all_heads=self.all_heads, double=self.double,
            part=self.part, seed=self.seed, progress=progress,
        )  # fmt: skip

    def write(self, result: "Inspection", folder: str | Path, *, command: str = "", overwrite: bool = False) -> None:
        """Write result, states, table of heads and page."""
        result.save(folder, command=command, overwrite=overwrite)

    @cached_property
    def _texts(self) -> list[str]:
        """The texts, read once."""
        from tokendyn.data.texts import read_texts

        if self.text is not None:
            return [self.text]
        assert self.texts is not None
        try:
            return list(read_texts(self.texts, self.column, None).texts)
        except BadInputError as error:
            # The reader speaks of its own argument `text`, which is another option here.
            raise BadInputError(str(error).replace("by `text`", "by `column`")) from None


def inspect(
    model: Any,
    texts: Any = None,
    *,
    tokens: int = 512,
    ablate: Ablate = "layers",
    null: Null = "random",
    ladder: bool = True,
    all_heads: bool = False,
    double: bool = False,
    part: str = "",
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> "Inspection":
    """Look at a trained transformer as the particle system of the sources; ``td.inspect`` is this function.

    Parameters
    ----------
    model
        A folder with configuration, tokenizer and safetensors weights; a :class:`tokendyn.models.Model`; a model of the
        ``transformers`` library with eager attention; or hidden states: a file (npz, safetensors), what
        :func:`tokendyn.read_states` returned, or an array ``(layers + 1, tokens, dim)``.
    texts
        One text, or several; or numbers of tokens ``(tokens,)``, or pixels ``(channels, height, width)``, of each
        input. None for hidden states.
    tokens
        Tokens of a text at most; the model's own limit holds too.
    ablate
        ``"layers"`` switches off the attention of one layer after the other, ``"heads"`` each head too.
    null
        ``"random"`` compares with random weights of the same shape.
    ladder
        Run the model as a system of the theory too, its pieces switched on one by one.
    all_heads
        List what the weights of every head tell without a text, in ``weights``.
    double
        Compute in float64.
    part
        ``"encoder"`` or ``"decoder"`` of a model with both.
    seed
        Of the random weights.
    progress
        Called with how many texts are measured, and how many there are.

    Returns
    -------
    Tables of layers, heads, leaders, motion and ablations, with a verdict in sentences and a page.

    Raises
    ------
    BadInputError
        If the model cannot be used, a text is empty, or states are not finite.
    MissingLibraryError
        Without the extra ``models``, for a model.

    Examples
    --------
    >>> import numpy as np
    >>> import tokendyn as td
    >>> states = np.random.default_rng(0).normal(size=(3, 40, 16))
    >>> td.inspect(states).geometry["layer"].tolist()
    [0, 1, 2]
    """
    from tokendyn.models.streams import inspect_states, is_states

    if is_states(model):
        if texts is not None:
            raise BadInputError("hidden states hold the tokens; texts is for models")
        return inspect_states(model)
    opened = _opened(model, double=double, part=part)
    inputs = _inputs(opened, texts, tokens)
    seen = _inspected(opened, inputs, ablate=ablate, null=null, ladder=ladder, seed=seed, progress=progress)
    if not all_heads:
        return seen
    from tokendyn.models.weights import head_weights

    return dataclasses.replace(seen, head_weights=head_weights(opened))


def _opened(model: Any, *, double: bool, part: str) -> "Model":
    from tokendyn.models.source import Model, open_model

    if isinstance(model, Model):
        return model
    if isinstance(model, str | Path):
        return open_model(model, double=double, part=part)
    if not hasattr(model, "config") or not hasattr(model, "named_modules"):
        raise BadInputError(
            f"model is {type(model).__name__}, expected a folder or a model of the transformers library"
        )
    if getattr(model.config, "_attn_implementation", "eager") != "eager":
        raise BadInputError(
            "the model returns no attention weights; call model.set_attn_implementation('eager') before"
        )
    return Model(model, source=type(model).__name__, part=part)


def _inputs(model: "Model", texts: Any, tokens: int) -> "list[Encoded]":
    """Return the inputs of a model, long enough to be measured."""
    import numpy as np

    from tokendyn.models.measures import LEAST_TOKENS
    from tokendyn.models.source import Encoded

    if texts is None:
        raise BadInputError("texts is None; give one text or several")
    several = [texts] if isinstance(texts, str) or (isinstance(texts, np.ndarray) and texts.ndim in (1, 3)) else texts
    several = list(several)
    if several and isinstance(several[0], str):
        inputs = model.encode([str(text) for text in several], tokens)
    else:
        inputs = []
        for entry in several:
            ids = np.asarray(entry)
            names = tuple(map(str, ids[:tokens])) if ids.ndim == 1 else ()
            inputs.append(Encoded(ids=ids[:tokens] if ids.ndim == 1 else ids, names=names, added=(False,) * len(names)))
    if not inputs:
        raise BadInputError("there are no texts; give one")
    short = [number for number, entry in enumerate(inputs) if entry.ids.ndim == 1 and len(entry.ids) < LEAST_TOKENS]
    if short:
        raise BadInputError(
            f"text {short[0]} has {len(inputs[short[0]].ids)} tokens; expected {LEAST_TOKENS} or more, since the first "
            "one is left out"
        )
    return inputs


def _inspected(
    model: "Model", inputs: "list[Encoded]", *, ablate: Ablate, null: Null, ladder: bool, seed: int,
    progress: Callable[[int, int], None] | None,
) -> "Inspection":  # fmt: skip
    """Measure inputs, and the reference texts where those are too few to be each other's null."""
    import time

    from tokendyn.models.corpus import LEAST_TEXTS, combined, reference_texts
    from tokendyn.models.inspection import Inspection
    from tokendyn.models.ladder import add_ladder
    from tokendyn.models.measures import measure_reference, measure_text
    from tokendyn.models.nulls import model_pool
    from tokendyn.runs.provenance import provenance

    began = time.perf_counter()
    random = model.with_random_weights(seed) if null == "random" else None
    ablations = _ablations(model, ablate)
    by_reference = len(inputs) < LEAST_TEXTS and inputs[0].ids.ndim == 1 and model.rules is not None
    if len(inputs) == 1 and not by_reference:
        raise BadInputError("one input has no others to compare it with; give two or more, or a model with a tokenizer")
    others = model.encode(reference_texts()) if by_reference else []
    pool = model_pool(model, [*inputs, *others])
    total = len(inputs) + len(others)
    tell = progress or _silent
    tell(0, total)
    measured: list[TextMeasures] = []
    for number, encoded in enumerate(inputs):
        measured.append(measure_text(model, encoded, random=random, ablations=ablations, pool=pool))
        if ladder:
            add_ladder(model, encoded, measured[-1])
        tell(number + 1, total)
    references: list[TextMeasures] = []
    for number, encoded in enumerate(others):
        references.append(measure_reference(model, encoded, random=random, ablations=ablations))
        tell(len(inputs) + number + 1, total)
    settings = {"ablate": ablate, "null": null, "model_type": model.model_type, "part": model.part}
    return Inspection(
        source=model.source, family="" if model.family is None else model.family.name, tokens=inputs[0].names,
        lengths=tuple(len(entry.tokens) or measured[0].states.shape[1] for entry in measured),
        states=measured[0].states, received=measured[0].received, sinks=measured[0].sinks,
        **combined(measured, references), by_reference=by_reference, notes=_notes(model, inputs),
        provenance=provenance(settings, seed=seed, seconds=time.perf_counter() - began),
    )  # fmt: skip


def _ablations(model: "Model", ablate: Ablate) -> "list[tuple[str, int, Ablation]]":
    from tokendyn.models.measures import head_ablations, layer_ablations

    if ablate == "none" or model.family is None:
        return []
    return layer_ablations(model) + (head_ablations(model) if ablate == "heads" else [])


def _notes(model: "Model", inputs: "list[Encoded]") -> tuple[str, ...]:
    notes = []
    cut = [entry for entry in inputs if entry.left_out]
    if cut:
        longest = max(cut, key=lambda entry: entry.left_out)
        notes.append(
            f"{len(cut)} of {len(inputs)} texts are cut at {len(longest.ids)} tokens; of the longest "
            f"{longest.left_out} tokens are left out"
        )
    if model.family is None:
        notes.append(model.unknown)
    elif model.not_bilinear:
        notes.append(f"the scores of heads are not compared with the bilinear form of theory: {model.not_bilinear}")
    notes.append("the first token of each text is left out of cosines, ranks and motion: it is far larger in decoders")
    return tuple(notes)


def _silent(_done: int, _total: int) -> None:
    """Ignore progress."""
