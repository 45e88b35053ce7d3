"""Four validation studies: each generates its data, tunes every model by the same budget, and returns one table."""

from tokendyn.forecast.studies.aerodynamics import aerodynamics
from tokendyn.forecast.studies.comparison import Study
from tokendyn.forecast.studies.lorenz import lorenz
from tokendyn.forecast.studies.reaction_diffusion import reaction_diffusion
from tokendyn.forecast.studies.synthetic import synthetic

#: The studies by their names on the command line.
STUDIES = {
    "synthetic": synthetic,
    "aerodynamics": aerodynamics,
    "lorenz": lorenz,
    "reaction-diffusion": reaction_diffusion,
}

__all__ = ["STUDIES", "Study", "aerodynamics", "lorenz", "reaction_diffusion", "synthetic"]
