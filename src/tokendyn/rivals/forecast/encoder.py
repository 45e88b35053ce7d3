"""A plain transformer encoder in torch: all tokens attend to all, one-step training."""

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tokendyn.forecast.base import Forecaster, Progress
from tokendyn.forecast.embedding import delay_windows, window_length
from tokendyn.rivals.forecast.common import parameter_problems, set_normalisation

if TYPE_CHECKING:
    import torch


class TorchEncoder(Forecaster):
    """``x_{k+1} = x_k + read(encoder(embed(h_k)))`` with torch's ``TransformerEncoder`` (Vaswani et al. 2017).

    The tokens are the snapshots of the window, each with the input of the next time step; position by a learned
    table; the newest token is read. AdamW on the one-step error with a cosine schedule; float64, one thread.

    Parameters
    ----------
    delays, stride
        Tokens of a window and the steps between them.
    width, heads, layers
        Of the encoder; the feed-forward part is twice as wide.
    updates, batch, learning_rate
        Of the training.
    noise
        Standard deviation of noise on the windows in training, in those of the data.
    budget
        Seconds of training at most; the learning rate then falls with the share of the time that is spent.
    random_state
        Seed.
    """

    def __init__(
        self,
        delays: int = 16,
        stride: int = 1,
        width: int = 32,
        heads: int = 2,
        layers: int = 2,
        updates: int = 1000,
        batch: int = 128,
        learning_rate: float = 2e-3,
        noise: float = 1e-3,
        budget: float | None = None,
        random_state: int = 0,
    ):
        self.delays = delays
        self.stride = stride
        self.width = width
        self.heads = heads
        self.layers = layers
        self.updates = updates
        self.batch = batch
        self.learning_rate = learning_rate
        self.noise = noise
        self.budget = budget
        self.random_state = random_state

    def _parameter_problems(self) -> list[str]:
        counts = ("delays", "stride", "width", "heads", "layers", "updates", "batch")
        problems = parameter_problems(self, counts, ("noise", "learning_rate"))
        if not problems and self.width % self.heads:
            problems.append(f"width is {self.width}, expected a multiple of heads, {self.heads}")
        return problems

    def _window_length(self) -> int:
        return window_length(self.delays, self.stride)

    def _fit(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], progress: Progress) -> None:
        from tokendyn.optional import torch

        set_normalisation(self, series, inputs)
        long = [pair for pair in zip(series, inputs, strict=True) if len(pair[0]) > self.window_length_]
        tokens = torch.from_numpy(np.concatenate([self._tokens(*pair) for pair in long]))
        following = np.concatenate([snapshots[self.window_length_ :] for snapshots, _ in long])
        targets = torch.from_numpy((following - self.mean_) / self.scale_)
        generator = torch.Generator().manual_seed(self.random_state)
        self._build(generator)
        optimiser = torch.optim.AdamW(self.network_.parameters(), lr=self.learning_rate, weight_decay=1e-4)
        began = time.perf_counter()
        for update in range(self.updates):
            share = update / self.updates
            if self.budget is not None:
                share = max(share, (time.perf_counter() - began) / max(self.budget, 1e-9))
            if share >= 1:
                break
            optimiser.param_groups[0]["lr"] = self.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
            rows = torch.randint(len(tokens), (min(self.batch, len(tokens)),), generator=generator)
            window = tokens[rows].clone()
            # A view: the noise goes into the window, and the increment counts from the noisy newest snapshot.
            snapshots = window[..., : self.n_features_]
            snapshots += self.noise * torch.randn(snapshots.shape, generator=generator, dtype=torch.float64)
            loss = ((self.network_(window) + snapshots[:, -1] - targets[rows]) ** 2).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if update % 100 == 0:
                progress(share, f"one-step error {float(loss.detach()) ** 0.5:.2e}")
        self.network_.eval()

    def _build(self, generator: "torch.Generator") -> None:
        """Build the network with weights drawn from the generator; the global generator keeps its state."""
        from tokendyn.optional import torch
        from tokendyn.rivals.forecast.encoder_network import EncoderNetwork

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
            columns = self.n_features_ + self.n_inputs_
            self.network_ = EncoderNetwork(columns, self.n_features_, self.delays, self.width, self.heads, self.layers)
        self.network_.double()

    def _tokens(self, series: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Return the tokens of every window that has a next snapshot."""
        parts = [(series[:-1] - self.mean_) / self.scale_, (inputs[1:] - self.input_mean_) / self.input_scale_]
        return delay_windows(np.concatenate(parts, axis=1), self.delays, self.stride).copy()

    def _increments(self, tokens: np.ndarray) -> np.ndarray:
        from tokendyn.optional import torch

        with torch.no_grad():
            parts = [self.network_(torch.from_numpy(part)) for part in np.array_split(tokens, -(-len(tokens) // 1024))]
        return torch.cat(parts).numpy()

    def _one_step(self, series: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        steps = self._increments(self._tokens(series, inputs))
        return series[self.window_length_ - 1 : -1] + steps * self.scale_

    def _rollout(self, windows: np.ndarray, steps: int, inputs: np.ndarray) -> tuple[np.ndarray, None]:
        span = self.window_length_
        orbit = np.full((len(windows), span + steps, self.n_features_), np.nan)
        with np.errstate(over="ignore", invalid="ignore"):
            orbit[:, :span] = (windows - self.mean_) / self.scale_
            driving = (inputs - self.input_mean_) / self.input_scale_
            for step in range(steps):
                window = np.concatenate([orbit[:, step : step + span], driving[:, step + 1 : step + span + 1]], axis=2)
                tokens = np.ascontiguousarray(window[:, :: self.stride])
                orbit[:, step + span] = orbit[:, step + span - 1] + self._increments(tokens)
            return orbit[:, span:] * self.scale_ + self.mean_, None

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        tensors = {name: getattr(self, f"{name}_") for name in ("mean", "input_mean", "input_scale")}
        return {}, tensors | {f"network.{name}": part.numpy() for name, part in self.network_.state_dict().items()}

    def _restore(self, record: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        from tokendyn.optional import torch

        for name in ("mean", "input_mean", "input_scale"):
            setattr(self, f"{name}_", tensors[name])
        self._build(torch.Generator().manual_seed(0))
        weights = {name[8:]: torch.from_numpy(part) for name, part in tensors.items() if name.startswith("network.")}
        try:
            self.network_.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(str(error)) from None
        self.network_.eval()
