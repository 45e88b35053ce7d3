"""Names of 0.1 are answered with the names of 0.2."""

from importlib import import_module

import pytest

import tokendyn as td
from tokendyn.renamed import RENAMED


def test_a_name_of_an_earlier_version_is_answered_with_the_new_one():
    with pytest.raises(AttributeError, match=r"since 0\.2 it is tokendyn\.forecast\.SearchResult"):
        td.forecast.Found  # noqa: B018
    with pytest.raises(ImportError, match=r"since 0\.2 it is tokendyn\.studies\.claims"):
        from tokendyn import claims  # noqa: F401
    with pytest.raises(ImportError, match=r"since 0\.2 it is tokendyn\.rivals\.sentiment\.PublishedHardmax"):
        from tokendyn.sentiment import PublishedHardmax  # noqa: F401
    assert not hasattr(td.forecast, "Found")


def test_a_name_that_never_was_is_answered_plainly():
    with pytest.raises(AttributeError, match=r"module 'tokendyn' has no attribute 'nothing'\Z"):
        td.nothing  # noqa: B018


@pytest.mark.parametrize("new", sorted(set(RENAMED.values())))
def test_every_new_name_is_there(new):
    package, _, name = f"tokendyn.{new}".rpartition(".")
    try:
        import_module(f"{package}.{name}")
    except ModuleNotFoundError:
        assert hasattr(import_module(package), name)


@pytest.mark.parametrize("old", sorted(RENAMED))
def test_no_old_name_is_there(old):
    package, _, name = f"tokendyn.{old}".rpartition(".")
    assert not hasattr(import_module(package), name)
