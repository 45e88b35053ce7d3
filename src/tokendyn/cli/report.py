"""``tokendyn report``: the page of a saved run, made anew."""

import tempfile
from pathlib import Path

from tokendyn.cli.output import announce
from tokendyn.particles.report import load_run, run_report, write_figures
from tokendyn.show import animate, write_report


def report(run: Path, /, *, out: Path | None = None) -> int:
    """Make the HTML report of a saved run anew: one file, no network.

    Parameters
    ----------
    run
        Folder that simulate wrote.
    out
        HTML file to write, by default report.html in the folder.
    """
    loaded, title, command = load_run(run)
    target = out or run / "report.html"
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder)
        write_figures(loaded, pictures, title)
        animate(loaded.scene(title), pictures / "animation.gif")
        write_report(run_report(loaded, title=title, pictures=pictures, command=command), target)
    announce(f"wrote {target}")
    return 0
