"""The chapters of ``tokendyn demo``: each computes, writes its runs, and returns what the page shows."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokendyn.cli.output import announce
from tokendyn.cli.progress import progress
from tokendyn.words import percent

if TYPE_CHECKING:
    from tokendyn.data.labelled_texts import LabelledTexts
    from tokendyn.data.snapshots import Snapshots
    from tokendyn.sentiment import LeaderClassifier
    from tokendyn.show.report import Section

SHARE_HELD_OUT = 0.2
#: The run of many tokens: inverse temperature, number of tokens, and the part shown in the overview.
MEANFIELD_BETA, MEANFIELD_TOKENS = 100.0, 400
MEANFIELD_FACTS = {
    "tokens": "tokens",
    "inverse_temperature": "inverse temperature beta",
    "least_distance": "least distance",
    "concentration_time": "time of concentration",
    "departure_time": "time of departure",
    "clusters": "clusters at the end",
}
EXACT_SEQUENCES = 100
#: Share of the wake that is learned; snapshots of the chaotic system that are learned, and that are forecast.
SHARE_LEARNED, CHAOS_LEARNED, CHAOS_FORECAST = 0.6, 1200, 300
#: Lyapunov exponent of the Lorenz system, per unit of time, and the error up to which a forecast counts as valid.
LYAPUNOV, VALID = 0.906, 0.4


@dataclass(frozen=True, kw_only=True)
class Part:
    """A chapter: its title, where it comes from, what to notice in it, and the function (folder, seed) -> sections."""

    title: str
    source: str
    notice: tuple[str, ...]
    sections: "Callable[[Path, int], list[Section]]"


def clustering(folder: Path, seed: int) -> "list[Section]":
    """Run the four configurations of Figure 2 of arXiv 2407.01602."""
    from tokendyn.data.configurations import DESCRIPTIONS, configuration
    from tokendyn.particles import simulate
    from tokendyn.particles.report import run_pictures, save_run
    from tokendyn.show import Text, prose

    sections: list[Section] = []
    with progress("configurations") as report:
        for number, (name, description) in enumerate(DESCRIPTIONS.items()):
            report(number, len(DESCRIPTIONS))
            run = simulate(configuration(name, seed), alpha=0.5, layers=30)
            save_run(run, folder / name, title=description, animation="gif" if number == 0 else None)
            shown = run_pictures(run, title=description, pictures=folder / name)
            sections += [
                Text(prose(run.describe()), description[:1].upper() + description[1:]),
                *shown[: 2 if number == 0 else 1],
            ]
        report(len(DESCRIPTIONS), len(DESCRIPTIONS))
    return [_under(description, part) for description, part in zip(_headings(sections), sections, strict=True)]


def mean_field(folder: Path, seed: int) -> "list[Section]":
    """Run many tokens on the circle at a low temperature: they concentrate, stay, and leave."""
    import numpy as np

    from tokendyn.dynamics import TokenFlow
    from tokendyn.particles.meanfield import report as meanfield
    from tokendyn.particles.meanfield import simulate as simulate_meanfield
    from tokendyn.particles.meanfield.starts import circle_quantiles
    from tokendyn.show import KeyFigures, Text, prose

    value, score = np.diag([1.0, 2.0]), np.diag([4.0, 1.0])
    flow = TokenFlow(MEANFIELD_BETA, interaction=score, value=value)
    tokens = circle_quantiles(MEANFIELD_TOKENS, lambda angle: 1 + 0.4 * np.cos(angle - 0.5) + 0.3 * np.sin(2 * angle))
    with progress("steps of the flow") as report:
        run = simulate_meanfield(flow, tokens, np.linspace(0.0, 12.0, 121), seed=seed, progress=report)
    meanfield.save_run(run, folder / "mean-field", title="Tokens on the circle", animation=None)
    facts = run.summary()
    return [
        Text(prose(run.describe())),
        KeyFigures({shown: facts[name] for name, shown in MEANFIELD_FACTS.items()}),
        *meanfield.run_pictures(run),
    ]


def exact(folder: Path, seed: int) -> "list[Section]":
    """Build a transformer for random labelled sequences, and verify it in rational arithmetic."""
    import numpy as np

    from tokendyn.exact import compile as compile_transformer
    from tokendyn.exact import save
    from tokendyn.exact.model_page import model_sections
    from tokendyn.show import Text

    rng = np.random.default_rng(seed)
    sequences = [rng.normal(size=(length, 2)) for length in rng.integers(2, 9, EXACT_SEQUENCES)]
    labels = rng.choice(["red", "green", "blue"], EXACT_SEQUENCES).tolist()
    began = time.perf_counter()
    model = compile_transformer(sequences, labels, strategy="fused", seed=seed)
    built = time.perf_counter() - began
    save(model, folder / "exact-model", seconds=built)
    with progress("sequences in rational arithmetic") as report:
        done = model.certificate.verify(exact=True, progress=report)
    announce(f"      {done}")
    text = (
        f"{EXACT_SEQUENCES} random sequences of 2 to 8 points have labels drawn at random, so that there is nothing to "
        f"learn. The transformer was written down in {built:.2g} seconds, without training. Checked once more with "
        f"fractions in place of floating-point numbers: {done}."
    )
    return [Text(text), *model_sections(model)]


def sentiment(folder: Path, seed: int) -> "list[Section]":
    """Train a classifier, measure it on held-out reviews, explain a clear one and a hard one."""
    from tokendyn.data.collections import split_texts
    from tokendyn.data.texts import imdb_reviews, small_reviews
    from tokendyn.sentiment import LeaderClassifier, save
    from tokendyn.sentiment.outcome import held_out
    from tokendyn.sentiment.report import write_explanation
    from tokendyn.show import KeyFigures, Text

    data = imdb_reviews() if os.environ.get("TOKENDYN_DATA") else small_reviews()
    parts = split_texts(data, SHARE_HELD_OUT, seed)
    training, test = parts.training, parts.test
    announce(f"      training on {len(training)} reviews ({data.source})")
    model = LeaderClassifier(random_state=seed)
    with progress("steps") as report:
        model.fit(training.texts, training.labels or (), progress=lambda epoch, of, _: report(epoch, of))
    measured = held_out(model, test)
    announce(
        f"      {measured['test_accuracy']:.1%} of {len(test)} held-out reviews right, "
        f"{measured['mean_leaders']:.1f} leaders a review, contributions add up to {measured['largest_sum_error']:.0e}"
    )
    save(model, folder / "model")
    facts = {
        "reviews": data.source,
        "training reviews": len(training),
        "held-out accuracy": percent(measured["test_accuracy"]),
        "leaders a review": f"{measured['mean_leaders']:.1f}",
        "processor time of the training, s": model.training_["cpu_seconds"],
    }
    sections: list[Section] = [KeyFigures(facts, "A classifier that decides at hardmax")]
    clear, hard = telling_reviews(model, test)
    for kind, text in (("clear", clear), ("hard", hard)):
        if text:
            why = model.explain(text)
            write_explanation(why, folder / f"{kind}-review.html")
            sections += _review(why, kind)
    pages = (
        "The coloured reviews with every contribution are in clear-review.html and hard-review.html beside this page."
    )
    return [*sections, Text(pages)]


def telling_reviews(model: "LeaderClassifier", test: "LabelledTexts") -> tuple[str, str]:
    """Return a held-out review of which the model is sure, rightly, and one of which it is sure, wrongly.

    Both are of medium length. The first has at least three leaders. The second is empty if no verdict is wrong.
    """
    texts = list(test.texts)
    verdicts, leaders = model.predict(texts), model.leader_counts(texts)
    certainty = model.predict_proba(texts).max(axis=1)
    sure = sorted(range(len(texts)), key=lambda number: -float(certainty[number]))
    right = {number: verdicts[number] == (test.labels or ())[number] for number in sure}
    clear = [n for n in sure if right[n] and leaders[n] >= 3 and 80 <= len(texts[n]) <= 1200]
    hard = [n for n in sure if not right[n] and leaders[n] >= 3 and 80 <= len(texts[n]) <= 1200]
    return texts[clear[0] if clear else 0], texts[hard[0]] if hard else ""


def _review(why: Any, kind: str) -> "list[Section]":
    """Return a review with its verdict, its leaders and, for a wrong one, the reason."""
    from tokendyn.sentiment.report import explained_text, scene
    from tokendyn.show import Picture, Table, Text, following_strip
    from tokendyn.show.panels import panels

    rows: list[dict[str, Any]] = [
        {"leader": leader.word, "mass": leader.mass, "contribution": leader.contribution}
        for leader in explained_text(why).leaders
    ]
    verdict = f"A {kind} review, judged {why.label}" + (", wrongly" if kind == "hard" else "")
    against = sorted(rows, key=lambda row: float(row["contribution"]), reverse=why.logit > 0)
    words = " and ".join(f'"{row["leader"]}" ({float(row["contribution"]):+.2f})' for row in against[:2])
    reason = (
        f"The verdict follows {words}, which speak for {why.label} in most reviews. Here they do not, because of the "
        "words around them. The model adds words up; it sees which words there are, and not of what they are said."
        if kind == "hard"
        else f"The verdict follows {words}. Contributions, bias and residual add up to it exactly, so that nothing is "
        "left over that the explanation does not show."
    )
    name = f"{kind} review"
    note = f"Bias {why.bias:+.2f}, residual {why.residual:+.2f}; all together {why.logit:+.2f}."
    sections: list[Section] = [
        Text(why.text, verdict), Text(reason),
        Table(rows, f"Why, of the {name}: contributions of the leaders", note=note),
    ]  # fmt: skip
    moving = scene(why, f"The {name}: its words gather around leaders")
    if moving is not None and kind == "clear":
        sections += [
            Picture(
                panels(moving), f"The words of the {name} over the layers",
                "Notice that words of one colour end at one star: it is their leader, and speaks for all of them.",
                "The words move", panels(moving, narrow=True),
            ),
            Picture(
                following_strip(moving), f"Which leader each word of the {name} follows",
                "Notice the widths at the right edge: the share of the words that a leader has is its weight.",
                narrow=following_strip(moving, narrow=True),
            ),
        ]  # fmt: skip
    return sections


def forecasts(folder: Path, seed: int) -> "list[Section]":
    """Forecast a periodic flow, for which a linear model is enough, and a chaotic system, for which it is not."""
    from tokendyn.data.recorded import cylinder_wake
    from tokendyn.data.systems import lorenz63
    from tokendyn.forecast import TDDMD, TDTF
    from tokendyn.show import Text

    wake = cylinder_wake().select(["lift", "drag", "v1"])
    linear = {
        "TD-DMD": TDDMD(delays=40),
        "TD-TF": TDTF(delays=16, stride=5, rank=16, units=40, noise=3e-4, iterations=10, random_state=seed),
    }
    chaos = lorenz63(CHAOS_LEARNED + CHAOS_FORECAST, seed=seed)
    curved = {
        "TD-DMD": TDDMD(delays=40),
        "TD-TF": TDTF(delays=4, stride=2, units=40, iterations=20, random_state=seed),
    }
    sections: list[Section] = [
        Text(
            "A cylinder sheds its vortices periodically: what comes is a linear function of a long enough past. "
            f"The first {100 * SHARE_LEARNED:.0f} % are learned; the rest is forecast in closed loop, each prediction "
            "fed back. TD-DMD, the linear model, is the one to take here: it is solved in one step, and its "
            "eigenvalues are the frequencies of the flow.",
            "A periodic wake: the linear model is enough",
        ),
        *_compared(wake, round(SHARE_LEARNED * len(wake)), linear, folder, "wake"),
        Text(
            "The Lorenz system never repeats itself, and errors grow by a factor of e in "
            f"{1 / LYAPUNOV:.2g} units of time. A linear model can only oscillate, grow or decay, and leaves the truth "
            "at once. TD-TF learns how the linear map changes along the orbit, and follows it for several such times.",
            "A chaotic system: the transformer is needed",
        ),
        *_compared(chaos, CHAOS_LEARNED, curved, folder, "lorenz"),
    ]
    return sections


def _compared(series: "Snapshots", learned: int, models: dict[str, Any], folder: Path, name: str) -> "list[Section]":
    """Fit the models to the beginning of a series, forecast the rest, and return picture and table."""
    import numpy as np

    from tokendyn.forecast.figures import forecast_figure
    from tokendyn.metrics import nrmse
    from tokendyn.show import Picture, Table

    past, rest = series[:learned], series[learned:]
    announce(f"      {name}: learning {len(past)} snapshots, forecasting the {len(rest)} that follow")
    drawn, rows = {}, []
    for title, model in models.items():
        model.fit(past.values, dt=series.dt)
        forecast = model.forecast(past.values, len(rest))
        drawn[title] = forecast.values
        whole = np.full_like(rest.values, np.nan)
        whole[: forecast.finite_steps] = forecast.values
        errors = np.sqrt((((whole - rest.values) / model.scale_) ** 2).mean(axis=1))
        over = np.flatnonzero(~(errors < VALID))
        valid = series.dt * (int(over[0]) if len(over) else len(rest))
        error = nrmse(whole, rest.values, model.scale_)
        rows.append(
            {"model": title, "error, standard deviations": error, f"time until the error is {VALID:g}": valid,
             "status": forecast.status, "seconds to fit": model.fit_seconds_}
        )  # fmt: skip
        announce(f"      {title} {forecast.status}, valid for {valid:.3g} units of time, error {error:.2g} sd")
        model.save(folder / f"forecaster-{name}-{title.lower()}")
    figure = forecast_figure(rest.values, drawn, series.dt, series.names, past.values.std(axis=0), past.values[-100:])
    caption = (
        "Notice where the coloured lines cover the grey truth: there the forecast is right. The lowest curves are the "
        f"errors in standard deviations; a model whose curve stays below {VALID:g} still follows the truth."
    )
    ended = f"All {len(rest)} snapshots, {series.dt * len(rest):.3g} units of time, are forecast from one start."
    return [
        Picture(figure, f"{name}: forecasts over the truth, and their errors over time", caption),
        Table(rows, f"Errors of the closed loop, {name}", note=ended),
    ]


def _headings(sections: "list[Section]") -> list[str]:
    """Return the text above each section."""
    current, headings = "", []
    for part in sections:
        current = part.heading if type(part).__name__ == "Text" else current
        headings.append(current)
    return headings


def _under(description: str, part: "Section") -> "Section":
    """Return a picture without its own heading: that of its text is above it."""
    import dataclasses

    return dataclasses.replace(part, heading="") if type(part).__name__ == "Picture" and description else part


#: The chapters, in order.
PARTS = (
    Part(
        title="Leaders among points",
        source="Clustering, arXiv 2407.01602",
        notice=(
            "A token that finds itself the best stands still: it is a leader, drawn as a star. All others end on a "
            "leader, or on a point of the limiting polytope that the leaders define.",
            "Where each token ends is known after the first layers in closed form; the error of that prediction is "
            "stated with each run.",
        ),
        sections=clustering,
    ),
    Part(
        title="Leaders in a review",
        source="A classifier that explains itself, arXiv 2407.01602",
        notice=(
            "The words of a review gather around leaders, and what the leaders contribute adds up to the verdict: the "
            "few leaders are the explanation.",
            "One review is clear and one is hard: the model is sure, and wrong. The explanation shows why.",
        ),
        sections=sentiment,
    ),
    Part(
        title="Many tokens at low temperature",
        source="Mean field, arXiv 2605.10931",
        notice=(
            "Tokens on a circle first gather fast where the projection along V B^T sends them, stay there for a time "
            "that grows with the logarithm of beta, and then turn to the direction in which V is largest.",
            "The curve falls to its least value, and rises again: the green band in between is the metastable phase.",
        ),
        sections=mean_field,
    ),
    Part(
        title="A transformer in closed form",
        source="Exact classification, arXiv 2502.02270",
        notice=(
            "There is nothing to learn in random labels, and yet every sequence gets its own to the last bit.",
            "Each block asks one question: is there a token in this interval? Follow one sequence through the "
            "questions to its label.",
        ),
        sections=exact,
    ),
    Part(
        title="Forecasts of a flow and of chaos",
        source="Time-delayed transformer beside TD-DMD, arXiv 2602.08478",
        notice=(
            "On the periodic wake the linear model (TD-DMD) is enough, and better.",
            "On the chaotic system it fails at once; the transformer (TD-TF) follows the truth many times longer.",
        ),
        sections=forecasts,
    ),
)
