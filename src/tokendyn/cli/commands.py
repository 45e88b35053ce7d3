"""Every command: its words, the function that it calls, its line of help and its examples. None is imported yet."""

from typing import Any

from cyclopts import App, Parameter

import tokendyn
from tokendyn.cli.strict import strict_numbers

#: The variant of simulate that ``--model meanfield`` chooses.
MEANFIELD = "simulate-meanfield"

#: Words that name commands.
names = {"sentiment", "classify", "forecast", "runs"}

#: The commands of each group, and at the top under the empty word; variants are left out.
tree: dict[str, list[str]] = {"": ["sentiment", "classify", "forecast", "runs"]}

#: The examples of each command, by its words.
examples: dict[str, tuple[str, ...]] = {}


def _command(parent: App, name: str, function: str, summary: str, *lines: str, usage: str | None = None) -> None:
    """Register a command that is imported when it is used, with its line of help and its examples.

    One with a ``usage`` of its own is a variant of another command and is not listed.
    """
    epilogue = "Examples:\n\n" + "\n".join(f"  {line}" for line in lines)
    names.add(name)
    group = "" if parent.name[0] == "tokendyn" else parent.name[0]
    examples[f"{group} {name}".strip()] = lines
    if usage is None:
        tree.setdefault(group, []).append(name)
    variant: dict[str, Any] = {} if usage is None else {"usage": f"Usage: {usage}", "show": False}
    parent.command(f"tokendyn.cli.{function}", name=name, help=summary, help_epilogue=epilogue, **variant)


