"""Options and starts that come from a trained model: one attention head, the embeddings of a text."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cyclopts import Parameter

from tokendyn.data.weights import HeadWeights, read_embedding, read_head
from tokendyn.errors import BadInputError
from tokendyn.runs.files import schema_of

#: Tokens, their weights (None for equal ones), their names.
Words = tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]


@Parameter(name="*")
@dataclass(frozen=True)
class HeadOptions:
    """Matrices of one attention head of a trained model.

    Attributes
    ----------
    weights
        Safetensors file of a model, or its folder, in place of --value and --score: reads Q, K, V and O of one head.
    layer
        Its layer, from 0.
    head
        Its head, from 0.
    heads
        Number of heads, by default that of config.json beside the file.
    key_value_heads
        Number of key and value heads, where several query heads share them.
    mapping
        TOML file with the names of the tensors, for models of other families.
    theory_only
        Report what the theory says of the head, and run nothing.
    text
        A text, or a file with one: start from the embeddings of its words (model folder of sentiment train as TOKENS,
        or --weights with tokenizer.json beside it).
    """

    weights: Path | None = None
    layer: int = 0
    head: int = 0
    heads: int | None = None
    key_value_heads: int | None = None
    mapping: Path | None = None
    theory_only: bool = False
    text: str | None = None

    def read(self) -> HeadWeights | None:
        """Return the head; None when none is asked for."""
        if self.weights is not None:
            return read_head(
                self.weights, self.layer, self.head, heads=self.heads, key_value_heads=self.key_value_heads,
                mapping=self.mapping,
            )  # fmt: skip
        given = [name for name in ("layer", "head", "heads", "key_value_heads", "mapping", "theory_only")
                 if getattr(self, name) not in (None, 0, False)]  # fmt: skip
        if given:
            raise BadInputError(f"--{given[0].replace('_', '-')} belongs to --weights, which is missing")
        return None

    def words(self, model: Path | None) -> Words | None:
        """Return the embeddings of a text or of a vocabulary, not yet on the sphere; None when neither is meant."""
        if model is not None and is_classifier(model):
            return _classifier_words(model, self._written())
        if self.text is None:
            return None
        if self.weights is None or model is not None:
            raise BadInputError(
                "--text needs a model: the folder of a trained classifier as TOKENS, or --weights with tokenizer.json"
            )
        return _model_words(self.weights, self._written() or "")

    def _written(self) -> str | None:
        """Return the text itself."""
        if self.text is None or len(self.text) > 1024 or "\n" in self.text or not Path(self.text).is_file():
            return self.text
        try:
            return Path(self.text).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadInputError(f"--text {self.text} cannot be read as UTF-8 text ({error})") from None


def is_classifier(path: Path) -> bool:
    """Return whether a path is the model folder of ``tokendyn sentiment train``."""
    return path.is_dir() and schema_of(path / "model.json") == "tokendyn-sentiment"


def _classifier_words(folder: Path, text: str | None) -> Words:
    """Return the words of a text, or the whole vocabulary, as a trained classifier places them."""
    from tokendyn.sentiment import load

    model = load(folder)
    if text is None:
        points, weights, names = model.embedding_, np.ones(len(model.embedding_)), (*model.words_, "neutral")
    else:
        found = model.tokens_of(text)
        points, weights, names = found.positions, found.weights, found.words
    points, weights = np.asarray(points, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    kept = np.linalg.norm(points, axis=1) > 0  # the neutral pole lies at the origin and has no direction
    if kept.sum() < 2:
        raise BadInputError(f"the classifier of {folder} knows {int(kept.sum())} words of the text; expected 2 or more")
    words = tuple(name for name, keep in zip(names, kept, strict=False) if keep)
    return points[kept], weights[kept] / weights[kept].sum(), words


def _model_words(path: Path, text: str) -> Words:
    """Return the embeddings of the tokens of a text, each once, weighted by how often it occurs."""
    tokeniser = (path if path.is_dir() else path.parent) / "tokenizer.json"
    if not tokeniser.is_file():
        raise BadInputError(f"--text needs {tokeniser}, the tokeniser of the model, which is missing")
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise BadInputError("--text with --weights needs the package tokenizers: pip install tokenizers") from None
    try:
        encoded = Tokenizer.from_file(str(tokeniser)).encode(text)
    except Exception as error:  # the library raises bare Exception
        raise BadInputError(f"{tokeniser} is not a whole tokeniser ({error})") from None
    counts = Counter(zip(encoded.ids, encoded.tokens, strict=True))
    table = read_embedding(path)
    numbers = np.array([number for number, _ in counts], dtype=np.int64)
    if len(numbers) < 2 or numbers.max() >= len(table):
        raise BadInputError(
            f"the text has {len(numbers)} different tokens, numbers up to {numbers.max(initial=0)}; expected 2 "
            f"or more, below the {len(table)} embeddings of {path}"
        )
    weights = np.array(list(counts.values()), dtype=np.float64)
    return table[numbers], weights / weights.sum(), tuple(word for _, word in counts)
