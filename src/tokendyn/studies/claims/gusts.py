"""The claim of arXiv 2602.08478 on unsteady aerodynamics: an aerofoil in gusts, attached and stalled."""

import numpy as np
import pandas as pd

from tokendyn.data.snapshots import Snapshots
from tokendyn.data.systems.gusts import aerofoil_gusts, kuessner, wagner
from tokendyn.forecast import TDDMD, TDTF, Forecaster, PaperTDTF
from tokendyn.metrics import nrmse
from tokendyn.studies.claims.claim import Claim, Finding, Profile, at_most
from tokendyn.studies.claims.drawing import curves
from tokendyn.studies.forecast.gust_study import ATTACHED, STALLED, STEP, indicial, middles

#: Reduced time between snapshots of stalled flow, and the snapshots before a forecast.
_STALL_STEP, _LEAD = 1.0, 200


def gusts(profile: Profile, seed: int, *, stall: bool = True) -> Finding:
    """Ask a linear model of attached flow for Kuessner's function; compare models where the flow stalls."""
    attached = aerofoil_gusts(1500, STEP, amplitude=ATTACHED, seed=seed)
    linear = TDDMD(delays=8).fit(attached.values, dt=STEP, inputs=attached.inputs)
    times, entry = middles(), indicial(linear, 2)
    points = 4000 if profile == "quick" else 20_000
    learned, test = (
        aerofoil_gusts(count, _STALL_STEP, amplitude=STALLED, stall=stall, seed=seed + number)
        for number, count in enumerate((points, 1000 + _LEAD))
    )
    errors = {name: _chosen(models, learned, test) for name, models in _families(profile, seed).items()}
    values = {
        "Kuessner's function from the linear model, largest error": float(np.abs(entry - kuessner(times)).max()),
        "Wagner's function from the linear model, largest error":
            float(np.abs(indicial(linear, 0) - wagner(times)).max()),
        "stalled: error of TD-TF by that of the best linear model": errors["TD-TF"] / errors["TD-DMD"],
    }  # fmt: skip
    table = pd.DataFrame({"model": list(errors), "error where the flow stalls, sd": list(errors.values())})
    figure = curves(
        {"linear model": (times, entry), "Kuessner": (times, kuessner(times))}, "half chords", "lift after a sharp gust"
    )
    for line in figure.axes[0].lines:
        line.set_marker("")
    remark = "Closed loops of 1,000 steps in another draw; settings by the last fifth of what is learned."
    return Finding(values=values, table=table, figure=figure, remark=remark)


def _families(profile: Profile, seed: int) -> dict[str, list[Forecaster]]:
    windows = [(delays, ridge) for delays in (6, 12, 24) for ridge in (0.0, 1e-4, 1e-3, 1e-2, 1e-1)]
    iterations, epochs = (10, 2) if profile == "quick" else (30, 60)
    return {
        "TD-TF": [
            TDTF(
                delays=6, units=60, noise=0.03, iterations=iterations, gate=False, attention=False, random_state=seed
            )
        ],
        "TD-DMD": [TDDMD(delays=delays, ridge=ridge) for delays, ridge in windows],
        "literal transformer": [PaperTDTF(delays=6, epochs=epochs, random_state=seed)],
    }  # fmt: skip


def _chosen(models: list[Forecaster], learned: Snapshots, test: Snapshots) -> float:
    """Return the error on the test of the model that is best on the last fifth of what is learned, fitted to all."""
    cut = 4 * len(learned) // 5
    best = models[0]
    if len(models) > 1:
        held_out = learned[cut - _LEAD :]
        best = min(models, key=lambda model: _error(model, learned[:cut], held_out))
    return _error(best, learned, test)


def _error(model: Forecaster, learned: Snapshots, test: Snapshots) -> float:
    """Return the closed-loop error behind the lead, in standard deviations; infinite when the forecast diverges."""
    model.fit(learned.values, dt=learned.dt, inputs=learned.inputs)
    window, truth = model.window_length_, test.values[_LEAD:]
    driven = None if test.inputs is None else test.inputs[None, _LEAD - window :]
    forecast = model.forecast_many(test.values[None, _LEAD - window : _LEAD], len(truth), driven)[0]
    if forecast.status != "completed":
        return float("inf")
    return float(nrmse(forecast.values, truth, truth.std(axis=0)))


CLAIM = Claim(
    id="forecast.gusts",
    statement="Lift in gusts: linear where the flow is attached, and the transformer is better where it stalls.",
    source="arXiv 2602.08478, unsteady aerodynamics; its data were not at hand, the truth here is generated",
    how="A linear model's lift after a sharp gust against Kuessner's function; closed loops of models in stalled flow.",
    bounds={
        "Kuessner's function from the linear model, largest error": at_most(0.01),
        "Wagner's function from the linear model, largest error": at_most(0.01),
        "stalled: error of TD-TF by that of the best linear model": at_most(0.5),
    },
    check=gusts,
)
