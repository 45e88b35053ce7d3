"""Links to the explorer page: settings in the part of an address after ``#``."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tokendyn.data.explored import Explored, explored_from, read_explored
from tokendyn.errors import BadInputError

_LINK = re.compile(r"#(?:preset|model)=")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_GRIDS = ("tokens", "score", "interaction", "value")
_NUMBERS = ("inverse_temperature", "tie_tolerance", "alpha", "layers", "step", "steps")
_TEXTS = ("model", "method", "cold_limit", "title", "note")
_FLAGS = {"true": True, "false": False}
#: What a link holds besides, for the page only: the layer or step that is shown.
_PAGE = ("at",)


def is_link(source: str | Path) -> bool:
    """Return whether a text is a link of the explorer page and not the name of a file."""
    return _LINK.search(str(source)) is not None


def read_link(link: str | Path) -> Explored:
    """Return the settings of a link that the explorer page copied.

    A link is ``PAGE#preset=NAME&FIELD=VALUE&...``: fields as in the JSON that the page saves, which replace those of
    the preset; without a preset, ``#model=clustering&...&tokens=1,2;3,4``. Rows end with ``;``, numbers with ``,``;
    texts are percent-encoded. The part before ``#`` is ignored: nothing is loaded from there.

    Parameters
    ----------
    link
        The address, or its part from ``#`` on.

    Raises
    ------
    BadInputError
        For a text without such a part, a preset or a field that does not exist, a value that is not a number, and
        settings out of range.

    Examples
    --------
    >>> read_link("explorer.html#preset=triangle&alpha=2").alpha
    2.0
    """
    if not is_link(link):
        raise BadInputError(f"{str(link)[:80]!r} is no link of the explorer; press 'Copy link' in its page")
    record: dict[str, Any] = {"schema": "tokendyn-explored", "schema_version": 1}
    for part in str(link).partition("#")[2].split("&"):
        name, _, text = part.partition("=")
        if name == "preset":
            record = _preset(unquote(text))
        elif name not in _PAGE:
            record[name] = _value(name, text)
    return explored_from(record, "the link")


def read_explored_source(source: str | Path) -> Explored:
    """Return the settings of a link, or of a JSON file that the page saved.

    Raises
    ------
    BadInputError
        As :func:`read_link` or :func:`tokendyn.data.explored.read_explored`.
    """
    return read_link(source) if is_link(source) else read_explored(source)


def _preset(name: str) -> dict[str, Any]:
    from tokendyn.particles.presets import presets

    settings = presets()
    if name not in settings:
        raise BadInputError(f"the link names no preset {name[:40]!r}; there are {', '.join(settings)}")
    return settings[name].to_dict()


def _value(name: str, text: str) -> Any:
    if name in _GRIDS:
        return None if text == "identity" else [_numbers(name, row) for row in text.split(";")]
    if name == "weights":
        return _numbers(name, text) if text else None
    if name == "labels":
        return [unquote(label) for label in text.split(",")]
    if name in _TEXTS:
        return unquote(text)
    if name == "causal":
        if text not in _FLAGS:
            raise BadInputError(f"the link has causal={text[:30]!r}, which is neither true nor false")
        return _FLAGS[text]
    if name in _NUMBERS:
        return _number(name, text)
    known = ", ".join(("preset", *_TEXTS, "causal", *_NUMBERS, *_GRIDS, "labels", "weights", *_PAGE))
    raise BadInputError(f"the link has {name[:40]!r}, which is no field; there are {known}")


def _numbers(name: str, text: str) -> list[int | float]:
    return [_number(name, number) for number in text.split(",")]


def _number(name: str, text: str) -> int | float:
    if not _NUMBER.fullmatch(text):
        raise BadInputError(f"the link has {name}={text[:30]!r}, which is no number")
    return int(text) if re.fullmatch(r"[-+]?[0-9]{1,15}", text) else float(text)
