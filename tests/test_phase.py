"""``tokendyn phase``, and the pieces of a phase diagram."""

import csv
import json
import math

import numpy as np
import pytest

from tokendyn.cli import run
from tokendyn.dynamics import TokenFlow
from tokendyn.particles.meanfield import Phases, simulate
from tokendyn.particles.meanfield.diagram import Point, PointResult
from tokendyn.particles.meanfield.experiments import asymmetric_density, lined_flow
from tokendyn.particles.meanfield.scatter import Estimate, PhaseScatter
from tokendyn.particles.meanfield.starts import circle_quantiles
from tokendyn.particles.meanfield.theory import closure_beside, envelope

pytestmark = pytest.mark.usefixtures("unchecked")

SMALL = ("--tokens", 28, "--every", 0.5, "--integrator", "heun")
SHORT = (*SMALL, "--time", 6)
A = ("--value", "diag(1,2)", "--score", "diag(4,1)")


def phase(*options):
    return list(map(str, ("phase", *options)))


def refused(capsys, *options):
    capsys.readouterr()
    assert run(phase(*options)) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


def test_a_diagram_goes_on_where_it_was_interrupted(tmp_path, capsys, monkeypatch):
    out = tmp_path / "phase"
    arguments = phase("--betas", "5,10,20", *A, *SHORT, "--out", out)
    from tokendyn.particles.meanfield import diagram

    whole, calls = diagram.PointResult.of, []

    def interrupted(point, found):
        calls.append(point.beta)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(point, found)

    monkeypatch.setattr(diagram.PointResult, "of", interrupted)
    assert run(arguments) == 130
    assert [path.name for path in (out / "runs").iterdir()] == ["beta-5_seed-0.json"]
    capsys.readouterr()
    assert run([*arguments, "--json"]) == 0
    assert calls == [5.0, 10.0, 10.0, 20.0]
    said = json.loads(capsys.readouterr().out)
    assert (said["runs"], said["missing"]) == (3, 0)
    names = {path.name for path in out.iterdir() if path.suffix != ".svg"} - {".tokendyn.json"}
    assert names == {"phase.json", "runs", "points.csv", "phase.png", "curves.png", "slopes.png", "report.html"}
    with (out / "points.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    times = [float(row["concentration"]) for row in rows]
    assert times == sorted(times)
    assert "other settings (step differ)" in refused(capsys, "--betas", "5", *A, *SHORT, "--step", 0.2, "--out", out)


def test_the_spectrum_of_v_decides_whether_tokens_leave(tmp_path, capsys):
    out = tmp_path / "spectrum"
    options = ("--betas", "20", "--ratios", "0.5,2", "--score", "diag(4,1)", *SMALL, "--time", 9, "--out", out)
    assert run(phase(*options, "--json")) == 0
    points = json.loads(capsys.readouterr().out)["points"]
    assert [(point["v2/v1"], point["verdict"]) for point in points] == [(0.5, "stays"), (2.0, "leaves")]


def test_a_budget_leaves_a_diagram_in_part_and_says_so(tmp_path, capsys):
    out = tmp_path / "phase"
    assert run(phase("--betas", "5,10", *A, *SHORT, "--budget", "1ms", "--out", out)) == 1
    assert "start the same command again" in capsys.readouterr().err


def test_seeds_give_a_scatter(tmp_path, capsys):
    out = tmp_path / "phase"
    options = ("--betas", "5", *A, *SHORT, "--start", "uniform", "--seeds", 2, "--out", out)
    assert run(phase(*options, "--json")) == 0
    (point,) = json.loads(capsys.readouterr().out)["points"]
    assert point["seeds"] == 2
    assert point["least_deviation"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--betas", "0,3"), "--betas must be positive"),
        (("--betas", "a"), "finite numbers with commas"),
        (("--beta", 3), "its own --betas"),
        (("--spectrum", "--value", "diag(1,2)"), "leave out --value"),
        (("--seeds", 3), "same for every seed"),
        (("--start", "fibonacci"), "for the sphere"),
    ],
)
def test_a_bad_diagram_is_refused_before_a_folder_is_made(tmp_path, capsys, options, message):
    assert message in refused(capsys, *options, "--out", tmp_path / "phase")
    assert not (tmp_path / "phase").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("keep")
    assert "holds no phase diagram" in refused(
        capsys, "--betas", "5", *A, *SHORT, "--overwrite", "--out", tmp_path / "mine"
    )
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "keep"


@pytest.fixture(scope="module")
def small_run():
    return simulate(lined_flow(30.0), circle_quantiles(60, asymmetric_density), np.linspace(0, 9, 46), step=0.2)


def test_a_point_is_written_and_read_whole(small_run, tmp_path):
    point = Point(30.0, 2.0, 1)
    PointResult.of(point, small_run).write(tmp_path)
    found = PointResult.read(tmp_path / point.file)
    assert found.point == point
    assert found.phases == small_run.phases
    np.testing.assert_array_equal(found.distances, small_run.distances)


def test_the_envelope_lies_above_the_run_and_touches_it(small_run):
    bound = envelope(small_run)
    held = small_run.trajectory.times <= small_run.phases.departure
    share = small_run.distances[held] / bound.distances[held]
    assert share.max() == pytest.approx(1.0)
    assert bound.decay == small_run.projection.rate
    assert 1 / bound.growth == pytest.approx(1 / bound.decay + 1 / small_run.terminal.rate)


def test_the_closure_does_not_depend_on_which_axis_dominates(small_run):
    swapped = TokenFlow(30.0, interaction=np.diag([1.0, 4.0]), value=np.diag([2.0, 1.0]))
    start = np.ascontiguousarray(small_run.trajectory.states[0][:, ::-1])
    other = simulate(swapped, start, np.array([1.0, 2.0, 5.0]), step=0.5)
    found, expected = closure_beside(other), closure_beside(small_run)
    assert found.times[0] == 1.0
    assert found.phases.least == pytest.approx(expected.phases.least, rel=1e-3)


def test_an_estimate_tells_how_often_a_phase_came():
    estimate = Estimate.of([1.0, 3.0, math.inf])
    assert (estimate.mean, estimate.found, estimate.seeds) == (2.0, 2, 3)
    assert estimate.deviation == pytest.approx(2**0.5)
    assert "2 of 3" in str(estimate)
    scatter = PhaseScatter.of([Phases(0.1, 2.0, (1.0, math.inf), math.inf)])
    assert scatter.rows()[4] == {"quantity": "departure", "mean": None, "deviation": None, "found": 0, "seeds": 1}
    assert str(scatter.departure) == "not reached"


def test_the_folder_of_the_command_and_a_saved_diagram_load_alike(tmp_path):
    import tokendyn as td

    words = ["--betas", "10,20", "-V", "diag(1,2)", "-A", "diag(4,1)", "--tokens", "12", "--time", "2", "--no-report"]
    assert run(["phase", *words, "--out", str(tmp_path / "phase")]) == 0
    diagram = td.load(tmp_path / "phase")
    assert (diagram.status, [result.point.beta for result in diagram.results]) == ("completed", [10.0, 20.0])
    diagram.save(tmp_path / "copy")
    assert td.load(tmp_path / "copy").rows() == diagram.rows()
