"""The table of leaders of arXiv 2407.01602, measured."""

from collections.abc import Mapping
from typing import Any

from tokendyn.data.texts import imdb_reviews, small_reviews
from tokendyn.studies.claims.claim import Claim, Finding, Profile, at_least, at_most
from tokendyn.studies.claims.drawing import axes
from tokendyn.studies.sentiment.leading_words import in_file_order, leader_table, without_stop_words

#: A quick training on the short reviews that ship with tokendyn; the full one is as published.
_QUICK: dict[str, Any] = {"learning_rate": 0.01, "epochs": 30}


def leaders(profile: Profile, seed: int, *, training: Mapping[str, Any] | None = None) -> Finding:
    """Train the published model, count the leaders of test reviews, and hold softmax beside hardmax."""
    quick = profile == "quick"
    reviews = small_reviews() if quick else imdb_reviews()
    parts = in_file_order(without_stop_words(reviews))
    settings = {**(_QUICK if quick else {}), **(training or {})}
    measured = leader_table(parts, (2, 4) if quick else (2, 4, 8, 16), seed=seed, **settings)
    table = measured.table
    labels = list(parts.test.labels or ())
    larger = max(labels.count(label) for label in set(labels)) / len(labels)
    ratio = table["training loss, hardmax"] / table["training loss, softmax"]
    values = {
        "share of leaders that lead at layer 0, least over d": float(table["lead at layer 0"].min()),
        "accuracy above that of the larger class, least over d": float(table["accuracy"].min()) - larger,
        "training loss of hardmax by that of softmax, distance from 1": float((ratio - 1).abs().max()),
    }
    figure, panel = axes("confident positive reviews that it leads", "")
    dim, frequent = max(measured.frequent.items(), key=lambda item: len(item[1]))
    words = [word for word, _ in frequent][::-1]
    panel.barh(words, [count for _, count in frequent][::-1], color="0.5")
    panel.set_title(f"most frequent leaders, d = {dim}", fontsize=9)
    remark = (
        f"{len(parts.training)} reviews learned, {len(parts.test)} tested, in file order ({reviews.source}); the "
        "source has 50,000, its list of stop words is not known to us."
    )
    return Finding(values=values, table=table, figure=figure, remark=remark)


CLAIM = Claim(
    id="sentiment.leaders",
    statement="A few words lead a review, from the first layer on; hardmax decides as the softmax that was trained.",
    source="arXiv 2407.01602, table of leaders, training losses and histogram",
    how="Leaders of test reviews over the dimension; training loss through softmax and hardmax layers; accuracies.",
    bounds={
        "share of leaders that lead at layer 0, least over d": at_least(0.95),
        "accuracy above that of the larger class, least over d": at_least(0.1),
        "training loss of hardmax by that of softmax, distance from 1": at_most(0.05),
    },
    check=leaders,
)
