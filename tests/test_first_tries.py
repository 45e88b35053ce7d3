"""Short programs as users of scikit-learn, xarray and PyDMD write them on the first try; each runs as written."""

import os

import numpy as np
import pandas as pd
import pytest

from tokendyn.testing import waves

TRIES = {
    "simulate and look": """
import tokendyn as td
run = td.simulate([[2.0, 0.0], [0.0, 1.0], [1.0, 0.5]])
print(run)
run.plot().savefig("run.png")
""",
    "simulate a table of my own": """
import tokendyn as td
run = td.simulate(td.read_tokens("cities.csv"), layers=20)
print(run.table()[["token", "cluster", "limit_kind"]])
assert run.status == "completed"
""",
    "keep a run and come back to it": """
import tokendyn as td
td.simulate(td.configuration("square")).save("run")
print(td.load("run").summary()["leaders"])
""",
    "a page for a colleague": """
import tokendyn as td
td.simulate(td.configuration("triangle")).report("page.html")
""",
    "draw into my own axes": """
import matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt
import tokendyn as td
figure, axes = plt.subplots(1, 2)
td.simulate(td.configuration("square")).plot(axes[0])
td.simulate(td.configuration("triangle")).plot(ax=axes[1])
figure.savefig("both.png")
plt.close(figure)
""",
    "one attention step": """
import numpy as np, tokendyn as td
tokens = np.random.default_rng(0).normal(size=(10, 3))
step = td.attend(tokens, tokens, tokens)
print(step.leaders, step)
""",
    "layers of my own": """
import numpy as np, tokendyn as td
layers = [td.Layer(alpha=1.0, heads=(td.Head(inverse_temperature=5.0),))] * 4
trajectory = td.run(np.random.default_rng(0).normal(size=(10, 2)), layers)
print(trajectory.to_xarray().position.mean("token"))
""",
    "tokens on the circle": """
import numpy as np, tokendyn as td
flow = td.TokenFlow(30.0, value=np.diag([1.0, 2.0]), interaction=np.diag([4.0, 1.0]))
run = td.simulate_meanfield(flow, td.circle_quantiles(60), np.linspace(0, 2, 11), check=False)
print(run.table().head(), run.verdict)
""",
    "how far are two clouds": """
import numpy as np, tokendyn as td
rng = np.random.default_rng(0)
distance = td.wasserstein(rng.normal(size=(20, 2)), rng.normal(size=(20, 2)))
print(float(distance), distance)
""",
    "fit and forecast a file": """
import tokendyn as td
print(td.TDDMD().fit(td.read_series("x.csv")).forecast(10))
""",
    "a table with dates, as in pandas": """
import pandas as pd, tokendyn as td
table = pd.read_csv("load.csv", index_col=0, parse_dates=True)
future = td.TDDMD(delays=8).fit(table).predict(24)
pd.concat([table, future]).to_csv("longer.csv")
assert future.index[0] > table.index[-1]
""",
    "a field, as in xarray": """
import numpy as np, xarray as xr, tokendyn as td
x, t = np.linspace(0, 6, 20), np.arange(100) * 0.1
values = np.sin(x - t[:, None]) + 0.2 * np.cos(2 * x + t[:, None])
field = xr.DataArray(values, coords={"time": t, "x": x}, dims=("time", "x"))
future = td.TDDMD(delays=4, rank=4).fit(field).predict(5)
assert future.dims == ("time", "x") and abs(float(future.time[0]) - 10.0) < 1e-9
assert abs(future - (np.sin(future.x - future.time) + 0.2 * np.cos(2 * future.x + future.time))).max() < 1e-6
""",
    "modes, as in PyDMD": """
import numpy as np, tokendyn as td
x = np.loadtxt("x.csv", delimiter=",", skiprows=1)
dmd = td.TDDMD(delays=6, rank=4).fit(x, dt=0.1)
spectrum = dmd.spectrum()
print(spectrum.table().head(), spectrum.eigenvalues[:2], spectrum.frequencies[:2])
""",
    "cross-validation, as in scikit-learn": """
import tokendyn as td
from sklearn.base import clone
series = td.lorenz63(600, seed=0)
model = clone(td.TDDMD(delays=4)).set_params(delays=5).fit(series[:400])
print(model.score(series[400:]), model.backtest(series[400:], horizon=10, every=20).table())
""",
    "let it choose the model": """
import tokendyn as td
found = td.auto_forecaster(td.read_series("x.csv"), budget=0.5)
print(found.table().head(), found.forecast(5).table())
""",
    "keep a forecaster": """
import tokendyn as td
td.TDTF(delays=3, units=5, iterations=2).fit(td.read_series("x.csv")).save("model")
model = td.load("model")
print(model.predict(5), model.explain())
""",
    "classify texts, as in scikit-learn": """
import tokendyn as td
reviews = td.small_reviews()
model = td.LeaderClassifier(epochs=2, start_epochs=2).fit(reviews.texts, reviews.labels)
print(model.predict(["A warm and funny film."]), model.score(reviews.texts, reviews.labels))
why = model.explain("A warm and funny film.")
print(why)
print(why.table())
""",
    "classify a file of texts and keep the model": """
import tokendyn as td
model = td.LeaderClassifier(epochs=2, start_epochs=2, min_score=0.5).fit(td.read_texts("texts.csv"))
model.save("classifier")
model.to_onnx("classifier.onnx")
assert (td.load("classifier").predict(["good"]) == model.predict(["good"])).all()
""",
    "labels by heart, certified": """
import numpy as np, tokendyn as td
rng = np.random.default_rng(0)
sequences, labels = [rng.normal(size=(n, 2)) for n in (3, 5, 4)], ["a", "b", "a"]
model = td.compile_transformer(sequences, labels)
assert model.predict(sequences) == labels
print(model.certificate, model.certificate.verify(exact=True))
model.explain(sequences[0]).plot()
""",
    "the same as a scikit-learn classifier": """
import numpy as np, tokendyn as td
from sklearn.datasets import load_iris
X, y = load_iris(return_X_y=True)
X, first = np.unique(X, axis=0, return_index=True)
model = td.ExactClassifier().fit(X, y[first])
assert model.score(X, y[first]) == 1.0
model.save("iris")
assert td.load("iris").score(X, y[first]) == 1.0
print(model.explain(X[0]))
""",
    "what went wrong": """
import tokendyn as td
try:
    td.load("cities.csv")
except td.BadInputError as error:
    print(error)
""",
}


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cities.csv").write_text("city,x,y\nrome,2,0\nbonn,0,1\noslo,1,.5\nkiel,-1,-1\n", encoding="utf-8")
    pd.DataFrame(waves(200), columns=["lift", "drag"]).to_csv("x.csv", index=False)
    dates = pd.date_range("2024-01-01", periods=200, freq="h")
    pd.DataFrame(waves(200), columns=["load", "wind"], index=dates).to_csv("load.csv")
    texts = [f"{word} {number}" for number in range(10) for word in ("good warm", "bad dull")]
    pd.DataFrame({"text": texts, "label": ["pos", "neg"] * 10}).to_csv("texts.csv", index=False)
    return tmp_path


@pytest.mark.parametrize("name", TRIES)
def test_a_first_try_runs_as_written(name, data, unchecked, capsys):
    exec(compile(TRIES[name], name, "exec"), {"__name__": "__main__", "np": np})
    assert len(capsys.readouterr().out) < 5000
    assert all(size < 5_000_000 for size in (entry.stat().st_size for entry in os.scandir(data) if entry.is_file()))
