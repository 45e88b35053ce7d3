"""A result as a folder: its record as JSON, its tables as CSV, its figures as PNG, and a page that shows them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokendyn.runs.folders import new_folder, write_json
from tokendyn.show.images import save_figure
from tokendyn.show.report import Report, write_report

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def write_page_folder(
    folder: str | Path,
    name: str,
    record: Mapping[str, Any],
    page: Callable[[Mapping[str, Any], Path], Report],
    *,
    tables: "Mapping[str, pd.DataFrame]",
    figures: "Mapping[str, Figure]",
    overwrite: bool = False,
) -> None:
    """Write ``NAME.json``, a CSV file for each table, a PNG file and drawings for each figure, and ``report.html``.

    Parameters
    ----------
    folder
        Folder to write; it appears only when it is complete.
    name
        Name of the JSON file, without its ending.
    record
        What the JSON file holds.
    page
        Returns the page for the record and the folder with the figures. It gets no more than what is stored, so that
        a page that is made later from the folder is the same.
    tables, figures
        By the names of their files, without endings.
    overwrite
        Replace an existing folder.

    Raises
    ------
    OutputError
        If the folder exists or the disk refuses.
    """
    with new_folder(folder, overwrite=overwrite) as temporary:
        for file, table in tables.items():
            table.to_csv(temporary / f"{file}.csv", index=False, lineterminator="\n")
        for file, figure in figures.items():
            save_figure(figure, temporary, file)
        write_json(temporary / f"{name}.json", record)
        write_report(page(record, temporary), temporary / "report.html")
