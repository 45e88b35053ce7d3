"""A text as the tokens of a model: its own tokenizer, without padding and truncation, and its word embeddings."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tokendyn.data.model_config import config_of, read_config
from tokendyn.data.tokenizing import Cut, cut_text
from tokendyn.data.weights import HeadWeights, read_embedding
from tokendyn.errors import BadInputError, listing


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
    rules = (path if path.is_dir() else path.parent) / "tokenizer.json"
    if not rules.is_file():
        raise BadInputError(f"a text needs {rules}, the tokenizer of the model, which is missing")
    if not text.strip():
        raise BadInputError("the text is empty; give a text with words")
    cut = cut_text(rules, text, special=special)
    ids, names = np.array(cut.ids, dtype=np.int64), cut.names
    own = len(ids) - sum(cut.added)
    if not own:
        raise BadInputError("the text has no token, only those that the tokenizer adds; give a text with words")
    if cut.unknown == own:
        raise BadInputError(f"the text has {own} words or signs, and the tokenizer knows none of them")
    if len(ids) < 2:
        raise BadInputError(f"the text has 1 token, {names[0]}; expected 2 or more")
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
    notes = _notes(cut, head)
    most = config_of(read_config(path), prefix).whole("max_position_embeddings", "n_positions", "max_seq_len")
    if most is not None and len(names) > most:
        notes.append(f"the text has {len(names)} tokens, more than the {most} that the model takes; none is cut")
    return TextTokens(positions=points, names=names, notes=tuple(notes))


def _notes(cut: Cut, head: HeadWeights) -> list[str]:
    notes = [
        f"tokens start at bare word embeddings, without positions and earlier layers: they are not the states that "
        f"enter layer {head.layer} of the model; tokendyn inspect FOLDER --text writes those to states.safetensors, "
        "which as tokens with normalise=True are the start of this layer"
    ]
    extra = [name for name, added in zip(cut.names, cut.added, strict=True) if added]
    if extra:
        some = listing(extra)
        notes.append(f"the tokenizer added {some}; special=False leaves them out")
    repeated = len(cut.ids) - len(set(cut.ids))
    if repeated:
        notes.append(f"{repeated} tokens repeat earlier ones: without positions they start where those are")
    if cut.unknown:
        notes.append(f"{cut.unknown} of {len(cut.names)} tokens are unknown to the tokenizer")
    if cut.lost:
        notes.append(f"{cut.lost} characters of the text are in no token: the tokenizer drops what it does not know")
    if cut.dropout:
        notes.append(f"the tokenizer's dropout of {cut.dropout:g} is for training and is off")
    return notes
