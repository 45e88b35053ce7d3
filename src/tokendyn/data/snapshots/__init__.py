"""Snapshots of a system: the series itself, its checks, and readers of files and tables."""

from tokendyn.data.snapshots.readers import read_snapshots, read_trajectories
from tokendyn.data.snapshots.series import UNIFORM, Snapshots, snapshots

__all__ = ["UNIFORM", "Snapshots", "read_snapshots", "read_trajectories", "snapshots"]
