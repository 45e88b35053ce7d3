"""
Why a review was judged as it was
=================================

A classifier is trained on the short reviews that come with the package. Its verdict is an exact sum over the words of
the text, whose strong terms are gathered by a few leader words, found by hardmax attention.
"""

from tokendyn.data.texts import small_reviews
from tokendyn.sentiment import LeaderClassifier
from tokendyn.sentiment.report import scene
from tokendyn.show import following_strip
from tokendyn.show.panels import panels

# %%
# Train on 500 reviews, keep 100 aside.
reviews = small_reviews()
model = LeaderClassifier(random_state=0).fit(reviews.texts[:500], reviews.labels[:500])
print("accuracy on the other 100:", model.score(reviews.texts[500:], reviews.labels[500:]))

# %%
# Ask why. Contributions, residual and bias add up to the logit.
why = model.explain("I feared a dull, lazy sequel. What a wonderful surprise: warm, funny and beautifully acted.")
for word, contribution in why.as_list():
    print(f"{contribution:+.3f}  {word}")
print(f"{why.residual:+.3f}  residual\n{why.bias:+.3f}  bias\n{why.logit:+.3f}  = logit, so {why.label}")

# %%
# The words of the review as moving tokens: each ends with its leader.
moving = scene(why, "Words gather around their leaders")
figure = panels(moving)
strip = following_strip(moving)
# sphinx_gallery_thumbnail_number = 2
