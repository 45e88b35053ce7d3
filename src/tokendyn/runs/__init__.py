"""Records of runs: provenance and files that are either whole or absent."""
