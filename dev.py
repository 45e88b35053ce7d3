"""Commands for a fresh machine with only Python 3.11 or newer: demo, test, lint, docs, bench, resolve.

Each makes ``.venv`` beside this file when it is missing, installs what the command needs with the versions of
``constraints.txt``, and runs. Standard library only.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
EXTRAS = {"demo": "", "lint": "test", "test": "test,docs", "docs": "docs", "bench": "bench", "resolve": "test,docs"}
#: The versions of Python for which constraints.txt must resolve.
PYTHONS = ("3.11", "3.12", "3.13")


def run(*command: str | Path, environment: dict[str, str] | None = None) -> None:
    """Run a command in the project folder; stop with its exit code when it fails."""
    print("+", *(str(part).replace(str(ROOT) + os.sep, "") for part in command), flush=True)
    done = subprocess.run([str(part) for part in command], cwd=ROOT, env=environment, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def install(extra: str) -> None:
    """Make the virtual environment and install the package with one extra; do nothing when that is done."""
    inputs = (ROOT / "constraints.txt").read_bytes() + (ROOT / "pyproject.toml").read_bytes()
    stamp = VENV / f"installed-{extra or 'core'}-{hashlib.sha256(inputs).hexdigest()[:16]}"
    if stamp.exists():
        return
    if not PYTHON.exists():
        print(f"making {VENV.name} with Python {sys.version.split()[0]}", flush=True)
        venv.create(VENV, with_pip=True)
    # Without byte code an installation is quicker and .15 GB smaller; Python compiles what it imports.
    pip = (PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile")
    constraints = ("--constraint", ROOT / "constraints.txt")
    run(*pip, *constraints, "--upgrade", "pip")
    if extra:
        # torch first and alone: with the pinned build in place nothing later asks for another one. The core needs none.
        run(*pip, *constraints, "torch")
    run(*pip, *constraints, "--editable", f".[{extra}]" if extra else ".")
    stamp.touch()


def demo(arguments: list[str]) -> None:
    """Show every system on one page, demo-output/report.html; it is there at once and grows as it is computed."""
    run(PYTHON, "-m", "tokendyn", "demo", *arguments)


def style(arguments: list[str]) -> None:
    """Check style."""
    run(PYTHON, "-m", "ruff", "check", *arguments)
    run(PYTHON, "-m", "ruff", "format", "--check")


def lint(arguments: list[str]) -> None:
    """Check style and types."""
    style(arguments)
    run(PYTHON, "-m", "mypy")


def test(arguments: list[str]) -> None:
    """Check style, then run every test, and check types beside them: mypy alone would leave the other cores idle."""
    style([])
    mypy = subprocess.Popen([PYTHON, "-m", "mypy"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    pytest = (PYTHON, "-m", "pytest", "--numprocesses", "auto", *arguments)
    print("+ mypy +", *pytest[1:], flush=True)
    code = subprocess.run(pytest, cwd=ROOT, check=False).returncode
    print(mypy.communicate()[0].decode(), end="", flush=True)
    sys.exit(code or mypy.returncode)


def docs(arguments: list[str]) -> None:
    """Build the documentation into docs/_build; warnings are errors."""
    run(PYTHON, "-m", "sphinx", "-W", "--keep-going", "-b", "html", "docs", "docs/_build", *arguments)


def bench(arguments: list[str]) -> None:
    """Run every benchmark script."""
    for script in sorted((ROOT / "benchmarks").glob("*.py")):
        run(PYTHON, script, *arguments)


def resolve(arguments: list[str]) -> None:
    """Check that constraints.txt resolves with an empty pip configuration, for every supported Python.

    pip only reads metadata (``--dry-run``). A Python that is not on the path is resolved for by its version; then
    markers are those of the running Python, which is all that pip offers.
    """
    # What a machine says to pip (index, local wheels, constraints of its own) must not be what makes it work.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environment["PIP_CONFIG_FILE"] = os.devnull
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    extras = project["optional-dependencies"]
    requirements = sorted({*project["dependencies"], *extras["test"], *extras["docs"]})
    pip = (PYTHON, "-m", "pip", "--quiet", "--disable-pip-version-check")
    options = ("--dry-run", "--ignore-installed", "--only-binary", ":all:", "--constraint", "constraints.txt")
    for version in PYTHONS:
        present = shutil.which(f"python{version}")
        works = present and subprocess.run([present, "--version"], capture_output=True, check=False).returncode == 0
        target = ("install", "--python-version", version, "--target", ROOT / "build" / version)
        command = (*pip, "--python", present, "install") if works else (*pip, *target)
        print(f"Python {version}", flush=True)
        run(*command, *options, *arguments, *requirements, environment=environment)


COMMANDS = {"demo": demo, "test": test, "lint": lint, "docs": docs, "bench": bench, "resolve": resolve}


def main() -> None:
    """Read the command line."""
    # Installed without byte code, each process would compile what it imports, if it were not allowed to keep that.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    options, arguments = parser.parse_known_args()
    install(EXTRAS[options.command])
    COMMANDS[options.command](arguments)


if __name__ == "__main__":
    main()
