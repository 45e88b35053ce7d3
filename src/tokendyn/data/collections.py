"""Texts from a folder of class folders, a dataset object or two files; texts that repeat, and how to split them."""

import os
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tokendyn.data.labelled_texts import LONGEST_TEXT, LabelledTexts
from tokendyn.data.text_files import no_column
from tokendyn.errors import BadInputError
from tokendyn.runs import bounded
from tokendyn.runs.opened import note_opened


def read_class_folders(path: str | Path, *, only: Collection[str] | None = None) -> LabelledTexts:
    """Read a folder with one folder for each class, one UTF-8 ``.txt`` file for each text.

    Labels are the names of the class folders, in sorted order; files are taken in sorted order. Hidden files and
    folders are passed over.

    Parameters
    ----------
    path
        The folder.
    only
        The classes to read; None for all.

    Raises
    ------
    BadInputError
        If the path is no such folder, a class has no text, or files cannot be read as UTF-8 or are too long;
        all are named.
    """
    path = Path(path)
    if not path.is_dir():
        raise BadInputError(f"{path} is not a folder; expected one folder for each class, with .txt files in it")
    texts: list[str] = []
    labels: list[str] = []
    problems: list[str] = []
    characters = 0
    for folder in sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
        if only is not None and folder.name not in only:
            continue
        files = sorted(folder.glob("*.txt"))
        if not files:
            problems.append(f"{folder.name!r}: the folder of this class holds no .txt file; add texts or remove it")
        for file in files:
            try:
                texts.append(_whole_text(file))
                labels.append(folder.name)
                characters += len(texts[-1])
            except (OSError, UnicodeDecodeError, BadInputError) as error:
                problems.append(f"{str(file.relative_to(path))!r}: {error}")
            if characters > bounded.MOST_TABLE_BYTES:
                raise BadInputError(f"{path} holds more than {bounded.MOST_TABLE_BYTES / 2**30:.0f} GiB; split it")
    if problems:
        raise BadInputError.first_of(str(path), problems, "files")
    if not texts:
        raise BadInputError(f"{path} holds no text; expected one folder for each class, with .txt files in it")
    return LabelledTexts(texts=tuple(texts), labels=tuple(labels), rows=(), source=str(path))


def read_halves(path: str | Path) -> "Split | None":
    """Read a folder with a ``train`` and a ``test`` folder of class folders, such as that of the IMDb reviews.

    Classes that one half lacks, such as the unlabelled texts of IMDb, are passed over. The halves stay as they are
    published: ``repeated`` counts texts of the test half that the training half holds too, and none of them moves.

    Returns
    -------
    Split or None
        None when there are no such two folders.

    Raises
    ------
    BadInputError
        If a half cannot be read, or they have fewer than two classes in common.
    """
    path = Path(path)
    folders = [path / name for name in ("train", "test")]
    if not all(folder.is_dir() for folder in folders):
        return None
    names = [
        {entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")}
        for folder in folders
    ]
    both = names[0] & names[1]
    if len(both) < 2:
        raise BadInputError(
            f"{path}: train holds the classes {', '.join(sorted(names[0])) or 'none'}, test "
            f"{', '.join(sorted(names[1])) or 'none'}; expected two in common, such as pos and neg"
        )
    training, test = (read_class_folders(folder, only=both) for folder in folders)
    return Split(
        training=training, test=test, repeated=len(repeated_texts(training, test)), disputed=0, moved=0, given=True
    )


def _whole_text(file: Path) -> str:
    if not file.is_file():
        raise BadInputError("this is not a file; remove it")
    note_opened(file)
    if file.stat().st_size > LONGEST_TEXT:
        raise BadInputError(f"longer than {LONGEST_TEXT // 2**20} MiB; cut it")
    return file.read_bytes().decode("utf-8-sig")


def from_dataset(dataset: Iterable[Any], text: str = "text", label: str | None = "label") -> LabelledTexts:
    """Take texts from a ``datasets.Dataset`` or any iterable of records (mappings).

    A label that the dataset's features name (``ClassLabel``) becomes that name; other labels become their string.

    Raises
    ------
    BadInputError
        If records lack a column or hold a text that is not a string; rows are named, the first is 1.
    """
    names = _label_names(dataset, label)
    texts: list[str] = []
    labels: list[str] = []
    rows: list[int] = []
    problems: list[str] = []
    for row, record in enumerate(dataset, start=1):
        problem = _problem(record, text, label, names)
        if problem:
            problems.append(f"row {row}: {problem}")
            continue
        texts.append(record[text])
        rows.append(row)
        if label is not None:
            value = record[label]
            labels.append(names[int(value)] if names is not None and _is_whole(value) else str(value))
    if problems:
        raise BadInputError.first_of("the dataset", problems, "rows")
    if not texts:
        raise BadInputError("the dataset holds no rows; expected at least one text")
    return LabelledTexts(
        texts=tuple(texts), labels=None if label is None else tuple(labels), rows=tuple(rows), source="dataset"
    )


def _label_names(dataset: Iterable[Any], label: str | None) -> list[str] | None:
    """Return the names that a ``datasets`` object gives to its integer labels."""
    features = getattr(dataset, "features", None)
    if label is None or features is None or not hasattr(features, "get"):
        return None
    names = getattr(features.get(label), "names", None)
    return None if names is None else list(names)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer)


def _problem(record: Any, text: str, label: str | None, names: list[str] | None) -> str:
    """Return the faults of a record; empty without faults."""
    if not hasattr(record, "keys"):
        return f"{type(record).__name__}, expected a record with named columns"
    missing = [name for name in (text, label) if name is not None and name not in record]
    if missing:
        return no_column(missing[0], record.keys())
    if not isinstance(record[text], str):
        return f"{text!r} is {type(record[text]).__name__}, expected a string"
    return "" if label is None else _label_problem(record[label], label, names)


