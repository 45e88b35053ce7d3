"""Configuration of the documentation."""

import re
import sys
import warnings
from pathlib import Path

import matplotlib
from docutils import nodes

import tokendyn

matplotlib.use("agg")
sys.path.insert(0, str(Path(__file__).parent))  # the modules beside this file

project = "tokendyn"
author = copyright = "The tokendyn developers"
version = release = tokendyn.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
    "mathml",
]
html_math_renderer = "mathml"
html_theme = "furo"
html_title = "tokendyn"
html_static_path = ["_static", "figures/why.html", "figures/explorer.html"]
html_css_files = ["pages.css"]
exclude_patterns = ["_build", "data", "figures", "gallery/*.ipynb", "gallery/*.py"]
myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 3
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autosummary_generate = False
toc_object_entries = False  # each page of the site holds a copy of the tree, of which names were most
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_attr_annotations = False
suppress_warnings = ["config.cache"]


def setup(app):
    """Make the figures of the pages before anything is read."""
    import make_figures

    make_figures.make()
    app.connect("doctree-resolved", name_thumbnails)
    app.connect("doctree-resolved", mark_sentences)


def name_thumbnails(app, doctree, page):
    """Give the thumbnail of an example the example's title as alternative text."""
    for image in doctree.findall(nodes.image):
        match = re.search(r"sphx_glr_(\w+)_thumb\.", image["uri"])
        if match and not image.get("alt"):
            image["alt"] = app.env.titles[f"gallery/{match[1]}"].astext()


def mark_sentences(app, doctree, page):
    """Mark the cells of tables that hold sentences, which need a width of their own on a narrow screen."""
    for cell in doctree.findall(nodes.entry):
        if len(cell.astext()) > 40:
            cell["classes"].append("sentences")


def figure_scraper(block, block_vars, gallery_conf):
    """Save every matplotlib Figure that a block bound to a new name; tokendyn's figures avoid pyplot."""
    from matplotlib.figure import Figure
    from sphinx_gallery.scrapers import figure_rst

    seen = gallery_conf.setdefault("_seen_figures", set())
    paths, subjects = [], []
    for value in list(block_vars["example_globals"].values()):
        if isinstance(value, Figure) and id(value) not in seen:
            seen.add(id(value))
            path = next(block_vars["image_path_iterator"])
            value.savefig(path, dpi=120)
            paths.append(path)
            subjects.append(subject(value))
    return figure_rst(paths, gallery_conf["src_dir"], "; ".join(subjects))


def subject(figure):
    """Return what a figure shows: its titles, else what its axes are labelled with."""
    titles = [figure.get_suptitle(), *(axes.get_title() for axes in figure.axes)]
    labels = [f"{axes.get_ylabel()} against {axes.get_xlabel()}" for axes in figure.axes if axes.get_ylabel()]
    return ", ".join(dict.fromkeys(text for text in titles if text) or dict.fromkeys(labels)) or "figure"


def warnings_fail(gallery_conf, script, when):
    """Make warnings of an example errors while it runs."""
    if when == "before":
        gallery_conf["_warnings"] = warnings.catch_warnings()
        gallery_conf["_warnings"].__enter__()
        warnings.simplefilter("error")
    else:
        gallery_conf.pop("_warnings").__exit__(None, None, None)


sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "image_scrapers": (figure_scraper,),
    "abort_on_example_error": True,
    "show_memory": False,
    "reset_modules": (warnings_fail,),
    "reset_modules_order": "both",
    "download_all_examples": False,
    "remove_config_comments": True,
    "thumbnail_size": (560, 400),
}
