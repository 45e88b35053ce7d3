"""Sums of ``e^(kappa cos(angle))`` over keys on a circle that are gathered into cells, compiled, one thread."""

import math

import numpy as np
from numba import njit

from tokendyn.attention.softmax_kernels import exp_clamped

#: Chebyshev nodes that stand for the keys of a full cell.
NODES = 22

#: Pseudo-keys whose exponentials are taken at once.
BLOCK = 256


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def count_pseudo_keys(starts, offsets):
    """Fill ``offsets``: a cell of more than ``NODES`` keys has ``NODES`` pseudo-keys, other cells their own keys."""
    offsets[0] = 0
    for cell in range(len(starts) - 1):
        offsets[cell + 1] = offsets[cell] + min(starts[cell + 1] - starts[cell], NODES)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def gather_cells(angles, channels, starts, offsets, width, nodes, to_nodes, points, pseudo):
    """Fill points and channels of the pseudo-keys of every cell.

    For a function ``f`` that a polynomial of degree ``NODES - 1`` fits on the cell,
    ``sum_j F_j f(angle_j) = sum_m (sum_j F_j L_m(angle_j)) f(node_m)`` with the Lagrange polynomials ``L_m``.
    """
    count = channels.shape[1]
    moments = np.empty((NODES, count))
    for cell in range(len(starts) - 1):
        first, last, at = starts[cell], starts[cell + 1], offsets[cell]
        centre = (cell + 0.5) * width
        if last - first <= NODES:
            for j in range(first, last):
                points[0, at + j - first] = math.cos(angles[j])
                points[1, at + j - first] = math.sin(angles[j])
                for c in range(count):
                    pseudo[c, at + j - first] = channels[j, c]
            continue
        moments[:] = 0.0
        for j in range(first, last):
            t = 2.0 * (angles[j] - centre) / width
            before, now = 1.0, t
            for c in range(count):
                moments[0, c] += channels[j, c]
            # Chebyshev polynomials by their recurrence, T_k+1 = 2 t T_k - T_k-1.
            for k in range(1, NODES):
                for c in range(count):
                    moments[k, c] += now * channels[j, c]
                before, now = now, 2.0 * t * now - before
        for m in range(NODES):
            points[0, at + m] = math.cos(centre + 0.5 * width * nodes[m])
            points[1, at + m] = math.sin(centre + 0.5 * width * nodes[m])
            for c in range(count):
                total = 0.0
                for k in range(NODES):
                    total += to_nodes[m, k] * moments[k, c]
                pseudo[c, at + m] = total


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def window_sums(rows, angles, stiffness, half_widths, least_chords, offsets, width, points, pseudo, sums):
    """Fill ``sums[i, c] = sum_p e^(kappa_i (cos(a_i - b_p) - top_i)) pseudo[c, p]`` over the cells of each window.

    ``kappa (cos a - cos b) = kappa / 2 (chord_b^2 - chord_a^2)``, and chords lose no digits near zero.
    """
    cells = len(offsets) - 1
    terms = np.empty(BLOCK)
    for i in rows:
        x, y, scale = math.cos(angles[i]), math.sin(angles[i]), -0.5 * stiffness[i]
        low = math.floor((angles[i] - half_widths[i]) / width)
        high = math.floor((angles[i] + half_widths[i]) / width)
        for c in range(sums.shape[1]):
            sums[i, c] = 0.0
        if high - low >= cells - 1:
            _add_range(x, y, scale, least_chords[i], points, pseudo, 0, offsets[cells], terms, sums[i])
            continue
        # A window across the angle 0 consists of two ranges.
        low, high = low % cells, high % cells
        if low <= high:
            _add_range(x, y, scale, least_chords[i], points, pseudo, offsets[low], offsets[high + 1], terms, sums[i])
        else:
            _add_range(x, y, scale, least_chords[i], points, pseudo, offsets[low], offsets[cells], terms, sums[i])
            _add_range(x, y, scale, least_chords[i], points, pseudo, 0, offsets[high + 1], terms, sums[i])


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _add_range(x, y, scale, least, points, pseudo, first, last, terms, sums):
    for start in range(first, last, BLOCK):
        count = min(BLOCK, last - start)
        _terms(x, y, scale, least, points[0, start : start + count], points[1, start : start + count], terms)
        for c in range(sums.shape[0]):
            sums[c] += _dot(terms, pseudo[c, start : start + count])


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _terms(x, y, scale, least, points_x, points_y, terms):
    for p in range(points_x.size):
        dx, dy = x - points_x[p], y - points_y[p]
        terms[p] = exp_clamped(scale * (dx * dx + dy * dy - least))


# Sums in any order, so that they vectorise; nothing else in this function depends on the order of operations.
@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
def _dot(terms, factors):
    total = 0.0
    for p in range(factors.size):
        total += terms[p] * factors[p]
    return total
