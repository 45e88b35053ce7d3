"""Claims of arXiv 2602.08478: a one-layer, one-head, one-query transformer over delays."""

import math
import time
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd

from tokendyn.data.systems import lorenz63, sinusoids
from tokendyn.forecast import TDDMD, TDTF, Forecaster, local_eigenvalues, read_orbit
from tokendyn.metrics import histogram_distance, nrmse, valid_prediction_times
from tokendyn.rivals.forecast import PyDMDHankel
from tokendyn.studies.claims.claim import Claim, Finding, Profile, at_least, at_most
from tokendyn.studies.claims.drawing import bars, curves
from tokendyn.studies.claims.gusts import CLAIM as GUSTS
from tokendyn.studies.forecast.comparison import LINEAR
from tokendyn.studies.forecast.lorenz_study import ALL, X_ONLY

SOURCE = "arXiv 2602.08478"
#: Largest Lyapunov exponent of the Lorenz system (Sprott 2003).
_EXPONENT = 0.9056


def generalises_dmd(profile: Profile, seed: int, *, activation: str = "identity") -> Finding:
    """Compare TD-TF with attention frozen and linear units with TD-DMD, over closed loops."""
    rows = []
    for delays, stride in ((5, 2), (8, 1), (12, 3)) if profile == "quick" else ((5, 2), (8, 1), (12, 3), (40, 2)):
        series = sinusoids(600, frequencies=(0.5, 0.9, 1.7), channels=2, noise=0.05, seed=seed).values
        linear = TDDMD(delays=delays, stride=stride).fit(series)
        same = TDTF(
            delays=delays, stride=stride, units=2 * delays, rank=2 * delays, attention=False, activation=activation,
            linear=False, noise=0.0, ridge=0.0, gate=False, iterations=1, validation_fraction=0.0, random_state=seed,
        ).fit(series)  # fmt: skip
        window = series[: linear.window_length_]
        gap = np.abs(same.forecast(window, 100).values - linear.forecast(window, 100).values).max() / series.std()
        rows.append({"delays": delays, "stride": stride, "difference": float(gap)})
    table = pd.DataFrame(rows)
    figure = curves({"difference": (table["delays"], table["difference"])}, "delays", "difference", logy=True)
    return Finding(
        values={"largest difference over 100 steps": float(table["difference"].max())}, table=table, figure=figure
    )


def linear_cost(profile: Profile, seed: int) -> Finding:
    """Time a step of the closed loop against the number of delays, and count parameters beside the peers'."""
    series = sinusoids(3000, frequencies=(0.5, 0.9, 1.7), noise=0.01, seed=seed).values
    steps, rows = (20_000 if profile == "quick" else 100_000), []
    for delays in (16, 32, 64, 128, 256):
        model = TDTF(delays=delays, units=20, rank=8, iterations=1, gate=False, random_state=seed).fit(series)
        model.forecast(series, 10)
        seconds = []
        for _ in range(3):
            began = time.process_time()
            model.forecast(series, steps)
            seconds.append(time.process_time() - began)
        rows.append({"delays": delays, "microseconds a step": 1e6 * min(seconds) / steps})
    table = pd.DataFrame(rows)
    slope, _ = np.polyfit(np.log(table["delays"]), np.log(table["microseconds a step"]), 1)
    figure = curves(
        {"TD-TF": (table["delays"], table["microseconds a step"])}, "delays", "microseconds a step", logx=True,
        logy=True,
    )  # fmt: skip
    return Finding(
        values={"slope of time by delays": float(slope)},
        table=table,
        figure=figure,
        remark="Logarithms; fastest of three runs.",
    )


def near_linear(profile: Profile, seed: int) -> Finding:
    """Compare errors on sums of sinusoids with those of linear models, each with the settings that validation chose."""
    levels, draws = ((0.0, 0.01), 4) if profile == "quick" else ((0.0, 0.001, 0.01, 0.05), 16)
    table = pd.DataFrame([_near_linear(noise, seed + draw) for noise in levels for draw in range(draws)])
    errors = (table.set_index("noise") ** 2).groupby("noise").mean() ** 0.5
    ratios = (errors["TD-TF"] + _ROUNDING) / (errors.drop(columns="TD-TF").min(axis=1) + _ROUNDING)
    drawn = {str(name): (errors.index, np.maximum(errors[name], 1e-16)) for name in errors}
    remark = f"Root mean squares over {draws} signals of closed loops of 500 steps; below 1e-9 they count as rounding."
    values = {"error by that of the best linear model": float(ratios.max())}
    return Finding(values=values, table=table, figure=curves(drawn, "noise", "error, sd", logy=True), remark=remark)


