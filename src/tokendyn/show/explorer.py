"""The explorer: one HTML page that runs tokens in the browser, hardmax and softmax side by side."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokendyn.show.palette import LEADER_COLOURS, MOST_DISTINCT, leader_styles
from tokendyn.show.report import render, source, write_page

#: Parts of the script in order: arithmetic and settings first, then what draws, then the page.
_PARTS = (
    "core", "setup", "link", "table", "laws", "lens", "draw", "frame", "state", "render", "hands", "controls", "record",
    "tour",
)  # fmt: skip
_SCRIPTS = (*(f"explorer_{part}.js" for part in _PARTS), "explorer.js")


def explorer_html(
    settings: Mapping[str, Mapping[str, Any]], chosen: str, title: str = "Explorer", *, own: Sequence[str] = ()
) -> str:
    """Return the explorer as one HTML document that loads nothing and sends nothing.

    Its one script is admitted by its hash. Settings are data: the page reads them as it reads any file, and shows
    their texts as text.

    Parameters
    ----------
    settings
        The presets of the page, by name: JSON objects of the schema ``tokendyn-explored``.
    chosen
        The name of those to start with.
    title
        Title of the page.
    own
        Names of settings that only this page has: a link holds them whole, where it would name a preset.
    """
    script = explorer_script()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    data = {"settings": settings, "chosen": chosen, "own": list(own), "styles": _styles()}
    return render("explorer.html.j2", title=title, data=data, script=script, digest=digest)


def write_explorer(
    settings: Mapping[str, Mapping[str, Any]],
    chosen: str,
    path: str | Path,
    title: str = "Explorer",
    *,
    own: Sequence[str] = (),
) -> None:
    """Write :func:`explorer_html` to a file, which appears only when it is whole."""
    write_page(explorer_html(settings, chosen, title, own=own), path)


def explorer_script() -> str:
    """Return the script of the page: its parts one after the other."""
    return "\n".join(source(name) for name in _SCRIPTS)


def _styles() -> list[dict[str, Any]]:
    """Return colour and number of rays of each leader that has its own look."""
    import numpy as np

    rays = (5, 4, 6)
    styles = leader_styles(np.ones(MOST_DISTINCT))
    return [{"colour": style.colour, "rays": rays[place // len(LEADER_COLOURS)]} for place, style in enumerate(styles)]
