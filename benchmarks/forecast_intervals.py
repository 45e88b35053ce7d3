"""Coverage of the bands of forecasts, nominal 90 %: made systems and real series, each by several forecasters.

    python benchmarks/forecast_intervals.py [--seeds reported] [--out FILE.json]
    python benchmarks/forecast_intervals.py --eigenvalues

The constants of ``tokendyn.forecast.intervals`` were chosen on the seeds and cuts of ``development``; what is reported
comes from others. Of a made system every seed is another series: the first part is learned and calibrated, and
forecasts start all over the part behind it. Of a real series every cut learns what lies before it and forecasts once;
cuts overlap, so that fewer than their number are independent. The real series are those that statsmodels ships
(sunspots, CO2, El Nino, Nile); without it they are left out, and a line says so. Processor seconds are those of one
core.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from tokendyn.data.systems import lorenz63, sinusoids
from tokendyn.forecast import TDDMD, BasisMap, Forecaster, auto_forecaster
from tokendyn.forecast.naive import SeasonalNaive

SEEDS = {"development": range(8), "reported": range(100, 112)}
#: Shares of a real series that are learned.
CUTS = {"development": np.linspace(0.62, 0.86, 7), "reported": np.linspace(0.60, 0.88, 12)}
LEVEL = 0.9

Fit = Callable[[np.ndarray, int], Forecaster]


def ar1(seed: int) -> np.ndarray:
    """Return 2,000 steps of x' = 0.9 x + noise."""
    noise = np.random.default_rng(seed).standard_normal(2000)
    series = np.zeros((2000, 1))
    for step in range(1, 2000):
        series[step] = 0.9 * series[step - 1] + noise[step]
    return series


def tones(seed: int) -> np.ndarray:
    """Return two tones in two channels with noise of 5 % of a deviation."""
    values = sinusoids(1000, 0.05, (0.5, 0.707), channels=2, seed=seed).values
    return values + 0.05 * values.std(axis=0) * np.random.default_rng(seed + 1000).standard_normal(values.shape)


def lorenz(seed: int) -> np.ndarray:
    """Return the three coordinates of the Lorenz system at steps of 0.02."""
    return lorenz63(4000, dt=0.02, seed=seed).values


def searched(seconds: float) -> Fit:
    """Return a search with a budget in processor seconds, which calibrates itself."""
    return lambda series, horizon: auto_forecaster(series, horizon=horizon, budget=seconds).model


def calibrated(model: Callable[[], Forecaster]) -> Fit:
    """Return a fit and a calibration of a model."""
    return lambda series, horizon: model().fit(series).calibrate(series, horizon=horizon)


#: Series of a seed, rows learned, horizon, and the forecasters.
MADE: dict[str, tuple[Callable[[int], np.ndarray], int, int, dict[str, Fit]]] = {
    "AR(1) .9, 300 rows": (ar1, 300, 30, {"TD-DMD": calibrated(lambda: TDDMD(delays=5)), "search": searched(1.0)}),
    "AR(1) .9, 1,400 rows": (ar1, 1400, 50, {"TD-DMD": calibrated(lambda: TDDMD(delays=5)), "search": searched(2.0)}),
    "two tones 5 %": (tones, 400, 60, {"TD-DMD": calibrated(lambda: TDDMD(delays=20)), "search": searched(2.0)}),
    "Lorenz": (lorenz, 3000, 200, {"polynomial map": calibrated(lambda: BasisMap(order=3)), "search": searched(3.0)}),
}


def real_series() -> dict[str, tuple[np.ndarray, int, int]]:
    """Return the series of statsmodels by name, each with its season (1 for none) and horizon, if it is installed."""
    try:
        from statsmodels import datasets
    except ImportError:
        print("statsmodels is not installed: the real series are left out", file=sys.stderr)
        return {}
    weekly = datasets.co2.load_pandas().data["co2"]
    monthly = weekly.resample("MS").mean().interpolate()
    months = datasets.elnino.load_pandas().data.drop(columns="YEAR").to_numpy().ravel()
    return {
        "sunspots": (datasets.sunspots.load_pandas().data["SUNACTIVITY"].to_numpy(), 11, 22),
        "CO2, monthly": (monthly.to_numpy(), 12, 36),
        "El Nino, monthly": (months, 12, 24),
        "Nile": (datasets.nile.load_pandas().data["volume"].to_numpy(), 1, 10),
    }


