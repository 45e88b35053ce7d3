"""
Concentration, metastability and departure
==========================================

Many tokens on the circle at inverse temperature 300 (arXiv 2605.10931): they gather where the dominant eigenspace of
``V B^T`` sends them, stay for a while, and leave for the dominant direction of V.
"""

import numpy as np

from tokendyn.particles import meanfield
from tokendyn.particles.meanfield import experiments, starts
from tokendyn.particles.meanfield.figures import distance_figure, tokens_figure
from tokendyn.particles.meanfield.theory import closure_beside, envelope

flow = experiments.lined_flow(300.0)  # V = diag(1, 2), B = diag(4, 1)
tokens = starts.circle_quantiles(400, experiments.asymmetric_density)
run = meanfield.simulate(flow, tokens, np.linspace(0, 14, 71), step=0.1)
print(*run.describe(), sep="\n")

# %%
# The tokens at five moments, and the density of their angles over time.
figure_tokens = tokens_figure(run)

# %%
# The distance to the projected law, beside the Gaussian closure and a curve of the form of the theorem.
figure_distance = distance_figure(run, closure_beside(run), envelope(run))

# %%
# Fewer tokens, and the guard says that they show another limit.
print(meanfield.resolution(experiments.lined_flow(1e6), tokens).reason)
