"""Make every figure of the pages: ``python docs/make_figures.py``; the build of the documentation does it first.

Figures are computed here, in small; those of long measurements are drawn from the numbers in ``docs/data``, which the
benchmarks wrote. What is there already is made anew only when this script or the data are newer. The picture of the
README, ``docs/images/leaders.gif``, is written by this script and not by the build.
"""

import importlib.util
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

mpl.use("agg")

DOCS = Path(__file__).resolve().parent
#: The page of an explained review and the explorer, which pages show in a frame.
PAGE, EXPLORER = "why.html", "explorer.html"
#: The film of the README, in ``docs/images``.
FILM = "leaders.gif"
_MATRICES = ["--value", "diag(1,2)", "--score", "diag(4,1)"]


def leaders() -> Figure:
    """Sixty tokens and their leaders, layers 0, 1, 2 and 30."""
    from tokendyn.particles import simulate
    from tokendyn.show.panels import panels

    run = simulate(np.random.default_rng(4).normal(size=(60, 2)), alpha=0.5, layers=30)
    return panels(run.scene("60 tokens gather around their leaders"), layers=(0, 1, 2, 30))


def leaders_last() -> Figure:
    """Show the same tokens after the last layer: the door of those who study dynamics."""
    from tokendyn.particles import simulate

    run = simulate(np.random.default_rng(4).normal(size=(60, 2)), alpha=0.5, layers=30)
    figure, axes = _new("")
    run.picture().draw(axes)
    axes.set_title("60 tokens have reached 6 leaders", fontsize=10)
    axes.set_xlim(right=2.9)  # room for the legend
    return figure


def door_forecast() -> Figure:
    """Show a noisy oscillation with a calibrated forecast: the door of those who have snapshots."""
    from tokendyn.forecast import TDDMD

    steps = np.arange(240)
    series = np.sin(0.2 * steps) + 0.15 * np.random.default_rng(0).standard_normal(240)
    model = TDDMD(delays=12, rank=2).fit(series[:200]).calibrate(series[:200], horizon=40)
    forecast = model.forecast(40, level=0.9)
    figure, axes = _new("40 steps ahead, with a band of 90 %")
    axes.plot(steps[140:200], series[140:200], "k-", lw=1, label="measured")
    axes.plot(steps[200:], series[200:], "k.", ms=4, label="measured later")
    axes.plot(steps[200:], forecast.values, "C0-", label="forecast")
    assert forecast.lower is not None
    assert forecast.upper is not None
    axes.fill_between(steps[200:], forecast.lower[:, 0], forecast.upper[:, 0], color="C0", alpha=0.25)
    axes.set(xlabel="step")
    axes.legend(fontsize=8)
    return figure


def door_texts() -> Figure:
    """Show what the leaders of a review add: the door of those who have texts."""
    from tokendyn.data.texts import small_reviews
    from tokendyn.sentiment import LeaderClassifier

    reviews = small_reviews()
    model = LeaderClassifier(random_state=0).fit(reviews.texts, reviews.labels)
    figure, axes = _new("")
    text = "A warm film with a brilliant cast, but the ending is dull."
    model.explain(text).plot(axes)
    axes.set_title(f"“{text}”", fontsize=10)
    return figure


def door_model() -> Figure:
    """Show tokens of eight texts, planted to gather by a third a layer: the door of those who have a model."""
    from tokendyn import inspect

    rng = np.random.default_rng(0)
    texts = []
    for _ in range(8):
        states = [rng.normal(size=(20, 16))]
        for _ in range(5):
            states.append(states[-1] + (states[-1].mean(axis=0) - states[-1]) / 3)
        texts.append(np.array(states))
    figure, axes = _new("Tokens of one text gather, beyond those of others")
    inspect(texts).plot(axes)
    return figure


def meanfield_guard() -> Figure:
    """Too few tokens at beta = 10,000 follow another limit than enough of them."""
    from tokendyn.particles.meanfield import experiments, simulate, starts

    figure, axes = _new("The wrong limit at $\\beta = 10^4$")
    times = np.linspace(0, 9, 46)
    for count, style in ((100, "C3-"), (600, "C0-")):
        tokens = starts.circle_quantiles(count, experiments.asymmetric_density)
        run = simulate(experiments.lined_flow(1e4), tokens, times, check=False)
        axes.semilogy(times, run.distances, style, label=f"{count} tokens: {run.resolution.status}")
    axes.set(xlabel="$t$", ylabel="$W_2$ (coupling)")
    axes.legend(fontsize=8)
    return figure


