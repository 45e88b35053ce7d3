"""Names of earlier versions, and the error that says the new one."""

import sys
from types import FrameType

#: Names of 0.1, by package and name below ``tokendyn``, and where they are now.
RENAMED = {
    "claims": "studies.claims",
    "forecast.Found": "forecast.SearchResult",
    "forecast.peers": "rivals.forecast",
    "forecast.studies": "studies.forecast",
    "forecast.study_figures": "studies.forecast.figures",
    "forecast.tune": "studies.forecast.tune",
    "forecast.Tuned": "studies.forecast.Tuned",
    "forecast.Persistence": "forecast.naive.Persistence",
    "forecast.SeasonalNaive": "forecast.naive.SeasonalNaive",
    "forecast.Mean": "forecast.naive.Mean",
    "forecast.Drift": "forecast.naive.Drift",
    "sentiment.PublishedHardmax": "rivals.sentiment.PublishedHardmax",
    "sentiment.published": "rivals.sentiment",
    "sentiment.explainers": "rivals.sentiment",
    "sentiment.peers": "rivals.sentiment.contenders",
    "sentiment.compare_classifiers": "studies.sentiment.compare_classifiers",
    "sentiment.evaluate_explanations": "studies.sentiment.evaluate_explanations",
    "sentiment.FaithfulnessReport": "studies.sentiment.FaithfulnessReport",
}


def missing(package: str, name: str) -> AttributeError | ImportError:
    """Return the error of a name that a package does not have; a name of 0.1 is answered with the new one.

    ``from package import name`` hides the message of an :class:`AttributeError`, so that the new name is in an
    :class:`ImportError`.

    Parameters
    ----------
    package
        Its ``__name__``.
    name
        What was asked for.
    """
    top, _, room = package.partition(".")
    new = RENAMED.get(f"{room}.{name}".lstrip("."))
    message = f"module {package!r} has no attribute {name!r}" + (f"; since 0.2 it is {top}.{new}" if new else "")
    if new and _within_from_import():
        return ImportError(message, name=package)
    return AttributeError(message, name=name, obj=sys.modules.get(package))


def _within_from_import() -> bool:
    """Say whether a ``from ... import`` asks: its helper stands between here and the module with the statement."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_name not in ("_handle_fromlist", "<module>"):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_name == "_handle_fromlist"
