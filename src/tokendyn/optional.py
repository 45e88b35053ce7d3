"""Libraries that few uses need: each comes with an extra, and ``from tokendyn.optional import torch`` imports it.

When it is absent the import raises :class:`MissingLibraryError`, whose message names the extra.
"""

import importlib
import importlib.util
import warnings
from types import ModuleType
from typing import TYPE_CHECKING

from tokendyn.errors import MissingLibraryError

if TYPE_CHECKING:
    import torch as torch  # noqa: PLC0414 - exported for type checkers; at run time __getattr__ imports it
    import transformers as transformers  # noqa: PLC0414

__all__ = ["EXTRAS", "installed", "library", "missing"]

#: The extra that brings a library, by the name under which the library is imported.
EXTRAS = {
    "cftime": "cftime",
    "dask": "cluster",
    "flint": "exact",
    "lime": "bench",
    "onnx": "onnx",
    "ot": "transport",
    "pyarrow": "parquet",
    "pydmd": "bench",
    "pysindy": "bench",
    "reservoirpy": "bench",
    "shap": "bench",
    "tokenizers": "models",
    "torch": "torch",
    "transformers": "models",
    "triton": "gpu",
}

#: What a library is called where the name of its module says little.
_NAMES = {"flint": "python-flint", "ot": "POT"}


def library(name: str) -> ModuleType:
    """Import a library of an extra, or a module of it.

    Parameters
    ----------
    name
        Such as ``torch`` or ``pyarrow.parquet``.

    Raises
    ------
    MissingLibraryError
        If it is not installed, or does not work; the message names the extra.
    """
    root = name.partition(".")[0]
    try:
        with warnings.catch_warnings():
            # Deprecations inside other people's packages are not for the user of this one.
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError as error:
        reason = missing(root) or f'{root} cannot be imported ({error}): pip install "tokendyn[{EXTRAS[root]}]"'
        raise MissingLibraryError(reason) from None


def missing(name: str) -> str:
    """Return what to do about a library of an extra that is not installed; an empty text if it is."""
    return (
        "" if installed(name) else f'{_NAMES.get(name, name)} is not installed: pip install "tokendyn[{EXTRAS[name]}]"'
    )


def installed(name: str) -> bool:
    """Return whether a library can be found; it is not imported."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # refused by a finder, or a stub without a spec
        return False


def __getattr__(name: str) -> ModuleType:
    if name in EXTRAS:
        return library(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
