"""The classifier on other kinds of texts than long reviews: many classes, few texts, single sentences.

``OMP_NUM_THREADS=1 TOKENDYN_DATA=DATA python benchmarks/sentiment_kinds.py --study classes few films --seeds 12 13 14``

Beside it TF-IDF with logistic regression, by default and with C = 10 on sublinear words and pairs. ``classes``: the
docstrings of installed packages (which package?) and the source of modules of the standard library (which module?), at
most 400 a class, 70/30. ``few``: 20 to 500 of the film sentences, 2,000 others to judge, several draws.
``films``: ten folds of all film sentences, as Wang and Manning (2012) did with NB-SVM. ``--quick`` tries each.
"""

import argparse
import ast
import functools
import os
import re
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402
from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.pipeline import Pipeline, make_pipeline  # noqa: E402

from tokendyn.data.collections import movie_sentences  # noqa: E402
from tokendyn.data.texts import small_reviews  # noqa: E402
from tokendyn.runs.files import write_json  # noqa: E402
from tokendyn.runs.provenance import provenance  # noqa: E402
from tokendyn.sentiment import LeaderClassifier  # noqa: E402

#: Texts a class at most, words a text at least, and texts of a package after which no further file is read.
_AT_MOST, _FEWEST_WORDS, _READ = 400, 8, 1500
Labelled = tuple[list[str], np.ndarray]


def rivals() -> dict[str, Pipeline]:
    """Return the linear models to compare with, by name."""
    pairs = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
    return {
        "LR": make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=500)),
        "LR pairs": make_pipeline(pairs, LogisticRegression(C=10.0, max_iter=500)),
    }


def trees(folder: Path) -> Iterator[ast.Module]:
    """Yield the parsed Python files under a folder, or the file itself."""
    for path in sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]:
        if "test" not in str(path.relative_to(folder.parent)):
            try:
                yield ast.parse(path.read_text(encoding="utf-8"))
            except (SyntaxError, UnicodeDecodeError, ValueError):
                continue


def docstrings(tree: ast.Module) -> Iterator[str]:
    """Yield the docstrings of a file."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(tree):
        if isinstance(node, kinds):
            yield ast.get_docstring(node) or ""


def functions(tree: ast.Module) -> Iterator[str]:
    """Yield the source of the functions of a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield ast.unparse(node)


@functools.cache
def collection(source: str) -> dict[str, list[str]]:
    """Return distinct texts of each package or module, without its name; those with most texts first."""
    of_packages = source == "docstrings"
    found = {}
    for folder in sorted(Path(sysconfig.get_path("purelib" if of_packages else "stdlib")).iterdir()):
        readable = folder.suffix == ".py" or (folder.is_dir() and not folder.suffix)
        if not readable or folder.stem.startswith(("_", "test", "site-", "dist-", "idle", "tokendyn")):
            continue
        texts: set[str] = set()
        for tree in trees(folder):
            read = (docstrings if of_packages else functions)(tree)
            plain = (re.sub(rf"(?i){re.escape(folder.stem)}", " ", text) for text in read)
            texts |= {text for text in plain if len(text.split()) >= _FEWEST_WORDS}
            if len(texts) > _READ:
                break
        found[folder.stem] = sorted(texts)
    return dict(sorted(found.items(), key=lambda item: -min(len(item[1]), _AT_MOST)))


