"""Verdicts on mean-field runs: what a second run shows, stragglers, questions that do not apply, symmetric starts."""

import csv
import functools
import json
import math

import numpy as np
import pytest

from tokendyn.cli import run as command
from tokendyn.dynamics import Budget, TokenFlow
from tokendyn.particles import meanfield
from tokendyn.particles.meanfield import check, experiments, model, starts
from tokendyn.particles.meanfield.phases import Phases
from tokendyn.particles.meanfield.report import load_run, save_run

pytestmark = pytest.mark.usefixtures("unchecked")

B = np.diag([4.0, 1.0])


def quantiles(count):
    return starts.circle_quantiles(count, experiments.asymmetric_density)


def simulated(value, beta, count, until, start=quantiles, interaction=B, **settings):
    flow = TokenFlow(beta, interaction=interaction, value=value)
    return meanfield.simulate(flow, start(count), np.linspace(0, until, 101), start=start, **settings)


class TestTheSecondRun:
    @pytest.mark.parametrize(("value", "beta", "count", "until"), [((1, 3), 300, 91, 8), ((1, 3.5), 1000, 200, 8)])
    def test_it_catches_what_the_rule_for_starts_calls_resolved(self, value, beta, count, until):
        """With four times as many tokens the least distances are .086 and .091 in place of .32 and .57."""
        found = simulated(np.diag(value).astype(float), float(beta), count, until)
        assert meanfield.resolution(found.flow, found.trajectory.states[0]).status == "resolved"
        assert (found.resolution.status, found.verdict) == ("unresolved", "unresolved")
        assert found.resolution.needed >= 4 * count
        assert found.warnings[0] == found.resolution.reason

    def test_it_catches_independent_tokens(self):
        start = functools.partial(starts.uniform_sphere, dim=2, seed=0)
        found = simulated(np.eye(2), 300.0, 207, 12.0, start, np.array([[2.0, 1.0], [0.0, 1.0]]))
        assert found.resolution.status == "unresolved"

    def test_it_does_not_ask_for_more_than_the_answer_needs(self):
        found = simulated(np.diag([1.0, 2.0]), 300.0, 20, 8.4, interaction=np.diag([4.0, 0.05]))
        assert meanfield.resolution(found.flow, found.trajectory.states[0]).needed == 87
        assert (found.resolution.status, found.verdict) == ("resolved", "leaves")
        assert found.resolution.other_tokens == 80
        assert found.resolution.needed <= 20
        assert found.phases.least == pytest.approx(0.0286, rel=0.05)
        assert found.phases.departure == pytest.approx(7.55, rel=0.01)

    def test_without_stragglers_the_answer_is_that_of_more_tokens(self):
        found = simulated(np.diag([1.0, 2.0]), 300.0, 91, 8.0)
        held = found.stragglers
        assert meanfield.resolution(found.flow, found.trajectory.states[0]).status == "resolved"
        assert found.resolution.status == "unresolved"
        assert found.phases.least == pytest.approx(0.154, abs=0.002)
        assert held.count == found.resolution.stragglers == 1
        assert held.weight == pytest.approx(1 / 91)
        assert held.phases.least == pytest.approx(0.043, abs=0.001)
        said = " ".join(found.describe())
        assert "1 token is left to itself off E then; without it: least distance to the projected law 0.043" in said

    def test_a_run_out_of_its_budget_is_not_called_resolved(self):
        found = simulated(np.diag([1.0, 2.0]), 30.0, 60, 9.0, budget=Budget(steps=40))
        assert found.trajectory.status == "out of steps"
        assert found.resolution.status == "unresolved"

    def test_the_verdict_comes_back_from_a_folder(self, tmp_path):
        found = simulated(np.diag([1.0, 2.0]), 30.0, 28, 8.0)
        save_run(found, tmp_path / "run", title="run", animation=None, report=False)
        assert load_run(tmp_path / "run")[0].resolution == found.resolution

    def test_changes_just_inside_and_outside_the_limit(self):
        first = Phases(0.1, 3.0, (2.0, 4.0), 8.0)
        inside, outside = (0.1 * math.exp(check.CHANGE * share) for share in (0.98, 1.02))
        assert check.Comparison.of(first, Phases(inside, 3.0, (2.0, 4.0), 8.0)).agrees(check.CHANGE)
        assert not check.Comparison.of(first, Phases(outside, 3.0, (2.0, 4.0), 8.0)).agrees(check.CHANGE)
        late = Phases(0.1, 3.0, (2.0, 4.0), 8 * math.exp(-1.02 * check.CHANGE))
        assert not check.Comparison.of(first, late).agrees(check.CHANGE)
        stays = check.Comparison.of(first, Phases(0.1, 3.0, (2.0, 4.0), math.inf))
        assert (stays.least, stays.departure) == (0.0, math.inf)
        never = check.Comparison.of(Phases(0.51, 0.0, (0.0, 1.0), math.inf), Phases(0.49, 0.0, (0.0, 1.0), math.inf))
        assert never.least == math.inf

    def test_the_tail_is_that_of_four_times_as_many_tokens(self):
        tokens, projection = quantiles(600), meanfield.project(np.diag([1.0, 2.0]), B)
        found, weights = check.other_start(tokens, np.full(600, 1 / 600), projection, quantiles)
        assert weights.sum() == pytest.approx(1)
        nearness = np.abs(found[:, 0])
        fine = quantiles(2400)
        tail = np.sort(np.abs(fine[:, 0]))[:40]
        np.testing.assert_allclose(np.sort(nearness)[:40], tail, atol=1e-12)
        assert weights[nearness.argmin()] == pytest.approx(1 / 2400, rel=0.02)
        assert len(found) < 600
        many, _ = check.other_start(quantiles(512), np.full(512, 1 / 512), projection, quantiles)
        np.testing.assert_array_equal(many, quantiles(2048))

    def test_tokens_of_a_circle_are_interpolated_without_a_rule(self):
        projection = meanfield.project(np.diag([1.0, 2.0]), B)
        found, weights = check.other_start(quantiles(100), np.full(100, 0.01), projection, None)
        order = np.argsort(np.arctan2(found[:, 1], found[:, 0]) % (2 * math.pi))
        np.testing.assert_allclose(found[order], quantiles(400), atol=5e-3)
        np.testing.assert_allclose(weights, 1 / 400)

    @pytest.mark.parametrize("dim", [2, 3, 5])
    def test_independent_tokens_are_told_from_even_ones(self, dim):
        assert not any(check.evenly(starts.uniform_sphere(300, dim, seed)) for seed in range(5))
        even = {2: quantiles(300), 3: starts.fibonacci_sphere(300, 0.5, (0.1, 0.1, 0.1))}
        assert dim not in even or check.evenly(even[dim])

    def test_independent_tokens_of_a_file_need_many_that_share_the_distance(self):
        start = starts.uniform_sphere(150, 2, 3)
        flow = experiments.lined_flow(30.0)
        found = meanfield.simulate(flow, start, np.linspace(0, 8, 41))
        assert found.resolution.status == "unresolved"
        assert "independent tokens" in found.resolution.reason


