"""The contracts of ``tokendyn.testing``, held by the library's own parts and by those that the example adds."""

import importlib
import runpy
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import config as jaxtyping_config

import tokendyn as td
from tokendyn.attention.dispatch import SOFTMAX, Offer, register_attention
from tokendyn.data.attention_names import Scheme
from tokendyn.data.families import SCHEMES, register_family
from tokendyn.errors import BadInputError
from tokendyn.testing import (
    AttentionBackendContract,
    ForecasterContract,
    ModelFamilyContract,
    ResultContract,
    TokenSystemContract,
)

EXAMPLE = Path(__file__).parents[1] / "examples" / "plot_extend.py"


@cache
def example():
    """Return the names that the example defines.

    It gives a layer of its own to ``run``, whose types name the layers of the library: they are not checked here.
    """
    jaxtyping_config.update("jaxtyping_disable", True)
    try:
        names = runpy.run_path(str(EXAMPLE))
    finally:
        jaxtyping_config.update("jaxtyping_disable", False)
    SOFTMAX.pop("products")
    return names


class TestProducts(AttentionBackendContract):
    @classmethod
    def make(cls):
        return example()["Products"]()


class TestOnline(AttentionBackendContract):
    @classmethod
    def make(cls):
        return importlib.import_module("tokendyn.attention.softmax_direct")


class TestTruncated(AttentionBackendContract):
    inverse_temperature, tokens, dim = 300.0, 2000, 2

    @classmethod
    def make(cls):
        return importlib.import_module("tokendyn.attention.softmax_truncated")


class TestSphere(AttentionBackendContract):
    inverse_temperature, tokens = 3.0, 2000

    @classmethod
    def make(cls):
        return importlib.import_module("tokendyn.attention.softmax_sphere")


class TestCircle(AttentionBackendContract):
    inverse_temperature, tokens, dim = 3.0, 600, 2

    @classmethod
    def make(cls):
        return importlib.import_module("tokendyn.attention.softmax_circle")


@pytest.mark.usefixtures("unchecked")
class TestHalfway(TokenSystemContract):
    @classmethod
    def make(cls):
        return example()["Halfway"]()


class TestHardmaxLayer(TokenSystemContract):
    @classmethod
    def make(cls):
        return td.Layer(alpha=0.5)


class TestTwoHeadsAndAPerceptron(TokenSystemContract):
    dim = 3

    @classmethod
    def make(cls):
        rng = np.random.default_rng(3)
        inner = td.FeedForward(rng.normal(size=(4, 3)), np.ones(4), 0.1 * rng.normal(size=(3, 4)), np.zeros(3))
        heads = (td.Head(inverse_temperature=2.0), td.Head(score=0.5 * np.eye(3), inverse_temperature=1.0))
        return td.Layer(alpha=0.3, heads=heads, feed_forward=inner)


class TestTrend(ForecasterContract):
    takes_inputs = False
    ends_its_progress = False

    @classmethod
    def make(cls):
        return example()["Trend"]()


class TestDecay(ResultContract):
    @classmethod
    def make(cls):
        return example()["Decay"](0.5 ** np.arange(6))


class TestFamilyOfTheExample(ModelFamilyContract):
    layers, config = 2, {}

    @classmethod
    def make(cls):
        parts = tuple(f"stack.{{layer}}.{part}.weight" for part in ("wq", "wk", "wv"))
        return Scheme("of the example", "separate", parts, "stack.{layer}.wo.weight")

    @classmethod
    def names(cls):
        return [f"stack.{layer}.{part}.weight" for layer in range(2) for part in ("wq", "wk", "wv", "wo", "up")]


def test_names_of_the_library_are_not_replaced(unchecked):
    with pytest.raises(TypeError, match=r"the name belongs to tokendyn\.forecast\.tddmd"):
        type("TDDMD", (td.Forecaster,), {})
    for name in ("auto", "fused", "sphere", "two words"):
        with pytest.raises(BadInputError, match="is taken"):
            register_attention(name, example()["Products"]())
    with pytest.raises(BadInputError, match="no offer"):
        register_attention("mine", object())
    assert "mine" not in SOFTMAX
    with pytest.raises(BadInputError, match="has a family of this name"):
        register_family(SCHEMES[0])
    with pytest.raises(BadInputError, match=r"no \{layer\} in it"):
        register_family(Scheme("mine", "separate", ("q", "k", "v"), ""))


def test_a_cheap_backend_is_chosen_by_itself():
    class Cheapest(example()["Products"]):
        def offer(self, problem):
            return Offer(0.0, "it says so")

    register_attention("cheapest_of_all", Cheapest())
    try:
        tokens = np.random.default_rng(0).normal(size=(3000, 40))
        step = td.attend(tokens, tokens, tokens, inverse_temperature=0.1, error_tolerance=1e-9)
        assert step.choice.backend == "cheapest_of_all"
    finally:
        del SOFTMAX["cheapest_of_all"]
