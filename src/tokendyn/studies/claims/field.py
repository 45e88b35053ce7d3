"""The laws of neighbouring papers: each of :mod:`tokendyn.studies.laws` has its own check."""

from tokendyn.studies.laws import (
    causal,
    continuity,
    energy,
    equiangular,
    noise,
    normalisation,
    rank_collapse,
    spectrum,
    staircase,
    temperature,
    trapping,
)

_LAWS = (
    equiangular, staircase, causal, normalisation, temperature, noise, rank_collapse, trapping, energy, spectrum,
    continuity,
)  # fmt: skip

CLAIMS = tuple(law.CLAIM for law in _LAWS)
