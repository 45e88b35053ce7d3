"""Neighbourhoods of the sites of a one-dimensional grid: the window of one site with those beside it."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

#: Largest number of values smoothed for a map that all sites share, and snapshots in a stretch of them: its few
#: coefficients need no more, and the cost of smoothing grows with the cube of the number of sites.
SMOOTHED, _STRETCH = 10_000, 80


def neighbours(sites: int, reach: int, *, periodic: bool) -> Int[np.ndarray, "sites near"]:
    """Return for each site the columns of itself and of ``reach`` sites on both sides, in order.

    Neighbours beyond the ends of a grid that is not periodic have the number ``sites``: a column of zeros, the mean.
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


def whole_operators(
    local: Float[np.ndarray, "windows columns"], delays: int, near: Int[np.ndarray, "sites near"]
) -> Float[np.ndarray, "samples delays sites sites"]:
    """Return the derivatives of all sites by the windows of the whole grid, from those of each site by its neighbours.

    Parameters
    ----------
    local
        For each window of :func:`local_rows` the derivative by its columns; those of inputs are left out.
    delays, near
        As there.
    """
    sites, count = near.shape
    local = local[:, : delays * count].reshape(-1, sites, delays, count)
    operators = np.zeros((len(local), delays, sites, sites + 1))
    operators[:, :, np.arange(sites)[:, None], near] = local.transpose(0, 2, 1, 3)
    return operators[..., :sites]  # nothing depends on the column of zeros beyond the ends


def stretches(
    series: Sequence[Float[np.ndarray, "_ sites"]], inputs: Sequence[np.ndarray], least: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return evenly spaced stretches of series and of their inputs, of about 10,000 numbers in all.

    Parameters
    ----------
    series, inputs
        Long series, and the rows of inputs of each.
    least
        Least number of snapshots in a stretch.
    """
    length = max(_STRETCH, 2 * least)
    total = sum(map(len, series))
    wanted = max(SMOOTHED // (series[0].shape[1] * length), 1)
    parts, driven = [], []
    for one, drive in zip(series, inputs, strict=True):
        count = max(round(wanted * len(one) / total), 1)
        starts = np.unique(np.linspace(0, max(len(one) - length, 0), count).astype(int))
        for start in starts if len(one) > count * length else (0,):
            end = start + length if len(one) > count * length else len(one)
            parts.append(one[start:end])
            driven.append(drive[start:end])
    return parts, driven
