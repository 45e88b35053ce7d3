"""The energy of unnormalised attention, and where it is largest, for symmetric matrices of any sign (arXiv 2501.03096).

For ``V = B`` symmetric, ``E = sum_ij w_i w_j e^{beta <x_i, B x_j>} / (2 beta)`` grows along unnormalised attention: the
velocity of token i is its gradient over w_i. One point at the top eigenvector has ``e^{beta lambda_max}``; a symmetric
pair at the bottom one has ``cosh(beta lambda_min)``: the larger of the two is the most that we ever measured.
"""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Float

from tokendyn.attention.checks import as_float64, as_matrix
from tokendyn.dynamics import TokenFlow, checked_tokens, integrate
from tokendyn.errors import BadInputError
from tokendyn.studies.claims.claim import Claim, Finding, Profile, at_most
from tokendyn.studies.claims.drawing import curves
from tokendyn.studies.laws.checks import checked_exponent, outside, refuse

SOURCE = "arXiv 2501.03096; the pair of candidates: derived here"

#: Makes the flow of an inverse temperature and a symmetric matrix; another stands in where a test takes it away.
Flow = Callable[[float, np.ndarray], TokenFlow]


def attention_energy(
    tokens: Float[np.ndarray, "tokens dim"], matrix: Float[np.ndarray, "dim dim"], inverse_temperature: float,
    weights: Float[np.ndarray, " tokens"] | None = None,
) -> float:  # fmt: skip
    """Return ``sum_ij w_i w_j e^{beta <x_i, B x_j>} / (2 beta)``.

    Parameters
    ----------
    tokens
        ``(tokens, dim)``; it is an energy of unit vectors, and is computed for any.
    matrix
        ``B``, ``(dim, dim)``.
    inverse_temperature
        ``beta``, positive.
    weights
        Zero or more, of sum 1; equal by default.

    Raises
    ------
    BadInputError
        If shapes do not fit, or a number is not finite or out of range.
    ScaleError
        If an exponential is beyond float64.
    """
    points, bilinear = checked_tokens(tokens), as_matrix("B", matrix, square=True)
    shares = np.full(len(points), 1 / len(points)) if weights is None else as_float64(weights)
    good = shares.shape == (len(points),) and shares.min() >= 0 and abs(shares.sum() - 1) < 1e-9
    refuse(
        "energy",
        outside("inverse_temperature", inverse_temperature, 0.0, ends="()"),
        None if len(bilinear) == points.shape[1] else f"B {bilinear.shape} does not fit tokens {points.shape}",
        None if good else f"weights must be {len(points)} numbers, zero or more, of sum 1",
    )
    exponents = inverse_temperature * points @ bilinear @ points.T
    checked_exponent("energy", float(exponents.max()))
    return float(shares @ np.exp(exponents) @ shares / (2 * inverse_temperature))


def largest_energy(matrix: Float[np.ndarray, "dim dim"], inverse_temperature: float) -> float:
    """Return ``max(e^{beta lambda_max}, cosh(beta lambda_min)) / (2 beta)``.

    The energies of the two candidates: one point at the top eigenvector, a symmetric pair at the bottom one. That no
    other law has more is known for positive definite matrices; for others it is a conjecture here, and is measured.

    Raises
    ------
    BadInputError
        If the matrix is not symmetric (there is no energy that grows), or the inverse temperature is not positive.
    ScaleError
        If an exponential is beyond float64.
    """
    bilinear = as_matrix("B", matrix, square=True)
    refuse("energy", outside("inverse_temperature", inverse_temperature, 0.0, ends="()"))
    if np.abs(bilinear - bilinear.T).max() > 1e-12 * np.abs(bilinear).max():
        raise BadInputError("the matrix is not symmetric: attention is no gradient flow; give (B + B.T) / 2")
    values = np.linalg.eigvalsh(bilinear)
    beta = inverse_temperature
    checked_exponent("energy", float(beta * max(values[-1], abs(values[0]))))
    return max(math.exp(beta * values[-1]), math.cosh(beta * values[0])) / (2 * beta)


def gradient_flow(inverse_temperature: float, matrix: np.ndarray) -> TokenFlow:
    """Return unnormalised attention with ``V = B``."""
    return TokenFlow(inverse_temperature, interaction=matrix, value=matrix, normalised=False)


def energy_landscape(profile: Profile, seed: int, *, flow: Flow = gradient_flow) -> Finding:
    """Follow the energy of random starts under definite and indefinite matrices to their ends."""
    beta, times, rows, paths = 1.0, np.linspace(0, 40, 81), [], {}
    falls, shortfalls, excesses = [], [], []
    matrices = {
        "positive": [2.0, 1.0, 0.5],
        "indefinite, top": [2.0, 0.5, -1.0],
        "indefinite, bottom": [0.3, 0.1, -3.0],
    }
    for name, spectrum in matrices.items():
        best = -math.inf
        for number in range(6 if profile == "quick" else 20):
            rng = np.random.default_rng([seed, number])
            turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
            matrix = turn @ np.diag(spectrum) @ turn.T
            matrix = (matrix + matrix.T) / 2
            run = integrate(flow(beta, matrix), _start(number, turn, rng), times, normalise=True)
            energies = np.array([attention_energy(state, matrix, beta) for state in run.states])
            largest = largest_energy(matrix, beta)
            falls.append(float(max(0.0, -(np.diff(energies) / energies[:-1]).min())))
            excesses.append(float(energies.max() / largest - 1))
            best = max(best, float(energies[-1] / largest))
            rows.append({"matrix": name, "seed": number, "end": energies[-1], "largest": largest})
        shortfalls.append(1 - best)
        paths[name] = (times, energies / largest)
    values = {
        "largest fall of the energy in a step of the output, relative": max(falls),
        "energy above the closed form, relative": max(excesses),
        "best of the ends below the closed form, relative": max(shortfalls),
    }
    return Finding(values=values, table=pd.DataFrame(rows), figure=curves(paths, "time", "energy by its largest value"))


def _start(number: int, turn: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return random tokens; every third time on the side of the top eigenvector, every third time with mirror images.

    From anywhere, tokens may end in two clusters of unequal masses, which is a local maximum.
    """
    tokens = rng.normal(size=(16, 3))
    if number % 3 == 1:
        return np.asarray(tokens * np.sign(tokens @ turn[:, :1]))
    return np.concatenate([tokens[:8], -tokens[:8]]) if number % 3 == 2 else tokens


CLAIM = Claim(
    id="field.energy",
    statement=(
        "For V = B symmetric the energy never falls, and its largest value is that of one point at the top "
        "eigenvector, or of a symmetric pair at the bottom one."
    ),
    source=SOURCE,
    how="Energy over runs from random, one-sided and even starts; ends against the larger of two closed forms.",
    bounds={
        "largest fall of the energy in a step of the output, relative": at_most(1e-9),
        "energy above the closed form, relative": at_most(1e-6),
        "best of the ends below the closed form, relative": at_most(0.01),
    },
    check=energy_landscape,
)
