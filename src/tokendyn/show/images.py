"""Pictures as data URIs, so that a page needs no other file."""

import base64
import io
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tokendyn.errors import BadInputError

_KINDS = {
    ".png": "image/png",
    ".gif": "image/gif",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
}


@runtime_checkable
class DrawnFigure(Protocol):
    """A matplotlib Figure, or anything that saves itself like one."""

    def savefig(self, fname: Any, **kwargs: Any) -> None:
        """Write the picture into a binary file object."""


def data_uri(picture: DrawnFigure | str | Path, *, dpi: int = 150) -> str:
    """Return a figure (as PNG) or an image file as a data URI.

    Raises
    ------
    BadInputError
        If the file cannot be read or its suffix is not one of PNG, GIF, JPEG, SVG, WebP.
    """
    if isinstance(picture, DrawnFigure):
        buffer = io.BytesIO()
        picture.savefig(buffer, format="png", dpi=dpi)
        return _encoded("image/png", buffer.getvalue())
    path = Path(picture)
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise BadInputError(f"{path} is no picture for a page: give one of {', '.join(sorted(_KINDS))}")
    try:
        return _encoded(kind, path.read_bytes())
    except OSError as error:
        raise BadInputError(f"{path} cannot be read ({error.strerror}); draw it first") from None


def _encoded(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
