"""The transportation problem by shortest augmenting paths: exact, with potentials, for equal weights as fast as any.

Jonker and Volgenant (Computing 38 (1987)) for assignments; masses that are split only add edges back from a column to
all rows that send to it. Invariants after every path: ``c_ij - u_i - v_j >= 0``, with equality where the plan moves
mass, so that the plan is a cheapest one for the masses that are moved already.
"""

import numba
import numpy as np


@numba.njit(cache=True)
def transport(costs, supply, demand, plan, u, v, most_paths):
    """Fill the plan and the potentials; supply and demand are used up. Return the number of paths, or -1 if too many.

    What rounding leaves of the supply when the demand is spent stays where it is.
    """
    rows, columns = costs.shape
    _greedy(costs, supply, demand, plan, u, v)
    length, row_length = np.empty(columns), np.empty(rows)  # of the shortest paths from the source
    previous, entered = np.empty(columns, np.int64), np.empty(rows, np.int64)
    # Columns whose shortest path is known stand behind ``open_columns``; rows that were reached, before ``reached``.
    order, queue = np.arange(columns), np.empty(rows, np.int64)
    paths = 0
    for source in range(rows):
        while supply[source] > 0.0:
            if paths == most_paths:
                return -1
            paths += 1
            length[:] = np.inf
            entered[:] = -1
            queue[0], entered[source], row_length[source] = source, columns, 0.0
            reached, scanned, open_columns, sink = 1, 0, columns, -1
            while open_columns:
                for i in queue[scanned:reached]:
                    for j in order[:open_columns]:
                        through = row_length[i] - u[i] + costs[i, j] - v[j]
                        if through < length[j]:
                            length[j], previous[j] = through, i
                scanned = reached
                nearest = _nearest(order[:open_columns], length, demand)
                j = order[nearest]
                open_columns -= 1
                order[nearest], order[open_columns] = order[open_columns], j
                if demand[j] > 0.0:
                    sink = j
                    break
                for i in range(rows):
                    if entered[i] < 0 and plan[i, j] > 0.0:
                        entered[i], row_length[i], queue[reached] = j, length[j], i
                        reached += 1
            if sink < 0:
                return paths  # the demand is spent
            _lift(u, v, queue[:reached], row_length, order[open_columns:], length, length[sink])
            _push(supply, demand, plan, source, sink, previous, entered)
    return paths


@numba.njit(cache=True)
def _greedy(costs, supply, demand, plan, u, v):
    """Start from the largest potentials of the columns, then of the rows, and move what pairs without slack take."""
    rows, columns = costs.shape
    for j in range(columns):
        v[j] = costs[:, j].min()
    for i in range(rows):
        u[i] = (costs[i] - v).min()
        for j in range(columns):
            if demand[j] > 0.0 and costs[i, j] - v[j] == u[i]:
                mass = min(supply[i], demand[j])
                plan[i, j] = mass
                supply[i] -= mass
                demand[j] -= mass
            if supply[i] <= 0.0:
                break


@numba.njit(cache=True)
def _nearest(columns, length, demand):
    """Return the place of the nearest column; of columns equally near, one that can take mass ends the search."""
    nearest = 0
    for k in range(1, len(columns)):
        j, best = columns[k], length[columns[nearest]]
        if length[j] < best or (length[j] == best and demand[j] > 0.0):
            nearest = k
    return nearest


@numba.njit(cache=True)
def _lift(u, v, rows, row_length, columns, length, shortest):
    """Change the potentials of what the search reached, so that the path to the sink has no slack."""
    for i in rows:
        u[i] += shortest - row_length[i]
    for j in columns:
        v[j] += length[j] - shortest


@numba.njit(cache=True)
def _push(supply, demand, plan, source, sink, previous, entered):
    """Move along the path what its source has, its sink takes, and the edges back on it can give."""
    mass, j = min(supply[source], demand[sink]), sink
    while previous[j] != source:
        i = previous[j]
        j = entered[i]
        mass = min(mass, plan[i, j])
    supply[source] -= mass
    demand[sink] -= mass
    j = sink
    while True:
        i = previous[j]
        plan[i, j] += mass
        if i == source:
            return
        j = entered[i]
        plan[i, j] -= mass
