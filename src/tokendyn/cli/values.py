"""Values and messages shared by several commands."""

from typing import TYPE_CHECKING

from tokendyn.cli.output import announce

if TYPE_CHECKING:
    from tokendyn.data.tokens import TokenTable


def announce_names(table: "TokenTable") -> None:
    """Say which column of a file is taken as the names of tokens."""
    if table.name_column is not None:
        announce(f"{table.name_column} holds names")
