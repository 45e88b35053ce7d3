"""``tokendyn inspect``: a trained model, or the states of one, measured as an interacting particle system."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tokendyn.errors import BadInputError
from tokendyn.experiments import Experiment, ProgressCallback
from tokendyn.words import some_are

if TYPE_CHECKING:
    from tokendyn.models.inputs import Inputs, Survey
    from tokendyn.models.inspection import Inspection
    from tokendyn.models.measuring import Settings
    from tokendyn.models.source import Model
    from tokendyn.runs.checkpoint import AnyCheckpoint, Checkpoint

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
        File of texts: CSV, TSV or JSON lines, or a folder of text files. They are measured one at a time.
    column
        Column of the file that holds the texts.
    images
        Image files, or folders of them, for a model of images; of a model with two parts, such as CLIP, the one for
        images is then meant.
    states
        Hidden states of any model in place of the model: npz or safetensors with states (layers + 1, tokens, dim); of
        several files, each has one text.
    tokens
        Largest number of tokens of a text; the rest is left out, with a note.
    ablate
        Parts switched off in turn, to measure their effect on the gathering: the attention of each layer; each head;
        or nothing.
    null
        What the model is compared with: a model of its shape with random weights, or nothing.
    ladder
        Run the model as a system of the theory too, its pieces switched on one by one.
    all_heads
        List properties of the weights of every head, without a text: temperature, spectra, words along its directions.
        Without text, texts and images, this alone, in seconds.
    double
        Compute in float64.
    part
        Half of a model that has both: encoder or decoder.
    seed
        Of the random weights.
    processes
        Measure texts in this many processes, of one thread each; the result is the same to the last bit.
    scheduler
        Address of a Dask scheduler, such as tcp://host:8786, in place of local processes.
    """

    command: ClassVar[str] = "inspect"
    unit: ClassVar[str] = "texts"
    resumes: ClassVar[bool] = True

    model: Path | None = dataclasses.field(default=None, kw_only=False)
    text: str | None = None
    texts: Path | None = None
    column: str = "text"
    images: list[Path] | None = None
    states: list[Path] | None = None
    tokens: int = 512
    ablate: Ablate = "layers"
    null: Null = "random"
    ladder: bool = True
    all_heads: bool = False
    double: bool = False
    part: str = ""
    seed: int = 0
    processes: int | None = None
    scheduler: str | None = None

    def folder(self) -> Path:
        """Return a folder that is named after the model, where the command runs."""
        given = self.model or (self.states[0] if self.states else Path("model"))
        return Path(f"{given.resolve().stem}-inspection")

    def outline(self) -> Sequence[str]:
        """Return a description of the inspection."""
        inputs = [name for name in ("text", "texts", "images") if getattr(self, name) is not None]
        problems = []
        if (self.model is None) == (self.states is None):
            problems.append("give `model` or `states`, and not both")
        if self.model is not None and len(inputs) != 1:
            problems.append("give one of `text`, `texts` and `images`" + ("" if inputs else ", or `all_heads`"))
        if self.states is not None and inputs:
            problems.append(f"`states` hold the tokens: `{inputs[0]}` does not apply")
        if self.states is not None and self.all_heads:
            problems.append("`all_heads` reads the weights: give the folder of the model")
        if self.states is not None and (self.processes, self.scheduler) != (None, None):
            problems.append("`processes` and `scheduler` are for models: `states` are measured in moments")
        if self.processes is not None and self.scheduler is not None:
            problems.append("`processes` are those of this machine; a cluster has its own (dask worker --help)")
        if self.processes is not None and self.processes < 1:
            problems.append(f"`processes` is {self.processes}; expected at least 1")
        if self.tokens < 4:
            problems.append(f"`tokens` is {self.tokens}; expected at least 4")
        if problems:
            raise BadInputError.all_of("inspect", problems)
        return ()

    def resolved(self) -> "Experiment[Any]":
        """Return the function that reads only the weights, if there is no input."""
        if self.model is None or not self.all_heads or (self.text, self.texts, self.images) != (None, None, None):
            return self
        from tokendyn.models.reading_heads import ReadingHeads

        return ReadingHeads(self.model, all_heads=True, double=self.double, part=self.part)

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
            Called with the number of texts measured, and the total number.
        checkpoint
            File for the measurements, from which the same run continues with bit-identical results.
        budget
            Not used.
        """
        self.outline()
        if self.states is not None:
            return inspect(list(self.states))
        assert self.model is not None
        try:
            return inspect(
                self.model, self._inputs, column=self.column, tokens=self.tokens, ablate=self.ablate, null=self.null,
                ladder=self.ladder, all_heads=self.all_heads, double=self.double, part=self._part, seed=self.seed,
                processes=self.processes, scheduler=self.scheduler, checkpoint=checkpoint, progress=progress,
            )  # fmt: skip
        except BadInputError as error:
            # The reader of texts speaks of its own argument `text`, which is another option here.
            if self.texts is None or "by `text`" not in str(error):
                raise
            raise BadInputError(str(error).replace("by `text`", "by `column`")) from None

    def write(self, result: "Inspection", folder: str | Path, *, command: str = "", overwrite: bool = False) -> None:
        """Write result, states, table of heads and page."""
        result.save(folder, command=command, overwrite=overwrite)

    @property
    def _inputs(self) -> Any:
        return self.text if self.text is not None else self.texts if self.texts is not None else self.images

    @property
    def _part(self) -> str:
        from tokendyn.models.images import has_images

        if self.part or self.images is None or self.model is None or not has_images(self.model):
            return self.part
        return "vision_model"


def inspect(
    model: Any,
    texts: Any = None,
    *,
    column: str = "text",
    tokens: int = 512,
    ablate: Ablate = "layers",
    null: Null = "random",
    ladder: bool = True,
    all_heads: bool = False,
    double: bool = False,
    part: str = "",
    seed: int = 0,
    processes: int | None = None,
    scheduler: str | None = None,
    out: str | Path | None = None,
    checkpoint: "AnyCheckpoint | None" = None,
    progress: Callable[[int, int], None] | None = None,
) -> "Inspection":
    """Look at a trained transformer as the particle system of the sources; ``td.inspect`` is this function.

    Texts are measured one at a time, and each leaves a row of numbers: memory does not grow with their number, but for
    the arrays of the result (some kilobytes a text).

    Parameters
    ----------
    model
        A folder with configuration, tokenizer and safetensors weights; a :class:`tokendyn.models.Model`; a model of the
        ``transformers`` library with eager attention; or hidden states: a file (npz, safetensors), what
        :func:`tokendyn.read_states` returned, an array ``(layers + 1, tokens, dim)``, or a list of these by text.
    texts
        One text, or several; a ``Path`` of a file of texts (CSV, TSV, JSON lines); numbers of tokens ``(tokens,)``;
        for a model of images pixels ``(channels, height, width)``, files, or a folder of files. None for hidden states.
    column
        Column of a file that holds the texts.
    tokens
        Tokens of a text at most; the model's own limit holds too.
    ablate
        ``"layers"`` switches off the attention of one layer after the other, ``"heads"`` each head too.
    null
        ``"random"`` compares with random weights of the same shape.
    ladder
        Run the model as a system of the theory too, its pieces switched on one by one.
    all_heads
        List the properties of the weights of every head in ``weights``. Without any text:
        :func:`tokendyn.models.head_table`.
    double
        Compute in float64.
    part
        ``"encoder"`` or ``"decoder"`` of a model with both.
    seed
        Of the random weights.
    processes
        Measure texts in this many processes of one thread each; the model is then given by its folder. The result is
        the same to the last bit, whatever their number.
    scheduler
        Address of a Dask scheduler, such as ``"tcp://host:8786"``, in place of local processes.
    out
        Folder to write the result to. While the texts are measured, what is done is kept beside it, and the same call
        goes on from there.
    checkpoint
        File for the finished part (``.safetensors``), instead of the file beside ``out``.
    progress
        Called with the number of texts measured, and the total number.

    Returns
    -------
    Tables of layers, heads, leaders, motion and ablations, with a verdict in sentences and a page.

    Raises
    ------
    BadInputError
        If the model cannot be used, a text is empty, or states are not finite.
    MissingLibraryError
        Without the extra ``models``, for a model.
    OutputError
        If ``out`` is there already.

    Examples
    --------
    >>> import numpy as np
    >>> import tokendyn as td
    >>> states = np.random.default_rng(0).normal(size=(3, 40, 16))
    >>> td.inspect(states).geometry["layer"].tolist()
    [0, 1, 2]
    """
    from tokendyn.models.streams import inspect_states, is_states
    from tokendyn.runs.checkpoint import Checkpoint, check_checkpoint
    from tokendyn.runs.folders import check_free

    if out is not None:
        check_free(out, overwrite=False)
        beside = Path(out).with_name(f"{Path(out).name}.rows.safetensors")
        check_checkpoint(None if checkpoint is not None else beside, Path(out))
        checkpoint = beside if checkpoint is None else checkpoint
    kept = Checkpoint.at(checkpoint)
    if is_states(model):
        if texts is not None:
            raise BadInputError("hidden states hold the tokens; texts is for models")
        seen = inspect_states(model)
    else:
        if processes is not None and processes < 1:
            raise BadInputError(f"processes is {processes}, expected at least 1")
        from tokendyn.models.images import are_files, image_inputs
        from tokendyn.models.inputs import inputs_of
        from tokendyn.models.measuring import Settings
        from tokendyn.models.weights import head_weights

        opened = _opened(model, double=double, part=part)
        files = texts is not None and opened.takes_images and are_files(texts)
        seen = _inspected(
            opened, image_inputs(opened, texts) if files else inputs_of(opened, texts, tokens, column),
            Settings(ablate=ablate, null=null, ladder=ladder, seed=seed), processes=processes, scheduler=scheduler,
            checkpoint=kept, progress=progress or _silent,
        )  # fmt: skip
        if all_heads:
            seen = dataclasses.replace(seen, head_weights=head_weights(opened))
    if out is not None:
        seen.save(out)
        if kept is not None and kept.path == beside:
            kept.remove()
    return seen


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
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    if dtype not in ("float32", "float64"):
        raise BadInputError(
            f"the model computes in {dtype}, too coarse for what is measured; call model.float() before"
        )
    return Model(model, source=type(model).__name__, part=part)


def _inspected(
    model: "Model",
    inputs: "Inputs",
    settings: "Settings",
    *,
    processes: int | None,
    scheduler: str | None,
    checkpoint: "Checkpoint | None",
    progress: Callable[[int, int], None],
) -> "Inspection":
    """Measure inputs, and the reference texts where those are too few to be each other's null."""
    import time

    from tokendyn.models.corpus import LEAST_TEXTS, reference_texts
    from tokendyn.models.inputs import SAMPLE
    from tokendyn.models.inspection import Inspection
    from tokendyn.models.measuring import Measurer, Recipe, Workers, measure_all, model_digest, run_here
    from tokendyn.runs.provenance import provenance

    began = time.perf_counter()
    survey = inputs.survey()
    count = len(survey.lengths)
    by_reference = count < LEAST_TEXTS and survey.are_texts and model.has_tokenizer
    if count == 1 and not by_reference:
        raise BadInputError("one input has no others to compare it with; give two or more, or a model with a tokenizer")
    others = model.encode(reference_texts()) if by_reference else []
    identity = () if checkpoint is None else (_libraries(), settings, survey.digest, count, model_digest(model))
    sample = (*survey.sample, *others)[:SAMPLE]
    workers = None
    if processes is not None or scheduler is not None:
        workers = Workers(Recipe.of(model, settings, sample, survey.digest), model.bytes, processes, scheduler)
    try:
        measured = measure_all(
            inputs, count, others, run_here(Measurer(model, settings, sample)) if workers is None else workers.run,
            checkpoint=checkpoint, identity=identity, progress=progress,
        )  # fmt: skip
    finally:
        if workers is not None:
            workers.close()
    states = measured.first["states"]
    record = {"ablate": settings.ablate, "null": settings.null, "model_type": model.model_type, "part": model.part}
    return Inspection(
        source=model.source, family="" if model.family is None else model.family.name,
        tokens=survey.names or tuple(map(str, range(states.shape[1]))),  # pieces of an image have no names
        lengths=tuple(length or states.shape[1] for length in survey.lengths),
        **measured.first, **measured.arrays, by_reference=by_reference, notes=_notes(model, survey),
        provenance=provenance(record, seed=settings.seed, seconds=time.perf_counter() - began),
    )  # fmt: skip


def _libraries() -> dict[str, str]:
    """Return the versions on which the bits of a measure depend."""
    from importlib.metadata import version

    return {name: version(name) for name in ("tokendyn", "transformers", "torch", "numpy")}


def _notes(model: "Model", survey: "Survey") -> tuple[str, ...]:
    notes = []
    if survey.cut:
        kept, left_out = survey.longest
        notes.append(
            f"{some_are(survey.cut, len(survey.lengths), 'text')} cut at {kept} tokens; "
            f"of the longest {left_out} tokens are left out"
        )
    if model.family is None:
        notes.append(model.unknown)
    elif model.not_bilinear:
        notes.append(f"the scores of heads are not compared with the bilinear form of theory: {model.not_bilinear}")
    notes.append("the first token of each text is left out of cosines, ranks and motion: it is far larger in decoders")
    return tuple(notes)


def _silent(_done: int, _total: int) -> None:
    """Ignore progress."""
