"""A text cut into tokens by a model's own tokenizer, in another process: the rules of a foreign file may not end.

A rule may loop, multiply a text, or end the program; and settings of a file are for batches and for training: padding
would become tokens, truncation would lose words, dropout would cut words at random.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokendyn.errors import BadInputError, MissingLibraryError
from tokendyn.optional import missing
from tokendyn.runs.limited import answer, look
from tokendyn.runs.opened import note_opened


@dataclass(frozen=True)
class Cut:
    """The tokens of a text.

    Attributes
    ----------
    ids, names
        Number and name of each token.
    added
        Which of them the tokenizer adds, such as [CLS].
    unknown
        How many tokens of the text stand for something that the tokenizer does not know.
    lost
        How many characters of the text, other than white space, are in no token.
    dropout
        The share of merges that the file would leave out at random, which none is; None without such a setting.
    """

    ids: tuple[int, ...]
    names: tuple[str, ...]
    added: tuple[bool, ...]
    unknown: int
    lost: int
    dropout: float | None


def cut_text(path: Path, text: str, *, special: bool = True) -> Cut:
    """Return the tokens of a text without padding, truncation and dropout.

    Parameters
    ----------
    path
        ``tokenizer.json``.
    text
        Not empty.
    special
        Whether the tokenizer adds its special tokens.

    Raises
    ------
    BadInputError
        If the file is damaged, or its rules pass the limits of time and memory.
    MissingLibraryError
        Without the package tokenizers.
    """
    return cut_texts(path, [text], special=special)[0]


def cut_texts(path: Path, texts: Sequence[str], *, special: bool = True) -> list[Cut]:
    """Return the tokens of several texts; see :func:`cut_text`. One process cuts them all."""
    note_opened(path)
    answer = look(__name__, path, "tokenizers", json.dumps({"texts": list(texts), "special": special}))
    if answer["problem"] == "ImportError":
        raise MissingLibraryError(missing("tokenizers") or "tokenizers cannot be imported in a process of its own")
    if answer["problem"]:
        raise BadInputError(f"{path} is not a whole tokenizer ({answer['problem']})")
    return [_cut(path, facts) for facts in answer["cuts"]]


def _cut(path: Path, facts: dict[str, Any]) -> Cut:
    ids, names, added = (tuple(facts[key]) for key in ("ids", "names", "added"))
    if not len(ids) == len(names) == len(added):
        raise BadInputError(f"{path} is not a whole tokenizer (it gives {len(ids)} numbers to {len(names)} tokens)")
    return Cut(
        ids=ids, names=names, added=added, unknown=facts["unknown"], lost=facts["lost"], dropout=facts["dropout"]
    )


def _walk(path: str) -> dict[str, Any]:
    try:
        return _encoded(path, **json.loads(sys.stdin.buffer.read()))
    except ImportError:
        return {"problem": "ImportError"}
    except MemoryError:
        raise
    except BaseException as error:  # the library raises bare Exception, and panics that are no Exception
        return {"problem": " ".join(str(error).split())[:200] or type(error).__name__}


def _encoded(path: str, texts: list[str], special: bool) -> dict[str, Any]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    model = tokenizer.model
    dropout = getattr(model, "dropout", None)
    if dropout is not None:
        model.dropout = None
    unknown = _unknown(tokenizer, model, path)
    cuts = [_facts(text, tokenizer.encode(text, add_special_tokens=special), unknown, dropout) for text in texts]
    return {"problem": "", "cuts": cuts}


def _facts(text: str, encoding: Any, unknown: int | None, dropout: float | None) -> dict[str, Any]:
    added = [bool(mark) for mark in encoding.special_tokens_mask]
    covered = bytearray(len(text))
    for start, end in encoding.offsets:
        covered[start:end] = b"\1" * (end - start)
    return {
        "ids": encoding.ids,
        "names": encoding.tokens,
        "added": added,
        "unknown": sum(number == unknown and not own for number, own in zip(encoding.ids, added, strict=False)),
        "lost": sum(not seen and not sign.isspace() for seen, sign in zip(covered, text, strict=True)),
        "dropout": dropout,
    }


def _unknown(tokenizer: Any, model: Any, path: str) -> int | None:
    """Return the number of the token for what is not known; a unigram model says it in its file alone."""
    name = getattr(model, "unk_token", None)
    if name is not None:
        number: int | None = tokenizer.token_to_id(name)
        return number
    record = json.loads(Path(path).read_bytes())["model"]
    return record.get("unk_id") if isinstance(record, dict) else None


if __name__ == "__main__":
    answer(_walk)
