"""The certificate of a built transformer, and the runs that verify it."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from tokendyn.data.labels import encode_labels
from tokendyn.errors import BadInputError
from tokendyn.exact import precision, radius, ragged
from tokendyn.exact.forms import canonical
from tokendyn.exact.rational import rationals, run_exactly
from tokendyn.exact.sequences import Given, Sequences
from tokendyn.results import Bars, Numbers, Result
from tokendyn.runs.files import new_folder, write_json
from tokendyn.words import counted

if TYPE_CHECKING:
    import pandas as pd

    from tokendyn.exact.built import Built

Progress = Callable[[int, int], None]


def sufficient_beta(width: float, longest: int) -> float:
    """Return an inverse temperature at which softmax decides as hardmax, in exact arithmetic.

    ``beta >= max(1, ln(2 (n_max - 1))) / (2 w_min)``: with ``s >= 2``, tokens without a hit have a weight of at most
    ``e^(-2 beta r)``, and ``(n - 1) r e^(-2 beta r)`` decreases for ``r >= w``, so that b is at most ``w/2`` on hits;
    otherwise b, a mean of values of at least w, is at least w. Our own. Rounded up.
    """
    if not math.isfinite(width):
        return 1.0
    return max(1.0, math.log(2 * max(longest - 1, 1))) / (2 * width) * (1 + 1e-12)


def bitwise_beta(width: float, longest: int, bits: int) -> float:
    """Return an inverse temperature at which the labels of softmax are also exact in floating point.

    ``beta = (ln(2 (n_max - 1)) + (bits + 2) ln 2) / (2 w_min)`` makes ``2b/w <= 2^-(bits + 1)`` on hits: then 2 - 2b/w
    and 1 - 2b/w round to 2 and 1, and t is 1 to the last bit. Our own; ``bits`` is 53 for float64, 24 for float32.
    """
    if not math.isfinite(width):
        return 1.0
    return (max(1.0, math.log(2 * max(longest - 1, 1))) + (bits + 2) * math.log(2)) / (2 * width) * (1 + 1e-6)


@dataclass(frozen=True)
class Verification(Numbers, kind="exact-verification"):
    """One run of all sequences.

    Attributes
    ----------
    arithmetic
        Such as ``float64`` or ``python-flint``.
    attention
        ``hardmax`` or ``softmax``.
    sequences
        Number of sequences.
    wrong
        Numbers of the sequences with a token whose output is not the label.
    largest_difference
        Largest ``|output - label|`` over all tokens; 0.0 means equal to the last bit. Infinite if a label is not one of
        the transformer's.
    seconds
        Processor time.
    unknown
        Numbers of the sequences that the transformer was not built from, when the user's own sequences were run.
    """

    arithmetic: str
    attention: str
    sequences: int
    wrong: tuple[int, ...]
    largest_difference: float
    seconds: float
    unknown: tuple[int, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every sequence is known, and every token of it ends with the label."""
        return not self.wrong and not self.unknown

    @property
    def exact(self) -> bool:
        """Whether every output is the label to the last bit: no difference at all in this arithmetic."""
        return self.passed and self.largest_difference == 0

    @property
    def status(self) -> str:
        """``"completed"`` when it passed, else ``"failed"``."""
        return "completed" if self.passed else "failed"

    def table(self) -> "pd.DataFrame":
        """Return one row for each sequence that is wrong or unknown; no row when it passed."""
        import pandas as pd

        rows = [(sequence, what) for what in ("wrong", "unknown") for sequence in getattr(self, what)]
        return pd.DataFrame(rows, columns=["sequence", "problem"])

    def picture(self) -> Bars:
        """Return the numbers of right, wrong and unknown sequences."""
        bad = len({*self.wrong, *self.unknown})
        counts = (self.sequences - bad, len(self.wrong), len(self.unknown))
        return Bars(("right", "wrong", "unknown"), [*map(float, counts)], "sequences")

    def describe(self) -> list[str]:
        """Return the verdict in a sentence."""
        problems = (("wrong", self.wrong), ("not among those that it was built from", self.unknown))
        verdict = "; ".join(
            f"{len(numbers)} {what}, first {', '.join(map(str, numbers[:5]))}" for what, numbers in problems if numbers
        )
        if self.passed:
            verdict = "all exact" if self.exact else "all right after rounding, not exact"
        largest = f"max |output - label| = {self.largest_difference:g}"
        if math.isinf(self.largest_difference):
            largest = "with labels that the transformer does not have"
        return [
            f"{counted(self.sequences, 'sequence')} in {self.arithmetic} ({self.attention}): {verdict}, {largest}, "
            f"{self.seconds:.2g} s"
        ]


