"""Tokens at one common angle: the equation of their inner product, beside the tokens themselves (arXiv 2312.10794)."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure
from scipy.integrate import solve_ivp

from tokendyn.dynamics import TokenFlow, integrate
from tokendyn.metrics.alignment import pair_alignment
from tokendyn.studies.claims.claim import Claim, Finding, Profile, at_most
from tokendyn.studies.claims.drawing import axes
from tokendyn.studies.laws.checks import checked_times, not_whole, outside, refuse

SOURCE = "arXiv 2312.10794, orthogonal and equiangular starts"

#: Largest inverse temperature of unnormalised attention: its speeds are ``e^beta``.
FASTEST = 300.0

#: Makes the flow of an inverse temperature, normalised or not.
Flow = Callable[[float, bool], TokenFlow]


def equiangular_tokens(count: int, inner_product: float, dim: int | None = None) -> Float[np.ndarray, "tokens dim"]:
    """Return unit vectors of which every two have the same inner product.

    ``x_i = a e_i + b (1, ..., 1)`` is the symmetric root of the Gram matrix: ``a = sqrt(1 - rho)``,
    ``n b = sqrt(1 + (n - 1) rho) - a``.

    Parameters
    ----------
    count
        Number n of tokens, two or more.
    inner_product
        ``rho``, from ``-1/(n - 1)`` to 1: no n vectors point apart from each other more than that.
    dim
        Coordinates, n or more; n by default.

    Raises
    ------
    BadInputError
        If there are no such tokens.
    """
    problems = _problems(count, inner_product)
    dim = count if dim is None else dim
    few = None if problems else not_whole(f"dim of {count} tokens", dim, count)
    refuse("equiangular tokens", *problems, few)
    own = np.sqrt(1 - inner_product)
    shared = (np.sqrt(max(1 + (count - 1) * inner_product, 0.0)) - own) / count
    return np.pad(own * np.eye(count) + shared, ((0, 0), (0, dim - count)))


def equiangular_rate(inner_product: float, count: int, inverse_temperature: float, *, normalised: bool = True) -> float:
    """Return ``gamma'`` of equiangular tokens under ``B = V = I``.

    ``gamma' = 2 e^{beta gamma} (1 - gamma) (1 + (n - 1) gamma) / Z`` with ``Z = e^beta + (n - 1) e^{beta gamma}``, and
    ``Z = n`` for unnormalised attention; by symmetry tokens stay equiangular.

    Raises
    ------
    BadInputError
        If there are no such tokens, or the inverse temperature is negative or infinite, or above ``FASTEST`` for
        unnormalised attention.
    """
    refuse("equiangular rate", *_problems(count, inner_product), _too_cold(inverse_temperature, normalised))
    return (1 - inner_product) * _share_of_rate(inner_product, count, inverse_temperature, normalised)


def equiangular_curve(
    times: Float[np.ndarray, " times"], count: int, inverse_temperature: float, start: float = 0.0, *,
    normalised: bool = True,
) -> Float[np.ndarray, " times"]:  # fmt: skip
    """Return ``gamma(t)`` from :func:`equiangular_rate`: no tokens, one number (Dormand-Prince 8(5,3), 1e-12).

    Parameters
    ----------
    times
        Finite and increasing, one or more; at the first of them gamma is ``start``.
    count, inverse_temperature, normalised
        See :func:`equiangular_rate`.
    start
        From ``-1/(n - 1)`` to 1.

    Raises
    ------
    BadInputError
        As :func:`equiangular_rate`, and for times that do not increase.
    """
    refuse("equiangular curve", *_problems(count, start), _too_cold(inverse_temperature, normalised))
    grid = checked_times("equiangular curve", times)
    if len(grid) == 1 or start == 1:
        return np.full(len(grid), float(start))

    def rate(_: float, state: np.ndarray) -> list[float]:
        return [_share_of_rate(-float(np.expm1(-state[0])), count, inverse_temperature, normalised)]

    # -log(1 - gamma) grows steadily where gamma is near 1; gamma itself would decay at a rate of e^beta there.
    begin = [-np.log1p(-start)]
    solution = solve_ivp(rate, (grid[0], grid[-1]), begin, "DOP853", t_eval=grid, rtol=1e-12, atol=1e-13)
    curve = np.ones(len(grid))
    # The solver stops early where unnormalised attention closes the gap in less than the resolution of time.
    curve[: solution.y.shape[1]] = -np.expm1(-solution.y[0])
    return curve


def _share_of_rate(gamma: float, count: int, beta: float, normalised: bool) -> float:
    """Return ``gamma' / (1 - gamma)``."""
    shape = 2 * (1 + (count - 1) * gamma)
    if not normalised:
        return float(shape * np.exp(beta * gamma) / count)
    # e^{-beta (1 - gamma)} does not overflow; rounding may leave gamma above 1.
    others = np.exp(min(-beta * (1 - gamma), 0.0))
    return float(shape * others / (1 + (count - 1) * others))


