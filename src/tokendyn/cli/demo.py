"""``tokendyn demo``: everything once, on real input."""

import os
import time
from pathlib import Path

import numpy as np

from tokendyn.cli.output import announce, progress
from tokendyn.cli.sentiment import evaluate
from tokendyn.data.collections import split_texts
from tokendyn.data.configurations import DESCRIPTIONS, configuration
from tokendyn.data.flow import cylinder_flow
from tokendyn.data.snapshots import Snapshots
from tokendyn.data.texts import LabelledTexts, imdb_reviews, small_reviews
from tokendyn.forecast import TDDMD, TDTF
from tokendyn.forecast.figures import forecast_figure
from tokendyn.metrics import nrmse
from tokendyn.particles import simulate
from tokendyn.particles.report import run_sections, save_run
from tokendyn.runs.files import new_folder
from tokendyn.runs.provenance import provenance
from tokendyn.sentiment import LeaderClassifier, save
from tokendyn.sentiment.report import explained_text, scene, write_explanation
from tokendyn.show import KeyFigures, Picture, Provenance, Report, Table, Text, following_strip, write_report
from tokendyn.show.panels import panels
from tokendyn.show.report import Section

SHARE_HELD_OUT = 0.2
#: Share of the flow that is learned; the rest is forecast.
SHARE_LEARNED = 0.6


def demo(*, out: Path = Path("demo-output"), seed: int = 0) -> int:
    """Show clustering, an explained sentiment classifier and a forecast of a wake, in minutes; end with report.html.

    Uses the IMDb training reviews when the environment variable TOKENDYN_DATA names a folder with
    imdb/reviews-train.csv.gz, else the 600 short reviews that come with the package. The flow is simulated.

    Parameters
    ----------
    out
        Folder to write; an earlier demo in it is replaced.
    seed
        Seed of every random choice.
    """
    began = time.perf_counter()
    with new_folder(out, overwrite=True) as folder:
        sections = [*_clustering(folder, seed), *_sentiment(folder, seed), *_forecast(folder, seed)]
        seconds = time.perf_counter() - began
        sections.append(Provenance(provenance({"command": "tokendyn demo"}, seed=seed, seconds=seconds)))
        page = Report(
            "tokendyn: a demonstration",
            "Leaders among points, leaders in a real review, and a flow that is forecast",
            sections,
        )
        write_report(page, folder / "report.html")
    announce(f"done in {time.perf_counter() - began:.0f} s; open {(out / 'report.html').resolve()}")
    return 0


def _clustering(folder: Path, seed: int) -> list[Section]:
    """Run the four configurations of Figure 2 of arXiv 2407.01602."""
    sections: list[Section] = []
    for name, description in DESCRIPTIONS.items():
        announce(f"clustering: {name} ({description})")
        run = simulate(configuration(name, seed), alpha=0.5, layers=30)
        save_run(run, folder / name, title=description)
        _, *parts = run_sections(run, pictures=folder / name)
        pictures = [part for part in parts if isinstance(part, Picture)][:2]
        sections += [Text("\n\n".join(run.describe()), f"Clustering: {description}"), *pictures]
    return sections


