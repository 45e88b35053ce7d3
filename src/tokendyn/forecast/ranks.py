"""The number of singular values of the signal: the threshold of Gavish and Donoho."""

import numpy as np
from jaxtyping import Float
from scipy.integrate import quad
from scipy.optimize import brentq

#: Values that select the automatic rank.
AUTO = "auto"


def gavish_donoho(values: Float[np.ndarray, " values"], shape: tuple[int, int]) -> int:
    """Return the number of singular values above the optimal hard threshold for noise of unknown size.

    The threshold is ``lambda(beta) / sqrt(mu(beta))`` times the median singular value, with
    ``lambda^2 = 2 (beta + 1) + 8 beta / (beta + 1 + sqrt(beta^2 + 14 beta + 1))``, beta the ratio of the sides of the
    matrix, at most 1, and mu the median of the Marchenko-Pastur distribution (Gavish and Donoho 2014, equations 4, 11).

    Parameters
    ----------
    values
        All singular values, largest first.
    shape
        Shape of the matrix.

    Returns
    -------
    The count, at least 1.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.forecast.ranks import gavish_donoho
    >>> rng = np.random.default_rng(0)
    >>> noisy = 5 * rng.normal(size=(200, 3)) @ rng.normal(size=(3, 80)) + rng.normal(size=(200, 80))
    >>> gavish_donoho(np.linalg.svd(noisy, compute_uv=False), noisy.shape)
    3
    """
    beta = min(shape) / max(shape)
    squared = 2 * (beta + 1) + 8 * beta / (beta + 1 + np.sqrt(beta**2 + 14 * beta + 1))
    threshold = np.sqrt(squared / _median(beta)) * np.median(values)
    return max(int((values > threshold).sum()), 1)


def _median(beta: float) -> float:
    """Return the median of the Marchenko-Pastur distribution of squared singular values."""
    low, high = (1 - np.sqrt(beta)) ** 2, (1 + np.sqrt(beta)) ** 2

    def beyond(limit: float) -> float:
        # With x = low + (high - low) sin^2 t the density has no singular ends.
        def density(t: float) -> float:
            x = low + (high - low) * np.sin(t) ** 2
            return float((high - low) ** 2 * np.sin(2 * t) ** 2 / (4 * np.pi * beta * max(x, 1e-300)))

        end = np.arcsin(np.sqrt((limit - low) / (high - low)))
        return float(quad(density, 0.0, end)[0]) - 0.5

    return float(brentq(beyond, low, high))
