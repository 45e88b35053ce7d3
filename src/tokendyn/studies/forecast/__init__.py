"""Four validation studies: each generates its data, tunes every model by the same budget, and returns one table."""

from tokendyn.studies.forecast.aerodynamics import aerodynamics
from tokendyn.studies.forecast.comparison import Study
from tokendyn.studies.forecast.lorenz import lorenz
from tokendyn.studies.forecast.reaction_diffusion import reaction_diffusion
from tokendyn.studies.forecast.synthetic import synthetic
from tokendyn.studies.forecast.tuning import SPACES, Tuned, tune

#: The studies by their names on the command line.
STUDIES = {
    "synthetic": synthetic,
    "aerodynamics": aerodynamics,
    "lorenz": lorenz,
    "reaction-diffusion": reaction_diffusion,
}

__all__ = [
    "SPACES",
    "STUDIES",
    "Study",
    "Tuned",
    "aerodynamics",
    "lorenz",
    "reaction_diffusion",
    "synthetic",
    "tune",
]
