"""All measures of all inputs: one input at a time, in this process or in several, and from where a stopped run was."""

import functools
import hashlib
import itertools
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tokendyn.errors import BadInputError
from tokendyn.models.corpus import combined
from tokendyn.models.families import FAMILIES, Family, family_of, register_family
from tokendyn.models.inputs import Inputs
from tokendyn.models.ladder import add_ladder
from tokendyn.models.layout import BY_TOKEN, Layout, Table
from tokendyn.models.measures import TextMeasures, head_ablations, layer_ablations, measure_reference, measure_text
from tokendyn.models.nulls import Pool, model_pool
from tokendyn.models.source import Encoded, Model, open_model
from tokendyn.models.tracing import Ablation
from tokendyn.runs.checkpoint import Checkpoint, State
from tokendyn.runs.memory import check_memory
from tokendyn.runs.rows import Rows, new_rows, open_rows
from tokendyn.runs.scheduler import Crew, WorkerDiedError, dask_executor, end_dask, end_local, local_executor

if TYPE_CHECKING:
    from concurrent.futures import Executor

Ablate = Literal["layers", "heads", "none"]
Null = Literal["random", "none"]

#: Rows of more bytes than this are kept in a file while the texts are measured.
_MOST_HELD = 2**28
#: Tasks under way for each worker: one that is computed, one that waits.
_AHEAD = 2
#: Workers that one text may end, before it is given up.
_DEATHS = 2


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is measured; see :func:`tokendyn.inspect`."""

    ablate: Ablate = "layers"
    null: Null = "random"
    ladder: bool = True
    seed: int = 0


class Measurer:
    """Measures inputs of one model, each by itself.

    Parameters
    ----------
    model
        The model.
    settings
        What is measured.
    sample
        Inputs from whose tokens mixed texts are drawn.

    Raises
    ------
    BadInputError
        If the model and the one with random weights are too large for the memory of this machine.
    """

    def __init__(self, model: Model, settings: Settings, sample: Sequence[Encoded] = ()) -> None:
        self.model, self.settings, self.sample = model, settings, sample
        if settings.null == "random":
            check_memory(
                2 * model.bytes, f"{model.source} and the same with random weights",
                'leave the latter out: null="none"',
            )  # fmt: skip
        self.random = model.with_random_weights(settings.seed) if settings.null == "random" else None
        self.ablations = _ablations(model, settings.ablate)

    def __call__(self, encoded: Encoded, *, reference: bool) -> TextMeasures:
        """Measure one input; for a reference text only the values for comparisons."""
        if reference:
            return measure_reference(self.model, encoded, random=self.random, ablations=self.ablations)
        measured = measure_text(
            self.model, encoded, random=self.random, ablations=self.ablations, pool=self._pool
        )  # fmt: skip
        if self.settings.ladder:
            add_ladder(self.model, encoded, measured)
        return measured

    @cached_property
    def _pool(self) -> Pool | None:
        """Tokens of the sample; the model runs on it when the first input is measured."""
        return model_pool(self.model, self.sample)


def _ablations(model: Model, ablate: Ablate) -> list[tuple[str, int, Ablation]]:
    if ablate == "none" or model.family is None:
        return []
    return layer_ablations(model) + (head_ablations(model) if ablate == "heads" else [])


@dataclass(frozen=True)
class Recipe:
    """How a worker comes to its :class:`Measurer`.

    Attributes
    ----------
    folder, double, part
        Of the model.
    family
        Registered by the user, in the process that asks; None for a family of the library.
    settings
        What is measured.
    sample, digest
        Inputs from whose tokens mixed texts are drawn, and the digest of all inputs, by which the sample is known.
    """

    folder: Path
    double: bool
    part: str
    family: Family | None
    settings: Settings
    sample: tuple[Encoded, ...] = field(compare=False)
    digest: bytes

    @classmethod
    def of(cls, model: Model, settings: Settings, sample: Sequence[Encoded], digest: bytes) -> "Recipe":
        """Return the recipe of a model that was opened from a folder.

        Raises
        ------
        BadInputError
            For a model in memory.
        """
        if model.rules is None:
            raise BadInputError(
                "several processes read the model from its folder, and this one is in memory; write it with "
                "model.save_pretrained(folder), and give the folder"
            )
        family = family_of(model.model_type)
        own = family if family not in FAMILIES else None
        return cls(
            folder=model.rules.parent.absolute(), double=model.is_double, part=model.part, family=own,
            settings=settings, sample=tuple(sample), digest=digest,
        )  # fmt: skip


@dataclass(frozen=True)
class Task:
    """One input that is to be measured.

    Attributes
    ----------
    number
        Of its row.
    encoded
        The input.
    reference
        Whether it is a reference text.
    recipe
        For a worker; None in this process.
    """

    number: int
    encoded: Encoded
    reference: bool
    recipe: Recipe | None = None


@functools.lru_cache(maxsize=1)
def _measurer(recipe: Recipe) -> Measurer:
    if recipe.family is not None:
        register_family(recipe.family)
    model = open_model(recipe.folder, double=recipe.double, part=recipe.part)
    return Measurer(model, recipe.settings, recipe.sample)


def _work(task: Task) -> TextMeasures:
    """Measure an input in a worker; states are those of the first input alone."""
    assert task.recipe is not None  # tasks of this process are not sent to workers
    measured = _measurer(task.recipe)(task.encoded, reference=task.reference)
    if task.number:
        for name in BY_TOKEN:
            setattr(measured, name, None)
    return measured


Run = Callable[[Iterable[Task]], Iterator[tuple[Task, TextMeasures]]]


def run_here(measure: Measurer) -> Run:
    """Return the function that measures tasks in this process, one after the other."""
    return lambda tasks: ((task, measure(task.encoded, reference=task.reference)) for task in tasks)


class Workers:
    """Processes of this machine, or a Dask cluster, that measure tasks; each reads the model from its folder.

    Parameters
    ----------
    recipe
        Of a model in a folder, one that the workers of a cluster see too.
    size
        Bytes of its weights.
    processes
        On this machine; each with one thread.
    scheduler
        Address of a Dask scheduler, in place of them.

    Raises
    ------
    BadInputError
        If the copies of the model are too large for the memory, or no scheduler answers.
    """

    def __init__(self, recipe: Recipe, size: int, processes: int | None, scheduler: str | None) -> None:
        self.recipe = recipe
        count = processes or 1
        start: Callable[[], Executor] = functools.partial(local_executor, count, 1, None)
        end: Callable[[Executor], None] = end_local
        if scheduler is None:
            copies = count * (2 if recipe.settings.null == "random" else 1)
            check_memory(
                copies * size, f"{copies} copies of {recipe.folder.name} in {count} processes",
                'take fewer processes, or null="none"',
            )  # fmt: skip
        else:
            executor, count = dask_executor(scheduler)
            start, end = functools.partial(_same, executor), end_dask
        self.crew: Crew[Task, TextMeasures] = Crew(
            open=start, end=end, work=_work, window=_AHEAD * max(count, 1), deaths=_DEATHS, is_busy=lambda _: False
        )

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, TextMeasures]]:
        """Yield tasks with their measures, in the order in which they end."""
        for task, answer in self.crew.run(replace(task, recipe=self.recipe) for task in tasks):
            if isinstance(answer, WorkerDiedError):
                raise WorkerDiedError(
                    f"text {task.number} of {len(task.encoded.ids)} tokens: {answer}; take fewer processes, or fewer "
                    "tokens of a text"
                )
            yield task, answer

    def close(self) -> None:
        """Let the workers go."""
        self.crew.close()


def _same(executor: "Executor") -> "Executor":
    return executor


@dataclass(frozen=True)
class Measured:
    """The measures of all inputs.

    Attributes
    ----------
    arrays
        Fields of an inspection, with a row for each input.
    first
        What is kept of the first one alone, by name.
    """

    arrays: dict[str, Any]
    first: dict[str, Any]


def measure_all(
    inputs: Inputs,
    count: int,
    others: list[Encoded],
    run: Run,
    *,
    checkpoint: Checkpoint | None,
    identity: tuple[Any, ...],
    progress: Callable[[int, int], None],
) -> Measured:
    """Measure all inputs, and keep one row of numbers of each.

    Parameters
    ----------
    inputs, count
        The inputs, and their number.
    others
        Reference texts.
    run
        :func:`run_here`, or the method of :class:`Workers`.
    checkpoint
        Keeps the rows; where it has those of a stopped run, only the others are measured, with bit-identical results.
    identity
        Of the run, for the checkpoint.
    progress
        Called with the number of inputs measured, and the total number.
    """
    total = count + len(others)
    kept = None if checkpoint is None else open_rows(checkpoint, *identity)
    missing = list(range(total)) if kept is None else kept.missing()
    progress(total - len(missing), total)
    tasks = _tasks(inputs, others, frozenset(missing))
    with ExitStack() as stack:
        if kept is None:
            # The first row sets the length.
            [(_, measured)] = run([next(tasks)])
            layout, first = Layout.of(measured), _of_first(measured)
            rows = _new_rows(checkpoint, layout, first, total, stack)
            rows.write(0, layout.row(measured))
            progress(1, total)
        else:
            rows, layout = kept, Layout.read(kept.state.record)
            first = dict.fromkeys(BY_TOKEN) | dict(kept.state.arrays)
        for done, (task, measured) in enumerate(run(tasks), total - len(rows.missing()) + 1):
            rows.write(task.number, layout.row(measured))
            progress(done, total)
        references = Table(rows, layout, count, total) if others else None
        return Measured(combined(Table(rows, layout, 0, count), references), first)


def _tasks(inputs: Inputs, others: list[Encoded], numbers: Collection[int]) -> Iterator[Task]:
    """Yield the tasks of some numbers; the reference texts come behind the others."""
    every = itertools.chain(((entry, False) for entry in inputs.each()), ((entry, True) for entry in others))
    for number, (encoded, reference) in enumerate(every):
        if number in numbers:
            yield Task(number=number, encoded=encoded, reference=reference)


def _of_first(measured: TextMeasures) -> dict[str, Any]:
    return {name: getattr(measured, name) for name in BY_TOKEN}


def _new_rows(
    checkpoint: Checkpoint | None, layout: Layout, first: dict[str, Any], total: int, stack: ExitStack
) -> Rows:
    """Return rows in the checkpoint, in memory, or, where they are too large for it, in a file for the time being."""
    if checkpoint is None and 8 * layout.width * total <= _MOST_HELD:
        return Rows(total, layout.width)
    if checkpoint is None:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tokendyn-"))
        checkpoint = Checkpoint(Path(folder) / "rows.safetensors")
    arrays = {name: np.asarray(array) for name, array in first.items() if array is not None}
    return new_rows(checkpoint, State(arrays, layout.record()), total, layout.width)


def model_digest(model: Model) -> bytes:
    """Return a digest of the configuration and of all weights of a model."""
    import torch

    digest = hashlib.sha256(model.config.to_json_string().encode())
    for name, tensor in model.module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.digest()
