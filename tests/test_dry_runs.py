"""A dry run refuses what the run refuses, in the same words, and writes nothing."""

import csv
import json
import shlex

import numpy as np
import pytest
from stores import six_tokens

from tokendyn.cli import run
from tokendyn.data.texts import small_reviews

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Write inputs of every kind; return their folder."""
    folder = tmp_path_factory.mktemp("given")
    six_tokens(folder)
    data = small_reviews()
    with (folder / "reviews.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *zip(data.texts[:60], data.labels[:60], strict=True)])
    rows = [{"id": str(k), "tokens": [[k, 1.0], [1.0, k * k]], "label": "ab"[k % 2]} for k in range(6)]
    (folder / "s.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "same.jsonl").write_text("\n".join(json.dumps({**rows[0], "label": x}) for x in "ab"), encoding="utf-8")
    table = np.column_stack([np.arange(120) * 0.1, np.sin(np.arange(120) * 0.3)])
    np.savetxt(folder / "flow.csv", table, delimiter=",", header="t,x", comments="")
    (folder / "s.toml").write_text('command = "simulate"\n[fixed]\ntokens = "tokens.csv"\n', encoding="utf-8")
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.txt").write_text("x")
    return folder


P = "phase --betas 5 -V diag(1,2) -A diag(4,1) --tokens 20 --time 1"
A, FLOW = "simulate {0}/tokens.csv", "simulate --model meanfield --beta 5 --tokens 20 --time 1"
REFUSED = [
    f'{A} --score "diag(1,2,3)"', f"{A} --layers 0", f"{A} --layers 1000000000", f"{A} --alpha -1", f"{A} --alpha nan",
    f"{A} --tie-tolerance -1", f'{A} --strict --score "1,2;0,1"', f"{A} --softmax 0", f"{A} --out {{0}}/mine",
    f"{A} --out {{0}}/mine --overwrite", f'{A} --score "1,0"',
    f"{FLOW} --step -1", f"{FLOW} --noise 1", f"{FLOW} --integrator adaptive --tolerance 0", f"{FLOW} --budget never",
    f'{FLOW} --value "diag(1,2,3)" --score "diag(1,2)"', f"{FLOW} --out {{0}}/mine --overwrite", f"{FLOW} --threads 0",
    f"{P} --noise 1 --out {{0}}/phase", "phase --out {0}/mine --overwrite",
    f"{P} --step 0 --out {{0}}/phase", f"{P} --budget never --out {{0}}/phase", f"{P} --budget ٣ --out {{0}}/phase",
    f"{P} --tilt inf --out {{0}}/phase", f"{P} --concentration inf --out {{0}}/phase",
    f"{FLOW} --dim 99999999999999999999", f"{FLOW} --dim 1{'0' * 400}", f"{A} --out {{0}}/tokens.csv/deep/run",
    "sweep {0}/s.toml --store {0}/st --out {0}/st", "sweep {0}/s.toml --store {0}/sw/runs --out {0}/sw",
    "sweep {0}/s.toml --memory ٣GB",
    "sentiment train {0}/reviews.csv --layers -1 --out {0}/m", "sentiment train {0}/reviews.csv --alpha 0 --out {0}/m",
    "sentiment train {0}/reviews.csv --budget no --out {0}/m", "sentiment train {0}/reviews.csv --ngrams 0 --out {0}/m",
    "sentiment curve {0}/reviews.csv --ngrams 0 --out {0}/m",
    "sentiment compare {0}/reviews.csv --ngrams 0 --out {0}/m",
    "classify build {0}/s.jsonl --strategy hatt --out {0}/m", "classify build {0}/same.jsonl --out {0}/m",
    "classify build {0}/s.jsonl --dtype float16 --out {0}/m", "classify build {0}/s.jsonl --attention x --out {0}/m",
    "classify build {0}/s.jsonl --out {0}/mine --overwrite",
    "forecast fit {0}/flow.csv --delays 500 --horizon 5 --out {0}/m", "forecast fit {0}/flow.csv --rank 0 --out {0}/m",
    "forecast fit {0}/flow.csv --model tddmd --delays 90 --stride 5 --horizon 5 --out {0}/m",
    "samples {0}", "demo --out {0}/mine", "report {0}/mine", "claims --out {0}/mine --overwrite",
]  # fmt: skip


@pytest.mark.parametrize("line", REFUSED)
def test_a_dry_run_refuses_what_the_run_refuses(given, line, capsys):
    words = shlex.split(line.format(given))
    before = sorted(path for path in given.rglob("*"))
    capsys.readouterr()
    assert run([*words, "--dry-run"]) == 2
    dry = capsys.readouterr().err
    assert run(words) == 2
    assert dry.splitlines()[-1] == capsys.readouterr().err.splitlines()[-1]
    assert sorted(path for path in given.rglob("*")) == before


@pytest.mark.parametrize("line", [
    f"{A} --layers 3 --out {{0}}/run", f"{FLOW} --out {{0}}/run", f"{P} --out {{0}}/run",
    "sentiment train {0}/reviews.csv --out {0}/run", "classify build {0}/s.jsonl --out {0}/run",
    "forecast fit {0}/flow.csv --delays 5 --horizon 5 --out {0}/run", "sentiment curve {0}/reviews.csv --out {0}/run",
])  # fmt: skip
def test_a_dry_run_writes_nothing(given, line, capsys):
    before = sorted(path for path in given.rglob("*"))
    assert run([*line.format(given).split(), "--dry-run"]) == 0
    assert sorted(path for path in given.rglob("*")) == before
