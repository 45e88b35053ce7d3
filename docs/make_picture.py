"""Draw the picture of the README: ``python docs/make_picture.py``."""

from pathlib import Path

import numpy as np

from tokendyn.particles import simulate
from tokendyn.show.panels import panels

tokens = np.random.default_rng(4).normal(size=(60, 2))
run = simulate(tokens, alpha=0.5, layers=30)
figure = panels(run.scene("60 tokens gather around their leaders"), layers=(0, 1, 2, 30))
figure.savefig(Path(__file__).parent / "images" / "leaders.png", dpi=90)
