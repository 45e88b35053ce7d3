"""Delay embedding: a snapshot together with the snapshots before it."""

import numpy as np
from jaxtyping import Float

Series = Float[np.ndarray, "time features"]


def window_length(delays: int, stride: int) -> int:
    """Return the snapshots ``(delays - 1) stride + 1`` that a window of ``delays`` spans."""
    return (delays - 1) * stride + 1


def delay_windows(series: Series, delays: int, stride: int) -> Float[np.ndarray, "samples delays features"]:
    """Return every complete window ``(x_{k-(m-1)s}, ..., x_{k-s}, x_k)`` of a series, oldest snapshot first.

    Parameters
    ----------
    series
        Snapshots, (time, features).
    delays, stride
        m snapshots in a window, s steps apart.

    Returns
    -------
    A read-only view, (time - (m - 1) s, m, features); row i ends at the snapshot ``i + (m - 1) s``.
    """
    span = window_length(delays, stride)
    windows = np.lib.stride_tricks.sliding_window_view(series, span, axis=0)
    return windows[:, :, ::stride].transpose(0, 2, 1)


def hankel(series: Series, delays: int, stride: int) -> Float[np.ndarray, "samples columns"]:
    """Return the Hankel matrix: :func:`delay_windows` with each window as one row of ``delays * features``."""
    windows = delay_windows(series, delays, stride)
    return windows.reshape(len(windows), -1)


def input_windows(inputs: Series, delays: int, stride: int) -> Float[np.ndarray, "samples delays twice"]:
    """Return the inputs that act on each window: ``(u_i, u_{i+1})`` for each of its snapshots ``x_i``.

    An input is known in advance, so ``u_{k+1}``, at the time of the prediction, belongs to the window that ends at k.
    The last window of the series has no next input and is left out.
    """
    pairs = np.concatenate([inputs[:-1], inputs[1:]], axis=1)
    return delay_windows(pairs, delays, stride)
