"""A page inside a notebook: the whole document as the content of a frame, which no file or server stands behind."""

import html
from pathlib import Path

from tokendyn.errors import BadInputError
from tokendyn.runs.folders import check_page
from tokendyn.show.report import write_page


class EmbeddedPage:
    """One HTML document that a notebook shows in a frame of its own.

    Parameters
    ----------
    document
        The document.
    height
        Height of the frame, in pixels.
    """

    def __init__(self, document: str, height: int = 760) -> None:
        if not 100 <= height <= 10_000:
            raise BadInputError(f"height is {height}; expected 100 to 10000 pixels")
        self.document, self.height = document, height

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.document):,} characters, height={self.height})"

    def _repr_html_(self) -> str:
        # Scripts run in the frame, which has no origin: it reaches neither the notebook nor the network.
        return (
            f'<iframe sandbox="allow-scripts allow-downloads" title="tokendyn" '
            f'style="width: 100%; height: {self.height}px; border: 0" srcdoc="{html.escape(self.document)}"></iframe>'
        )

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the page to a file.

        Raises
        ------
        OutputError
            If a file of another program is there and ``overwrite`` is not set, or the disk refuses.
        """
        check_page(path, overwrite=overwrite)
        write_page(self.document, path)
