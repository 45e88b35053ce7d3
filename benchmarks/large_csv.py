"""POD of a table larger than memory should be: seconds and peak memory for a CSV of some gigabytes.

Run with: python benchmarks/large_csv.py --gigabytes 5 --folder FOLDER   (writes the table there first, then removes it)
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

COLUMNS, ROWS = 200, 4000


def write(path: Path, gigabytes: float) -> int:
    """Write travelling waves with noise, blocks of rows over and over; return the number of rows."""
    rng = np.random.default_rng(0)
    phase = np.linspace(0, 2 * np.pi, COLUMNS)
    header = ",".join(f"p{column}" for column in range(COLUMNS)) + "\n"
    blocks = []
    for _ in range(4):
        moment = np.arange(ROWS)[:, None] * 0.05
        field = np.sin(phase - moment) + 0.5 * np.cos(2 * phase - 3 * moment) + 0.01 * rng.normal(size=(ROWS, COLUMNS))
        blocks.append("\n".join(",".join(f"{value:.6f}" for value in row) for row in field) + "\n")
    rows = 0
    with path.open("w", encoding="ascii") as stream:
        stream.write(header)
        while stream.tell() < gigabytes * 1e9:
            stream.write(blocks[rows // ROWS % len(blocks)])
            rows += ROWS
    return rows


def main() -> None:
    """Write, reduce in a process of its own, and print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=0.2)
    parser.add_argument("--folder", type=Path, default=Path())
    given = parser.parse_args()
    path = given.folder / "large.csv"
    try:
        rows = write(path, given.gigabytes)
        print(f"wrote {path.stat().st_size / 1e9:.2f} GB, {rows} rows of {COLUMNS} numbers", flush=True)
        started = time.perf_counter()
        code = "import sys; from tokendyn.forecast.pod import POD; print(POD(modes=4).fit(sys.argv[1]).energies_)"
        subprocess.run([sys.executable, "-c", code, str(path)], check=True)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        print(f"POD with 4 modes: {time.perf_counter() - started:.0f} s, peak memory {peak / 1e9:.2f} GB")
    finally:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
