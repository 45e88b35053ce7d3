"""What a result was made with: versions, machine kind, seed, configuration, time."""

import datetime
import functools
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import tokendyn

_LIBRARIES = ("numpy", "scipy", "numba", "torch", "scikit-learn")


def provenance(config: Mapping[str, Any], *, seed: int | None, seconds: float) -> dict[str, Any]:
    """Return the record that every saved result carries.

    Parameters
    ----------
    config
        The settings that repeat the result, JSON values only.
    seed
        Seed of every random choice, None when there was none.
    seconds
        Wall time of the computation in seconds.
    """
    return {
        "tokendyn": tokendyn.__version__,
        "python": platform.python_version(),
        "libraries": dict(_versions()),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "device": "cpu",
        "dtype": "float64",
        "seed": seed,
        "config": dict(config),
        "seconds": round(seconds, 3),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


@functools.cache
def _versions() -> dict[str, str]:
    """Return the versions of the libraries that are installed, read once: looking them up takes 10 ms."""
    versions = {}
    for name in _LIBRARIES:
        with suppress(importlib.metadata.PackageNotFoundError):  # torch comes with an extra
            versions[name] = importlib.metadata.version(name)
    return versions
