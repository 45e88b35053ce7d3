"""The studies by their names on the command line."""

from tokendyn.studies.forecast.aerodynamics_study import aerodynamics
from tokendyn.studies.forecast.gust_study import gusts
from tokendyn.studies.forecast.lorenz_study import lorenz
from tokendyn.studies.forecast.public_study import public
from tokendyn.studies.forecast.reaction_diffusion_study import reaction_diffusion
from tokendyn.studies.forecast.synthetic_study import synthetic

#: The studies by their names on the command line.
STUDIES = {
    "synthetic": synthetic,
    "aerodynamics": aerodynamics,
    "gusts": gusts,
    "lorenz": lorenz,
    "public": public,
    "reaction-diffusion": reaction_diffusion,
}
