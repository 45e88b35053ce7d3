"""Imports point one way, and importing the package does nothing."""

import ast
import functools
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
SYSTEMS = {"particles", "exact", "sentiment", "forecast", "models"}
#: Small modules that every part may use.
HELPERS = {"errors", "late", "optional", "renamed", "scales", "shown", "words"}
CORE = {"attention", "geometry", "dynamics", "metrics", "results"}

#: What the modules of each part may import besides their own part; a part that is not named here may not exist.
ALLOWED = {
    "__init__": set(),
    **{helper: {"errors", "renamed"} for helper in HELPERS},
    "errors": set(),
    "renamed": set(),
    "geometry": HELPERS,
    "runs": HELPERS,
    "show": HELPERS | {"geometry", "runs"},
    "results": HELPERS | {"runs", "show"},
    "attention": HELPERS | {"results"},
    "dynamics": HELPERS | {"attention", "geometry", "results", "runs"},
    "metrics": HELPERS | {"attention", "geometry", "results", "runs"},
    "data": HELPERS | {"runs"} | CORE,
    "experiments": HELPERS | {"results", "runs", "data", "show"},
    **{system: HELPERS | {"runs", "data", "show", "experiments"} | CORE for system in SYSTEMS},
    "rivals": HELPERS | {"runs", "data", "show"} | CORE | SYSTEMS,
    "studies": HELPERS | {"runs", "data", "show", "rivals", "experiments"} | CORE | SYSTEMS,
    "loading": HELPERS | {"runs", "data", "show", "studies", "experiments"} | CORE | SYSTEMS,
    "testing": HELPERS | {"runs", "data", "show"} | CORE | SYSTEMS,
    "cli": HELPERS | {"runs", "data", "show", "rivals", "studies", "experiments", "loading"} | CORE | SYSTEMS,
    "__main__": {"cli"},
}


def part(module):
    """Return the part of the package that a dotted name belongs to; "" is the package itself."""
    return [*module.split("."), ""][1]


