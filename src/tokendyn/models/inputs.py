"""Inputs of a model, cut into tokens some at a time: texts, files of them, numbers of tokens, and images."""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tokendyn.errors import BadInputError, listing
from tokendyn.models.measures import LEAST_TOKENS
from tokendyn.models.nulls import MOST_SOURCES
from tokendyn.models.source import Encoded, Model

#: Texts that are cut into tokens at a time, and their characters.
_AT_ONCE, _CHARACTERS = 256, 2**20
#: Inputs at the start that are kept: mixed texts are drawn from them.
SAMPLE = MOST_SOURCES


@dataclass(frozen=True)
class Survey:
    """Facts about all inputs from one pass, before any of them is run.

    Attributes
    ----------
    lengths
        Number of tokens of each; 0 for an image, where the model sets it.
    names
        Tokens of the first one.
    cut, longest
        Number of texts cut, and for the longest the numbers of tokens kept and left out.
    sample
        The first ones.
    digest
        Of all of them.
    """

    lengths: tuple[int, ...]
    names: tuple[str, ...]
    cut: int
    longest: tuple[int, int]
    sample: tuple[Encoded, ...]
    digest: bytes

    @property
    def are_texts(self) -> bool:
        """Whether the inputs are rows of tokens."""
        return self.sample[0].ids.ndim == 1


class Inputs:
    """Inputs of a model; :meth:`each` can be called more than once, and holds some at a time.

    Parameters
    ----------
    raw
        Returns the inputs as they were given, some at a time, each time anew.
    encode
        Turns some of them into tokens.
    is_empty
        Whether an input, as it was given, holds nothing.
    """

    def __init__(
        self,
        raw: Callable[[], Iterable[Sequence[Any]]],
        encode: Callable[[Sequence[Any]], list[Encoded]],
        is_empty: Callable[[Any], bool] = lambda _: False,
    ) -> None:
        self._raw, self._encode, self._is_empty = raw, encode, is_empty
        self._few: list[Encoded] | None = None

    def each(self) -> Iterator[Encoded]:
        """Yield every input."""
        if self._few is not None:
            yield from self._few
            return
        for part in self._raw():
            yield from self._encode(part)

    def survey(self) -> Survey:
        """Look at all inputs once, and refuse them if one cannot be measured.

        Raises
        ------
        BadInputError
            If there are none, or some are empty or too short: the message lists them.
        """
        empty: list[int] = []
        lengths: list[int] = []
        cut, longest, kept = 0, (0, 0), list[Encoded]()
        digest = hashlib.sha256()
        for part in self._raw():
            empty += [number for number, entry in enumerate(part, len(lengths)) if self._is_empty(entry)]
            if empty:
                lengths += [0] * len(part)
                continue
            for entry in self._encode(part):
                digest.update(repr((entry.ids.shape, entry.ids.dtype.str)).encode() + entry.ids.tobytes())
                lengths.append(len(entry.ids) if entry.ids.ndim == 1 else 0)
                cut += bool(entry.left_out)
                longest = max(longest, (len(entry.ids), entry.left_out), key=lambda pair: pair[1])
                if len(kept) < (_AT_ONCE if entry.ids.ndim == 1 else SAMPLE):
                    kept.append(entry)
        _check(lengths, empty, are_texts=bool(kept) and kept[0].ids.ndim == 1)
        if len(lengths) <= len(kept):
            self._few = kept
        return Survey(
            lengths=tuple(lengths), names=kept[0].names, cut=cut, longest=longest, sample=tuple(kept[:SAMPLE]),
            digest=digest.digest(),
        )  # fmt: skip


def _check(lengths: list[int], empty: list[int], *, are_texts: bool) -> None:
    """Refuse inputs that cannot be measured."""
    if not lengths:
        raise BadInputError("there are no texts; give one")
    if empty:
        where = "the text is empty" if len(lengths) == 1 else f"texts {listing(empty)} are empty"
        raise BadInputError(f"{where}; give texts with words")
    short = [number for number, length in enumerate(lengths) if length < LEAST_TOKENS] if are_texts else []
    if short:
        more = f" ({len(short)} of {len(lengths)} texts have too few)" if len(short) > 1 else ""
        raise BadInputError(
            f"text {short[0]} has {lengths[short[0]]} tokens{more}; expected {LEAST_TOKENS} or more, since the first "
            "one is left out"
        )


def inputs_of(model: Model, texts: Any, tokens: int, column: str = "text") -> Inputs:
    """Return the inputs of a model.

    Parameters
    ----------
    model
        The model.
    texts
        A text, several, a file of them; numbers of tokens; pixels. Files of images: :mod:`tokendyn.models.images`.
    tokens
        Tokens of a text at most.
    column
        Of a file.

    Raises
    ------
    BadInputError
        For inputs of another kind.
    """
    if texts is None:
        raise BadInputError("texts is None; give one text or several")
    if isinstance(texts, Path):
        return Inputs(lambda: _file_parts(texts, column), lambda part: model.encode(part, tokens), _empty_text)
    single = isinstance(texts, str) or (isinstance(texts, np.ndarray) and texts.ndim in (1, 3))
    several: list[Any] = [texts] if single else list(texts)
    if any(isinstance(entry, str) for entry in several):
        if not all(isinstance(entry, str) for entry in several):
            raise BadInputError("texts holds texts and others; give texts alone, or numbers of tokens alone")
        return Inputs(lambda: _parts(several), lambda part: model.encode(part, tokens), _empty_text)
    return Inputs(lambda: [several] if several else [], lambda part: [_given(model, entry, tokens) for entry in part])


def _empty_text(text: str) -> bool:
    return not text.strip()


def _parts(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yield texts, some at a time."""
    part: list[str] = []
    characters = 0
    for text in texts:
        if part and (len(part) == _AT_ONCE or characters + len(text) > _CHARACTERS):
            yield part
            part, characters = [], 0
        part.append(text)
        characters += len(text)
    if part:
        yield part


def _file_parts(path: Path, column: str) -> Iterator[list[str]]:
    """Yield the texts of a file, some at a time."""
    from tokendyn.data.texts import read_texts, stream_texts

    if path.is_dir():
        yield from _parts(read_texts(path, column, None).texts)
        return
    parts = stream_texts(path, column, None, part=_AT_ONCE)
    yield from _parts(itertools.chain.from_iterable(part.texts for part in parts))


def _given(model: Model, entry: Any, tokens: int) -> Encoded:
    """Return an input that is given as numbers."""
    ids = np.asarray(entry)
    if ids.dtype.kind not in "iuf" or ids.ndim not in (1, 3) or (ids.ndim == 1 and ids.dtype.kind == "f"):
        raise BadInputError(
            f"an input is {type(entry).__name__} of {ids.dtype} and shape {ids.shape}; expected a text, whole numbers "
            "of tokens (tokens,), or pixels (channels, height, width)"
        )
    if ids.ndim == 3:
        return Encoded(ids=ids, names=(), added=())
    numbers = int(getattr(model.config, "vocab_size", ids.max(initial=0) + 1))
    if ids.min(initial=0) < 0 or ids.max(initial=0) >= numbers:
        raise BadInputError(
            f"numbers of tokens lie between {ids.min()} and {ids.max()}; expected 0 to {numbers - 1}, those of the "
            "model"
        )
    kept = ids[: min(tokens, model.most_tokens or tokens)]
    return Encoded(
        ids=kept, names=tuple(map(str, kept)), added=(False,) * len(kept), left_out=max(len(ids) - len(kept), 0)
    )
