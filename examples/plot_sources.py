"""
Experiments of the sources
==========================

Three experiments of the sources in small, as ``tokendyn claims`` runs them; ``--profile full`` has the sources' sizes.
The numbers, and what differs from the sources, are in :doc:`/claims`.
"""

from tokendyn.studies.claims import chosen_claims, judge

outcomes = {
    claim.id: judge(claim, "quick", 0)
    for claim in chosen_claims(["exact.tikhonov", "sentiment.leaders", "forecast.gusts"])
}
for name, outcome in outcomes.items():
    print(f"{name}: {outcome.verdict}")

# %%
# One softmax block is trained with Tikhonov regularisation (arXiv 2502.02270): its loss falls below the threshold of
# parameters that solve the problem, from random starts (coloured) and from those parameters (grey).
figure_tikhonov = outcomes["exact.tikhonov"].finding.figure

# %%
# Words that lead confident positive reviews (arXiv 2407.01602), on the short reviews that ship with tokendyn.
figure_leaders = outcomes["sentiment.leaders"].finding.figure
print(outcomes["sentiment.leaders"].finding.table.round(3).to_string(index=False))

# %%
# Lift on entry into a sharp gust: a linear model of an aerofoil under random gusts, beside Kuessner's function
# (arXiv 2602.08478). Where the flow stalls, it has more than twice the error of the transformer.
figure_gusts = outcomes["forecast.gusts"].finding.figure
print(outcomes["forecast.gusts"].finding.table.round(3).to_string(index=False))
