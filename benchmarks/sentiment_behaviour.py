"""The behavioural suite on the classifier and on the best linear models with pairs; how close a distilled copy comes.

``OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 TOKENDYN_DATA=DATA python benchmarks/sentiment_behaviour.py --seeds 0 1 2``

IMDb, the 25,000 training reviews, split 80/20 once a seed. Of each kind, every second case served to develop the
modifiers; the others are counted apart ("reported"). The strengths of the linear models have the best accuracy on a
tenth of their training texts. ``--distil`` also distils TF-IDF with logistic regression, and a small network on
singular vectors: both have learned from one half of the training texts, and the copy from all of these.
"""

import argparse
import os
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402
from scipy import sparse  # noqa: E402
from sklearn.base import BaseEstimator, TransformerMixin  # noqa: E402
from sklearn.decomposition import TruncatedSVD  # noqa: E402
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit  # noqa: E402
from sklearn.neural_network import MLPClassifier  # noqa: E402
from sklearn.pipeline import Pipeline, make_pipeline  # noqa: E402

from tokendyn.data.collections import split_texts  # noqa: E402
from tokendyn.data.texts import imdb_reviews, small_reviews  # noqa: E402
from tokendyn.runs.files import write_json  # noqa: E402
from tokendyn.runs.provenance import provenance  # noqa: E402
from tokendyn.sentiment import BehaviourReport, LeaderClassifier, check_behaviour, fidelity  # noqa: E402

#: Words with their apostrophes, so that "isn't" is a word for the linear models too.
WORD = r"(?u)\b\w(?:[\w']*\w)?\b"


class LogCountRatio(TransformerMixin, BaseEstimator):
    """The scaling of NB-SVM (Wang and Manning 2012): presence times the log-count ratio of the term."""

    def fit(self, X: Any, y: Any) -> "LogCountRatio":
        """Count the texts of both classes with each term."""
        present = (X > 0).astype(np.float64)
        positive = np.asarray(y) == sorted(set(y))[1]
        p, q = (1.0 + np.asarray(present[rows].sum(axis=0)).ravel() for rows in (positive, ~positive))
        self.ratio_ = np.log(p / p.sum()) - np.log(q / q.sum())
        return self

    def transform(self, X: Any) -> Any:
        """Return presence times ratio."""
        return ((X > 0).astype(np.float64) @ sparse.diags(self.ratio_)).tocsr()


def tuned(*steps: Any, strengths: tuple[float, ...], seed: int) -> Pipeline:
    """Return a linear model whose strength is chosen on a tenth of the training texts."""
    held = StratifiedShuffleSplit(1, test_size=0.1, random_state=seed)
    linear = LogisticRegression(solver="liblinear", max_iter=1000)
    return make_pipeline(*steps, GridSearchCV(linear, {"C": strengths}, cv=held))


def rivals(seed: int) -> dict[str, Pipeline]:
    """Return the linear models with pairs."""
    options = {"ngram_range": (1, 2), "min_df": 2, "token_pattern": WORD}
    return {
        "TF-IDF + LR, pairs": tuned(
            TfidfVectorizer(sublinear_tf=True, **options), strengths=(3.0, 10.0, 30.0), seed=seed
        ),
        "NB-LR, pairs": tuned(
            CountVectorizer(binary=True, **options), LogCountRatio(), strengths=(0.003, 0.01, 0.03, 0.1), seed=seed
        ),
    }


def counted(report: BehaviourReport) -> dict[str, Any]:
    """Return right cases: of the two halves, of negation in the reported one, and by kind."""
    cases = report.cases.assign(reported=report.cases.groupby("kind").cumcount() % 2 == 1)
    negation = cases["kind"].str.contains("negation")
    found: dict[str, Any] = {
        "developed": cases[~cases["reported"]], "reported": cases[cases["reported"]],
        "reported negation": cases[cases["reported"] & negation],
    }  # fmt: skip
    counts = {name: f"{int(part['right'].sum())}/{len(part)}" for name, part in found.items()}
    return counts | {row["kind"]: f"{row['right']}/{row['cases']}" for row in report.table().to_dict(orient="records")}


def boxes(seed: int) -> dict[str, Pipeline]:
    """Return the models that are distilled."""
    words = {"min_df": 2, "sublinear_tf": True}
    network = MLPClassifier((50,), early_stopping=True, random_state=seed)
    return {
        "TF-IDF + LR, pairs": make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), **words), LogisticRegression(C=10, max_iter=1000)
        ),
        "network on singular vectors": make_pipeline(
            TfidfVectorizer(**words), TruncatedSVD(200, random_state=seed), network
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--quick", action="store_true", help="the short reviews that ship")
    parser.add_argument("--distil", action="store_true")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    data = small_reviews() if arguments.quick else imdb_reviews(os.environ.get("TOKENDYN_DATA"))
    record: dict[str, Any] = {"runs": [], "provenance": provenance({}, seed=None, seconds=0.0)}
    for seed in arguments.seeds:
        parts = split_texts(data, 0.2, seed)
        train, labels = list(parts.training.texts), np.array(parts.training.labels)
        test, truth = list(parts.test.texts), np.array(parts.test.labels)
        models: dict[str, Any] = {
            "leaders": LeaderClassifier(), "leaders, no modifiers": LeaderClassifier(modifiers=False), **rivals(seed),
        }  # fmt: skip
        for name, model in models.items():
            model.fit(train, labels)
            row = {"seed": seed, "model": name, "accuracy": float(np.mean(model.predict(test) == truth))}
            row |= counted(check_behaviour(model))
            record["runs"].append(row)
            print(row, flush=True)
        half = len(train) // 2
        for name, box in (boxes(seed) if arguments.distil else {}).items():
            copy = LeaderClassifier.distil(box.fit(train[:half], labels[:half]), train, test_fraction=0.0)
            row = {"seed": seed, "distilled": name, **fidelity(copy, box, test).to_dict()}
            record["runs"].append(row)
            print(row, flush=True)
    if arguments.out is not None:
        write_json(arguments.out, record)


if __name__ == "__main__":
    main()
