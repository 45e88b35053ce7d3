"""Parquet files: their headers are checked against their size, in another process, before they are read."""

from pathlib import Path
from typing import Any

from tokendyn.errors import BadInputError
from tokendyn.optional import library
from tokendyn.runs.bounded import check_ratio
from tokendyn.runs.limited import answer, look
from tokendyn.runs.opened import note_opened


def check_parquet(path: str | Path) -> None:
    """Look at the metadata of a file in another process: the library ends the program when some of it is damaged.

    Raises
    ------
    BadInputError
        If the file is damaged, or its columns unpack to far more than its size.
    """
    path = Path(path)
    note_opened(path)
    facts = look(__name__, path, "Parquet")
    if facts["problem"]:
        raise BadInputError(f"{path} is not a whole Parquet file ({facts['problem']})")
    check_ratio(path, facts["bytes"], path.stat().st_size)


def _walk(path: str) -> dict[str, Any]:
    parquet = library("pyarrow.parquet")
    try:
        with parquet.ParquetFile(path) as file:
            groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
            sizes = [group.column(i).total_uncompressed_size for group in groups for i in range(group.num_columns)]
            return {"problem": "", "bytes": sum(max(size, 0) for size in sizes)}
    except Exception as error:
        return {"problem": " ".join(str(error).split())[:200] or type(error).__name__, "bytes": 0}


if __name__ == "__main__":
    answer(_walk)
