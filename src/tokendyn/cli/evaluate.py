"""``tokendyn sentiment evaluate``: how faithful the explanations of a model are."""

from pathlib import Path

import numpy as np

from tokendyn.cli.output import announce, write_json
from tokendyn.cli.progress import progress
from tokendyn.cli.repeat import repeated
from tokendyn.errors import BadInputError
from tokendyn.runs.files import check_free


def evaluate(
    reviews: Path,
    /,
    *,
    model: Path,
    out: Path,
    explainers: str = "leaders,loo,random",
    texts: int = 100,
    text: str = "text",
    samples: int = 5000,
    seeds: int = 2,
    seed: int = 0,
    overwrite: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Measure how faithful explanations are: words taken out, words left alone, time, stability.

    Parameters
    ----------
    reviews
        CSV, TSV or JSONL (also .gz) with a column of texts, best of texts that the model has not learned from.
    model
        Folder that train wrote.
    out
        Folder to write: table.csv, texts.csv, evaluation.json, faithfulness.png, report.html.
    explainers
        Names with commas between: leaders, value, lime, shap, loo, random. For lime and shap: pip install
        tokendyn[bench].
    texts
        At most so many texts are drawn at random from those that have a word.
    text
        Name of the column of texts.
    samples
        Variants of a text that LIME and SHAP may each have judged.
    seeds
        Explanations are made with so many seeds, to see how stable they are.
    seed
        First of these seeds, and seed of the draw of texts.
    overwrite
        Replace the folder when it exists.
    dry_run
        Check the input, say what would be done, and stop.
    json
        Write the table as one JSON object to standard output.
    """
    from tokendyn.data.texts import read_texts
    from tokendyn.rivals.sentiment.explainers import check_explainers
    from tokendyn.sentiment import find_words, load
    from tokendyn.studies.sentiment.faithfulness import evaluate_explanations
    from tokendyn.studies.sentiment.faithfulness_page import write_evaluation

    problems = [
        f"{name} must be at least {least}, got {given}"
        for name, given, least in (("--texts", texts, 1), ("--seed", seed, 0))
        if given < least
    ]
    if problems:
        raise BadInputError.all_of("the command", problems)
    check_free(out, overwrite=overwrite, inputs=[reviews, model])
    names = [name.strip() for name in explainers.split(",") if name.strip()]
    classifier = load(model)
    data = read_texts(reviews, text=text, label=None)
    usable = [place for place, one in enumerate(data.texts) if find_words(one)]
    if not usable:
        raise BadInputError(f"{reviews}: none of its {len(data)} texts has a word; nothing can be explained")
    drawn = np.random.default_rng(seed).permutation(usable)[:texts]
    chosen = data.take(np.sort(drawn))
    check_explainers(names, classifier)
    if dry_run:
        announce(f"would explain {len(chosen)} of {len(data)} texts by {', '.join(names)}, and write {out}")
        return 0
    with progress("explanations") as report:
        found = evaluate_explanations(
            classifier, list(chosen.texts), names, seed=seed, seeds=seeds, samples=samples, progress=report
        )
    notes = f"{len(chosen)} texts drawn from {len(data)} of {reviews.name}"
    if len(usable) < len(data):
        notes += f"; {len(data) - len(usable)} without a word were left out"
    command = repeated()
    write_evaluation(found, out, command=command, notes=f"{notes}.", overwrite=overwrite)
    if json:
        record = found.to_dict()
        write_json({"table": record["table"], "provenance": record["provenance"], "out": str(out)})
    announce(f"{notes}; mean over them:")
    announce(f"{'explainer':>10}  comprehensiveness  sufficiency   size  seconds")
    for row in found.table().to_dict(orient="records"):
        announce(
            f"{row['explainer']:>10}  {row['comprehensiveness']:17.3f}  {row['sufficiency']:11.3f}  "
            f"{row['size']:5.1f}  {row['seconds']:.2g}"
        )
    announce(f"wrote {out}; open {out / 'report.html'}")
    return 0
