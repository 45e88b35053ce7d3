"""Real series that statistics packages ship: the default forecaster beside AutoETS, AutoARIMA and simpler peers.

    python benchmarks/forecast_real.py results.jsonl [--set report|development] [--budget 10]
    python benchmarks/forecast_real.py results.jsonl --table

Needs statsmodels (the series) and statsforecast (two peers). The series and horizons below were named before any model
ran on them; those of the development set are the ones that the rules of short series were chosen on. From four rolling
origins, the last of which leaves one horizon, each model learns all that comes before and forecasts one horizon. MASE:
mean absolute error over that of the seasonal naive forecast, one season ahead, within what was learned at the first
origin; the mean over the origins. Lines that are in the file are not measured again.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from tokendyn.errors import TokendynError
from tokendyn.forecast import TDDMD, auto_forecaster

ORIGINS = 4
#: Name: season, horizon.
REPORT = {
    "airline": (12, 24), "co2": (12, 36), "electrical equipment": (12, 24), "inflation": (4, 12), "interest": (4, 12),
    "investment": (4, 12), "income": (4, 12), "consumption": (4, 12), "BAA yield": (12, 24), "unemployment": (12, 24),
    "stock index": (12, 24), "gross product": (4, 16),
}  # fmt: skip
DEVELOPMENT = {
    "sunspots": (1, 33), "el Nino": (12, 24), "Nile": (1, 15), "real product": (4, 16), "real consumption": (4, 16),
    "unemployment rate": (4, 16), "treasury bill": (4, 16),
}  # fmt: skip


def series_of(name):
    """Return one series as a column of numbers in order of time."""
    import statsmodels.api as sm
    from statsmodels.tsa.tests import results

    data, macro = sm.datasets, ("real product", "real consumption", "unemployment rate", "treasury bill")
    folder = Path(results.__file__).parent
    if name == "airline":
        from statsforecast.utils import AirPassengersDF

        return AirPassengersDF["y"].to_numpy(dtype=float)
    if name == "co2":
        return data.co2.load_pandas().data["co2"].resample("MS").mean().interpolate().to_numpy()
    if name == "electrical equipment":
        return pd.read_csv(Path(sm.datasets.__file__).parent / "elec_equip" / "elec_equip.csv").iloc[:, -1].to_numpy(dtype=float)
    if name in ("inflation", "interest"):
        return data.interest_inflation.load_pandas().data["Dp" if name == "inflation" else "R"].to_numpy(dtype=float)
    if name in ("investment", "income", "consumption"):
        table = pd.read_stata(folder / "lutkepohl2.dta")
        return table[{"investment": "inv", "income": "inc", "consumption": "consump"}[name]].to_numpy(dtype=float)
    if name in ("BAA yield", "unemployment", "stock index", "gross product"):
        file = {"BAA yield": "BAA", "unemployment": "UN", "stock index": "SP500", "gross product": "rgnpq"}[name]
        return pd.read_csv(folder / f"{file}.csv").select_dtypes("number").iloc[:, -1].dropna().to_numpy(dtype=float)
    if name == "sunspots":
        return data.sunspots.load_pandas().data["SUNACTIVITY"].to_numpy()
    if name == "Nile":
        return data.nile.load_pandas().data["volume"].to_numpy(dtype=float)
    if name == "el Nino":
        return data.elnino.load_pandas().data.iloc[:, 1:].to_numpy(dtype=float).ravel()
    column = dict(zip(macro, ("realgdp", "realcons", "unemp", "tbilrate"), strict=True))[name]
    return data.macrodata.load_pandas().data[column].to_numpy(dtype=float)


def forecast_default(learned, season, horizon, budget):
    """Return the forecast of the default search, and the family that it chose."""
    result = auto_forecaster(learned[:, None], horizon=horizon, budget=budget)
    return result.forecast(steps=horizon).values[:, 0], result.family


def forecast_delays(learned, season, horizon, budget):
    """Return the forecast of TD-DMD with a season and one of delays."""
    model = TDDMD(delays=max(season + 1, 2)).fit(learned[:, None])
    return model.forecast(learned[:, None], horizon).values[:, 0], ""


def forecast_peer(name):
    """Return a function that forecasts with a model of statsforecast."""

    def forecast(learned, season, horizon, budget):
        from statsforecast import models

        options = {"season_length": season}
        return getattr(models, name)(**options).forecast(y=learned, h=horizon)["mean"], ""

    return forecast


MODELS = {
    "default": forecast_default, "TD-DMD(season+1)": forecast_delays, "seasonal naive": forecast_peer("SeasonalNaive"),
    "AutoETS": forecast_peer("AutoETS"), "AutoARIMA": forecast_peer("AutoARIMA"),
}  # fmt: skip


def measure(name, season, horizon, model, budget):
    """Return the line of one series and model."""
    series, began, errors, families = series_of(name), time.process_time(), [], []
    ends = [len(series) - horizon - (ORIGINS - 1 - i) * (horizon // 2) for i in range(ORIGINS)]
    scale = np.abs(series[season : ends[0]] - series[: ends[0] - season]).mean()
    for end in ends:
        values, family = MODELS[model](series[:end], season, horizon, budget)
        errors.append(float(np.abs(values - series[end : end + horizon]).mean() / scale))
        families.append(family)
    return {
        "series": name, "rows": len(series), "horizon": horizon, "model": model, "mase": float(np.mean(errors)),
        "errors": errors, "families": families, "seconds": round(time.process_time() - began, 2),
    }  # fmt: skip


def table_of(lines):
    """Print MASE by series and model, and the ratios."""
    table = pd.DataFrame(lines).pivot_table(index="series", columns="model", values="mase", sort=False)
    table = table[[name for name in MODELS if name in table]].dropna()
    peers = [name for name in table if name != "default"]
    table["ratio"] = table["default"] / table[peers].min(axis=1)
    print(table.round(3).to_string())
    means = np.exp(np.log(table).mean())
    print("\ngeometric mean", means.round(3).to_dict())
    best = means[peers].idxmin()
    print(f"default / best peer on the whole ({best}): {means['default'] / means[best]:.3f}")
    print(f"default / best peer of each series in hindsight: {means['ratio']:.3f}; above 1.3: "
          f"{int((table['ratio'] > 1.3).sum())} of {len(table)}")  # fmt: skip


def main():
    """Measure what is missing in the file, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--set", choices=("report", "development"), default="report")
    parser.add_argument("--budget", type=float, default=10.0)
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    chosen = REPORT if options.set == "report" else DEVELOPMENT
    lines = [json.loads(line) for line in options.results.read_text().splitlines()] if options.results.exists() else []
    known = {(line["series"], line["model"]) for line in lines}
    for name, (season, horizon) in chosen.items() if not options.table else ():
        for model in options.models:
            if (name, model) in known:
                continue
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    line = measure(name, season, horizon, model, options.budget)
            except TokendynError as error:
                print(f"{name}, {model}: {error}")
                continue
            lines.append(line)
            with options.results.open("a") as stream:
                stream.write(json.dumps(line) + "\n")
            print(f"{name:22}{model:20}{line['mase']:8.3f}{line['seconds']:8.1f} s  {line['families']}", flush=True)
    table_of([line for line in lines if line["series"] in chosen])


if __name__ == "__main__":
    main()
