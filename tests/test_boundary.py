"""Whatever goes wrong, a command answers with one message and an exit code, never with a traceback."""

import ast
import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from stores import process_environment, six_tokens

import tokendyn
from tokendyn.cli import run
from tokendyn.cli.boundary import FAULT, StoppedError, guarded, in_flags
from tokendyn.errors import OutputError

pytestmark = pytest.mark.usefixtures("unchecked")


def answer(capsys, error, words=("simulate", "x.csv")):
    """Let a command raise an error; return its exit code and what it says."""

    def call():
        raise error

    capsys.readouterr()
    code = guarded(call, words)
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    return code, said.err


@pytest.mark.parametrize("error", [
    TypeError("bad"), KeyError("x"), AttributeError("y"), RecursionError("deep"), ZeroDivisionError(),
    AssertionError(), StopIteration(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "wrong"), RuntimeError("a\nb"),
])  # fmt: skip
def test_an_error_that_nobody_foresaw_is_a_fault_with_its_place_and_a_record(error, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, said = answer(capsys, error)
    assert code == FAULT == 70
    assert type(error).__name__ in said
    assert re.search(r"\w+\.py:\d+", said)
    (record,) = tmp_path.iterdir()
    assert str(record) in said
    assert "Traceback" in record.read_text(encoding="utf-8")
    assert "x.csv" in record.read_text(encoding="utf-8")


def test_a_fault_is_said_though_its_record_cannot_be_written(capsys, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/nowhere/at/all")
    code, said = answer(capsys, TypeError("bad"))
    assert code == 70
    assert "could not be written" in said


@pytest.mark.parametrize(("error", "code", "words"), [
    (OSError(errno.ENOSPC, "No space left on device"), 2, "No space left"),
    (OSError(errno.ENAMETOOLONG, "File name too long", "a" * 300), 2, "File name too long"),
    (PermissionError(errno.EACCES, "Permission denied", "there"), 2, "there: Permission denied"),
    (UnicodeEncodeError("utf-8", "a\udcff", 1, 2, "surrogates"), 2, "not UTF-8"),
    (MemoryError(), 1, "not enough memory"),
    (KeyboardInterrupt(), 130, "interrupted"), (StoppedError(15), 143, "stopped"), (StoppedError(1), 129, "stopped"),
    (OutputError("x exists; replace it with overwrite=True"), 2, "--overwrite"),
])  # fmt: skip
def test_what_the_system_refuses_is_one_message(error, code, words, capsys):
    found, said = answer(capsys, error)
    assert found == code
    assert words in said
    assert said.count("\n") == 1
    assert len(said) < 400


def test_the_library_speaks_in_arguments_and_the_command_line_in_options():
    assert (
        in_flags("replace it with overwrite=True, or drop strict=True")
        == "replace it with --overwrite, or drop --strict"
    )
    assert in_flags('record="last", array=NAME, fill="linear" (or previous)') == (
        "--record last, --array NAME, --fill linear (or previous)"
    )
    assert in_flags("alpha=True stays") == "alpha=True stays"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("got layer=3", "got --layer 3"),
        ("correct heads=12 or key_value_heads=5", "correct --heads 12 or --key-value-heads 5"),
        ("say which: prefix='' (OPT), prefix='model.decoder.' (BART)",
         "say which: --prefix '' (OPT), --prefix model.decoder. (BART)"),
        ("name them with mapping='FILE.toml'; it's", "name them with --mapping FILE.toml; it's"),
        ("special=False leaves them out, causal=True runs it so",
         "--no-special-tokens leaves them out, --causal runs it so"),
        ("use dtype='float64', or lower min_margin (now 1)", "use --dtype float64, or lower --min-margin (now 1)"),
        ("a --min-margin stays, and subheads=3", "a --min-margin stays, and subheads=3"),
    ],
)  # fmt: skip
def test_values_of_arguments_become_those_of_options(message, shown):
    assert in_flags(message) == shown


def test_the_library_names_no_option_of_the_command_line_in_an_error():
    flagged = []
    for path in sorted(Path(tokendyn.__file__).parent.rglob("*.py")):
        if "cli" in path.parts or path.name == "check_certificate.py":  # a program of its own
            continue
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source if "--" in source else "")  # most have none, and to parse them all takes seconds
        for raised in (node for node in ast.walk(tree) if isinstance(node, ast.Raise)):
            constants = (node.value for node in ast.walk(raised) if isinstance(node, ast.Constant))
            words = " ".join(value for value in constants if isinstance(value, str))
            if re.search(r"(?<!\w)--[a-z]", words) and "tokendyn " not in words:  # of a whole command they may speak
                flagged.append(f"{path.name}:{raised.lineno}: {words}")
    assert not flagged


@pytest.mark.parametrize("name", ["b\udcff.csv", "\ud800"])
def test_a_name_that_is_not_utf_8_is_refused_before_any_work(name, capsys):
    assert run(["simulate", name, "--out", "x"]) == 2
    assert "not UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a" * 300, "b/" + "c" * 300, "d\0e"])
