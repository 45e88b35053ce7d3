"""Six validation studies: each generates its data, tunes every model by the same budget, and returns one table."""

from typing import TYPE_CHECKING

from tokendyn.late import attributes_at

if TYPE_CHECKING:
    from tokendyn.studies.forecast.aerodynamics_study import aerodynamics
    from tokendyn.studies.forecast.comparison import Study
    from tokendyn.studies.forecast.gust_study import gusts
    from tokendyn.studies.forecast.lorenz_study import lorenz
    from tokendyn.studies.forecast.public_study import public
    from tokendyn.studies.forecast.reaction_diffusion_study import reaction_diffusion
    from tokendyn.studies.forecast.registry import STUDIES
    from tokendyn.studies.forecast.synthetic_study import synthetic
    from tokendyn.studies.forecast.tuning import SPACES, Tuned, tune

#: The module of each name, imported at first use, so that reading the options of a command imports no numerical code.
_HOMES = {
    "SPACES": "tokendyn.studies.forecast.tuning",
    "STUDIES": "tokendyn.studies.forecast.registry",
    "Study": "tokendyn.studies.forecast.comparison",
    "Tuned": "tokendyn.studies.forecast.tuning",
    "aerodynamics": "tokendyn.studies.forecast.aerodynamics_study",
    "gusts": "tokendyn.studies.forecast.gust_study",
    "lorenz": "tokendyn.studies.forecast.lorenz_study",
    "public": "tokendyn.studies.forecast.public_study",
    "reaction_diffusion": "tokendyn.studies.forecast.reaction_diffusion_study",
    "synthetic": "tokendyn.studies.forecast.synthetic_study",
    "tune": "tokendyn.studies.forecast.tuning",
}

__all__ = [
    "SPACES",
    "STUDIES",
    "Study",
    "Tuned",
    "aerodynamics",
    "gusts",
    "lorenz",
    "public",
    "reaction_diffusion",
    "synthetic",
    "tune",
]

__getattr__ = attributes_at(__name__, _HOMES)
