"""Names that are written now and imported when they are used.

A class of values has methods that write and draw it. Who writes and draws stands above the values and imports them, so
that the methods name these functions by text.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from tokendyn.renamed import missing


def function_at(name: str) -> Callable[..., Any]:
    """Return a function that is imported when it is first called.

    Parameters
    ----------
    name
        ``"module:function"``, such as ``"tokendyn.words:counted"``.

    Examples
    --------
    >>> from tokendyn.late import function_at
    >>> function_at("tokendyn.words:counted")(2, "token")
    '2 tokens'
    """
    module, _, attribute = name.partition(":")

    def call(*given: Any, **named: Any) -> Any:
        return getattr(import_module(module), attribute)(*given, **named)

    return call


def attributes_at(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package whose names load when they are used.

    Parameters
    ----------
    package
        Its ``__name__``.
    homes
        The module of each name, whole (``"tokendyn.words"``) or within the package (``"limits"``).
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise missing(package, name)
        home = homes[name]
        return getattr(import_module(home if "." in home else f"{package}.{home}"), name)

    return load