def test_a_name_that_no_disk_takes_is_one_message(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    six_tokens(tmp_path)
    assert run(["simulate", "tokens.csv", "--out", name]) == 2
    assert run(["simulate", f"{name}.csv"]) == 2
    said = capsys.readouterr().err
    assert said.count("tokendyn: ") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["tokens.csv"]


class Full:
    """A stream on a full disk, which says so only when it is flushed."""

    def write(self, text):
        return len(text)

    def flush(self):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_or_a_closed_standard_output_is_one_message(tmp_path, monkeypatch, capsys):
    words = ["simulate", str(six_tokens(tmp_path)), "--layers", "2", "--no-report", "--json", "--out"]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Full())
        assert run([*words, str(tmp_path / "a")]) == 2
    assert "No space left" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        assert run([*words, str(tmp_path / "b")]) == 2
    assert "standard output is closed" in capsys.readouterr().err
    assert not (tmp_path / "b").exists(), "said before the work"
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", None)
        assert run([*words, str(tmp_path / "c")]) == 0
        sys.stderr.close()
    assert json.loads(capsys.readouterr().out)["layers"] == 2


def test_a_pipe_whose_reader_is_gone_is_an_exit_code_and_no_message():
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "tokendyn", "completion", "bash"]
    ended = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, check=False, env=process_environment())
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, b"")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_no_file_gets_the_number_of_a_closed_stream(closed, tmp_path):
    code = (
        "import os, sys; from tokendyn.cli.boundary import prepare_process; prepare_process(); "
        "file = open(sys.argv[1], 'w'); file.write(str(file.fileno())); file.flush(); "
        "os.system('echo from a child; echo and its errors >&2')"
    )
    line = f'"$0" -c "$1" "$2" {closed}'
    subprocess.run(["sh", "-c", line, sys.executable, code, str(tmp_path / "x")], check=True, capture_output=True)
    assert int((tmp_path / "x").read_text(encoding="utf-8")) > 2


def test_a_kernel_cache_on_a_full_disk_costs_no_run(tmp_path, monkeypatch, capsys):
    from numba.core import caching

    import tokendyn.particles as module

    source = "def save(write):\n    write()\n"
    space: dict[str, object] = {}
    exec(compile(source, str(Path("numba") / "core" / "caching.py"), "exec"), space)
    simulate, failures = module.simulate, [1]

    def refuse():
        raise OSError(errno.ENOSPC, "No space left on device")

    def compiles(*args, **options):
        if failures:
            failures.pop()
            space["save"](refuse)
        return simulate(*args, **options)

    monkeypatch.setattr(module, "simulate", compiles)
    monkeypatch.setattr(caching.Cache, "save_overload", caching.Cache.save_overload)
    words = ["simulate", str(six_tokens(tmp_path)), "--layers", "2", "--no-report"]
    assert run([*words, "--out", str(tmp_path / "run")]) == 0
    assert "serve this run only" in capsys.readouterr().err
    assert (tmp_path / "run" / "run.json").exists()


def test_an_unknown_command_is_answered_without_importing_any(capsys):
    code = (
        "import sys; from tokendyn.cli import run; codes = [run(w) for w in (['simulat'], ['runs', 'lst'], ['x'])]; "
        "print(codes, sorted({'numpy', 'numba', 'scipy', 'torch', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=process_environment(),
    )
    assert done.stdout.strip() == "[2, 2, 2] []"
    assert 'Did you mean "simulate"?' in done.stderr
    assert 'Did you mean "list"?' in done.stderr


def test_a_line_for_people_stays_one_line(tmp_path, capsys):
    folder = tmp_path / "two\nlines"
    assert run(["simulate", str(six_tokens(tmp_path)), "--layers", "2", "--no-report", "--out", str(folder)]) == 0
    assert "two\\nlines" in capsys.readouterr().err


def test_compiling_is_said_once_on_standard_error_and_not_from_the_cache(tmp_path):
    # The closed loop of a small model: of what computes, it compiles in the shortest time.
    np.savetxt(tmp_path / "wave.csv", np.sin(0.3 * np.arange(60)), header="x", comments="")
    words = ["forecast", "fit", "wave.csv", "--model", "tdtf", "--delays", "3", "--units", "3", "--horizon", "5"]
    environment = process_environment() | {"NUMBA_CACHE_DIR": str(tmp_path / "kernels")}
    options = {"capture_output": True, "text": True, "env": environment, "cwd": tmp_path}
    command = [sys.executable, "-m", "tokendyn", *words, "--json", "--out"]
    first, second = (subprocess.run([*command, out], check=True, **options) for out in "ab")
    assert first.stderr.count("tokendyn: compiling once") == 1
    assert "tokendyn: compiling" not in second.stderr
    assert json.loads(first.stdout)["held_out"] == json.loads(second.stdout)["held_out"]
