"""A behavioural suite: short texts with the verdicts that a classifier must give, counted by kind.

The idea of minimal cases by capability, with relations between two texts, is that of CheckList (Ribeiro, Wu, Guestrin
and Singh, ACL 2020); cases and counts are ours.
"""

import importlib.resources
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from tokendyn.data.text_files import DELIMITERS, column_numbers, ending, open_text, read_header
from tokendyn.errors import LISTED, BadInputError, did_you_mean
from tokendyn.results import Bars, Result
from tokendyn.runs.folders import read_json
from tokendyn.runs.provenance import provenance
from tokendyn.show import KeyFigures, Report, Table, Text, closing, kept_picture, write_page_folder
from tokendyn.words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA, SCHEMA_VERSION = "tokendyn-behaviour", 1
#: As the expected label: the verdict on the reference. A class of this name takes precedence.
SAME = "same"
#: Labels of a model that match the pos and neg of the built-in cases.
_SIDES = {"pos": {"pos", "positive", "1", "1.0", "true"}, "neg": {"neg", "negative", "0", "0.0", "-1", "-1.0", "false"}}
_COLUMNS = ["kind", "text", "expected", "reference"]


class Case(NamedTuple):
    """A text, and the verdict that a classifier must give.

    Attributes
    ----------
    kind
        The ability that it tests, such as "negation"; cases are counted by kind.
    text
        The text.
    expected
        A label. Without a reference it must be the verdict on the text; with one, it must be more likely for the text
        than for the reference. Or "same": text and reference must have the same verdict.
    reference
        Another text, or empty.
    """

    kind: str
    text: str
    expected: str
    reference: str = ""


