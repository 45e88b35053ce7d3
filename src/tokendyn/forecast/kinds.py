"""The class of a forecaster by its name, as saved models and searches hold it: loaded when it is asked for."""

from importlib import import_module

from tokendyn.forecast.base import Forecaster

#: The modules that define our own kinds; one of a user's own is known once its module is imported.
_HOMES = {
    "BasisMap": "tokendyn.forecast.basis",
    "Blend": "tokendyn.forecast.blend",
    "Drift": "tokendyn.forecast.naive",
    "EnsembleTDTF": "tokendyn.forecast.ensemble",
    "Mean": "tokendyn.forecast.naive",
    "PaperTDTF": "tokendyn.forecast.paper",
    "Persistence": "tokendyn.forecast.naive",
    "SeasonalNaive": "tokendyn.forecast.naive",
    "TDDMD": "tokendyn.forecast.tddmd",
    "TDTF": "tokendyn.forecast.tdtf",
}


def known_kinds() -> list[str]:
    """Return the names of all kinds that are known here, in order."""
    return sorted({*_HOMES, *Forecaster.kinds})


def kind_of(name: str) -> type[Forecaster]:
    """Return the class of a name.

    Raises
    ------
    KeyError
        If there is none: the module that defines it was not imported.
    """
    if name not in Forecaster.kinds and name in _HOMES:
        import_module(_HOMES[name])
    return Forecaster.kinds[name]
