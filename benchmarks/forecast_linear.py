"""TD-DMD beside PyDMD's HankelDMD on 100,000 snapshots of 50 columns: processor time and memory, a process for each.

    python benchmarks/forecast_linear.py [--rows 100000] [--columns 50] [--delays 5] [--rank 20]

The series is a sum of ten damped tones, mixed into the columns, with noise of about 0.1 %. Both fit the same Hankel
matrix at the same rank and forecast 100 steps, whose error against the clean signal is printed beside. Memory is the
peak of the process less that of one that only makes the series and imports the model. One JSON object a line.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

STEPS = 100


def series_of(rows, columns):
    """Return the noisy rows that are learned, and what follows without noise."""
    rng = np.random.default_rng(0)
    rates = -rng.uniform(0, 1, 10) / rows + 1j * rng.uniform(0.05, 1.0, 10)
    mixing = rng.standard_normal((10, columns)) + 1j * rng.standard_normal((10, columns))
    clean, learned = np.empty((rows + STEPS, columns)), np.empty((rows, columns))
    for first in range(0, len(clean), 5_000):  # in parts: what the making takes for a while would hide what a fit takes
        times = np.arange(first, min(first + 5_000, len(clean)))
        clean[times] = (np.exp(np.outer(times, rates)) @ mixing).real
        part = clean[times[times < rows]]
        learned[first : first + len(part)] = part + 5e-3 * rng.standard_normal(part.shape)
    return learned, clean[rows:]


def measure(model, rows, columns, delays, rank):
    """Print the processor seconds and the peak memory of one model in this process."""
    from tokendyn.forecast import TDDMD
    from tokendyn.rivals.forecast import PyDMDHankel

    learned, truth = series_of(rows, columns)
    small = learned[:500]
    kinds = {"TD-DMD": (TDDMD, rank), "TD-DMD, whole rank": (TDDMD, None), "PyDMD": (PyDMDHankel, rank)}
    kind, kept = kinds[model]
    kind(delays=delays, rank=kept).fit(small)  # what is imported or compiled at the first call is not counted
    before, began = _peak(), time.process_time()
    forecaster = kind(delays=delays, rank=kept).fit(learned)
    seconds = time.process_time() - began
    forecast = forecaster.predict(STEPS, learned[-max(delays, 2) :])
    error = np.sqrt(((forecast - truth) ** 2).mean()) / learned.std()
    row = {
        "model": model,
        "fit_seconds": round(seconds, 2),
        "megabytes": round(_peak() - before),
        "error": float(error),
    }
    print(json.dumps(row), flush=True)


def _peak():
    """Return the peak memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("rows", 100_000), ("columns", 50), ("delays", 5), ("rank", 20)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--model", help="only this, in this process")
    options = parser.parse_args()
    sizes = (options.rows, options.columns, options.delays, options.rank)
    if options.model:
        measure(options.model, *sizes)
        return
    for model in ("TD-DMD", "TD-DMD, whole rank", "PyDMD"):
        words = [f"--{n}={v}" for n, v in zip(("rows", "columns", "delays", "rank"), sizes, strict=True)]
        subprocess.run([sys.executable, __file__, "--model", model, *words], check=True)


if __name__ == "__main__":
    main()
