# The names of the package, for type checkers, for Python (see __init__.py) and for docs/api.md: this list is the one.

from tokendyn.attention import AttentionStep, Head, attend, attention_weights
from tokendyn.attention.dispatch import register_attention
from tokendyn.data.configurations import configuration
from tokendyn.data.labelled_texts import LabelledTexts
from tokendyn.data.sequences import LabelledSequences, read_sequences
from tokendyn.data.snapshots import Snapshots, read_trajectories
from tokendyn.data.snapshots import read_snapshots as read_series
from tokendyn.data.states import HiddenStates, read_states, write_states
from tokendyn.data.systems import lorenz63, sinusoids
from tokendyn.data.texts import read_texts, small_reviews
from tokendyn.data.tokens import TokenTable, read_tokens
from tokendyn.data.weights import HeadWeights, read_head
from tokendyn.dynamics import (
    Budget,
    Event,
    FeedForward,
    FlowTrajectory,
    Layer,
    RaggedTokens,
    RaggedTrajectory,
    TokenFlow,
    Trajectory,
    integrate,
    run_ragged,
)
from tokendyn.dynamics.run import run
from tokendyn.errors import BadInputError, ConvergenceError, OutputError, TokendynError
from tokendyn.exact import (
    Certificate,
    ExactClassifier,
    ExactTransformer,
    InputReport,
    Verification,
    compile_seq2seq,
)
from tokendyn.exact import check as check_sequences
from tokendyn.exact import compile as compile_transformer
from tokendyn.experiments import Experiment, sweep
from tokendyn.forecast import (
    TDDMD,
    TDTF,
    Backtest,
    BasisMap,
    Blend,
    EnsembleTDTF,
    Forecast,
    Forecaster,
    OrbitReading,
    PaperTDTF,
    SearchResult,
    Spectrum,
    auto_forecaster,
    read_orbit,
)
from tokendyn.forecast.pod import POD
from tokendyn.loading import load
from tokendyn.metrics import (
    Calibration,
    Exponent,
    Transport,
    ValidTimes,
    coupling_distance,
    ensemble_calibration,
    largest_exponent,
    nrmse,
    valid_prediction_times,
    wasserstein,
)
from tokendyn.models import Inspection, inspect, register_family
from tokendyn.particles import (
    ClusteringRun,
    LemmaReport,
    LimitPrediction,
    LimitSet,
    check_lemmas,
    limit_set,
    predict_limits,
    simulate,
)
from tokendyn.particles.experiments import Clustering
from tokendyn.particles.explorer import explore
from tokendyn.particles.meanfield import MeanFieldRun, Refinement, refine
from tokendyn.particles.meanfield import simulate as simulate_meanfield
from tokendyn.particles.meanfield.diagram import Diagram
from tokendyn.particles.meanfield.phase import Phase
from tokendyn.particles.meanfield.simulation import MeanField
from tokendyn.particles.meanfield.starts import circle_quantiles, fibonacci_sphere, uniform_sphere
from tokendyn.results import STATUSES, Result
from tokendyn.runs.checkpoint import Checkpoint
from tokendyn.sentiment import LeaderClassifier
from tokendyn.show.progress import progress_bar
from tokendyn.studies.sentiment import evaluate_explanations

from . import (
    attention,
    data,
    dynamics,
    errors,
    exact,
    experiments,
    forecast,
    geometry,
    metrics,
    models,
    particles,
    results,
    runs,
    sentiment,
    show,
    testing,
)

__version__: str

__all__ = [
    "POD",
    "STATUSES",
    "TDDMD",
    "TDTF",
    "AttentionStep",
    "Backtest",
    "BadInputError",
    "BasisMap",
    "Blend",
    "Budget",
    "Calibration",
    "Certificate",
    "Checkpoint",
    "Clustering",
    "ClusteringRun",
    "ConvergenceError",
    "Diagram",
    "EnsembleTDTF",
    "Event",
    "ExactClassifier",
    "ExactTransformer",
    "Experiment",
    "Exponent",
    "FeedForward",
    "FlowTrajectory",
    "Forecast",
    "Forecaster",
    "Head",
    "HeadWeights",
    "HiddenStates",
    "InputReport",
    "Inspection",
    "LabelledSequences",
    "LabelledTexts",
    "Layer",
    "LeaderClassifier",
    "LemmaReport",
    "LimitPrediction",
    "LimitSet",
    "MeanField",
    "MeanFieldRun",
    "OrbitReading",
    "OutputError",
    "PaperTDTF",
    "Phase",
    "RaggedTokens",
    "RaggedTrajectory",
    "Refinement",
    "Result",
    "SearchResult",
    "Snapshots",
    "Spectrum",
    "TokenFlow",
    "TokenTable",
    "TokendynError",
    "Trajectory",
    "Transport",
    "ValidTimes",
    "Verification",
    "attend",
    "attention",
    "attention_weights",
    "auto_forecaster",
    "check_lemmas",
    "check_sequences",
    "circle_quantiles",
    "compile_seq2seq",
    "compile_transformer",
    "configuration",
    "coupling_distance",
    "data",
    "dynamics",
    "ensemble_calibration",
    "errors",
    "evaluate_explanations",
    "exact",
    "experiments",
    "explore",
    "fibonacci_sphere",
    "forecast",
    "geometry",
    "inspect",
    "integrate",
    "largest_exponent",
    "limit_set",
    "load",
    "lorenz63",
    "metrics",
    "models",
    "nrmse",
    "particles",
    "predict_limits",
    "progress_bar",
    "read_head",
    "read_orbit",
    "read_sequences",
    "read_series",
    "read_states",
    "read_texts",
    "read_tokens",
    "read_trajectories",
    "refine",
    "register_attention",
    "register_family",
    "results",
    "run",
    "run_ragged",
    "runs",
    "sentiment",
    "show",
    "simulate",
    "simulate_meanfield",
    "sinusoids",
    "small_reviews",
    "sweep",
    "testing",
    "uniform_sphere",
    "valid_prediction_times",
    "wasserstein",
    "write_states",
]
