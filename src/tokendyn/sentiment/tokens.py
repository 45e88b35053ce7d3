"""Tokens of a text: words, n-grams, negated words, or the tokens of a custom tokeniser."""

import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from tokendyn.errors import BadInputError
from tokendyn.sentiment.tokenise import BREAKS, MARKUP_STARTS, Lexicon, pattern, word_of

Found = tuple[str, int, int]
NEGATED = "not_"
NEGATORS = frozenset({"not", "no", "never", "cannot", "nor", "neither", "without", "hardly", "barely", "scarcely"})


@dataclass(frozen=True)
class TokenRule:
    """The rule that splits a text into tokens.

    Attributes
    ----------
    ngrams
        Largest number of adjacent words in a token: with 2, pairs such as "not bad" are tokens as well as single words.
        They do not cross markup, ``. ! ? ; :`` or similar marks.
    negation
        A word between a negator and the next such mark becomes a different token: "not_good". Negators are not, no,
        never, cannot, nor, neither, without, hardly, barely, scarcely and all words in n't; they stay unchanged.
        n-grams contain the words as written.
    tokeniser
        None for :func:`tokendyn.sentiment.find_words`; or a callable from a text to (token, start, end)
        triples; or an object whose ``encode(text)`` has ``tokens`` and ``offsets``, such as a Tokenizer of
        Hugging Face. Tokens that consist of such marks end a sentence.
    modifiers
        Whether negators and intensifiers scale the contributions of the words behind them
        (:mod:`tokendyn.sentiment.modifiers`); this changes weights of tokens, but no token.
    """

    ngrams: int = 1
    negation: bool = False
    tokeniser: Any = None
    modifiers: bool = False

    @property
    def needs_sentences(self) -> bool:
        """Whether the ends of sentences matter."""
        return self.ngrams > 1 or self.negation or self.modifiers


@dataclass(frozen=True)
class Units:
    """Many texts as one run of numbered words; -1 ends a sentence, and each text.

    Attributes
    ----------
    numbers, rows
        The words, and the text of each word.
    spans
        First character and end of each word in its text; None if not requested.
    """

    numbers: Int[np.ndarray, " units"]
    rows: Int[np.ndarray, " units"]
    spans: Int[np.ndarray, "units 2"] | None


def find_tokens(text: str, rule: TokenRule) -> list[Found]:
    """Return all tokens of a text, each as (token, start, end), by place and length."""
    tokens: list[Found] = []
    for sentence in _sentences(text, rule):
        negated = False
        for first, (word, start, end) in enumerate(sentence):
            negator = rule.negation and is_negator(word)
            tokens.append((NEGATED + word if negated and not negator else word, start, end))
            negated = negated or negator
            for last in range(first + 2, min(first + rule.ngrams, len(sentence)) + 1):
                run = sentence[first:last]
                tokens.append((" ".join(part for part, _, _ in run), start, run[-1][2]))
    return tokens


def is_negator(word: str) -> bool:
    """Return whether a word negates what follows it."""
    return word in NEGATORS or word.endswith("n't")


def read_units(texts: Sequence[str], rule: TokenRule, lexicon: Lexicon, *, spans: bool = False) -> Units:
    """Encode many texts as numbers of the lexicon, which learns new words unless it is fixed."""
    numbers, starts, lengths, sizes = array("i"), array("i"), array("i"), []
    search = pattern(breaks=rule.needs_sentences)
    number_of = lexicon.__getitem__
    for text in texts:
        before = len(numbers)
        if rule.tokeniser is None:
            surfaces = search.findall(text)
            numbers.extend(map(number_of, surfaces))
            if spans:
                starts.extend(map(re.Match.start, search.finditer(text)))
                lengths.extend(map(len, surfaces))
        else:
            words = list(_marked(text, rule))
            numbers.extend(lexicon.number(word) if word else -1 for word, _, _ in words)
            if spans:
                starts.extend(start for _, start, _ in words)
                lengths.extend(end - start for _, start, end in words)
        numbers.append(-1)
        if spans:
            starts.append(0)
            lengths.append(0)
        sizes.append(len(numbers) - before)
    flat = np.array(numbers, dtype=np.int64)
    bounds = np.stack([starts, np.add(starts, lengths)], axis=1).astype(np.int64) if spans else None
    return Units(numbers=flat, rows=np.repeat(np.arange(len(sizes)), sizes), spans=bounds)


