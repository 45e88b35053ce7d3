r"""Experiments: options, a run, and what came out, as one class that Python, TOML, command line and store share.

An experiment is a frozen dataclass in the room that it belongs to. Its fields are its options, its docstring says what
each means, and three methods do the work:

>>> import dataclasses
>>> from tokendyn.experiments import Experiment
>>> @dataclasses.dataclass(frozen=True, kw_only=True)
... class Halving(Experiment["Halves"]):
...     '''A number, halved again and again.
...
...     Parameters
...     ----------
...     start
...         The number.
...     times
...         How often.
...     '''
...     command = "halve"
...     start: float = dataclasses.field(kw_only=False)
...     times: int = 3
...     def run(self, *, progress=None, checkpoint=None, budget=None):
...         return Halves(self.start / 2**self.times)
...     def write(self, result, folder, *, command="", overwrite=False):
...         from tokendyn.runs.folders import new_folder
...         with new_folder(folder, overwrite=overwrite) as temporary:
...             (temporary / "end.txt").write_text(str(result.end))
>>> @dataclasses.dataclass(frozen=True)
... class Halves:
...     end: float
...     status: str = "completed"
...     def summary(self):
...         return {"status": self.status, "end": self.end}
...     def describe(self):
...         return [f"it ends at {self.end:g}"]
>>> Halving(8).run().describe()
['it ends at 1']
>>> Halving(8, times=5).command_line(out="h")
'tokendyn halve 8 --times 5 --out h'

From the fields come the options and the help of its command, the keys of a TOML file, the dry run
(:meth:`Experiment.check` makes the checks of the run), the record of what made a result, the command that repeats it,
its id in a store, and what a sweep may change (:func:`sweep`).

How a command of ``tokendyn.cli`` becomes one
---------------------------------------------
1. Write the class in ``experiments.py`` of its room. The options that say what is computed or drawn are fields, with
   the defaults of the command; ``out``, ``overwrite``, ``dry_run``, ``json`` and ``checkpoint`` are not: the command
   line adds them. A positional option is a ``dataclasses.field(kw_only=False)``. A ``Path``, or a matrix
   (``Annotated[Matrix | None, Flags("--score", "-A")]``), stands for what its file holds: ids contain its digest.
   Options that several experiments share are a dataclass of their own, from which these inherit beside
   :class:`Experiment`. ``command`` holds the words of the command. The names of options, their defaults and
   ``constants`` (``model = "clustering"``) must stay as they are, so that stored runs keep their questions.
2. Move the body of the command. Reading and checking go into a ``cached_property`` that ``outline`` (sentences before
   the run), ``check`` and ``run`` share; the work into ``run``, which calls ``progress(done, total)``; files into
   ``write``, which hands ``command`` to the record. What is printed are the sentences of ``describe`` and, with
   ``--json``, ``summary``: methods of the result, or of the experiment where it must add something. ``ended`` says
   how a run ended in the words of a store; by default it looks at ``result.status``, ``whole`` and ``cut``; with
   ``keeps_best = True`` the command ends well too when its budget cut it. ``advice`` says what to do with what was
   written. What long work does now is a line of the module's logger (``logging``, level INFO). One file in place of a
   folder: ``file = "forecast.csv"``; to standard output when no file is named: ``folder`` returns
   ``STANDARD_OUTPUT``. A run that goes on from a checkpoint: ``resumes = True``; from its own folder:
   ``grows = True``, and ``into`` in place of ``run`` and ``write``.
3. Messages speak Python, with names in backticks: ``"`alpha` must be positive; give `layers`"``, ``"choose
   `integrator=\"euler\"`"``. The command line writes its flags in their place, in messages and in help.
4. In ``cli``, the module keeps one line: ``build = command_of(Compilation)`` (``tokendyn.cli.experiments``), and its
   entry in ``tokendyn.cli``. What it imported of ``cli.repeat``, ``cli.output``, ``cli.progress`` goes. The module of
   the experiment is imported for ``--help``: at its top stands nothing heavy, and the ``__init__`` of its room loads
   names when used.
5. Add the words of the command to ``cli.jobs.COMMANDS``, and the class to ``tests/test_experiments.py``, which runs
   over every experiment. A command that is no experiment takes what repeats it from ``cli.repeat``.
"""

from typing import TYPE_CHECKING, Any

from tokendyn.experiments.experiment import STANDARD_OUTPUT, Experiment, ProgressCallback, checkpoint_of, rehearse
from tokendyn.experiments.fields import Flags, Matrix

if TYPE_CHECKING:
    from tokendyn.experiments.sweeping import sweep
    from tokendyn.experiments.swept import SweepResult

__all__ = [
    "STANDARD_OUTPUT", "Experiment", "Flags", "Matrix", "ProgressCallback", "SweepResult", "checkpoint_of", "rehearse",
    "sweep",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load what sweeps need when it is used."""
    if name == "sweep":
        from tokendyn.experiments.sweeping import sweep

        return sweep
    if name == "SweepResult":
        from tokendyn.experiments.swept import SweepResult

        return SweepResult
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
