"""Records of runs: provenance, files that are either whole or absent, a store of runs, sweeps."""
