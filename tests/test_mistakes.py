"""What people type by mistake: each mistake is named, and where one command can be meant it is written out."""

import re
import shlex

import pytest

from tokendyn.cli import app, run
from tokendyn.cli.unknown import as_meant

SIMULATE = "simulate tokens.csv"
MEANFIELD = "simulate --model meanfield --beta 9 --value diag(1,2) --score diag(4,1)"

#: A mistaken line, a part of the answer, and the command that is written out; "" where only the user knows it.
LINES = [
    # Commands.
    ("train reviews.csv --out m", 'Unknown command "train"', "sentiment train reviews.csv --out m"),
    ("sentiment-train reviews.csv --out m", "train", "sentiment train reviews.csv --out m"),
    ("SIMULATE tokens.csv", 'Did you mean "simulate"', "simulate tokens.csv"),
    ("fit flow.csv --out m", "There is:", "forecast fit flow.csv --out m"),
    ("forecast flow.csv --horizon 24", "is a file, and no command", "forecast run flow.csv --horizon 24"),
    ("tokens.csv", "is a file, and no command", "simulate tokens.csv"),
    ("sweep.toml", "is a file, and no command", "sweep sweep.toml"),
    ("plot run", "report", "report run"),
    ("meanfield --beta 3", "meanfield", "simulate --model meanfield --beta 3"),
    ("ls", "list", "runs list"),
    ("predict new.csv", "There are:", ""),
    ("--hlep", 'Did you mean "--help"', ""),
    ("--verison", 'Did you mean "--version"', ""),
    # Models.
    ("simulate --model meanfeild --beta 10", 'has no "meanfeild"', "simulate --model meanfield --beta 10"),
    ("simulate --model=clustring tokens.csv", "did you mean clustering", "simulate --model=clustering tokens.csv"),
    ("simulate tokens.csv --model softmax", "it takes clustering or meanfield", ""),
    ("forecast fit flow.csv --model TD-DMD --out m", "tddmd", "forecast fit flow.csv --model tddmd --out m"),
    ("completion powershell", "it takes bash, zsh, fish", ""),
    # Options.
    ("simulate --model meanfield --alpha .5", "--alpha. It belongs to simulate --model clustering", ""),
    (f"{SIMULATE} --beta 10", "belongs to simulate --model meanfield", f"{SIMULATE} --softmax 10"),
    (f"{SIMULATE} --temperature=10", "--softmax", f"{SIMULATE} --softmax=10"),
    (f"{SIMULATE} --alhpa 0,5 --otu run", "Did you mean --out", f"{SIMULATE} --alpha 0.5 --out run"),
    (f"{SIMULATE} -out run", "two dashes", f"{SIMULATE} --out run"),
    (f"{SIMULATE} -o run", "Did you mean --out", f"{SIMULATE} --out run"),
    (f"{SIMULATE} --force", "Did you mean --overwrite", f"{SIMULATE} --overwrite"),
    (f"{SIMULATE} --verbose", "every command says what it does", SIMULATE),
    (f"{SIMULATE} \u2014alpha 0.5", "dash of typography", f"{SIMULATE} --alpha 0.5"),
    (f"{SIMULATE} alpha=0.5", "lacks the two dashes", f"{SIMULATE} --alpha=0.5"),
    (f"{SIMULATE} run", "--out says", f"{SIMULATE} --out=run"),
    (f"{SIMULATE} --out", "--out needs a value", "simulate tokens.csv --out run/"),
    (f"{SIMULATE} --out=", "--out is empty", ""),
    (f"{SIMULATE} --alpha 1 --alpha 2", "given twice", ""),
    (f"{SIMULATE} tokens.csv", "nothing takes this word", ""),
    (f"{SIMULATE} \u201ca b\u201d", "quotation marks of typography", ""),
    # Values.
    (f"{SIMULATE} --alpha = 0.5", "no blanks around the sign =", f"{SIMULATE} --alpha=0.5"),
    (f"{SIMULATE} --alpha=0,5", '--alpha takes a number, got "0,5"', f"{SIMULATE} --alpha=0.5"),
    (f"{SIMULATE} --alpha 50%", "--alpha takes a number", f"{SIMULATE} --alpha 0.5"),
    (f"{SIMULATE} --layers 1e3", "write --layers 1000", ""),
    (f"{MEANFIELD} --time 5s --out o", '"5s"', f"{MEANFIELD} --time 5 --out o"),
    ("sentiment explain a nice film --model m", "between quotation marks", "sentiment explain 'a nice film' --model m"),
    ("sentiment explain '' --model m", "the text is empty", ""),
    (f"{SIMULATE} --score '[[2,0],[0]]'", "--score takes", ""),
    # What is missing.
    ("simulate", "simulate needs TOKENS", "simulate tokens.csv --out run/"),
    ("classify verify", "classify verify needs MODEL", "classify verify model/ sequences.jsonl"),
    # Files.
    ("report tokens.csv", "is a file and not a run", ""),
    ("report nothing-here", "does not exist", ""),
    ("simulate tokens.cvs", "(did you mean tokens.csv?)", ""),
    ("simulate 'tokens.csv '", "(did you mean tokens.csv?)", ""),
    ("simulate nowhere/tokens.csv", "the folder nowhere does not exist", ""),
    ("simulate folder", "it is a folder; name a file, such as folder/inner.csv", ""),
    ("simulate semicolons.csv", "separated by ';'", ""),
    ("simulate commas.csv", "decimals are written with commas", ""),
    ("simulate tabs.csv", "let its name end in .tsv", ""),
    ("sentiment train labelled.csv --out m", "separated by ';'", ""),
    ("simulate picture.csv", "a PNG picture", ""),
    ("sentiment train book.csv --out m", "Excel", ""),
    ("forecast fit page.csv --out m", "an HTML page", ""),
]  # fmt: skip

