"""A recorded series that ships with tokendyn, so that an example of a flow needs no flow solver."""

from pathlib import Path

import numpy as np

from tokendyn.data.snapshots.series import Snapshots
from tokendyn.runs.files import read_tensors

#: What ``tools/record_wake.py`` wrote.
WAKE_FILE = Path(__file__).parent / "cylinder_wake.safetensors"
#: Time between samples, in diameters over speed, and the channels.
WAKE_STEP = 0.2
WAKE_CHANNELS = ("lift", "drag", "torque", "u0", "v0", "u1", "v1", "u2", "v2", "u3", "v3")


def cylinder_wake() -> Snapshots:
    """Return 700 samples of the flow past a circular cylinder at Reynolds number 100, which sheds periodically.

    Coefficients of lift, drag and torque, and the velocity ``(u, v)`` over the speed of the stream at four places in
    the wake; times are in diameters over that speed. Computed by :func:`tokendyn.studies.flow.cylinder_flow`.

    Examples
    --------
    >>> from tokendyn.data.recorded import cylinder_wake
    >>> wake = cylinder_wake()
    >>> len(wake), wake.names[:2]
    (700, ('lift', 'drag'))
    """
    values = read_tensors(WAKE_FILE, {"values"})["values"]
    times = WAKE_STEP * np.arange(len(values))
    source = "cylinder_wake (shipped with tokendyn)"
    return Snapshots(values=values, times=times, dt=WAKE_STEP, names=WAKE_CHANNELS, source=source)
