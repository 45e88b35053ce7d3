"""
Study: sums of sinusoids
========================

Where a linear model is right, it should win. Two signals, one of them noisy, in the quick profile of
``tokendyn forecast study synthetic``: half a second of search a model.
"""

from tokendyn.studies.forecast import synthetic
from tokendyn.studies.forecast.pages import study_figures

study = synthetic(quick=True, budget=0.5, models=["TD-TF", "TD-DMD", "NVAR"])
print(study)

# %%
# Closed-loop errors and valid times: squares are linear models, the star is TD-TF.
figures = study_figures(study, "s")
comparison, _ = figures["comparison"]

# %%
# The first forecast of the noisy signal, compared with what it was before the noise.
noisy, caption = figures["forecast-2"]
print(caption)
# sphinx_gallery_thumbnail_number = 2
