"""The slope of the scores of many classes, fitted to held-out texts: the prior makes the scores too small.

One strength of the prior serves all classes. The strength with the least held-out loss keeps rare tokens in check, but
shrinks all scores, so that the most probable class is right more often than its probability says. One factor for all
scores (temperature scaling: Guo, Pleiss, Sun, Weinberger, ICML 2017) corrects this; no verdict changes. With two
classes the slope stays 1.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar

from tokendyn.sentiment.values import Sample, Values

#: Standard deviation of the logarithm of the slope in its prior, because few texts are little evidence; and its bound.
_SPREAD, _BOUND = 0.2, 1.0


def fit_slope(held: Sequence[tuple[Sample, Values]]) -> float:
    """Return the factor of scores with the greatest posterior density given held-out texts; 1 without texts.

    The minimum over s of ``sum importance * loss(s * scores) + (log s)^2 / (2 * 0.2^2)``.

    Parameters
    ----------
    held
        Texts, and values learned from other texts.
    """
    if not held:
        return 1.0

    def objective(logarithm: float) -> float:
        slope = float(np.exp(logarithm))
        losses = sum(float(part.importance @ values.times(slope).losses(part)) for part, values in held)
        return losses + logarithm**2 / (2.0 * _SPREAD**2)

    return float(np.exp(minimize_scalar(objective, bounds=(-_BOUND, _BOUND), method="bounded").x))
