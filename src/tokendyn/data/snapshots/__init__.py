"""Snapshots of a system: the series itself, its checks, and readers of files and tables."""

from tokendyn.data.snapshots.readers import dates_after, read_snapshots, read_trajectories, seconds_since
from tokendyn.data.snapshots.series import UNIFORM, Snapshots, snapshots

__all__ = ["UNIFORM", "Snapshots", "dates_after", "read_snapshots", "read_trajectories", "seconds_since", "snapshots"]
