"""The motion of a mean-field run: tokens on the circle or the sphere, beside their distance to the projected law."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tokendyn.particles.meanfield.model import MeanFieldRun
from tokendyn.particles.meanfield.stage import AZIMUTH, Stage, draw_moment
from tokendyn.show.animation import write_film
from tokendyn.show.axes import quiet
from tokendyn.show.palette import INK, LEADER_COLOURS, NEUTRAL

_WIDTH, _HEIGHT, _DPI = 7.2, 3.6, 90
#: Degrees by which the sphere turns during the film.
_TURN = 80.0


def animate_run(run: MeanFieldRun, path: str | Path, *, seconds: float = 6.0, fps: int = 12) -> None:
    """Write the motion of the tokens as a GIF or MP4 file; time runs evenly.

    Raises
    ------
    BadInputError, OutputError
        As :func:`tokendyn.show.animate`.
    """
    count = min(max(2, round(seconds * fps)), len(run.trajectory.times))
    moments = np.linspace(run.trajectory.times[0], run.trajectory.times[-1], count)
    states = np.abs(run.trajectory.times[None, :] - moments[:, None]).argmin(axis=1)
    write_film(_frames(run, np.unique(states)), path, fps, list(LEADER_COLOURS[:2]))


def _frames(run: MeanFieldRun, states: np.ndarray) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    stage, trajectory = Stage(run), run.trajectory
    figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DPI, facecolor="white")
    canvas: Any = FigureCanvasAgg(figure)
    scene = figure.add_axes((0.01, 0.04, _HEIGHT / _WIDTH * 0.92, 0.92))
    curve = figure.add_axes((0.61, 0.17, 0.36, 0.66))
    distances = run.distances if run.asks else run.distances_to_e
    curve.semilogy(trajectory.times, np.clip(distances, 1e-12, None), color=NEUTRAL, linewidth=1.4)
    quiet(curve, "time t", "$W_2$ to the projected law" if run.asks else "distance to E")
    (now,) = curve.plot([], [], "o", color=LEADER_COLOURS[1], markersize=7)
    title = figure.text(0.61, 0.9, "", fontsize=10.5, color=INK)
    for number, state in enumerate(states):
        scene.clear()
        share = number / max(len(states) - 1, 1)
        draw_moment(scene, stage, int(state), AZIMUTH + _TURN * (share - 0.5))
        now.set_data([trajectory.times[state]], [max(distances[state], 1e-12)])
        shown = f",  $W_2$ = {distances[state]:.3g}" if run.asks else ""
        title.set_text(f"t = {trajectory.times[state]:.2f}{shown}")
        canvas.draw()
        yield np.asarray(canvas.buffer_rgba())[:, :, :3].copy()