@dataclass(frozen=True)
class BehaviourReport(Result, kind="behaviour"):
    """The results of a classifier on the cases of a behavioural suite.

    Attributes
    ----------
    cases
        One row for each case: ``kind``, ``text``, ``expected``, ``reference``, ``verdict``, ``probability`` (of the
        expected class, or of the verdict where "same" is expected), ``reference_probability`` (the same for the
        reference, NaN without a reference) and ``right``.
    source
        Origin of the cases.
    provenance
        Versions, seed, settings, time.
    """

    cases: pd.DataFrame = field(repr=False)
    source: str
    provenance: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def status(self) -> str:
        """``"completed"``: wrong cases are a result, not a failure."""
        return "completed"

    def table(self) -> pd.DataFrame:
        """Return one row for each kind, in the order of the cases: ``kind``, ``cases``, ``right`` and ``share``."""
        groups = self.cases.groupby("kind", sort=False)["right"]
        return pd.DataFrame({
            "kind": self.cases["kind"].unique(), "cases": groups.size().to_numpy(),
            "right": groups.sum().to_numpy(dtype=np.int64), "share": groups.mean().to_numpy(dtype=np.float64),
        })  # fmt: skip

    def summary(self) -> dict[str, Any]:
        """Return the numbers of right cases: of negation, of the rest, and of all."""
        negated = self.cases["kind"].str.contains("negation", case=False, regex=False).to_numpy(dtype=bool)
        right = self.cases["right"].to_numpy(dtype=bool)
        return {
            "status": self.status, "cases": len(right), "right": int(right.sum()),
            "negation_cases": int(negated.sum()), "negation_right": int(right[negated].sum()),
            "other_cases": int((~negated).sum()), "other_right": int(right[~negated].sum()),
        }  # fmt: skip

    def describe(self) -> list[str]:
        """Return the number of right cases of each kind, with negation apart from the rest."""
        rows = self.table().to_dict(orient="records")
        counts = self.summary()
        lines = [f"{row['kind']:18} {row['right']:4d} of {row['cases']:4d}  {row['share']:6.1%}" for row in rows]
        if counts["negation_cases"]:
            lines.append(
                f"right: {counts['other_right']} of {counts['other_cases']} without negation, "
                f"{counts['negation_right']} of {counts['negation_cases']} with it"
            )
        return [*lines, f"right: {counts['right']} of {counts['cases']} cases of {self.source}"]

    def picture(self) -> Bars:
        """Return the share of right cases of each kind."""
        table = self.table()
        return Bars(
            names=table["kind"].tolist(), values=table["share"].tolist(), xlabel="share of cases that are right"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all results as JSON values."""
        cases = self.cases.astype(object).where(self.cases.notna(), None).to_dict(orient="records")
        return {
            **self.summary(), "source": self.source, "kinds": self.table().to_dict(orient="records"), "table": cases,
            "provenance": self.provenance,
        }  # fmt: skip

    def write(self, folder: str | Path, *, command: str = "", overwrite: bool = False) -> None:
        """Write ``kinds.csv``, ``cases.csv``, ``behaviour.json``, ``behaviour.png`` and ``report.html``.

        Parameters
        ----------
        folder
            Folder to write; it appears only when it is complete.
        command
            Command that repeats the check, shown on the page.
        overwrite
            Replace an existing folder.
        """
        record = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "command": command, **self.to_dict()}
        write_page_folder(
            folder, "behaviour", record, behaviour_report, overwrite=overwrite,
            tables={"kinds": self.table(), "cases": self.cases}, figures={"behaviour": _figure(self)},
        )  # fmt: skip


def read_cases(path: str | Path) -> tuple[Case, ...]:
    """Read cases from a CSV or TSV file (also .gz) with columns kind, text, expected and, optionally, reference.

    Raises
    ------
    BadInputError
        If the file cannot be read, a column is missing, or a row lacks kind, text or expected; all are named.
    """
    path = Path(path)
    if ending(path) not in DELIMITERS:
        raise BadInputError(f"{path} is of no known kind; cases are a .csv or .tsv file, optionally .gz")
    cases, problems = [], []
    with open_text(path) as file:
        rows = file.rows(DELIMITERS[ending(path)])
        header = read_header(rows, file.source)
        wanted = _COLUMNS if "reference" in header else _COLUMNS[:3]
        places = column_numbers(header, wanted, file.source)
        for line, cells in rows:
            if not cells:
                continue
            case = Case(*(cells[place].strip() for place in places)) if len(cells) == len(header) else None
            if case is None:
                problems.append(f"line {line}: {len(cells)} fields, the header has {len(header)}")
            elif not (case.kind and case.text and case.expected):
                problems.append(f"line {line}: kind, text or expected is empty")
            else:
                cases.append(case)
    if problems:
        raise BadInputError.first_of(str(path), problems, "lines")
    return tuple(cases)


def shipped_cases() -> tuple[Case, ...]:
    """Return the built-in cases: short statements on films with labels ``pos`` and ``neg``, written for tokendyn."""
    with importlib.resources.as_file(importlib.resources.files("tokendyn.data") / "behaviour.csv") as path:
        return read_cases(path)


def check_behaviour(model: Any, cases: Iterable[Any] | str | Path | None = None) -> BehaviourReport:
    """Test a classifier on a behavioural suite.

    Parameters
    ----------
    model
        Anything with ``predict_proba(list of strings)`` and ``classes_``, such as a classifier of this package or a
        pipeline of scikit-learn.
    cases
        Cases (:class:`Case`, or tuples of its fields), or a file of them (:func:`read_cases`). Their labels are the
        labels of the model as text. None for the built-in cases, which suit models of two classes such as pos and neg,
        positive and negative, or 1 and 0.

    Raises
    ------
    BadInputError
        If a case expects a label that the model does not know, or the built-in cases do not suit its classes.
    """
    classes = [str(label) for label in np.asarray(model.classes_).tolist()]
    if cases is None:
        chosen, source = _in_words_of(classes, shipped_cases()), "the built-in suite"
    elif isinstance(cases, str | Path):
        chosen, source = read_cases(cases), Path(cases).name
    else:
        chosen, source = _own_cases(cases), "own cases"
    _check_cases(chosen, classes)
    texts = list(dict.fromkeys(text for case in chosen for text in (case.text, case.reference) if text))
    table = np.asarray(model.predict_proba(texts), dtype=np.float64)
    of_text = dict(zip(texts, table, strict=True))
    rows = [_judged(case, classes, of_text) for case in chosen]
    origin = provenance({"cases": len(chosen), "source": source, "classes": classes}, seed=None, seconds=0.0)
    return BehaviourReport(cases=pd.DataFrame(rows), source=source, provenance=origin)


def _own_cases(cases: Iterable[Any]) -> tuple[Case, ...]:
    """Convert cases given as tuples; labels may be those of the model itself, such as 1 or True."""
    found, problems = [], []
    for number, case in enumerate(cases, start=1):
        parts = [] if isinstance(case, str | bytes) or not isinstance(case, Sequence) else list(case)
        parts = [*parts[:3], *(part or "" for part in parts[3:])]
        strings = all(isinstance(part, str) for place, part in enumerate(parts) if place != 2)
        if not (3 <= len(parts) <= 4 and strings and parts[1]):
            problems.append(f"case {number}: {case!r}; expected (kind, text, expected, reference), all text")
        else:
            found.append(Case(parts[0], parts[1], str(parts[2]), *parts[3:]))
    if problems:
        raise BadInputError.first_of("cases", problems, "cases")
    return tuple(found)


def _judged(case: Case, classes: Sequence[str], of_text: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the row of a case."""
    own = of_text[case.text]
    verdict = int(own.argmax())
    same = case.expected not in classes
    column = verdict if same else classes.index(case.expected)
    other = of_text[case.reference] if case.reference else None
    if other is None:
        right = verdict == column
    elif same:
        right = int(other.argmax()) == verdict
    else:
        right = bool(own[column] > other[column])
    return {
        **case._asdict(), "verdict": classes[verdict], "probability": float(own[column]),
        "reference_probability": float("nan") if other is None else float(other[column]), "right": right,
    }  # fmt: skip


def _in_words_of(classes: Sequence[str], cases: Sequence[Case]) -> tuple[Case, ...]:
    """Return the built-in cases with the labels of a model."""
    named = {side: [label for label in classes if label.strip().lower() in words] for side, words in _SIDES.items()}
    if len(classes) != 2 or any(len(labels) != 1 for labels in named.values()):
        raise BadInputError(
            "the built-in cases are statements on films with labels pos and neg, and the classes of this model are "
            f"{', '.join(map(repr, classes[:6]))}; give `cases` of your own: a CSV file with the columns kind, "
            "text, expected and reference"
        )
    label_of = {side: labels[0] for side, labels in named.items()}
    return tuple(case._replace(expected=label_of.get(case.expected, case.expected)) for case in cases)


def _check_cases(cases: Sequence[Case], classes: Sequence[str]) -> None:
    """Raise one error for all cases on which this model cannot be tested."""
    problems = [] if cases else ["there is none"]
    for number, case in enumerate(cases, start=1):
        if case.expected == SAME and SAME not in classes:
            if not case.reference:
                problems.append(f"case {number}: {SAME!r} needs a reference, the text whose verdict must be the same")
        elif case.expected not in classes:
            hint = did_you_mean(case.expected, classes) or f"; expected {', '.join(classes[:LISTED])}, or {SAME!r}"
            problems.append(f"case {number}: the model knows no label {case.expected!r}{hint}")
    if problems:
        raise BadInputError.first_of("cases", problems, "cases")


def saved_report(folder: Path, pictures: Path) -> Report:
    """Return the page of a saved check; it shows the figure beside it in the folder."""
    return behaviour_report(read_json(folder / "behaviour.json", schema=SCHEMA, version=SCHEMA_VERSION), folder)


def behaviour_report(record: Mapping[str, Any], pictures: Path) -> Report:
    """Return the page of a check: the right cases by kind, and the wrong cases."""
    wrong = [
        {name.replace("_", " "): row[name] for name in (*_COLUMNS, "verdict", "probability", "reference_probability")}
        for row in record["table"]
        if not row["right"]
    ]
    figures = {"right": f"{record['right']} of {record['cases']}"}
    if record["negation_cases"]:
        figures |= {
            "with negation": f"{record['negation_right']} of {record['negation_cases']}",
            "without negation": f"{record['other_right']} of {record['other_cases']}",
        }
    return Report(
        title="How does the classifier behave?",
        subtitle=str(record["source"]),
        sections=[
            Text(
                f"{record['right']} of {counted(record['cases'], 'case')} are right. The table by kind shows what the "
                "classifier has not learned."
            ),
            KeyFigures(figures),
            Table(record["kinds"], "By kind"),
            kept_picture(
                pictures,
                "behaviour.png",
                "Share of right cases by kind",
                "Notice the short bars: of these kinds the classifier gets the fewest cases right.",
            ),
            Table(wrong, "Cases that are wrong"),
            Text(
                "A case without a reference is right when its text has the expected label. With one, the label must be "
                "more likely for the text than for the reference, or, where 'same' is expected, both must have "
                "the same verdict. The cases are few and simple: they find faults, and do not measure accuracy.",
                "What a case is",
            ),
            *closing(record["command"], record["provenance"]),
        ],
    )


def _figure(report: BehaviourReport) -> "Figure":
    """Draw the share of right cases by kind."""
    from matplotlib.figure import Figure

    from tokendyn.show.axes import quiet

    figure = Figure(figsize=(6.4, 0.8 + 0.3 * len(report.table())), layout="constrained")
    axes = figure.subplots()
    report.picture().draw(axes)
    quiet(axes, axes.get_xlabel())
    return figure
