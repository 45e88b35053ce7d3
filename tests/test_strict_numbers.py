"""Options of numbers take numbers as they are written, for every command, on the command line and in a file."""

import pytest
from test_command_line import COMMANDS, commands, typed

from tokendyn.cli import run
from tokendyn.cli.jobs import command
from tokendyn.errors import BadInputError
from tokendyn.experiments.fields import leaves


def numbers(kind):
    """Return the command and the name of each of its options that takes numbers of a kind and no text."""
    found = []
    for name in COMMANDS:
        for argument in commands()[name].assemble_argument_collection():
            kinds = set(leaves(argument.hint))
            if argument.names[0].startswith("--") and kind in kinds and str not in kinds:
                long = next(one for one in argument.names if one.startswith("--"))
                found.append((name, long, float in kinds))
    return found


WHOLE = [(name, option) for name, option, real in numbers(int) if not real]
REAL = [(name, option) for name, option, _ in numbers(float)]


def refusal(capsys, words):
    capsys.readouterr()
    assert run(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


def test_there_are_options_of_numbers():
    assert {("simulate", "--layers"), ("sweep", "--workers"), ("forecast predict", "--steps")} <= set(WHOLE)
    assert {("simulate", "--alpha"), ("forecast fit", "--rank")} <= set(REAL)


@pytest.mark.parametrize(("name", "option"), WHOLE)
def test_an_option_of_whole_numbers_takes_nothing_else(name, option, tmp_path, capsys):
    words = typed(name)
    for wrong in ("3.5", "3.0", "1e3", "1_000", "0x10", "true", "٣", ""):
        said = refusal(capsys, [*words, "given.csv", f"{option}={wrong}"])
        assert option in said, wrong
    if words[0] != "runs":
        file = tmp_path / "options.toml"
        for wrong in ("3.5", "true", "'2.5'"):
            file.write_text(f"{option.removeprefix('--')} = {wrong}\n", encoding="utf-8")
            assert option.removeprefix("--") in refusal(capsys, [*words, "given.csv", "--config", str(file)]), wrong


@pytest.mark.parametrize(("name", "option"), REAL)
def test_a_number_is_one_and_has_no_underscores_and_no_foreign_digits(name, option, capsys):
    for wrong in ("1_0", "1_0.5", "٣", "nan", "-NaN", "1e400", "-1e999", "9" * 400):
        assert option in refusal(capsys, [*typed(name), "given.csv", f"{option}={wrong}"]), wrong


def test_a_sweep_takes_no_truth_value_and_no_fraction_for_a_whole_number(tmp_path):
    (tmp_path / "t.csv").write_text("1,2\n3,4\n")
    for wrong in (True, 3.5, "3.5"):
        with pytest.raises(BadInputError, match="layers"):
            command("simulate").config({"tokens": str(tmp_path / "t.csv"), "layers": wrong})
    assert command("simulate").config({"tokens": "t.csv", "layers": 3.0})["layers"] == 3
