"""``tokendyn demo``: all four systems once, on data that come with the package or are generated."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tokendyn import exact
from tokendyn.cli.output import announce, write_json
from tokendyn.cli.progress import progress
from tokendyn.errors import OutputError
from tokendyn.runs.files import check_free, new_folder, schema_of
from tokendyn.runs.files import write_json as write_json_file

if TYPE_CHECKING:
    from tokendyn.data.labelled_texts import LabelledTexts
    from tokendyn.sentiment import LeaderClassifier
    from tokendyn.show.report import Section

SHARE_HELD_OUT = 0.2
#: Of the run of many tokens: inverse temperature, how many, and what of it is shown at a glance.
MEANFIELD_BETA, MEANFIELD_TOKENS = 100.0, 400
MEANFIELD_FACTS = (
    "tokens",
    "inverse_temperature",
    "least_distance",
    "concentration_time",
    "departure_time",
    "clusters",
)
EXACT_SEQUENCES = 100
#: Share of the flow that is learned; the rest is forecast.
SHARE_LEARNED = 0.6


def demo(*, out: Path = Path("demo-output"), seed: int = 0, dry_run: bool = False, json: bool = False) -> int:
    """Show all four systems once, in a minute or two; end with the path of one report.html.

    Clustering and a sentiment classifier that explains itself; many tokens at low temperature; a transformer in closed
    form; a forecast of a simulated wake. Uses the IMDb training reviews when the environment variable TOKENDYN_DATA
    names a folder with imdb/reviews-train.csv.gz, else the 600 short reviews that come with the package.

    Parameters
    ----------
    out
        Folder to write; an earlier demo in it is replaced.
    seed
        Seed of every random choice.
    dry_run
        Say what would be shown, and stop.
    json
        Write the path of the page and the seconds of each part as one JSON object to standard output.
    """
    from tokendyn.runs.provenance import provenance
    from tokendyn.show import Chapter, Report, Table, Text, closing, write_report

    _check_replaceable(out)
    if dry_run:
        announce(f"would show {', '.join(name for name, *_ in PARTS)}, and write {out}")
        return 0
    began = time.perf_counter()
    chapters, spent = [], {}
    with new_folder(out, overwrite=True) as folder:
        write_json_file(folder / "demo.json", {"schema": "tokendyn-demo", "schema_version": 1, "seed": seed})
        for number, (name, source, part) in enumerate(PARTS, start=1):
            start = time.perf_counter()
            announce(f"[{number}/{len(PARTS)}] {name}")
            chapters.append(Chapter(title=name, subtitle=source, sections=part(folder, seed)))
            spent[name] = round(time.perf_counter() - start, 1)
            announce(f"      done in {spent[name]:.0f} s")
        seconds = time.perf_counter() - began
        ending = closing(f"tokendyn demo --seed {seed}", provenance({}, seed=seed, seconds=seconds))
        words = "What is on this page was computed just now, on this machine, from data that come with the package or "
        opening = Text(words + "are generated. The folder beside it holds every run; tokendyn report shows each alone.")
        last = Chapter(title="How this page was made", subtitle="", sections=[Table([spent], "Seconds"), *ending])
        page = Report(
            title="tokendyn: a demonstration",
            subtitle="Four systems of tokens that move",
            sections=[opening, *chapters, last],
        )
        write_report(page, folder / "report.html")
    target = (out / "report.html").resolve()
    if json:
        write_json({"report": str(target), "seconds": spent})
    announce(f"done in {time.perf_counter() - began:.0f} s; open {target}")
    return 0


def _check_replaceable(out: Path) -> None:
    """Refuse to replace a folder that holds something else than a demo."""
    if out.exists() and schema_of(out / "demo.json") != "tokendyn-demo":
        raise OutputError(f"{out} exists already and holds no demo; choose another --out")
    check_free(out, overwrite=True)


def _clustering(folder: Path, seed: int) -> "list[Section]":
    """Run the four configurations of Figure 2 of arXiv 2407.01602."""
    from tokendyn.data.configurations import DESCRIPTIONS, configuration
    from tokendyn.particles import simulate
    from tokendyn.particles.report import run_sections, save_run
    from tokendyn.show import Picture, Text

    sections: list[Section] = [
        Text(
            "Each token is a point in the plane; in each layer it moves a third of the way towards the token whose "
            "score it finds largest. A token that finds itself stands still: it is a leader (a star). All others end "
            "on a leader, or on a place of the limiting polytope that the leaders define. The places are predicted in "
            "closed form after a few layers, and the error of that prediction is stated with each run."
        )
    ]
    with progress("configurations") as report:
        for number, (name, description) in enumerate(DESCRIPTIONS.items()):
            report(number, len(DESCRIPTIONS))
            run = simulate(configuration(name, seed), alpha=0.5, layers=30)
            save_run(run, folder / name, title=description, animation="gif" if number == 0 else None)
            shown = [part for part in run_sections(run, pictures=folder / name) if isinstance(part, Picture)]
            sections.append(Text("\n\n".join(run.describe()), f"Clustering: {description}"))
            sections += shown[: 2 if number == 0 else 1]
        report(len(DESCRIPTIONS), len(DESCRIPTIONS))
    return sections


def _mean_field(folder: Path, seed: int) -> "list[Section]":
    """Run many tokens on the circle at a low temperature: they concentrate, stay, and leave."""
    from tokendyn.dynamics import TokenFlow
    from tokendyn.particles.meanfield import report as meanfield
    from tokendyn.particles.meanfield import simulate as simulate_meanfield
    from tokendyn.particles.meanfield.starts import circle_quantiles
    from tokendyn.show import KeyFigures, Picture, Text

    value, score = np.diag([1.0, 2.0]), np.diag([4.0, 1.0])
    flow = TokenFlow(MEANFIELD_BETA, interaction=score, value=value)
    tokens = circle_quantiles(MEANFIELD_TOKENS, lambda angle: 1 + 0.4 * np.cos(angle - 0.5) + 0.3 * np.sin(2 * angle))
    with progress("steps of the flow") as report:
        run = simulate_meanfield(flow, tokens, np.linspace(0.0, 12.0, 121), seed=seed, progress=report)
    meanfield.save_run(run, folder / "mean-field", title="Tokens on the circle", animation=None)
    facts = run.summary()
    return [
        Text(
            f"{facts['tokens']} tokens on a circle under softmax attention at inverse temperature "
            f"{MEANFIELD_BETA:g}. Theory says that they first gather fast where the projection along V B^T sends "
            "them, stay there for a time that grows with the logarithm of beta, and then turn to the direction in "
            "which V is largest. The curve is the Wasserstein-2 distance to the projected law; the green band is the "
            "time for which it stays near.\n\n" + "\n\n".join(run.describe())
        ),
        KeyFigures({name.replace("_", " "): facts[name] for name in MEANFIELD_FACTS}),
        Picture(folder / "mean-field" / "distances.png", "Distance to the projected law over time"),
        Picture(folder / "mean-field" / "tokens.png", "The tokens at some moments"),
    ]


def _exact(folder: Path, seed: int) -> "list[Section]":
    """Build a transformer for random labelled sequences, and verify it in rational arithmetic."""
    from tokendyn.exact.model_page import model_sections
    from tokendyn.show import Text

    rng = np.random.default_rng(seed)
    sequences = [rng.normal(size=(length, 2)) for length in rng.integers(2, 9, EXACT_SEQUENCES)]
    labels = rng.choice(["red", "green", "blue"], EXACT_SEQUENCES).tolist()
    began = time.perf_counter()
    model = exact.compile(sequences, labels, strategy="fused", seed=seed)
    built = time.perf_counter() - began
    exact.save(model, folder / "exact-model", seconds=built)
    with progress("sequences in rational arithmetic") as report:
        done = model.certificate.verify(exact=True, progress=report)
    announce(f"      {done}")
    return [
        Text(
            f"{EXACT_SEQUENCES} random sequences of 2 to 8 points, with labels drawn at random: there is nothing to "
            f"learn, and yet a transformer that was written down in {built:.2g} seconds, without training, gives every "
            "one its label to the last bit. Each of its blocks asks one question: is there a token in this interval? "
            "The picture is the path of the first sequence.\n\n"
            f"Checked once more with fractions in place of floating-point numbers: {done}."
        ),
        *model_sections(model),
    ]


def _sentiment(folder: Path, seed: int) -> "list[Section]":
    """Train a classifier, measure it on held-out reviews, explain one of them."""
    from tokendyn.data.collections import split_texts
    from tokendyn.data.texts import imdb_reviews, small_reviews
    from tokendyn.sentiment import LeaderClassifier, save
    from tokendyn.sentiment.outcome import held_out
    from tokendyn.sentiment.report import explained_text, scene, write_explanation
    from tokendyn.show import KeyFigures, Picture, Table, Text, following_strip
    from tokendyn.show.panels import panels

    words = (
        "A classifier of two coordinates a word and eight hardmax layers. In a text the words gather around leaders; "
        "what each leader contributes, times the share of words that follow it, adds up to the verdict, so that the "
        "few leaders are the explanation."
    )
    data = imdb_reviews() if os.environ.get("TOKENDYN_DATA") else small_reviews()
    parts = split_texts(data, SHARE_HELD_OUT, seed)
    training, test = parts.training, parts.test
    announce(f"      training on {len(training)} reviews ({data.source})")
    model = LeaderClassifier(random_state=seed)
    with progress("epochs") as report:
        model.fit(training.texts, training.labels or (), progress=lambda epoch, of, _: report(epoch, of))
    measured = held_out(model, test)
    announce(
        f"      {measured['test_accuracy']:.1%} of {len(test)} held-out reviews right, "
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
        Text(words),
        KeyFigures(
            {
                "reviews": data.source,
                "training reviews": len(training),
                "held-out accuracy": f"{measured['test_accuracy']:.1%}",
                "leaders a review": f"{measured['mean_leaders']:.1f}",
                "processor seconds": model.training_["cpu_seconds"],
            },
            "A classifier that decides at hardmax",
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


def _telling_review(model: "LeaderClassifier", test: "LabelledTexts") -> str:
    """Return the first held-out review of medium length that is judged rightly by at least three leaders."""
    judged = zip(test.texts, test.labels or (), model.predict(test.texts), model.leader_counts(test.texts), strict=True)
    for text, label, verdict, leaders in judged:
        if 100 <= len(text) <= 1200 and label == verdict and leaders >= 3:
            return text
    return test.texts[0]


def _forecast(folder: Path, seed: int) -> "list[Section]":
    """Forecast the flow behind a cylinder by TD-DMD and by TD-TF."""
    from tokendyn.data.recorded import cylinder_wake
    from tokendyn.forecast import TDDMD, TDTF
    from tokendyn.forecast.figures import forecast_figure
    from tokendyn.metrics import nrmse
    from tokendyn.show import Picture, Table, Text

    series = cylinder_wake().select(["lift", "drag", "v1"])
    learned, rest = series.split(SHARE_LEARNED)
    announce(f"      learning {len(learned)} snapshots of {series.source}, forecasting the {len(rest)} that follow")
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
        announce(f"      {name} {forecast.status}, closed-loop error {error:.2g} standard deviations")
        model.save(folder / f"forecaster-{name.lower()}")
    figure = forecast_figure(
        rest.values, forecasts, series.dt, series.names, learned.values.std(axis=0), learned.values[-100:]
    )
    return [
        Text(
            f"{series.source}: the first {SHARE_LEARNED:.0%} are learned; the rest is forecast in closed loop, each "
            "prediction fed back. The flow is periodic, so that a linear model (TD-DMD) with a long window is enough: "
            "the table says which model comes closer, and how close. Where the forecast covers the grey truth, it is "
            "right.",
            "The wake of a cylinder",
        ),
        Picture(figure, alt="Forecasts over the truth, and their errors over time."),
        Table(rows, "Closed-loop error over the whole rest"),
    ]


#: Name, source and function of each part, in order.
PARTS = (
    ("Leaders among points", "Clustering, arXiv 2407.01602", _clustering),
    ("Leaders in a review", "A classifier that explains itself, arXiv 2407.01602", _sentiment),
    ("Many tokens at low temperature", "Mean field, arXiv 2605.10931", _mean_field),
    ("A transformer in closed form", "Exact classification, arXiv 2502.02270", _exact),
    ("A forecast of a flow", "Time-delayed transformer beside TD-DMD, arXiv 2602.08478", _forecast),
)