def _near_linear(noise: float, seed: int) -> dict[str, float]:
    """Return the error of each model on one signal; the last fifth of what is learned chooses its settings."""
    clean = sinusoids(1500, frequencies=(0.5, 2**0.5, 1.9), channels=2, seed=seed).values
    learned = clean + noise * clean.std(axis=0) * np.random.default_rng([seed, 9]).standard_normal(clean.shape)
    learned, truth = learned[:1000], clean[1000:]
    windows = [(delays, rank) for delays in (40, 100, 200) for rank in (None, 6)]
    nonlinear = TDTF(delays=40, units=20, rank=8, iterations=8, noise=1e-3, random_state=seed)
    families: dict[str, list[Forecaster]] = {
        "TD-TF": [*(TDTF(delays=delays, rank=rank, **LINEAR) for delays, rank in windows), nonlinear],
        "TD-DMD": [TDDMD(delays=delays, rank=rank) for delays, rank in windows],
    }
    if find_spec("pydmd") is not None:
        families["PyDMD"] = [PyDMDHankel(delays, rank or 0) for delays, rank in windows]
    found = {"noise": noise}
    for name, models in families.items():
        best = min(models, key=lambda model: _closed_loop(model, learned[:800], learned[800:]))
        found[name] = _closed_loop(best, learned, truth)
    return found


def _closed_loop(model: Forecaster, learned: np.ndarray, truth: np.ndarray) -> float:
    """Return the error of the forecast that follows what was learned, infinite when it diverges."""
    forecast = model.fit(learned).forecast(learned, len(truth))
    return nrmse(forecast.values, truth, truth.std(axis=0)) if forecast.status == "completed" else math.inf


#: Errors below this share of a standard deviation are rounding.
_ROUNDING = 1e-9


def chaos(profile: Profile, seed: int, *, settings: Mapping[str, Any] | None = None) -> Finding:
    """Forecast the Lorenz system, in the full profile from x alone: valid times, histogram of a long closed loop."""
    quick = profile == "quick"
    points, starts, horizon, columns = (5000, 20, 1000, 3) if quick else (10_000, 50, 1200, 1)
    series = lorenz63(points, seed=seed).values[:, :columns]
    truth = lorenz63(400 * starts + horizon + 400, seed=seed + 1000).values[:, :columns]
    ours = (ALL if quick else X_ONLY) if settings is None else settings
    models: dict[str, Forecaster] = {
        "TD-TF": TDTF(random_state=seed, **ours),
        "TD-DMD": TDDMD(delays=5, stride=5),
        "TD-DMD, long window": TDDMD(delays=100),
    }
    rows = []
    for name, model in models.items():
        model.fit(series, dt=0.02)
        at = 200 + 400 * np.arange(starts)
        windows = np.stack([truth[k - model.window_length_ : k] for k in at])
        forecasts = np.full((starts, horizon, columns), 1e6)
        for row, forecast in zip(forecasts, model.forecast_many(windows, horizon), strict=True):
            row[: forecast.finite_steps] = forecast.values
        truths = np.stack([truth[k : k + horizon] for k in at])
        times = valid_prediction_times(forecasts, truths, 0.02, _EXPONENT, scale=series.std(axis=0))
        long = model.forecast(series, 50_000 if quick else 1_000_000)
        rows.append(
            {
                "model": name,
                "valid time": times.median,
                "lower quartile": times.lower,
                "upper quartile": times.upper,
                "long run": long.status,
                "histogram distance": histogram_distance(long.values, truth),
            }
        )
    table = pd.DataFrame(rows).set_index("model")
    linear = table.drop(index="TD-TF")
    values = {
        "valid time by that of the best linear model": float(table["valid time"]["TD-TF"] / linear["valid time"].max()),
        "valid time in Lyapunov times": float(table["valid time"]["TD-TF"]),
        "histogram distance of a long run": float(table["histogram distance"]["TD-TF"]),
    }
    drawn = {str(name): float(time) for name, time in table["valid time"].items()}
    remark = f"{points:,} points of {columns} columns, {starts} starts on another orbit; medians."
    return Finding(
        values=values, table=table.reset_index(), figure=bars(drawn, "valid time in Lyapunov times"), remark=remark
    )


