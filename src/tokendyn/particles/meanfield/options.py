"""Options that the experiments of the mean field share: the flow, the start, the integration."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from tokendyn.errors import BadInputError, listing
from tokendyn.experiments.fields import Flags, Matrix, matrix_of, numbers_of, seconds_of
from tokendyn.runs.memory import check_memory

if TYPE_CHECKING:
    from tokendyn.dynamics import Budget, TokenFlow
    from tokendyn.dynamics.integrators import Step

StartKind = Literal["quantile", "quadrature", "fibonacci", "sobol", "uniform", "vmf"]

#: Starts that depend on the seed.
RANDOM: tuple[StartKind, ...] = ("sobol", "uniform", "vmf")

#: Tokens, or tokens and weights, for a number of tokens and a seed.
Starter = Callable[[int, int], tuple[np.ndarray, np.ndarray | None]]

#: Largest size of the recorded states.
_MOST_BYTES = 2 * 2**30
#: Length of the default push.
_PUSH = 0.25
#: Centres of the mixture when none are given.
_CENTRES = 3


@dataclass(frozen=True, kw_only=True)
class FlowOptions:
    """The vector field.

    Attributes
    ----------
    beta
        Inverse temperature, 0 or more; inf with ``zero_temperature``.
    value
        The matrix V: a file, rows as "1,0;0,2", or diag(1,2). Identity by default.
    score
        The matrix A of the scores <A x, y> of query x against key y, as for the clustering model; A = B^T.
    interaction
        B = Q^T K of the scores <x, B y>, in place of ``score``.
    query
        Q, of as many rows as K, in place of ``score``; B = Q^T K.
    key
        K, with ``query``.
    zero_temperature
        Which limit: hardmax (finitely many tokens follow their leaders) or full-support (the mean field).
    unnormalised
        Attention without the softmax denominator (USA).
    causal
        Token i attends to itself and those before it.
    threads
        Threads of the attention.
    error_tolerance
        Accept this error of the attention's means from backends that are far faster for many tokens; 0 for the exact
        difference form. By default 1e-9 from 4,000 tokens on, and exact below.
    """

    beta: float | None = None
    value: Annotated[Matrix | None, Flags("--value", "-V")] = None
    score: Annotated[Matrix | None, Flags("--score", "-A")] = None
    interaction: Annotated[Matrix | None, Flags("--interaction", "-B")] = None
    query: Matrix | None = None
    key: Matrix | None = None
    zero_temperature: Literal["hardmax", "full-support"] | None = None
    unnormalised: bool = False
    causal: bool = False
    threads: int = 1
    error_tolerance: float | None = None

    def chosen_temperature(self, default: float | None = None) -> float:
        """Return beta, checked."""
        beta = self.beta if self.beta is not None else default
        if self.zero_temperature is not None and (beta is None or math.isinf(beta)):
            return math.inf
        if beta is None:
            raise BadInputError("give the inverse temperature `beta`, such as `beta=300`, or `zero_temperature`")
        if self.zero_temperature is not None:
            raise BadInputError(f"`zero_temperature` means `beta=inf`, but `beta` is {beta:g}; leave one of them out")
        if math.isinf(beta) and beta > 0:
            raise BadInputError(
                '`beta=inf` has two limits, which differ: add `zero_temperature="hardmax"` (finitely many tokens '
                'follow their leaders) or `zero_temperature="full-support"` (the mean field)'
            )
        if not beta >= 0:
            raise BadInputError(f"`beta` must be zero or more, got {beta:g}")
        return beta

    def matrices(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return V and B; None for the identity."""
        names = [name for name in ("score", "interaction") if getattr(self, name) is not None]
        names += ["query` and `key"] * (self.query is not None or self.key is not None)
        if len(names) > 1:
            raise BadInputError(f"`{'` and `'.join(names)}` say the same thing; give one of them")
        if (self.query is None) != (self.key is None):
            raise BadInputError("`query` and `key` come together: B = Q^T K")
        value = None if self.value is None else matrix_of(self.value, "value")
        if self.score is not None:
            return value, matrix_of(self.score, "score").T
        if self.interaction is not None:
            return value, matrix_of(self.interaction, "interaction")
        if self.query is None or self.key is None:
            return value, None
        query, key = matrix_of(self.query, "query"), matrix_of(self.key, "key")
        if query.shape != key.shape:
            raise BadInputError(f"`query` {query.shape} and `key` {key.shape} must have the same shape")
        return value, query.T @ key

    def flow_at(self, beta: float, value: np.ndarray | None, interaction: np.ndarray | None) -> "TokenFlow":
        """Return the vector field at one inverse temperature."""
        from tokendyn.dynamics import TokenFlow

        if self.threads < 1:
            raise BadInputError(f"`threads` must be at least 1, got {self.threads}")
        if math.isinf(beta) and (self.unnormalised or (self.causal and self.zero_temperature != "hardmax")):
            raise BadInputError(
                '`unnormalised` and `causal` need a finite `beta`; causal hardmax is `zero_temperature="hardmax"`'
            )
        if self.error_tolerance is not None and not 0 <= self.error_tolerance < 1:
            raise BadInputError(f"`error_tolerance` must be at least 0 and below 1, got {self.error_tolerance:g}")
        if self.error_tolerance and (self.unnormalised or self.causal):
            raise BadInputError("`error_tolerance` is for full, normalised attention; leave it out")
        cold = {"hardmax": "hardmax", "full-support": "full support", None: None}[self.zero_temperature]
        return TokenFlow(
            beta, interaction=interaction, value=value, cold_limit=cold if math.isinf(beta) else None,  # type: ignore[arg-type]
            normalised=not self.unnormalised, causal=self.causal, threads=self.threads,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class StartOptions:
    """Where the tokens start.

    Attributes
    ----------
    start
        By default quantile on the circle, fibonacci on the sphere, sobol above; uniform tokens are independent.
    count
        Number of tokens, 1000 by default (100 with ``weights``); of a file, the size of a random sample of its rows.
    dim
        Dimension, by default that of the matrices, else 2.
    density
        Of the angle, for quantile and quadrature: uniform, or asymmetric, 1 + cos(t - 1)/2 + 3 cos(2t - 1/2)/10.
    tilt
        Radians by which the Fibonacci lattice is turned.
    push
        Makes fibonacci, sobol and uniform starts uneven, x <- N(x + push): numbers with commas, one a dimension, a
        vector shorter than 1; or 0. A law that is symmetric about E hides the terminal phase, so that by default
        fibonacci, and sobol above three dimensions, are pushed by 1/4 along (1, 2, ..., d).
    centres
        Of vmf, one a row: a file or rows. By default three at random.
    concentration
        Kappa of every component of vmf.
    array
        Which array of an npz or safetensors file holds the tokens.
    normalise
        Divide the tokens of a file by their norms.
    token_weights
        File with one positive weight a token, of sum 1.
    seed
        Seed of every random choice.
    """

    start: StartKind | None = None
    count: Annotated[int | None, Flags("--tokens", "-n")] = None
    dim: int | None = None
    density: Literal["asymmetric", "uniform"] = "asymmetric"
    tilt: float = 0.5
    push: str | None = None
    centres: Matrix | None = None
    concentration: float = 5.0
    array: str | None = None
    normalise: bool = False
    token_weights: Path | None = None
    seed: int = 0

    def token_count(self, default: int = 1000) -> int:
        """Return the number of tokens of a generated start."""
        count = default if self.count is None else self.count
        if count < 1:
            raise BadInputError(f"`count` must be at least 1, got {count}")
        return count

    def dimension(self, *matrices: np.ndarray | None) -> int:
        """Return the dimension: that of the matrices, which must be square and agree, else ``dim``, else 2."""
        shapes = {matrix.shape for matrix in matrices if matrix is not None}
        sizes = {size for shape in shapes for size in shape} | ({self.dim} if self.dim is not None else set())
        if len(sizes) > 1:
            shown = " and ".join(f"{a} by {b}" for a, b in sorted(shapes))
            option = "" if self.dim is None else f", `dim` is {self.dim}"
            raise BadInputError(f"the matrices are {shown or 'absent'}{option}; expected square ones of one size")
        dim = sizes.pop() if sizes else 2
        if dim < 2:
            raise BadInputError(f"the sphere needs at least 2 dimensions, got {dim}")
        check_memory(8 * dim**2, f"matrices of {dim} dimensions", "take fewer")
        return dim

    def start_kind(self, dim: int) -> StartKind:
        """Return the kind of generated start, checked against the dimension."""
        for name, value in (("tilt", self.tilt), ("concentration", self.concentration)):
            if not math.isfinite(value):
                raise BadInputError(f"`{name}` must be finite, got {value}")
        kind = self.start or {2: "quantile", 3: "fibonacci"}.get(dim, "sobol")
        if (kind in ("quantile", "quadrature") and dim != 2) or (kind == "fibonacci" and dim != 3):
            sphere = "the circle (dimension 2)" if kind != "fibonacci" else "the sphere (dimension 3)"
            raise BadInputError(f'`start="{kind}"` is for {sphere}, not {dim}; use sobol, uniform or vmf')
        return kind  # type: ignore[return-value]

    def starter(self, dim: int) -> Starter:
        """Return the generated start as a function of the number of tokens and the seed."""
        from tokendyn.particles.meanfield import starts
        from tokendyn.particles.meanfield.experiments import asymmetric_density

        kind = self.start_kind(dim)
        push = self.pushed(dim)
        density = asymmetric_density if self.density == "asymmetric" else np.ones_like

        def start(count: int, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
            if kind == "quantile":
                return starts.circle_quantiles(count, density), None
            if kind == "quadrature":
                return starts.circle_quadrature(count, density)
            if kind == "fibonacci":
                return starts.pushed(starts.fibonacci_sphere(count, self.tilt), push), None
            if kind == "sobol":
                return starts.pushed(starts.sobol_sphere(count, dim, seed), push), None
            if kind == "uniform":
                return starts.pushed(starts.uniform_sphere(count, dim, seed), push), None
            centres = self._centres(dim)
            return starts.von_mises_fisher(count, centres, [self.concentration] * len(centres), seed=seed), None

        return start

    def pushed(self, dim: int) -> np.ndarray:
        """Return the push of the start, checked."""
        kind = self.start_kind(dim)
        if self.push is None:
            pushed = kind == "fibonacci" or (kind == "sobol" and dim > 3)
            direction = np.arange(1.0, dim + 1)
            return direction * (_PUSH / np.linalg.norm(direction) if pushed else 0.0)
        push = numbers_of(self.push, "push")
        push = np.zeros(dim) if push.tolist() == [0.0] else push
        if push.shape != (dim,) or not np.linalg.norm(push) < 1:
            raise BadInputError(
                f"`push` takes {dim} numbers with commas, a vector shorter than 1, or 0; got {self.push}"
            )
        if push.any() and kind not in ("fibonacci", "sobol", "uniform"):
            raise BadInputError(f"`push` is for fibonacci, sobol and uniform starts, not {kind}")
        return push

    def _centres(self, dim: int) -> np.ndarray:
        from tokendyn.particles.meanfield import starts

        if self.centres is None:
            return starts.uniform_sphere(_CENTRES, dim, self.seed)
        centres = matrix_of(self.centres, "centres")
        norms = np.linalg.norm(centres, axis=1)
        if centres.shape[1] != dim or not norms.all():
            raise BadInputError(f"`centres` of shape {centres.shape} must be rows of {dim} numbers, none of them zero")
        return np.asarray(centres / norms[:, None])

    def read_start(self, path: Path, layer: int | None = None) -> tuple[np.ndarray, tuple[str, ...], str | None]:
        """Return ``count`` tokens of a file as unit vectors, their names, and the column that holds the names.

        Of a file with the states of all layers of a model, those that enter ``layer`` are the tokens.
        """
        from tokendyn.data.states import holds_states, read_states
        from tokendyn.data.tokens import read_tokens

        if layer is not None and self.array is None and holds_states(path):
            stream = read_states(path)
            if layer > stream.layers:
                raise BadInputError(f"{path} holds the states of {stream.layers} layers; `layer` is {layer}")
            tokens, rows = self.on_sphere(stream.states[layer], str(path), normalise=self.normalise)
            return tokens, tuple(stream.labels[row] for row in rows), None
        table = read_tokens(path, array=self.array)
        tokens, rows = self.on_sphere(table.tokens, str(path), normalise=self.normalise)
        return tokens, tuple(table.labels[row] for row in rows), table.name_column

    def on_sphere(self, tokens: np.ndarray, source: str, *, normalise: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return a random sample of ``count`` rows of a table in their order, on the sphere, and their numbers."""
        from tokendyn.dynamics.sphere import ON_SPHERE

        rows = np.arange(len(tokens))
        if self.count is not None:
            if not 1 <= self.count <= len(tokens):
                raise BadInputError(f"{source} has {len(tokens)} rows; `count={self.count}` is out of range")
            rows = np.sort(np.random.default_rng(self.seed).choice(len(tokens), self.count, replace=False))
        tokens = tokens[rows]
        norms = np.linalg.norm(tokens, axis=1)
        _refuse(source, rows[norms == 0], "are zero: they have no direction; remove them")
        if not normalise:
            off = rows[np.abs(norms - 1) > ON_SPHERE]
            _refuse(source, off, "are off the unit sphere; add `normalise` to divide tokens by their norms")
        return tokens / norms[:, None], rows

    def read_weights(self, count: int) -> np.ndarray | None:
        """Return the weights of the tokens of a file."""
        from tokendyn.data.tokens import read_tokens

        if self.token_weights is None:
            return None
        table = read_tokens(self.token_weights).tokens
        if 1 not in table.shape:
            raise BadInputError(f"{self.token_weights} holds a table of {table.shape}; expected one weight a token")
        weights = table.ravel()
        if len(weights) != count:
            raise BadInputError(f"{self.token_weights} has {len(weights)} weights for {count} tokens")
        return np.asarray(weights)


def _refuse(source: str, rows: np.ndarray, why: str) -> None:
    if rows.size:
        some = listing(rows)
        raise BadInputError(f"{source}: {rows.size} tokens (rows {some}, from 0) {why}")


@dataclass(frozen=True, kw_only=True)
class TimeOptions:
    """How the flow is followed.

    Attributes
    ----------
    time
        Until when; by default 1.5 times the predicted departure (or concentration), 10 where nothing is predicted.
    times
        The times to keep, such as 0,1,2,5, in place of ``time`` and ``every``.
    every
        Time between kept states, by default a hundredth of the time, and at least a step.
    step
        Largest step of the fixed methods, or auto, the default: 0.1 (less for V of norm above 2), and less wherever
        one step of a token errs by more than 1e-4.
    integrator
        layers (a post-normalised transformer layer), euler, heun, rk4, or adaptive.
    tolerance
        Of the adaptive integrator: relative and absolute error of a step, root mean square over the tokens.
    noise
        Diffusivity of Brownian motion on the sphere; needs ``integrator="euler"``.
    budget
        Time after which the run stops and keeps the part done, such as 90s or 10m.
    """

    time: float | None = None
    times: str | None = None
    every: float | None = None
    step: float | Literal["auto"] = "auto"
    integrator: Literal["layers", "euler", "heun", "rk4", "adaptive"] = "rk4"
    tolerance: float = 1e-8
    noise: float = 0.0
    budget: str | None = None

    def chosen_step(self) -> "Step":
        """Return the step, checked against the integrator."""
        if self.noise and self.integrator != "euler":
            raise BadInputError(f'`noise` needs `integrator="euler"`, not {self.integrator}')
        if self.step != "auto" and not (math.isfinite(self.step) and self.step > 0):
            raise BadInputError(f"`step` must be positive and finite, or auto; got {self.step:g}")
        return self.step

    def grid(self, default: float, step: float) -> np.ndarray:
        """Return the output times, for a default end and the step."""
        if self.times is not None:
            if self.time is not None or self.every is not None:
                raise BadInputError("`times` replaces `time` and `every`; give either")
            times = numbers_of(self.times, "times")
            if len(times) < 3 or not (np.diff(times) > 0).all():
                raise BadInputError(f"`times` must be three or more that increase, got {self.times[:60]}")
            return times
        until = default if self.time is None else self.time
        every = self.every if self.every is not None else max(until / 100, min(step, until / 3))
        wrong = [
            f"`{name}` must be positive and finite, got {value:g}"
            for name, value in (("time", until), ("every", every), ("step", step))
            if not (math.isfinite(value) and value > 0)
        ]
        if wrong:
            raise BadInputError.all_of("integration", wrong)
        states = until / every
        if not 2 - 1e-9 <= states <= 1e6:
            raise BadInputError(f"`every={every:g}` keeps {states:.3g} states of `time={until:g}`; keep 3 or more")
        return np.linspace(0.0, until, round(until / every) + 1)

    def spent(self) -> "Budget | None":
        """Return the budget of the integration."""
        from tokendyn.dynamics import Budget

        return None if self.budget is None else Budget(seconds=seconds_of(self.budget))


def check_size(states: int, tokens: int, dim: int) -> None:
    """Raise when the states would take more memory than the limit."""
    size = 8 * states * tokens * dim
    if size > _MOST_BYTES:
        raise BadInputError(
            f"{states} states of {tokens} tokens in {dim} dimensions take {size / 2**30:.1f} GB, more than "
            f"{_MOST_BYTES / 2**30:.0f}; keep fewer with `every`, or take a smaller `count`"
        )
