"""Draw formulas as MathML, which browsers draw themselves: no script, no network, read aloud by screen readers."""

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer ``mathml``; ``html_math_renderer`` chooses it."""
    app.add_html_math_renderer("mathml", (inline, None), (display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def inline(translator: HTML5Translator, node: nodes.math) -> None:
    """Write a formula in a line of text."""
    translator.body.append(mathml(node))
    raise nodes.SkipNode


def display(translator: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula that stands alone; a wide one scrolls, so that a telephone shows all of it."""
    translator.body.append(translator.starttag(node, "div", CLASS="formula", tabindex="0") + mathml(node) + "</div>\n")
    raise nodes.SkipNode


def mathml(node: nodes.math | nodes.math_block) -> str:
    """Return the MathML of a formula; TeX that cannot be converted is a warning, and stays TeX."""
    tex = node.astext()
    try:
        return latex2mathml.tex2mathml(tex, as_block=isinstance(node, nodes.math_block))
    except MathError as problem:
        logger.warning("the formula %r cannot be drawn: %s", tex, problem, location=node)
        return nodes.literal(tex, tex).astext()
