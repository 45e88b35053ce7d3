"""``tokendyn doctor``: what is installed, and whether the compiled kernels run here."""

import shutil
from typing import Any

import numpy as np

from tokendyn.cli.output import announce, write_json
from tokendyn.optional import EXTRAS, installed, missing

#: Extras that no library of :mod:`tokendyn.optional` stands for, by a module of each.
_OTHERS = {"docs": "sphinx", "fuzz": "atheris", "test": "hypothesis"}


def doctor(*, json: bool = False) -> int:
    """Print versions, devices and extras, and run one attention step with each backend.

    Parameters
    ----------
    json
        Write one JSON object to standard output.
    """
    from tokendyn.runs.provenance import provenance

    record = provenance({}, seed=None, seconds=0.0)
    facts: dict[str, Any] = {name: record[name] for name in ("tokendyn", "python", "machine")}
    facts |= record["libraries"]
    modules = {extra: module for module, extra in EXTRAS.items()} | _OTHERS
    for extra, module in sorted(modules.items()):
        facts[f"extra [{extra}]"] = "installed" if installed(module) else "not installed"
    facts["ffmpeg (MP4 animations)"] = "found" if shutil.which("ffmpeg") else "not found; GIF works without"
    agree = bool(lacking := missing("torch")) or _backends_agree()
    alike = "dense and fused agree" if agree else "dense and fused differ: please report this"
    facts["backends"] = f"fused runs; dense needs torch ({lacking})" if lacking else alike
    if json:
        write_json(facts)
    else:
        width = max(map(len, facts))
        for name, value in facts.items():
            announce(f"{name:<{width}}  {value}")
    return 0 if agree else 1


def _backends_agree() -> bool:
    """Return whether both backends find the same leaders and means for a few tokens."""
    from tokendyn.attention import attend

    tokens = np.random.default_rng(0).normal(size=(300, 3))
    dense, fused = (attend(tokens, tokens, tokens, backend=backend) for backend in ("dense", "fused"))
    return np.array_equal(dense.leaders, fused.leaders) and np.array_equal(dense.means, fused.means)
