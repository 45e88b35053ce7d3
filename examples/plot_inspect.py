"""
A transformer as a particle system
==================================

``td.inspect`` runs a model on texts and measures its tokens: do they gather, who leads, what moves them. Here the
model is a tiny BERT with random weights, so there is little to find.
"""

import numpy as np
from transformers import BertConfig, BertModel

import tokendyn as td

# %%
# A model of 3 layers with 2 heads, and eight "texts": numbers of tokens, since a random model has no words.
config = BertConfig(
    vocab_size=200, hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64,
    attn_implementation="eager",
)  # fmt: skip
rng = np.random.default_rng(0)
texts = list(rng.integers(1, 200, size=(8, 16)))
seen = td.inspect(BertModel(config), texts)
print(seen)

# %%
# Gathering is the cosine inside a text less that across texts. Shaded are two standard errors over texts.
# It is a little below zero here, and so is that of other random weights: only tokens of different texts can
# share a place. This is why the null is a model of the same shape, and not zero.
figure = seen.plot()

# %%
# Every head from its weights and its attention; no random head is frozen.
print(seen.heads[["layer", "head", "cold", "slope", "r2"]].round(3).head())

# %%
# The same for states that another tool wrote. Planted here: tokens that move towards one direction.
states = rng.normal(size=(3, 30, 16))
states[1] += 0.5 * rng.normal(size=16)
states[2] = states[1] + 2.0 * rng.normal(size=16)
print(td.inspect(states).geometry[["layer", "cosine"]].round(2))
