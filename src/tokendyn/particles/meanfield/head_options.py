"""Options that take matrices and tokens from a trained model: one attention head, the embeddings of a text."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tokendyn.errors import BadInputError
from tokendyn.runs.bounded import read_text
from tokendyn.runs.opened import note_opened

if TYPE_CHECKING:
    from tokendyn.data.placed_words import Words
    from tokendyn.data.weights import HeadWeights


@dataclass(frozen=True, kw_only=True)
class HeadOptions:
    """Matrices of one attention head of a trained model.

    Attributes
    ----------
    weights
        Safetensors file of a model, or its folder, in place of ``value`` and ``score``: reads Q, K, V, O of one head.
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
    prefix
        Start of the names of the tensors, for models of several parts, such as model.encoder.
    theory_only
        Report the theory of the head, and run nothing.
    text
        A text, or a file with one: start from the embeddings of its words (model of sentiment train as ``tokens``,
        or ``weights`` with tokenizer.json beside it). They are those of the bare words, not the states that enter the
        layer: to start from these, give them as ``tokens``.
    special_tokens
        Whether a text gets the tokens that the tokenizer adds, such as [CLS] and [SEP].
    """

    weights: Path | None = None
    layer: int = 0
    head: int = 0
    heads: int | None = None
    key_value_heads: int | None = None
    mapping: Path | None = None
    prefix: str = ""
    theory_only: bool = False
    text: str | None = None
    special_tokens: bool = True

    def read_head_weights(self) -> "HeadWeights | None":
        """Return the head; None when none is requested."""
        from tokendyn.data.weights import read_head

        if self.weights is not None:
            return read_head(
                self.weights, self.layer, self.head, heads=self.heads, key_value_heads=self.key_value_heads,
                mapping=self.mapping, prefix=self.prefix,
            )  # fmt: skip
        extra = [name for name in ("layer", "head", "heads", "key_value_heads", "mapping", "prefix", "theory_only")
                 if getattr(self, name) not in (None, 0, False, "")]  # fmt: skip
        if extra:
            raise BadInputError(f"`{extra[0]}` belongs to `weights`, which is missing")
        return None

    def read_words(self, model: Path | None, head: "HeadWeights | None" = None) -> "Words | None":
        """Return the embeddings of a text or of a vocabulary, not yet on the sphere; None without either."""
        from tokendyn.data.model_text import read_text_tokens
        from tokendyn.data.placed_words import Words, holds_words, read_placed_words

        if not self.special_tokens and (self.text is None or self.weights is None):
            raise BadInputError("`special_tokens=False` belongs to `weights` with `text`, which is missing")
        if model is not None and holds_words(model):
            return read_placed_words(model, self._written())
        if self.text is None:
            return None
        if self.weights is None or head is None or model is not None:
            raise BadInputError(
                "`text` needs a model: the folder of a trained classifier as `tokens`, or `weights` with tokenizer.json"
            )
        text = self._written() or ""
        tokens = read_text_tokens(self.weights, text, head, special=self.special_tokens, prefix=self.prefix)
        return Words(points=tokens.positions, weights=None, names=tokens.names, notes=tokens.notes)

    def _written(self) -> str | None:
        """Return the text itself."""
        if self.text is None or len(self.text) > 1024 or "\n" in self.text or "\0" in self.text:
            return self.text
        path = Path(self.text)
        if not path.is_file():
            if path.suffix.lower() in _TEXT_FILES and not any(map(str.isspace, self.text)):
                raise BadInputError(f"`text={self.text}` names a file that is missing; give its place, or the text")
            return self.text
        note_opened(path)
        return read_text(path)


#: Ends of words that name a file.
_TEXT_FILES = (".txt", ".md", ".rst")
