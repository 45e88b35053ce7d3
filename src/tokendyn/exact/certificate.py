"""What is promised of a built transformer, and the runs that show it."""

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

    ``beta >= max(1, ln(2 (n_max - 1))) / (2 w_min)``: with ``s >= 2``, tokens that are not hit weigh at most
    ``e^(-2 beta r)``, and ``(n - 1) r e^(-2 beta r)`` falls for ``r >= w``, so that b is at most ``w/2`` on hits; and
    b, a mean of values of at least w, is at least w otherwise. Our own. Rounded up.
    """
    if not math.isfinite(width):
        return 1.0
    return max(1.0, math.log(2 * max(longest - 1, 1))) / (2 * width) * (1 + 1e-12)


def bitwise_beta(width: float, longest: int, bits: int) -> float:
    """Return an inverse temperature at which the softmax's labels are exact in floating point too.

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
        How many were run.
    wrong
        Numbers of the sequences with a token whose output is not the label.
    largest_difference
        Largest ``|output - label|`` over all tokens; 0.0 means equal to the last bit. Infinite if a label is none of
        the transformer's.
    seconds
        Processor time.
    unknown
        Numbers of the sequences that the transformer was not built from, when the user's own were run.
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

        rows = [(place, what) for what in ("wrong", "unknown") for place in getattr(self, what)]
        return pd.DataFrame(rows, columns=["sequence", "problem"])

    def picture(self) -> Bars:
        """Return how many sequences are right, wrong, unknown."""
        bad = len({*self.wrong, *self.unknown})
        counts = (self.sequences - bad, len(self.wrong), len(self.unknown))
        return Bars(("right", "wrong", "unknown"), [*map(float, counts)], "sequences")

    def describe(self) -> list[str]:
        """Return the verdict in a sentence."""
        problems = (("wrong", self.wrong), ("not among those that it was built from", self.unknown))
        verdict = "; ".join(
            f"{len(places)} {what}, first {', '.join(map(str, places[:5]))}" for what, places in problems if places
        )
        if self.passed:
            verdict = "all exact" if self.exact else "all right after rounding, not exact"
        largest = f"max |output - label| = {self.largest_difference:g}"
        if math.isinf(self.largest_difference):
            largest = "with labels that the transformer does not have"
        return [
            f"{counted(self.sequences, 'sequence')} in {self.arithmetic} ({self.attention}): {verdict}, {largest}, "
            f"{self.seconds:.1f} s"
        ]


#: A saved certificate: this record beside the folder of its transformer, without which it could not be checked.
SCHEMA, SCHEMA_VERSION, MODEL = "tokendyn-certificate", 1, "model"


@dataclass(frozen=True)
class Certificate(Result):
    """The margins of a construction and what follows from them.

    Attributes
    ----------
    delta_min
        Smallest gap that a decision rests on, on the line of projections.
    error
        E: how far any floating-point run can be from the planned values.
    needed
        Smallest gap that E allows; ``delta_min >= needed`` is what makes the labels right to the last bit.
    beta_min
        Inverse temperature from which softmax decides as hardmax in exact arithmetic (see
        :func:`sufficient_beta`); None when no attention depends on a temperature.
    beta
        The inverse temperature the transformer runs at; None for hardmax.
    n_max
        Longest sequence that is covered; None for any length.
    arithmetic
        Floating-point type.
    direction
        a with ``p = <a, x - c>``, the line on which tokens are compared and in whose unit ``delta_min``, ``error``,
        ``needed`` and ``radius`` are; it may be scaled by a power of two. None for half-spaces, where each has its
        own direction of length 1. For ``fingerprint`` the gaps are of means on that line, for ``hat`` of means of
        heights.
    centre
        c: what block 0 subtracts from a token, without rounding, so that large offsets do not hide small differences;
        0 where there is no need. Moves of tokens are the same with and without it. None for half-spaces.
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
        """``"completed"`` when every gap is wide enough for the labels to be right, else ``"failed"``."""
        return "completed" if self.delta_min >= self.needed else "failed"

    def summary(self) -> dict[str, Any]:
        """Return the numbers and what they mean for this transformer."""
        names = ("delta_min", "error", "needed", "beta_min", "beta", "n_max", "arithmetic")
        return {"status": self.status, **{name: getattr(self, name) for name in names}, "bitwise": self.bitwise}

    def describe(self) -> list[str]:
        """Return what is promised, in a few sentences."""
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
        return Bars([f"sequence {place}" for place in order], radii[order].tolist(), "distance that tokens may move")

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the certificate with its transformer into a new folder."""
        with new_folder(folder, overwrite=overwrite) as place:
            self._transformer.save(place / MODEL)
            write_json(place / "certificate.json", {"schema": SCHEMA, "schema_version": SCHEMA_VERSION})

    @property
    def bitwise(self) -> bool:
        """Whether outputs are promised to be the labels to the last bit in floating point too, not in rationals alone.

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
        """How far every token of any given sequence may move, all at once, without another label.

        Euclidean norm, in the unit of the input, for the distinct tokens of each given sequence as the network reads
        them; what floating point rounds, of the moved coordinates too, is taken off. See
        :mod:`tokendyn.exact.radius`. The number for each sequence, which is at least this, is :meth:`radii`.
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
        """Significant bits of the weights at which all labels are still right; with one bit fewer the first flips.

        Measured: the weights are rounded to fewer and fewer bits, from all bits of the type downwards, and all
        sequences are run again. Tokens and activations keep the type. See :func:`tokendyn.exact.precision.least_bits`.
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
        """Run sequences, and compare every token's output with the label.

        Parameters
        ----------
        sequences, labels
            The user's own, as for :func:`tokendyn.exact.compile`: each must be one that the transformer was built
            from, and end with its label, equal in type and value. By default the sequences and labels that the
            transformer holds itself, which shows that it agrees with itself and no more.
        exact
            In exact rational arithmetic, with the same weights and hardmax attention: an output that differs from
            its label at all is wrong. A softmax transformer is also checked to run at ``beta_min`` or more. In
            floating point an output is wrong if it is not the label to the last bit; where that is not promised
            (see :attr:`bitwise`), if it is more than 1/4 away.
        workers
            Threads of the floating-point run.
        progress
            Called with the sequences done and their number.

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
        # Numbered behind the labels of the transformer, a label that it does not have gets a number of its own.
        places = encode_labels([*owner.labels, *names], len(owner.labels) + len(names))[1][len(owner.labels) :]
        run = canonical(ready, owner.multiplicity).sequences
        wanted = np.where(places < len(owner.labels), places, math.nan)[numbers]  # from NaN every output differs
        return run, np.repeat(wanted, run.lengths)[:, None], np.flatnonzero(~owner.is_known(ready))

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
            wanted = targets[run.starts[j] : run.starts[j + 1]]
            if np.isnan(wanted).any():
                worst[j] = math.nan
                continue
            largest = max(
                abs(value - library[0](float(number)))
                for row, numbers in zip(tokens, wanted, strict=True)
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
            arithmetic, attention, len(worst), tuple(wrong.tolist()), largest, time.process_time() - began,
            tuple(unknown.tolist()),
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON knows them; infinity becomes None."""
        names = ("delta_min", "error", "needed", "beta_min", "beta", "n_max", "radius", "radius_tokens", "arithmetic")
        values = {name: getattr(self, name) for name in (*names, "data")}
        values["direction"] = None if self.direction is None else list(self.direction)
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def _ratio(value: Any) -> float:
    """Return a rational of either library as a float."""
    if hasattr(value, "numerator"):
        return float(value)
    return int(value.p) / int(value.q)
