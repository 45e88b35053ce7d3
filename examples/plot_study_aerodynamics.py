"""
Study: lift and drag of a cylinder and of an aerofoil
=====================================================

Three flows by lattice Boltzmann on coarse grids: a cylinder that sheds by itself, one that is turned by a motion that
the models do not see, and a pitching aerofoil whose motion they are given. The quick profile of
``tokendyn forecast study aerodynamics``.
"""

from tokendyn.studies.forecast import aerodynamics
from tokendyn.studies.forecast.pages import study_figures

study = aerodynamics(quick=True, budget=0.4, models=["TD-TF", "TD-DMD", "NVAR"])
print(study)

# %%
# Errors and valid times of the three tasks.
figures = study_figures(study, "diameters or chords over speed")
comparison, _ = figures["comparison"]

# %%
# The loads of the aerofoil, forecast from its motion.
pitching, caption = figures["forecast-3"]
print(caption)
# sphinx_gallery_thumbnail_number = 2
