"""The transportation problem by shortest augmenting paths: exact, with potentials, and fast for equal weights.

Jonker and Volgenant (Computing 38 (1987)) for assignments; with split masses, a column has edges back to all rows that
send to it. Invariants after every path: ``c_ij - u_i - v_j >= 0``, with equality where the plan moves mass, so that the
plan is optimal for the masses that it has moved.
"""

import numba
import numpy as np


@numba.njit(cache=True)
def transport(costs, supply, demand, plan, u, v, most_paths):
    """Fill the plan and the potentials; supply and demand are used up. Return the number of paths, or -1 if too many.

    A remainder of the supply that rounding leaves after the demand is spent is not moved.
    """
    rows, columns = costs.shape
    _greedy(costs, supply, demand, plan, u, v)
    length, row_length = np.empty(columns), np.empty(rows)  # of the shortest paths from the source
    previous, entered = np.empty(columns, np.int64), np.empty(rows, np.int64)
    # Dijkstra's search. Invariant: ``order[open_columns:]`` are the columns whose shortest path is known, and
    # ``queue[:reached]`` the rows that were reached, of which those before ``scanned`` have updated the columns.
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
    """Start from the largest feasible potentials, of columns and then of rows, and move mass on pairs without slack.

    Most of the mass moves here, at the cost of one pass over the pairs; paths are needed for the rest only.
    """
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
    """Return the index of the nearest column; among equal ones, one that can take mass, which ends the search."""
    nearest = 0
    for k in range(1, len(columns)):
        j, best = columns[k], length[columns[nearest]]
        if length[j] < best or (length[j] == best and demand[j] > 0.0):
            nearest = k
    return nearest


@numba.njit(cache=True)
def _lift(u, v, rows, row_length, columns, length, shortest):
    """Change the potentials of the rows and columns that the search reached, so that the path has no slack."""
    for i in rows:
        u[i] += shortest - row_length[i]
    for j in columns:
        v[j] += length[j] - shortest


@numba.njit(cache=True)
def _push(supply, demand, plan, source, sink, previous, entered):
    """Move along the path the most that its source has, its sink takes, and its edges back carry."""
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
