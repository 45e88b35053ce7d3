"""The least precision of the weights at which every label is still right, measured by running all sequences."""

from dataclasses import fields, replace
from typing import TYPE_CHECKING

import numpy as np

from tokendyn.exact import ragged
from tokendyn.exact.weights import Weights

if TYPE_CHECKING:
    from tokendyn.exact.built import Built


def rounded(weights: Weights, bits: int) -> Weights:
    """Return the weights with every number rounded to ``bits`` significant bits, ties to even.

    The leading bit counts: bfloat16 has 8, float16 11, float32 24, float64 53. Exponents are not limited.
    """
    changed = {}
    for name in (field.name for field in fields(weights)):
        array = getattr(weights, name)
        if array.dtype.kind == "f":
            mantissa, exponent = np.frexp(array.astype(np.float64))
            changed[name] = np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits).astype(array.dtype)
    return replace(weights, **changed)


def least_bits(model: "Built") -> int:
    """Return the fewest significant bits of the weights, counted down from all of them, at which no label changes.

    Tokens, activations and sums keep the type of the transformer. The label of a sequence is the nearest number to the
    output of its tokens; for sequence to sequence every output must be within 1/4 of the wanted one, or equal to it
    relative to ``2^-bits``. 1 if even one bit is enough.
    """
    outputs, targets = list(model.construction.outputs), model.targets
    enough = int(np.finfo(model.dtype).nmant) + 1
    for bits in range(enough, 0, -1):
        weights = rounded(model.weights, bits)
        residuals = ragged.run(weights, model.construction.dim, model.sequences, inverse_temperature=model.beta)
        difference = np.abs(residuals[:, outputs].astype(np.float64) - targets)
        allowed = 0.5 if model.labels else np.maximum(0.25, np.abs(targets) * 2.0 ** (1 - bits))
        if not (difference < allowed).all():
            return min(bits + 1, enough)
    return 1
