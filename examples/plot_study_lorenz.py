"""
Study: Lorenz 63
================

Only x seen, then all columns: how long forecasts are valid, in Lyapunov times, and whether a long closed loop keeps the
histogram. The quick profile of ``tokendyn forecast study lorenz``: a tenth of the data and small models.
"""

from tokendyn.studies.forecast import lorenz
from tokendyn.studies.forecast.pages import study_figures

study = lorenz(quick=True, budget=0.4, models=["TD-TF", "TD-DMD", "NVAR"])
print(study)

# %%
# The equations are polynomials, which NVAR contains when it sees all columns. From x alone no model has them.
figures = study_figures(study, "Lyapunov times")
comparison, _ = figures["comparison"]

# %%
# The first start of the task that sees x alone.
x_only, caption = figures["forecast-1"]
print(caption)
# sphinx_gallery_thumbnail_number = 2