app = App(
    name="tokendyn",
    help="Transformers as dynamical systems: run them, see the leaders, classify texts and ask why.",
    version=tokendyn.__version__,
    help_format="plaintext",
    help_epilogue="Every command takes --config FILE.toml for its options. Start with: tokendyn demo",
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
    config=(strict_numbers,),
)
sentiment = App(name="sentiment", help="Train a text classifier that explains itself by its leader words.")
forecast = App(
    name="forecast", help="Forecast series and fields: run does all at once; fit, predict, compare, validation studies."
)
_command(
    app,
    "inspect",
    "inspection:inspect",
    "Look at a trained transformer as a particle system: do its tokens gather, who leads, how cold is each head.\n\n"
    "Writes a folder with result.json, states.safetensors, heads.csv and report.html. Needs the extra models.",
    'tokendyn inspect all-MiniLM-L6-v2/ --text "A warm film that never drags." --out seen/',
    "tokendyn inspect gpt2/ --texts reviews.csv --tokens 128 --out seen/",
    "tokendyn inspect --states states.safetensors --out seen/",
)
_command(
    app,
    "simulate",
    "simulate:simulate",
    "Run tokens through hardmax attention layers: who leads, who follows, where each ends.\n\n"
    "Writes a folder with the run, the panels, an animation, a table of the tokens and report.html. "
    "With --model meanfield: many tokens on the sphere at low temperature, with options of their own.",
    "tokendyn simulate tokens.csv --out run/",
    'tokendyn simulate tokens.csv --alpha 0.5 --layers 30 --score "2,0;0,1" --out run/',
    "tokendyn simulate embeddings.safetensors --array weight --softmax 20 --out soft/",
    "tokendyn simulate --config run.toml tokens.csv --out run/",
    "tokendyn simulate explored.json --out run/",
    "tokendyn simulate 'explorer.html#preset=triangle&alpha=2' --out run/",
    "tokendyn simulate --model meanfield --help",
)
_command(
    app,
    MEANFIELD,
    "meanfield:simulate_meanfield",
    "Run tokens on the sphere under softmax attention: when they concentrate, on what, and when they leave.\n\n"
    "Writes a folder with the run, distances over time as CSV, figures, an animation and report.html. Says whether the "
    "number of tokens resolves beta. With --weights: one head of a model, for its theory; what a whole trained model "
    "does with the tokens of a text, and on its own states, is what tokendyn inspect measures.",
    'tokendyn simulate --model meanfield --beta 300 --value "diag(1,2)" --score "diag(4,1)" --out run/',
    'tokendyn simulate --model meanfield --beta 100 -V "diag(1,1,2)" -A "diag(4,4,1)" --tokens 4000 --out sphere/',
    'tokendyn simulate --model meanfield --beta 100 -V "diag(1,2)" -A "diag(4,1)" --start uniform --seeds 5 --refine',
    "tokendyn simulate tokens.csv --model meanfield --normalise --beta inf --zero-temperature hardmax --out hard/",
    "tokendyn simulate --weights model.safetensors --layer 3 --head 1 --out head/",
    'tokendyn simulate model/ --model meanfield --text "A warm, wonderful film." --beta 50 --out text/',
    usage="tokendyn simulate --model meanfield [TOKENS] [OPTIONS]",
)
_command(
    app,
    "phase",
    "phase:phase",
    "Draw a phase diagram of tokens at low temperature: over beta and time, or over beta and the spectrum of V.\n\n"
    "Writes a folder with every run, the table of points, figures and report.html. Started again, it goes on.",
    'tokendyn phase --betas 10,30,100,300,1000 --value "diag(1,2)" --score "diag(4,1)" --out phase/',
    'tokendyn phase --spectrum --score "diag(4,1)" --tokens 500 --budget 10m --out spectrum/',
    'tokendyn phase --betas 30,100,300 -V "diag(1,2)" -A "diag(4,1)" --start uniform --seeds 5 --out scatter/',
    "tokendyn phase --ratios 1.5,2,3 --betas 30,100 --score B.csv --out small/",
)
_command(
    sentiment,
    "train",
    "sentiment:train",
    "Train a classifier that decides at hardmax, and write it as a model folder.",
    "tokendyn sentiment train reviews.csv --text text --label label --out model/",
    "tokendyn sentiment train reviews.jsonl --test-fraction 0.2 --seed 1 --out model/",
    "tokendyn sentiment train reviews.csv --ngrams 2 --active-words 20000 --out model/",
)
_command(
    sentiment,
    "distil",
    "sentiment:distil",
    "Train a classifier on the probabilities that another model gives to texts, and say how close it comes.",
    "tokendyn sentiment distil judged.csv --out copy/",
    "tokendyn sentiment distil texts.csv --probabilities theirs.csv --classes neg,pos --out copy/",
    "tokendyn sentiment distil judged.jsonl --columns score --classes neg,pos --test-fraction 0.1 --out copy/",
)
_command(
    sentiment,
    "predict",
    "sentiment:predict",
    "Label every text of a file: CSV in, CSV out, with probability and number of leaders.",
    "tokendyn sentiment predict new.csv --model model/ --out labelled.csv",
    "zcat new.csv.gz | tokendyn sentiment predict - --model model/ > labelled.csv",
)
_command(
    sentiment,
    "explain",
    "sentiment:explain",
    "Say why a text is classified as it is: leader words, their places, contributions that add up.",
    'tokendyn sentiment explain "Not a dull minute in it, a wonderful film." --model model/',
    "tokendyn sentiment explain --file review.txt --model model/ --html why.html",
    "cat review.txt | tokendyn sentiment explain - --model model/ --json",
    "tokendyn sentiment explain --file review.txt --model model/ --learned reviews.csv --retrainings 10",
)
_command(
    sentiment,
    "check",
    "sentiment:check",
    "Try a classifier on a behavioural suite: negation, intensifiers, spelling, length, filler, names.",
    "tokendyn sentiment check model/",
    "tokendyn sentiment check model/ --cases mine.csv --out check/",
)
_command(
    sentiment,
    "evaluate",
    "sentiment_studies:evaluate",
    "Measure how faithful explanations are: words taken out, words left alone, time, stability.\n\n"
    "Writes a folder with the table, all texts, a figure and report.html. lime and shap need tokendyn[bench].",
    "tokendyn sentiment evaluate held_out.csv --model model/ --out evaluation/",
    "tokendyn sentiment evaluate held_out.csv --model model/ --learned reviews.csv "
    "--explainers leaders,coefficients,loo --out evaluation/",
    "tokendyn sentiment evaluate held_out.csv --model model/ --explainers leaders,lime,shap,loo,random "
    "--texts 50 --samples 1000 --out evaluation/",
)
_command(
    sentiment,
    "explain-all",
    "sentiment:explain_all",
    "Explain every text of a file: one line of JSON a text with verdict, leaders, spans and contributions.",
    "tokendyn sentiment explain-all new.csv --model model/ --out why.jsonl",
)
_command(
    sentiment,
    "curve",
    "sentiment_studies:curve",
    "Draw accuracy against leaders a text: one model for each number, to pick a point.",
    "tokendyn sentiment curve reviews.csv --leaders 2 --leaders 5 --leaders 10 --out curve/",
)
_command(
    sentiment,
    "compare",
    "sentiment_studies:compare",
    "Compare the classifier with TF-IDF and logistic regression, and a fastText-like model, on one split of your file."
    "\n\nWrites a folder with the table, a figure and report.html.",
    "tokendyn sentiment compare reviews.csv --out comparison/",
    "tokendyn sentiment compare reviews.csv --ngrams 2 --active-words 20000 --published --seed 1 --out comparison/",
)
_command(
    sentiment,
    "export",
    "sentiment:export",
    "Write the scoring path of a model as an ONNX file, for onnxruntime in any language. Needs tokendyn[onnx].",
    "tokendyn sentiment export model/ --out model.onnx",
)
app.command(sentiment)
classify = App(name="classify", help="Build a transformer that labels given sequences exactly, without training.")
_command(
    classify,
    "check",
    "classify:check",
    "Look at sequences before building: contradictions, duplicates, gaps.",
    "tokendyn classify check sequences.jsonl",
    "tokendyn classify check reviews.csv --text text",
)
_command(
    classify,
    "build",
    "classify:build",
    "Build a transformer that gives every sequence its label, verify it, and write it as a model folder.",
    "tokendyn classify build sequences.jsonl --out model/",
    "tokendyn classify build tokens.csv --strategy narrow --dtype float32 --out model/",
    "tokendyn classify build reviews.csv --text text --out model/",
)
_command(
    classify,
    "verify",
    "classify:verify",
    "Run your own sequences, or those that a model holds, and compare with the labels; --exact: in rationals.",
    "tokendyn classify verify model/ sequences.jsonl",
    "tokendyn classify verify model/ sequences.jsonl --exact --json",
    "tokendyn classify verify model/ --bits",
)
_command(
    classify,
    "predict",
    "classify:predict",
    "Label every sequence of a file: CSV out, with whether the sequence is one of the given ones.",
    "tokendyn classify predict new.jsonl --model model/ --out labels.csv",
)
_command(
    classify,
    "explain",
    "classify:explain",
    "Say why a sequence has its label: which token decides, and by how much.",
    "tokendyn classify explain sequences.jsonl --id 7 --model model/ --figure path.png",
)
_command(
    classify,
    "export",
    "classify:export",
    "Write a model as an ONNX file.",
    "tokendyn classify export model/ --onnx model.onnx",
    "tokendyn classify export model/ --onnx model.onnx --unrolled",
)
app.command(classify)
_command(
    forecast,
    "run",
    "forecast:run",
    "Go from a file to a forecast: find times, calendar, season, grid and mask, search a model, forecast, and report.",
    "tokendyn forecast run sales.csv --horizon 24",
    "tokendyn forecast run flow.nc --out flow-forecast/ --budget 30s",
)
_command(
    forecast,
    "fit",
    "forecast:fit",
    "Fit a forecaster to snapshots, say how well its closed loop does on what was held out, and write it.",
    "tokendyn forecast fit data.csv --time t --horizon 200 --out model/",
    "tokendyn forecast fit data.csv --time t --budget 1m --figures --out model/",
    "tokendyn forecast fit runs.parquet --time t --series run --inputs pitch --delays 16 --stride 5 --out model/",
)
_command(
    forecast,
    "predict",
    "forecast:predict",
    "Forecast in closed loop from the end of the data: CSV with times and columns. Exits with 1 when it diverges.",
    "tokendyn forecast predict model/ data.csv --steps 500 --out forecast.csv",
    "tokendyn forecast predict model/ data.csv --steps 500 --future motion.csv > forecast.csv",
)
_command(
    forecast,
    "compare",
    "forecast_compare:compare",
    "Compare TD-TF, TD-DMD, the literal transformer and every peer that is installed, tuned alike, on your file.\n\n"
    "Writes a folder with the table, the forecasts, figures and report.html. Peers need tokendyn[bench].",
    "tokendyn forecast compare data.csv --time t --horizon 200 --out comparison/",
    "tokendyn forecast compare data.csv --models TD-TF,TD-DMD,ESN --budget 2m --out comparison/",
)
_command(
    forecast,
    "study",
    "forecast_compare:study",
    "Run a validation study: generate its data, tune every model alike, and write table, figures and report.",
    "tokendyn forecast study lorenz --quick --out lorenz/",
    "tokendyn forecast study aerodynamics --out aerodynamics/",
)
app.command(forecast)
_command(
    app,
    "claims",
    "claims:claims",
    "Check the claims of the sources: a number measured now, against a bound stated beforehand.\n\n"
    "Exit code 1 if a claim falls short.",
    "tokendyn claims",
    "tokendyn claims field",
    "tokendyn claims exact.blocks clustering --out claims/",
    "tokendyn claims --profile full --out claims/",
)
_command(
    app,
    "sweep",
    "sweep:sweep",
    "Run one command over grids, lists and draws of its options: every job a run of the store, one table, figures.\n\n"
    "Started again, it goes on. Exit code 1 if jobs failed.",
    "tokendyn sweep sweep.toml",
    "tokendyn sweep sweep.toml --workers 2 --memory 4GB --store results/",
    "tokendyn sweep sweep.toml --scheduler tcp://10.0.0.1:8786",
)
runs = App(name="runs", help="Look at the runs of a store: list, show, compare, remove.")
_command(
    runs,
    "list",
    "runs:list_runs",
    "List the runs of a store, the latest first, or those that meet a condition.",
    "tokendyn runs list",
    'tokendyn runs list --where "alpha > 0.5 and status = completed" --show alpha,clusters',
)
_command(
    runs,
    "show",
    "runs:show_run",
    "Show one run: options, results, versions; check that its files are as they were written.",
    "tokendyn runs show 3f2a",
)
_command(
    runs,
    "compare",
    "runs:compare_runs",
    "Put runs beside each other: the options and results in which they differ.",
    "tokendyn runs compare 3f2a 91bc",
)
_command(
    runs,
    "rm",
    "runs:remove_runs",
    "Remove runs, by id or by condition.",
    "tokendyn runs rm 3f2a",
    'tokendyn runs rm --where "status = failed" --yes',
)
_command(
    runs,
    "adopt",
    "runs:adopt",
    "Take over runs of another version of the code or its libraries, once a sample computed anew has the same bits.\n\n"
    "Exit code 1 if bits differ.",
    "tokendyn runs adopt --dry-run",
    "tokendyn runs adopt --where 'command = simulate' --sample 5 --store results/",
)
_command(
    runs,
    "reindex",
    "runs:reindex",
    "Build the index of a store anew, and clear up after killed processes. Exit code 1 if a run is damaged.",
    "tokendyn runs reindex",
    "tokendyn runs reindex --verify --store results/",
)
app.command(runs)
_command(
    app,
    "report",
    "report:report",
    "Make one HTML page of one or many runs of any kind: one file, no network.",
    "tokendyn report run/",
    "tokendyn report run/ model/ comparison/ --out page.html",
    "tokendyn classify verify model/ --exact --json > verified.json && tokendyn report verified.json",
)
_command(
    app,
    "explore",
    "explore:explore",
    "Write and open one HTML page in which tokens are dragged and parameters set: hardmax and softmax side by side.\n\n"
    "It needs no network. What it saves as JSON, simulate takes back.",
    "tokendyn explore",
    "tokendyn explore --preset experiment-b --out sphere.html --no-open",
    "tokendyn explore run/",
    'tokendyn sentiment explain "A dull film." --model model/ --json > why.json && tokendyn explore why.json',
    "tokendyn simulate explored.json --out run/",
)
_command(
    app,
    "demo",
    "demo:demo",
    "Show every system once, in a minute or two, on one page that grows: its first chapter is there at once.\n\n"
    "Uses the IMDb training reviews when TOKENDYN_DATA names a folder with imdb/reviews-train.csv.gz, else the "
    "600 short reviews that come with the package. The page opens in a browser, if a terminal starts the command.",
    "tokendyn demo",
    "TOKENDYN_DATA=data tokendyn demo --out shown/",
)
_command(
    app,
    "samples",
    "samples:samples",
    "Write small files to try every command with: tokens, reviews, sequences, snapshots.",
    "tokendyn samples",
    "tokendyn samples tried/",
)
_command(
    app,
    "completion",
    "completion:completion",
    "Write a script with which bash, zsh or fish completes commands and options.",
    "tokendyn completion bash > ~/.local/share/bash-completion/completions/tokendyn",
    "tokendyn completion zsh > ~/.zfunc/_tokendyn",
    "tokendyn completion fish > ~/.config/fish/completions/tokendyn.fish",
)
_command(
    app,
    "doctor",
    "doctor:doctor",
    "Print versions, devices and extras, and run one attention step with each backend.",
    "tokendyn doctor",
    "tokendyn doctor --json",
)
