"""The training of a classifier: values by one convex fit, or the published model by its own training."""

import itertools
import time
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

from tokendyn.errors import BadInputError
from tokendyn.runs.checkpoint import AnyCheckpoint, Checkpoint
from tokendyn.sentiment.checks import generator_of
from tokendyn.sentiment.heads import make_head
from tokendyn.sentiment.learning import Settings, learn
from tokendyn.sentiment.training import Progress, Recipe, place, train
from tokendyn.sentiment.vocabulary import choose_active, count_words, with_active

#: Steps of the progress at transfer 0: the largest number of settings, and the steps before and after them.
_STEPS = 24


def targets_of(which: Int[np.ndarray, " texts"], classes: int) -> Float[np.ndarray, "texts columns"]:
    """Return the class of each text as a probability of each class; of two, of the second.

    For n texts of a class, the probability is ``(n + 1) / (n + 2)``, and the other classes share the rest (Platt 1999):
    n texts of one class do not prove that the next text belongs to it. So ten texts of a class teach odds of eleven to
    one, not certainty; for thousands of texts the difference is negligible.
    """
    number = np.bincount(which, minlength=classes)
    sure = (number + 1.0) / (number + 2.0)
    if classes == 2:
        return np.where(which == 1, sure[1], 1.0 - sure[0])[:, None]
    others = (1.0 - sure) / (classes - 1)
    return np.where(which[:, None] == np.arange(classes), sure[which, None], others[which, None])


def learn_values(
    model: Any,
    texts: list[str],
    classes: np.ndarray,
    targets: Float[np.ndarray, "texts columns"],
    importance: Float[np.ndarray, " texts"],
    began: float,
    progress: Progress | None,
    budget: float,
    *,
    crops: float = 0.1,
) -> None:
    """Fit a :class:`tokendyn.sentiment.LeaderClassifier` at transfer 0: one convex fit, settings by held-out losses.

    ``crops`` is the cost of an error on a crop, relative to 1 on a text.
    """
    steps = itertools.count(1)
    settings = Settings(
        rule=model._rule(),
        active_words=model.active_words,
        phantom=model.phantom,
        floor=model.floor,
        marginal=model.marginal,
        prior_strength=model.prior_strength,
        doubt=None if model.doubt is None else float(model.doubt),
        crops=crops,
        leaders=float(model.leaders),
        strong_share=model.strong_share,
        dimensions=model.dimensions if model.groups == "topics" else 0,
        layers=model.layers,
        alpha=float(model.alpha),
    )
    tell = (lambda _: None) if progress is None else (lambda _: progress(min(next(steps), _STEPS), _STEPS, 0.0))
    # The vectors of the fit are too short for BLAS threads: on a busy machine these cost a hundred times the time that
    # they save.
    with threadpool_limits(1, user_api="blas"):
        learned = learn(texts, targets, importance, settings, tell, deadline=time.monotonic() + budget)
    if progress is not None:
        progress(_STEPS, _STEPS, 0.0)
    values = learned.values
    intercept = float(values.biases[0]) if len(classes) == 2 else values.biases
    model._settle_values(
        classes, learned.words, values.table, intercept, values.phantom, learned.grouping, learned.modifiers,
        learned.neighbours, learned.doubt,
    )  # fmt: skip
    model.training_ = {
        "texts": len(texts),
        "active_words": len(learned.words),
        **learned.record,
        "cpu_seconds": round(time.process_time() - began, 3),
    }


def train_published(
    model: Any,
    texts: list[str],
    classes: np.ndarray,
    which: Int[np.ndarray, " texts"],
    importance: Float[np.ndarray, " texts"] | None,
    began: float,
    progress: Progress | None,
    budget: float,
    checkpoint: AnyCheckpoint | None,
) -> None:
    """Fit a :class:`tokendyn.sentiment.LeaderClassifier` at transfer 1, the published model, through its layers."""
    rng = generator_of(model.random_state)
    training, validation = split(which, model.validation_fraction, rng)
    rule = model._rule()
    counted = count_words(texts, rule)
    active = choose_active(counted, which, training, at_most=model.active_words, min_score=float(model.min_score))
    if not len(active):
        raise BadInputError(
            f"no word tells the classes apart: in {len(training)} training texts none has |log-odds| sqrt(df) "
            f">= {model.min_score}; give more texts, or lower min_score"
        )
    ragged = with_active(counted, active)
    recipe = _recipe(model, len(training))
    head = make_head(which, len(classes), recipe.gain, importance)
    saved_at = Checkpoint.at(checkpoint)
    if saved_at is not None:
        saved_at.of(ragged, which, importance, training, validation, recipe, rng.bit_generator.state)
    result = train(
        ragged, head, training, validation, len(active), recipe, rng, progress,
        deadline=time.monotonic() + budget, checkpoint=saved_at,
    )  # fmt: skip
    points = place(head.values(result.unknowns), recipe.radius, result.jitter)
    words = tuple(counted.names[number] for number in active)
    phantom = 0.0 if model.phantom is None else float(model.phantom)
    model._settle(classes, words, points, *head.decoder(result.unknowns), phantom)
    model.training_ = {
        "texts": len(texts),
        "training_texts": len(training),
        "validation_texts": len(validation),
        "distinct_words": len(counted.names),
        "active_words": len(words),
        "batch_size": recipe.batch_size,
        "status": result.status,
        "epochs": result.record,
        "best": result.record[result.best],
        "cpu_seconds": round(time.process_time() - began, 3),
    }


def _recipe(model: Any, training_texts: int) -> Recipe:
    """Return the settings of the training for a number of texts."""
    batch = model.batch_size or int(np.clip(training_texts // 70, 8, 256))
    return Recipe(
        layers=model.layers,
        alpha=float(model.alpha),
        radius=float(model.radius),
        gain=float(model.gain),
        leaders=float(model.leaders),
        start_epochs=model.start_epochs,
        epochs=model.epochs,
        start_learning_rate=float(model.start_learning_rate),
        learning_rate=float(model.learning_rate),
        batch_size=batch,
        word_dropout=float(model.word_dropout),
        patience=model.patience,
    )


def split(
    which: Int[np.ndarray, " texts"], fraction: float, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " training"], Int[np.ndarray, " validation"]]:
    """Return a random, stratified split into texts to learn from and texts to choose the epoch, ascending.

    Each part has at least one text of each class.
    """
    held = []
    for side in range(int(np.max(which)) + 1):
        members = rng.permutation(np.flatnonzero(which == side))
        held.append(members[: min(max(round(fraction * len(members)), 1), len(members) - 1)])
    validation = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(which)), validation), validation
