"""How faithful the explanations by leaders are, beside LIME, SHAP, leave-one-out and chance, on held-out IMDb reviews.

``OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 TOKENDYN_DATA=data python benchmarks/faithfulness.py --out faithfulness.json``

The 25,000 training reviews are split 80/20, seeded; the classifier with its default settings learns from the 80 %,
and 100 reviews of the 20 %, drawn at random, are explained. LIME and SHAP have ``--samples`` variants of a review
judged each; nothing is tuned on the outcome. "coefficients" are those of a tuned linear model on the same training
texts; it and the leaders are trained again, twice, on 90 % of them. Needs ``pip install tokendyn[bench]``.
"""

import argparse
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

from tokendyn.data.texts import imdb_reviews, small_reviews
from tokendyn.runs.files import write_json
from tokendyn.sentiment import LeaderClassifier
from tokendyn.studies.sentiment.faithfulness import FaithfulnessReport, evaluate_explanations

SHOWN = (
    "comprehensiveness", "sufficiency", "rank_agreement", "size", "stability", "identical", "retrained",
    "retrained_first", "seconds",
)  # fmt: skip


def print_table(report: FaithfulnessReport) -> None:
    """Print means and standard errors."""
    print("explainer  " + "  ".join(f"{name:>17}" for name in SHOWN) + "  model calls")
    for row in report.table().to_dict(orient="records"):
        cells = [f"{row[name]:.4f} ± {row[f'{name}_se']:.4f}" for name in SHOWN]
        print(f"{row['explainer']:9}  " + "  ".join(f"{cell:>17}" for cell in cells) + f"  {row['model_calls']:11.0f}")


def compared(report: FaithfulnessReport) -> dict[str, Any]:
    """Return leaders against each other explainer, text by text, and the speed-up."""
    seconds = report.table().set_index("explainer")["seconds"]
    found: dict[str, Any] = {}
    for name in report.explainers:
        if name != "leaders":
            found[name] = {"times_faster": float(seconds[name] / seconds["leaders"])}
            for measure in ("comprehensiveness", "sufficiency", "rank_agreement"):
                mean, error = report.difference("leaders", name, measure)
                found[name][measure] = {"leaders_minus_it": mean, "standard_error": error}
    return found


def explained_a_second(model: LeaderClassifier, texts: list[str]) -> float:
    """Return the number of texts judged and explained in a second of processor time, the best of three runs."""
    seconds = []
    for _ in range(4):  # the first compiles
        began = time.process_time()
        for _ in model.explain_many(texts):
            pass
        seconds.append(time.process_time() - began)
    return len(texts) / min(seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder that holds imdb/reviews-train.csv.gz; default: TOKENDYN_DATA")
    parser.add_argument("--corpus", choices=("imdb", "small"), default="imdb")
    parser.add_argument("--explainers", default="leaders,contributions,value,coefficients,lime,shap,loo,random")
    parser.add_argument("--texts", type=int, default=100)
    parser.add_argument("--samples", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()

    corpus = imdb_reviews(arguments.data) if arguments.corpus == "imdb" else small_reviews()
    texts, labels = list(corpus.texts), np.array(corpus.labels)
    order = np.random.default_rng(arguments.seed).permutation(len(texts))
    test, train = np.split(order, [len(texts) // 5])
    began = time.process_time()
    model = LeaderClassifier(random_state=arguments.seed).fit([texts[i] for i in train], labels[train])
    training = time.process_time() - began
    accuracy = float(model.score([texts[i] for i in test], labels[test]))
    print(
        f"{corpus.source}: {len(train)} texts learned in {training:.1f} s, {accuracy:.2%} of {len(test)} held out right"
    )
    speed = explained_a_second(model, [texts[i] for i in test])
    print(f"explain_many: {speed:,.0f} texts a second of processor time, with leaders, spans and contributions")
    chosen = [texts[i] for i in test[: arguments.texts]]
    record: dict[str, Any] = {
        "corpus": corpus.source,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "accuracy": accuracy,
        "training_cpu_seconds": training,
        "explained_a_second": speed,
        "parameters": model.get_params(),
        "runs": [],
    }
    for samples in arguments.samples:
        names = tuple(arguments.explainers.split(","))
        report = evaluate_explanations(
            model, chosen, names, seed=arguments.seed, samples=samples, learned=corpus.take(train)
        )
        print(f"\n{len(chosen)} held-out texts; LIME and SHAP with {samples} variants a text; mean ± standard error")
        print_table(report)
        against = compared(report)
        for name, entry in against.items():
            gap = entry["comprehensiveness"]
            print(
                f"leaders against {name}: {entry['times_faster']:.0f} times faster, comprehensiveness "
                f"{gap['leaders_minus_it']:+.4f} ± {gap['standard_error']:.4f} (paired)",
                flush=True,
            )
        record["runs"].append({"samples": samples, "leaders_against": against, **report.to_dict()})
        if arguments.out is not None:
            write_json(arguments.out, record)


if __name__ == "__main__":
    main()