def made_cases(name: str, forecaster: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return whether the bands hold the truth, ``(starts, leads, features)``, and their half width in deviations."""
    draw, rows, horizon, forecasters = MADE[name]
    series = draw(seed)
    model = forecasters[forecaster](series[:rows], horizon)
    starts = np.unique(np.linspace(max(rows, model.window_length_), len(series) - horizon, 12).astype(int))
    windows = np.stack([series[start - model.window_length_ : start] for start in starts])
    truths = np.stack([series[start : start + horizon] for start in starts])
    half = model.residuals_.half_width(horizon, LEVEL)
    values = model._rollout(windows, horizon, np.empty((len(starts), model.window_length_ + horizon, 0)))[0]
    return (np.abs(values - truths) <= half)[:, ~np.isnan(half).any(axis=1)], half / series[:rows].std(axis=0)


def real_cases(series: np.ndarray, fit: Fit, cut: float, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Return whether the bands of one forecast hold the truth, and their half width in deviations."""
    rows = int(cut * len(series))
    model = fit(series[:rows, None], horizon)
    forecast = model.forecast(horizon, level=LEVEL)
    truth = series[rows : rows + horizon, None]
    known = ~np.isnan(forecast.upper[: len(truth)])
    inside = (truth >= forecast.lower[: len(truth)]) & (truth <= forecast.upper[: len(truth)])
    return inside[known], (forecast.upper - forecast.values) / series[:rows].std()


def row(name: str, forecaster: str, cases: Iterator[tuple[np.ndarray, np.ndarray]]) -> dict[str, float | str | int]:
    """Return coverage with its range over the series, and the mean half width."""
    began = time.process_time()
    covered, widths = zip(*((inside.mean(), np.nanmean(half)) for inside, half in cases), strict=True)
    return {
        "series": name, "forecaster": forecaster, "coverage": 100 * float(np.mean(covered)),
        "least": 100 * min(covered), "half width": float(np.mean(widths)), "repeats": len(covered),
        "seconds": time.process_time() - began,
    }  # fmt: skip


def rows(which: str, only: str) -> Iterator[dict[str, float | str | int]]:
    """Yield a row for every series and forecaster."""
    for name, (_, _, _, forecasters) in MADE.items():
        for forecaster in forecasters:
            if only in f"{name} {forecaster}":
                yield row(name, forecaster, (made_cases(name, forecaster, seed) for seed in SEEDS[which]))
    for name, (series, season, horizon) in real_series().items():
        simple: dict[str, Fit] = {
            "TD-DMD": calibrated(lambda season=season: TDDMD(delays=season + 1)),
            "naive": calibrated(lambda season=season: SeasonalNaive(season)),
            "search": searched(1.0),
        }
        for forecaster, fit in simple.items():
            if only in f"{name} {forecaster}":
                yield row(name, forecaster, (real_cases(series, fit, cut, horizon) for cut in CUTS[which]))


#: Eigenvalues of two damped tones, rows and channels of the series, and draws of its noise.
ROOTS, ROWS, CHANNELS, DRAWS = np.exp(np.array([-0.005 + 0.3j, -0.01 + 0.8j])), 200, 4, 100


def damped(noise: float, seed: int) -> np.ndarray:
    """Return two damped tones with noise, a share of the deviation of each channel; only the noise has a seed."""
    rng = np.random.default_rng(0)
    amplitudes = rng.standard_normal((2, CHANNELS)) + 1j * rng.standard_normal((2, CHANNELS))
    steps = np.arange(ROWS)[:, None]
    clean = sum(2 * (amplitude * root**steps).real for amplitude, root in zip(amplitudes, ROOTS, strict=True))
    return clean + noise * clean.std(axis=0) * np.random.default_rng(1000 + seed).standard_normal(clean.shape)


def bars_hold(noise: float, rank: int | None, seed: int) -> list[list[bool]]:
    """Return for both pairs whether the intervals hold real and imaginary part, frequency and growth rate."""
    bars = TDDMD(delays=10, rank=rank).fit(damped(noise, seed)).eigenvalue_intervals(level=LEVEL, draws=60, modes=4)
    kinds, held = (bars.real, bars.imaginary, bars.frequencies, bars.growth_rates), []
    for root in ROOTS:
        row = int(np.abs(bars.eigenvalues - root).argmin())
        numbers = (root.real, root.imag, np.angle(root) / (2 * np.pi), np.log(abs(root)))
        held.append([kind[row, 0] <= number <= kind[row, 1] for kind, number in zip(kinds, numbers, strict=True)])
    return held


def print_eigenvalues() -> None:
    """Print what the error bars of eigenvalues cover, with the rank given and not."""
    print(f"{'noise':<8}{'rank':<8}{'real':>8}{'imaginary':>11}{'frequency':>11}{'growth':>8}{'mean':>8}")
    for noise in (0.01, 0.05, 0.2):
        for rank in (4, None):
            held = np.array([bars_hold(noise, rank, seed) for seed in range(DRAWS)])
            covered = 100 * held.mean(axis=(0, 1))
            line = "".join(f"{value:{width}.0f}" for value, width in zip(covered, (8, 11, 11, 8), strict=True))
            print(f"{100 * noise:<4g}%   {rank or 'whole':<8}{line}{covered.mean():8.1f}", flush=True)


def main() -> None:
    """Print the table, and write it where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", choices=SEEDS, default="reported")
    parser.add_argument("--only", default="", help="rows whose name holds this text")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--eigenvalues", action="store_true", help="error bars of eigenvalues instead")
    options = parser.parse_args()
    if options.eigenvalues:
        with threadpool_limits(limits=1):
            print_eigenvalues()
        return
    table = []
    print(
        f"{'series':<22}{'forecaster':<16}{'coverage, %':>12}{'least':>7}{'half width, sd':>16}{'repeats':>9}{'s':>7}"
    )
    with threadpool_limits(limits=1):
        for entry in rows(options.seeds, options.only):
            table.append(entry)
            print(
                f"{entry['series']:<22}{entry['forecaster']:<16}{entry['coverage']:12.1f}{entry['least']:7.0f}"
                f"{entry['half width']:16.3g}{entry['repeats']:9d}{entry['seconds']:7.1f}",
                flush=True,
            )
    if options.out is not None:
        options.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
