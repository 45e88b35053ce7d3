"""What a path is when it is not the file that was expected: the words for a message."""

from pathlib import Path

from tokendyn.errors import nearest

#: Names of a folder that are looked at for one that was meant.
_MOST_NAMES = 10_000
#: Separators that the ending of a name stands for.
_NAMED = {"\t": "tabs; let its name end in .tsv", ",": "commas; let its name end in .csv"}
#: How files of other programs begin, and what they are.
_BEGINNINGS = (
    (b"\x89PNG", "a PNG picture"), (b"GIF8", "a GIF picture"), (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF", "a PDF document"), (b"PK\x03\x04", "a ZIP archive, as Excel (.xlsx) and LibreOffice (.ods) write tables"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file (.xls, .doc)"), (b"\x89HDF", "an HDF5 file (.h5, .nc)"),
    (b"CDF", "a netCDF file (.nc)"), (b"PAR1", "a Parquet file (.parquet)"), (b"\x93NUMPY", "a numpy file (.npy)"),
    (b"SQLite format 3", "an SQLite database"), (b"{\\rtf", "a document in rich text"), (b"\x80\x04\x95", "a pickle"),
    (b"<!doctype html", "an HTML page"), (b"<html", "an HTML page"), (b"<?xml", "an XML document"),
)  # fmt: skip


def no_file(path: Path) -> str:
    """Return why a path is not a file, and the name that was probably meant.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from tokendyn.runs.paths import no_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "tokens.csv").write_text("1,2")
    ...     no_file(Path(folder, "tokens.cvs")).replace(folder, "FOLDER")
    'it does not exist (did you mean FOLDER/tokens.csv?)'
    """
    try:
        if path.is_dir():
            files = sorted(entry for entry, _ in zip(path.iterdir(), range(_MOST_NAMES), strict=False))
            shown = [str(entry) for entry in files if entry.is_file() and not entry.name.startswith(".")]
            some = f", such as {shown[0]}" if shown else ""
            return f"it is a folder; name a file{some}"
        names = [entry.name for entry, _ in zip(path.parent.iterdir(), range(_MOST_NAMES), strict=False)]
    except OSError:  # a folder that does not exist, or that may not be listed
        return f"the folder {path.parent} does not exist" if not path.parent.exists() else "it does not exist"
    near = nearest(path.name, names)
    return f"it does not exist (did you mean {path.parent / near}?)" if near else "it does not exist"


def foreign_kind(beginning: bytes) -> str:
    """Return what a file of another program is by its first bytes, in words; empty for all that may be text."""
    lowered = beginning[:32].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for mark, what in _BEGINNINGS:
        if beginning.startswith(mark) or (mark[:1] == b"<" and lowered.startswith(mark)):
            return what
    return ""


def other_separator(cells: list[str], delimiter: str) -> str:
    """Return what is wrong if another character separates the columns of a table, and how to mend it; else nothing.

    Parameters
    ----------
    cells
        The first row that is not blank, as it was split.
    delimiter
        What it was split at.

    Examples
    --------
    >>> from tokendyn.runs.paths import other_separator
    >>> other_separator(["x;y"], ",").split("; ")[1]
    "in pandas, read_csv(FILE, sep=';', decimal=',').to_csv(NEW, index=False) writes commas"
    """
    line = delimiter.join(cells)
    counts = {mark: line.count(mark) for mark in (";", "\t", "|", ",") if mark != delimiter}
    mark = max(counts, key=lambda name: counts[name])
    # Beside a few cells of text a semicolon may stand in one of them; numbers with commas leave halves of numbers.
    if not counts[mark] or (len(cells) > 1 and not _halves(line, mark)):
        return ""
    if mark in ("\t", ","):
        return f"its columns are separated by {_NAMED[mark]}"
    commas = " and decimals are written with commas" if delimiter == "," and len(cells) > 1 else ""
    # Semicolons part columns where commas are decimal; a header does not show it. Numbers with points stay as they are.
    decimal = ", decimal=','" if commas or (mark, delimiter) == (";", ",") else ""
    return (
        f"its columns seem to be separated by {mark!r}{commas}; in pandas, read_csv(FILE, sep={mark!r}{decimal})"
        ".to_csv(NEW, index=False) writes commas"
    )


def _halves(line: str, mark: str) -> bool:
    """Return whether all columns are numbers once a line is split at another mark, with decimal commas."""
    return all(
        cell.strip().replace(",", ".", 1).replace(".", "", 1).lstrip("+-").isdigit() for cell in line.split(mark)
    )
