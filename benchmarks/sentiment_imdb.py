"""Leader classifier beside TF-IDF and logistic regression, each on words and on words with pairs, on one split.

``OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python benchmarks/sentiment_imdb.py --data DATA``

The split is 80/20, seeded; every choice is made inside the 80 %. CPU seconds hold tokenising and training, and
for the leader classifier reading too; compiling is done first and reported apart.
"""

import argparse
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tokendyn.data.texts import imdb_reviews, small_reviews
from tokendyn.runs.files import write_json
from tokendyn.sentiment import LeaderClassifier, save


def compile_kernels() -> float:
    """Train on a few texts, so that numba compiles; return the processor time it took."""
    began = time.process_time()
    texts = ["good film indeed", "good and fine", "bad film indeed", "bad and dull"] * 4
    model = LeaderClassifier(epochs=1, start_epochs=1).fit(texts, [1, 1, 0, 0] * 4)
    model.explain(texts[0])
    model.predict(texts)
    return time.process_time() - began


TOKENS: dict[str, dict[str, Any]] = {"words": {}, "words and pairs": {"ngrams": 2, "active_words": 20_000}}


def leaders_row(
    texts: list[str], labels: np.ndarray, train: np.ndarray, test: np.ndarray, seed: int, tokens: str
) -> dict[str, Any]:
    """Fit the leader classifier and measure it on the test part."""
    learn, held = [texts[i] for i in train], [texts[i] for i in test]
    began = time.process_time()
    model = LeaderClassifier(random_state=seed, **TOKENS[tokens]).fit(learn, labels[train])
    cpu = time.process_time() - began
    began = time.process_time()
    right = model.predict(held) == labels[test]
    predicting = time.process_time() - began
    began = time.process_time()
    gaps, sizes = [], []
    logits = model.decision_function(held[:1000])
    for text, logit in zip(held[:1000], logits, strict=True):
        explanation = model.explain(text)
        total = sum(part for _, part in explanation.as_list()) + explanation.residual + explanation.bias
        gaps += [
            abs(total - logit),
            abs(sum(word.contribution for word in explanation.contributions) + explanation.bias - logit),
        ]
        sizes.append(len(explanation.leaders))
    explaining = (time.process_time() - began) / len(sizes)
    began = time.process_time()
    many = sum(1 for _ in model.explain_many(held))
    explaining_many = time.process_time() - began
    best = model.training_["best"]
    return {
        "accuracy": float(np.mean(right)),
        "validation_accuracy": best["validation_accuracy"],
        "leaders": float(np.mean(model.leader_counts(held))),
        "cpu_seconds": cpu,
        "predict_texts_a_second": len(held) / predicting,
        "explain_ms": 1000 * explaining,
        "explain_texts_a_second": many / explaining_many,
        "model_bytes": model_bytes(model),
        "largest_gap": float(max(gaps)),
    }


def model_bytes(model: LeaderClassifier) -> int:
    """Return the size of the saved model."""
    with tempfile.TemporaryDirectory() as folder:
        save(model, Path(folder) / "model")
        return sum(path.stat().st_size for path in (Path(folder) / "model").iterdir())


def linear_row(
    texts: list[str], labels: np.ndarray, train: np.ndarray, test: np.ndarray, tokens: str
) -> dict[str, Any]:
    """Fit TF-IDF and logistic regression with scikit-learn's own settings, and with sublinear tf, C = 4 or 10."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    learn, held = [texts[i] for i in train], [texts[i] for i in test]
    row = {}
    length = TOKENS[tokens].get("ngrams", 1)
    for name, sublinear, strength in (("default", False, 1.0), ("tuned", True, 4.0 if length == 1 else 10.0)):
        model = make_pipeline(
            TfidfVectorizer(min_df=2, ngram_range=(1, length), sublinear_tf=sublinear),
            LogisticRegression(C=strength, max_iter=1000),
        )
        began = time.process_time()
        model.fit(learn, labels[train])
        row[f"{name}_cpu_seconds"] = time.process_time() - began
        row[f"{name}_accuracy"] = float(model.score(held, labels[test]))
    return row


def line(row: dict[str, Any]) -> str:
    """Return a row of the table."""
    return (
        f"{row['seed']:4d}  {row['tokens']:15s}  {100 * row['accuracy']:8.2f}  {100 * row['default_accuracy']:9.2f}  "
        f"{100 * row['tuned_accuracy']:5.2f}  {row['leaders']:7.2f}  {row['cpu_seconds']:13.1f}  "
        f"{row['default_cpu_seconds']:8.1f}  {row['predict_texts_a_second']:7.0f}  "
        f"{row['explain_texts_a_second']:11.0f}  {row['explain_ms']:10.2f}  {row['model_bytes']:7d}  "
        f"{row['largest_gap']:11.1e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder that holds imdb/reviews-train.csv.gz; default: TOKENDYN_DATA")
    parser.add_argument("--corpus", choices=("imdb", "small"), default="imdb")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()

    compiling = compile_kernels()
    began = time.process_time()
    corpus = imdb_reviews(arguments.data) if arguments.corpus == "imdb" else small_reviews()
    reading = time.process_time() - began
    texts, labels = list(corpus.texts), np.array(corpus.labels)
    print(f"{corpus.source}: {len(texts)} texts, read in {reading:.1f} s; compiling took {compiling:.1f} s")
    print(
        "seed  tokens           accuracy  TF-IDF+LR  tuned  leaders  CPU s (train)  LR CPU s"
        "  texts/s  explained/s  explain ms  bytes    largest gap"
    )
    rows = []
    for seed in range(arguments.seeds):
        order = np.random.default_rng(seed).permutation(len(texts))
        test, train = np.split(order, [len(texts) // 5])
        for tokens in TOKENS:
            row: dict[str, Any] = {"seed": seed, "tokens": tokens}
            row |= leaders_row(texts, labels, train, test, seed, tokens)
            row |= linear_row(texts, labels, train, test, tokens)
            rows.append(row)
            print(line(row), flush=True)
    if arguments.out is not None:
        write_json(
            arguments.out,
            {
                "corpus": corpus.source,
                "parameters": LeaderClassifier().get_params(),
                "machine": platform.machine(),
                "read_cpu_seconds": reading,
                "compile_cpu_seconds": compiling,
                "rows": rows,
            },
        )


if __name__ == "__main__":
    main()
