"""Which code a command runs: its own modules, all that they import, and the libraries that compute for them.

A comment, a docstring or a blank line changes nothing; neither does a module that the command never imports.
"""

import ast
import functools
import hashlib
import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

import tokendyn
from tokendyn.errors import BadInputError

_ROOT = Path(tokendyn.__file__).parent

#: Libraries that compute, and the names under which they are installed; another version of one may give other bits.
LIBRARIES = {
    "numpy": ("numpy",), "scipy": ("scipy",), "numba": ("numba", "llvmlite"), "torch": ("torch",),
    "sklearn": ("scikit-learn",), "pandas": ("pandas",), "flint": ("python-flint",), "tokenizers": ("tokenizers",),
    "skopt": ("scikit-optimize",), "statsmodels": ("statsmodels",), "pysindy": ("pysindy",), "onnx": ("onnx",),
}  # fmt: skip
#: Modules that decide how a command is called and what is said, not what is computed.
_SPEECH = frozenset(
    {"tokendyn", "tokendyn.late", "tokendyn.optional", "tokendyn.runs.code"}
    | {"tokendyn.cli" + part for part in ("", ".boundary", ".commands", ".jobs", ".output", ".progress", ".repeat")}
    | {"tokendyn.cli.strict"}
    | {"tokendyn.experiments" + part for part in ("", ".experiment", ".options", ".repeat", ".jobs", ".perform")}
    | {f"tokendyn.experiments.{name}" for name in ("crew", "results", "sweeping", "swept")}
)


def code_version(module: str) -> str:
    """Return the version of the package, and a digest of the code and the libraries that a module of it brings in.

    Parameters
    ----------
    module
        Such as ``tokendyn.cli.simulate``.
    """
    return f"{tokendyn.__version__}+{_digest(module)}"


@functools.cache
def _digest(module: str) -> str:
    digest = hashlib.sha256()
    closure = imported(module)
    for name in sorted(closure):
        digest.update(f"{name}\0{_facts(name)[0]}\0".encode())
    for distribution, version in library_versions(closure).items():
        digest.update(f"{distribution} {version}\0".encode())
    return digest.hexdigest()[:12]


def imported(module: str) -> frozenset[str]:
    """Return the modules of the package that a module imports, directly or not, wherever in their code; with itself."""
    names: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in names and name not in _SPEECH:
            names.add(name)
            waiting += _facts(name)[1]
    return frozenset(names)


def library_versions(modules: frozenset[str]) -> dict[str, str]:
    """Return the versions of the libraries that compute for some modules; one that is not installed is left out."""
    known = {library for name in modules for library in _facts(name)[2]}
    wanted = sorted(distribution for library in known for distribution in LIBRARIES[library])
    return {name: version for name in wanted if (version := _installed(name)) is not None}


@functools.cache
def _installed(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def _modules() -> dict[str, Path]:
    """Return the file of every module of the package."""
    files = {}
    for file in _ROOT.rglob("*.py"):
        parts = file.relative_to(_ROOT.parent).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return files


def _file_of(module: str) -> Path:
    """Return the file of a module of the package, or of one of a user's own that defines an experiment."""
    if module in _modules():
        return _modules()[module]
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        raise BadInputError(f"the code of {module} is in no file; define what a store keeps in a module of its own")
    return Path(file)


@functools.cache
def _facts(module: str) -> tuple[str, tuple[str, ...], frozenset[str]]:
    """Return the digest of a module's code, the modules of the package that it names, and the libraries."""
    tree = ast.parse(_file_of(module).read_bytes())
    # The module of a package runs when one of its parts is imported.
    inner = {module.rpartition(".")[0]} & _modules().keys()
    libraries = set()
    for node in ast.walk(tree):
        for name in _named(node):
            inner |= _parts(name)
            name = name.removeprefix("tokendyn.optional.")  # noqa: PLW2901  (a library that comes with an extra)
            if name.partition(".")[0] in LIBRARIES:
                libraries.add(name.partition(".")[0])
    return hashlib.sha256("".join(normalised(tree)).encode()).hexdigest(), tuple(inner), frozenset(libraries)


def _named(node: ast.AST) -> Iterator[str]:
    """Yield the modules that a node may import; names that end with a point stand for all parts of a package."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("tokendyn."):
        # Backends, and what writes and draws values, are named by texts and imported when they are asked for.
        yield node.value.partition(":")[0]


def _parts(name: str) -> set[str]:
    """Return the modules of the package that a name stands for."""
    modules = _modules()
    if name.endswith(".") and name[:-1] in modules:
        return {module for module in modules if module.startswith(name)}
    return {name} & modules.keys()


def normalised(node: ast.AST) -> Iterator[str]:
    """Yield the code of a tree as texts, without places, docstrings and empty fields (which differ among Pythons)."""
    yield type(node).__name__
    body = getattr(node, "body", None)
    skipped = None
    if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and body:
        first = body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            skipped = first
    for name in node._fields:
        value = getattr(node, name, None)
        if (value is None and not isinstance(node, ast.Constant)) or value == []:
            continue
        yield f"({name}"
        if isinstance(value, list):
            for part in value:
                if part is not skipped:
                    yield from normalised(part) if isinstance(part, ast.AST) else (repr(part),)
        elif isinstance(value, ast.AST):
            yield from normalised(value)
        else:
            yield repr(value)
        yield ")"
