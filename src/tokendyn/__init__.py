"""Transformers as dynamical systems, and dynamical systems as transformers.

``import tokendyn as td``: ``td.simulate``, ``td.TDDMD``, ``td.load`` and all names of ``__init__.pyi`` load when they
are first used, so that importing the package is light.
"""

from typing import Any

__version__ = "0.2.0"

_homes: dict[str, tuple[str, str]] = {}


def _home_of() -> dict[str, tuple[str, str]]:
    """Return module and name of all that ``__init__.pyi`` imports: the one list, for type checkers and for Python."""
    if not _homes:
        import ast
        import pkgutil

        source = pkgutil.get_data(__name__, "__init__.pyi") or b""
        for node in ast.parse(source).body:
            if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == __name__):
                for alias in node.names:
                    shown = alias.asname or alias.name
                    # ``from . import room`` names a module, everything else a name in one.
                    _homes[shown] = (f"{__name__}.{alias.name}", "") if node.level else (node.module or "", alias.name)
    return _homes


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return sorted(_home_of())
    if name.startswith("__") or name not in _home_of():
        from tokendyn.renamed import missing

        raise missing(__name__, name)
    import importlib

    module, attribute = _home_of()[name]
    found = importlib.import_module(module)
    value = getattr(found, attribute) if attribute else found
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_home_of()} - {"Any", "_homes", "_home_of"})