def meanfield_a() -> Figure:
    """Experiment A: curves of 300 tokens, computed; times of 1,000 tokens, measured; the closure."""
    from tokendyn.particles.meanfield import clusters_at, experiments, gaussian_closure
    from tokendyn.particles.meanfield.starts import circle_quantiles

    measured = _measured("meanfield")["A"]
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    curves = experiments.experiment_a(betas=(10.0, 30.0, 100.0, 300.0, 1000.0), count=300, until=15.0)[1]
    _draw_curves(left, curves)
    left.set(title="A: distance to the projected law (300 tokens)", ylim=(5e-3, 2))
    left.axhline(0.5, color="grey", lw=0.6)
    clusters = clusters_at(circle_quantiles(1000, experiments.asymmetric_density))
    closures = [
        gaussian_closure((1.0, 2.0), (4.0, 1.0), float(beta), clusters, 30.0).phases for beta in measured["beta"]
    ]
    for name, colour in (("concentration", "C0"), ("departure", "C3")):
        right.plot(measured["beta"], measured[name], f"{colour}o", label=f"{name}, measured (1,000 tokens)")
        right.plot(measured["beta"], [getattr(found, name) for found in closures], f"{colour}-", lw=0.8)
    right.set(xscale="log", xlabel=r"$\beta$", ylabel="time", title="Times; lines: Gaussian closure")
    right.legend(fontsize=8)
    return figure


def meanfield_b() -> Figure:
    """Experiment B: curves at two temperatures, computed; least distances, measured."""
    from tokendyn.particles.meanfield import experiments

    measured = _measured("meanfield")["B"]
    figure, axes = _new("B: sphere, dim E = 2; stars: measured with 2,000 to 8,400 tokens")
    _draw_curves(axes, experiments.experiment_b(betas=(10.0, 30.0), least_count=300)[1])
    axes.semilogy(measured["concentration"], measured["least"], "k*", label=r"least, $\beta=30, 100, 300$")
    axes.legend(fontsize=8)
    return figure


def meanfield_c() -> Figure:
    """Experiment C: two controls with 200 tokens."""
    from tokendyn.particles.meanfield import experiments

    figure, axes = _new(r"C: controls, $\beta = 300$ (200 tokens)")
    rows, curves = experiments.experiment_c(count=200)
    for row, curve in zip(rows, curves, strict=True):
        axes.semilogy(curve.times, curve.distances, label=row["control"])
    axes.set(xlabel="$t$", ylabel="$W_2$ (coupling)")
    axes.legend(fontsize=8)
    return figure


def meanfield_d() -> Figure:
    """Experiment D: departures, measured."""
    measured = _measured("meanfield")["D"]
    figure, axes = _new("D: E is no eigenspace of V")
    counts = measured["tokens"]
    for colour, (beta, times) in enumerate(measured["departure"].items()):
        axes.semilogx(counts, [three[0] for three in times], f"C{colour}o-", label=rf"$\beta={beta}$, quantiles")
        for seed in (1, 2):
            label = "independent" if seed == 1 else None
            axes.semilogx(counts, [three[seed] for three in times], f"C{colour}x", label=label)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set(xlabel="$n$", ylabel="departure")
    figure.legend(loc="outside right center", fontsize=8)
    return figure


def meanfield_e() -> Figure:
    """Experiment E: least distances of ten independent starts, mean and standard deviation, measured."""
    measured = _measured("meanfield")["E"]
    figure, axes = _new("E: independent uniform starts, 10 seeds")
    for shift, (name, colour) in enumerate((("least", "C3"), ("without crossed tokens", "C0"))):
        means, spreads = np.array(measured[name]).T
        axes.errorbar(np.array(measured["beta"]) * 1.08**shift, means, spreads, fmt=f"{colour}o", capsize=3, label=name)
    axes.set(xscale="log", xlabel=r"$\beta$", ylabel="least $W_2$: mean and standard deviation", ylim=(0, None))
    axes.legend(fontsize=8)
    return figure


def sweep_against() -> Figure:
    """Clusters and limits over the step and the temperature: the runs of a sweep, in one process."""
    from tokendyn.particles import simulate
    from tokendyn.show.sweeps import sweep_figure

    rng = np.random.default_rng(1)
    tokens, rows = rng.normal(size=(40, 2)), []
    for alpha in np.geomspace(0.1, 2, 5):
        for beta in np.exp(rng.uniform(0, np.log(100), 20)):
            run = simulate(tokens, alpha=float(alpha), inverse_temperature=float(beta), layers=50)
            spread = float(run.trajectory.states[-1].std(axis=0).max())
            rows.append((float(alpha), float(len(run.trajectory.clusters().sizes)), spread))
    columns = dict(zip(("alpha", "clusters", "spread"), zip(*rows, strict=True), strict=True))
    return sweep_figure(columns, "alpha", ["clusters", "spread"])


