"""What ``tokendyn simulate`` does, as an experiment: tokens through a deep attention-only transformer."""

import dataclasses
import math
import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from tokendyn.errors import BadInputError
from tokendyn.experiments import Experiment, Flags, Matrix, ProgressCallback
from tokendyn.experiments.fields import matrix_of

if TYPE_CHECKING:
    from tokendyn.data.explored import Explored
    from tokendyn.data.tokens import TokenTable
    from tokendyn.particles.clustering import ClusteringRun
    from tokendyn.particles.explored import Replay
    from tokendyn.runs.checkpoint import Checkpoint
    from tokendyn.runs.store import Status

Arithmetic = Literal["float", "rational", "interval"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clustering(Experiment["ClusteringRun"]):
    """Tokens through hardmax attention layers: who leads, who follows, and where each token ends.

    Parameters
    ----------
    tokens
        CSV, TSV, npy, npz or safetensors: one token a row; one column of names is allowed. JSON that the explorer
        saved, or a link that it copied, brings its own parameters: of the options only --out, --overwrite, --dry-run
        and --json apply.
    alpha
        Step parameter, above 0: a token moves by the share alpha / (1 + alpha) in each layer.
    layers
        Number of layers.
    score
        The matrix A of the scores <A z_i, z_j>: a file, or rows as "2,0;0,1". Identity by default.
    softmax
        Inverse temperature: softmax in place of hardmax.
    tie_tolerance
        Relative tolerance within which scores tie.
    array
        Which array of an npz or safetensors file holds the tokens.
    strict
        Refuse input that does not meet the hypotheses of the theorem.
    record
        Layers to keep: all, or the last two, which suits many tokens and layers; then there are no figures.
    arithmetic
        How ties are decided: float, with bounds on rounding, and by rationals where that is quick; rational, exact
        throughout, for few tokens; interval, by bounds only: says which tokens are within rounding of a tie.
    animation
        Write the animation.
    mp4
        Write the animation as MP4 (needs ffmpeg) and not as GIF.
    report
        Draw figures, animation and report.html; without them tokendyn report makes them later.
    """

    command: ClassVar[str] = "simulate"
    constants: ClassVar[dict[str, Any]] = {"model": "clustering"}
    unit: ClassVar[str] = "layers"
    resumes: ClassVar[bool] = True
    whole: ClassVar[frozenset[str]] = frozenset({"completed", "rounding"})

    tokens: Path = dataclasses.field(kw_only=False)
    alpha: float = 0.5
    layers: int = 30
    score: Annotated[Matrix | None, Flags("--score", "-A")] = None
    softmax: float | None = None
    tie_tolerance: float = 0.0
    array: str | None = None
    strict: bool = False
    record: Literal["all", "last"] = "all"
    arithmetic: Arithmetic = "float"
    animation: bool = True
    mp4: bool = False
    report: bool = True

    def resolved(self) -> Experiment[Any]:
        """Return the runs of the explorer page for the JSON that it saved, or a link that it copied."""
        from tokendyn.particles.links import is_link

        return Replaying(self.tokens) if is_link(self.tokens) or self.tokens.suffix.lower() == ".json" else self

    def folder(self) -> Path:
        """Return ``run-NAME`` beside the tokens."""
        return run_folder(self.tokens)

    def outline(self) -> Sequence[str]:
        """Return which column of the file is taken for the names of tokens."""
        if self.softmax is not None and not (math.isfinite(self.softmax) and self.softmax > 0):
            raise BadInputError(
                f"`softmax` takes a positive inverse temperature, got {self.softmax}; leave it out for hardmax"
            )
        film_of(self.animation and self.report and self.record == "all", self.mp4)
        name = self._table.name_column
        return () if name is None else (f"{name} holds names",)

    def check(self, checkpoint: "Path | str | None" = None) -> Sequence[str]:
        """Make all checks of a run; return a description of it, and where the theorem does not apply."""
        import numpy as np

        from tokendyn.particles.clustering import check_simulation, hypothesis_departures
        from tokendyn.words import counted

        names = super().check(checkpoint)
        tokens, stack = check_simulation(self._table.tokens, **self._settings())
        sizes = (len(tokens), "token"), (tokens.shape[1], "dimension"), (self.layers, "layer")
        some, dim, layers = (counted(count, what) for count, what in sizes)
        departures = hypothesis_departures(tokens, np.asarray(stack[0].heads[0].score))
        return (*names, f"would run {some} in {dim}, {layers}", *(f"note: {departure}" for departure in departures))

    def run(
        self,
        *,
        progress: ProgressCallback | None = None,
        checkpoint: "Checkpoint | Path | str | None" = None,
        budget: float | None = None,
    ) -> "ClusteringRun":
        """Run the tokens and add what the theory says about the run; hardmax takes seconds and has no checkpoint.

        Raises
        ------
        BadInputError
            If ``budget`` is given: the layers are few and quick.
        """
        from tokendyn.experiments import checkpoint_of
        from tokendyn.particles import simulate

        if budget is not None:
            raise BadInputError("a clustering run takes no budget: choose fewer layers")
        self.outline()
        return simulate(self._table.tokens, **self._settings(), progress=progress, checkpoint=checkpoint_of(checkpoint))

    def write(self, result: "ClusteringRun", folder: str | Path, *, command: str = "", overwrite: bool = False) -> None:
        """Write the run with its table, figures and page; see :func:`tokendyn.particles.report.save_run`."""
        from tokendyn.particles.report import save_run

        report = self.report and self.record == "all"
        film = film_of(self.animation and report, self.mp4)
        save_run(
            result, folder, title=self.tokens.name, animation=film, report=report, command=command, overwrite=overwrite
        )

    def _settings(self) -> dict[str, Any]:
        return {
            "alpha": self.alpha,
            "score": None if self.score is None else matrix_of(self.score, "score"),
            "layers": self.layers,
            "inverse_temperature": math.inf if self.softmax is None else self.softmax,
            "tie_tolerance": self.tie_tolerance,
            "labels": self._table.labels,
            "strict": self.strict,
            "record": self.record,
            "arithmetic": self.arithmetic,
        }

    @cached_property
    def _table(self) -> "TokenTable":
        from tokendyn.data.tokens import read_tokens

        return read_tokens(self.tokens, array=self.array)


def run_folder(path: Path) -> Path:
    """Return the default folder of the run of a file: ``run-NAME`` beside it."""
    return path.parent / f"run-{path.name.split('.')[0]}"


def film_of(animated: bool, mp4: bool) -> Literal["gif", "mp4"] | None:
    """Return the kind of animation to write, None for none; checked before any work is done.

    Raises
    ------
    BadInputError
        If an MP4 is requested and ffmpeg is missing.
    """
    if animated and mp4 and shutil.which("ffmpeg") is None:
        raise BadInputError("`mp4` needs the program ffmpeg, which is not installed: install it, or leave `mp4` out")
    return ("mp4" if mp4 else "gif") if animated else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Replaying(Experiment["Replay"]):
    """The runs of the explorer page, computed by the library and compared with the ends that the page reported.

    Parameters
    ----------
    tokens
        JSON that the explorer saved, or a link that it copied; it brings every setting.
    """

    command: ClassVar[str] = "simulate"
    constants: ClassVar[dict[str, Any]] = {"model": "clustering"}

    tokens: Path = dataclasses.field(kw_only=False)

    def folder(self) -> Path:
        """Return ``run-NAME`` beside the settings; ``run-explored`` here for a link."""
        from tokendyn.particles.links import is_link

        return Path("run-explored") if is_link(self.tokens) else run_folder(self.tokens)

    def check(self, checkpoint: "Path | str | None" = None) -> Sequence[str]:
        """Read the settings; return a description of the run."""
        settings = self._settings
        return (f"would run {len(settings.tokens)} tokens of the explorer ({settings.model}), hardmax and softmax",)

    def run(
        self,
        *,
        progress: ProgressCallback | None = None,
        checkpoint: "Checkpoint | Path | str | None" = None,
        budget: float | None = None,
    ) -> "Replay":
        """Run the settings at hardmax and at softmax; such runs are small and need no progress and no checkpoint."""
        from tokendyn.particles.explored import replay

        return replay(self._settings)

    def write(self, result: "Replay", folder: str | Path, *, command: str = "", overwrite: bool = False) -> None:
        """Write the run with its page where the theory applies, else both trajectories and the settings."""
        from tokendyn.particles.report import save_run

        clustering = result.clustering()
        if clustering is None:
            result.save(folder, overwrite=overwrite)
            return
        title = result.explored.title or self.folder().name.removeprefix("run-")
        save_run(clustering, folder, title=title, animation=None, command=command, overwrite=overwrite)

    def ended(self, result: "Replay") -> "Status":
        """Return ``"completed"`` when both runs completed and ended where those of the page did."""
        return "completed" if result.status == "completed" and result.agrees else "diverged"

    @cached_property
    def _settings(self) -> "Explored":
        from tokendyn.particles.links import read_explored_source

        return read_explored_source(self.tokens)
