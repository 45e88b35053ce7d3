"""What every test runs under: checked shapes, repeatable examples, one thread."""

import ast
import os
import sys
from pathlib import Path

import checked
import pytest
from hypothesis import settings
from jaxtyping import _import_hook, install_import_hook
from jaxtyping import config as jaxtyping_config

SOURCE = Path(__file__).parents[1] / "src"

#: Modules of compiled kernels: numba cannot compile a function that a shape check wraps.
KERNELS = {
    "tokendyn.attention.circle_kernels",
    "tokendyn.attention.drift_kernels",
    "tokendyn.attention.fused",
    "tokendyn.attention.legendre_kernels",
    "tokendyn.attention.pair_kernels",
    "tokendyn.attention.polytope_kernels",
    "tokendyn.attention.softmax_kernels",
    "tokendyn.attention.tops",
    "tokendyn.attention.tree_kernels",
    "tokendyn.attention.triton_kernels",
    "tokendyn.data.systems.kernels",
    "tokendyn.dynamics.freeze_kernels",
    "tokendyn.dynamics.ragged_kernels",
    "tokendyn.dynamics.ragged_leader_kernels",
    "tokendyn.dynamics.ragged_share_kernels",
    "tokendyn.exact.event_kernels",
    "tokendyn.exact.kernels",
    "tokendyn.exact.planner_kernels",
    "tokendyn.exact.planner_runs",
    "tokendyn.exact.set_kernels",
    "tokendyn.forecast.exponential_kernels",
    "tokendyn.forecast.flow_kernels",
    "tokendyn.forecast.rollout_kernels",
    "tokendyn.metrics.transport_kernels",
    "tokendyn.rivals.sentiment.hashed_kernels",
    "tokendyn.rivals.sentiment.published_kernels",
    "tokendyn.sentiment.count_kernels",
    "tokendyn.sentiment.group_kernels",
    "tokendyn.sentiment.kernels",
    "tokendyn.sentiment.scan_kernels",
    "tokendyn.sentiment.succession_kernels",
    "tokendyn.studies.flow.kernels",
}


def _annotated_modules() -> list[str]:
    """Return all modules but packages (the hook would take in whatever lies under them) and kernels."""
    files = (file for file in SOURCE.rglob("*.py") if file.stem != "__init__")
    names = {".".join(file.relative_to(SOURCE).with_suffix("").parts) for file in files}
    return sorted(names - KERNELS)


for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


# Tests start hundreds of processes. Without byte code each of them compiles what it imports, for seconds.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    sys.dont_write_bytecode = False


class OuterFunctions(_import_hook.JaxtypingTransformer):
    """Wraps functions of modules and classes, and not those within functions.

    An inner function is defined anew at every call of the outer one, and to wrap it compiles a checker each time: a
    millisecond, where a step of tokens takes twenty microseconds.
    """

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        """Leave a function within a function as it is."""
        inner = any(isinstance(parent, ast.FunctionDef) for parent in self._parents)
        return node if inner else super().visit_FunctionDef(node)


_import_hook.JaxtypingTransformer = OuterFunctions
checked.install()
# The hook names its files of byte code after this string: the space keeps them apart from those of jaxtyping's own.
install_import_hook(_annotated_modules(), "beartype .beartype")

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None, max_examples=60)
settings.register_profile("search", deadline=None, database=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_configure() -> None:
    """Keep torch, and the BLAS of numpy, to one thread, as on shared cores."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)  # jaxtyping's plugin has imported numpy before this file could say so


@pytest.fixture
def unchecked():
    """Switch the shape checks off, so that wrong input reaches tokendyn's own messages as it does for users."""
    jaxtyping_config.update("jaxtyping_disable", True)
    yield
    jaxtyping_config.update("jaxtyping_disable", False)


@pytest.fixture
def rng():
    """Return a generator with the same numbers in every run."""
    import numpy as np

    return np.random.default_rng(20240701)


@pytest.fixture(scope="module")
def browser():
    """Return a running Chromium."""
    from browser import BROWSER

    if BROWSER is None:
        pytest.skip("no Chromium on the path: install chromium to test pages in a browser")
    sync_api = pytest.importorskip("playwright.sync_api", reason="install tokendyn[test] for playwright")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()
