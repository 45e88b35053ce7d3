"""Run the code blocks of a page of the documentation and compare what they print with what the page shows.

A ``python`` block is executed, a ``sh`` block is run line by line through the command line; both in one folder and,
for Python, in one namespace. A ``text`` block right after one of them is its output. In it ``...`` stands for anything,
a line of ``...`` for any lines, and numbers agree when they differ by less than two units of the last shown digit, or
are both below 1e-8. A command whose line ends in ``# exit code N`` must end so, any other with 0.
"""

import contextlib
import io
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?(?![\w])")
_EXIT = re.compile(r"# exit code (\d+)\s*$")
TINY = 1e-8


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its text, its line on the page, and the output shown after it, if any."""

    language: str
    text: str
    line: int
    shown: str | None


def blocks(page: Path) -> list[Block]:
    """Return the Python and shell blocks of a page with the output that it shows for each."""
    document = page.read_text(encoding="utf-8")
    fences = list(_FENCE.finditer(document))
    found = []
    for number, fence in enumerate(fences):
        if fence[1] not in ("python", "sh"):
            continue
        after = fences[number + 1] if number + 1 < len(fences) else None
        follows = after is not None and after[1] == "text" and not document[fence.end() : after.start()].strip()
        line = document.count("\n", 0, fence.start()) + 1
        found.append(Block(fence[1], fence[2], line, after[2] if follows else None))
    return found


def run_page(page: Path) -> tuple[list[str], dict]:
    """Run the blocks of a page in the present folder; return the differences from what it shows, and its names."""
    names: dict = {"__name__": "__main__"}
    differences = []
    for block in blocks(page):
        printed = run_block(block, names, page.name)
        if block.shown is not None and (difference := differs(block.shown, printed)):
            differences.append(f"{page.name}:{block.line}: {difference}\n--- printed\n{printed}")
    return differences, names


def run_block(block: Block, names: dict, source: str) -> str:
    """Run one block and return what it prints: standard output and standard error together."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        if block.language == "python":
            exec(compile(block.text, source, "exec"), names)
        else:
            for line in block.text.replace("\\\n", " ").splitlines():
                run_line(line, source)
    return printed.getvalue()


def run_line(line: str, source: str) -> None:
    """Run one line of a shell block, which must be a tokendyn command, and check its exit code."""
    from tokendyn.cli import run as run_command

    words = shlex.split(line, comments=True)
    if not words:
        return
    assert words[0] == "tokendyn", f"{source}: {line!r} is not a tokendyn command"
    expected = int(found[1]) if (found := _EXIT.search(line)) else 0
    code = run_command(words[1:])
    assert code == expected, f"{source}: {line!r} ended with {code}, not {expected}"


def differs(shown: str, printed: str) -> str | None:
    """Return how printed output differs from what a page shows, None when it does not."""
    want = [line.rstrip() for line in shown.strip("\n").splitlines()]
    have = [line.rstrip() for line in printed.strip("\n").splitlines()]
    place = 0
    for number, line in enumerate(want):
        if line.strip() == "...":
            rest = want[number + 1 :]
            if not rest:
                return None
            starts = [at for at in range(place, len(have)) if _same_line(rest[0], have[at])]
            if not starts:
                return f"no line {rest[0]!r}"
            place = starts[0]
        elif place == len(have):
            return f"nothing is printed for {line!r}"
        elif not _same_line(line, have[place]):
            return f"{have[place]!r} is printed, {line!r} is shown"
        else:
            place += 1
    return None if place == len(have) else f"{have[place]!r} is printed and not shown"


def _same_line(shown: str, printed: str) -> bool:
    pieces = [_pattern(part) for part in shown.split("...")]
    match = re.fullmatch("(?:.*)".join(piece for piece, _ in pieces), " ".join(printed.split()))
    if match is None:
        return False
    numbers = [number for _, found in pieces for number in found]
    return all(_near(*pair) for pair in zip(numbers, match.groups(), strict=True))


def _pattern(text: str) -> tuple[str, list[str]]:
    """Return a regular expression with a group for each number of a text, white space collapsed, and the numbers."""
    text = re.sub(r"\s+", " ", text) if text.strip() else text.strip()
    numbers = list(_NUMBER.finditer(text))
    expression, place = "", 0
    for number in numbers:
        expression += _words(text[place : number.start()]) + rf"({_NUMBER.pattern})"
        place = number.end()
    return expression + _words(text[place:]), [number[0] for number in numbers]


def _words(text: str) -> str:
    return r"\s*".join(re.escape(word) for word in text.split(" "))


def _near(shown: str, printed: str) -> bool:
    want, have = (float(number.replace(",", "")) for number in (shown, printed))
    mantissa, _, exponent = shown.partition("e")
    digits = len(mantissa.partition(".")[2])
    unit = 0.0 if "." not in mantissa and not exponent else 10.0 ** (int(exponent or 0) - digits)
    return abs(want - have) < max(2 * unit, 1e-12) or max(abs(want), abs(have)) < TINY
