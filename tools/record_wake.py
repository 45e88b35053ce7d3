"""Record the wake that ships with tokendyn, ``data/cylinder_wake.safetensors``: ``python tools/record_wake.py``."""

from tokendyn.data.recorded import WAKE_FILE
from tokendyn.data.snapshots import Snapshots
from tokendyn.runs.files import write_tensors
from tokendyn.studies.flow import cylinder_flow


def wake() -> Snapshots:
    """Return 700 samples of periodic shedding on a grid that is small but resolves it."""
    return cylinder_flow(points=700, discard=100.0, resolution=8, length=20.0, height=10.0, upstream=6.0).series


if __name__ == "__main__":
    write_tensors(WAKE_FILE, {"values": wake().values})
