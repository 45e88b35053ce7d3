"""How faithful explanations are: the verdict when the words that they name are taken out, or left alone.

The measures are those of ERASER (DeYoung et al., ACL 2020) with the area over the perturbation curve (AOPC) of
Samek et al., 2017; they compare explainers on one model and the same texts. None of them says what the verdict
on another text would be: taking words out makes texts unlike those that the model has learned from.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from tokendyn.data.labelled_texts import LabelledTexts
from tokendyn.errors import LISTED, BadInputError
from tokendyn.late import function_at
from tokendyn.results import Bars, Result
from tokendyn.rivals.sentiment.explainers import (
    EXPLAINERS,
    NOTHING,
    CutText,
    Judge,
    TextModel,
    WordScores,
    check_explainers,
)
from tokendyn.rivals.sentiment.linear_terms import linear_terms, rival_of
from tokendyn.runs.provenance import provenance
from tokendyn.sentiment.checks import check_texts
from tokendyn.sentiment.stability import retrained, shared

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_figure = function_at("tokendyn.studies.sentiment.faithfulness_page:faithfulness_figure")

#: The shares of the distinct words that are taken out, or left alone.
FRACTIONS = (0.01, 0.05, 0.1, 0.2, 0.5)

#: The measures in the order of the table, and what each is.
MEASURES = {
    "comprehensiveness": "drop of the verdict's probability without the top words, mean over fractions; best high",
    "sufficiency": "drop of the verdict's probability with the top words alone, mean over fractions; best low",
    "rank_agreement": "Spearman correlation of the scores with leave-one-out, over the distinct words",
    "size": "leaders, or words with a score: what a reader is shown",
    "nonzero": "words with a score",
    "stability": "shared part of the five words of largest |score| between two seeds",
    "identical": "1 when the scores of all seeds are equal to the last bit",
    "retrained": "shared part of the leaders, or of the five largest terms, of two trainings on 90 % of the texts",
    "retrained_first": "1 when the first of them is the same",
    "seconds": "processor time of one explanation",
    "model_calls": "variants of the text that the model judges for one explanation",
}

_TOP = 5


@dataclass(frozen=True)
class FaithfulnessReport(Result, kind="faithfulness"):
    """How faithful several explainers are to one model, on the same texts.

    Attributes
    ----------
    per_text
        One row for each explainer and text: ``explainer``, ``text`` (its number), the measures, and for each
        fraction f ``removed_f`` and ``kept_f``, the drops of the probability that the means are of.
    explainers
        Their names, in the requested order.
    fractions
        Shares of the distinct words.
    provenance
        Versions, seed, settings, time.
    """

    per_text: pd.DataFrame = field(repr=False)
    explainers: tuple[str, ...]
    fractions: tuple[float, ...]
    provenance: dict[str, Any] = field(repr=False)

    def table(self) -> pd.DataFrame:
        """Return one row for each explainer: each measure's mean over the texts and ``_se``, its standard error.

        The standard error is the standard deviation over the texts (n - 1) by the square root of their number.
        A text on which a measure is not defined (all scores equal: no rank agreement) is left out of its mean.
        """
        rows = []
        for name in self.explainers:
            part = self.per_text[self.per_text["explainer"] == name]
            row: dict[str, Any] = {"explainer": name, "texts": len(part)}
            for measure in MEASURES:
                row[measure], row[f"{measure}_se"] = _mean(part[measure].to_numpy(dtype=np.float64))
            rows.append(row)
        return pd.DataFrame(rows)

    @property
    def status(self) -> str:
        """``"completed"``."""
        return "completed"

    def summary(self) -> dict[str, Any]:
        """Return how much was measured."""
        texts = int(self.per_text["text"].nunique())
        return {"status": self.status, "explainers": len(self.explainers), "texts": texts}

    def describe(self) -> list[str]:
        """Return the two faithfulness measures of each explainer."""
        rows = self.table().to_dict(orient="records")
        return [
            f"{row['explainer']}: comprehensiveness {row['comprehensiveness']:.3f} (higher is better), sufficiency "
            f"{row['sufficiency']:.3f} (lower is better), {row['size']:.1f} words shown"
            for row in rows
        ]

    def picture(self) -> Bars:
        """Return the comprehensiveness of each explainer."""
        table = self.table()
        return Bars(names=list(self.explainers), values=table["comprehensiveness"].tolist(), xlabel="comprehensiveness")

    def difference(self, first: str, second: str, measure: str = "comprehensiveness") -> tuple[float, float]:
        """Return the mean of first minus second over the texts, text by text, and its standard error.

        Raises
        ------
        BadInputError
            If an explainer or the measure is not in the report.
        """
        unknown = [name for name in (first, second) if name not in self.explainers]
        unknown += [measure] if measure not in MEASURES else []
        if unknown:
            known = (*self.explainers, *MEASURES)
            raise BadInputError(f"the report has no {', '.join(map(repr, unknown))}; it has {', '.join(known)}")
        sides = [
            self.per_text[self.per_text["explainer"] == name][measure].to_numpy(dtype=np.float64)
            for name in (first, second)
        ]
        return _mean(sides[0] - sides[1])

    def figure(self) -> "Figure":
        """Draw the drops over the fractions, and what an explanation costs; see :mod:`.faithfulness_page`."""
        figure: Figure = _figure(self)
        return figure

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values; what is not defined is None."""
        return {
            "explainers": list(self.explainers),
            "fractions": list(self.fractions),
            "measures": dict(MEASURES),
            "table": _records(self.table()),
            "per_text": _records(self.per_text),
            "provenance": self.provenance,
        }


