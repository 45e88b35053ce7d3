"""Neighbourhoods of the sites of a one-dimensional grid: the window of one site with those beside it."""

import numpy as np
from jaxtyping import Float, Int


def neighbours(sites: int, reach: int, *, periodic: bool) -> Int[np.ndarray, "sites near"]:
    """Return for each site the columns of itself and of ``reach`` sites on both sides, in order.

    Beyond the ends of a grid that is not periodic stands the number ``sites``: a column of zeros, the mean.
    """
    numbers = np.arange(sites)[:, None] + np.arange(-reach, reach + 1)
    return numbers % sites if periodic else np.where((numbers < 0) | (numbers >= sites), sites, numbers)


def local_rows(
    rows: Float[np.ndarray, "samples width"], delays: int, near: Int[np.ndarray, "sites near"]
) -> Float[np.ndarray, "windows columns"]:
    """Return the windows of all sites: ``(samples sites, delays near + inputs)``, the sites of a sample together.

    Parameters
    ----------
    rows
        Windows of the whole grid: all snapshots, the newest last, then the inputs.
    delays
        Snapshots of a window.
    near
        :func:`neighbours`.
    """
    samples, (sites, count) = len(rows), near.shape
    states = rows[:, : delays * sites].reshape(samples, delays, sites)
    padded = np.concatenate([states, np.zeros((samples, delays, 1))], axis=2)
    local = padded[:, :, near].transpose(0, 2, 1, 3).reshape(samples * sites, delays * count)
    drive = rows[:, delays * sites :]
    return np.concatenate([local, np.repeat(drive, sites, axis=0)], axis=1) if drive.shape[1] else local
