"""``tokendyn simulate --model meanfield`` as a user meets it."""

import csv
import json

import numpy as np
import pytest

from tokendyn.cli import run
from tokendyn.dynamics import FlowTrajectory

pytestmark = pytest.mark.usefixtures("unchecked")

QUICK = ("--tokens", 60, "--time", 3, "--no-animation")
A = ("--value", "diag(1,2)", "--score", "diag(4,1)", "--beta", 30)


def simulate(*options):
    return list(map(str, ("simulate", "--model", "meanfield", *options)))


def refused(capsys, *arguments):
    """Run a command that must fail with exit code 2 and one message without a traceback; return the message."""
    capsys.readouterr()
    assert run(list(map(str, arguments))) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    assert said.err.count("tokendyn: ") == 1
    return said.err


def test_a_run_writes_states_record_table_figures_and_report(tmp_path, capsys):
    folder = tmp_path / "run"
    assert run(simulate(*A, *QUICK, "--out", folder, "--json")) == 0
    said = capsys.readouterr()
    summary = json.loads(said.out)
    assert summary["status"] == "completed"
    assert summary["resolution"] == "resolved"
    assert "resolved: 60 tokens" in said.err
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "flow.safetensors", "flow.json", "matrices.safetensors", "run.json", "distances.csv", "distances.png",
        "tokens.png", "report.html",
    }  # fmt: skip
    trajectory = FlowTrajectory.load(folder)
    with (folder / "distances.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["time"]) for row in rows] == pytest.approx(trajectory.times)
    assert all(float(row["w2_exact"]) <= float(row["w2_coupling"]) + 1e-12 for row in rows)


def test_a_report_is_made_anew(tmp_path, capsys):
    folder = tmp_path / "run"
    assert run(simulate(*A, *QUICK, "--every", 0.5, "--out", folder)) == 0
    assert run(["report", str(folder), "--out", str(tmp_path / "again.html")]) == 0
    page = (tmp_path / "again.html").read_text(encoding="utf-8")
    assert "data:image/gif" in page
    assert "contraction rate" in page
    (folder / "flow.safetensors").write_bytes(b"short")
    assert "safetensors" in refused(capsys, "report", folder, "--out", tmp_path / "third.html")
