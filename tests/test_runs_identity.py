"""What a stored run is the answer to: all files that it read, the code and the libraries that computed it."""

import ast
import json
import math
import shutil

import numpy as np
import pytest
from stores import add, filled, run_name, six_tokens

import tokendyn.runs.code as code_module
from tokendyn.cli import run
from tokendyn.cli.jobs import command
from tokendyn.runs.code import code_version, imported, library_versions, normalised
from tokendyn.runs.index import Index
from tokendyn.runs.opened import note_opened, recording
from tokendyn.runs.store import MANIFEST, Store

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.fixture
def tokens(tmp_path):
    return six_tokens(tmp_path)


def said(capsys, words, code=0):
    """Run a command; return its JSON object and its lines."""
    capsys.readouterr()
    assert run([*words, "--json"]) == code
    output = capsys.readouterr()
    return json.loads(output.out), output.err


# --- the files that a run reads


@pytest.fixture
def leading(tmp_path, monkeypatch):
    """Tokens in a file that leads to another: ``scale.json`` beside it, and from there to a third."""
    import tokendyn.data.tokens as module

    read_tokens = module.read_tokens

    folder = tmp_path / "given"
    folder.mkdir()
    plain = six_tokens(folder)
    leader = plain.rename(folder / "tokens.lead")
    (folder / "scale.json").write_text('{"scale": 2.0}', encoding="utf-8")

    def read(path, array=None):
        path = path if path.is_absolute() else path.absolute()
        copy = tmp_path / "copy.csv"
        shutil.copy(path, copy)
        table = read_tokens(copy, array=array)
        factor = 1.0
        for name in ("scale.json", "more/extra.json"):
            note_opened(path.parent / name)
            if (path.parent / name).exists():
                factor *= json.loads((path.parent / name).read_text(encoding="utf-8"))["scale"]
        return type(table)(factor * table.tokens, table.labels)

    monkeypatch.setattr(module, "read_tokens", read)
    command("simulate")._led.clear()
    return leader


def test_a_side_file_that_changes_makes_another_run_and_the_old_one_stays(leading, tmp_path, capsys):
    words = ["simulate", str(leading), "--layers", "3", "--no-report", f"--store={tmp_path / 'kept'}"]
    first, _ = said(capsys, words)
    again, lines = said(capsys, words)
    assert again == first
    assert "is there already" in lines
    side = leading.parent / "scale.json"
    side.write_text('{"scale": 4.0}', encoding="utf-8")
    second, lines = said(capsys, words)
    assert second["id"] != first["id"]
    assert "is there already" not in lines
    (leading.parent / "more").mkdir()
    (leading.parent / "more" / "extra.json").write_text('{"scale": 0.5}', encoding="utf-8")
    third, lines = said(capsys, words)
    assert third["id"] not in (first["id"], second["id"]), "a file whose absence was noted appeared"
    side.write_text('{"scale": 2.0}', encoding="utf-8")
    (leading.parent / "more" / "extra.json").unlink()
    back, lines = said(capsys, words)
    assert back == first
    assert "is there already" in lines


