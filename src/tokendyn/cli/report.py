"""``tokendyn report``: the page of a saved run, made anew."""

import tempfile
from pathlib import Path

from tokendyn.cli.output import announce
from tokendyn.particles import report as clustering
from tokendyn.particles.meanfield import report as meanfield
from tokendyn.particles.meanfield.film import animate_run
from tokendyn.runs.files import schema_of
from tokendyn.show import Report, animate, write_report


def report(run: Path, /, *, out: Path | None = None) -> int:
    """Make the HTML report of a saved run anew: one file, no network.

    Parameters
    ----------
    run
        Folder that simulate wrote, of either model.
    out
        HTML file to write, by default report.html in the folder.
    """
    draw = _meanfield_page if schema_of(run / "run.json") == meanfield.SCHEMA else _clustering_page
    target = out or run / "report.html"
    with tempfile.TemporaryDirectory() as folder:
        write_report(draw(run, Path(folder)), target)
    announce(f"wrote {target}")
    return 0


def _clustering_page(run: Path, pictures: Path) -> Report:
    loaded, title, command = clustering.load_run(run)
    clustering.write_figures(loaded, pictures, title)
    animate(loaded.scene(title), pictures / "animation.gif")
    return clustering.run_report(loaded, title=title, pictures=pictures, command=command)


def _meanfield_page(run: Path, pictures: Path) -> Report:
    loaded, title, command, beside = meanfield.load_run(run)
    meanfield.write_figures(loaded, pictures)
    animate_run(loaded, pictures / "animation.gif")
    return meanfield.run_report(loaded, title=title, pictures=pictures, companions=beside, command=command)