#: A saved certificate: this record and the folder of its transformer, which a check needs.
SCHEMA, SCHEMA_VERSION, MODEL = "tokendyn-certificate", 1, "model"


@dataclass(frozen=True)
class Certificate(Result):
    """The margins of a construction and their consequences.

    Attributes
    ----------
    delta_min
        Smallest gap on which a decision rests, on the line of projections.
    error
        E: the largest distance of any floating-point run from the planned values.
    needed
        Smallest gap that E allows; ``delta_min >= needed`` makes the labels exact to the last bit.
    beta_min
        Inverse temperature from which softmax decides as hardmax in exact arithmetic (see
        :func:`sufficient_beta`); None when no attention depends on a temperature.
    beta
        The inverse temperature at which the transformer runs; None for hardmax.
    n_max
        Length of the longest sequence that is covered; None for any length.
    arithmetic
        Floating-point type.
    direction
        a with ``p = <a, x - c>``, the line on which tokens are compared, in whose unit ``delta_min``, ``error``,
        ``needed`` and ``radius`` are given; it may be scaled by a power of two. None for half-spaces, each of which has
        its own direction of length 1. The gaps of ``fingerprint`` are between means on that line, those of ``hat``
        between means of heights.
    centre
        c, which block 0 subtracts from a token without rounding, so that large offsets do not hide small differences;
        0 where it is not needed. It does not change distances between tokens. None for half-spaces.
    data
        Hash of the sequences and their labels (:mod:`tokendyn.exact.digest`).

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn import exact
    >>> rng = np.random.default_rng(0)
    >>> model = exact.compile([rng.normal(size=(n, 2)) for n in (3, 5, 4)], [0, 1, 0])
    >>> model.certificate.verify(exact=True).passed
    True
    """

    delta_min: float
    error: float
    needed: float
    beta_min: float | None
    beta: float | None
    n_max: int | None
    arithmetic: str
    direction: tuple[float, ...] | None
    centre: tuple[float, ...] | None
    data: str
    _transformer: "Built" = field(repr=False, compare=False)

    @property
    def status(self) -> str:
        """``"completed"`` when every gap is wide enough for exact labels, else ``"failed"``."""
        return "completed" if self.delta_min >= self.needed else "failed"

    def summary(self) -> dict[str, Any]:
        """Return the numbers, the status and whether outputs are exact to the last bit."""
        names = ("delta_min", "error", "needed", "beta_min", "beta", "n_max", "arithmetic")
        return {"status": self.status, **{name: getattr(self, name) for name in names}, "bitwise": self.bitwise}

    def describe(self) -> list[str]:
        """Return the guarantees in a few sentences."""
        bits = "to the last bit" if self.bitwise else "after rounding"
        lines = [
            f"every given sequence has its label {bits} in {self.arithmetic}: the smallest gap that a decision rests "
            f"on is {self.delta_min:.3g}, and {self.needed:.3g} is needed"
        ]
        if math.isfinite(self.radius_tokens):
            lines.append(f"no label changes while no token moves by more than {self.radius_tokens:.3g}")
        if self.beta is not None:
            lines.append(f"softmax at inverse temperature {self.beta:.6g}; {self.beta_min:.6g} is enough")
        if self.n_max is not None:
            lines.append(f"for sequences of up to {counted(self.n_max, 'distinct token')}")
        return lines

    def table(self) -> "pd.DataFrame":
        """Return one row for each given sequence: how far its tokens may move."""
        import pandas as pd

        return pd.DataFrame({"sequence": np.arange(len(self.radii())), "radius": self.radii()})

    def picture(self) -> Bars:
        """Return how far the tokens of each given sequence may move, the least first."""
        radii = self.radii()
        order = np.argsort(radii, kind="stable")
        return Bars(
            [f"sequence {sequence}" for sequence in order], radii[order].tolist(), "distance that tokens may move"
        )

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the certificate with its transformer into a new folder."""
        with new_folder(folder, overwrite=overwrite) as temporary:
            self._transformer.save(temporary / MODEL)
            write_json(temporary / "certificate.json", {"schema": SCHEMA, "schema_version": SCHEMA_VERSION})

    @property
    def bitwise(self) -> bool:
        """Whether outputs are guaranteed to be the labels to the last bit in floating point, not only in rationals.

        Not for ``strategy="strict"``, and not for softmax between ``beta_min`` and the default inverse temperature.
        """
        construction, bits = self._transformer.construction, int(np.finfo(self.arithmetic).nmant) + 1
        if self.beta is None or self.n_max is None:
            return construction.bitwise
        return construction.bitwise and self.beta >= bitwise_beta(construction.width, self.n_max, bits)

    @property
    def norm(self) -> float:
        """Length of the direction: a token that moves by rho moves by at most ``norm * rho`` on the line."""
        return 1.0 if self.direction is None else float(np.linalg.norm(self.direction))

    @cached_property
    def radius_tokens(self) -> float:
        """How far all tokens of any given sequence may move at once without a change of its label.

        Euclidean norm in the unit of the input, for the distinct tokens of each given sequence as the network reads
        them; the rounding of floating point, also of the moved coordinates, is subtracted. See
        :mod:`tokendyn.exact.radius`. :meth:`radii` returns the number for each sequence, which is at least this one.
        """
        return radius.smallest_radius(self._transformer)

    @property
    def radius(self) -> float:
        """``norm * radius_tokens``: the same move in the unit of the line."""
        return self.norm * self.radius_tokens if math.isfinite(self.radius_tokens) else math.inf

    def radii(self) -> Float[np.ndarray, " sequences"]:
        """Return ``radius_tokens`` for each given sequence: how far its own tokens may move."""
        return radius.token_radii(self._transformer)

    @cached_property
    def bits(self) -> int:
        """Significant bits of the weights at which all labels are still right; with one bit fewer some label changes.

        Measured: the weights are rounded to fewer and fewer bits, starting from all bits of the type, and all sequences
        are run again. Tokens and activations keep the type. See :func:`tokendyn.exact.precision.least_bits`.
        """
        return precision.least_bits(self._transformer)

    def verify(
        self,
        sequences: Given | None = None,
        labels: Iterable[Any] | None = None,
        *,
        exact: bool = False,
        workers: int = 1,
        progress: Progress | None = None,
    ) -> Verification:
        """Run sequences and compare the output of every token with the label.

        Parameters
        ----------
        sequences, labels
            The user's own, as for :func:`tokendyn.exact.compile`: the transformer must have been built from each of
            them, and its output must be the label, equal in type and value. By default the sequences and labels that
            the transformer stores, which shows only that it agrees with itself.
        exact
            Run in exact rational arithmetic, with the same weights and hardmax attention: any difference between output
            and label is wrong. A softmax transformer must also run at ``beta_min`` or more. In floating point an output
            is wrong if it is not the label to the last bit; where that is not guaranteed (see :attr:`bitwise`), if it
            differs by more than 1/4.
        workers
            Number of threads of the floating-point run.
        progress
            Called with the sequences done and their total.

        Raises
        ------
        BadInputError
            If there is not one label for each sequence, or the transformer has no labels.
        """
        began = time.process_time()
        owner = self._transformer
        if sequences is None:
            run, targets, unknown = owner.sequences, owner.targets, np.empty(0, np.int64)
        else:
            run, targets, unknown = self._own(sequences, labels)
        if exact:
            return self._verify_exactly(run, targets, unknown, began, progress)
        residuals = ragged.run(
            owner.weights, owner.construction.dim, run, plan=owner.construction.plan, inverse_temperature=owner.beta,
            workers=workers, progress=progress,
        )  # fmt: skip
        output = residuals[:, list(owner.construction.outputs)].astype(np.float64)
        worst = np.maximum.reduceat(np.abs(output - targets).max(axis=1), run.starts[:-1])
        wrong = np.flatnonzero(~(worst <= (0.0 if self.bitwise else 0.25)))
        return self._verification(self.arithmetic, owner.attention, wrong, worst, unknown, began)

    def _own(
        self, sequences: Given, labels: Iterable[Any] | None
    ) -> tuple[Sequences, Float[np.ndarray, "tokens outputs"], np.ndarray]:
        """Return the user's sequences as the network reads them, their targets, and which ones are unknown."""
        owner = self._transformer
        if not owner.labels:
            raise BadInputError("this transformer turns sequences into outputs and has no labels to compare")
        ready = owner.prepare(sequences)
        names, numbers = encode_labels(() if labels is None else labels, len(ready))
        # Encoded after the labels of the transformer, so that a label it does not have gets a new number.
        codes = encode_labels([*owner.labels, *names], len(owner.labels) + len(names))[1][len(owner.labels) :]
        run = canonical(ready, owner.multiplicity).sequences
        expected = np.where(codes < len(owner.labels), codes, math.nan)[numbers]  # from NaN every output differs
        return run, np.repeat(expected, run.lengths)[:, None], np.flatnonzero(~owner.is_known(ready))

    def _verify_exactly(
        self, run: Sequences, targets: np.ndarray, unknown: np.ndarray, began: float, progress: Progress | None
    ) -> Verification:
        owner = self._transformer
        library = rationals()
        construction = owner.construction
        outputs = list(construction.outputs)
        results = run_exactly(construction.weights, construction.dim, run, outputs, progress=progress, library=library)
        worst = np.zeros(len(results))
        for j, tokens in enumerate(results):
            expected = targets[run.starts[j] : run.starts[j + 1]]
            if np.isnan(expected).any():
                worst[j] = math.nan
                continue
            largest = max(
                abs(value - library[0](float(number)))
                for row, numbers in zip(tokens, expected, strict=True)
                for value, number in zip(row, numbers, strict=True)
            )
            worst[j] = max(_ratio(largest), math.ulp(0.0)) if largest != 0 else 0.0
        wrong = np.flatnonzero(~(worst == 0))
        if self.beta is not None and self.beta_min is not None and self.beta < self.beta_min:
            wrong = np.arange(len(results))
        return self._verification(library[1], "hardmax", wrong, worst, unknown, began)

    def _verification(
        self, arithmetic: str, attention: str, wrong: np.ndarray, worst: np.ndarray, unknown: np.ndarray, began: float
    ) -> Verification:
        largest = float(worst.max()) if not np.isnan(worst).any() else math.inf
        return Verification(
            arithmetic=arithmetic,
            attention=attention,
            sequences=len(worst),
            wrong=tuple(wrong.tolist()),
            largest_difference=largest,
            seconds=time.process_time() - began,
            unknown=tuple(unknown.tolist()),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON values; infinity becomes None."""
        names = ("delta_min", "error", "needed", "beta_min", "beta", "n_max", "radius", "radius_tokens", "arithmetic")
        values = {name: getattr(self, name) for name in (*names, "data")}
        values["direction"] = None if self.direction is None else list(self.direction)
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def _ratio(value: Any) -> float:
    """Return a rational of either library as a float."""
    if hasattr(value, "numerator"):
        return float(value)
    return int(value.p) / int(value.q)
