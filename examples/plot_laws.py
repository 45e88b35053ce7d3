"""
Laws of attention dynamics beside their closed forms
====================================================

Laws of neighbouring papers, as ``tokendyn claims field`` measures them: the lines are closed forms, computed without
the tokens. :doc:`/theory-field` states them with their hypotheses.
"""

from tokendyn.studies.claims import chosen_claims, judge

names = (
    "equiangular", "staircase", "normalisation", "causal", "critical-temperature", "noise", "rank-collapse", "trapping",
    "energy", "spectrum", "continuity",
)  # fmt: skip
outcomes = {claim.id: judge(claim, "quick", 0) for claim in chosen_claims([f"field.{name}" for name in names])}
for name, outcome in outcomes.items():
    print(f"{name}: {outcome.verdict}")

# %%
# Clustering from a random start over time and temperature (arXiv 2312.10794): the mean inner product of the tokens in
# colour, levels of the scalar equation as lines.
figure_diagram = outcomes["field.equiangular"].finding.figure

# %%
# Three pairs of tokens merge one after the other; dashed, when two atoms alone would.
figure_staircase = outcomes["field.staircase"].finding.figure

# %%
# Two tokens under five kinds of normalisation (arXiv 2510.22026): exponentials, and powers of time.
figure_normalisation = outcomes["field.normalisation"].finding.figure

# %%
# Tokens under causal attention (arXiv 2411.04990): strong Renyi centres blue, other centres red.
figure_causal = outcomes["field.causal"].finding.figure

# %%
# With beta = gamma log n tokens collapse in a step below gamma = 1 / (1 - rho) (arXiv 2510.05554): lines end at the
# closed form.
figure_temperature = outcomes["field.critical-temperature"].finding.figure

# %%
# Order against noise (arXiv 2604.16288): where the transition is abrupt, tokens keep the order they began with.
figure_noise = outcomes["field.noise"].finding.figure

# %%
# Pure attention loses rank doubly exponentially (Dong et al. 2021): residuals far below the rounding of tokens.
figure_rank = outcomes["field.rank-collapse"].finding.figure

# %%
# A pair of tokens is trapped for a time exponential in the inverse temperature (arXiv 2508.09628).
figure_trapping = outcomes["field.trapping"].finding.figure

# %%
# The energy of unnormalised attention never falls (arXiv 2501.03096).
figure_energy = outcomes["field.energy"].finding.figure

# %%
# In the plane without normalisation, rescaled tokens end on the boundary of a polygon for V = I (arXiv 2305.05465).
figure_spectrum = outcomes["field.spectrum"].finding.figure

# %%
# The mean field on the circle without tokens, beside a hundred thousand of them.
figure_law = outcomes["field.continuity"].finding.figure
