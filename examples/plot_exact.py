"""
A transformer without training
==============================

Sixty sequences with three labels, and a transformer in closed form (arXiv 2502.02270 and our own construction) that
gives each of them its label, to the last bit.
"""

import numpy as np

from tokendyn import exact

rng = np.random.default_rng(0)
sequences = [rng.normal(size=(n, 2)) for n in rng.integers(2, 9, 60)]
labels = rng.choice(["red", "green", "blue"], 60).tolist()
model = exact.compile(sequences, labels, strategy="fused")
print(model)
print("right:", sum(a == b for a, b in zip(model.predict(sequences), labels, strict=True)), "of 60")

# %%
# Every block is a question. This is the path of one sequence: grey intervals were missed, the orange one was hit.
longest_path = max(sequences, key=lambda sequence: len(model.explain(sequence).questions))
figure = model.explain(longest_path).figure()

# %%
# The same weights, without any rounding:
print(model.certificate.verify(exact=True))

# %%
# The shallow bank is a good start for training with Tikhonov regularisation; random starts are far from it.
points = rng.normal(size=(40, 3, 16))
curves = exact.bank_training(points, rng.integers(0, 2, 40), epochs=30, random_starts=2)
figure_losses = curves.figure()
# sphinx_gallery_thumbnail_number = 2
