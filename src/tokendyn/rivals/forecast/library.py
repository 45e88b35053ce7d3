"""Libraries that only the peers need."""

import importlib
import warnings
from types import ModuleType

from tokendyn.errors import TokendynError


def bench_library(name: str) -> ModuleType:
    """Import a library of the extra ``bench``.

    Raises
    ------
    TokendynError
        If it is not installed; the message says how to install it.
    """
    try:
        with warnings.catch_warnings():
            # Deprecations inside other people's packages are not for the user of this one.
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError as error:
        raise TokendynError(f"{name} is not installed ({error}); pip install 'tokendyn[bench]'") from None
