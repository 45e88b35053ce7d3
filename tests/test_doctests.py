"""The examples in docstrings run and print what they show, and what users meet first has one."""

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest

from tokendyn import attention, dynamics, exact, forecast, particles, sentiment
from tokendyn.attention import device
from tokendyn.data import systems
from tokendyn.particles import meanfield

SOURCE = Path(__file__).resolve().parent.parent / "src"
WITH_EXAMPLES = sorted(
    ".".join(file.relative_to(SOURCE).with_suffix("").parts)
    for file in SOURCE.rglob("*.py")
    if ">>> " in file.read_text(encoding="utf-8")
)
MET_FIRST = [
    attention.attend, attention.Head, attention.attention_weights, device.attend_tensors,
    dynamics.run, dynamics.TokenFlow, dynamics.integrate,
    particles.simulate, particles.predict_limits, particles.limit_set,
    meanfield.simulate, meanfield.project, meanfield.resolution,
    exact.compile, exact.check, exact.Certificate, exact.ExactClassifier, exact.compile_seq2seq,
    sentiment.LeaderClassifier,
    forecast.TDDMD, forecast.TDTF, systems.sinusoids, systems.lorenz63,
]  # fmt: skip


@pytest.mark.parametrize("module", WITH_EXAMPLES)
@pytest.mark.usefixtures("unchecked")
def test_examples_print_what_they_show(module):
    names = importlib.import_module(module)
    tests = [test for test in doctest.DocTestFinder().find(names, module) if test.examples]
    assert tests
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    told = []
    with np.printoptions(precision=8, suppress=False, linewidth=100):
        for test in tests:
            runner.run(test, out=told.append)
    assert runner.failures == 0, "".join(told)


@pytest.mark.parametrize("thing", MET_FIRST, ids=lambda thing: f"{thing.__module__}.{thing.__qualname__}")
def test_what_users_meet_first_has_an_example(thing):
    assert ">>> " in (thing.__doc__ or "")
