"""A built transformer: its module, its predictions, its certificate."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from tokendyn.errors import BadInputError
from tokendyn.exact import ragged
from tokendyn.exact.certificate import Certificate, Progress, bitwise_beta, sufficient_beta
from tokendyn.exact.construction import Construction
from tokendyn.exact.digest import digest_of
from tokendyn.exact.errors import CertificateError
from tokendyn.exact.radius import direction_of
from tokendyn.exact.sequences import Given, Sequences, fingerprint_of, gather
from tokendyn.exact.weights import Weights

if TYPE_CHECKING:
    from tokendyn.exact.explanation import Explanation, Trace
    from tokendyn.exact.module import TransformerBlocks

#: Tokens of one batch of the dense module.
_BATCH_TOKENS = 20_000


@dataclass(frozen=True)
class Stats:
    """What a transformer is made of.

    Attributes
    ----------
    strategy, blocks, width, dim
        Name, number of blocks, hidden units of the widest, channels of the residual stream.
    nonzeros
        Nonzero parameters.
    queries
        Questions, detectors or ramps.
    score_rank, value_rank
        Largest rank of an attention's score and value matrix.
    sequences, tokens, labels
        What it was built from.
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
        The labels; the output of the transformer is a place in this list. Empty for sequence to sequence.
    sequences
        The sequences as the transformer reads them.
    targets
        ``(tokens, outputs)``: what each token of them must end with.
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
            f"ExactTransformer({stats.strategy}, {self.attention}, {self.dtype}: {stats.sequences} sequences, "
            f"{stats.blocks} blocks of width {stats.width}, {stats.nonzeros} nonzeros)"
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
        """Coordinates of a token as the transformer reads it (with its position, when positions count)."""
        return int(self.sequences.tokens.shape[1])

    @property
    def stats(self) -> Stats:
        """Blocks, width, ranks, nonzeros, queries."""
        weights = self.weights
        attends = bool(np.any(weights.attends * weights.query_weights != 0))
        return Stats(
            self.strategy, weights.blocks, weights.width, self.construction.dim, weights.nonzeros,
            self.construction.queries, int(attends), weights.value_rank, len(self.sequences),
            len(self.sequences.tokens), len(self.labels),
        )  # fmt: skip

    @cached_property
    def certificate(self) -> Certificate:
        """The margins, and what follows from them."""
        made = self.construction
        tempered = self._least_beta() if np.isfinite(made.width) else None
        soft = self.attention == "softmax" and tempered is not None
        longest = int(self.sequences.lengths.max())
        line = direction_of(self)
        return Certificate(
            made.gap, made.error, made.needed, tempered, self.beta if soft else None,
            longest if soft else made.longest, self.dtype, None if line is None else tuple(line.tolist()),
            digest_of(self), self,
        )  # fmt: skip

    @cached_property
    def module(self) -> "TransformerBlocks":
        """The dense torch module: blocks of feed-forward and attention, weights in stacked tensors."""
        from tokendyn.exact.module import TransformerBlocks

        made = self.construction
        return TransformerBlocks(self.weights, self.input_dim, made.dim, made.outputs, self.beta)

    def prepare(self, sequences: Given) -> Sequences:
        """Check sequences and put them into the form that the transformer reads.

        Raises
        ------
        BadInputError
            If they are not ``(tokens, dim)`` arrays of the transformer's dimension.
        """
        ready = sequences if isinstance(sequences, Sequences) else gather(
            sequences, self.dtype, positions=self.positions
        )  # fmt: skip
        if ready.tokens.shape[1] != self.input_dim:
            given, wanted = ready.tokens.shape[1] - self.positions, self.input_dim - self.positions
            raise BadInputError(f"tokens have {given} coordinates, and this transformer was built for {wanted}")
        return ready

    def residuals(
        self, sequences: Given, *, workers: int = 1, progress: Progress | None = None
    ) -> Float[np.ndarray, "tokens channels"]:
        """Return the last residuals of all tokens, one sequence after the other, by the fast kernel."""
        ready = self.prepare(sequences)
        self._check_lengths(ready.lengths)
        return ragged.run(
            self.weights, self.construction.dim, ready,
            inverse_temperature=self.beta, workers=workers, progress=progress,
        )  # fmt: skip

    def outputs(
        self,
        sequences: Given,
        *,
        backend: str = "ragged",
        device: str = "cpu",
        workers: int = 1,
        progress: Progress | None = None,
    ) -> list[Float[np.ndarray, "tokens outputs"]]:
        """Return the output of every token of each sequence.

        Parameters
        ----------
        sequences
            ``(tokens, dim)`` arrays.
        backend
            ``"ragged"``, the compiled kernel, or ``"dense"``, the torch module.
        device
            Torch device of the dense module.
        workers, progress
            Threads of the kernel; called with sequences done and their number.

        Raises
        ------
        CertificateError
            For a sequence longer than the certificate covers, or arithmetic that is coarser than its type.
        """
        ready = self.prepare(sequences)
        if backend == "dense":
            self._check_lengths(ready.lengths)
            return self._dense(ready, device, progress)
        if backend != "ragged":
            raise BadInputError(f"backend={backend!r}; expected 'ragged' or 'dense'")
        flat = self.residuals(ready, workers=workers, progress=progress)[:, list(self.construction.outputs)]
        return np.split(flat, ready.starts[1:-1])

    def predict(
        self,
        sequences: Given,
        *,
        abstain: bool = False,
        backend: str = "ragged",
        device: str = "cpu",
        workers: int = 1,
        progress: Progress | None = None,
    ) -> list[Any]:
        """Return the label of each sequence; a transformer for sequences returns the outputs of its tokens.

        Parameters
        ----------
        sequences
            ``(tokens, dim)`` arrays. Only sequences that the transformer was built from are guaranteed; order and
            repetition of tokens do not count (unless it was built so).
        abstain
            Return None for sequences whose set of tokens was not among those.
        backend, device, workers, progress
            See :meth:`outputs`.
        """
        ready = self.prepare(sequences)
        outputs = self.outputs(ready, backend=backend, device=device, workers=workers, progress=progress)
        if not self.labels:
            return list(outputs)
        codes = np.array([output[0, 0] for output in outputs], dtype=np.float64)
        places = np.clip(np.rint(np.nan_to_num(codes)), 0, len(self.labels) - 1).astype(np.int64)
        known = self.is_known(ready) if abstain else np.ones(len(ready), dtype=bool)
        return [self.labels[place] if sure else None for place, sure in zip(places, known, strict=True)]

    def is_known(self, sequences: Given) -> np.ndarray:
        """Return for each sequence whether its set of tokens is one that the transformer was built from."""
        ready = self.prepare(sequences)
        return np.array([fingerprint_of(ready[j]) in self._known for j in range(len(ready))], dtype=bool)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(fingerprint_of(self.sequences[j]) for j in range(len(self.sequences)))

    def explain(self, sequence: Any) -> "Explanation":
        """Return why a sequence has its label: which token decides, by how much, and the questions that it was asked.

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
        self._check_lengths(ready.lengths)
        states = ragged.trace(self.weights, self.construction.dim, ready.tokens, self.beta)
        return Trace(self.construction.channels, ready.tokens, states)

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

    def _least_beta(self) -> float:
        return sufficient_beta(self.construction.width, int(self.sequences.lengths.max()))

    def _largest_beta(self) -> float:
        """Return an inverse temperature below which no score ``beta s r`` overflows."""
        plan = self.construction.plan
        if plan is None:
            return float(np.finfo(self.dtype).max) / 2
        classes = float(max(plan.asked.max(initial=2), plan.moved.max(initial=2)))
        distance = 2 * float(np.abs(plan.line.values).max(initial=0.0)) + 2 * float(plan.width().max(initial=0.0)) * (
            classes + 1
        )
        return float(np.finfo(self.dtype).max) / max(8 * classes * distance, 2.0)

    def _checked_beta(self, beta: float | None) -> float | None:
        """Return the inverse temperature to run at; the one that is exact to the last bit by default."""
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
                f"gaps of {self.construction.gap:.3g} and {longest} tokens; raise it, or build with a larger min_margin"
            )
        return float(beta)

    def _check_lengths(self, lengths: Int[np.ndarray, " sequences"]) -> None:
        longest = self.certificate.n_max
        if longest is not None and int(lengths.max(initial=0)) > longest:
            j = int(np.argmax(lengths))
            raise CertificateError(
                f"sequence {j} has {lengths[j]} tokens, and the certificate covers {longest}; build with "
                "attention='hardmax' and strategy='fused' or 'narrow', which cover every length"
            )

    def _dense(self, ready: Sequences, device: str, progress: Progress | None) -> list[np.ndarray]:
        """Run the torch module over padded batches of sequences of about the same length."""
        import torch

        _check_arithmetic(self.dtype, device)
        module = self.module.to(device)
        order = np.argsort(ready.lengths, kind="stable")
        results: list[np.ndarray] = [np.empty(0)] * len(ready)
        first = 0
        while first < len(order):
            last = first + 1
            while last < len(order) and ready.lengths[order[last]] * (last + 1 - first) <= _BATCH_TOKENS:
                last += 1
            batch = order[first:last]
            longest = int(ready.lengths[batch].max())
            tokens = np.zeros((len(batch), longest, self.input_dim), ready.tokens.dtype)
            mask = np.arange(longest)[None, :] < ready.lengths[batch][:, None]
            for row, j in enumerate(batch):
                tokens[row, : ready.lengths[j]] = ready[int(j)]
            with torch.no_grad():
                out = module(torch.from_numpy(tokens).to(device), torch.from_numpy(mask).to(device)).cpu().numpy()
            for row, j in enumerate(batch):
                results[j] = out[row, : ready.lengths[j]]
            first = last
            if progress is not None:
                progress(last, len(order))
        return results


def _check_arithmetic(dtype: str, device: str) -> None:
    """Raise a CertificateError if torch would multiply in a coarser type than the certificate's."""
    import torch

    kind = torch.device(device).type
    coarse = []
    if dtype == "float32" and torch.get_float32_matmul_precision() != "highest":
        coarse.append("torch.set_float32_matmul_precision('highest')")
    if dtype == "float32" and kind == "cuda" and torch.backends.cuda.matmul.allow_tf32:
        coarse.append("torch.backends.cuda.matmul.allow_tf32 = False")
    if torch.is_autocast_enabled(kind):
        coarse.append("run outside torch.autocast")
    if coarse:
        raise CertificateError(
            f"torch may multiply {dtype} in TF32 or bf16 here, which the certificate does not cover: "
            + "; ".join(dict.fromkeys(coarse))
        )
