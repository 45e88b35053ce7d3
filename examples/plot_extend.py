"""
Adding your own: a backend, a layer, a forecaster, a result, a family of models
===============================================================================

Each is a class in a few lines. ``tokendyn.testing`` has the contract of each: tests that your own test class inherits.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

import tokendyn as td
from tokendyn.attention.dispatch import Offer, Softmax
from tokendyn.data.attention_names import Scheme
from tokendyn.results import Curves


# %%
# A softmax backend says what it expects to cost, and computes means within a bound. This one is a few matrix products.
class Products:
    """Softmax by matrix products."""

    def offer(self, problem):
        """Return estimated seconds and the reason."""
        return Offer(1e-9 * problem.pairs * problem.keys.shape[1], "a few matrix products")

    def softmax(self, problem):
        """Return the means, and the bound of their error."""
        logits = problem.inverse_temperature * problem.queries @ problem.keys.T + np.log(problem.weights)
        tops = logits.max(axis=1, keepdims=True)
        shares = np.exp(logits - tops)
        totals = shares.sum(axis=1, keepdims=True)
        return Softmax(shares @ problem.values / totals, (tops + np.log(totals))[:, 0], error_bound=1e-12)


td.register_attention("products", Products())
tokens = np.random.default_rng(0).normal(size=(600, 3))
step = td.attend(tokens, tokens, tokens, inverse_temperature=1.0, error_tolerance=1e-9, backend="products")
print(step)


# %%
# A layer moves tokens and says what its heads found. This one attends, and then goes half of the way.
@dataclass(frozen=True)
class Halfway:
    """Half of the way to the mean."""

    heads: tuple = (td.Head(inverse_temperature=3.0),)

    def __call__(self, tokens, *, weights=None, mask=None, backend="auto"):
        """Return the moved tokens, and what the head found."""
        found = self.heads[0].attend(tokens, weights=weights, mask=mask, backend=backend)
        return (tokens + found.means) / 2, (found,)


print(td.run(tokens[:20], [Halfway()] * 8))


# %%
# A forecaster writes six short methods; fit, forecast, predict, score, backtest, save and load follow.
class Trend(td.Forecaster):
    """The last snapshot, and the mean step of the training series ``rate`` times for each step."""

    def __init__(self, *, rate=1.0):
        self.rate = rate

    def _parameter_problems(self):
        return [] if self.rate >= 0 else [f"rate is {self.rate}, expected 0 or more"]

    def _window_length(self):
        return 1

    def _fit(self, series, inputs, progress):
        self.step_ = np.mean([part[-1] - part[0] for part in series], axis=0) / (len(series[0]) - 1)

    def _one_step(self, series, inputs):
        return series[:-1] + self.rate * self.step_

    def _rollout(self, windows, steps, inputs):
        return windows[:, -1:] + self.rate * self.step_ * np.arange(1, steps + 1)[:, None], None

    def _state(self):
        return {}, {"step": self.step_}

    def _restore(self, record, tensors):
        self.step_ = tensors["step"]


dates = pd.date_range("2024-01-01", periods=50)
print(Trend().fit(pd.Series(np.arange(50.0), index=dates, name="level")).predict(3))


# %%
# A result writes four things; sentences, notebook, page, figure and files follow.
@dataclass(frozen=True)
class Decay(td.Result, kind="decay-of-the-example"):
    """Numbers that fall."""

    values: np.ndarray
    status: str = "completed"

    def describe(self):
        """Return a sentence."""
        return [f"{len(self.values)} values that fall from {self.values[0]:.3g} to {self.values[-1]:.3g}"]

    def table(self):
        """Return the values."""
        return pd.DataFrame({"value": self.values})

    def picture(self):
        """Return the values over the steps."""
        return Curves(np.arange(len(self.values)), {"value": self.values}, "step", "value", log=True)


figure = Decay(0.5 ** np.arange(10)).plot()

# %%
# A family of models says under which names its matrices lie; ``td.read_head`` then reads its files.
names = tuple(f"stack.{{layer}}.{part}.weight" for part in ("wq", "wk", "wv"))
td.register_family(Scheme("of the example", "separate", names, "stack.{layer}.wo.weight"))
