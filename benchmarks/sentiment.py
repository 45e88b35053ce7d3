"""The leader classifier beside linear models on TF-IDF, a fastText-like model and the model as published, in one run.

``OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 TOKENDYN_DATA=DATA python benchmarks/sentiment.py --out sentiment.json``

IMDb: the 25,000 training reviews, split 80/20 once a seed (texts that occur twice stay on one side). Film
sentences and the reviews that ship: 10-fold cross-validation. Every choice is made inside the training part. CPU
seconds hold tokenising, training and the choice of settings; compiling is done before. ``--quick`` tries the whole
run on few texts in a minute; its numbers mean nothing.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402

from tokendyn.data.collections import movie_sentences, split_texts  # noqa: E402
from tokendyn.data.texts import LabelledTexts, imdb_reviews, small_reviews  # noqa: E402
from tokendyn.rivals.sentiment.contenders import (  # noqa: E402
    Contender,
    embedding_model,
    leader_model,
    linear_model,
    published_model,
)
from tokendyn.runs.files import write_json  # noqa: E402
from tokendyn.runs.provenance import provenance  # noqa: E402
from tokendyn.studies.sentiment.comparison import folds, measure  # noqa: E402

Split = tuple[str, int, LabelledTexts, LabelledTexts]
COLUMNS = ("accuracy", "leaders", "cpu_seconds", "texts_a_second", "model_bytes")


def contenders(published_epochs: int) -> list[Contender]:
    """Return who takes part."""
    found = [
        leader_model("leaders, words, d = 2"),
        leader_model("leaders, words and pairs, d = 2", ngrams=2, active_words=20_000),
        linear_model("TF-IDF + LR, words, default"),
        linear_model("TF-IDF + LR, words, tuned", tuned=True),
        linear_model("TF-IDF + LR, words and pairs, default", 2),
        linear_model("TF-IDF + LR, words and pairs, tuned", 2, tuned=True),
        embedding_model("fastText-like, words and pairs"),
    ]
    if published_epochs:
        found.append(published_model("as published, d = 16", dim=16, epochs=published_epochs))
    return found


def splits(corpus: str, folder: str | None, seeds: Sequence[int], *, quick: bool) -> Iterator[Split]:
    """Yield the splits of a corpus, each with its name and seed."""
    if corpus == "imdb":
        data = imdb_reviews(folder)
        data = data.take(np.arange(400)) if quick else data
        for seed in seeds:
            cut = split_texts(data, 0.2, seed)
            yield f"seed {seed}", seed, cut.training, cut.test
        return
    data = movie_sentences(folder) if corpus == "movie_sentences" else small_reviews()
    data = data.take(np.arange(0, len(data), len(data) // 200)) if quick else data
    for number, (training, test) in enumerate(folds(len(data), 2 if quick else 10, 0)):
        yield f"fold {number + 1}", number, data.take(training), data.take(test)


def run(corpus: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure every contender on every split of a corpus."""
    rows = []
    found = contenders(arguments.published_epochs)
    for name, seed, training, test in splits(corpus, arguments.data, arguments.seeds, quick=arguments.quick):
        for contender in found:
            outcome = measure(contender, training, test, seed)
            row = {"corpus": corpus, "split": name, "classifier": contender.name, "texts": len(test)}
            rows.append(row | {column: getattr(outcome, column) for column in COLUMNS})
            print(f"{corpus}, {name}: {contender.name} {100 * outcome.accuracy:.2f} %", flush=True)
    return rows


def markdown(corpus: str, rows: list[dict[str, Any]]) -> str:
    """Return the means over the splits of a corpus as a table; with few splits, each accuracy."""
    names = list(dict.fromkeys(row["split"] for row in rows))
    each = names if len(names) <= 3 else []
    lines = ["| " + " | ".join([corpus, "accuracy, %", *each, "leaders", "CPU s", "texts/s", "model, kB"]) + " |"]
    lines.append("|---" * (6 + len(each)) + "|")
    for classifier in dict.fromkeys(row["classifier"] for row in rows):
        own = [row for row in rows if row["classifier"] == classifier]
        accuracy = np.array([100 * row["accuracy"] for row in own])
        error = f" ± {accuracy.std(ddof=1) / len(own) ** 0.5:.2f}" if len(own) > 1 else ""
        leaders = "–" if own[0]["leaders"] is None else f"{np.mean([row['leaders'] for row in own]):.2f}"
        seconds, rate, size = (np.mean([row[key] for row in own]) for key in COLUMNS[2:])
        cells = [classifier, f"{accuracy.mean():.2f}{error}", *(f"{one:.2f}" for one in accuracy if each)]
        lines.append(
            "| " + " | ".join([*cells, leaders, f"{seconds:.2f}", f"{rate:,.0f}", f"{size / 1000:,.0f}"]) + " |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of the corpora; default: TOKENDYN_DATA")
    parser.add_argument("--corpora", nargs="+", default=["imdb", "movie_sentences", "small"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="splits of IMDb")
    parser.add_argument("--published-epochs", type=int, default=0, help="the model as published takes part, so long")
    parser.add_argument("--quick", action="store_true", help="few texts, to see that everything runs")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for corpus in arguments.corpora:
        own = run(corpus, arguments)
        rows += own
        print(f"\n{markdown(corpus, own)}\n", flush=True)
        if arguments.out is not None:
            settings = {key: str(value) for key, value in vars(arguments).items()}
            seconds = sum(row["cpu_seconds"] for row in rows)
            write_json(arguments.out, {"rows": rows, "provenance": provenance(settings, seed=None, seconds=seconds)})


if __name__ == "__main__":
    main()