def interpretable(profile: Profile, seed: int) -> Finding:
    """Check what is read off a fitted TD-TF against its predictions, and its local operators against differences."""
    series = lorenz63(1500, seed=seed).values[:, :1]
    model = TDTF(delays=5, stride=5, units=40, iterations=10, noise=1e-5, gate=False, random_state=seed)
    model.fit(series[:1200])
    part = series[1200 : 1260 if profile == "quick" else 1500]
    reading = read_orbit(model, part)
    predicted = part[model.window_length_ - 1 : -1] + reading.linear + reading.nonlinear
    rows, h = [], 1e-5 * float(series.std())
    for number, operators in enumerate(reading.operators):
        window = part[number : number + model.window_length_ + 1]
        for delay, place in enumerate(range(0, model.window_length_, model.stride_)):
            shift = np.zeros_like(window)
            shift[place] = h
            slope = (model.one_step(window + shift) - model.one_step(window - shift))[0, 0] / (2 * h)
            rows.append({"sample": number, "delay": delay, "read": operators[delay, 0, 0], "quotient": slope})
    table = pd.DataFrame(rows)
    gaps = (table["read"] - table["quotient"]).abs()
    moduli = np.abs(local_eigenvalues(reading, model.stride_)[:, 0])
    values = {
        "attention adds up to 1": float(np.abs(reading.attention.sum(axis=1) - 1).max()),
        "parts add up to the prediction": float(np.abs(predicted - model.one_step(part)).max() / series.std()),
        "local operators, relative error": float(gaps.max() / table["read"].abs().max()),
        "local expansion varies along the orbit": float(np.ptp(moduli)),
    }
    figure = curves({"local": (np.arange(len(moduli)), moduli)}, "snapshot", "largest local eigenvalue, modulus")
    return Finding(values=values, table=table, figure=figure, remark="Lorenz, x only.")


CLAIMS = (
    Claim(
        id="forecast.generalises-dmd",
        statement="A one-layer, one-head transformer over delays is a nonlinear generalisation of TD-DMD.",
        source=SOURCE,
        how=(
            "Closed loops of TD-TF with attention frozen and linear units, against TD-DMD, relative to the "
            "data's spread."
        ),
        bounds={"largest difference over 100 steps": at_most(1e-8)},
        check=generalises_dmd,
    ),
    Claim(
        id="forecast.linear-cost",
        statement="The cost of a prediction is linear in the number of delays.",
        source=SOURCE,
        how="Slope of log time of a step against log number of delays.",
        bounds={"slope of time by delays": at_most(1.1)},
        check=linear_cost,
    ),
    Claim(
        id="forecast.near-linear",
        statement="On near-linear systems it matches strong linear baselines.",
        source=SOURCE,
        how="Closed-loop errors on sums of sinusoids, clean and noisy, beside TD-DMD and PyDMD.",
        bounds={"error by that of the best linear model": at_most(1.1)},
        check=near_linear,
    ),
    Claim(
        id="forecast.chaos",
        statement="On chaotic systems it is far better than linear models, and its long-term statistics are right.",
        source=SOURCE,
        how=(
            "Valid prediction times on the Lorenz system (full profile: x alone), and the histogram of a long "
            "closed loop."
        ),
        bounds={
            "valid time by that of the best linear model": at_least(2.0),
            "valid time in Lyapunov times": at_least(3.0),
            "histogram distance of a long run": at_most(0.1),
        },
        check=chaos,
    ),
    Claim(
        id="forecast.interpretable",
        statement=(
            "It keeps the interpretability of linear models: attention over delays, a local linear operator, "
            "its spectrum."
        ),
        source=SOURCE,
        how="What is read off a model against its own predictions and difference quotients.",
        bounds={
            "attention adds up to 1": at_most(1e-10),
            "parts add up to the prediction": at_most(1e-10),
            "local operators, relative error": at_most(1e-5),
            "local expansion varies along the orbit": at_least(1e-3),
        },
        check=interpretable,
    ),
    GUSTS,
)
