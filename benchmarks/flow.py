"""Strouhal number, drag and lift of the cylinder at Reynolds number 100, by resolution and by distance of the walls.

    python benchmarks/flow.py --out flow.json

Published for an unconfined cylinder: Strouhal number .164 (Williamson 1989, experiment) to .167, mean drag coefficient
1.32 to 1.36, root mean square of the lift coefficient .22 to .24 (Park, Kwon, Choi 1998: .165, 1.33, .235). Ours is a
row of cylinders ``height`` diameters apart. Times are CPU seconds of one thread, compilation excluded.
"""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

import argparse  # noqa: E402
import json  # noqa: E402
import platform  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

from tokendyn.metrics import dominant_frequency  # noqa: E402
from tokendyn.studies.flow import cylinder_flow  # noqa: E402

#: Resolution, length, height, distance of the inflow.
SIZES = ((8, 30, 16, 8), (12, 30, 16, 8), (16, 30, 16, 8), (12, 40, 32, 14))


def measure(resolution: int, length: float, height: float, upstream: float) -> dict[str, float]:
    began = time.process_time()
    series = cylinder_flow(
        resolution=resolution, length=length, height=height, upstream=upstream, points=400, discard=120.0
    ).series
    lift, drag = series.values[:, 0], series.values[:, 1]
    return {
        "resolution": resolution,
        "length": length,
        "height": height,
        "upstream": upstream,
        "strouhal": dominant_frequency(lift, series.dt),
        "drag": float(drag.mean()),
        "lift_rms": float(lift.std()),
        "cpu_seconds": time.process_time() - began,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    cylinder_flow(points=2, discard=0.0)
    rows = []
    print(f"{'cells/D':>8}{'domain':>12}{'inflow':>8}{'St':>8}{'drag':>8}{'lift rms':>10}{'CPU s':>8}")
    for size in SIZES:
        rows.append(row := measure(*size))
        domain = f"{row['length']:g} x {row['height']:g}"
        print(
            f"{row['resolution']:8d}{domain:>12}{row['upstream']:8g}{row['strouhal']:8.4f}{row['drag']:8.3f}"
            f"{row['lift_rms']:10.3f}{row['cpu_seconds']:8.1f}",
            flush=True,
        )
    if options.out is not None:
        machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, one thread used"
        options.out.write_text(json.dumps({"rows": rows, "machine": machine}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
