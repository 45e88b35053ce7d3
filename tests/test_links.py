"""What the documentation points at is there: pages, headings, files, names in the package, commands and their options.

Links to other sites are not fetched; ``python tests/test_links.py`` lists them.
"""

import functools
import importlib
import re
import shlex
import sys
from pathlib import Path

import pytest

from tokendyn.cli import app, routed

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))
make_figures = importlib.import_module("make_figures")
MADE = {DOCS / "figures" / name for name in make_figures.names()}
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
#: Pages of what was, with names of earlier versions.
HISTORY = {"CHANGELOG.md", "from-0.1-to-0.2.md"}
EVERYWHERE = {"--config", "--store", "--help", "-h", "--version", "--install-completion"}

_FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_ROLE = re.compile(r"\{(\w+)\}`([^`]+)`")
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_FILE = re.compile(r"(?<![\w/.-])(?:tests|benchmarks|docs|examples|src)/[\w./-]+\.\w+")
_DOTTED = re.compile(r"(?<![\w/.-])tokendyn(?:\.[A-Za-z_]\w*)+")
_COMMAND = re.compile(r"^\s*(?:\$ )?tokendyn ")


def prose(document: str) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", document)


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as MyST and GitHub make them."""
    headings = re.findall(r"^#+ (.*)$", prose(page.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def external_links(page: Path) -> list[str]:
    """Return the links of a page to other sites."""
    return [link for link in _LINK.findall(prose(page.read_text(encoding="utf-8"))) if "://" in link]


def commands(document: str) -> list[str]:
    """Return the command lines of a page, from its blocks and from code in its text."""
    lines = []
    for language, block in _FENCE.findall(document):
        if language in ("sh", "console", "bash", ""):
            lines += block.replace("\\\n", " ").splitlines()
    lines += _CODE.findall(prose(document))
    return [line.strip().removeprefix("$ ") for line in lines if _COMMAND.match(line)]


def command_of(line: str) -> tuple[tuple[str, ...], list[str]]:
    """Return the words of the command that a line calls, and the rest of its words; no words when it calls none."""
    words = routed(shlex.split(line, comments=True)[1:], {})
    command, path = app, ()
    while words and words[0] in list(command):
        command, path, words = command[words[0]], (*path, words[0]), words[1:]
    return path, words


@functools.cache
def options_of(path: tuple[str, ...]) -> frozenset[str]:
    """Return the options of a command; of a group of commands, none."""
    command = functools.reduce(lambda group, word: group[word], path, app)
    if not path or command.default_command is None:
        return frozenset()
    return frozenset(name for argument in command.assemble_argument_collection() for name in argument.names)


def script_options() -> set[str]:
    """Return the options of the scripts beside the package."""
    scripts = [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "tools").glob("*.py"), ROOT / "dev.py"]
    return {name for script in scripts for name in re.findall(r'"(--[\w-]+)"', script.read_text(encoding="utf-8"))}


@functools.cache
def every_option() -> frozenset[str]:
    """Return the options of all commands and scripts."""
    found, left = EVERYWHERE | script_options(), [()]
    while left:
        path = left.pop()
        found |= options_of(path)
        group = functools.reduce(lambda one, word: one[word], path, app)
        left += [(*path, name) for name in group if not name.startswith("-")]
    return frozenset(found)


@functools.cache
def is_example(name: str) -> bool:
    """Say whether a page is built from an example."""
    return name.startswith("gallery/") and (ROOT / "examples" / f"{name.removeprefix('gallery/')}.py").exists()


def resolves(name: str) -> bool:
    """Say whether a dotted name is a module or something in one."""
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:size]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[size:]:
            fields = getattr(found, "__annotations__", {})
            if not hasattr(found, attribute) and attribute not in fields:
                return False
            found = getattr(found, attribute, None)
        return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_pages_headings_and_files_that_exist(page):
    document = prose(page.read_text(encoding="utf-8"))
    missing = []
    for link in _LINK.findall(document):
        target, _, anchor = link.partition("#")
        if "://" in link:
            assert link.startswith("https://"), f"{link}: give a link with https"
            continue
        file = (page.parent / target).resolve() if target else page
        if not (file.exists() or file in MADE) or (anchor and anchor not in anchors(file)):
            missing.append(link)
    for role, target in _ROLE.findall(document):
        name = target.rpartition("<")[2].rstrip(">").lstrip("~")
        if role == "doc" and not (DOCS / f"{name}.md").exists() and name != "gallery/index" and not is_example(name):
            missing.append(f"{{doc}}`{name}`")
        if role in ("class", "func", "mod", "meth", "attr") and not resolves(name):
            missing.append(f"{{{role}}}`{name}`")
    assert not missing


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in HISTORY], ids=lambda page: page.name)
def test_files_and_names_that_a_page_mentions_exist(page):
    document = page.read_text(encoding="utf-8")
    built = "docs/_build"
    missing = [file for file in _FILE.findall(document) if not (ROOT / file).exists() and not file.startswith(built)]
    missing += [name for name in _DOTTED.findall(document) if not resolves(name)]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_that_a_page_names_exist(page):
    document = page.read_text(encoding="utf-8")
    wrong = []
    for line in commands(document):
        command, words = command_of(line)
        if not command:
            known = EVERYWHERE if not words or not words[0].islower() else None
        else:
            known = options_of(command) | EVERYWHERE
        used = [word.partition("=")[0] for word in words if re.match(r"--?[A-Za-z]", word)]
        if known is None or not set(used) <= known:
            wrong.append(line)
    alone = [code.split()[0].partition("=")[0] for code in _CODE.findall(prose(document)) if code.startswith("--")]
    wrong += sorted(set(alone) - every_option())
    assert not wrong


def test_every_page_is_in_a_table_of_contents():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^[\w./-]+$", "\n".join(re.findall(r"```\{toctree\}\n(.*?)```", index, flags=re.DOTALL)), re.M)
    assert len(listed) == len(set(listed))
    assert {page.stem for page in DOCS.glob("*.md")} == {name for name in listed if "/" not in name} | {"index"}


def test_every_figure_of_a_page_is_made_in_the_build_and_every_made_figure_is_shown():
    shown = set()
    for page in sorted(DOCS.glob("*.md")):
        document = page.read_text(encoding="utf-8")
        shown |= {DOCS / link for link in _LINK.findall(prose(document)) if link.endswith(".png")}
        shown |= {DOCS / "figures" / name for name in re.findall(r"_static/([\w.]+)", document)}
    assert shown == MADE


def test_wrong_pointers_are_seen():
    assert not resolves("tokendyn.attention.atend")
    assert resolves("tokendyn.attention.Head.attend")
    command, words = command_of("tokendyn simulate --model meanfield --beta 3")
    assert "--beta" in options_of(command)
    assert words[-1] == "3"
    assert "--beta" not in options_of(command_of("tokendyn simulate tokens.csv")[0])
    assert command_of("tokendyn simulat tokens.csv")[0] == ()
    assert commands("a `tokendyn doctor --json` b\n```sh\ntokendyn simulate \\\n  t.csv\n```\n") == [
        "tokendyn simulate    t.csv",
        "tokendyn doctor --json",
    ]


if __name__ == "__main__":
    for page in PAGES:
        for link in external_links(page):
            print(page.name, link)