def _label_problem(value: Any, label: str, names: list[str] | None) -> str:
    """Return the faults of a label; empty without faults."""
    if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
        return f"{label!r} is empty; label the row or remove it"
    if not isinstance(value, str | bool | int | float | np.generic):
        return f"{label!r} is {type(value).__name__}, expected a label"
    if not str(value).strip():
        return f"{label!r} is empty; label the row or remove it"
    if names is not None and _is_whole(value) and not 0 <= int(value) < len(names):
        # -1 is what datasets give to rows without a label.
        return f"{label!r} is {value}, and the classes are 0 to {len(names) - 1}; remove rows without a label"
    return ""


def movie_sentences(folder: str | Path | None = None) -> LabelledTexts:
    """Return the 5,331 positive and 5,331 negative film sentences of Pang and Lee (2005), which do not ship.

    Parameters
    ----------
    folder
        Folder that holds ``movie_sentences/rt-polarity.pos`` and ``.neg`` (UTF-8, one sentence a line); by
        default the environment variable TOKENDYN_DATA.

    Raises
    ------
    BadInputError
        If the variable is not set or a file is not there; the message says what to do.
    """
    folder = folder or os.environ.get("TOKENDYN_DATA") or None
    if folder is None:
        raise BadInputError(
            "the film sentences do not ship with tokendyn: set TOKENDYN_DATA to a folder that holds "
            "movie_sentences/rt-polarity.pos and rt-polarity.neg, or use small_reviews()"
        )
    texts: list[str] = []
    labels: list[str] = []
    for label in ("pos", "neg"):
        path = Path(folder) / "movie_sentences" / f"rt-polarity.{label}"
        note_opened(path)
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise BadInputError(f"{path} cannot be read ({error}); TOKENDYN_DATA must name its folder") from None
        kept = [line.strip() for line in lines if line.strip()]
        texts += kept
        labels += [label] * len(kept)
    return LabelledTexts(texts=tuple(texts), labels=tuple(labels), rows=(), source="movie sentences (rt-polarity)")


def repeated_texts(one: LabelledTexts, other: LabelledTexts) -> list[tuple[int, int]]:
    """Return the pairs of places whose texts are the same in both collections, up to case and white space.

    A text of the training part that occurs in the test part makes the measured accuracy too good.
    """
    first: dict[str, int] = {}
    for row, text in enumerate(one.texts):
        first.setdefault(_folded(text), row)
    folded = ((first.get(_folded(text)), row) for row, text in enumerate(other.texts))
    return [(mate, row) for mate, row in folded if mate is not None]


@dataclass(frozen=True)
class Split:
    """Two parts of a collection that share no text.

    Attributes
    ----------
    training, test
        The parts, each in the order of the collection.
    repeated
        How many texts repeat an earlier one, up to case and white space.
    disputed
        How many different texts occur with different labels.
    moved
        How many texts changed sides because another one like them stands there.
    given
        Whether the sides were given and not drawn: ``repeated`` then counts the texts of the test part that the
        training part holds too.
    """

    training: LabelledTexts
    test: LabelledTexts
    repeated: int
    disputed: int
    moved: int
    given: bool = False

    def describe(self) -> list[str]:
        """Return which texts occur more than once, and what the split did about them; nothing where none does."""
        if not self.repeated:
            return []
        if self.given:
            return [f"{self.repeated} test texts are in the training half too; they stay, as the halves are given"]
        moved = f"; {self.moved} changed sides so that no text is in both parts" if len(self.test) else ""
        lines = [f"{self.repeated} texts repeat an earlier one{moved}"]
        if self.disputed:
            lines.append(f"{self.disputed} different texts occur with different labels; look at them")
        return lines


def split_texts(data: LabelledTexts, fraction: float, seed: int) -> Split:
    """Hold out a random share of the texts; texts that are the same stay on one side.

    Texts are drawn at random; of those that are the same, up to case and white space, the one drawn first
    decides the side of all. So the share is met nearly when texts repeat, and exactly when none does.

    Parameters
    ----------
    data
        The texts.
    fraction
        Share to hold out, in [0, 1).
    seed
        Seed of the draw.

    Raises
    ------
    BadInputError
        If the share is out of range, or too few texts differ for two sides.
    """
    if not 0 <= fraction < 1:
        raise BadInputError(f"the share to hold out must be in [0, 1), got {fraction}")
    order = np.random.default_rng(seed).permutation(len(data))
    held = round(fraction * len(data))
    drawn = np.zeros(len(data), dtype=bool)
    drawn[order[:held]] = True
    folded = [_folded(text) for text in data.texts]
    side: dict[str, bool] = {}
    for row in order:
        side.setdefault(folded[row], bool(drawn[row]))
    test = np.array([side[text] for text in folded], dtype=bool)
    if held and (test.all() or not test.any()):
        raise BadInputError(
            f"{len(data)} texts hold only {len(side)} that differ: too few to hold out {fraction:.0%} of them; "
            "give more texts, or hold out none"
        )
    labels: dict[str, set[str]] = {}
    for text, label in zip(folded, data.labels or (), strict=False):
        labels.setdefault(text, set()).add(label)
    return Split(
        training=data.take(np.flatnonzero(~test)),
        test=data.take(np.flatnonzero(test)),
        repeated=len(data) - len(side),
        disputed=sum(len(classes) > 1 for classes in labels.values()),
        moved=int(np.sum(test != drawn)),
    )


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())
