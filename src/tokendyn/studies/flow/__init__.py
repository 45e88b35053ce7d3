"""Generated flows: a cylinder and an aerofoil in a stream, by an own lattice-Boltzmann solver."""

from tokendyn.studies.flow.bodies import WAKE, aerofoil_flow, cylinder_flow, quasi_periodic
from tokendyn.studies.flow.solver import Flow

__all__ = ["WAKE", "Flow", "aerofoil_flow", "cylinder_flow", "quasi_periodic"]
