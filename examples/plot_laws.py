"""
Laws of attention dynamics beside their closed forms
====================================================

Four laws of neighbouring papers, as ``tokendyn claims field`` measures them: the lines are equations that know nothing of
the tokens. What they say, and under which hypotheses, is in :doc:`/theory-field`.
"""

from tokendyn.studies.claims import chosen_claims, judge

outcomes = {claim.id: judge(claim, "quick", 0) for claim in chosen_claims(["field.equiangular", "field.staircase",
            "field.normalisation", "field.causal"])}  # fmt: skip
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
