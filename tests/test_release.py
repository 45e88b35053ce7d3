"""What the wheel and the source distribution hold: everything that runs without the repository, and nothing else."""

import email
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTICES = (ROOT / "THIRD-PARTY-NOTICES.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build both with the project's own back end, without fetching anything."""
    pytest.importorskip("hatchling", reason="pip install hatchling to build the distributions")
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    return zipfile.ZipFile(next(built.glob("*.whl")))


def metadata(wheel):
    name = next(name for name in wheel.namelist() if name.endswith("METADATA"))
    return email.message_from_bytes(wheel.read(name))


def test_the_wheel_holds_code_templates_demo_data_types_and_notices(wheel):
    names = set(wheel.namelist())
    source = ROOT / "src"
    needed = {str(path.relative_to(source)) for path in source.rglob("*") if path.suffix in (".py", ".j2", ".js")}
    assert (
        needed | {"tokendyn/py.typed", "tokendyn/data/small_reviews.csv", "tokendyn/data/cylinder_wake.safetensors"}
        <= names
    )
    assert {Path(name).name for name in names if "/licenses/" in name} == {"LICENSE", "THIRD-PARTY-NOTICES.md"}
    assert all(name.startswith("tokendyn") for name in names)


def test_the_metadata_name_the_licence_by_spdx(wheel):
    about = metadata(wheel)
    assert about["License-Expression"] == "Apache-2.0"
    assert set(about.get_all("License-File")) == {"LICENSE", "THIRD-PARTY-NOTICES.md"}
    assert not any("License ::" in line for line in about.get_all("Classifier"))
    assert "Typing :: Typed" in about.get_all("Classifier")
    wheel_entry = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert b"tokendyn = tokendyn.cli:main" in wheel.read(wheel_entry)


def test_every_dependency_has_a_notice(wheel):
    noticed = {re.sub(r"[-_.]+", "-", name).lower() for name in re.findall(r"^\| ([\w.-]+) \|", NOTICES, re.MULTILINE)}
    wanted = [line for line in metadata(wheel).get_all("Requires-Dist") if "extra ==" not in line]
    needed = {re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", line)[0]).lower() for line in wanted}
    assert needed
    assert needed <= noticed


def test_the_source_distribution_holds_no_cache_and_what_the_project_tracks(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "constraints.txt", "dev.py", "README.md", "LICENSE", "tests/conftest.py"} <= names
    unwanted = re.compile(
        r"__pycache__|\.pyc$|_cache|\.egg-info|(^|/)\.venv|(^|/)\.git/|demo-output|docs/_build|\.nbc$"
    )
    assert not [name for name in names if unwanted.search(name)]
