"""Write THIRD-PARTY-NOTICES.md: the packages that an installed tokendyn needs, and their licences.

Run it in an environment in which tokendyn is installed: ``python tools/third_party_notices.py``. It reads the
metadata of the installed packages and nothing else.
"""

import importlib.metadata
import re
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "THIRD-PARTY-NOTICES.md"
#: Licence texts that packages paste into the field for a name, by how they begin.
KNOWN = {
    "bsd 3-clause": "BSD-3-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "mit license": "MIT",
    "the mit license": "MIT",
    "license agreement for matplotlib": "Matplotlib License (PSF-based)",
}
LONGEST_NAME = 60
HEAD = """# Third-party notices

tokendyn itself is under the Apache License 2.0, see LICENSE. It contains no code of others. An installation needs the
packages below; each is installed from its own distribution, which holds its licence. Versions are those of
constraints.txt. Made by `python tools/third_party_notices.py` from the metadata of the installed packages.

| package | version | licence |
|---|---|---|
"""


def main() -> None:
    """Write the file."""
    rows = [f"| {name} | {version} | {licence} |\n" for name, version, licence in needed("tokendyn")]
    TARGET.write_text(HEAD + "".join(rows), encoding="utf-8", newline="\n")
    print(f"wrote {TARGET.name}: {len(rows)} packages")


def needed(package: str) -> list[tuple[str, str, str]]:
    """Return name, version and licence of everything that a package needs, without its extras, by name."""
    found: dict[str, tuple[str, str, str]] = {}
    waiting = [Requirement(package)]
    while waiting:
        wanted = waiting.pop()
        for line in importlib.metadata.requires(wanted.name) or ():
            one = Requirement(line)
            extras = wanted.extras or {""}
            if one.marker is not None and not any(one.marker.evaluate({"extra": extra}) for extra in extras):
                continue
            name = re.sub(r"[-_.]+", "-", one.name).lower()
            if name in found:
                continue
            data = importlib.metadata.metadata(one.name)
            found[name] = (data["Name"], data["Version"].partition("+")[0], licence(data))
            waiting.append(one)
    return [found[name] for name in sorted(found)]


def licence(data: importlib.metadata.PackageMetadata) -> str:
    """Return the licence that metadata name: the SPDX expression, the short name, or the classifier."""
    expression = data.get("License-Expression")
    if expression:
        return str(expression)
    words = " ".join(str(data.get("License") or "").split())
    for beginning, name in KNOWN.items():
        if words.lower().startswith(beginning):
            return name
    if words and len(words) <= LONGEST_NAME and words != "UNKNOWN":
        return words
    classifiers = [
        line.rpartition("::")[2].strip() for line in data.get_all("Classifier") or () if "License ::" in line
    ]
    return ", ".join(classifiers) or "see its distribution"


if __name__ == "__main__":
    main()