def evaluate_explanations(
    model: TextModel,
    texts: Iterable[str],
    explainers: Sequence[str] = ("leaders", "lime", "shap", "loo", "random"),
    *,
    seed: int = 0,
    seeds: int = 2,
    fractions: Sequence[float] = FRACTIONS,
    samples: int = 5000,
    learned: LabelledTexts | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FaithfulnessReport:
    r"""Measure how faithful explanations of a model are, explainer by explainer, on the same texts.

    Let :math:`c` be the class that the model predicts for a text :math:`x`, and :math:`P` the probability that
    it gives to this class, which stays the same whatever is taken out. An explainer scores the n distinct words;
    a positive score supports :math:`c`. Let :math:`R_f` be the :math:`\max(1, \lceil f n \rceil)` words of the
    highest signed scores (of equal scores, the word that comes first). Then, averaged over the fractions f,

    - comprehensiveness is :math:`P(x) - P(x \setminus R_f)`: higher is better;
    - sufficiency is :math:`P(x) - P(R_f)`: lower is better, and negative when the words that are left alone
      make the model surer than the whole text did. It has a ceiling: a model whose logit is a mean over the
      words is as good as certain of any few supporting words, and then all explainers are equal here.

    Further: rank agreement, the Spearman correlation of the scores with those of leave-one-out; size, the
    number of leaders, or of words with a score (``|score| > 1e-9``); stability, the share of the five words of
    largest ``|score|`` that two seeds have in common, mean over all pairs of seeds; whether the seeds give
    identical scores; seconds of processor time and number of judged variants of one explanation, mean over the
    seeds. The faithfulness measures are of the first seed.

    Words are those of :func:`tokendyn.sentiment.find_words`. Taking a word out puts a space for each of its
    occurrences and leaves all else as it is. Each explainer explains three words once before the clock
    starts, so imports and compilation are not counted; nor is the verdict on the whole text.

    Parameters
    ----------
    model
        Anything with ``predict_proba(list of strings)``; for "leaders", "contributions" and "value",
        ``explain(text)`` too.
    texts
        Strings, each with at least one word.
    explainers
        Of "leaders" (succession: the words that have to go for the verdict to turn, then by value),
        "contributions" (exact, to the logit), "value" (learned values alone), "coefficients" (of a linear model: of the
        model itself, or of TF-IDF with logistic regression on words and pairs, which learns from ``learned`` and is
        judged on its own verdicts), "lime", "shap" (these two need
        ``tokendyn[bench]``), "loo" (leave one word out), "random".
    seed, seeds
        Explanations are made with the seeds ``seed``, ..., ``seed + seeds - 1``.
    fractions
        Shares of the distinct words, each above 0 and at most 1.
    samples
        Variants of a text that LIME and SHAP each may have judged. 5000 is LIME's own default, ten times that
        of SHAP. SHAP takes at least 2 n + 1.
    learned
        The texts and labels that the model has learned from. With them, leaders and coefficients are also compared
        between two trainings on 90 % of these texts: ``retrained`` and ``retrained_first``.
    progress
        Called after each explained text with the number done and their total.

    Raises
    ------
    BadInputError
        If texts, explainers or settings cannot be used, or the model's probabilities are none.
    MissingLibraryError
        If the package of an explainer is not installed.
    """
    began = time.perf_counter()
    cuts = _check_cut(texts)
    check_settings(seed, seeds, samples, fractions)
    names = check_explainers(explainers, model, rival=learned is not None)
    models, steady = _trained(model, names, learned, [cut.text for cut in cuts], seed)
    _warm_up(models, cuts[0], names)
    rows: list[dict[str, Any]] = []
    for number, cut in enumerate(cuts):
        judges = {name: Judge(each, cut) for name, each in models.items()}
        references: dict[int, Float[np.ndarray, " words"]] = {}
        for name in names:
            judge = judges.get(name, judges[""])
            # Leave-one-out of the same model; that of the rival is another.
            if id(judge) not in references:
                references[id(judge)] = EXPLAINERS["loo"](judge, seed, samples).values
            row = _measure(judge, name, references[id(judge)], number, seed, seeds, tuple(fractions), samples)
            both = steady[name][number] if name in steady else (math.nan, math.nan)
            row |= {"retrained": both[0], "retrained_first": both[1]}
            rows.append({"explainer": name, "text": number, **row})
            if progress is not None:
                progress(len(rows), len(cuts) * len(names))
    config = {
        "model": type(model).__name__,
        "texts": len(cuts),
        "explainers": list(names),
        "seeds": seeds,
        "fractions": [float(share) for share in fractions],
        "samples": samples,
        "packages": _versions(names),
    }
    record = provenance(config, seed=seed, seconds=time.perf_counter() - began)
    return FaithfulnessReport(
        per_text=pd.DataFrame(rows), explainers=names, fractions=tuple(map(float, fractions)), provenance=record
    )


def drops(
    judge: Judge, values: Float[np.ndarray, " words"], fractions: Sequence[float]
) -> tuple[Float[np.ndarray, " fractions"], Float[np.ndarray, " fractions"]]:
    """Return by how much the verdict's probability drops without the top words, and with them alone."""
    order = np.argsort(-values, kind="stable")
    present = np.ones((len(fractions), len(values)), dtype=np.bool_)
    for row, share in zip(present, fractions, strict=True):
        # 0.1 * 30 is a little above 3: the remainder must not cost a word.
        row[order[: max(1, math.ceil(share * len(values) - 1e-9))]] = False
    drops = judge.probability - judge.probabilities(np.concatenate([present, ~present]))
    return drops[: len(fractions)], drops[len(fractions) :]


def rank_agreement(values: Float[np.ndarray, " words"], reference: Float[np.ndarray, " words"]) -> float:
    """Return the Spearman correlation, NaN when either side does not vary."""
    from scipy.stats import rankdata

    if np.ptp(values) == 0 or np.ptp(reference) == 0:
        return math.nan
    return float(np.corrcoef(rankdata(values), rankdata(reference))[0, 1])


def top_overlap(runs: Sequence[Float[np.ndarray, " words"]]) -> float:
    """Return the shared part of the top five words, by ``|score|``, over all pairs of runs; NaN for one run."""
    tops = [set(np.argsort(-np.abs(values), kind="stable")[:_TOP].tolist()) for values in runs]
    pairs = [len(first & second) / len(first) for place, first in enumerate(tops) for second in tops[place + 1 :]]
    return float(np.mean(pairs)) if pairs else math.nan


def _measure(
    judge: Judge,
    name: str,
    reference: Float[np.ndarray, " words"],
    number: int,
    seed: int,
    seeds: int,
    fractions: tuple[float, ...],
    samples: int,
) -> dict[str, float]:
    """Explain one text with every seed, and measure."""
    runs: list[WordScores] = []
    judge.calls, began = 0, time.process_time()
    for run in range(seeds):
        # A seed for each text, so that the texts before it do not matter.
        own = int(np.random.SeedSequence([seed + run, number]).generate_state(1)[0])
        runs.append(EXPLAINERS[name](judge, own, samples))
    seconds, calls = (time.process_time() - began) / seeds, judge.calls / seeds
    values = runs[0].values
    removed, kept = drops(judge, values, fractions)
    same = all(np.array_equal(values, run.values) for run in runs[1:])
    row = {
        "comprehensiveness": float(np.mean(removed)),
        "sufficiency": float(np.mean(kept)),
        "rank_agreement": rank_agreement(values, reference),
        "size": float(runs[0].size),
        "nonzero": float(np.count_nonzero(np.abs(values) > NOTHING)),
        "stability": top_overlap([run.values for run in runs]),
        "identical": float(same) if seeds > 1 else math.nan,
        "seconds": seconds,
        "model_calls": calls,
    }
    row |= {f"removed_{share:g}": float(drop) for share, drop in zip(fractions, removed, strict=True)}
    return row | {f"kept_{share:g}": float(drop) for share, drop in zip(fractions, kept, strict=True)}


def _trained(
    model: TextModel, names: tuple[str, ...], learned: LabelledTexts | None, texts: list[str], seed: int
) -> tuple[dict[str, Any], dict[str, list[tuple[float, float]]]]:
    """Return who is explained by each explainer ("" for all others), and how steady reasons are over two trainings.

    Raises
    ------
    BadInputError
        If the texts that were learned from have no labels.
    """
    if learned is None:
        return {"": model}, {}
    if learned.labels is None:
        raise BadInputError("`learned` has no labels; read these texts with a column of labels")
    models: dict[str, Any] = {"": model}
    steady: dict[str, list[tuple[float, float]]] = {}
    examples, labels = list(learned.texts), list(learned.labels)
    if "coefficients" in names:
        models["coefficients"], again = rival_of(examples, labels, seed)
        found = [[linear_terms(each).top(text) for text in texts] for each in again]
        steady["coefficients"] = [shared(*pair) for pair in zip(*found, strict=True)]
    if "leaders" in names and hasattr(model, "explain_many"):
        of_model: Any = model
        named = [
            [[leader.word for leader in verdict.leaders] for verdict in each.explain_many(texts)]
            for each in retrained(of_model, examples, labels, 2, seed)
        ]
        steady["leaders"] = [shared(*pair) for pair in zip(*named, strict=True)]
    return models, steady


def _warm_up(models: Mapping[str, Any], cut: CutText, names: tuple[str, ...]) -> None:
    """Explain three words, so that what is compiled or imported at first use is not timed."""
    first: Int[np.ndarray, " words"] = np.arange(len(cut.words))
    for name in names:
        judge = Judge(models.get(name, models[""]), CutText.of(cut.with_only(first < 3)))
        EXPLAINERS[name](judge, 0, 50)


def _check_cut(texts: Iterable[str]) -> list[CutText]:
    """Return the texts cut at their words, or raise one error for all that cannot be used."""
    listed = check_texts(texts, empty_allowed=True)
    if not listed:
        raise BadInputError("texts is empty; give the texts to explain, such as held-out reviews")
    cuts = [CutText.of(text) for text in listed]
    wordless = [number for number, cut in enumerate(cuts) if not cut.words]
    if wordless:
        problems = [f"texts[{number}] has no word to explain; remove it" for number in wordless[:LISTED]]
        problems += [f"and {len(wordless) - LISTED} more"] if len(wordless) > LISTED else []
        raise BadInputError.all_of("texts", problems)
    return cuts


def check_settings(seed: int, seeds: int, samples: int, fractions: Sequence[float] = FRACTIONS) -> None:
    """Raise one error for all settings that are out of range."""
    problems = [
        f"`{name}={given!r}`; expected a whole number of at least {least}"
        for name, given, least in (("seed", seed, 0), ("seeds", seeds, 1), ("samples", samples, 10))
        if isinstance(given, bool) or not isinstance(given, int) or given < least
    ]
    if not len(fractions) or not all(0 < share <= 1 for share in fractions):
        problems.append(f"fractions={tuple(fractions)!r}; expected shares above 0 and at most 1")
    elif len({f"{share:g}" for share in fractions}) < len(fractions):
        problems.append(f"fractions={tuple(fractions)!r}; expected different shares")
    if problems:
        raise BadInputError.all_of("evaluate_explanations", problems)


def _mean(values: Float[np.ndarray, " texts"]) -> tuple[float, float]:
    """Return the mean of what is defined, and its standard error."""
    values = values[~np.isnan(values)]
    if not len(values):
        return math.nan, math.nan
    error = float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
    return float(values.mean()), error


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows as JSON values."""
    return [
        {str(name): None if isinstance(entry, float) and math.isnan(entry) else entry for name, entry in row.items()}
        for row in frame.to_dict(orient="records")
    ]


def _versions(names: tuple[str, ...]) -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in names if name in ("lime", "shap")}
