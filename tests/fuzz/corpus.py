"""Inputs kept from earlier searches: one archive a target, the same bytes for the same inputs."""

import hashlib
import zipfile
from pathlib import Path

HOME = Path(__file__).resolve().parent / "corpus"

#: Longest input of a search, in bytes.
LONGEST = 16384

#: Most inputs, and most bytes of inputs, that one archive keeps.
MOST_INPUTS, MOST_BYTES = 150, 60_000


def kept(target: str) -> list[bytes]:
    """Return the kept inputs of a target."""
    path = HOME / f"{target}.zip"
    if not path.is_file():
        return []
    with zipfile.ZipFile(path) as archive:
        return [archive.read(name) for name in archive.namelist()]


def pack(target: str, findings: list[bytes], others: list[bytes]) -> int:
    """Write the archive of a target: what broke a reader, then others, smallest first; return how many it holds."""
    chosen: list[bytes] = []
    size = 0
    broke = set(findings)
    for data in sorted(broke | set(others), key=lambda data: (data not in broke, len(data), data)):
        if len(chosen) < MOST_INPUTS and size + len(data) <= MOST_BYTES:
            chosen.append(data)
            size += len(data)
    HOME.mkdir(exist_ok=True)
    with zipfile.ZipFile(HOME / f"{target}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for data in chosen:
            name = hashlib.sha256(data).hexdigest()[:16]
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return len(chosen)
