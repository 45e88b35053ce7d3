"""Powers of two that bring numbers to a moderate size without changing a bit of their mantissas."""

import numpy as np

#: Numbers between this and its inverse have products that neither overflow nor lose bits.
MODERATE = 2.0**-200


def power_of_two(array: np.ndarray) -> float:
    """Return 1 for an array whose largest entry is moderate, else a power of two that makes it so by division."""
    largest = float(np.abs(array).max(initial=0.0))
    if largest == 0 or not np.isfinite(largest) or MODERATE <= largest <= 1 / MODERATE:
        return 1.0
    return 2.0 ** min(max(int(np.frexp(largest)[1]), -1022), 1023)
