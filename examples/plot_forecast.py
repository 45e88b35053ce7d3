"""
A forecast from delays, and what the model does
===============================================

Lorenz 63 of which only x is seen: a time-delayed transformer beside TD-DMD, in closed loop. Small, for seconds;
``tokendyn forecast study lorenz`` measures with care.
"""

import numpy as np

from tokendyn.data.systems import lorenz63
from tokendyn.forecast import TDDMD, TDTF, local_eigenvalues, read_orbit
from tokendyn.forecast.figures import attention_figure, forecast_figure, local_eigenvalues_figure, share_figure

series = lorenz63(2000, seed=0).select(["x"])
learned, rest = series[:1800].values, series[1800:].values

# %%
# Fit both on the same windows: five delays, five steps apart.
linear = TDDMD(delays=5, stride=5).fit(learned, dt=series.dt)
model = TDTF(delays=5, stride=5, units=25, noise=1e-4, iterations=10).fit(learned, dt=series.dt)
print({name: model.training_[name] for name in ("chosen", "linear_error", "error")})

# %%
# The closed loop. The error grows by the Lyapunov exponent until nothing is left of the forecast.
forecasts = {name: one.forecast(learned, 120).values for name, one in (("TD-TF", model), ("TD-DMD", linear))}
figure = forecast_figure(rest[:120], forecasts, series.dt, ["x"], model.scale_, past=learned[-60:])

# %%
# Which delays the newest snapshot attends to, along the orbit, and which move the prediction.
reading = read_orbit(model, rest)
figure_attention = attention_figure(reading, series.dt, model.stride)

# %%
# Where the nonlinear part matters, and how the local operators leave the one operator of TD-DMD.
figure_share = share_figure(reading, series.dt)
eigenvalues = local_eigenvalues(reading, model.stride)[::4]
figure_eigenvalues = local_eigenvalues_figure(eigenvalues, linear.spectrum().eigenvalues, 4 * series.dt)
print("largest modulus along the orbit:", np.abs(eigenvalues).max().round(3))
