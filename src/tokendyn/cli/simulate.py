"""``tokendyn simulate``: tokens through a deep attention-only transformer."""

from typing import Literal

from tokendyn.cli.experiments import command_of
from tokendyn.particles.experiments import Clustering

Model = Literal["clustering", "meanfield"]

simulate = command_of(
    Clustering,
    extra=Model,
    out="Folder to write, by default run-NAME beside the tokens. It must not exist.",
    help={"model": "clustering (these options), or meanfield: see tokendyn simulate --model meanfield --help."},
)
