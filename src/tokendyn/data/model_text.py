"""A text as the tokens of a model: its own tokenizer, without padding and truncation, and its word embeddings."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tokendyn.data.model_config import config_of, read_config
from tokendyn.data.weights import HeadWeights, read_embedding
from tokendyn.errors import LISTED, BadInputError
from tokendyn.runs.opened import note_opened


@dataclass(frozen=True)
class TextTokens:
    """The tokens of a text, in its order; a word that comes twice is there twice.

    Attributes
    ----------
    positions
        ``(tokens, dim)``: the embedding of each token, of mean zero where the head's tokens have it.
    names
        The tokens.
    notes
        What was added, what was not known, and what the embeddings are not.
    """

    positions: Float[np.ndarray, "tokens dim"]
    names: tuple[str, ...]
    notes: tuple[str, ...]


def read_text_tokens(
    path: str | Path, text: str, head: HeadWeights, *, special: bool = True, prefix: str = ""
) -> TextTokens:
    """Return the word embeddings of a text's tokens.

    Parameters
    ----------
    path
        Model file or folder, with ``tokenizer.json`` beside it.
    text
        With at least two tokens.
    head
        The head that the tokens are for.
    special
        Whether the tokenizer adds what the model was trained with, such as [CLS] and [SEP].
    prefix
        Of the part of the model; see :func:`tokendyn.data.weights.read_head`.

    Raises
    ------
    BadInputError
        Without ``tokenizer.json`` or the package tokenizers; for a text that is empty or has one token; for tokens or
        dimensions that the embeddings do not have.
    """
    path = Path(path)
    ids, names, added, unknown = _encode((path if path.is_dir() else path.parent) / "tokenizer.json", text, special)
    if len(ids) == sum(added):
        raise BadInputError("--text has no token, only those that the tokenizer adds; give a text with words")
    if unknown == len(ids) - sum(added):
        raise BadInputError(f"--text has {unknown} words or signs, and the tokenizer knows none of them")
    if len(ids) < 2:
        raise BadInputError(f"--text has 1 token, {names[0]}; expected 2 or more")
    table = read_embedding(path, prefix)
    if table.ndim != 2 or table.shape[1] != head.dim:
        raise BadInputError(
            f"the embeddings of {path} have shape {table.shape}, the head takes {head.dim} numbers: the model puts a "
            "matrix between; give the states as a file of tokens"
        )
    if ids.max() >= len(table):
        raise BadInputError(f"tokenizer.json numbers tokens up to {ids.max()}, but {path} has {len(table)} embeddings")
    points = table[ids]
    if head.centred:
        points = points - points.mean(axis=1, keepdims=True)
    notes = _notes(names, added, unknown, head)
    most = config_of(read_config(path), prefix).whole("max_position_embeddings", "n_positions", "max_seq_len")
    if most is not None and len(names) > most:
        notes.append(f"the text has {len(names)} tokens, more than the {most} that the model takes; none is cut")
    return TextTokens(points, names, tuple(notes))


def _encode(path: Path, text: str, special: bool) -> tuple[np.ndarray, tuple[str, ...], list[bool], int]:
    """Return numbers and names of tokens, which of them were added, and how many are unknown."""
    if not path.is_file():
        raise BadInputError(f"--text needs {path}, the tokenizer of the model, which is missing")
    if not text.strip():
        raise BadInputError("--text is empty; give a text with words")
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise BadInputError("--text with --weights needs the package tokenizers: pip install tokenizers") from None
    note_opened(path)
    try:
        tokenizer = Tokenizer.from_file(str(path))
        # Settings of the file are for batches: padding would become tokens, truncation would lose words.
        tokenizer.no_padding()
        tokenizer.no_truncation()
        encoded = tokenizer.encode(text, add_special_tokens=special)
        plain = tokenizer.encode(text, add_special_tokens=False)
    except Exception as error:  # the library raises bare Exception
        raise BadInputError(f"{path} is not a whole tokenizer ({error})") from None
    ids, names = list(encoded.ids), tuple(encoded.tokens)
    start = _start(ids, list(plain.ids))
    added = [not start <= place < start + len(plain.ids) for place in range(len(ids))]
    unknown = getattr(tokenizer.model, "unk_token", None)
    missing = sum(name == unknown for name in names) if unknown else 0
    return np.array(ids, dtype=np.int64), names, added, missing


def _start(ids: list[int], plain: list[int]) -> int:
    """Return where the text's own tokens start among those with what the tokenizer adds."""
    last = len(ids) - len(plain)
    return next((start for start in range(last + 1) if ids[start : start + len(plain)] == plain), 0)


def _notes(names: tuple[str, ...], added: list[bool], unknown: int, head: HeadWeights) -> list[str]:
    notes = [
        f"tokens start at bare word embeddings, without positions and earlier layers: they are not the states that "
        f"enter layer {head.layer} of the model; to start from those, give them as a file of tokens with --normalise"
    ]
    extra = [name for name, own in zip(names, added, strict=True) if own]
    if extra:
        some = ", ".join(extra[:LISTED]) + (", ..." if len(extra) > LISTED else "")
        notes.append(f"the tokenizer added {some}; --no-special-tokens leaves them out")
    repeated = len(names) - len(set(names))
    if repeated:
        notes.append(f"{repeated} tokens repeat earlier ones: without positions they start where those are")
    if unknown:
        notes.append(f"{unknown} of {len(names)} tokens are unknown to the tokenizer")
    return notes
