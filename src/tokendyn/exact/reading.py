"""Files of sequences for a transformer, and messages in terms of the file."""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokendyn.errors import BadInputError, TokendynError

if TYPE_CHECKING:
    from tokendyn.data.sequences import LabelledSequences
    from tokendyn.exact.transformer import ExactTransformer


@dataclasses.dataclass(frozen=True, kw_only=True)
class SequenceFile:
    """A file of sequences, and the options for reading it.

    Attributes
    ----------
    path
        JSON lines, CSV or TSV with coordinates, or with ``text`` a file of texts.
    label
        Name of the label.
    text
        Name of the column of texts whose words are the tokens; None for a file of coordinates.
    hash_dim
        Coordinates of a hashed word.
    embedding
        File with a vector for each word, in place of hashing.
    keep_case, keep_punctuation
        Whether capital letters distinguish words, and whether punctuation marks are words.
    """

    path: Path
    label: str = "label"
    text: str | None = None
    hash_dim: int = 3
    embedding: Path | None = None
    keep_case: bool = False
    keep_punctuation: bool = False

    @classmethod
    def as_built(
        cls, path: Path, model: "ExactTransformer", *, text: str | None = None, embedding: Path | None = None
    ) -> "SequenceFile":
        """Return a file that is read in the same way as the one that a transformer was built from.

        Parameters
        ----------
        path
            The file.
        model
            The transformer; it remembers the settings, and whether there was a file of word vectors, not the vectors.
        text
            Name of the column of texts, if not the same.
        embedding
            The file of word vectors, if there was one.

        Raises
        ------
        BadInputError
            If a file of word vectors is missing, or given in vain.
        """
        settings = dict(model.settings.get("input") or {"kind": "tokens"})
        label = str(settings.get("label", "label"))
        if settings["kind"] == "tokens":
            return cls(path=path, label=label)
        if settings["embedding"] != (embedding is not None):
            raise BadInputError(
                "the model was built with an embedding file; give the same one with `embedding`"
                if settings["embedding"]
                else "the model was built with hashed words; leave `embedding` out"
            )
        return cls(
            path=path, label=label, text=text or settings["text"], hash_dim=settings["hash_dim"], embedding=embedding,
            keep_case=settings.get("keep_case", False), keep_punctuation=settings.get("keep_punctuation", False),
        )  # fmt: skip

    def settings(self) -> dict[str, Any]:
        """Return the options for reading the file, as they are stored in a model."""
        if self.text is None:
            return {"kind": "tokens", "label": self.label}
        return {
            "kind": "text", "label": self.label, "text": self.text, "hash_dim": self.hash_dim,
            "embedding": self.embedding is not None, "keep_case": self.keep_case,
            "keep_punctuation": self.keep_punctuation,
        }  # fmt: skip

    def read(self, label: str | None, *, allow_empty: bool = False) -> "LabelledSequences":
        """Read the sequences.

        Parameters
        ----------
        label
            Name of the label; None where labels are not needed.
        allow_empty
            Keep texts without a word, as sequences without a token.
        """
        from tokendyn.data.sequences import read_sequences, read_text_sequences

        if self.text is None:
            return read_sequences(self.path, label=label, unread=self.label)
        return read_text_sequences(
            self.path, text=self.text, label=label, hash_dim=self.hash_dim, embedding=self.embedding,
            keep_case=self.keep_case, keep_punctuation=self.keep_punctuation, allow_empty=allow_empty,
        )  # fmt: skip

    @contextmanager
    def naming(self, ids: Sequence[str]) -> Iterator[None]:
        """Translate errors of the library: ids for numbers, and remedies for texts with the same words."""
        from tokendyn.exact.errors import ContradictoryLabelsError

        with named(ids):
            try:
                yield
            except ContradictoryLabelsError as error:
                remedies = self.remedies((error.first, error.second))
                error.args = ("; ".join([str(error), *remedies]), *error.args[1:])
                raise

    def remedies(self, pair: tuple[int, int]) -> list[str]:
        """Return the options that would distinguish two texts with the same words."""
        helpful = []
        for name in ("keep_case", "keep_punctuation") if self.text is not None else ():
            changes: Mapping[str, Any] = {name: True}
            words = dataclasses.replace(self, **changes).read(None, allow_empty=True).words or ()
            if set(words[pair[0]]) != set(words[pair[1]]):
                helpful.append(f"or `{name}=True`, which tells them apart")
        return helpful


@contextmanager
def named(ids: Sequence[str]) -> Iterator[None]:
    """Translate errors of the library: ids of sequences in place of their numbers."""
    try:
        yield
    except TokendynError as error:
        error.args = (with_ids(str(error), ids), *error.args[1:])
        raise


def with_ids(message: str, ids: Sequence[str]) -> str:
    """Return a message with the ids of sequences in place of their numbers."""

    def renamed(match: re.Match[str]) -> str:
        numbers = [int(match["first"]), *([int(match["second"])] if match["second"] else [])]
        if max(numbers) >= len(ids):
            return match.group()
        return match["what"] + " " + " and ".join(repr(ids[number]) for number in numbers)

    return re.sub(r"\b(?P<what>sequences?) (?P<first>\d+)(?: and (?P<second>\d+))?(?= |,|$)", renamed, message)
