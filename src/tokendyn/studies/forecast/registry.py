"""The studies by their names on the command line."""

from tokendyn.studies.forecast.aerodynamics_study import aerodynamics
from tokendyn.studies.forecast.lorenz_study import lorenz
from tokendyn.studies.forecast.reaction_diffusion_study import reaction_diffusion
from tokendyn.studies.forecast.synthetic_study import synthetic

#: The studies by their names on the command line.
STUDIES = {
    "synthetic": synthetic,
    "aerodynamics": aerodynamics,
    "lorenz": lorenz,
    "reaction-diffusion": reaction_diffusion,
}
