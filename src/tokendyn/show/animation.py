"""The motion of a scene as a GIF or MP4 file."""

import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from tokendyn.errors import BadInputError, OutputError
from tokendyn.runs.files import new_file
from tokendyn.show import timelines
from tokendyn.show.drawing import HULL_LINE, K_FILL, draw_limits, draw_moment, draw_polytope
from tokendyn.show.labels import letters_within, place_labels, text_width, write
from tokendyn.show.palette import INK, NEUTRAL, QUIET, shaded
from tokendyn.show.panels import fitted_box, label_space, style_plane, style_space, style_timeline, wishes
from tokendyn.show.scene import TokenScene
from tokendyn.show.views import Time, View

_SIDE, _DPI = 5.6, 90
_HOLD_SECONDS = 1.5
_TURN_DEGREES = 70.0
_COLOURS = 256


def animate(scene: TokenScene, path: str | Path, *, seconds: float | int = 6, fps: int = 12) -> None:
    """Write the motion of the tokens, drawn like the panels, as an animation.

    Between two layers each token moves on its straight line. Layers share the time by how far the tokens
    move in them, so the film does not dwell on late layers; the layer number is always shown.

    Parameters
    ----------
    scene
        What to draw; three dimensions turn slowly, higher ones are projected as in
        :func:`~tokendyn.show.panels.panels`.
    path
        Ends with ``.gif`` or ``.mp4``; the second needs the program ffmpeg. The file appears only when whole.
    seconds, fps
        Length and frames a second.

    Raises
    ------
    BadInputError
        For another suffix, a length or rate that is not positive, more than 2000 frames, or a missing ffmpeg.
    OutputError
        If the file cannot be written, or ffmpeg fails.
    """
    path = Path(path)
    _check(path, seconds, fps)
    view = View(scene)
    frames = _frames(view, frame_times(view, max(2, round(seconds * fps))))
    write_film(frames, path, fps, [style.colour for style in view.styles])


def write_film(
    frames: Iterator[UInt8[np.ndarray, "height width 3"]], path: str | Path, fps: int, colours: list[str]
) -> None:
    """Write pictures of one size as a film that appears only when it is whole.

    Parameters
    ----------
    frames
        The pictures; for MP4 with even numbers of pixels.
    path, fps
        As for :func:`animate`.
    colours
        ``#RRGGBB`` that a GIF must not mix with others.

    Raises
    ------
    BadInputError, OutputError
        As :func:`animate`.
    """
    path = Path(path)
    _check(path, 1, fps)
    with new_file(path) as temporary:
        if path.suffix.lower() == ".gif":
            _write_gif(frames, temporary, fps, colours)
        else:
            _write_mp4(frames, temporary, fps)


def _check(path: Path, seconds: float | int, fps: int) -> None:
    problems = []
    if path.suffix.lower() not in (".gif", ".mp4"):
        problems.append(f"the file name must end with .gif or .mp4, got {path.name!r}")
    if not (0 < seconds < 1e6 and 0 < fps <= 60):
        problems.append(f"seconds must be positive and fps from 1 to 60, got {seconds} and {fps}")
    elif seconds * fps > 2000:
        problems.append(f"{seconds * fps:.0f} frames are too many: at most 2000; take fewer seconds or fps")
    if path.suffix.lower() == ".mp4" and shutil.which("ffmpeg") is None:
        problems.append("MP4 needs the program ffmpeg, which is not installed: install it, or write a .gif")
    if problems:
        raise BadInputError.all_of("the animation", problems)


def frame_times(view: View, count: int) -> Float[np.ndarray, " frames"]:
    """Return the time, in layers, of each frame: from 0 to the last layer, slow where tokens move.

    A layer's share grows like the square root of its largest move, so that small moves stay visible, and
    layers without a visible one are passed in a moment.
    """
    layers = view.scene.layers
    if not layers:
        return np.zeros(1)
    extent = float(np.ptp(view.box, axis=1).max())
    moves = np.linalg.norm(np.diff(view.points, axis=0), axis=2).max(axis=1) / extent
    shares = np.sqrt(moves)
    shares[moves < 2e-3] = 0.0
    shares += 0.02 * (shares.sum() or 1.0) / layers
    clock = np.concatenate([[0.0], np.cumsum(shares)])
    return np.interp(np.linspace(0, clock[-1], count), clock, np.arange(layers + 1))


