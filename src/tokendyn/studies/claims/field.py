"""The laws of neighbouring papers: each of :mod:`tokendyn.studies.laws` has its own check."""

from tokendyn.studies.laws import equiangular, temperature

CLAIMS = (equiangular.CLAIM, temperature.CLAIM)
