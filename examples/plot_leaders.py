"""
Leaders, clusters and where tokens end
======================================

The four configurations of Figure 2 of arXiv 2407.01602, from their coordinates: ``alpha = 0.5``, ``A = I``,
30 layers. Stars are leaders, with the mass of their cluster as area; a token has the colour of the leader it follows.
"""

from tokendyn.data.configurations import DESCRIPTIONS, configuration
from tokendyn.particles import simulate
from tokendyn.show.panels import panels

# %%
# A leader that emerges after the first layer, and two that lead from the start.
emerging = simulate(configuration("emerging-leader"), alpha=0.5, layers=30)
print(*emerging.describe(), sep="\n")
figure = panels(emerging.scene(DESCRIPTIONS["emerging-leader"]))

# %%
# The limit of every token was known after two layers. The run agrees with it:
print("largest difference after 30 layers:", emerging.prediction_error)

# %%
# Two tokens of the square tie between two corners for ever. They end at face projections, without a leader.
faces = simulate(configuration("face-clusters"), alpha=0.5, layers=30)
print(faces.prediction.kinds)
figure_faces = panels(faces.scene(DESCRIPTIONS["face-clusters"]))

# %%
# The other two configurations.
for name in ("triangle", "square"):
    print(name, "->", simulate(configuration(name)).summary()["leaders"])
# sphinx_gallery_thumbnail_path = 'figures/leaders_last.png'