def negated(numbers: Int[np.ndarray, " units"], negator: Bool[np.ndarray, " words"]) -> Bool[np.ndarray, " units"]:
    """Return which words follow a negator in their sentence; ``negator`` marks the word numbers of negators."""
    order = np.arange(len(numbers))
    own = np.append(negator, False)[numbers]
    # A word is negated if the last negator before it is nearer than the last sentence end.
    last_end = np.maximum.accumulate(np.where(numbers < 0, order, -1))
    last_negator = np.maximum.accumulate(np.where(own, order, -1))
    return (last_negator > last_end) & ~own & (numbers >= 0)


def _sentences(text: str, rule: TokenRule) -> Iterator[list[Found]]:
    """Yield the runs of words that n-grams do not cross."""
    run: list[Found] = []
    for word in _marked(text, rule):
        if word[0]:
            run.append(word)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _marked(text: str, rule: TokenRule) -> Iterator[Found]:
    """Yield the words of a text, and an empty word at the end of each sentence."""
    if rule.tokeniser is None:
        for match in pattern(breaks=rule.needs_sentences).finditer(text):
            surface = match[0]
            yield ("" if surface[0] in MARKUP_STARTS + BREAKS else word_of(surface), *match.span())
        return
    for token, start, end in checked(text, rule):
        ends = rule.needs_sentences and not token.strip(BREAKS)
        if ends:
            yield "", 0, 0
        yield token, start, end
        if ends:
            yield "", 0, 0


def checked(text: str, rule: TokenRule) -> list[Found]:
    """Return the tokens of a text by the tokeniser of a rule.

    Raises
    ------
    BadInputError
        If the tokeniser fails on the text, returns anything but tokens with their positions in it, or returns a token
        with a blank when n-grams are required.
    """
    try:
        items = _run(rule.tokeniser, text)
    except BadInputError:
        raise
    except Exception as error:
        raise BadInputError(f"the tokeniser fails on {text[:40]!r}: {type(error).__name__}: {error}") from error
    problems = [
        f"token {number} of {text[:40]!r} is {item!r}"[:200]
        for number, item in enumerate(items)
        if not _fits(item, text)
    ]
    if problems:
        expected = "expected (token, start, end) with a non-empty string and 0 <= start < end <= length of the text"
        raise BadInputError.all_of("tokeniser", [*problems[:5], expected])
    tokens = [(str(token), int(start), int(end)) for token, start, end in items]
    if rule.ngrams > 1 and any(" " in token for token, _, _ in tokens):
        raise BadInputError("the tokeniser gives tokens with a blank; n-grams are written with blanks, so use ngrams=1")
    return tokens


def _run(tokeniser: Any, text: str) -> list[Any]:
    """Return the triples of a callable, or of a Hugging Face tokeniser without its special tokens."""
    if hasattr(tokeniser, "encode") and not isinstance(tokeniser, str):
        encoding = tokeniser.encode(text)
        if not (hasattr(encoding, "tokens") and hasattr(encoding, "offsets")):
            raise BadInputError("the tokeniser's encode(text) must give an object with tokens and offsets")
        pairs = zip(encoding.tokens, encoding.offsets, strict=True)
        return [(token, *offset) for token, offset in pairs if offset[0] != offset[1]]
    call: Callable[[str], Iterable[Any]] = tokeniser
    return list(call(text))


def _fits(item: Any, text: str) -> bool:
    """Return whether an item is a token with its position."""
    if not isinstance(item, tuple | list) or len(item) != 3:
        return False
    token, start, end = item
    whole = all(isinstance(offset, int | np.integer) and not isinstance(offset, bool) for offset in (start, end))
    return isinstance(token, str) and token != "" and whole and 0 <= start < end <= len(text)


def is_tokeniser(value: Any) -> bool:
    """Return whether a value can be a tokeniser at all."""
    return value is None or callable(value) or (hasattr(value, "encode") and not isinstance(value, str | re.Pattern))
