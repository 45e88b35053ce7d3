"""A built transformer: its module, its predictions, its certificate."""

import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from tokendyn.errors import BadInputError
from tokendyn.exact import ragged
from tokendyn.exact.certificate import Certificate, Progress, bitwise_beta, sufficient_beta
from tokendyn.exact.construction import Construction
from tokendyn.exact.dense import padded, run_dense
from tokendyn.exact.digest import digest_of
from tokendyn.exact.errors import CertificateError, CoverageWarning
from tokendyn.exact.forms import Forms, Table, canonical
from tokendyn.exact.radius import line_of
from tokendyn.exact.sequences import Given, Sequences, gather, gather_any
from tokendyn.exact.weights import Weights
from tokendyn.late import function_at
from tokendyn.words import counted

if TYPE_CHECKING:
    from tokendyn.dynamics import ResidualLayer
    from tokendyn.exact.explanation import Explanation, Trace
    from tokendyn.exact.module import TransformerBlocks

_save = function_at("tokendyn.exact.store:save")
_to_onnx = function_at("tokendyn.exact.export:to_onnx")


@dataclass(frozen=True)
class Stats:
    """The sizes of a transformer.

    Attributes
    ----------
    strategy, blocks, width, dim
        Name, number of blocks, hidden units of the widest, channels of the residual stream.
    nonzeros
        Nonzero parameters.
    queries
        Number of questions, detectors or ramps.
    score_rank, value_rank
        Largest rank of an attention's score and value matrix.
    sequences, tokens, labels
        Numbers of sequences, tokens and labels that it was built from.
    """

    strategy: str
    blocks: int
    width: int
    dim: int
    nonzeros: int
    queries: int
    score_rank: int
    value_rank: int
    sequences: int
    tokens: int
    labels: int