def forecast_cost() -> Figure:
    """Microseconds of a closed-loop step by delays, measured."""
    from tokendyn.studies.forecast.figures import cost_figure

    measured = _measured("forecast")["cost"]["microseconds a step"]
    return cost_figure({name: {int(m): cost for m, cost in costs.items()} for name, costs in measured.items()})


def forecast_reaction_diffusion() -> Figure:
    """Closed-loop errors and valid times of the reaction-diffusion study, measured."""
    measured = _measured("forecast")["reaction-diffusion"]["modes"]
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    errors, times = figure.subplots(1, 2)
    models = list(measured["2"])
    for place, (name, marker) in enumerate(zip(models, "*os^D", strict=True)):
        shift = 0.12 * (place - 2)
        found = [measured[modes][name] for modes in measured]
        errors.semilogy([k + shift for k in range(3)], [one[0] or np.nan for one in found], f"C{place}{marker}")
        times.plot([k + shift for k in range(3)], [one[1] for one in found], f"C{place}{marker}", label=name)
    errors.set(ylabel="field error (none where it diverged)")
    times.set(ylabel="valid time, median")
    for axes in (errors, times):
        axes.set_xticks(range(3), [f"{modes} modes" for modes in measured])
    figure.legend(loc="outside right center", fontsize=8)
    return figure


def attention_cost() -> Figure:
    """Seconds of a hardmax layer against the number of tokens, measured: one panel for each dimension."""
    measured = _measured("attention")["seconds a layer"]
    figure = Figure(figsize=(11, 4), layout="constrained")
    panels = figure.subplots(1, len(measured), sharey=True)
    for axes, (dim, rivals) in zip(panels, measured.items(), strict=True):
        for marker, (name, points) in zip("osv^Dxp+", rivals.items(), strict=False):
            width = 2.2 if name.startswith("tokendyn") else 1.2
            axes.loglog(*zip(*points, strict=True), marker=marker, label=name, lw=width, ms=4)
        axes.set(title=f"d = {dim}", xlabel="tokens")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("CPU seconds a hardmax layer")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return figure


