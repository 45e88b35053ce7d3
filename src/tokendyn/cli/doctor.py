"""``tokendyn doctor``: what is installed, and whether the compiled kernels run here."""

import importlib.util
import shutil
from typing import Any

import numpy as np

from tokendyn.cli.output import announce, write_json

#: A module of each extra, by which one sees whether the extra is installed.
EXTRAS = {
    "bench": "pytest_benchmark",
    "cluster": "distributed",
    "docs": "sphinx",
    "exact": "flint",
    "fuzz": "atheris",
    "gpu": "triton",
    "onnx": "onnx",
    "test": "hypothesis",
}


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
    for extra, module in EXTRAS.items():
        facts[f"extra [{extra}]"] = "installed" if importlib.util.find_spec(module) else "not installed"
    facts["ffmpeg (MP4 animations)"] = "found" if shutil.which("ffmpeg") else "not found; GIF works without"
    agree = _backends_agree()
    facts["backends"] = "dense and fused agree" if agree else "dense and fused differ: please report this"
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
