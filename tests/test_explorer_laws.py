"""Laws in the explorer page: causal attention as in Python, and what the page says of each law beside the library."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from explorer_page import drawn, opened, settle, setup_of

from tokendyn.data.explored import Explored, explored_from
from tokendyn.errors import BadInputError
from tokendyn.metrics import cluster_staircase, renyi_centres
from tokendyn.particles.explored import replay
from tokendyn.particles.links import read_link
from tokendyn.particles.presets import presets
from tokendyn.studies.laws import (
    attention_energy,
    equiangular_curve,
    equiangular_tokens,
    largest_energy,
    merging_time,
    trapping_time,
)

LAWS = {name: given for name, given in presets().items() if name.startswith("law-")}
#: Few steps suffice to compare with the library; the ends of the presets are looked at where they say something.
QUICK = {
    **LAWS, "law-gathering": replace(LAWS["law-gathering"], steps=40),
    "law-staircase": replace(LAWS["law-staircase"], steps=60), "law-causal": replace(LAWS["law-causal"], steps=30),
}  # fmt: skip

LAW = """([record, name]) => {
  const run = tokendynCore.startRun(tokendynSetup.read(record), "softmax");
  while (!run.done()) run.advance();
  let found;
  do found = tokendynLaws[name](run); while (tokendynLaws.behind(run));
  return found;
}"""
RUN = """record => Object.fromEntries(["hardmax", "softmax"].map((kind) => {
  const run = tokendynCore.startRun(tokendynSetup.read(record), kind);
  while (!run.done()) run.advance();
  return [kind, run.states.map((state) => Array.from(state))];
}))"""


@pytest.fixture(scope="module")
def explorer(browser, tmp_path_factory):
    settings = {name: given.to_dict() for name, given in QUICK.items()}
    return opened(browser, tmp_path_factory.mktemp("laws"), settings)


@pytest.fixture
def page(explorer):
    """Return the page; no test may leave an error in its console."""
    yield explorer
    assert explorer.problems == []


def law_of(page, given, name="sphere"):
    return page.evaluate(LAW, [given.to_dict(), name])


def texts(law):
    return [prediction["text"] for prediction in law["predictions"]]


@pytest.mark.parametrize("dim", [2, 3])
def test_causal_runs_in_the_browser_are_those_of_python(page, rng, dim):
    tokens = rng.normal(size=(40, dim))
    tokens /= np.linalg.norm(tokens, axis=1)[:, None]
    given = Explored(
        tokens, "meanfield", 7.0, weights=rng.uniform(1, 2, 40), matrix=rng.normal(size=(dim, dim)), causal=True,
        value=rng.normal(size=(dim, dim)), steps=30,
    )  # fmt: skip
    found, expected = page.evaluate(RUN, given.to_dict()), replay(given)
    for kind in ("hardmax", "softmax"):
        states = getattr(expected, kind).states
        np.testing.assert_allclose(found[kind], states.reshape(len(states), -1), rtol=0, atol=1e-12)


def test_causal_is_chosen_in_the_page_and_kept_in_links_and_files(page):
    page.select_option("#x-preset", "law-causal")
    assert setup_of(page, "causal") is True
    page.select_option("#x-cold", "full support")
    assert setup_of(page, "causal") is False
    page.select_option("#x-causal", "true")
    assert page.evaluate("tokendynExplorer.state.setup.coldLimit") == "hardmax"
    settle(page)
    page.fill("#x-beta-field", "20")
    page.press("#x-beta-field", "Enter")
    again = read_link(page.evaluate("tokendynExplorer.app.linked()"))
    assert (again.causal, again.inverse_temperature) == (True, 20)
    assert not read_link("#preset=law-causal&causal=false").causal
    assert explored_from(json.loads(json.dumps(again.to_dict()))).causal


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("changes", [{"model": "clustering"}, {"cold_limit": "full support"}, {"causal": 1}])
def test_causal_settings_that_cannot_be_are_refused(changes):
    with pytest.raises(BadInputError, match="causal"):
        explored_from(LAWS["law-causal"].to_dict() | changes)
    with pytest.raises(BadInputError, match="neither true nor false"):
        read_link("#preset=law-causal&causal=maybe")


@pytest.mark.parametrize("start", [0.0, -0.3])
def test_the_equation_of_equiangular_tokens_is_drawn_beside_them(page, start):
    given = replace(QUICK["law-gathering"], tokens=equiangular_tokens(3, start))
    law = law_of(page, given)
    times = np.arange(given.steps + 1) * given.step
    expected = 1 - equiangular_curve(times, 3, given.inverse_temperature, start)
    np.testing.assert_allclose(law["curve"]["expected"], expected, atol=1e-7)
    np.testing.assert_allclose(law["curve"]["values"], expected, atol=1e-6)
    assert all(row["holds"] for row in law["hypotheses"])


def test_tokens_gather_at_the_rate_of_the_closed_form(page):
    rate = law_of(page, LAWS["law-gathering"])["predictions"][1]
    assert rate["holds"]
    assert rate["detail"] == "rate now 2, closed form 2"


def test_pairs_meet_when_the_integral_of_two_atoms_says(page):
    given = LAWS["law-staircase"]
    law = law_of(page, given)
    times = [merging_time(gap, given.inverse_temperature) for gap in (0.5, 0.8, 1.1)]
    assert [float(text.split("= ")[1]) for text in texts(law)] == pytest.approx(times, rel=5e-3)
    assert all(row["holds"] for row in law["predictions"])
    short = replace(given, step=0.5, steps=30)
    run = replay(short).softmax
    steps = cluster_staircase(run.times, run.states, 0.05)
    expected = [max((time, count) for time, count in steps if time <= now)[1] for now in run.times]
    assert law_of(page, short)["curve"]["values"] == expected
    assert set(expected) == {6, 5, 4}


def test_the_energy_is_that_of_the_library_by_its_largest_value(page):
    given = replace(LAWS["law-energy"], steps=30)
    law = law_of(page, given, "energy")
    most = largest_energy(given.matrix, given.inverse_temperature)
    states = replay(given).softmax.states
    energies = [attention_energy(state, given.matrix, given.inverse_temperature) / most for state in states]
    np.testing.assert_allclose(law["curve"]["values"], energies, rtol=1e-12)
    assert all(row["holds"] for row in law["rows"])
    fallen = law_of(page, replace(given, step=2.0), "energy")
    assert fallen["rows"][0]["holds"] is False


def test_strong_centres_are_those_of_the_library(page):
    given = QUICK["law-causal"]
    delta = 4 / math.sqrt(given.inverse_temperature)
    strong = int(renyi_centres(given.tokens, delta, strong=True).sum())
    law = law_of(page, given)
    assert f"{strong} tokens farther than" in texts(law)[2]
    assert f"{int(renyi_centres(given.tokens, delta).sum())} tokens are parked" in law["predictions"][2]["detail"]
    assert [row["holds"] for row in law["predictions"]] == [True, None, True]
    warm = law_of(page, replace(given, inverse_temperature=1.0, steps=300))
    assert warm["predictions"][1]["holds"] is True


def test_a_trapped_pair_leaves_when_the_integral_says(page):
    given = LAWS["law-trapped"]
    row = law_of(page, given, "trapped")
    layers = trapping_time(given.inverse_temperature) * (1 + given.alpha) / given.alpha
    assert f"for {layers:.3g} layers" in row["text"]
    assert row["holds"]


def test_a_law_whose_hypotheses_do_not_hold_is_not_stated(page):
    gathering, pairs = QUICK["law-gathering"], LAWS["law-staircase"]
    tilted = gathering.tokens + 0.1 * np.eye(3, k=1)
    tilted /= np.linalg.norm(tilted, axis=1)[:, None]
    for given in (replace(gathering, tokens=tilted), replace(gathering, weights=np.array([1.0, 2.0, 1.0]))):
        assert "Energy" in law_of(page, given)["title"]
    assert law_of(page, replace(gathering, value=2 * np.eye(3))) is None
    assert "Energy" in law_of(page, replace(pairs, tokens=pairs.tokens[:5], labels=()))["title"]
    assert law_of(page, replace(pairs, value=np.diag([1.0, 2.0])), "energy") is None
    assert law_of(page, replace(LAWS["law-trapped"], value=2 * np.eye(2)), "trapped") is None
    layers = law_of(page, replace(gathering, method="layers"))
    assert [row["holds"] for row in layers["hypotheses"]] == [True, True, False]


def test_every_law_is_shown_with_its_curve(page):
    for name, given in QUICK.items():
        page.select_option("#x-preset", name)
        drawn(page)
        assert given.note in page.inner_text("#x-note")
        assert page.evaluate("Object.values(tokendynExplorer.state.shown).map((run) => run.failure)") == ["", ""]
    page.select_option("#x-preset", "law-gathering")
    drawn(page)
    assert page.inner_text("#x-chart-title") == "1 − γ: tokens and equation"
    assert "closed form" in page.inner_text("#x-chart-said")
