"""Tokens from files: CSV, npy, npz and safetensors, read without ever executing or unpickling anything."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from tokendyn.data.number_table import read_numbers
from tokendyn.data.tensor_files import open_tensors
from tokendyn.data.text_files import DELIMITERS, ending
from tokendyn.errors import BadInputError, listing
from tokendyn.runs.bounded import MOST_TABLE_BYTES
from tokendyn.runs.numpy_files import open_numpy
from tokendyn.runs.paths import no_file
from tokendyn.shown import ShortRepr

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".npy", ".npz", ".safetensors")


@dataclass(frozen=True, repr=False)
class TokenTable(ShortRepr):
    """Tokens with a name each.

    Attributes
    ----------
    tokens
        ``(tokens, dim)`` float64, finite.
    labels
        Names from a text column, or row numbers from 0.
    name_column
        Which column of the file the names come from, such as ``column 'city'``; None if there is none.
    """

    tokens: Float[np.ndarray, "tokens dim"]
    labels: tuple[str, ...]
    name_column: str | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.tokens, dtype=dtype) if copy else np.asarray(self.tokens, dtype=dtype)


def named_tokens(tokens: Any) -> tuple[Any, tuple[str, ...] | None]:
    """Return tokens and their names: of a table that was read, of a DataFrame or an xarray DataArray; of others None.

    The names of a DataFrame are those of its one column of texts, else its index, unless it only counts.

    Raises
    ------
    BadInputError
        For a DataFrame with several columns of texts, or a DataArray that is not ``(tokens, dim)``.

    Examples
    --------
    >>> import pandas as pd
    >>> from tokendyn.data.tokens import named_tokens
    >>> tokens, names = named_tokens(pd.DataFrame({"x": [1.0, 2.0], "y": [0.0, 1.0]}, index=["a", "b"]))
    >>> tokens.tolist(), names
    ([[1.0, 0.0], [2.0, 1.0]], ('a', 'b'))
    """
    if isinstance(tokens, TokenTable):
        return tokens.tokens, tokens.labels
    kind = type(tokens).__module__.split(".")[0]
    if kind == "xarray":
        if getattr(tokens, "ndim", 0) != 2 or hasattr(tokens, "data_vars"):
            raise BadInputError(f"tokens is an xarray {type(tokens).__name__}; expected a DataArray (tokens, dim)")
        index = tokens.indexes.get(tokens.dims[0])
        return np.asarray(tokens.values), None if index is None else tuple(map(str, index))
    if kind != "pandas" or not hasattr(tokens, "columns"):
        return tokens, None
    texts = [name for name in tokens.columns if getattr(tokens[name].dtype, "kind", "O") not in "iufb"]
    if len(texts) > 1:
        raise BadInputError(
            f"tokens has columns of texts {listing([repr(name) for name in texts])}; one of them may hold names, the "
            "others must be numbers"
        )
    numbers = tokens.drop(columns=texts)
    index = tokens[texts[0]] if texts else None if type(tokens.index).__name__ == "RangeIndex" else tokens.index
    return numbers.to_numpy(dtype=np.float64, na_value=np.nan), None if index is None else tuple(map(str, index))


def read_tokens(path: str | Path, *, array: str | None = None) -> TokenTable:
    """Read a token matrix.

    CSV and TSV (optionally ``.gz``) hold one token a row; a header row is recognised when it holds text above numbers
    and no number, and one column of names becomes the labels. A column holds names if hardly any of its cells (at most
    a tenth) is a number; in any other column each cell must be one. A first column without a name, or called ``id`` or
    ``index``, that holds different whole numbers is taken as names, too. Arrays are ``(tokens, dim)``; in npz and
    safetensors, ``array`` names the one to take when there are several.

    Raises
    ------
    BadInputError
        For a missing, empty, truncated, ragged or non-numeric file; every bad cell is named with line and column.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInputError(f"{path} is not a file: {no_file(path)}; tokens are read from {', '.join(SUFFIXES)}")
    suffix = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    if suffix.lower() not in SUFFIXES:
        raise BadInputError(f"{path}: unknown kind of file {suffix!r}; expected one of {', '.join(SUFFIXES)}")
    try:
        return _read(path, suffix.lower(), array)
    except MemoryError:
        raise BadInputError(f"{path} cannot be read: it does not fit into memory") from None


def _read(path: Path, suffix: str, array: str | None) -> TokenTable:
    if suffix in (".npy", ".npz", ".safetensors"):
        matrix = _read_array(path, array)
        return TokenTable(matrix, tuple(map(str, range(len(matrix)))))
    table = read_numbers(path, DELIMITERS[ending(path)])
    labels = tuple(map(str, range(len(table.values)))) if table.names is None else table.names
    return TokenTable(tokens=table.values, labels=labels, name_column=table.name_column)


def read_matrix(path: str | Path) -> Float[np.ndarray, "rows columns"]:
    """Read a matrix such as ``A`` from any file that :func:`read_tokens` takes."""
    return read_tokens(path).tokens


def _read_array(path: Path, name: str | None) -> np.ndarray:
    if path.suffix.lower() == ".safetensors":
        with open_tensors(path) as stored:
            matrix = stored.read(_choose(path, sorted(stored.names), name), whole=True)
    else:
        with open_numpy(path) as file:
            one_array = path.suffix.lower() == ".npy"
            matrix = file.read("x" if one_array else _choose(path, list(file.shapes), name))
    if matrix.ndim == 1:
        matrix = matrix[:, None]
    if matrix.ndim != 2 or 0 in matrix.shape or matrix.dtype.kind not in "fiub":
        raise BadInputError(
            f"{path} holds {matrix.dtype} of shape {matrix.shape}; expected a real (tokens, dim) matrix"
        )
    if 8 * matrix.size > MOST_TABLE_BYTES:
        size, most = matrix.size / 2**27, MOST_TABLE_BYTES / 2**30
        raise BadInputError(f"{path} holds {size:.0f} GiB of tokens, over {most:.0f}; choose some of them")
    with np.errstate(over="ignore", invalid="ignore"):  # values that only longer floats hold are infinite here
        matrix = matrix.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if bad.size:
        some = listing(bad)
        raise BadInputError(f"{path}: rows {some} hold NaN or infinity; remove or repair them")
    return matrix


def _choose(path: Path, names: list[str], name: str | None) -> str:
    """Return the name of the one array that is meant."""
    if name is None and len(names) == 1:
        return names[0]
    if name is None or name not in names:
        known = listing(sorted(names)) or "none"
        raise BadInputError(f"{path}: name one of its arrays with array=NAME (it holds: {known})")
    return name
