"""
Study: spirals of a reaction-diffusion system
=============================================

Fields of the lambda-omega system from spirals of several sizes, reduced to four POD modes, forecast from sizes that
no model has learned, and rebuilt. The quick profile of ``tokendyn forecast study reaction-diffusion``: a coarse grid.
"""

from tokendyn.studies.forecast import reaction_diffusion
from tokendyn.studies.forecast.pages import study_figures

study = reaction_diffusion(quick=True, budget=0.4, models=["TD-TF", "TD-DMD", "NVAR"])
for row in study.rows:
    print(f"{row['model']:8}field error {row['field_error']:.3f}; POD alone leaves {row['floor']:.3f}")

# %%
# Errors of the coefficients. The spirals grow or shrink to one size, which no linear model can do.
figures = study_figures(study, "time")
comparison, _ = figures["comparison"]

# %%
# The energies of the modes.
energies, _ = figures["energies-4"]
# sphinx_gallery_thumbnail_number = 2
