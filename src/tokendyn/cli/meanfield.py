"""``tokendyn simulate --model meanfield``: many tokens on the sphere at low temperature."""

from tokendyn.cli.experiments import command_of
from tokendyn.cli.simulate import Model
from tokendyn.particles.meanfield.simulation import MeanField

simulate_meanfield = command_of(
    MeanField,
    extra=Model,
    out="Folder to write, by default run-meanfield or run-NAME. It must not exist.",
    help={"model": "meanfield; the other model has options of its own."},
)
