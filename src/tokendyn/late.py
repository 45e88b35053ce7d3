"""Functions that are named now and imported when they are called.

A class of values has methods that write and draw it. Who writes and draws stands above the values and imports them, so
that the methods name these functions by text.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any


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