def _sentiment(folder: Path, seed: int) -> list[Section]:
    """Train a classifier, measure it on held-out reviews, explain one of them."""
    data = imdb_reviews() if os.environ.get("TOKENDYN_DATA") else small_reviews()
    parts = split_texts(data, SHARE_HELD_OUT, seed)
    training, test = parts.training, parts.test
    announce(f"sentiment: training on {len(training)} reviews ({data.source})")
    model = LeaderClassifier(random_state=seed)
    with progress("epochs") as report:
        model.fit(training.texts, training.labels or (), progress=lambda epoch, of, _: report(epoch, of))
    measured = evaluate(model, test)
    announce(
        f"sentiment: {measured['test_accuracy']:.1%} of {len(test)} held-out reviews right, "
        f"{measured['mean_leaders']:.1f} leaders a review, contributions add up to {measured['largest_sum_error']:.0e}"
    )
    save(model, folder / "model")
    why = model.explain(_telling_review(model, test))
    write_explanation(why, folder / "explanation.html")
    explained, moving = explained_text(why), scene(why, "A review: its words gather around leaders")
    rows = [
        {"leader": leader.word, "mass": leader.mass, "contribution": leader.contribution}
        for leader in explained.leaders
    ]
    sections: list[Section] = [
        KeyFigures(
            {
                "reviews": data.source,
                "training reviews": len(training),
                "held-out accuracy": f"{measured['test_accuracy']:.1%}",
                "leaders a review": f"{measured['mean_leaders']:.1f}",
                "processor seconds": model.training_["cpu_seconds"],
            },
            "Sentiment: a classifier that decides at hardmax",
        ),
        Text(why.text, f"One held-out review, judged {why.label}"),
        Table(rows, f"Why: contributions, with bias {why.bias:+.2f} and residual {why.residual:+.2f}"),
    ]
    if moving is not None:
        sections += [
            Picture(panels(moving), "The words of the review over the layers"),
            Picture(following_strip(moving), "Which leader each word follows"),
        ]
    sections.append(Text("The coloured review with every contribution is in explanation.html beside this page."))
    return sections


def _telling_review(model: LeaderClassifier, test: LabelledTexts) -> str:
    """Return the first held-out review of medium length that is judged rightly by at least three leaders."""
    judged = zip(test.texts, test.labels or (), model.predict(test.texts), model.leader_counts(test.texts), strict=True)
    for text, label, verdict, leaders in judged:
        if 100 <= len(text) <= 1200 and label == verdict and leaders >= 3:
            return text
    return test.texts[0]


def _forecast(folder: Path, seed: int) -> list[Section]:
    """Forecast the flow behind a cylinder by TD-DMD and by TD-TF."""
    series = _flow()
    learned, rest = series.split(SHARE_LEARNED)
    announce(f"forecast: learning {len(learned)} snapshots of {series.source}, forecasting the {len(rest)} that follow")
    models = {
        "TD-DMD": TDDMD(delays=40),
        "TD-TF": TDTF(delays=16, stride=5, rank=16, units=40, noise=3e-4, iterations=10, random_state=seed),
    }
    forecasts, rows = {}, []
    for name, model in models.items():
        model.fit(learned.values, dt=series.dt)
        forecast = model.forecast(learned.values, len(rest))
        forecasts[name] = forecast.values
        whole = np.full_like(rest.values, np.nan)
        whole[: forecast.finite_steps] = forecast.values
        error = nrmse(whole, rest.values, model.scale_)
        rows.append({"model": name, "error, sd": error, "status": forecast.status, "seconds": model.fit_seconds_})
        announce(f"forecast: {name} {forecast.status}, closed-loop error {error:.2g} standard deviations")
        model.save(folder / f"forecaster-{name.lower()}")
    figure = forecast_figure(
        rest.values, forecasts, series.dt, series.names, learned.values.std(axis=0), learned.values[-100:]
    )
    return [
        Text(
            f"{series.source}: the first {SHARE_LEARNED:.0%} are learned; the rest is forecast in closed loop, each "
            "prediction fed back. The flow is periodic, so that a linear model with a long window is enough: the table "
            "says which model comes closer.",
            "Forecast: the wake of a cylinder",
        ),
        Picture(figure, alt="Forecasts over the truth, and their errors over time."),
        Table(rows, "Closed-loop error over the whole rest"),
    ]


def _flow() -> Snapshots:
    """Simulate a small flow."""
    announce("forecast: simulating the flow past a cylinder")
    flow = cylinder_flow(points=700, discard=100.0, resolution=8, length=20.0, height=10.0, upstream=6.0).series
    seen = flow.select(["lift", "drag", "v1"])
    return Snapshots(seen.values, seen.times, seen.dt, seen.names, source="lift, drag and a wake probe of a cylinder")
