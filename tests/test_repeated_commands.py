"""The command in a record repeats the run: every command, every option, wherever it came from."""

import json
import shlex
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
from stores import six_tokens
from test_command_line import COMMANDS

from tokendyn.cli import MEANFIELD, app, routed, run
from tokendyn.cli.jobs import any_command
from tokendyn.cli.repeat import words_of
from tokendyn.experiments.fields import leaves

pytestmark = pytest.mark.usefixtures("unchecked")

TEXTS = ["plain", "two words", "-1,0;0,-1", 'it\'s "quoted"', "", "--json", "ü=;$HOME", "5"]


def values_of(name, number):
    """Return the words that give every option of a command a value other than its default."""
    known = any_command(name)
    given, options = [], []
    for option in known.options.values():
        kinds = set(leaves(option.hint))
        literal = next((kind for kind in kinds if get_origin(kind) is Literal), None)
        if option.name == "model" and name.startswith("simulate"):
            options += ["--model=meanfield"] if name == MEANFIELD else []
            continue
        if option.negative and option.default is True:
            options.append(option.negative)
        elif bool in kinds:
            options.append(option.flag)
        elif literal is not None:
            word = next((word for word in get_args(literal)[::-1] if word != option.default), get_args(literal)[0])
            (given if option.positional else options).append(word if option.positional else f"{option.flag}={word}")
        elif int in kinds or float in kinds:
            options.append(f"{option.flag}={101 + number if float not in kinds else 0.137 + number}")
        else:
            text = TEXTS[number % len(TEXTS)]
            if Path in kinds and text in ("", "--json", "-1,0;0,-1"):
                text = f"place/{number} x"
            if option.positional:
                given.append(text if text not in ("", "--json", "-1,0;0,-1") else "given")
            else:
                options.append(f"{option.flag}={text}")
    return [*given, *options]


def bound(words):
    found = app.parse_args(words, exit_on_error=False, print_error=False)[1]
    found.apply_defaults()
    return found.arguments


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_every_option_comes_back(name, number):
    words = [*name.split(), *values_of(name, number)]
    program, *again = words_of(words)
    assert program == "tokendyn"
    again = shlex.split(shlex.join(again))
    assert routed(again, {})[0] == name.split()[0]
    assert bound(routed(again, {})) == bound(words)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_without_options_repeats_itself_in_few_words(name):
    known = any_command(name)
    words = [*name.split(), *(["--model=meanfield"] if name == MEANFIELD else [])]
    for option in known.options.values():
        if option.required:
            literal = next((k for k in leaves(option.hint) if get_origin(k) is Literal), None)
            word = get_args(literal)[0] if literal else "5"
            words += [word] if option.positional else [f"{option.flag}={word}"]
    again = words_of(words)[1:]
    assert bound(routed(again, {})) == bound(words)
    assert len(again) <= 2 * len(words) + 2


def test_a_record_holds_the_options_of_the_line_and_of_the_file(tmp_path, capsys):
    tokens, config, out = six_tokens(tmp_path), tmp_path / "run.toml", tmp_path / "a b"
    config.write_text('score = "2,0;0,1"\nanimation = false\nlayers = 7\n', encoding="utf-8")
    words = ["simulate", str(tokens), "--strict", "--layers", "5", "--no-report", "--out", str(out)]
    assert run([*words, "--config", str(config)]) == 0
    command = shlex.split(json.loads((out / "run.json").read_text(encoding="utf-8"))["command"])
    assert command[:3] == ["tokendyn", "simulate", str(tokens)]
    assert {"--strict", "--no-report", "--no-animation", "--score", "2,0;0,1", "--layers", "5", "--out"} <= set(command)
    capsys.readouterr()
    first = (out / "trajectory.safetensors").read_bytes()
    assert run([*command[1:], "--overwrite"]) == 0
    assert (out / "trajectory.safetensors").read_bytes() == first
