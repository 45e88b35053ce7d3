"""Claims: verdicts come from numbers that are measured, and fail when the mechanism is taken away."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tokendyn.attention import Head
from tokendyn.cli import run as command
from tokendyn.dynamics import Layer, ResidualLayer, TokenFlow, run
from tokendyn.errors import BadInputError, TokendynError
from tokendyn.exact import ExactTransformer, tikhonov_problem
from tokendyn.exact import compile as build
from tokendyn.particles.meanfield.experiments import lined_flow
from tokendyn.studies import laws
from tokendyn.studies.claims import (
    all_claims,
    chosen_claims,
    clustering,
    exact,
    field,
    forecast,
    gusts,
    judge,
    leaders,
    meanfield,
    sentiment,
    tikhonov,
)
from tokendyn.studies.claims.claim import Claim, Finding, Outcome, at_least, at_most
from tokendyn.studies.laws.continuity import solved


def outcome_of(values, bounds, failure=""):
    claim = Claim("a.b", "statement", "source", "how", bounds, lambda profile, seed: None)
    return Outcome(claim, Finding(values, pd.DataFrame()), 0.0, "quick", 0, failure)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({"x": 1.0, "y": 3.0}, "holds"),
        ({"x": 1.5, "y": 3.0}, "falls short"),
        ({"x": np.nan, "y": 3.0}, "falls short"),
        ({"y": 3.0}, "not testable"),
        ({"y": 1.0}, "falls short"),
    ],
)
def test_a_verdict_is_that_of_the_numbers(values, verdict):
    assert outcome_of(values, {"x": at_most(1.0), "y": at_least(2.0)}).verdict == verdict


def test_a_check_that_cannot_run_leaves_its_claim_untested_and_says_why():
    def check(profile, seed):
        raise TokendynError("no such data")

    outcome = judge(Claim("a.b", "s", "s", "h", {"x": at_most(1.0)}, check), "quick", 0)
    assert (outcome.verdict, outcome.failure) == ("not testable", "no such data")


def test_every_claim_has_its_own_id_and_a_bound():
    claims = all_claims()
    assert len({claim.id for claim in claims}) == len(claims)
    assert all(claim.bounds and claim.statement.endswith(".") for claim in claims)


def test_claims_are_chosen_by_id_and_by_group():
    assert [claim.id for claim in chosen_claims(["exact.blocks"])] == ["exact.blocks"]
    assert {claim.id.split(".")[0] for claim in chosen_claims(["exact", "clustering.rate"])} == {"exact", "clustering"}
    with pytest.raises(BadInputError, match=r"did you mean exact\.blocks"):
        chosen_claims(["exact.block"])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("claim", [pytest.param(claim, id=claim.id) for claim in all_claims()])
def test_the_claim_holds(claim):
    outcome = judge(claim, "quick", 0)
    assert outcome.verdict == "holds", outcome.measurements()
    assert outcome.finding.figure is not None


# --- without the mechanism that a claim is about, it fails -----------------------------------------------------------


def soft(tokens, alpha, score, layers):
    head = Head(score=score, inverse_temperature=0.5)
    return run(tokens, [Layer(alpha, (head,))] * layers)


def faster(tokens, alpha, score, layers):
    return run(tokens, [Layer(2 * alpha, (Head(score=score),))] * layers, freeze=False)


def without_terminal_phase(beta):
    return TokenFlow(beta, interaction=np.diag([4.0, 1.0]))


def warm(beta):
    return lined_flow(10.0)


def without_attention(sequences, labels, **settings):
    model = build(sequences, labels, **settings)
    idle = replace(model.weights, value_weights=np.zeros_like(model.weights.value_weights))
    return ExactTransformer(replace(model.construction, weights=idle), model.labels, model.sequences, model.targets)


def without_solution(**sizes):
    problem = tikhonov_problem(**sizes)
    return replace(problem, targets=4 * np.random.default_rng(0).normal(size=problem.targets.shape))


def causal_flow(beta, normalised=True):
    return TokenFlow(beta, normalised=normalised, causal=True)


def without_length(gamma, count):
    return 5 * gamma


def half_as_cold(flow, times, cells):
    return solved(replace(flow, inverse_temperature=flow.inverse_temperature / 2), times, cells)


def with_skip(head):
    return ResidualLayer((head,))


def short_run(tokens, head, alpha, layers):
    soft = Head(score=head.score, inverse_temperature=min(head.inverse_temperature, 1.0))
    return run(tokens, [Layer(alpha, (soft,))] * layers)


def without_value(value):
    return TokenFlow(0.0, on_sphere=False)


def repelling(beta, matrix):
    return TokenFlow(beta, interaction=matrix, value=-matrix, normalised=False)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("group", "name", "check", "without"),
    [
        (clustering, "clustering.converges", clustering.converges, {"runner": soft}),
        (clustering, "clustering.leaders", clustering.leaders, {"runner": soft}),
        (clustering, "clustering.rate", clustering.rate, {"runner": faster}),
        (sentiment, "sentiment.interpretable", sentiment.interpretable, {"layers": 0}),
        (sentiment, "sentiment.leaders", leaders.leaders, {"training": {"temperature": 1.0}}),
        (sentiment, "sentiment.context", sentiment.context, {"explainer": "random", "rivals": ("loo",)}),
        (meanfield, "meanfield.terminal", meanfield.terminal, {"flow": without_terminal_phase}),
        (meanfield, "meanfield.laplace", meanfield.laplace, {"flow": warm}),
        (exact, "exact.classifies", exact.classifies, {"builder": without_attention}),
        (exact, "exact.tikhonov", tikhonov.tikhonov, {"maker": without_solution}),
        (forecast, "forecast.generalises-dmd", forecast.generalises_dmd, {"activation": "sin"}),
        (field, "field.equiangular", laws.equiangular.equiangular, {"flow": causal_flow}),
        (field, "field.critical-temperature", laws.temperature.critical_temperature, {"scaling": without_length}),
        (field, "field.noise", laws.noise.noise, {"flow": TokenFlow}),
        (field, "field.normalisation", laws.normalisation.normalisation, {"kinds": {"pre": "post", "post": "post"}}),
        (field, "field.staircase", laws.staircase.staircase, {"flow": lambda beta: TokenFlow(beta / 2)}),
        (field, "field.causal", laws.causal.causal_attention, {"flow": TokenFlow}),
        (field, "field.rank-collapse", laws.rank_collapse.rank_collapse, {"layer": with_skip}),
        (field, "field.trapping", laws.trapping.trapping, {"runner": short_run}),
        (field, "field.energy", laws.energy.energy_landscape, {"flow": repelling}),
        (
            field,
            "field.spectrum",
            laws.spectrum.value_spectrum,
            {"flow": without_value},
        ),
        (field, "field.continuity", laws.continuity.without_tokens, {"solver": half_as_cold}),
        (forecast, "forecast.gusts", gusts.gusts, {"stall": False}),
        (forecast, "forecast.chaos", forecast.chaos, {"settings": {"delays": 5, "stride": 5, "units": 0}}),
    ],
)
def test_the_claim_fails_without_its_mechanism(group, name, check, without):
    claim = next(claim for claim in group.CLAIMS if claim.id == name)
    finding = check("quick", 0, **without)
    assert Outcome(claim, finding, 0.0, "quick", 0).verdict == "falls short"


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_writes_page_record_and_pictures(tmp_path, capsys):
    out = tmp_path / "claims"
    assert command(["claims", "exact.blocks", "--out", str(out), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    kept = json.loads((out / "claims.json").read_text(encoding="utf-8"))
    assert printed["claims"] == kept["claims"]
    assert kept["counts"] == {"holds": 1, "falls short": 0, "not testable": 0}
    assert (out / "exact.blocks.png").stat().st_size > 1000
    assert "exact.blocks: holds" in (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["exakt.blocks"], "did you mean exact.blocks"), (["xyzzy"], "there are the groups clustering, exact, field"),
        (["exact.blocks", "--seed", "-1"], "--seed takes a whole number, zero or more, got -1"),
    ],
)  # fmt: skip
def test_the_command_refuses_an_unknown_claim_and_a_negative_seed(capsys, words, said):
    assert command(["claims", *words]) == 2
    assert said in capsys.readouterr().err
