"""The API reference holds every public name: what a package lists in ``__all__``, and what a page imports."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
API = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "examples").glob("*.py"))]

_DIRECTIVE = re.compile(r"^\.\. auto(\w+):: (\S+)\n((?:[ \t]+\S.*\n?)*)", flags=re.MULTILINE)


def attribute(name):
    """Return what a dotted name stands for."""
    module, _, rest = name.rpartition(".")
    return getattr(importlib.import_module(module), rest)


def documented():
    """Return the objects of the reference by identity, and the names of its modules and data."""
    objects, names = set(), set()
    for kind, name, options in _DIRECTIVE.findall(API):
        names.add(name)
        if kind != "module":
            objects.add(id(attribute(name)))
            continue
        module = importlib.import_module(name)
        members = re.search(r":members:([^:]*)", options)
        if members is None:
            continue
        listed = [part.strip() for part in members[1].split(",") if part.strip()]
        for member in listed or public(module):
            objects.add(id(getattr(module, member)))
            names.add(f"{name}.{member}")
    return objects, names


def public(module):
    """Return what autodoc takes from a module by itself: ``__all__``, else what it defines and documents."""
    if hasattr(module, "__all__"):
        return module.__all__
    found = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    return [name for name in found if not name.startswith("_")]


def packages():
    """Return the modules that say what is public."""
    files = [file for file in SOURCE.rglob("*.py") if "\n__all__" in file.read_text(encoding="utf-8")]
    return sorted(".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__") for file in files)


def imports(page):
    """Return the dotted names that the Python code of a page imports from the package."""
    text = page.read_text(encoding="utf-8")
    code = [text] if page.suffix == ".py" else re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.M)
    found = set()
    for block in code:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tokendyn"):
                found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


OBJECTS, NAMES = documented()


@pytest.mark.parametrize("package", packages())
def test_every_name_of_a_package_is_in_the_reference(package):
    module = importlib.import_module(package)
    missing = [
        name for name in module.__all__ if id(getattr(module, name)) not in OBJECTS and f"{package}.{name}" not in NAMES
    ]
    assert not missing, f"docs/api.md lacks {', '.join(f'{package}.{name}' for name in missing)}"


def test_what_pages_and_examples_import_is_in_the_reference():
    missing = set()
    for name in set().union(*map(imports, PAGES)):
        try:
            found = attribute(name)
        except AttributeError:  # a module that its package does not import
            found = importlib.import_module(name)
        if inspect.ismodule(found):
            continue
        if id(found) not in OBJECTS and name not in NAMES:
            missing.add(name)
    assert not missing


def test_everything_in_the_reference_says_what_it_is():
    undocumented = [
        name
        for kind, name, _ in _DIRECTIVE.findall(API)
        if kind in ("function", "class") and not attribute(name).__doc__
    ]
    assert not undocumented
