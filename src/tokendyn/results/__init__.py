"""What every result can do: sentences, a table, a picture, a page, files, and a status from one list.

A class that inherits :class:`Result` writes ``describe``, ``table``, ``picture`` and ``status``; the rest follows.
"""

from tokendyn.results.face import STATUSES, Numbers, Result, result_class
from tokendyn.results.pictures import Bars, Curves, Heat, Paths, Picture, Points

__all__ = ["STATUSES", "Bars", "Curves", "Heat", "Numbers", "Paths", "Picture", "Points", "Result", "result_class"]