def _frames(view: View, times: Float[np.ndarray, " frames"]) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Yield one picture for each time; what does not move is drawn once, except in 3-D, where all turns."""
    figure, axes = _stage(view)
    canvas: Any = FigureCanvasAgg(figure)
    counter = figure.text(
        1 - 0.12 / _SIDE, 1 - 0.12 / figure.get_figheight(), "", ha="right", va="top", fontsize=11, color=INK
    )
    stand = _Stand(view, axes)
    canvas.draw()
    ground = canvas.copy_from_bbox(figure.bbox)
    for number, time in enumerate(times):
        drawn = _draw_moving(view, axes, float(time), number / max(len(times) - 1, 1))
        standing = stand.artists(float(time)) if view.dim > 1 else []
        counter.set_text(f"layer {int(time)} of {view.scene.layers}")
        if view.dim == 3:
            canvas.draw()
        else:
            canvas.restore_region(ground)
            for artist in sorted([*drawn, *standing, counter], key=lambda artist: artist.get_zorder()):
                figure.draw_artist(artist)
        yield np.asarray(canvas.buffer_rgba())[:, :, :3].copy()
        for artist in drawn:
            artist.remove()


def _stage(view: View) -> tuple[Figure, Axes]:
    """Return the figure with all that does not move."""
    notes = textwrap.wrap(view.note, 90)
    head = 0.4 + 0.17 * len(notes) + 0.05
    ratio = 0.9
    if view.dim == 2:
        width, height = np.ptp(view.box, axis=1)
        ratio = float(np.clip(height / width, 0.45, 1.15))
    elif view.dim == 1:
        ratio = 0.62
    left, right, foot = (0.6, 0.12, 0.4) if view.dim != 3 else (0.05, 0.35, 0.1)
    width = _SIDE - left - right
    # Video encoders want even numbers of pixels.
    total = 2 * round((head + width * ratio + foot) * _DPI / 2) / _DPI
    figure = Figure(figsize=(_SIDE, total), dpi=_DPI, facecolor="white")
    page = figure.add_axes((0, 0, 1, 1), zorder=-1)
    page.set_axis_off()
    if title := view.scene.title:
        number = text_width(f"layer {view.scene.layers} of {view.scene.layers}", 11)
        letters = letters_within(title, 10, points=(_SIDE - 0.5) * 72 - number, most=80)
        write(page, 0.12 / _SIDE, 1 - 0.12 / total, title, 10, letters, weight="bold", color=INK, va="top")
    for number, note in enumerate(notes):
        write(page, 0.12 / _SIDE, 1 - (0.36 + 0.17 * number) / total, note, 8, 120, color=QUIET, va="top")
    box = (left / _SIDE, foot / total, width / _SIDE, width * ratio / total)
    axes = figure.add_axes(box, projection="3d" if view.dim == 3 else None)
    if view.dim == 1:
        timelines.draw_ground(axes, view)
        style_timeline(axes, view)
    else:
        draw_polytope(axes, view)
        if view.dim == 3:
            style_space(axes, view)
        else:
            style_plane(axes, fitted_box(view, ratio)[0])
            axes.set_xlabel(view.axis_names[0], fontsize=8, color=QUIET, labelpad=1)
            axes.set_ylabel(view.axis_names[1], fontsize=8, color=QUIET, labelpad=1)
    return figure, axes


class _Stand:
    """Names and limit points: they stand still most of the time, so they are made anew only when they move."""

    def __init__(self, view: View, axes: Axes) -> None:
        self.view, self.axes = view, axes
        self.limits = draw_limits(axes, view) if view.dim > 1 else []
        self.names: list[Artist] = []
        self.places: list[tuple[object, ...]] = []
        for artist in self.limits:
            # Those below the tokens belong to the ground.
            artist.set_animated(view.dim == 2 and artist.get_zorder() > 2)

    def artists(self, time: Time) -> list[Artist]:
        """Return the marks that are at rest at a time."""
        view, axes = self.view, self.axes
        inches = np.array(axes.get_position().size * np.array([_SIDE, axes.figure.get_figheight()]))  # type: ignore[union-attr]
        if view.dim == 3:
            self._forget()
            self.names = [*label_space(axes, view, time, inches)]
            return self.names
        # Leaders stand still, and so do their names when placed without regard to the moving dots.
        named = [wish for wish in wishes(view, time, view.positions(time)) if wish.bold]
        marks = [(wish.text, *np.round(wish.xy, 9)) for wish in named]
        if marks != self.places:
            self._forget()
            box = np.array([axes.get_xlim(), axes.get_ylim()])
            scale = inches * 72 / np.ptp(box, axis=1)
            self.names = [*place_labels(axes, named, box, 8.5, np.empty((0, 2)), scale)]
            self.places = marks
        return [*(artist for artist in self.limits if artist.get_animated()), *self.names]

    def _forget(self) -> None:
        for artist in self.names:
            artist.remove()


def _draw_moving(view: View, axes: Axes, time: Time, progress: float) -> list[Artist]:
    if view.dim == 1:
        return timelines.draw_until(axes, view, time)
    if view.dim == 3:
        axes.view_init(elev=22, azim=-58 + _TURN_DEGREES * (progress - 0.5))  # type: ignore[attr-defined]
    return draw_moment(axes, view, time, arrows=view.points.shape[1] <= 30)


def _write_gif(frames: Iterator[UInt8[np.ndarray, "height width 3"]], path: Path, fps: int, colours: list[str]) -> None:
    """Write a GIF whose frames share one palette, so that only what moves is stored."""
    pictures = [Image.fromarray(frame) for frame in frames]
    palette = _palette(colours, [pictures[share * (len(pictures) - 1) // 4] for share in range(5)])
    small = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    # GIF counts in hundredths of a second.
    step = max(2, round(100 / fps)) * 10
    durations = [step] * (len(small) - 1) + [int(1000 * _HOLD_SECONDS)]
    small[0].save(path, save_all=True, append_images=small[1:], duration=durations, loop=0, optimize=False)


def _palette(colours: list[str], sample: list[Image.Image]) -> Image.Image:
    """Return a palette with every leader's colour in it: one found from frames alone would merge leaders."""
    leaders = [*dict.fromkeys([*colours, NEUTRAL])]
    fixed = ["#FFFFFF", K_FILL, HULL_LINE, INK, QUIET]
    fixed += [shaded(colour, tint) for colour in leaders for tint in (0.0, 0.35, 0.65)]
    flat = [int(entry[start : start + 2], 16) for entry in fixed for start in (1, 3, 5)]
    sheet = Image.new("RGB", (sample[0].width, sum(picture.height for picture in sample)))
    for number, picture in enumerate(sample):
        sheet.paste(picture, (0, number * picture.height))
    median = sheet.quantize(_COLOURS - len(fixed), method=Image.Quantize.MEDIANCUT).getpalette() or []
    # Median cut finds almost-white means, which would win over white itself.
    for start in range(0, len(median), 3):
        if min(median[start : start + 3]) < 248:
            flat += median[start : start + 3]
    palette = Image.new("P", (1, 1))
    palette.putpalette(flat[: 3 * _COLOURS])
    return palette


def _write_mp4(frames: Iterator[UInt8[np.ndarray, "height width 3"]], path: Path, fps: int) -> None:
    first = next(frames)
    size = f"{first.shape[1]}x{first.shape[0]}"
    command = ["ffmpeg", "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size]
    command += ["-r", str(fps), "-i", "-", "-an", "-pix_fmt", "yuv420p", "-movflags", "+faststart", str(path)]
    pictures = [first, *frames]
    pictures += [pictures[-1]] * round(_HOLD_SECONDS * fps)
    ended = subprocess.run(command, input=b"".join(p.tobytes() for p in pictures), capture_output=True, check=False)
    if ended.returncode:
        reason = ended.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
        raise OutputError(f"ffmpeg could not write the film ({reason[0]}); write a .gif instead")