def by_class(source: str, classes: int, seed: int) -> Labelled:
    """Return texts of the classes that have most of them."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for name, of_name in list(collection(source).items())[:classes]:
        chosen = rng.permutation(len(of_name))[:_AT_MOST]
        texts += [of_name[row] for row in chosen]
        labels += [name] * len(chosen)
    return texts, np.array(labels)


def error(probability: np.ndarray, right: np.ndarray) -> float:
    """Return the expected calibration error of the likeliest class in 20 bins."""
    sure = probability.max(axis=1)
    bins = np.minimum((sure * 20).astype(int), 19)
    return float(sum(abs(sure[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean() for b in set(bins)))


def judge(model: Any, learned: Labelled, judged: Labelled) -> dict[str, float]:
    """Fit a model and return its accuracy, calibration error and seconds."""
    began = time.process_time()
    model.fit(*learned)
    seconds = time.process_time() - began
    probability = model.predict_proba(judged[0])
    right = model.classes_[probability.argmax(axis=1)] == judged[1]
    row = {"accuracy": float(right.mean()), "error": error(probability, right), "seconds": seconds}
    if isinstance(model, LeaderClassifier):
        verdicts = list(model.explain_many(judged[0][:1000]))
        row["leaders"] = float(np.mean([len(verdict.leaders) for verdict in verdicts]))
        row |= {name: float(model.training_[name]) for name in ("phantom", "floor", "marginal", "prior_strength")}
    return row


def compare(learned: Labelled, judged: Labelled, ngrams: tuple[int, ...]) -> dict[str, dict[str, float]]:
    """Return what the classifier and the linear models reach on one split."""
    ours = {f"n-grams {n}": LeaderClassifier(ngrams=n) for n in ngrams}
    return {name: judge(model, learned, judged) for name, model in [*ours.items(), *rivals().items()]}


def part(data: Labelled, rows: np.ndarray) -> Labelled:
    """Return some of the texts."""
    return [data[0][row] for row in rows.tolist()], data[1][rows]


def split(data: Labelled, judged: float, seed: int) -> tuple[Labelled, Labelled]:
    """Return the texts to learn from and those to judge by, at random."""
    order = np.random.default_rng(seed).permutation(len(data[1]))
    cut = round(judged * len(order))
    return part(data, order[cut:]), part(data, order[:cut])


def study_classes(seed: int, *, quick: bool, ngrams: tuple[int, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the comparison for each source and number of classes."""
    for source in ("docstrings", "functions"):
        for classes in (6,) if quick else (6, 12, 20, 50):
            data = by_class(source, classes, seed)
            yield f"{source} {len(set(data[1]))}", compare(*split(data, 0.3, seed), ngrams)


def study_few(seed: int, *, quick: bool, ngrams: tuple[int, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the comparison for each number of texts, means over draws."""
    films = movie_sentences(os.environ.get("TOKENDYN_DATA"))
    data = films.texts, np.array(films.labels)
    for texts in (20, 50) if quick else (20, 50, 100, 200, 500):
        rows = []
        for draw in range(2 if quick else 8):
            order = np.random.default_rng([seed, draw]).permutation(len(data[1]))
            learned = part(data, order[2000 : 2000 + texts])
            rows.append(compare(learned, part(data, order[:2000]), ngrams))
        yield f"few {texts}", means(rows)


def study_films(seed: int, *, quick: bool, ngrams: tuple[int, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the comparison on film sentences, the mean of ten folds."""
    films = small_reviews() if quick else movie_sentences(os.environ.get("TOKENDYN_DATA"))
    data = list(films.texts), np.array(films.labels)
    turn = np.random.default_rng(seed).permutation(len(data[1])) % 10
    folds = range(2 if quick else 10)
    rows = [
        compare(part(data, np.flatnonzero(turn != fold)), part(data, np.flatnonzero(turn == fold)), ngrams)
        for fold in folds
    ]
    yield "films, ten folds", means(rows)


def means(rows: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Return the mean of each measure of each model."""
    return {name: {key: float(np.mean([row[name][key] for row in rows])) for key in rows[0][name]} for name in rows[0]}


STUDIES = {"classes": study_classes, "few": study_few, "films": study_films}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", nargs="+", choices=list(STUDIES), default=list(STUDIES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[12])
    parser.add_argument("--ngrams", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    began, results = time.perf_counter(), []
    for seed in arguments.seeds:
        for study in arguments.study:
            for name, rows in STUDIES[study](seed, quick=arguments.quick, ngrams=tuple(arguments.ngrams)):
                results.append({"seed": seed, "study": name, "models": rows})
                print(f"seed {seed}, {name}")
                for model, row in rows.items():
                    print(f"  {model:10s} " + "  ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True)
    if arguments.out is not None:
        origin = provenance({}, seed=None, seconds=time.perf_counter() - began)
        write_json(arguments.out, {"results": results, "provenance": origin})


if __name__ == "__main__":
    main()