class ExactTransformer:
    """A transformer in closed form, with the sequences that it was built from.

    Made by :func:`tokendyn.exact.compile`, :func:`tokendyn.exact.compile_seq2seq` and :func:`tokendyn.exact.load`.

    Attributes
    ----------
    construction
        Weights, channels and margins.
    labels
        The labels; the output of the transformer is an index into this list. Empty for sequence to sequence.
    sequences
        The sequences without repeated tokens (see :meth:`canonical`), in the given order.
    targets
        ``(tokens, outputs)``: the final output that each of their tokens must have.
    attention
        ``"hardmax"`` or ``"softmax"``.
    beta
        The softmax's inverse temperature, None for hardmax.
    """

    def __init__(
        self,
        construction: Construction,
        labels: tuple[Any, ...],
        sequences: Sequences,
        targets: Float[np.ndarray, "tokens outputs"],
        *,
        attention: str = "hardmax",
        beta: float | None = None,
        positions: bool = False,
        multiplicity: str = "set",
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.construction, self.labels = construction, labels
        self.sequences, self.targets = sequences, targets
        self.attention, self.positions, self.multiplicity = attention, positions, multiplicity
        self.settings = dict(settings or {})
        self.beta = self._checked_beta(beta)

    def __repr__(self) -> str:
        stats = self.stats
        return (
            f"ExactTransformer({stats.strategy}, {self.attention}, {self.dtype}: "
            f"{counted(stats.sequences, 'sequence')}, "
            f"{counted(stats.blocks, 'block')} of width {stats.width}, {counted(stats.nonzeros, 'nonzero')})"
        )

    @property
    def strategy(self) -> str:
        """Name of the construction."""
        return self.construction.strategy

    @property
    def weights(self) -> Weights:
        """The weights by nonzeros."""
        return self.construction.weights

    @property
    def dtype(self) -> str:
        """``"float32"`` or ``"float64"``."""
        return str(self.sequences.tokens.dtype)

    @property
    def input_dim(self) -> int:
        """Number of coordinates of a token as the transformer reads it (with its position, when positions count)."""
        return int(self.sequences.tokens.shape[1])

    @property
    def stats(self) -> Stats:
        """Blocks, width, ranks, nonzeros, queries."""
        weights = self.weights
        attends = bool(np.any(weights.attends * weights.query_weights != 0))
        return Stats(
            strategy=self.strategy,
            blocks=weights.blocks,
            width=weights.width,
            dim=self.construction.dim,
            nonzeros=weights.nonzeros,
            queries=self.construction.queries,
            score_rank=int(attends),
            value_rank=weights.value_rank,
            sequences=len(self.sequences),
            tokens=len(self.sequences.tokens),
            labels=len(self.labels),
        )

    @cached_property
    def certificate(self) -> Certificate:
        """The margins and their consequences."""
        construction = self.construction
        tempered = self._least_beta() if np.isfinite(construction.width) else None
        soft = self.attention == "softmax" and tempered is not None
        longest = int(self.sequences.lengths.max())
        line = line_of(self)
        return Certificate(
            delta_min=construction.gap,
            error=construction.error,
            needed=construction.needed,
            beta_min=tempered,
            beta=self.beta if soft else None,
            n_max=longest if soft else construction.longest,
            arithmetic=self.dtype,
            direction=None if line is None else tuple(line[0].tolist()),
            centre=None if line is None else tuple(line[1].tolist()),
            data=digest_of(self),
            _transformer=self,
        )

    @cached_property
    def module(self) -> "TransformerBlocks":
        """The dense torch module: blocks of feed-forward and attention, weights in stacked tensors."""
        from tokendyn.exact.module import TransformerBlocks

        construction = self.construction
        return TransformerBlocks(self.weights, self.input_dim, construction.dim, construction.outputs, self.beta)

    def layers(self) -> "list[ResidualLayer]":
        """Return the blocks as layers of :mod:`tokendyn.dynamics`, which run on tokens padded to all channels.

        They return what the fast kernel returns, up to the rounding that :mod:`tokendyn.exact.core_layers` describes.
        """
        from tokendyn.exact.core_layers import core_layers

        return core_layers(self.weights, self.construction.dim, self.beta)

    def prepare(self, sequences: Given) -> Sequences:
        """Check sequences and convert them into the form that the transformer reads.

        Raises
        ------
        BadInputError
            If they are not ``(tokens, dim)`` arrays of the transformer's dimension.
        """
        ready = sequences if isinstance(sequences, Sequences) else gather(
            sequences, self.dtype, positions=self.positions
        )  # fmt: skip
        if ready.tokens.shape[1] != self.input_dim:
            coordinates, expected = ready.tokens.shape[1] - self.positions, self.input_dim - self.positions
            raise BadInputError(
                f"tokens have {counted(coordinates, 'coordinate')}, and this transformer was built for {expected}"
            )
        return ready

    def canonical(self, sequences: Given) -> Forms:
        """Return the canonical form of each sequence, which the network reads and by which a sequence is known.

        The distinct tokens of a sequence; with ``multiplicity="frequency"`` the smallest multiset with the same shares.
        Order and repetition of tokens change neither the form nor any answer.
        """
        return canonical(self.prepare(sequences), self.multiplicity)

    def batch(
        self, sequences: Given
    ) -> tuple[Float[np.ndarray, "batch tokens input_dim"], Bool[np.ndarray, "batch tokens"]]:
        """Return tokens and mask of sequences as :attr:`module` and an exported file take them: canonical, padded.

        The module reads every given token: a repeated token counts twice in strategies that read a mean.
        """
        return padded(self.canonical(sequences).sequences)

    def residuals(
        self, sequences: Given, *, workers: int = 1, progress: Progress | None = None
    ) -> Float[np.ndarray, "tokens channels"]:
        """Return the last residuals of all tokens, one sequence after the other, by the fast kernel."""
        return self._residuals(self.canonical(sequences), workers, progress)

    def _residuals(self, forms: Forms, workers: int, progress: Progress | None) -> np.ndarray:
        self._check_lengths(forms.sequences.lengths)
        states = ragged.run(
            self.weights, self.construction.dim, forms.sequences, plan=self.construction.plan,
            inverse_temperature=self.beta, workers=workers, progress=progress,
        )  # fmt: skip
        return states[forms.row_of]

    def outputs(
        self,
        sequences: Given,
        *,
        backend: str = "ragged",
        device: str = "cpu",
        workers: int = 1,
        progress: Progress | None = None,
    ) -> list[Float[np.ndarray, "tokens outputs"]]:
        """Return the output of every token of each sequence, known or not, as the network computes it.

        Parameters
        ----------
        sequences
            ``(tokens, dim)`` arrays.
        backend
            ``"ragged"``, the compiled kernel, or ``"dense"``, the torch module.
        device
            Torch device of the dense module.
        workers, progress
            Number of threads of the kernel; called with the sequences done and their total.

        Warns
        -----
        CoverageWarning
            If a sequence is longer than the certificate covers, and so is not one of those that it was built from.

        Raises
        ------
        CertificateError
            If the arithmetic of torch is coarser than the type.
        """
        ready = self.prepare(sequences)
        forms = canonical(ready, self.multiplicity)
        return np.split(self._outputs(forms, backend, device, workers, progress), ready.starts[1:-1])

    def _outputs(
        self, forms: Forms, backend: str, device: str, workers: int, progress: Progress | None
    ) -> Float[np.ndarray, "tokens outputs"]:
        """Return the outputs of all tokens of the sequences of the forms."""
        if backend == "dense":
            self._check_lengths(forms.sequences.lengths)
            outputs = run_dense(self.module, forms.sequences, self.dtype, device, progress)
            return np.concatenate(outputs)[forms.row_of]
        if backend != "ragged":
            raise BadInputError(f"backend={backend!r}; expected 'ragged' or 'dense'")
        return self._residuals(forms, workers, progress)[:, list(self.construction.outputs)]

    def predict(
        self,
        sequences: Given,
        *,
        abstain: bool = True,
        backend: str = "auto",
        device: str = "cpu",
        workers: int = 1,
        progress: Progress | None = None,
    ) -> list[Any]:
        """Return the label of each known sequence, and None for unknown ones.

        A sequence of finite numbers is never an error if its tokens have the transformer's dimension. A transformer
        for sequences returns the outputs of the tokens instead of a label.

        Parameters
        ----------
        sequences
            ``(tokens, dim)`` arrays. Known are the sequences that the transformer was built from, with their tokens in
            any order and with any repetition (with ``multiplicity="frequency"``: with the same shares).
        abstain
            Return None for unknown sequences. False: return the label nearest to the network's output, which means
            nothing for them.
        backend
            ``"auto"``: known sequences have the label that the certificate guarantees, looked up in constant time; the
            network runs for the others. ``"ragged"`` and ``"dense"`` run the network for all, see :meth:`outputs`.
        device, workers, progress
            See :meth:`outputs`.
        """
        if backend not in ("auto", "ragged", "dense"):
            raise BadInputError(f"backend={backend!r}; expected 'auto', 'ragged' or 'dense'")
        ready, readable = self._read(sequences)
        forms = canonical(ready, self.multiplicity)
        numbers = np.where(readable, self._table.find(forms), -1)
        answers: list[Any] = [None] * len(ready)
        table = backend == "auto" and bool(self.labels)
        for index in np.flatnonzero(numbers >= 0) if table else ():
            answers[index] = self.labels[self.codes[numbers[index]]]
        run = np.flatnonzero(((numbers >= 0) & (not table)) | ((numbers < 0) & (not abstain)))
        if len(run):
            part = ready.take(run)
            backend = "ragged" if backend == "auto" else backend
            forms = canonical(part, self.multiplicity)
            outputs = np.split(self._outputs(forms, backend, device, workers, progress), part.starts[1:-1])
            rows = np.split(forms.row_of, part.starts[1:-1])
            for j, output, row in zip(run.tolist(), outputs, rows, strict=True):
                first = int(np.argmin(row))  # the first token of the form: tokens of an unknown sequence may differ
                answers[j] = self.labels[self.nearest(float(output[first, 0]))] if self.labels else output
        elif progress is not None:
            progress(len(ready), len(ready))
        return answers

    def nearest(self, output: float) -> int:
        """Return the number of the label nearest to an output."""
        return int(np.clip(np.rint(np.nan_to_num(output)), 0, len(self.labels) - 1))

    def is_known(self, sequences: Given) -> np.ndarray:
        """Return for each sequence whether the transformer was built from it, by its canonical form."""
        ready, readable = self._read(sequences)
        known: np.ndarray = readable & (self._table.find(canonical(ready, self.multiplicity)) >= 0)
        return known

    def _read(self, sequences: Given) -> tuple[Sequences, Bool[np.ndarray, " sequences"]]:
        """Return sequences, and which of them the type can represent; the others are unknown."""
        if isinstance(sequences, Sequences):
            ready, readable = sequences, np.ones(len(sequences), dtype=bool)
        else:
            ready, readable = gather_any(sequences, self.dtype, positions=self.positions)
        return self.prepare(ready), readable

    @cached_property
    def _table(self) -> Table:
        return Table(canonical(self.sequences, self.multiplicity))

    @cached_property
    def codes(self) -> Int[np.ndarray, " sequences"]:
        """Label number of each sequence."""
        return self.targets[self.sequences.starts[:-1], 0].astype(np.int64)

    def explain(self, sequence: Any) -> "Explanation":
        """Return why a sequence has its label: which token decides, by how much, and the questions on the way.

        Raises
        ------
        BadInputError
            If the transformer turns sequences into outputs and has no label; see :meth:`trace`.
        """
        from tokendyn.exact.explanation import explain

        return explain(self, sequence)

    def trace(self, sequence: Any) -> "Trace":
        """Return the residuals of a sequence after each block, by the names of the channels."""
        from tokendyn.exact.explanation import Trace

        ready = self.prepare([sequence])
        forms = canonical(ready, self.multiplicity)
        states = ragged.trace(self.weights, self.construction.dim, forms.sequences.tokens, self.beta)
        return Trace(names=self.construction.channels, tokens=ready.tokens, states=states[:, forms.row_of])

    def for_form(self, form: Sequences, label: int) -> "ExactTransformer":
        """Return the same network as if it had been built from one canonical sequence, with its label number."""
        return ExactTransformer(
            self.construction, self.labels, form, np.full((len(form.tokens), 1), float(label)),
            attention=self.attention, beta=self.beta, positions=self.positions, multiplicity=self.multiplicity,
            settings=self.settings,
        )  # fmt: skip

    def with_beta(self, beta: float) -> "ExactTransformer":
        """Return the same weights run with softmax attention at another inverse temperature.

        Raises
        ------
        CertificateError
            If it is below the certificate's ``beta_min``.
        """
        return ExactTransformer(
            self.construction, self.labels, self.sequences, self.targets, attention="softmax", beta=beta,
            positions=self.positions, multiplicity=self.multiplicity, settings=self.settings,
        )  # fmt: skip

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the transformer, its sequences and its certificate into a new folder; ``tokendyn.load`` reads it."""
        _save(self, folder, overwrite=overwrite)

    def to_onnx(self, path: str | Path, *, unrolled: bool = False) -> Path:
        """Write the transformer as an ONNX file: see :func:`tokendyn.exact.to_onnx`."""
        written: Path = _to_onnx(self, path, unrolled=unrolled)
        return written

    def _least_beta(self) -> float:
        return sufficient_beta(self.construction.width, int(self.sequences.lengths.max()))

    def _largest_beta(self) -> float:
        """Return an inverse temperature below which no score ``beta s r`` overflows."""
        plan = self.construction.plan
        if plan is None:
            return float(np.finfo(self.dtype).max) / 2
        # r is at most 2w |s - c| plus the distance on the line; a factor of 8 leaves room for the sums around it.
        classes = float(max(plan.asked.max(initial=2), plan.moved.max(initial=2)))
        distance = 2 * float(np.abs(plan.line.values).max(initial=0.0)) + 2 * float(plan.width().max(initial=0.0)) * (
            classes + 1
        )
        return float(np.finfo(self.dtype).max) / max(8 * classes * distance, 2.0)

    def _checked_beta(self, beta: float | None) -> float | None:
        """Return the inverse temperature of the run; by default the one that is exact to the last bit."""
        if self.attention == "hardmax" or not np.isfinite(self.construction.width):
            return None
        bits = np.finfo(self.sequences.tokens.dtype).nmant + 1
        longest = int(self.sequences.lengths.max())
        most = self._largest_beta()
        if beta is None:
            beta = bitwise_beta(self.construction.width, longest, int(bits))
        if not beta <= most:
            raise CertificateError(
                f"at inverse temperature {beta:.6g} scores could exceed {self.dtype} (the most is {most:.6g}); use "
                "attention='hardmax', which has no temperature, or build with a larger min_margin"
            )
        if beta < self._least_beta():
            raise CertificateError(
                f"inverse temperature {beta:.6g} is below {self._least_beta():.6g}, which the certificate needs for "
                f"gaps of {self.construction.gap:.3g} and {counted(longest, 'token')}; raise it, or build with "
                "a larger min_margin"
            )
        return float(beta)

    def _check_lengths(self, lengths: Int[np.ndarray, " sequences"]) -> None:
        """Warn about sequences that are longer than the certificate covers."""
        longest = self.certificate.n_max
        if longest is not None and int(lengths.max(initial=0)) > longest:
            warnings.warn(
                f"of {counted(int(np.count_nonzero(lengths > longest)), 'sequence')} the longest has "
                f"{lengths.max()} distinct tokens, and the "
                f"certificate covers {longest}: none of them was given, and what is said of them means nothing",
                CoverageWarning,
                stacklevel=4,
            )
