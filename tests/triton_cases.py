"""Attention steps by Triton kernels; run as a program, it computes them in Triton's interpreter and saves the results.

    TRITON_INTERPRET=1 python tests/triton_cases.py results.npz

The interpreter has to be chosen before Triton is imported, and compiled kernels are tested in the same run of tests:
so this is a process of its own.
"""

import math
import sys

import numpy as np
import torch
from adversarial import FAMILIES, tokens_of

from tokendyn.attention.device import attend_tensors

FIELDS = ("means", "leaders", "tie_counts", "tie_spreads", "top_scores", "log_masses")


def softmax_case(name):
    """Return tensors and settings of a softmax step: more rows and keys than one tile, and not a multiple of it."""
    rng = np.random.default_rng(7)
    dim, value_dim, beta, precision = SOFTMAX[name]
    queries, keys = rng.normal(size=(37, dim)), rng.normal(size=(131, dim))
    values, weights = 1e3 * rng.normal(size=(131, value_dim)), np.exp(rng.normal(size=131))
    return (queries, keys, values, weights), {"inverse_temperature": beta, "precision": precision}


def hardmax_case(name):
    """Return tensors and settings of a hardmax step on a family of tokens, with weights."""
    family, dim, tolerance = HARDMAX[name]
    tokens = tokens_of(family, dim)
    rng = np.random.default_rng(len(tokens))
    parts = (tokens @ rng.normal(size=(dim, dim)), tokens, tokens, rng.uniform(1, 2, size=len(tokens)))
    return parts, {"inverse_temperature": math.inf, "tie_tolerance": tolerance}


HARDMAX = {
    **{f"{family}, d = 3": (family, 3, 0.0) for family in FAMILIES},
    **{f"{family}, d = 2, tolerance": (family, 2, 1e-10) for family in ("lattice", "duplicates", "tight_cluster")},
    "sphere, d = 1": ("sphere", 1, 0.0),
    "sphere, d = 16": ("sphere", 16, 0.0),
}
SOFTMAX = {
    "d = 1": (1, 1, 2.0, "double"),
    "d = 3, flat": (3, 3, 1e-3, "double"),
    "d = 3, sharp": (3, 3, 50.0, "double"),
    "d = 5, three values": (5, 3, 1.0, "double"),
    "d = 3, mixed": (3, 3, 50.0, "mixed"),
    "d = 3, single": (3, 3, 2.0, "single"),
}
CASES = dict.fromkeys(HARDMAX, hardmax_case) | dict.fromkeys(SOFTMAX, softmax_case)


def step(name, device="cpu"):
    """Return the fields of one step by Triton kernels, and the bound of its error."""
    (*parts, weights), settings = CASES[name](name)
    tensors = [torch.from_numpy(part).to(device) for part in parts]
    found = attend_tensors(*tensors, weights=torch.from_numpy(weights).to(device), backend="triton", **settings)
    fields = {field: getattr(found, field).cpu().numpy() for field in FIELDS}
    return fields | {"error_bound": np.array(found.choice.error_bound)}


if __name__ == "__main__":
    results = {name: step(name) for name in CASES}
    np.savez(
        sys.argv[1], **{f"{name}/{field}": part for name, fields in results.items() for field, part in fields.items()}
    )
