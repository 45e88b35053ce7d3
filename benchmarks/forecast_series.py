"""Short real series: MASE of the default search beside AutoETS, AutoARIMA, the seasonal naive model and TD-DMD.

    python benchmarks/forecast_series.py peers peers.json       # needs statsmodels and statsforecast
    python benchmarks/forecast_series.py ours peers.json        # needs tokendyn only

Series that statsmodels ships; the last parts are forecast from three origins, half a horizon apart, each learning all
that is before it. MASE: mean absolute error over that of the seasonal naive model in the training part (of the last
value where there is no season). The two commands may run in environments of their own: the file carries series and
forecasts.
"""

import argparse
import json
from pathlib import Path

import numpy as np

#: Season and horizon by the step of the series.
MONTHLY, QUARTERLY, YEARLY = (12, 24), (4, 8), (1, 10)
ORIGINS = 3


def series_of_statsmodels():
    """Return name, values, season and horizon of each series."""
    from statsmodels import datasets
    from statsmodels.datasets import elec_equip

    co2 = datasets.co2.load_pandas().data["co2"].resample("MS").mean().interpolate().to_numpy()
    elnino = datasets.elnino.load_pandas().data.set_index("YEAR").to_numpy().ravel()
    macro = datasets.macrodata.load_pandas().data
    interest = datasets.interest_inflation.load_pandas().data
    found = {"co2": (co2, *MONTHLY), "elnino": (elnino[np.isfinite(elnino)][-300:], *MONTHLY)}
    equipment = elec_equip.load_pandas().data.iloc[:, -1]
    found["elec_equip"] = (equipment.to_numpy(dtype=float), *MONTHLY)
    found["sunspots"] = (datasets.sunspots.load_pandas().data["SUNACTIVITY"].to_numpy(), *YEARLY)
    found["nile"] = (datasets.nile.load_pandas().data["volume"].to_numpy(dtype=float), *YEARLY)
    for name in ("realgdp", "cpi", "unemp", "tbilrate", "m1"):
        found[name] = (macro[name].to_numpy(dtype=float), *QUARTERLY)
    found["inflation"] = (interest["Dp"].to_numpy(dtype=float), *QUARTERLY)
    found["interest"] = (interest["R"].to_numpy(dtype=float), *QUARTERLY)
    return found


def origins(samples, horizon):
    """Return where the held-out parts begin."""
    return [samples - horizon - k * (horizon // 2) for k in reversed(range(ORIGINS))]


def peers(file):
    """Write the series with the forecasts of AutoETS and AutoARIMA."""
    from statsforecast.models import AutoARIMA, AutoETS

    record = {}
    for name, (values, season, horizon) in series_of_statsmodels().items():
        forecasts = {"AutoETS": [], "AutoARIMA": []}
        for origin in origins(len(values), horizon):
            for kind, model in (("AutoETS", AutoETS), ("AutoARIMA", AutoARIMA)):
                mean = model(season_length=season).forecast(y=values[:origin], h=horizon)["mean"]
                forecasts[kind].append(np.asarray(mean).tolist())
        record[name] = {"values": values.tolist(), "season": season, "horizon": horizon, "forecasts": forecasts}
        print(name, len(values), flush=True)
    file.write_text(json.dumps(record))


def ours(file):
    """Print the MASE of every model and the geometric mean ratio of the search to the best of the others."""
    from tokendyn.forecast import TDDMD, TDTF, auto_forecaster

    ratios, logs = [], {}
    for name, one in json.loads(file.read_text()).items():
        values, season, horizon = np.array(one["values"]), one["season"], one["horizon"]
        errors = {}
        for number, origin in enumerate(origins(len(values), horizon)):
            learned, truth = values[:origin, None], values[origin : origin + horizon]
            scale = np.abs(values[season:origin] - values[: origin - season]).mean()
            forecasts = {kind: parts[number] for kind, parts in one["forecasts"].items()}
            forecasts["seasonal naive"] = values[origin - season + np.arange(horizon) % season]
            delays = min(season + 1 if season > 1 else 12, origin // 3)
            for kind, model in (("TD-DMD, season + 1", TDDMD(delays=delays)), ("TDTF()", TDTF(horizon=horizon))):
                forecasts[kind] = _finite(model.fit(learned).forecast(learned, horizon).values[:, 0], horizon, learned)
            search = auto_forecaster(learned, horizon=horizon, budget=3.0)
            forecasts["search"] = _finite(search.forecast(learned, horizon).values[:, 0], horizon, learned)
            for kind, forecast in forecasts.items():
                errors.setdefault(kind, []).append(np.abs(np.asarray(forecast) - truth).mean() / scale)
        row = {kind: round(float(np.mean(part)), 3) for kind, part in errors.items()}
        best = min(value for kind, value in row.items() if kind not in ("search", "TDTF()"))
        ratios.append(row["search"] / best)
        for kind, value in row.items():
            logs.setdefault(kind, []).append(np.log(value))
        print(json.dumps({"series": name, "rows": len(values), **row, "ratio": round(ratios[-1], 3)}), flush=True)
    mean = float(np.exp(np.mean(np.log(ratios))))
    print(
        json.dumps(
            {"geometric means of MASE": {kind: round(float(np.exp(np.mean(part))), 3) for kind, part in logs.items()}}
        )
    )
    print(json.dumps({"by the best of each series": round(mean, 3), "above 1.3": int(np.sum(np.array(ratios) > 1.3))}))


def _finite(values, horizon, learned):
    """Return a forecast, continued by its last value where it diverged."""
    whole = np.full(horizon, learned[-1, 0])
    whole[: len(values)] = values
    return whole


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["peers", "ours"])
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    (peers if options.part == "peers" else ours)(options.file)


if __name__ == "__main__":
    main()
