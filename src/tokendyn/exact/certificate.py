"""What is promised of a built transformer, and the runs that show it."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tokendyn.exact.rational import rationals, run_exactly

if TYPE_CHECKING:
    from tokendyn.exact.transformer import ExactTransformer

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
class Verification:
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
        Largest ``|output - label|`` over all tokens; 0.0 means equal to the last bit.
    seconds
        Processor time.
    """

    arithmetic: str
    attention: str
    sequences: int
    wrong: tuple[int, ...]
    largest_difference: float
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether every token of every sequence ends with the label."""
        return not self.wrong

    def __str__(self) -> str:
        verdict = "all exact" if self.passed else f"{len(self.wrong)} wrong, first {self.wrong[:5]}"
        return (
            f"{self.sequences} sequences in {self.arithmetic} ({self.attention}): {verdict}, "
            f"max |output - label| = {self.largest_difference:g}, {self.seconds:.1f} s"
        )


@dataclass(frozen=True)
class Certificate:
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
    radius
        A label survives moves of the tokens that change no projection by ``delta_min/4 - 2E`` or more.
    arithmetic
        Floating-point type.

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
    radius: float
    arithmetic: str
    _transformer: "ExactTransformer" = field(repr=False, compare=False)

    def verify(self, *, exact: bool = False, workers: int = 1, progress: Progress | None = None) -> Verification:
        """Run all sequences that the transformer was built from, and compare every token's output with the label.

        Parameters
        ----------
        exact
            In exact rational arithmetic, with the same weights and hardmax attention. A softmax transformer is
            also checked to run at ``beta_min`` or more.
        workers
            Threads of the floating-point run.
        progress
            Called with the sequences done and their number.
        """
        began = time.process_time()
        owner = self._transformer
        if exact:
            return self._verify_exactly(began, progress)
        residuals = owner.residuals(owner.sequences, workers=workers, progress=progress)
        output = residuals[:, list(owner.construction.outputs)].astype(np.float64)
        difference = np.abs(output - owner.targets).max(axis=1)
        worst = np.maximum.reduceat(difference, owner.sequences.starts[:-1])
        wrong = np.flatnonzero(~(worst <= (0.0 if owner.construction.bitwise else 0.25)))
        seconds = time.process_time() - began
        return Verification(
            self.arithmetic, owner.attention, len(worst), tuple(wrong.tolist()), float(worst.max()), seconds
        )

    def _verify_exactly(self, began: float, progress: Progress | None) -> Verification:
        owner = self._transformer
        library = rationals()
        construction = owner.construction
        outputs = list(construction.outputs)
        results = run_exactly(
            construction.weights, construction.dim, owner.sequences, outputs, progress=progress, library=library
        )
        wrong, largest = [], 0.0
        targets = owner.targets
        for j, tokens in enumerate(results):
            first = int(owner.sequences.starts[j])
            differences = [
                abs(value - library[0](float(wanted)))
                for i, row in enumerate(tokens)
                for value, wanted in zip(row, targets[first + i], strict=True)
            ]
            worst = max(differences)
            if worst != 0:
                wrong.append(j)
                largest = max(largest, float(_ratio(worst)))
        if self.beta is not None and self.beta_min is not None and self.beta < self.beta_min:
            wrong = list(range(len(results)))
        seconds = time.process_time() - began
        return Verification(library[1], "hardmax", len(results), tuple(wrong), largest, seconds)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON knows them; infinity becomes None."""
        names = ("delta_min", "error", "needed", "beta_min", "beta", "n_max", "radius", "arithmetic")
        values = {name: getattr(self, name) for name in names}
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def _ratio(value: Any) -> float:
    """Return a rational of either library as a float."""
    if hasattr(value, "numerator"):
        return float(value)
    return int(value.p) / int(value.q)
