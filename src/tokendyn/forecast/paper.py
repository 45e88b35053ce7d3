"""The literal time-delayed transformer: embedding, one query, feed-forward, read-out, trained by AdamW."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tokendyn.forecast.base import Forecaster, Progress
from tokendyn.forecast.cell import Units, tokens_of
from tokendyn.forecast.checks import check_count, check_number, deviations
from tokendyn.forecast.embedding import window_length
from tokendyn.runs.processes import Processes

if TYPE_CHECKING:
    import torch


class PaperTDTF(Forecaster):
    """Time-delayed transformer as described in arXiv 2602.08478: one layer, one head, one query, a residual.

    ``e_j = E t_j + p_j`` for each token, ``a = sum_j softmax_j(q(e_k) . key(e_j) / sqrt(width)) value(e_j)``,
    ``r = e_k + O a``, ``r' = r + F_2 gelu(F_1 r + f_1) + f_2`` and ``x_{k+1} = x_k + R r' + b``. Only the abstract of
    the paper was available: widths and activation are our choice. Training minimises the one-step error by AdamW with a
    rate that falls to 0 along a cosine; the best epoch on the held-out part is kept.

    Parameters
    ----------
    delays, stride
        Number of snapshots in a window, and the steps between them.
    width, hidden
        Length of an embedded token, and of the feed-forward layer.
    epochs, batch_size, learning_rate, weight_decay
        Settings of AdamW.
    noise
        Standard deviation of the noise added to the windows, relative to that of the data.
    patience
        Stop after this number of epochs without an improvement on the held-out part; None for all epochs.
    validation_fraction
        Share of each series held out at its end.
    budget
        Seconds after which training stops with the best epoch so far; ``training_["status"]`` then says "budget".
    device
        Device of the training, as a name of torch; the fitted weights stay on the CPU.
    random_state
        Seed of weights, order of the windows and noise.

    Attributes
    ----------
    weights_
        Arrays by name.
    training_
        ``status``, ``epochs``, ``chosen`` and ``error``: the held-out one-step root mean square.
    """

    _most_refits = 3

    def __init__(
        self,
        *,
        delays: int = 5,
        stride: int = 1,
        width: int = 32,
        hidden: int = 64,
        epochs: int = 200,
        batch_size: int = 256,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-6,
        noise: float = 0.0,
        patience: int | None = None,
        validation_fraction: float = 0.1,
        budget: float | None = None,
        device: str = "cpu",
        random_state: int = 0,
    ) -> None:
        self.delays = delays
        self.stride = stride
        self.width = width
        self.hidden = hidden
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.noise = noise
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.budget = budget
        self.device = device
        self.random_state = random_state

    def _parameter_problems(self) -> list[str]:
        """Return the faults of the parameters."""
        problems = []
        for name in ("delays", "stride", "width", "hidden", "epochs", "batch_size"):
            problems += check_count(name, getattr(self, name))
        for name in ("learning_rate", "weight_decay", "noise", "validation_fraction"):
            problems += check_number(name, getattr(self, name))
        for name, least in (("patience", 1), ("random_state", 0)):
            if getattr(self, name) is not None:
                problems += check_count(name, getattr(self, name), least)
        if not problems and self.validation_fraction > 0.5:
            problems.append(f"validation_fraction is {self.validation_fraction}, expected at most 0.5")
        return problems if self.budget is None else problems + check_number("budget", self.budget)

    def _window_length(self) -> int:
        """Return ``(delays - 1) stride + 1``."""
        return window_length(self.delays, self.stride)

    def _fit(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], progress: Progress) -> None:
        """Minimise the one-step error by AdamW."""
        columns = np.concatenate([np.concatenate(pair, axis=1) for pair in zip(series, inputs, strict=True)])
        self.units_ = Units(columns.mean(axis=0), deviations(columns), self.n_features_)
        learned, held = [], []
        for one, driven in zip(series, inputs, strict=True):
            tokens, target = self._pairs(one, driven)
            cut = len(tokens) - int(len(tokens) * self.validation_fraction)
            learned.append((tokens[:cut], target[:cut]))
            held.append((tokens[cut:], target[cut:]))
        whole = [tuple(np.concatenate(parts) for parts in zip(*one, strict=True)) for one in (learned, held)]
        self._train(whole[0], whole[1], progress)

    def _pairs(self, series: np.ndarray, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return normalised tokens and the snapshot after each."""
        z = self.units_.snapshots(series)
        tokens = tokens_of(z, self.units_.inputs(inputs), self.delays, self.stride)
        return tokens, z[self.window_length_ :]

    def _train(self, learned: tuple[np.ndarray, ...], held: tuple[np.ndarray, ...], progress: Progress) -> None:
        """Run the epochs and keep the best; under torchrun each process takes a part of every batch."""
        from tokendyn.optional import torch

        began, generator = time.perf_counter(), torch.Generator().manual_seed(self.random_state)
        tokens, targets = (torch.tensor(part, device=self.device) for part in learned)
        weights = self._first_weights(generator)
        processes = Processes()
        optimiser = torch.optim.AdamW(weights.values(), lr=self.learning_rate, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.epochs)
        validates = len(held[0]) > 0
        checked = [torch.tensor(part, device=self.device) for part in (held if validates else learned)]
        status, best, chosen, epoch = "completed", np.inf, 0, 0
        kept: dict[str, np.ndarray] = {}
        for epoch in range(1, self.epochs + 1):
            order = torch.randperm(len(tokens), generator=generator).to(self.device)
            for rows in torch.split(order, self.batch_size):
                batch = tokens[rows]
                moved = batch + self.noise * torch.randn(batch.shape, generator=generator, dtype=torch.float64).to(
                    self.device
                )
                own = processes.part(len(rows))
                squares = ((self._apply(weights, moved[own]) - targets[rows[own]]) ** 2).sum()
                optimiser.zero_grad()
                torch.autograd.backward(squares / targets[rows].numel())
                for gradient in [weight.grad for weight in weights.values()] if processes.count > 1 else []:
                    if gradient is not None:
                        gradient.copy_(torch.from_numpy(processes.total(gradient.cpu().numpy())))
                optimiser.step()
            schedule.step()
            with torch.no_grad():
                error = float(((self._apply(weights, checked[0]) - checked[1]) ** 2).mean().sqrt())
            progress(epoch / self.epochs, f"epoch {epoch}: held-out one step {error:.2e}")
            if error < best or not kept:
                best, chosen = error, epoch
                kept = {name: weight.detach().cpu().numpy().copy() for name, weight in weights.items()}
            if self.budget is not None and processes.agree(time.perf_counter() - began >= self.budget):
                status = "budget"
                break
            if self.patience is not None and epoch - chosen >= self.patience:
                break
        self.weights_ = kept
        self.training_ = {"status": status, "epochs": epoch, "chosen": chosen, "error": best}

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each weight."""
        token, width, hidden = self.n_features_ + 2 * self.n_inputs_, self.width, self.hidden
        return {
            "embedding": (width, token),
            "position": (self.delays, width),
            "query": (width, width),
            "key": (width, width),
            "value": (width, width),
            "output": (width, width),
            "first": (hidden, width),
            "first_bias": (hidden,),
            "second": (width, hidden),
            "second_bias": (width,),
            "readout": (self.n_features_, width),
            "readout_bias": (self.n_features_,),
        }

    def _first_weights(self, generator: "torch.Generator") -> dict[str, "torch.Tensor"]:
        """Return random weights of variance 1 / columns; biases and read-out are 0, so that the model persists."""
        from tokendyn.optional import torch

        weights = {}
        for name, shape in self._shapes().items():
            drawn = torch.randn(shape, generator=generator, dtype=torch.float64) / np.sqrt(shape[-1])
            start = torch.zeros_like(drawn) if "bias" in name or name == "readout" else drawn
            weights[name] = start.to(self.device).requires_grad_()
        return weights

    def _apply(self, weights: dict[str, "torch.Tensor"], tokens: "torch.Tensor") -> "torch.Tensor":
        """Return the predicted snapshot of each window, normalised."""
        from tokendyn.optional import torch

        embedded = tokens @ weights["embedding"].T + weights["position"]
        newest = embedded[:, -1]
        queries = newest @ weights["query"].T
        scores = (embedded @ weights["key"].T @ queries[:, :, None])[:, :, 0] / np.sqrt(self.width)
        attended = (torch.softmax(scores, dim=1)[:, None, :] @ (embedded @ weights["value"].T))[:, 0]
        residual = newest + attended @ weights["output"].T
        hidden = torch.nn.functional.gelu(residual @ weights["first"].T + weights["first_bias"])
        mixed = residual + hidden @ weights["second"].T + weights["second_bias"]
        return tokens[:, -1, : self.n_features_] + mixed @ weights["readout"].T + weights["readout_bias"]

    def _predict(self, tokens: np.ndarray) -> np.ndarray:
        """Return the predicted snapshot of each window, normalised, on the CPU."""
        from tokendyn.optional import torch

        weights = {name: torch.tensor(weight) for name, weight in self.weights_.items()}
        with torch.no_grad():
            return self._apply(weights, torch.tensor(tokens)).numpy()

    def _one_step(self, series: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Predict each snapshot from the true ones before it."""
        return self.units_.restore(self._predict(self._pairs(series, inputs)[0]))

    def _rollout(self, windows: np.ndarray, steps: int, inputs: np.ndarray) -> tuple[np.ndarray, None]:
        """Roll out all windows together."""
        z, w = self.units_.snapshots(windows), self.units_.inputs(inputs)
        span, features = self.window_length_, self.n_features_
        orbit = np.concatenate([z, np.full((len(z), steps, features), np.nan)], axis=1)
        still = np.zeros((w.shape[1], features))
        drive = np.stack([tokens_of(still, one, self.delays, self.stride)[:, :, features:] for one in w])
        for step in range(steps):
            states = orbit[:, step : step + span : self.stride]
            with np.errstate(over="ignore", invalid="ignore"):
                orbit[:, step + span] = self._predict(np.concatenate([states, drive[:, step]], axis=2))
        return self.units_.restore(orbit[:, span:]), None

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return weights, units and the record of the training."""
        units = {"centre": self.units_.centre, "width": self.units_.scale}
        return {"training": self.training_}, {f"weight_{name}": w for name, w in self.weights_.items()} | units

    def _restore(self, record: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        """Set weights and units; ValueError where shapes do not fit."""
        self.weights_ = {name: tensors[f"weight_{name}"] for name in self._shapes()}
        wrong = [name for name, shape in self._shapes().items() if self.weights_[name].shape != shape]
        if wrong:
            raise ValueError(f"{', '.join(wrong)} have the wrong shape")
        self.units_ = Units(tensors["centre"], tensors["width"], self.n_features_)
        self.training_ = record["training"]
