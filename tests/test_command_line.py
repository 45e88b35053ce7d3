"""What holds for every command: help with examples, suggestions for typing errors, exit codes, --json, --dry-run."""

import contextlib
import functools
import io
import json
import shlex
import subprocess
import sys

import pytest
from cyclopts import App

from tokendyn.cli import MEANFIELD, app, run

#: Commands that only print, or that read what is there: nothing to try out beforehand (runs rm lists without --yes).
WITHOUT_DRY_RUN = {
    *("classify check", "classify verify", "classify explain", "sentiment explain", "completion", "doctor"),
    *("runs list", "runs show", "runs compare", "runs rm", "runs reindex"),
}
WITHOUT_JSON = {"completion"}


def commands(parent=app, words=()):
    """Return every command that does something, by the words that call it."""
    found = {}
    for name, entry in parent.resolved_commands().items():
        if name.startswith("-"):
            continue
        if isinstance(entry, App) and entry.default_command is None:
            found |= commands(entry, (*words, name))
        else:
            found[" ".join((*words, name))] = entry
    return found


COMMANDS = sorted(commands())


def typed(name):
    return ["simulate", "--model", "meanfield"] if name == MEANFIELD else name.split()


def parts_of(line):
    """Return the words of each command of a line for the shell."""
    parts = [[]]
    for word in shlex.split(line):
        if word in ("|", "&&", ">"):
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


@functools.cache
def help_of(name):
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert run([*typed(name), "--help"]) == 0
    return said.getvalue()


def options_of(text):
    return {word.rstrip(",]") for word in text.replace("=", " ").split() if word.startswith("--")}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples_and_the_common_options(name):
    text = help_of(name)
    examples = text[text.index("Examples:") :].splitlines()[1:]
    shown = " ".join(typed(name))
    assert any(f"tokendyn {shown}" in line or f"tokendyn {shown.split()[0]}" in line for line in examples)
    options = options_of(text[: text.index("Examples:")])
    assert ("--json" in options) == (name not in WITHOUT_JSON)
    assert ("--dry-run" in options) == (name not in WITHOUT_DRY_RUN)
    assert not {"--out", "--onnx"} & options or "--dry-run" in options


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "completion"])
def test_a_misspelled_option_is_answered_with_the_right_one(name, capsys):
    text = help_of(name)
    right = max(options_of(text[: text.index("Examples:")]) - {"--help", "--no-animation"}, key=len)
    wrong = right[:-3] + right[-2:]
    assert run([*typed(name), "given.csv", wrong, "1"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("tokendyn: ")
    assert "Did you mean" in said.err
    assert right in said.err or right[:-1] in said.err
    assert "--help" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != MEANFIELD])
def test_a_misspelled_command_is_answered_with_the_right_one(name, capsys):
    *group, word = name.split()
    assert run([*group, word + word[-1]]) == 2
    said = capsys.readouterr().err
    assert f'Did you mean "{word}"' in said
    assert "Traceback" not in said


def test_the_examples_of_help_name_options_that_exist():
    for name in COMMANDS:
        text = help_of(name)
        known = options_of(text[: text.index("Examples:")]) | {"--config", "--help", "--model"}
        for line in text[text.index("Examples:") :].splitlines()[1:]:
            for words in parts_of(line):
                if words[:1] == ["tokendyn"] and words[1 : 1 + len(name.split())] == name.split():
                    given = {word.partition("=")[0] for word in words if word.startswith("--")}
                    assert given <= known, (name, given - known)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_a_shell_gets_a_script_that_knows_commands_and_options(shell, capsys):
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in ("simulate", "sentiment", "forecast", "dry-run"))
    assert run(["completion", "csh"]) == 2


def test_a_shell_takes_the_script(tmp_path, capsys):
    assert run(["completion", "bash"]) == 0
    script = tmp_path / "tokendyn.bash"
    script.write_text(capsys.readouterr().out)
    asked = 'COMP_WORDS=(tokendyn sim); COMP_CWORD=1; _tokendyn; echo "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-c", f"source {script}; {asked}"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.split() == ["simulate"], done.stderr


def test_exit_codes_are_those_that_are_documented(tmp_path, monkeypatch, capsys):
    tokens = tmp_path / "tokens.csv"
    tokens.write_text("1,0\n0,1\n-1,-1\n")
    out = ["--no-animation", "--out", str(tmp_path / "run")]
    assert run(["simulate", str(tokens), *out]) == 0
    assert run(["simulate", str(tokens), *out]) == 2
    assert run(["simulate", str(tokens), "--no-animation", "--softmax", "3", "--score", "1e308,0;0,1e308"]) in (1, 2)

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("tokendyn.particles.simulate", interrupted)
    assert run(["simulate", str(tokens), "--overwrite", *out]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_doctor_says_what_is_there_as_one_object(capsys):
    assert run(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["python"] == sys.version.split()[0]
    assert facts["backends"] == "dense and fused agree"