def test_the_place_of_the_files_makes_no_difference(leading, tmp_path, capsys):
    first, _ = said(capsys, ["simulate", str(leading), "--layers", "3", "--no-report", f"--store={tmp_path / 'kept'}"])
    shutil.copytree(leading.parent, tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere" / leading.name
    again, lines = said(
        capsys, ["simulate", str(moved), "--layers", "3", "--no-report", f"--store={tmp_path / 'kept'}"]
    )
    assert again["id"] == first["id"]
    assert "is there already" in lines


def test_a_file_that_only_the_run_itself_read_is_looked_at_again(tokens, tmp_path, capsys, monkeypatch):
    import tokendyn.particles as module

    hidden, simulate = tmp_path / "hidden.json", module.simulate
    hidden.write_text("1", encoding="utf-8")

    def reads_late(*args, **options):
        note_opened(hidden)
        return simulate(*args, **options)

    monkeypatch.setattr(module, "simulate", reads_late)
    words = ["simulate", str(tokens), "--layers", "3", "--no-report", f"--store={tmp_path / 'kept'}"]
    said(capsys, words)
    assert "is there already" in said(capsys, words)[1]
    hidden.write_text("2", encoding="utf-8")
    assert "is there already" not in said(capsys, words)[1]
    assert "is there already" in said(capsys, words)[1]


def test_an_input_that_changes_during_the_run_is_an_error_and_nothing_is_stored(tokens, tmp_path, capsys, monkeypatch):
    import tokendyn.particles as module

    simulate = module.simulate

    def changes(*args, **options):
        tokens.write_text("1,2\n3,4\n", encoding="utf-8")
        return simulate(*args, **options)

    monkeypatch.setattr(module, "simulate", changes)
    assert run(["simulate", str(tokens), "--no-report", f"--store={tmp_path / 'kept'}"]) == 2
    assert "was changed while the run was made" in capsys.readouterr().err
    assert Store(tmp_path / "kept").ids() == []


def test_a_sweep_sees_a_side_file_that_changed(leading, tmp_path, capsys):
    file = tmp_path / "s.toml"
    file.write_text(f'command = "simulate"\n[fixed]\ntokens = "{leading}"\nlayers = 2\n[grid]\nalpha = [0.2, 0.5]\n')
    words = ["sweep", str(file), "--dry-run", "--store", str(tmp_path / "kept"), "--out", str(tmp_path / "out")]
    for alpha in ("0.2", "0.5"):
        stored = ["simulate", str(leading), "--layers", "2", "--alpha", alpha, "--no-report"]
        assert run([*stored, f"--store={tmp_path / 'kept'}"]) == 0
    capsys.readouterr()
    assert run(words) == 0
    assert "would run 0" in capsys.readouterr().err
    (leading.parent / "scale.json").write_text('{"scale": 3.0}', encoding="utf-8")
    assert run(words) == 0
    assert "would run 2" in capsys.readouterr().err


def test_the_configuration_beside_weights_is_in_the_id(tmp_path, rng, capsys):
    from safetensors.numpy import save_file

    folder = tmp_path / "m"
    folder.mkdir()
    names = [f"model.layers.0.self_attn.{kind}_proj.weight" for kind in "qkvo"]
    save_file({name: rng.normal(size=(16, 16)) / 4 for name in names}, folder / "model.safetensors")
    words = ["simulate", "--weights", str(folder / "model.safetensors"), "--head", "1", "--tokens", "20", "--time", "1",
             "--no-report", f"--store={tmp_path / 'kept'}"]  # fmt: skip
    found = []
    for heads in (2, 4, 2):
        settings = {"model_type": "llama", "hidden_size": 16, "num_attention_heads": heads}
        (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
        found.append(said(capsys, words)[0])
    assert [one["inverse_temperature"] for one in found] == pytest.approx([16 / 8**0.5, 8.0, 16 / 8**0.5])
    assert found[0]["id"] == found[2]["id"] != found[1]["id"]
    record = Store(tmp_path / "kept").read(found[0]["id"])
    assert {"weights", "weights:config.json"} <= set(record.inputs)


def test_recordings_are_nested_and_silent_outside(tmp_path):
    note_opened(tmp_path / "unheard")
    with recording() as outer:
        note_opened(tmp_path / "a")
        with recording() as inner:
            note_opened(tmp_path / "b")
        assert inner == [tmp_path / "b"]
    assert outer == [tmp_path / "a", tmp_path / "b"]


# --- code and libraries


def test_a_command_is_its_modules_and_no_others():
    names = imported("tokendyn.cli.simulate")
    assert {"tokendyn.dynamics.run", "tokendyn.attention.fused", "tokendyn.geometry"} <= names
    assert "tokendyn.attention.softmax_circle" in names, "backends are named by texts"
    assert not {"tokendyn.forecast", "tokendyn.cli", "tokendyn.cli.sweep"} & names
    assert {"numpy", "scipy", "numba", "llvmlite"} <= library_versions(names).keys()


PLAIN = "def f(x):\n    return x + 1\n"
SAME = [
    "# a comment\n\n\ndef f(x):\n    # more\n    return x + 1  # end\n",
    '"""A module."""\n\ndef f(x):\n    """Return more."""\n    return (x + 1)\n',
]
OTHER = [
    "def f(x):\n    return x + 2\n", "def f(x):\n    return x - 1\n", "def f(x):\n    return 1 + x\n",
    "def g(x):\n    return x + 1\n", "def f(x):\n    return x + 1.0\n", "def f(x):\n    return x + True\n",
    "def f(x):\n    return None\n", "def f(x):\n    return\n",
]  # fmt: skip


def test_comments_and_docstrings_are_no_code_and_everything_else_is():
    texts = ["".join(normalised(ast.parse(source))) for source in (PLAIN, *SAME, *OTHER)]
    assert texts[0] == texts[1] == texts[2]
    assert len(set(texts)) == 1 + len(OTHER)


@pytest.fixture
def changed(monkeypatch):
    """Change the version of a library as the code of runs sees it."""
    known = code_module._installed.__wrapped__

    def change(library, version):
        monkeypatch.setattr(code_module, "_installed", lambda name: version if name == library else known(name))
        code_module._digest.cache_clear()

    yield change
    monkeypatch.undo()
    code_module._digest.cache_clear()


def test_a_library_that_computes_is_in_the_code_and_one_that_draws_is_not(changed):
    before = code_version("tokendyn.cli.simulate")
    for library in ("numpy", "scipy", "llvmlite"):
        changed(library, "0.0.1")
        assert code_version("tokendyn.cli.simulate") != before
    changed("matplotlib", "0.0.1")
    assert code_version("tokendyn.cli.simulate") == before


def test_runs_of_another_version_are_named_and_taken_over_when_their_bits_agree(tokens, tmp_path, changed, capsys):
    place = ["--store", str(tmp_path / "kept")]
    words = [["simulate", str(tokens), "--layers", "3", "--no-report", "--alpha", alpha, f"--store={tmp_path / 'kept'}"]
             for alpha in ("0.1", "0.2", "0.3", "0.4")]  # fmt: skip
    first = [said(capsys, one)[0] for one in words]
    changed("numpy", "0.0.1")
    _, lines = said(capsys, [*words[0]])
    assert "1 run of another version matches" in lines
    assert run(["runs", "adopt", "--dry-run", *place]) == 0
    assert "3 of simulate" in capsys.readouterr().err
    done, lines = said(capsys, ["runs", "adopt", "--sample", "2", *place])
    (group,) = done["groups"]
    assert (group["adopted"], len(group["compared"]), group["differing"]) == (3, 2, [])
    for one, old in zip(words, first, strict=True):
        now, lines = said(capsys, one)
        assert "is there already" in lines
        assert now["id"] != old["id"]
        assert {**now, "id": "", "out": ""} == {**old, "id": "", "out": ""}
    record = Store(tmp_path / "kept").read(now["id"], verify=True)
    assert record.provenance["adopted"]["run"] == first[-1]["id"]
    written = (tmp_path / "kept" / now["id"] / "output" / "run.json").read_text(encoding="utf-8")
    assert now["id"] in written
    assert first[-1]["id"] not in written
    assert run(["runs", "adopt", *place]) == 0
    assert "lacks its successor" in capsys.readouterr().err


def test_runs_whose_bits_differ_or_whose_inputs_are_gone_are_not_taken_over(
    tokens, tmp_path, changed, monkeypatch, capsys
):
    import tokendyn.particles as module

    store = Store(tmp_path / "kept")
    words = ["simulate", str(tokens), "--layers", "3", "--no-report", f"--store={tmp_path / 'kept'}"]
    said(capsys, words)
    changed("scipy", "0.0.1")
    simulate = module.simulate
    monkeypatch.setattr(
        module, "simulate",
        lambda tokens, **options: simulate(np.nextafter(tokens, math.inf), **options),
    )  # fmt: skip
    done, lines = said(capsys, ["runs", "adopt", "--store", str(store.folder)], code=1)
    assert done["groups"][0]["adopted"] == 0
    assert "other bits" in lines
    assert len(store.ids()) == 1
    monkeypatch.undo()
    changed("scipy", "0.0.2")
    tokens.write_text("1,2\n3,4\n", encoding="utf-8")
    done, lines = said(capsys, ["runs", "adopt", "--store", str(store.folder)])
    assert done["groups"][0]["adopted"] == 0
    assert "gone or changed" in lines


# --- versions that are not known yet


def test_a_newer_run_is_newer_and_nobody_proposes_to_remove_it(tmp_path, capsys):
    store = filled(tmp_path, 3)
    manifest = tmp_path / run_name(2) / MANIFEST
    record = json.loads(manifest.read_text(encoding="utf-8")) | {"schema_version": 2, "unheard": "of"}
    manifest.write_text(json.dumps(record), encoding="utf-8")
    done, lines = said(capsys, ["runs", "reindex", "--store", str(tmp_path)])
    assert (done["newer"], done["damaged"]) == ([run_name(2)], [])
    assert "newer" in lines
    assert "update" in lines
    assert run(["runs", "show", run_name(2), "--store", str(tmp_path)]) == 2
    assert run(["runs", "list", "--store", str(tmp_path)]) == 0
    lines += capsys.readouterr().err
    assert "remove it" not in lines
    assert "damaged (" not in lines
    with pytest.raises(Exception, match="newer tokendyn"):
        add(store, 2)
    assert run(["runs", "rm", "--where", "status = damaged", "--yes", "--store", str(tmp_path)]) == 0
    assert json.loads(manifest.read_text(encoding="utf-8")) == record
    with Index(store) as index:
        index.refresh()
        assert index.statuses()[run_name(2)] == "newer"


# --- budgets


def test_a_stored_run_that_its_budget_cut_goes_on_to_the_same_bits(tmp_path, monkeypatch, capsys):
    from tokendyn.dynamics import integrators

    words = ["simulate", "--model", "meanfield", "--beta", "5", "--value", "diag(1,2)", "--score", "diag(4,1)",
             "--tokens", "20", "--time", "3", "--no-report"]  # fmt: skip
    whole, _ = said(capsys, [*words, f"--store={tmp_path / 'whole'}"])
    clock, now = [0.0], integrators.time.perf_counter

    def slow():
        clock[0] += 0.2
        return now() + clock[0]

    monkeypatch.setattr(integrators.time, "perf_counter", slow)
    kept = f"--store={tmp_path / 'kept'}"
    cut, lines = said(capsys, [*words, kept, "--budget", "1s"], code=1)
    assert cut["status"] == "stopped"
    assert "goes on" in lines
    first = cut.get("time", 0.0)
    again, lines = said(capsys, [*words, kept, "--budget", "1s"], code=1)
    assert "is there already" not in lines
    assert again["id"] == cut["id"]
    assert again.get("time", 1.0) > first
    monkeypatch.undo()
    done, _ = said(capsys, [*words, kept])
    assert (done["id"], done["status"]) == (whole["id"], "completed") == (cut["id"], "completed")
    tables = [tmp_path / name / whole["id"] / "output" / "flow.safetensors" for name in ("whole", "kept")]
    assert tables[0].read_bytes() == tables[1].read_bytes()
    assert list((tmp_path / "kept" / ".checkpoints").iterdir()) == []
    assert "is there already" in said(capsys, [*words, kept])[1]
