"""Pictures as data URIs, so that a page needs no other file."""

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tokendyn.errors import BadInputError
from tokendyn.runs.folders import new_file

_KINDS = {
    ".png": "image/png",
    ".gif": "image/gif",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
}
#: A drawing of more bytes than this is shown as a picture of dots, which is smaller.
_MOST_BYTES = 700_000
#: When a narrow screen, or a dark page, takes another picture.
_NARROW, _DARK = "(max-width: 700px)", "screen and (prefers-color-scheme: dark)"


@runtime_checkable
class DrawnFigure(Protocol):
    """A matplotlib Figure, or anything that saves itself like one."""

    def savefig(self, fname: Any, **kwargs: Any) -> None:
        """Write the picture into a binary file object."""


@dataclass(frozen=True)
class Drawn:
    """A picture as a page holds it.

    Attributes
    ----------
    uri
        The picture.
    sources
        Pairs of a media query and the picture that is shown in its place where the query holds; the first that holds.
    still
        Of a film: its last picture, which is shown until the film is played; else empty.
    fits
        Whether it can be read on a narrow screen as a whole.
    """

    uri: str
    sources: Sequence[tuple[str, str]] = ()
    still: str = ""
    fits: bool = True


def drawn(picture: DrawnFigure | str | Path, narrow: DrawnFigure | None = None) -> Drawn:
    """Return a picture for a page: a figure as SVG in the colours of the reader, a file as it is.

    Parameters
    ----------
    picture
        Figure, or path of a file. Beside a PNG file ``NAME.png`` that tokendyn wrote lie ``NAME.svg`` and, for narrow
        screens, ``NAME-narrow.svg``: these are taken.
    narrow
        The figure in the shape of a narrow screen; by default its axes are put one below the other.

    Raises
    ------
    BadInputError
        If the file cannot be read or is of another kind than PNG, GIF, JPEG, SVG, WebP.
    """
    if isinstance(picture, DrawnFigure):
        whole, small = both_shapes(picture, narrow)
        if len(whole) <= _MOST_BYTES:
            return _of_drawings(whole, small)
        content = _png(picture, 150)
        light, dark = (_encoded("image/png", part) for part in (content, _dark(content)))
        first = [(_NARROW, _encoded("image/svg+xml", small))] if 0 < len(small) <= _MOST_BYTES else []
        return Drawn(uri=light, sources=(*first, (_DARK, dark)), fits=bool(first))
    path = Path(picture)
    beside = path.with_suffix(".svg")
    if path.suffix in (".png", ".svg") and path.is_file() and beside.is_file():
        other = path.with_name(f"{path.stem}-narrow.svg")
        return _of_drawings(beside.read_bytes(), other.read_bytes() if other.is_file() else b"")
    uri = data_uri(path)
    if path.suffix.lower() == ".gif":
        last = _last_frame(path)
        return Drawn(uri=uri, still=_encoded("image/png", last) if last else "")
    if path.suffix.lower() == ".png":
        return Drawn(uri=uri, sources=((_DARK, _encoded("image/png", _dark(path.read_bytes()))),), fits=False)
    return Drawn(uri=uri)


def both_shapes(figure: DrawnFigure, narrow: DrawnFigure | None = None) -> tuple[bytes, bytes]:
    """Return a figure as SVG, and as SVG for narrow screens, which is empty where the first serves there too."""
    from tokendyn.show.vector import can_be_narrow, narrowed, svg_of

    whole = svg_of(figure).encode()
    if narrow is not None:
        return whole, svg_of(narrow).encode()
    if not can_be_narrow(figure):
        return whole, b""
    with narrowed(figure) as small:  # type: ignore[arg-type]
        return whole, svg_of(small).encode()


def save_figure(figure: DrawnFigure, folder: Path, name: str, *, dpi: int = 150) -> None:
    """Write a figure as ``NAME.png``, and as the drawings of its page, ``NAME.svg`` and ``NAME-narrow.svg``."""
    with new_file(folder / f"{name}.png") as temporary:
        figure.savefig(temporary, dpi=dpi)
    for ending, svg in zip(("", "-narrow"), both_shapes(figure), strict=True):
        if 0 < len(svg) <= _MOST_BYTES:
            with new_file(folder / f"{name}{ending}.svg") as temporary:
                temporary.write_bytes(svg)


def data_uri(picture: DrawnFigure | str | Path, *, dpi: int = 150) -> str:
    """Return a figure (as PNG) or an image file as a data URI.

    Raises
    ------
    BadInputError
        If the file cannot be read or its suffix is not one of PNG, GIF, JPEG, SVG, WebP.
    """
    if isinstance(picture, DrawnFigure):
        return _encoded("image/png", _png(picture, dpi))
    path = Path(picture)
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise BadInputError(f"{path} is no picture for a page: give one of {', '.join(sorted(_KINDS))}")
    try:
        return _encoded(kind, path.read_bytes())
    except OSError as error:
        raise BadInputError(f"{path} cannot be read ({error.strerror}); draw it first") from None


def _of_drawings(whole: bytes, small: bytes) -> Drawn:
    sources = [(_NARROW, _encoded("image/svg+xml", small))] if small else []
    width = re.search(rb'width="([\d.]+)pt"', whole[:2000])
    # A figure of up to six inches keeps its letters large enough on a phone.
    fits = bool(small) or width is None or float(width[1]) <= 72 * 6.5
    return Drawn(uri=_encoded("image/svg+xml", whole), sources=tuple(sources), fits=fits)


def _png(figure: DrawnFigure, dpi: int) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def _dark(content: bytes) -> bytes:
    from tokendyn.show.vector import dark_png

    return dark_png(content)


def _last_frame(path: Path) -> bytes:
    """Return the last picture of a film as PNG; nothing if it cannot be read as one."""
    from PIL import Image

    buffer = io.BytesIO()
    try:
        with Image.open(path) as film:
            film.seek(getattr(film, "n_frames", 1) - 1)
            film.convert("RGB").quantize(128).save(buffer, format="PNG", optimize=True)
    except (OSError, ValueError):
        return b""
    return buffer.getvalue()


def _encoded(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
