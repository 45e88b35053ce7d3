"""Words that are no command: which command was meant, written out so that it can be typed; no command is imported."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from tokendyn.cli.commands import MEANFIELD, names, tree
from tokendyn.errors import BadInputError, nearest

#: Variants of ``simulate``, as ``--model`` names them.
MODELS = ("clustering", "meanfield")

#: What other programs call a command.
_OTHER_WORDS = {
    "clustering": ("simulate",), "delete": ("runs rm",), "hardmax": ("simulate",), "info": ("doctor",),
    "init": ("samples",), "learn": ("sentiment train", "forecast fit"), "ls": ("runs list",), "new": ("samples",),
    "mean-field": ("simulate --model meanfield",), "meanfield": ("simulate --model meanfield",),
    "plot": ("report",), "remove": ("runs rm",), "rm": ("runs rm",), "run": ("simulate", "forecast run"),
    "show": ("report", "runs show"), "simulate-meanfield": ("simulate --model meanfield",), "status": ("doctor",),
    "test": ("sentiment evaluate", "classify verify"), "view": ("report",),
}  # fmt: skip

#: What is done with a file at the top and in each group.
_FOR_FILES = {
    "": {".toml": "sweep", ".jsonl": "classify build", "/": "report", "": "simulate"},
    "sentiment": {"": "sentiment train"},
    "classify": {"/": "classify verify", "": "classify build"},
    "forecast": {"": "forecast run"},
    "runs": {"": "runs show"},
}
_FILE = re.compile(r".+\.(csv|tsv|jsonl?|npy|npz|safetensors|toml|nc|h5|parquet|txt|gz|xlsx)", re.IGNORECASE)
#: Letters of a mistyped command line that a message repeats.
_MOST = 160


def as_meant(words: list[str]) -> list[str]:
    """Return the words with ``help`` and ``version`` as the options of these names."""
    if words[:1] == ["help"]:
        return [*words[1:], "--help"]
    if words[-1:] == ["help"] and len(words) <= 3 and not set(words[:-1]) - names and not Path("help").exists():
        return [*words[:-1], "--help"]
    return ["--version"] if words in (["version"], ["-v"], ["-V"]) else words


def check_command(words: Sequence[str]) -> None:
    """Raise an error with the command that was probably meant, if the first words name none."""
    group = ""
    for number, word in enumerate(words[:2]):
        known = tree.get(group, [])
        if word in known or word == MEANFIELD:
            if word not in tree:
                return
            group = word
            continue
        if word.startswith("-"):
            _check_option(word, group)
            return
        meant = _meant(word, group)
        rest = words[number + 1 :]
        if _is_file(word):
            lines = _commands(meant, [word, *rest])
            raise BadInputError(f'"{word[:60]}" is a file, and no command. Write the command first:{lines}')
        hint = _hint(word, meant, rest) if meant else f" There are {', '.join(sorted(known))}."
        outer = " ".join(["tokendyn", *words[:number]])
        raise BadInputError(f'Unknown command "{word[:60]}".{hint}\nSee: {outer} --help')


def _check_option(word: str, group: str) -> None:
    """Refuse an option in place of a command that is neither of ``--help`` and ``--version``."""
    options = ["--help", "-h", "--version"]
    if word in options or (group and word.startswith("--config")):
        return
    near = nearest(word.lstrip("-"), ["help", "version"])
    hint = f' Did you mean "--{near}"?' if near else f" The command comes first: tokendyn COMMAND {word[:60]}"
    place = f"tokendyn {group}" if group else "tokendyn"
    raise BadInputError(f'Unknown option "{word[:60]}".{hint}\nSee: {place} --help')


def _meant(word: str, group: str) -> list[str]:
    """Return the commands that a word in place of a command may stand for, the likeliest first."""
    plain = re.sub(r"[\s_-]+", "-", word.strip().casefold())
    if _is_file(word):
        kinds = _FOR_FILES[group]
        kind = "/" if Path(word).is_dir() else Path(word).suffix.lower()
        return [kinds.get(kind, kinds[""])]
    whole = {f"{outer}-{inner}": f"{outer} {inner}" for outer in tree if outer for inner in tree[outer]}
    if plain in whole:
        return [whole[plain]]
    prefix = f"{group} " if group else ""
    if plain in tree.get(group, []):
        return [prefix + plain]
    near = nearest(plain, tree.get(group, []))
    inner = [outer for outer in sorted(tree) if outer and outer != group and plain in tree[outer]]
    elsewhere = [f"{outer} {plain}" for outer in inner] + [plain] * (bool(group) and plain in tree[""])
    if elsewhere or plain in _OTHER_WORDS:
        return list(dict.fromkeys([*_OTHER_WORDS.get(plain, ()), *elsewhere]))
    if near:
        return [prefix + near]
    close = nearest(plain, [name for outer in tree for name in tree[outer]])
    return [f"{outer} {close}".strip() for outer in sorted(tree) if close in tree[outer]]


def _is_file(word: str) -> bool:
    try:
        return bool(_FILE.fullmatch(word)) or ("/" in word and not word.startswith("/") and Path(word).exists())
    except (OSError, ValueError):  # a name that no file can have
        return False


def _hint(word: str, meant: list[str], rest: Sequence[str]) -> str:
    """Return which command was meant: its word where that was mistyped, and the whole line."""
    last = meant[0].rpartition(" ")[2]
    if len(meant) > 1:
        return f" There are:{_commands(meant, rest)}"
    named = f'Did you mean "{last}"?' if last != word and nearest(word, [last]) else "There is:"
    return f" {named}{_commands(meant, rest)}"


def _commands(meant: Sequence[str], rest: Sequence[str]) -> str:
    lines = (f"\n  tokendyn {command} {shlex.join(rest)}".rstrip() for command in meant)
    return "".join(line if len(line) <= _MOST else f"{line[:_MOST]} ..." for line in lines)
