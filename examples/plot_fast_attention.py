"""
Which tokens matter, and what may be left out
=============================================

One attention step compares all pairs. At hardmax most tokens can never lead; at softmax a stated error may be exchanged
for time. The first is exact, the second has a bound, and the result says which.
"""

import numpy as np
from matplotlib.figure import Figure

from tokendyn.attention import Head, attend
from tokendyn.attention.reduced import surviving_keys
from tokendyn.dynamics import Layer, run

# %%
# Twenty thousand tokens in the plane. A token inside a polytope of others is never a leader, whoever asks.
rng = np.random.default_rng(0)
tokens = rng.normal(size=(20_000, 2))
kept = surviving_keys(tokens, 0.0)
step = attend(tokens, tokens, tokens)
print(f"{len(kept)} of {len(tokens)} tokens could lead; {len(np.unique(step.leaders))} do")
print(step.choice.backend, "because of", step.choice.reason)
figure = Figure(figsize=(4.5, 4), layout="constrained")
axes = figure.subplots()
axes.plot(*tokens[::10].T, ".", color="#B8BEC6", markersize=2, label="tokens (a tenth of them)")
axes.plot(*tokens[kept].T, "o", color="#0072B2", markersize=4, label="could lead")
axes.plot(*tokens[np.unique(step.leaders)].T, "*", color="#D55E00", markersize=9, label="lead")
axes.set_aspect("equal")
legend = axes.legend(fontsize=8)

# %%
# A thousand layers cost little more than the few in which leaders are decided: later ones are known in closed form.
deep = run(tokens, [Layer(alpha=0.5, heads=(Head(),))] * 1000, record="last")
print("every token follows one point for ever from layer", deep.motion.first_layer)

# %%
# Softmax at inverse temperature 20 for 5,000 of them, with three wishes for the error, in units of the largest token.
# What was measured on 300 rows lies below what was asked.
some = tokens[:5000]
rows = np.arange(300)
exact = attend(some, some, some, inverse_temperature=20.0, rows=rows).means
wishes, errors = (1e-2, 1e-5, 1e-8), []
for wish in wishes:
    fast = attend(some, some, some, inverse_temperature=20.0, error_tolerance=wish, find_leaders=False)
    errors.append(np.linalg.norm(fast.means[rows] - exact, axis=1).max() / np.linalg.norm(some, axis=1).max())
    print(f"asked {wish:.0e}: backend {fast.choice.backend}, error {errors[-1]:.1e}")
