"""Snapshots of a system: the series itself, its checks, and readers of files and tables."""

from tokendyn.data.snapshots.series import UNIFORM, Snapshots, snapshots

__all__ = ["UNIFORM", "Snapshots", "snapshots"]
