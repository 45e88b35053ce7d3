"""``tokendyn phase``: phase diagrams over (beta, t) and over (beta, spectrum of V)."""

from tokendyn.cli.experiments import command_of
from tokendyn.particles.meanfield.phase import Phase

phase = command_of(
    Phase,
    out="Folder of the diagram, by default phase. The same command started again goes on in it.",
    help={"overwrite": "Throw an earlier diagram in the folder away."},
)