FILES = {
    "tokens.csv": b"x,y\n2,0\n0,1\n", "semicolons.csv": b"x;y\n1.5;2\n0;3\n", "commas.csv": b"1,5;2,0\n0,3;1,0\n",
    "tabs.csv": b"x\ty\n1\t2\n3\t4\n", "labelled.csv": b"text;label\nwarm;good\ncold;bad\n",
    "picture.csv": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "book.csv": b"PK\x03\x04\x14\0\x06\0",
    "page.csv": b"<!DOCTYPE html><html></html>", "flow.csv": b"t,x\n0,1\n1,2\n", "folder/inner.csv": b"1,2\n",
}  # fmt: skip


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)


@pytest.mark.usefixtures("files", "unchecked")
@pytest.mark.parametrize(("line", "answer", "command"), LINES)
def test_a_mistake_is_answered_with_what_is_wrong_and_the_command_that_works(line, answer, command, capsys):
    assert run(shlex.split(line)) == 2
    said = capsys.readouterr().err
    assert said.startswith("tokendyn: ")
    assert "Traceback" not in said
    assert answer in said
    written = re.findall(r"^(?:Write: |For example: |  )tokendyn (.*)$", said, flags=re.MULTILINE)
    assert [shlex.split(words) for words in written] == [shlex.split(command)] if command else "Write:" not in said


@pytest.mark.parametrize("line", sorted({command for *_, command in LINES if command and "meanfield" not in command}))
def test_a_command_that_is_written_out_can_be_read(line):
    app.parse_args(shlex.split(line), exit_on_error=False, print_error=False)


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("help", "--help"), ("help sentiment train", "sentiment train --help"), ("simulate help", "simulate --help"),
        ("version", "--version"), ("-V", "--version"), ("simulate tokens.csv", "simulate tokens.csv"),
    ],
)  # fmt: skip
def test_words_for_help_and_version_do_what_they_say(line, meant, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert as_meant(line.split()) == meant.split()


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    "score",
    ["[[2, 0], [0, 1]]", "np.diag([2, 1])", "diag(2 1)", "(2,0),(0,1)", "np.array([[2., 0.], [0., 1.]])", "2,0;0,1"],
)
def test_a_matrix_is_taken_as_python_numpy_and_matlab_write_it(score):
    from tokendyn.experiments.fields import matrix_of

    assert matrix_of(score, "score").tolist() == [[2.0, 0.0], [0.0, 1.0]]
