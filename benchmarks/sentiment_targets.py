"""What the classifier at transfer 0 is held to, beside linear models: accuracy, calibration at any length, reasons.

``OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 TOKENDYN_DATA=DATA python benchmarks/sentiment_targets.py --seeds 11 12 13``

IMDb, the 25,000 training reviews, split 80/20 once a seed. Crops and single sentences are cut from the judged reviews,
the sentences of film reviews are another domain; none of them is learned from. ``--quick`` tries the run on few texts.
"""

import argparse
import os
import re
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402

from tokendyn.data.collections import movie_sentences, split_texts  # noqa: E402
from tokendyn.data.texts import imdb_reviews, small_reviews  # noqa: E402
from tokendyn.runs.files import write_json  # noqa: E402
from tokendyn.runs.provenance import provenance  # noqa: E402
from tokendyn.sentiment import LeaderClassifier, find_words  # noqa: E402

#: Words without a view of their own; a leader made of such words alone says nothing.
STOP_WORDS = frozenset(
    (  # noqa: SIM905 - a list of words reads best as a line
        "a about after all also am an and any are as at be because been before being but by can could did do does "
        "doing for from had has have having he her hers him his how i if in into is it it's its just me more most my "
        "no nor not of on or other our out over own s same she so some such t than that that's the their them then "
        "there these they this those through to too under until up very was we were what when where which while who "
        "whom why will with would you your"
    ).split()
)
Sets = dict[str, tuple[Sequence[str], np.ndarray]]


