"""What several commands read or say in the same way."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from tokendyn.cli.output import announce

if TYPE_CHECKING:
    from tokendyn.data.tokens import TokenTable


def heading_of(file: Path) -> list[str]:
    """Return the cells of the first line of a CSV file, by which a table of one's own is known."""
    with file.open("rb") as stream:
        first = stream.readline(1 << 20).decode("utf-8", "replace")
    return next(csv.reader([first]), [])


def announce_names(table: "TokenTable") -> None:
    """Say which column of a file is taken as the names of tokens."""
    if table.name_column is not None:
        announce(f"{table.name_column} holds names")
