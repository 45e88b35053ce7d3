"""The explorer from Python: the page of ``tokendyn explore`` in a notebook."""

from typing import TYPE_CHECKING, Any

import numpy as np

from tokendyn.data.explored import Explored
from tokendyn.data.tokens import named_tokens
from tokendyn.errors import BadInputError, did_you_mean
from tokendyn.particles.clustering import ClusteringRun
from tokendyn.particles.explored import explored_run
from tokendyn.particles.presets import presets
from tokendyn.show.explorer import explorer_html

if TYPE_CHECKING:
    from tokendyn.show.embedded import EmbeddedPage

#: Name of the user's own start among the presets.
_OWN = "given"


def explore(start: Any = "emerging-leader", *, height: int = 760) -> "EmbeddedPage":
    """Return the explorer, one page in which tokens are dragged and parameters set; a notebook shows it below the cell.

    Parameters
    ----------
    start
        Start of the page: a run of :func:`tokendyn.simulate`, tokens in the plane (an array, a DataFrame, what
        :func:`tokendyn.read_tokens` returned), settings that the page saved (:func:`tokendyn.load`), or the name of a
        preset.
    height
        Height of the frame, in pixels.

    Raises
    ------
    BadInputError
        If there is no such preset, or the tokens are not in the plane.

    Examples
    --------
    >>> import tokendyn as td
    >>> page = td.explore(td.simulate(td.configuration("square"), layers=10))
    >>> page._repr_html_()[:7]
    '<iframe'
    """
    from tokendyn.show.embedded import EmbeddedPage

    offered = presets()
    chosen = _OWN
    if isinstance(start, str):
        if start not in offered:
            raise BadInputError(f"no preset {start!r}{did_you_mean(start, offered)}; there are {', '.join(offered)}")
        chosen = start
    elif isinstance(start, Explored):
        offered = {_OWN: start, **offered}
    elif isinstance(start, ClusteringRun):
        offered = {_OWN: explored_run(start, "Your run"), **offered}
    else:
        tokens, labels = named_tokens(start)
        points = np.atleast_2d(np.asarray(tokens, dtype=np.float64))
        names = labels or tuple(map(str, range(len(points))))
        offered = {_OWN: Explored(points, labels=names, title="Your tokens", note="Tokens from Python."), **offered}
    document = explorer_html({name: preset.to_dict() for name, preset in offered.items()}, chosen)
    return EmbeddedPage(document, height)