def judged_sets(texts: Sequence[str], labels: Sequence[Any], seed: int) -> Sets:
    """Return the judged reviews, crops and sentences of them, and sentences of another source."""
    rng = np.random.default_rng(seed)
    crops, sentences, of_sentences = [], [], []
    for text, label in zip(texts, labels, strict=True):
        words = find_words(text)
        length = min(int(np.exp(rng.uniform(np.log(5), np.log(200)))), len(words))
        first = int(rng.integers(0, len(words) - length + 1))
        crops.append(text[words[first][1] : words[first + length - 1][2]] if length else "")
        parts = re.split(r"(?<=[.!?])\s+", re.sub("<[^>]*>", " ", text))
        parts = [part for part in parts if 5 <= len(part.split()) <= 40]
        if parts:
            sentences.append(parts[len(parts) // 2])
            of_sentences.append(label)
    films = movie_sentences(os.environ.get("TOKENDYN_DATA"))
    return {
        "reviews": (texts, np.array(labels) == "pos"),
        "crops": (crops, np.array(labels) == "pos"),
        "sentences": (sentences, np.array(of_sentences) == "pos"),
        "films": (films.texts, np.array(films.labels) == "pos"),
    }


def calibration(probability: np.ndarray, positive: np.ndarray) -> dict[str, float]:
    """Return accuracy, expected calibration error in 20 bins, log-loss, and the share of errors above 99 %."""
    probability = np.clip(probability, 1e-12, 1 - 1e-12)
    sure, right = np.maximum(probability, 1 - probability), (probability > 0.5) == positive
    bins = np.minimum((sure * 20).astype(int), 19)
    error = sum(abs(sure[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins))
    loss = -np.log(np.where(positive, probability, 1 - probability)).mean()
    wrong = float((~right[sure > 0.99]).mean()) if (sure > 0.99).any() else 0.0
    return {"accuracy": float(right.mean()), "error": float(error), "log_loss": float(loss), "wrong_above_99": wrong}


def reasons(model: LeaderClassifier, texts: Sequence[str]) -> dict[str, float]:
    """Return number and kind of leaders, how exactly parts add up, and how true a leader's own number is."""
    began = time.process_time()
    found = list(model.explain_many(texts))
    seconds = time.process_time() - began
    gaps = [abs(v.bias + v.residual + sum(led.contribution for led in v.leaders) - v.logit) for v in found]
    leaders = [led for verdict in found for led in verdict.leaders]
    stops = [all(word in STOP_WORDS for word in led.word.split()) for led in leaders]
    whole, cut, own = [], [], []
    for verdict, text in list(zip(found, texts, strict=True))[:600]:
        for led in verdict.leaders:
            kept, end = [], 0
            for first, last in led.spans:
                kept.append(text[end:first])
                end = last
            cut.append(" ".join([*kept, text[end:]]))
            whole.append(verdict.logit)
            own.append(led.own)
    ratio = (np.array(whole) - model.decision_function(cut)) / np.array(own)
    return {
        "leaders": float(np.mean([len(verdict.leaders) for verdict in found])),
        "stop_words": float(np.mean(stops)),
        "largest_gap": float(max(gaps)),
        "own_5": float(np.quantile(ratio, 0.05)),
        "own_50": float(np.median(ratio)),
        "own_95": float(np.quantile(ratio, 0.95)),
        "own_within_a_tenth": float(np.mean(np.abs(ratio - 1) <= 0.1)),
        "texts_a_second": len(texts) / seconds,
    }


def stability(
    make: Callable[[], LeaderClassifier], texts: Sequence[str], labels: Sequence[Any], judged: Sequence[str]
) -> dict[str, float]:
    """Return how far two trainings on 90 % of the texts name the same leaders: Jaccard, same first leader."""
    named = []
    for seed in (0, 1):
        part = np.sort(np.random.default_rng(seed).permutation(len(texts))[: int(0.9 * len(texts))])
        model = make().fit([texts[row] for row in part], [labels[row] for row in part])
        named.append([[led.word for led in verdict.leaders] for verdict in model.explain_many(judged)])
    pairs = [(set(a), set(b)) for a, b in zip(*named, strict=True) if a or b]
    first = [a[:1] == b[:1] for a, b in zip(*named, strict=True)]
    return {"jaccard": float(np.mean([len(a & b) / len(a | b) for a, b in pairs])), "same_first": float(np.mean(first))}


def measure(seed: int, ngrams: int, *, quick: bool, steady: bool) -> dict[str, Any]:
    """Return all measures of one split."""
    data = small_reviews() if quick else imdb_reviews(os.environ.get("TOKENDYN_DATA"))
    parts = split_texts(data, 0.2, seed)
    train, labels, test = parts.training.texts, parts.training.labels, parts.test
    sets = judged_sets(test.texts, test.labels, seed)
    began = time.process_time()
    model = LeaderClassifier(ngrams=ngrams, transfer=0.0).fit(train, labels)
    seconds = time.process_time() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    record: dict[str, Any] = {
        "seconds": seconds, "gigabytes": memory, "phantom": model.phantom_,
        "prior": {name: model.training_[name] for name in ("phantom", "floor", "marginal", "prior_strength")},
        "sets": {name: calibration(model.predict_proba(texts)[:, 1], truth) for name, (texts, truth) in sets.items()},
        "reasons": reasons(model, test.texts), "good": float(model.predict_proba(["The film was good."])[0, 1]),
    }  # fmt: skip
    if steady:
        record["stability"] = {
            groups: stability(
                lambda g=groups: LeaderClassifier(ngrams=ngrams, transfer=0.0, groups=g),
                train,
                labels,
                test.texts[:500],
            )
            for groups in ("topics", "sign")
        }
    return record


def rivals(seed: int, ngrams: int, *, quick: bool) -> dict[str, Any]:
    """Return the same measures for TF-IDF with logistic regression, and for NB-SVM's features with it.

    Their penalty is chosen on a tenth of the training part.
    """
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    data = small_reviews() if quick else imdb_reviews(os.environ.get("TOKENDYN_DATA"))
    parts = split_texts(data, 0.2, seed)
    sets = judged_sets(parts.test.texts, parts.test.labels, seed)
    truth = np.array(parts.training.labels) == "pos"
    held = np.arange(len(truth)) % 10 == 0
    record = {}
    for name, weighted in (("TF-IDF + LR", False), ("NB-LR", True)):
        words = {"ngram_range": (1, ngrams), "min_df": 2}
        made = CountVectorizer(binary=True, **words) if weighted else TfidfVectorizer(sublinear_tf=True, **words)
        began = time.process_time()
        table = made.fit_transform(parts.training.texts)
        scale = np.ones(table.shape[1])
        if weighted:
            p = 1 + np.asarray(table[truth].sum(axis=0)).ravel()
            q = 1 + np.asarray(table[~truth].sum(axis=0)).ravel()
            scale = np.log(p / p.sum()) - np.log(q / q.sum())
        table = table.multiply(scale).tocsr()
        penalties = (0.1, 1.0, 10.0) if weighted else (3.0, 10.0, 30.0)
        tried = [
            LogisticRegression(C=c, max_iter=200).fit(table[~held], truth[~held]).score(table[held], truth[held])
            for c in penalties
        ]
        best = LogisticRegression(C=penalties[int(np.argmax(tried))], max_iter=200).fit(table, truth)
        seconds = time.process_time() - began
        rows = {
            part: calibration(best.predict_proba(made.transform(texts).multiply(scale).tocsr())[:, 1], right)
            for part, (texts, right) in sets.items()
        }
        record[name] = {"seconds": seconds, "sets": rows}
    return record


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--ngrams", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--rivals", action="store_true")
    parser.add_argument("--stability", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    began, results = time.perf_counter(), []
    LeaderClassifier().fit(small_reviews()).explain("A fine film.")  # compiles
    for seed in arguments.seeds:
        for ngrams in arguments.ngrams:
            record = measure(seed, ngrams, quick=arguments.quick, steady=arguments.stability)
            results.append({"seed": seed, "ngrams": ngrams, **record})
            print(f"seed {seed}, n-grams {ngrams}: {record['seconds']:.1f} s, {record['gigabytes']:.2f} GB")
            print(f"  {record['prior']}, The film was good: {record['good']:.2f}")
            for name, row in record["sets"].items():
                print(f"  {name:10s} " + "  ".join(f"{key} {value:.4f}" for key, value in row.items()))
            print("  " + "  ".join(f"{key} {value:.3g}" for key, value in record["reasons"].items()))
            for name, row in record.get("stability", {}).items():
                print(f"  {name}: " + "  ".join(f"{key} {value:.3f}" for key, value in row.items()), flush=True)
            if arguments.rivals:
                results[-1]["rivals"] = rivals(seed, ngrams, quick=arguments.quick)
                for name, rival in results[-1]["rivals"].items():
                    print(f"  {name}: {rival['seconds']:.1f} s")
                    for part, row in rival["sets"].items():
                        print(
                            f"    {part:10s} " + "  ".join(f"{key} {value:.4f}" for key, value in row.items()),
                            flush=True,
                        )
    if arguments.out is not None:
        origin = provenance({}, seed=None, seconds=time.perf_counter() - began)
        write_json(
            arguments.out,
            {"results": results, "provenance": origin},
        )


if __name__ == "__main__":
    main()