def _problems(count: int, inner_product: float) -> list[str]:
    """Return why there are no equiangular tokens of this number and inner product."""
    few = not_whole("count", count, 2)
    if few is not None:
        return [few]
    wrong = outside(f"inner_product of {count} tokens", inner_product, -1 / (count - 1), 1.0, "[]")
    return [] if wrong is None else [wrong]


def _too_cold(beta: float, normalised: bool) -> str | None:
    if normalised:
        return outside("inverse_temperature", beta, 0.0)
    return outside("inverse_temperature of unnormalised attention", beta, 0.0, FASTEST, "[]")


def identity_flow(inverse_temperature: float, normalised: bool = True) -> TokenFlow:
    """Return attention with ``B = V = I``."""
    return TokenFlow(inverse_temperature, normalised=normalised)


def equiangular(profile: Profile, seed: int, *, flow: Flow = identity_flow) -> Finding:
    """Integrate equiangular tokens, and compare every pair with the equation of the common inner product."""
    times = np.linspace(0, 6, 13)
    rows = []
    for count in (5, 16) if profile == "quick" else (5, 16, 64):
        for beta, normalised in ((0.5, True), (4.0, True), (1.0, False)):
            for start in (0.0, -0.5 / (count - 1), 0.3):
                expected = equiangular_curve(times, count, beta, start, normalised=normalised)
                run = integrate(
                    flow(beta, normalised), equiangular_tokens(count, start), times, method="adaptive", tolerance=1e-11
                )
                pairs = [pair_alignment(state) for state in run.states]
                error = max(
                    max(abs(pair.least - gamma), abs(pair.most - gamma))
                    for pair, gamma in zip(pairs, expected, strict=True)
                )
                rows.append(
                    {
                        "tokens": count, "inverse_temperature": beta, "normalised": normalised, "start": start,
                        "end": float(expected[-1]), "largest difference": error,
                    }
                )  # fmt: skip
    table = pd.DataFrame(rows)
    diagram, figure = _phase_diagram(profile, seed, flow)
    values = {
        "pairs against the equation, largest difference": float(table["largest difference"].max()),
        "mean pair of random tokens against the equation, largest difference": diagram,
    }
    remark = "Random tokens in high dimension are nearly orthogonal; the figure shows the mean inner product of theirs."
    return Finding(values=values, table=table, figure=figure, remark=remark)


def _phase_diagram(profile: Profile, seed: int, flow: Flow) -> tuple[float, Figure]:
    """Return how far the mean pair of random tokens is from the equation, and the two over time and temperature."""
    count, dim = (12, 4096) if profile == "quick" else (32, 16384)
    betas, times = np.linspace(0, 6, 7 if profile == "quick" else 25), np.linspace(0, 8, 17)
    tokens = np.random.default_rng([seed, 1]).normal(size=(count, dim))
    # Only the inner products matter: an orthonormal basis of the span has as many coordinates as there are tokens.
    tokens = np.linalg.qr((tokens / np.linalg.norm(tokens, axis=1)[:, None]).T)[1].T
    measured = np.array(
        [[pair_alignment(state).mean for state in integrate(flow(beta, True), tokens, times, normalise=True).states]
         for beta in betas]
    )  # fmt: skip
    expected = np.array([equiangular_curve(times, count, beta, float(measured[0, 0])) for beta in betas])
    figure, panel = axes("time", "beta")
    picture = panel.pcolormesh(times, betas, measured, vmin=0, vmax=1, shading="gouraud")
    panel.contour(times, betas, expected, levels=[0.25, 0.5, 0.75, 0.95], colors="white", linewidths=1)
    figure.colorbar(picture, label="mean inner product; lines: the equation")
    return float(np.abs(measured - expected).max()), figure


CLAIM = Claim(
    id="field.equiangular",
    statement="Tokens at one common angle stay so, and their inner product follows a scalar equation, for SA and USA.",
    source=SOURCE,
    how="Least and largest inner product of all pairs over a run, against the scalar equation solved by itself.",
    bounds={
        "pairs against the equation, largest difference": at_most(1e-8),
        "mean pair of random tokens against the equation, largest difference": at_most(0.05),
    },
    check=equiangular,
)
