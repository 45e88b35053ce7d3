"""The kinds of results of the library, and where they are defined."""

#: Modules that define the kinds of results, imported when a file holds one of them.
#: No other class takes their names, also while these modules are not imported.
KINDS: dict[str, str] = {
    "attention-step": "attention.step",
    "ragged-trajectory": "dynamics.ragged_trajectory",
    "limit-set": "particles.limits",
    "limit-prediction": "particles.limits",
    "lemma-report": "particles.lemmas",
    "transport": "metrics.transport",
    "valid-times": "metrics.series",
    "exponent": "metrics.series",
    "calibration": "metrics.series",
    "exact-input-report": "exact.checking",
    "exact-verification": "exact.certificate",
    "exact-explanation": "exact.explanation",
    "exact-trace": "exact.explanation",
    "exact-loss-curves": "exact.regularised",
    "sentiment-explanation": "sentiment.explanation",
    "faithfulness": "studies.sentiment.faithfulness",
    "leader-curve": "studies.sentiment.curve",
    "sentiment-comparison": "studies.sentiment.comparison",
    "forecast": "forecast.closed_loop",
    "eigenvalue-intervals": "forecast.eigenvalue_bars",
    "forecast-run": "forecast.continued",
    "forecasts": "forecast.forecasts",
    "forecast-study": "studies.forecast.comparison",
    "backtest": "forecast.backtests",
    "held-out": "forecast.held_out",
    "spectrum": "forecast.spectra",
    "inspection": "models.inspection",
    "orbit-reading": "forecast.orbit_reading",
}
