"""``tokendyn simulate``: tokens through a deep attention-only transformer."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from cyclopts import Parameter

from tokendyn.cli.explored import simulate_explored
from tokendyn.cli.output import announce, write_json
from tokendyn.cli.progress import looked_at, progress, rehearse, resumable
from tokendyn.cli.repeat import repeated
from tokendyn.cli.values import announce_names, film_of, matrix_of
from tokendyn.errors import BadInputError
from tokendyn.runs.checkpoint import check_checkpoint
from tokendyn.runs.files import check_free

Model = Literal["clustering", "meanfield"]


def simulate(
    tokens: Path,
    /,
    *,
    model: Model = "clustering",
    out: Path | None = None,
    alpha: float = 0.5,
    layers: int = 30,
    score: Annotated[str | None, Parameter(name=["--score", "-A"])] = None,
    softmax: float | None = None,
    tie_tolerance: float = 0.0,
    array: str | None = None,
    strict: bool = False,
    record: Literal["all", "last"] = "all",
    arithmetic: Literal["float", "rational", "interval"] = "float",
    checkpoint: Path | None = None,
    animation: Annotated[bool, Parameter(negative="--no-animation")] = True,
    mp4: bool = False,
    report: Annotated[bool, Parameter(negative="--no-report")] = True,
    overwrite: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Run tokens through hardmax attention layers; say who leads, who follows, and where each token ends.

    Writes a folder with the run, the panels figure, an animation, a table of the tokens and report.html.

    Parameters
    ----------
    tokens
        CSV, TSV, npy, npz or safetensors: one token a row; one column of names is allowed. JSON that the explorer
        saved brings its own parameters: of the options only --out, --overwrite, --dry-run and --json apply.
    model
        clustering (these options), or meanfield: see tokendyn simulate --model meanfield --help.
    out
        Folder to write, by default run-NAME beside the tokens. It must not exist.
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
    checkpoint
        Keep the state of a softmax run in this .safetensors file, and go on from it when it is there, to the same bits;
        it is removed once the run is complete. (Hardmax runs take seconds.)
    animation
        Write the animation.
    mp4
        Write the animation as MP4 (needs ffmpeg) and not as GIF.
    report
        Draw figures, animation and report.html; without them tokendyn report makes them later.
    overwrite
        Replace the output folder when it exists.
    dry_run
        Check the input, say what would be done, and stop.
    json
        Write the summary as one JSON object to standard output.
    """
    from tokendyn.data.tokens import read_tokens
    from tokendyn.particles import simulate as run_simulation
    from tokendyn.particles.clustering import check_simulation, hypothesis_departures
    from tokendyn.particles.report import save_run
    from tokendyn.words import counted

    if tokens.suffix.lower() == ".json":
        return simulate_explored(tokens, out, overwrite=overwrite, dry_run=dry_run, json=json)
    if softmax is not None and not (math.isfinite(softmax) and softmax > 0):
        raise BadInputError(f"--softmax takes a positive inverse temperature, got {softmax}; leave it out for hardmax")
    table = read_tokens(tokens, array=array)
    announce_names(table)
    matrix = None if score is None else matrix_of(score, "--score")
    folder = out or tokens.parent / f"run-{tokens.name.split('.')[0]}"
    check_free(folder, overwrite=overwrite, inputs=[tokens, checkpoint])
    check_checkpoint(checkpoint, folder)
    movie = film_of(animation and report and record == "all", mp4)
    settings: dict[str, Any] = {
        "alpha": alpha,
        "score": matrix,
        "layers": layers,
        "inverse_temperature": math.inf if softmax is None else softmax,
        "tie_tolerance": tie_tolerance,
        "labels": table.labels,
        "strict": strict,
        "record": record,
        "arithmetic": arithmetic,
    }
    if dry_run:
        kept = looked_at(checkpoint)
        rehearse(lambda begun: run_simulation(table.tokens, **settings, progress=begun, checkpoint=kept))
        checked, stack = check_simulation(table.tokens, **settings)
        many = counted(len(checked), "token"), counted(checked.shape[1], "dimension"), counted(layers, "layer")
        announce(f"would run {many[0]} in {many[1]}, {many[2]}")
        announce(f"would write {folder}")
        for departure in hypothesis_departures(checked, np.asarray(stack[0].heads[0].score)):
            announce(f"note: {departure}")
        return 0
    with resumable(checkpoint) as kept, progress("layers") as tell:
        result = run_simulation(table.tokens, **settings, progress=tell, checkpoint=kept)
    report = report and record == "all"
    command = repeated()
    save_run(result, folder, title=tokens.name, animation=movie, report=report, command=command, overwrite=overwrite)
    if kept is not None:
        kept.remove()
    summary = result.summary()
    if json:
        write_json({**summary, "out": str(folder)})
    for line in result.describe():
        announce(line)
    announce(f"wrote {folder}" + (f"; open {folder / 'report.html'}" if report else ""))
    return 0 if result.status in ("completed", "rounding") else 1
