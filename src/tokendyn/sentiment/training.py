"""Training at hardmax: the leaders are found exactly, and the gradient of the verdict is exact."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from tokendyn.errors import ConvergenceError
from tokendyn.runs.checkpoint import Checkpoint, State
from tokendyn.runs.processes import Processes
from tokendyn.sentiment.heads import Head, Values
from tokendyn.sentiment.routing import route_all
from tokendyn.sentiment.vocabulary import Ragged

_SAMPLE = 512
Progress = Callable[[int, int, float], None]
"""Called after each epoch with the epoch (from 1), the number of epochs, and the validation accuracy."""


@dataclass(frozen=True)
class Recipe:
    """Settings of a training run; the constructor of the classifier explains them."""

    layers: int
    alpha: float
    radius: float
    gain: float
    leaders: float
    start_epochs: int
    epochs: int
    start_learning_rate: float
    learning_rate: float
    batch_size: int
    word_dropout: float
    patience: int | None = None


@dataclass(frozen=True)
class Trained:
    """Word values and bias of the best epoch on the validation part, and the record of all epochs.

    Attributes
    ----------
    unknowns
        The learned unknowns in the order of the head: the values s of the active words, then the bias.
    jitter
        The jitter of the positions.
    record
        Two entries for each epoch, for its last and its mean iterate: ``stage`` ("start" without layers, or
        "hardmax"), ``epoch``, ``validation_accuracy``, ``validation_loss`` and, at
        hardmax, ``jitter`` and ``validation_leaders``.
    best
        Index of the chosen entry.
    status
        "budget" if the deadline came before the last epoch; "diverged" if a number was not finite in an epoch: that
        epoch is dropped, and the best epoch before it is returned.
    """

    unknowns: Float[np.ndarray, " unknowns"]
    jitter: float
    record: list[dict[str, float | int | str]]
    best: int
    status: Literal["completed", "budget", "diverged"] = "completed"


def place(values: Values, radius: float, jitter: float) -> Float[np.ndarray, "words_and_pole dim"]:
    """Return the tokens of all words, and the neutral pole ``(0, R)`` in the last row.

    ``z = (s, t)`` with ``t = sqrt(max(R^2 - s^2, 0)) exp(jitter (rank|s| - 1/2))``, the rank in (0, 1). Words
    of equal norm would all lead themselves; the factor makes words of large value lead (our own).
    Where s is a vector, one coordinate a class, the same holds with its norm for ``|s|``.
    """
    strength = np.abs(values) if values.ndim == 1 else np.linalg.norm(values, axis=1)
    order = np.argsort(strength, kind="stable")
    rank = np.empty(len(values))
    rank[order] = (np.arange(len(values)) + 0.5) / max(len(values), 1)
    columns = values.reshape(len(values), -1)
    points = np.zeros((len(values) + 1, columns.shape[1] + 1))
    points[:-1, :-1] = columns
    points[:-1, -1] = np.sqrt(np.maximum(radius**2 - strength**2, 0.0)) * np.exp(jitter * (rank - 0.5))
    points[-1, -1] = radius
    return points


def jitter_for(
    leaders: float,
    values: Values,
    texts: Ragged,
    rows: Int[np.ndarray, " sample"],
    recipe: Recipe,
) -> float:
    """Return the jitter in [0, 1], by bisection, that gives the sampled texts the wanted mean number of leaders.

    More jitter gives fewer leaders, but not strictly monotonically, so the number is met only approximately.
    With jitter 0 nearly every word leads itself; if even that gives fewer leaders, the answer is 0 (our own).
    """
    low, high = 0.0, 1.0
    for _ in range(12):
        middle = 0.5 * (low + high)
        points = place(values, recipe.radius, middle)
        _, leads = route_all(texts, points, recipe.alpha, recipe.layers, rows=rows)
        if np.mean(leads[rows]) > leaders:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def train(
    texts: Ragged,
    head: Head,
    training: Int[np.ndarray, " training"],
    validation: Int[np.ndarray, " validation"],
    words: int,
    recipe: Recipe,
    rng: np.random.Generator,
    progress: Progress | None = None,
    *,
    deadline: float = math.inf,
    checkpoint: Checkpoint | None = None,
) -> Trained:
    """Learn word values: first without layers (a bag of words), then through the hardmax layers.

    Only s is learned, by Adam on the logistic loss of ``gain sum_j w_j s_j + b``; the positions of tokens (t) and the
    shares of their leaders (w) are functions of s. The targets are piecewise constant in s, so ``gain w_j`` is the
    exact gradient almost everywhere. Before each epoch of the second stage the jitter is set so that validation texts
    have the wanted number of leaders. The learning rate falls linearly to 0 over the second stage. After each epoch the
    last iterate and the mean iterate of the epoch are evaluated on the validation part. Under ``torchrun`` each process
    takes a part of every batch, and gradients are summed.

    Parameters
    ----------
    texts
        All texts.
    head
        The decoder, with the classes of the texts.
    training, validation
        The texts to learn from, and the texts that choose the epoch.
    words
        Number of active words.
    recipe
        The settings.
    rng
        Generator for the order of the texts and word dropout.
    progress
        Called after each epoch; exceptions from it, and KeyboardInterrupt, pass through.
    deadline
        Time after which no epoch begins, on the clock of :func:`time.monotonic`; the best epoch is returned.
    checkpoint
        File for the state after epochs, bound to the data and the settings by the caller; an interrupted training
        continues from there, with bit-identical results.

    Raises
    ------
    ConvergenceError
        If a number is not finite in the very first epoch, so that there is nothing to return.
    """
    run = _Run(texts, head, training, validation, recipe, rng, progress, deadline, checkpoint)
    state = None if checkpoint is None else checkpoint.read()
    try:
        if state is not None and state.record["stage"] == "hardmax":
            result = run.stage("hardmax", state.arrays["point"], state)
        else:
            result = run.stage("start", head.start(words), state)
            if recipe.layers and recipe.epochs and run.status == "completed":
                result = run.stage("hardmax", result.unknowns)
        return replace(result, status=run.status)
    finally:
        run.write()


class _Run:
    """The data and the record that the two stages share."""

    def __init__(
        self,
        texts: Ragged,
        head: Head,
        training: Int[np.ndarray, " training"],
        validation: Int[np.ndarray, " validation"],
        recipe: Recipe,
        rng: np.random.Generator,
        progress: Progress | None,
        deadline: float,
        checkpoint: Checkpoint | None,
    ) -> None:
        self.texts, self.head = texts, head
        self.training, self.validation = training, validation
        self.recipe, self.rng, self.progress = recipe, rng, progress
        self.record: list[dict[str, float | int | str]] = []
        self.jitter = 0.0
        self.processes = Processes()
        self.deadline, self.checkpoint = deadline, checkpoint
        self.newest: State | None = None
        self.status: Literal["completed", "budget", "diverged"] = "completed"

    def stage(self, name: str, unknowns: Float[np.ndarray, " unknowns"], state: State | None = None) -> Trained:
        """Train from a start, or from a checkpoint within the stage, and return the best iterate of the stage."""
        recipe, hard = self.recipe, name == "hardmax"
        epochs = recipe.epochs if hard else recipe.start_epochs
        rate = recipe.learning_rate if hard else recipe.start_learning_rate
        layers = recipe.layers if hard else 0
        batches = -(-len(self.training) // recipe.batch_size)
        adam = _Adam(unknowns, rate, epochs * batches if hard else None)
        best = Trained(unknowns=unknowns, jitter=self.jitter, record=self.record, best=-1)
        least, since, first_epoch = (-1.0, -np.inf), 0, 0
        if state is not None:
            best, least, since, first_epoch = self._take_up(state, adam)
        for epoch in range(first_epoch + 1, epochs + 1):
            if recipe.patience is not None and since >= recipe.patience:
                break
            if self.record and self.processes.agree(time.monotonic() > self.deadline):
                self.status = "budget"
                break
            if hard:
                # The values change in each epoch, and with them the jitter for the same number of leaders.
                sample = self.validation[:: -(-len(self.validation) // _SAMPLE)]
                self.jitter = jitter_for(recipe.leaders, self.head.values(adam.point), self.texts, sample, recipe)
            mean = self._epoch(adam, layers)
            if not np.isfinite(mean).all():
                self._give_up(epoch)
                break
            highest, since = 0.0, since + 1
            # The mean iterate of an epoch is often better than the last iterate, because the steps do not shrink.
            for candidate in (adam.point.copy(), mean):
                entry = self._judge(candidate, layers, name, epoch)
                accuracy, loss = float(entry["validation_accuracy"]), float(entry["validation_loss"])
                self.record.append(entry)
                highest = max(highest, accuracy)
                if (accuracy, -loss) > least:
                    least, since = (accuracy, -loss), 0
                    which = len(self.record) - 1
                    best = Trained(unknowns=candidate, jitter=self.jitter, record=self.record, best=which)
            if self.progress is not None:
                epochs_done = epoch + (recipe.start_epochs if hard else 0)
                self.progress(epochs_done, recipe.start_epochs + (recipe.epochs if recipe.layers else 0), highest)
            self._mark(name, epoch, adam, best, least, since)
        return best

    def _mark(
        self, stage: str, epoch: int, adam: "_Adam", best: Trained, least: tuple[float, float], since: int
    ) -> None:
        """Record the end of an epoch, and write it to the checkpoint if that is due."""
        if self.checkpoint is None or self.processes.rank:
            return
        arrays = {"point": adam.point, "first": adam.first, "second": adam.second, "best": best.unknowns}
        record = {
            "stage": stage, "epoch": epoch, "taken": adam.taken, "least": list(least), "since": since,
            "jitter": self.jitter, "best_jitter": best.jitter, "best": best.best, "record": list(self.record),
            "generator": self.rng.bit_generator.state,
        }  # fmt: skip
        newest = self.newest = State(arrays, record)
        self.checkpoint.offer(lambda: newest)

    def write(self) -> None:
        """Write the end of the last epoch to the checkpoint."""
        if self.checkpoint is not None and self.newest is not None and not self.processes.rank:
            self.checkpoint.write(self.newest)

    def _take_up(self, state: State, adam: "_Adam") -> tuple[Trained, tuple[float, float], int, int]:
        """Restore the state of :meth:`_mark`; return the best, its measure, epochs since then, epochs done."""
        arrays, record = state.arrays, state.record
        adam.point, adam.first, adam.second = arrays["point"], arrays["first"], arrays["second"]
        adam.taken, self.jitter = record["taken"], record["jitter"]
        self.rng.bit_generator.state = record["generator"]
        self.record.extend(record["record"])
        best = Trained(unknowns=arrays["best"], jitter=record["best_jitter"], record=self.record, best=record["best"])
        return best, (record["least"][0], record["least"][1]), record["since"], record["epoch"]

    def _epoch(self, adam: "_Adam", layers: int) -> Float[np.ndarray, " unknowns"]:
        """Take one pass over the training part and return the mean of its iterates."""
        texts, recipe = self.texts, self.recipe
        keep = self.rng.random(len(texts.words), dtype=np.float32) >= recipe.word_dropout
        order = self.rng.permutation(self.training)
        shares = np.zeros(len(texts.words))
        mean = np.zeros_like(adam.point)
        batches = range(0, len(order), recipe.batch_size)
        for first in batches:
            rows = order[first : first + recipe.batch_size]
            own = rows[self.processes.part(len(rows))]
            points = place(self.head.values(adam.point), recipe.radius, self.jitter)
            route_all(texts, points, recipe.alpha, layers, rows=own, keep=keep, shares=shares)
            # Each process computes its part of the batch; the weighted sum is the gradient of the whole batch.
            gradient = np.zeros_like(adam.point)
            if len(own):
                gradient = self.head.gradient(adam.point, texts, shares, own) * (len(own) / len(rows))
            adam.step(self.processes.total(gradient))
            adam.point = self.head.centred(adam.point)
            mean += adam.point / len(batches)
            if not np.isfinite(adam.point).all():
                break
        return mean

    def _give_up(self, epoch: int) -> None:
        """Set the status of a training with numbers that are not finite; raise if no epoch came before."""
        if not self.record:
            raise ConvergenceError(
                f"the training left the finite numbers in its epoch {epoch}, before it had learned anything: lower the "
                "learning rate, and look for texts or class weights of extreme size"
            )
        self.status = "diverged"

    def _judge(
        self, candidate: Float[np.ndarray, " unknowns"], layers: int, stage: str, epoch: int
    ) -> dict[str, float | int | str]:
        """Return accuracy, loss and leaders of a candidate on the validation part."""
        recipe, rows = self.recipe, self.validation
        points = place(self.head.values(candidate), recipe.radius, self.jitter)
        shares, leads = route_all(self.texts, points, recipe.alpha, layers, rows=rows)
        right, losses = self.head.judge(candidate, self.texts, shares, rows)
        importance = None if self.head.importance is None else self.head.importance[rows]
        entry: dict[str, float | int | str] = {
            "stage": stage,
            "epoch": epoch,
            "validation_accuracy": _mean(right, importance),
            "validation_loss": _mean(losses, importance),
        }
        if layers:
            entry["jitter"] = self.jitter
            entry["validation_leaders"] = float(np.mean(leads[rows]))
        return entry


class _Adam:
    """Adam (Kingma and Ba 2015, beta 0.9 and 0.999) on one vector, optionally with a linear fall of the rate."""

    def __init__(self, point: Float[np.ndarray, " unknowns"], rate: float, steps: int | None) -> None:
        self.point, self.rate, self.steps = point, rate, steps
        self.first, self.second, self.taken = np.zeros_like(point), np.zeros_like(point), 0

    def step(self, gradient: Float[np.ndarray, " unknowns"]) -> None:
        """Move the point against the gradient."""
        rate = self.rate if self.steps is None else self.rate * (1.0 - self.taken / self.steps)
        self.taken += 1
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        corrected = np.sqrt(self.second / (1.0 - 0.999**self.taken)) + 1e-8
        self.point = self.point - rate * self.first / (1.0 - 0.9**self.taken) / corrected


def _mean(of: np.ndarray, weights: Float[np.ndarray, " texts"] | None) -> float:
    """Return a mean, weighted if weights are given."""
    return float(np.mean(of)) if weights is None else float(np.average(of, weights=weights))