class TestQuestionsThatDoNotApply:
    @pytest.mark.parametrize(
        ("value", "score"),
        [
            (np.array([[1.0, -0.6], [0.6, 1.0]]), np.diag([3.0, 1.0])),
            (np.eye(2), np.eye(2)),
            (np.diag([1.0, 4.0]), np.diag([4.0, 1.0])),
            (np.array([[0.0, -1.0], [1.0, 0.0]]), np.eye(2)),
            (np.zeros((2, 2)), np.eye(2)),
            (np.eye(3), 2 * np.eye(3)),
        ],
    )
    def test_no_distance_is_told_where_e_is_the_whole_space(self, value, score):
        dim = len(value)
        start = quantiles(30) if dim == 2 else starts.fibonacci_sphere(30)
        found = meanfield.simulate(TokenFlow(20.0, interaction=score, value=value), start, np.linspace(0, 1, 5))
        facts = found.summary()
        assert found.verdict == facts["verdict"] == "nothing"
        assert all(facts[name] is None for name in ("least_distance", "departure_time", "metastable_to"))
        said = " ".join(found.describe())
        assert "E is the whole space" in said
        assert "least distance" not in said
        assert "leaves it" not in said

    def test_of_turning_limits_the_distance_to_e_is_told(self):
        value = np.array([[1.0, -2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 0.2]])
        start = starts.fibonacci_sphere(200, 0.5, (0.05, 0.1, 0.15))
        found = meanfield.simulate(TokenFlow(5.0, value=value), start, np.linspace(0, 4, 41))
        assert found.verdict == "nothing"
        off = np.linalg.norm(found.trajectory.states[-1][:, :2], axis=1)
        assert found.distances_to_e[-1] == pytest.approx(math.sqrt((2 - 2 * off).mean()), rel=1e-9)
        assert "least distance to E itself" in " ".join(found.describe())

    def test_a_law_that_was_never_near_does_not_leave(self):
        flow = TokenFlow(100.0, interaction=B, value=np.diag([-1.0, -5.0]))
        found = meanfield.simulate(flow, quantiles(60), np.linspace(0, 0.5, 6))
        assert found.phases.least > 0.5
        said = " ".join(found.describe())
        assert "the law never comes near its projection" in said
        assert "leave it" not in said
        assert found.summary()["departure_time"] is None
        assert found.summary()["metastable_from"] is None

    @pytest.mark.parametrize(
        "matrices",
        [
            (),
            ("--value", "diag(1,4)", "--score", "diag(4,1)"),
            ("--value", "1,-0.6;0.6,1", "--score", "diag(3,1)"),
            ("--value", "diag(0,0)", "--score", "diag(3,1)"),
            ("--value", "diag(2,2,2)"),
        ],
    )
    def test_phase_says_before_its_work_that_nothing_concentrates(self, tmp_path, capsys, matrices):
        assert command(["phase", "--betas", "10,100", "--tokens", "40", *matrices, "--out", str(tmp_path / "p")]) == 2
        said = capsys.readouterr().err
        assert said.count("tokendyn: ") == 1
        assert "--value" in said
        assert not (tmp_path / "p").exists()

    def test_a_map_leaves_the_cells_white_where_nothing_concentrates(self, tmp_path, capsys):
        out = tmp_path / "p"
        words = ["phase", "--betas", "5,10", "--ratios", "2,4", "--score", "diag(4,1)", "--tokens", "24", "--time", "3"]
        assert command([*words, "--out", str(out), "--json"]) == 0
        said = capsys.readouterr()
        points = json.loads(said.out)["points"]
        assert [point["verdict"] == "nothing" for point in points] == [False, True, False, True]
        assert all(point["least"] is None and point["departure"] is None for point in points if point["v2/v1"] == 4)
        assert "nothing concentrates at v2/v1 = 4" in said.err
        assert (out / "phase.png").exists()

    def test_a_diagram_without_its_report(self, tmp_path):
        out = tmp_path / "p"
        words = ["phase", "--betas", "5,10", "--value", "diag(1,2)", "--score", "diag(4,1)", "--tokens", "24"]
        assert command([*words, "--time", "3", "--no-report", "--out", str(out)]) == 0
        assert {path.name for path in out.iterdir()} == {".tokendyn.json", "phase.json", "points.csv", "runs"}
        with (out / "points.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert not any(name.endswith(("_deviation", "_found")) for name in rows[0])
        assert all(float(row["least_change"]) >= 0 for row in rows)
        assert command(["report", str(out), "--out", str(tmp_path / "page.html")]) == 0


class TestSymmetricStarts:
    VALUE, SCORE = np.diag([1.0, 1.0, 2.0]), np.diag([4.0, 4.0, 1.0])

    def noted(self, start, value, score):
        flow = TokenFlow(10.0, interaction=score, value=value)
        return any("symmetric about E" in warning for warning in meanfield.simulate(
            flow, start, np.linspace(0, 0.2, 3), check=False).warnings)  # fmt: skip

    def test_they_are_noted(self):
        for tilt in (0.0, 0.5, 1.2):
            assert self.noted(starts.fibonacci_sphere(500, tilt), self.VALUE, self.SCORE)
        assert self.noted(starts.circle_quantiles(200), np.diag([1.0, 2.0]), B)
        assert not self.noted(starts.fibonacci_sphere(500, 0.5, (0.0, 0.0, 0.1)), self.VALUE, self.SCORE)
        assert not self.noted(quantiles(200), np.diag([1.0, 2.0]), B)
        assert not self.noted(starts.circle_quantiles(200), np.diag([2.0, 1.0]), np.eye(2))

    def test_the_default_start_on_the_sphere_shows_the_terminal_phase(self, tmp_path, capsys):
        matrices = ("--value", "diag(1,1,2)", "--score", "diag(4,4,1)", "--beta", "10", "--no-report")
        words = ["simulate", "--model", "meanfield", *matrices, "--tokens", "200", "--no-check", "--json"]
        assert command([*words, "--out", str(tmp_path / "run")]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["departure_time"] is not None
        assert command([*words, "--push", "0", "--out", str(tmp_path / "even")]) == 0
        said = capsys.readouterr()
        assert json.loads(said.out)["departure_time"] is None
        assert "--push" in said.err

    @pytest.mark.parametrize("push", ["0.1,0.2", "0.8,0.8,0.8", "far", "0.5,0.5,nan"])
    def test_a_wrong_push_is_refused(self, tmp_path, capsys, push):
        words = ["simulate", "--model", "meanfield", "--dim", "3", "--beta", "3", "--push", push]
        assert command([*words, "--out", str(tmp_path / "run")]) == 2
        assert "--push" in capsys.readouterr().err


class TestManyTokens:
    def test_a_fast_backend_is_chosen_by_their_number_and_the_run_says_so(self, monkeypatch):
        monkeypatch.setattr(model, "MANY", 60)
        flow, times = experiments.lined_flow(30.0), np.linspace(0, 5, 6)
        fast = meanfield.simulate(flow, quantiles(60), times, check=False)
        exact = meanfield.simulate(flow, quantiles(60), times, check=False, error_tolerance=0.0)
        assert fast.flow.means is not None
        assert exact.flow.means is None
        assert any("error bound" in line for line in fast.describe())
        assert not any("error bound" in line for line in exact.describe())
        np.testing.assert_allclose(fast.trajectory.states, exact.trajectory.states, atol=1e-6)
        few = meanfield.simulate(flow, quantiles(59), times, check=False)
        assert few.flow.means is None

    @pytest.mark.parametrize("settings", [{"normalised": False}, {"causal": True}])
    def test_flows_that_no_backend_computes_stay_exact(self, monkeypatch, settings):
        monkeypatch.setattr(model, "MANY", 10)
        flow = TokenFlow(1.0, value=np.diag([2.0, 1.0]), **settings)
        assert meanfield.simulate(flow, quantiles(20), np.linspace(0, 1, 4), check=False).flow.means is None


def test_a_run_that_ends_as_the_law_is_about_to_leave_is_open():
    guard = meanfield.resolution(experiments.lined_flow(30.0), quantiles(60))
    held, near = check.Stragglers(0, 0.0, None), Phases(0.14, 3.0, (2.0, 4.0), math.inf)

    def verdict(last):
        return check.judged(guard, near, held, (240, near, held), 50.0, True, last)

    statuses = [verdict(last).status for last in (0.14, 0.42, 0.43, 0.5)]
    assert statuses == ["resolved", "resolved", "unresolved", "unresolved"]
    # More tokens are not the remedy: they are enough.
    assert verdict(0.5).needed <= 60
    assert "follow it longer" in verdict(0.5).reason
    assert "too few" not in verdict(0.5).reason


def test_fewer_tokens_must_agree_better_than_more():
    guard = meanfield.resolution(experiments.lined_flow(30.0), quantiles(60))
    held, run = check.Stragglers(0, 0.0, None), Phases(0.100, 3.0, (2.0, 4.0), 8.0)

    def verdict(least, tokens):
        other = tokens, Phases(least, 3.0, (2.0, 4.0), 8.0), held
        return check.judged(guard, run, held, other, 50.0, True).status

    assert [verdict(0.107, tokens) for tokens in (240, 50)] == ["resolved", "unresolved"]
    assert [verdict(0.104, tokens) for tokens in (240, 50)] == ["resolved", "resolved"]


def test_a_causal_flow_is_not_called_resolved_without_a_second_run():
    flow = TokenFlow(20.0, interaction=np.diag([4.0, 1.0]), value=np.diag([1.0, 2.0]), causal=True)
    found = meanfield.simulate(flow, quantiles(60), np.linspace(0, 2, 5))
    assert found.verdict == "unresolved"
    assert "not compared with a run of another size" in found.resolution.reason


def test_tokens_with_noise_are_independent():
    times = np.linspace(0, 8, 21)

    def noisy(seed):
        settings = {"method": "euler", "noise": 0.02, "seed": seed, "start": quantiles}
        return meanfield.simulate(experiments.lined_flow(50.0), quantiles(140), times, **settings)

    runs = [noisy(seed) for seed in (1, 2)]
    assert abs(math.log(runs[0].phases.least / runs[1].phases.least)) > 0.2
    assert [run.resolution.status for run in runs] == ["unresolved", "unresolved"]
    assert "140 tokens" in runs[0].resolution.reason
    assert "independent tokens make up the distance" in runs[0].resolution.reason
