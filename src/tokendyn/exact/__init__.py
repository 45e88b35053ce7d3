"""Transformers built in closed form from labelled sequences, certified in exact arithmetic; no training.

Importing this package is light; each public name is imported when it is first used.
"""

from typing import TYPE_CHECKING

from tokendyn.late import attributes_at

if TYPE_CHECKING:
    from tokendyn.exact.certificate import Certificate, Verification
    from tokendyn.exact.checking import InputReport, check
    from tokendyn.exact.compiler import compile
    from tokendyn.exact.errors import (
        CertificateError,
        ContradictoryLabelsError,
        CoverageWarning,
        OutputLengthError,
        PrecisionError,
        SeparationError,
    )
    from tokendyn.exact.estimator import ExactClassifier
    from tokendyn.exact.experiments import Compilation
    from tokendyn.exact.explanation import Explanation, Trace
    from tokendyn.exact.export import to_exported_program, to_linear, to_onnx
    from tokendyn.exact.outcome import BuiltModel
    from tokendyn.exact.regularised import LossCurves, bank_training
    from tokendyn.exact.seq2seq import compile_seq2seq
    from tokendyn.exact.store import load, save
    from tokendyn.exact.tikhonov import TikhonovProblem, TikhonovRuns, tikhonov_problem, tikhonov_training
    from tokendyn.exact.transformer import ExactTransformer, Stats

_HOME = {
    "Compilation": "experiments",
    "BuiltModel": "outcome",
    "Certificate": "certificate",
    "Verification": "certificate",
    "InputReport": "checking",
    "check": "checking",
    "compile": "compiler",
    "compile_seq2seq": "seq2seq",
    "CertificateError": "errors",
    "ContradictoryLabelsError": "errors",
    "CoverageWarning": "errors",
    "OutputLengthError": "errors",
    "PrecisionError": "errors",
    "SeparationError": "errors",
    "ExactClassifier": "estimator",
    "Explanation": "explanation",
    "Trace": "explanation",
    "to_exported_program": "export",
    "to_linear": "export",
    "to_onnx": "export",
    "LossCurves": "regularised",
    "bank_training": "regularised",
    "load": "store",
    "save": "store",
    "TikhonovProblem": "tikhonov",
    "TikhonovRuns": "tikhonov",
    "tikhonov_problem": "tikhonov",
    "tikhonov_training": "tikhonov",
    "ExactTransformer": "transformer",
    "Stats": "transformer",
}

__all__ = [
    "BuiltModel",
    "Certificate",
    "CertificateError",
    "Compilation",
    "ContradictoryLabelsError",
    "CoverageWarning",
    "ExactClassifier",
    "ExactTransformer",
    "Explanation",
    "InputReport",
    "LossCurves",
    "OutputLengthError",
    "PrecisionError",
    "SeparationError",
    "Stats",
    "TikhonovProblem",
    "TikhonovRuns",
    "Trace",
    "Verification",
    "bank_training",
    "check",
    "compile",
    "compile_seq2seq",
    "load",
    "save",
    "tikhonov_problem",
    "tikhonov_training",
    "to_exported_program",
    "to_linear",
    "to_onnx",
]

__getattr__ = attributes_at(__name__, _HOME)
