"""
A field, from data to a forecast
================================

Two waves on a sphere with noise and an island: modes with cell areas, a linear model of their coefficients, and the
forecast as a field. ``tokendyn forecast run FILE.nc`` does all of this and writes a page.
"""

import numpy as np
import pandas as pd
import xarray as xr

import tokendyn as td
from tokendyn.forecast.continued import linear_spectrum
from tokendyn.forecast.figures import energy_figure
from tokendyn.forecast.pod import POD
from tokendyn.forecast.run_page import field_figure, forecast_picture, maps_figure

steps, lat, lon = np.arange(180)[:, None, None], np.linspace(-60, 60, 13)[:, None], np.arange(0, 360, 15.0)
field = np.cos(np.pi * steps / 6) * np.cos(np.deg2rad(lat)) * np.cos(np.deg2rad(lon))
field = field + 0.4 * np.sin(steps / 7) * np.sin(np.deg2rad(2 * lon))
field += 0.05 * np.random.default_rng(0).normal(size=field.shape)
field[:, 4:6, 8:11] = np.nan
coords = {"time": pd.date_range("2010-01-01", periods=180, freq="MS"), "lat": lat[:, 0], "lon": lon}
sea = xr.DataArray(field, dims=("time", "lat", "lon"), coords=coords, name="sst")

# %%
# How many modes stand out of the noise, and what they hold.
pod = POD(modes="auto").fit(sea)
print(len(pod.modes_), "modes hold", pod.energies_.sum().round(4), "of the variance")
figure = energy_figure(POD(modes=8).fit(sea).energies_)

# %%
# From the data to a forecast: the calendar, the season and the island are found.
run = td.forecast(sea[:150], 30, budget=2.0)
print(run)
figure_forecast = forecast_picture(run)

# %%
# The field at the end of the forecast, and how far it is from what came.
figure_field = field_figure(run)
error = float(np.sqrt(((run.predicted() - sea[150:]) ** 2).mean()))
print("root mean square error:", round(error, 3), "beside a noise of 0.05")

# %%
# The modes of the linear model with delays, as maps.
spectrum, _ = linear_spectrum(run.past, run.season)
figure_maps = maps_figure(spectrum, run.past.grid, run.past)
# sphinx_gallery_thumbnail_number = 3
