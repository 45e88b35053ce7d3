"""``tokendyn inspect``: a trained model as a particle system."""

from tokendyn.cli.experiments import command_of
from tokendyn.models.inspecting import Inspecting

inspect = command_of(Inspecting, out="Folder to write: result, states, table of heads, report.html. It must not exist.")
