"""Figures, animations and HTML pages. They draw scenes and records and know no system's inside.

Names are imported when first used, so importing this package loads neither matplotlib nor a template.
The panels are ``tokendyn.show.panels.panels``: a function cannot be re-exported under its module's name.
"""

from typing import TYPE_CHECKING

from tokendyn.late import attributes_at
from tokendyn.show.scene import TokenScene

if TYPE_CHECKING:
    from tokendyn.show.animation import animate
    from tokendyn.show.explained import ExplainedLeader, ExplainedText, ExplainedToken
    from tokendyn.show.explanation_page import explanation_fragment, explanation_html, write_explanation
    from tokendyn.show.page_folder import write_page_folder
    from tokendyn.show.report import (
        Chapter,
        Command,
        KeyFigures,
        Picture,
        Provenance,
        Report,
        Table,
        Text,
        closing,
        kept_picture,
        prose,
        report_html,
        write_report,
    )
    from tokendyn.show.strip import following_strip
    from tokendyn.show.terminal import explanation_terminal

__all__ = [
    "Chapter",
    "Command",
    "ExplainedLeader",
    "ExplainedText",
    "ExplainedToken",
    "KeyFigures",
    "Picture",
    "Provenance",
    "Report",
    "Table",
    "Text",
    "TokenScene",
    "animate",
    "closing",
    "explanation_fragment",
    "explanation_html",
    "explanation_terminal",
    "following_strip",
    "kept_picture",
    "prose",
    "report_html",
    "write_explanation",
    "write_page_folder",
    "write_report",
]

_HOME = {
    "animate": "animation",
    "following_strip": "strip",
    "write_page_folder": "page_folder",
    "explanation_terminal": "terminal",
    **dict.fromkeys(("ExplainedLeader", "ExplainedText", "ExplainedToken"), "explained"),
    **dict.fromkeys(("explanation_fragment", "explanation_html", "write_explanation"), "explanation_page"),
    **dict.fromkeys(
        (
            "Chapter",
            "Command",
            "KeyFigures",
            "Picture",
            "Provenance",
            "Report",
            "Table",
            "Text",
            "closing",
            "kept_picture",
            "prose",
            "report_html",
            "write_report",
        ),
        "report",
    ),
}

__getattr__ = attributes_at(__name__, _HOME)
