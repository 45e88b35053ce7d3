"""Snapshots of a system: the series itself, its checks, and readers of files and tables."""

from tokendyn.data.snapshots.clocks import dates_after, index_after, seconds_since
from tokendyn.data.snapshots.grids import Grid
from tokendyn.data.snapshots.readers import read_snapshots, read_trajectories
from tokendyn.data.snapshots.series import UNIFORM, Snapshots, snapshots

__all__ = [
    "UNIFORM", "Grid", "Snapshots", "dates_after", "index_after", "read_snapshots", "read_trajectories",
    "seconds_since", "snapshots",
]  # fmt: skip
