"""The core works without the libraries of extras, and says which extra brings one that is needed."""

import subprocess
import sys

import pytest

from tokendyn.errors import MissingLibraryError, TokendynError
from tokendyn.optional import EXTRAS, installed, library, missing

_BLOCKED = """
import sys

class Blocker:
    names = {"torch", "ot", "pyarrow"}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
"""


def without_extras(code, folder):
    """Run code in a fresh interpreter in which torch, POT and pyarrow cannot be imported; return what it prints."""
    command = [sys.executable, "-W", "error::UserWarning", "-c", _BLOCKED + code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


_CORE = """
import numpy as np
rng = np.random.default_rng(0)

from tokendyn.particles import meanfield, simulate
print("clustering", simulate(rng.normal(size=(40, 2)), layers=10).trajectory.states.shape)

from tokendyn.metrics import wasserstein
points, weights = rng.normal(size=(2, 30, 2)), rng.dirichlet(np.ones(30), size=2)
print("distances", *(round(w.value - w.lower, 6) for w in (wasserstein(*points), wasserstein(*points, *weights))))

from tokendyn.dynamics import TokenFlow
flow = TokenFlow(30.0, interaction=np.diag([4.0, 1.0]), value=np.diag([1.0, 2.0]))
run = meanfield.simulate(flow, rng.normal(size=(60, 2)), np.linspace(0, 2, 5), normalise=True)
print("mean field", np.isfinite(run.exact_distance().value))

from tokendyn.attention import attend
tokens = rng.normal(size=(800, 3))
print("softmax", attend(tokens, tokens, tokens, inverse_temperature=5.0).means.shape)

from tokendyn.sentiment import LeaderClassifier
from tokendyn.data.texts import small_reviews
reviews = small_reviews()
model = LeaderClassifier(epochs=2).fit(list(reviews.texts), list(reviews.labels))
print("sentiment", len(model.predict(reviews.texts[:5])))

from tokendyn import exact
sequences = [rng.normal(size=(3, 2)) for _ in range(6)]
print("exact", list(exact.compile(sequences, list("aabbcc")).predict(sequences)))

from tokendyn.data.recorded import cylinder_wake
from tokendyn.forecast import TDDMD, TDTF
wake = cylinder_wake().select(["lift", "drag"])
for model in (TDDMD(delays=20), TDTF(delays=3, units=5, iterations=1)):
    print(type(model).__name__, model.fit(wake.values, dt=wake.dt).forecast(wake.values, 5).status)
"""


def test_the_systems_work_without_torch_pot_and_pyarrow(tmp_path):
    assert without_extras(_CORE, tmp_path).splitlines() == [
        "clustering (11, 40, 2)",
        "distances 0.0 0.0",
        "mean field True",
        "softmax (800, 3)",
        "sentiment 5",
        "exact ['a', 'a', 'b', 'b', 'c', 'c']",
        "TDDMD completed",
        "TDTF completed",
    ]


_COMMANDS = """
from tokendyn.cli import main

def run(*words):
    try:
        main(list(words))
    except SystemExit as ended:
        assert not ended.code, words

run("samples", ".")
run("simulate", "tokens.csv", "--layers", "5", "--out", "sim")
run("forecast", "fit", "flow.csv", "--time", "t", "--model", "tddmd", "--horizon", "20", "--out", "forecaster")
run("report", "sim", "forecaster", "--out", "page.html")
run("doctor", "--json")
"""


def test_commands_work_without_torch_pot_and_pyarrow(tmp_path):
    printed = without_extras(_COMMANDS, tmp_path)
    assert (tmp_path / "page.html").stat().st_size > 10_000
    assert "tokendyn[torch]" in printed


_NEEDED = """
import numpy as np
from tokendyn.errors import MissingLibraryError
from tokendyn.attention import attend
from tokendyn.data.snapshots import read_snapshots
from tokendyn.forecast import PaperTDTF
from tokendyn.metrics import transport, wasserstein

rng = np.random.default_rng(0)
x = rng.normal(size=(40, 2))
open("x.parquet", "wb").close()
transport.MAX_PATHS = 100
for use in (
    lambda: attend(x, x, x, backend="dense"),
    lambda: PaperTDTF().fit(x),
    lambda: read_snapshots("x.parquet"),
    lambda: wasserstein(x, x, rng.dirichlet(np.ones(40))),
):
    try:
        use()
    except MissingLibraryError as error:
        print(error, error.exit_code)
"""


def test_what_needs_an_extra_names_it(tmp_path):
    assert without_extras(_NEEDED, tmp_path).splitlines() == [
        'torch is not installed: pip install "tokendyn[torch]" 2',
        'torch is not installed: pip install "tokendyn[torch]" 2',
        'pyarrow is not installed: pip install "tokendyn[parquet]" 2',
        'POT is not installed: pip install "tokendyn[transport]" 2',
    ]


_WRITTEN = """
import numpy as np
from tokendyn import exact
exact.compile([np.eye(2), np.eye(2)[:1]], ["a", "b"]).to_onnx("model.onnx")
"""


def test_an_exact_model_becomes_onnx_without_torch(tmp_path):
    without_extras(_WRITTEN, tmp_path)
    assert (tmp_path / "model.onnx").stat().st_size > 1000


def test_a_library_that_is_there_is_imported_and_one_that_is_not_is_one_error(monkeypatch):
    assert library("torch").__name__ == "torch"
    assert installed("torch")
    assert missing("torch") == ""
    monkeypatch.setitem(sys.modules, "pydmd", None)
    with pytest.raises(MissingLibraryError, match=r'pydmd is not installed: pip install "tokendyn\[bench\]"') as caught:
        library("pydmd.core")
    assert isinstance(caught.value, TokendynError | ImportError)


def test_every_extra_of_a_library_is_one_of_the_package():
    import tomllib
    from pathlib import Path

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(EXTRAS.values()) <= set(project["optional-dependencies"])
    needed = " ".join(project["dependencies"])
    assert not any(name in needed for name in ("torch", "POT", "pyarrow", "tokenizers"))