def module_name(file):
    names = list(file.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


def import_statements(source, module, *, is_package):
    """Yield each import in a source text, in functions and for types too: a dotted name, and what is taken from it.

    Where a text imports by name (``importlib.import_module``, ``__import__``), its strings that are dotted names of the
    package, or begin with one before a colon, count as imports: what is named is imported somewhere.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                drop = node.level - is_package
                parents = module.split(".")
                base = ".".join([*parents[: len(parents) - drop], *filter(None, [base])])
            yield base, tuple(alias.name for alias in node.names)
    called = {ast.unparse(node.func).split(".")[-1] for node in ast.walk(tree) if isinstance(node, ast.Call)}
    if called & {"import_module", "__import__", "attributes_at"}:
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                word = node.value.partition(":")[0]
                dotted = word if word.startswith("tokendyn.") else f"tokendyn.{word}"
                if (word != node.value or "." in word) and dotted in MODULES and dotted != module:
                    yield dotted, ()


def imported_modules(statements):
    """Return the tokendyn modules that the imports of a source text name, lazily and for types too."""
    found = set()
    for base, names in statements:
        found.add(base)
        if base == "tokendyn":
            found.update(f"{base}.{name}" for name in names)
    return {name for name in found if name.split(".")[0] == "tokendyn"}


MODULES = {module_name(file): file for file in sorted(SOURCE.rglob("*.py"))}


@functools.cache
def statements_of(module):
    """Return each import of a module, as ``import_statements`` yields it."""
    file = MODULES[module]
    return [*import_statements(file.read_text(encoding="utf-8"), module, is_package=file.stem == "__init__")]


def imports_of(module):
    return imported_modules(statements_of(module))


def test_imports_are_read_in_every_form():
    source = (
        "import tokendyn.cli\nfrom tokendyn import show, __version__\nfrom ..runs import files\nfrom . import lemmas\n"
        "import numpy\ndef f():\n    from tokendyn.exact import x\n"
    )
    found = imported_modules(import_statements(source, "tokendyn.particles.limits", is_package=False))
    assert {part(name) for name in found} == {"", "cli", "show", "__version__", "runs", "particles", "exact"}
    by_name = "import importlib\nhomes = {'a': 'particles.limits:f'}\nimportlib.import_module('tokendyn.cli')\n"
    found = imported_modules(import_statements(by_name, "tokendyn.loading", is_package=False))
    assert found == {"tokendyn.particles.limits", "tokendyn.cli"}
    inside = import_statements("from .limits import x\nfrom .. import cli", "tokendyn.particles", is_package=True)
    assert imported_modules(inside) == {"tokendyn.particles.limits", "tokendyn", "tokendyn.cli"}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_below(module):
    own = part(module)
    if own == "":
        assert imports_of(module) <= {"tokendyn.renamed"}, (
            "the package imports only what says new names, so that it stays light"
        )
        return
    assert own in ALLOWED, f"say in ALLOWED what {own} may import"
    # `import tokendyn` gives the version, and nothing else.
    reached = {part(name) for name in imports_of(module)} - {own, "", "__version__"}
    assert reached <= ALLOWED[own], f"{module} reaches up to {sorted(reached - ALLOWED[own])}"


@pytest.mark.parametrize("system", sorted(SYSTEMS))
def test_a_system_stands_on_the_core_and_on_no_rival_study_or_other_system(system):
    reached = {part(name) for module in MODULES if part(module) == system for name in imports_of(module)}
    assert reached & {"attention", "dynamics"}
    assert not reached & ((SYSTEMS - {system}) | {"rivals", "studies"})


def test_the_rules_themselves_point_one_way():
    rest, order = dict(ALLOWED), []
    while rest:
        ready = {name for name, needs in rest.items() if needs <= set(order)}
        assert ready, f"a circle among {sorted(rest)}"
        order.extend(ready)
        rest = {name: needs for name, needs in rest.items() if name not in ready}
    assert not any(ALLOWED[system] & (SYSTEMS | {"rivals", "studies"}) for system in SYSTEMS)
    assert [name for name, needs in ALLOWED.items() if "cli" in needs] == ["__main__"]


def needs(module, statements):
    """Return the modules of the package that a module imports, inside functions, by name and for types too.

    A package stands for what is named in it: ``from tokendyn.exact import ragged`` needs ``tokendyn.exact.ragged``.
    """
    found = set()
    for base, names in statements:
        found |= ({f"{base}.{name}" for name in names} & MODULES.keys()) or {base}
    return (found & MODULES.keys()) - {module}


def test_what_a_module_needs_is_read_in_every_form():
    source = (
        "from . import ragged\nfrom .store import load\nfrom tokendyn.dynamics import run\n"
        "def f():\n    return __import__('tokendyn.show.report')\n"
    )
    statements = import_statements(source, "tokendyn.exact.compiler", is_package=False)
    assert needs("tokendyn.exact.compiler", statements) == {
        "tokendyn.exact.ragged", "tokendyn.exact.store", "tokendyn.dynamics.run", "tokendyn.show.report",
    }  # fmt: skip


def reachable(start, graph):
    seen, left = set(), [start]
    while left:
        for module in graph[left.pop()] - seen:
            seen.add(module)
            left.append(module)
    return seen


def test_modules_do_not_need_each_other_in_a_circle():
    # What `function_at` names by text is no need: values are whole without those who write and draw them.
    graph = {module: needs(module, statements_of(module)) for module in MODULES}
    reach = {module: reachable(module, graph) for module in MODULES}
    circles = {frozenset(other for other in reach[module] if module in reach[other]) for module in MODULES}
    assert not any(circles)


def named_late(module):
    """Return the texts by which a module names functions that it imports when it calls them."""
    source = MODULES[module].read_text(encoding="utf-8")
    if "function_at(" not in source:  # most: to parse them all would take seconds whenever tests are collected
        return []
    calls = [node for node in ast.walk(ast.parse(source)) if is_late(node)]
    return [argument.value for call in calls for argument in call.args if isinstance(argument, ast.Constant)]


def is_late(node):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "function_at"


LATE = [(module, name) for module in MODULES for name in named_late(module)]


@pytest.mark.parametrize(("module", "name"), LATE)
def test_a_function_that_is_named_by_text_is_there_in_the_part_that_calls_it(module, name):
    home, _, function = name.partition(":")
    assert callable(getattr(importlib.import_module(home), function))
    assert part(home) == part(module)


def fresh(code):
    """Run code in a fresh interpreter with warnings as errors and return what it prints."""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stderr == ""
    return done.stdout


_NEW_MODULES = """
import sys
before = set(sys.modules)
import tokendyn
new = {name.split(".")[0] for name in set(sys.modules) - before}
print(sorted(new - set(sys.stdlib_module_names) - {"tokendyn"}))
"""


def test_importing_the_package_prints_nothing_and_needs_the_standard_library_only():
    assert fresh("import tokendyn") == ""
    assert fresh(_NEW_MODULES) == "[]\n"


@pytest.mark.parametrize("module", ["tokendyn.errors", "tokendyn.runs.files", "tokendyn.cli", "tokendyn.cli.runs"])
def test_light_modules_load_nothing_heavy(module):
    heavy = {"torch", "numba", "matplotlib", "pandas", "scipy", "sklearn", "xarray", "safetensors", "PIL"}
    assert fresh(f"import sys, {module}; print(sorted({heavy!r} & set(sys.modules)))") == "[]\n"


def test_looking_at_a_store_needs_neither_numpy_nor_rich():
    code = "import sys, tokendyn.cli.runs; print(sorted({'numpy', 'rich.console', 'rich.table'} & set(sys.modules)))"
    assert fresh(code) == "[]\n"


@pytest.mark.parametrize("module", ["attention", "geometry", "dynamics", "particles", "sentiment", "forecast"])
def test_computing_modules_load_no_drawing_and_print_nothing(module):
    code = f"import sys, tokendyn.{module}; print(sorted({{'matplotlib', 'PIL', 'jinja2', 'ot'}} & set(sys.modules)))"
    assert fresh(code) == "[]\n"


def test_help_and_mistakes_of_no_command_import_what_computes():
    heavy = {"numba", "pandas", "matplotlib", "scipy", "sklearn", "torch"}
    code = (
        "import sys; from tokendyn.cli.commands import app, tree, MEANFIELD\n"
        "commands = [[*group.split(), name] for group, names in tree.items() for name in names] + [[MEANFIELD]]\n"
        "for words in commands:\n"
        "    if words[0] not in tree or len(words) > 1:\n"
        "        app.parse_commands(words)[1][-1].assemble_argument_collection()\n"
        f"print(len(commands), sorted({heavy} & set(sys.modules)))"
    )
    shown = fresh(code)
    count, rest = shown.split(maxsplit=1)
    assert int(count) > 30
    assert rest.strip() == "[]"