def forecast_errors() -> Figure:
    """Closed-loop errors of the studies, median to worst start, measured."""
    from tokendyn.studies.forecast.figures import GROUPS

    tasks = _measured("forecast")["errors"]
    groups = {"TD-TF": "ours", "TD-DMD": "linear", "PyDMD": "linear"}
    figure = Figure(figsize=(9, 0.9 + 0.42 * sum(map(len, tasks.values())) / 2), layout="constrained")
    grid = figure.subplots(-(-len(tasks) // 2), 2, squeeze=False)
    for axes, (task, models) in zip(grid.flat, tasks.items(), strict=False):
        for place, (name, errors) in enumerate(models.items()):
            colour, marker = GROUPS[groups.get(name, "peer")]
            axes.semilogx(errors, [place, place], color=colour, linewidth=1.4)
            axes.semilogx(errors[:1], [place], color=colour, marker=marker)
        low, high = np.log10(axes.get_xlim())
        axes.set_xlim(10 ** np.floor(low), 10 ** np.ceil(high))
        axes.set_yticks(range(len(models)), list(models))
        axes.set_ylim(len(models) - 0.4, -0.6)
        axes.set_title(task, fontsize=9.5, loc="left")
    for axes in list(grid.flat)[len(tasks) :]:
        axes.set_axis_off()
    figure.supxlabel("closed-loop error, standard deviations: median to worst start", fontsize=9)
    return figure


def film(folder: Path) -> None:
    """Write the same tokens as a film."""
    from tokendyn.particles import simulate
    from tokendyn.show import animate

    run = simulate(np.random.default_rng(4).normal(size=(60, 2)), alpha=0.5, layers=12)
    animate(run.scene("60 tokens gather around their leaders"), folder / FILM, seconds=4, fps=6)


def meanfield_run(folder: Path) -> None:
    """Run tokens from the command line and take its figures."""
    words = ["simulate", "--model", "meanfield", "--beta", "300", *_MATRICES, "--tokens", "300", "--no-animation"]
    _take(words, {"distances.png": folder / "meanfield_run.png", "tokens.png": folder / "meanfield_tokens.png"})


def phase(folder: Path) -> None:
    """Fill two phase diagrams from the command line and take their figures."""
    over_time = ["phase", "--betas", "10,20,30,60,100,200", *_MATRICES, "--tokens", "80"]
    over_spectrum = ["phase", "--spectrum", "--betas", "10,30,100", "--score", "diag(4,1)", "--tokens", "60"]
    _take(over_time, {"phase.png": folder / "phase_time.png", "slopes.png": folder / "phase_slopes.png"})
    _take(over_spectrum, {"phase.png": folder / "phase_spectrum.png"})


def exact_slopes(folder: Path) -> None:
    """Blocks and nonzeros of exact transformers, measured; drawn as their benchmark draws them."""
    script = importlib.util.spec_from_file_location("exact_benchmark", DOCS.parent / "benchmarks" / "exact.py")
    assert script is not None
    assert script.loader is not None
    benchmark = importlib.util.module_from_spec(script)
    script.loader.exec_module(benchmark)
    benchmark.draw(_measured("exact_slopes")["rows"], folder / "exact_slopes.png")


def explanation(folder: Path) -> None:
    """Write the page that explains a review."""
    from tokendyn.data.texts import small_reviews
    from tokendyn.sentiment import LeaderClassifier

    reviews = small_reviews()
    model = LeaderClassifier(random_state=0).fit(reviews.texts, reviews.labels)
    why = model.explain("I feared the worst, but this is a warm, brilliant film.")
    (folder / PAGE).write_text(why.to_html(), encoding="utf-8")


def explorer(folder: Path) -> None:
    """Write the explorer with all its presets."""
    from tokendyn.particles.presets import presets
    from tokendyn.show.explorer import write_explorer

    write_explorer({name: preset.to_dict() for name, preset in presets().items()}, "emerging-leader", folder / EXPLORER)


#: Each figure by its function.
DRAWN: dict[str, Callable[[], Figure]] = {
    "leaders.png": leaders, "leaders_last.png": leaders_last,
    "door_forecast.png": door_forecast, "door_texts.png": door_texts, "door_model.png": door_model,
    "meanfield_guard.png": meanfield_guard, "meanfield_A.png": meanfield_a,
    "meanfield_B.png": meanfield_b, "meanfield_C.png": meanfield_c, "meanfield_D.png": meanfield_d,
    "meanfield_E.png": meanfield_e, "forecast_cost.png": forecast_cost,
    "forecast_reaction_diffusion.png": forecast_reaction_diffusion, "sweep_against.png": sweep_against,
    "attention_cost.png": attention_cost,
    "forecast_errors.png": forecast_errors,
}  # fmt: skip
#: What writes files itself, by the files that it writes.
WRITTEN: dict[tuple[str, ...], Callable[[Path], None]] = {
    ("meanfield_run.png", "meanfield_tokens.png"): meanfield_run,
    ("phase_time.png", "phase_slopes.png", "phase_spectrum.png"): phase,
    ("exact_slopes.png",): exact_slopes,
    (PAGE,): explanation,
    (EXPLORER,): explorer,
}


def names() -> set[str]:
    """Return the names of all files that are made."""
    return set(DRAWN).union(*WRITTEN)


def make(folder: Path = DOCS / "figures") -> None:
    """Write all figures that are missing, or older than this script or the data, into a folder."""
    folder.mkdir(exist_ok=True)
    newest = max(file.stat().st_mtime for file in (Path(__file__), *(DOCS / "data").glob("*.json")))

    def old(name: str) -> bool:
        file = folder / name
        return not file.exists() or file.stat().st_mtime < newest

    for name, draw in DRAWN.items():
        if old(name):
            draw().savefig(folder / name, dpi=90)
    for made, write in WRITTEN.items():
        if any(map(old, made)):
            write(folder)


def _take(words: Sequence[str], pictures: dict[str, Path]) -> None:
    """Run a command of tokendyn and keep pictures of the folder that it writes."""
    from tokendyn.cli import run

    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "out"
        if run([*words, "--out", str(out)]):
            raise RuntimeError(f"tokendyn {' '.join(words)} failed")
        for name, target in pictures.items():
            shutil.copyfile(out / name, target)


def _measured(name: str) -> dict:
    return json.loads((DOCS / "data" / f"{name}.json").read_text(encoding="utf-8"))


def _new(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=10)
    return figure, axes


def _draw_curves(axes: Axes, curves: Sequence) -> None:
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.9, len(curves)))
    for curve, colour in zip(curves, colours, strict=True):
        axes.semilogy(curve.times, curve.distances, color=colour, label=rf"$\beta={curve.inverse_temperature:g}$")
    axes.set(xlabel="$t$", ylabel="$W_2$ (coupling)")
    axes.legend(fontsize=8)


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS / "figures")
    film(DOCS / "images")
