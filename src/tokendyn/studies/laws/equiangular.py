"""Tokens at one common angle: the equation of their inner product, beside the tokens themselves (arXiv 2312.10794)."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure
from scipy.integrate import solve_ivp

from tokendyn.dynamics import TokenFlow, integrate
from tokendyn.errors import BadInputError
from tokendyn.metrics.alignment import pair_alignment
from tokendyn.studies.claims.claim import Claim, Finding, Profile, at_most
from tokendyn.studies.claims.drawing import axes

SOURCE = "arXiv 2312.10794, orthogonal and equiangular starts"

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
    dim = count if dim is None else dim
    problems = []
    if count < 2:
        problems.append(f"count must be 2 or more, got {count}")
    elif not -1 / (count - 1) <= inner_product <= 1:
        problems.append(
            f"inner_product of {count} tokens must lie between {-1 / (count - 1):.4g} and 1, got {inner_product:g}"
        )
    if dim < count:
        problems.append(f"{count} equiangular tokens need dim={count} or more, got {dim}")
    if problems:
        raise BadInputError.all_of("equiangular tokens", problems)
    own = np.sqrt(1 - inner_product)
    shared = (np.sqrt(max(1 + (count - 1) * inner_product, 0.0)) - own) / count
    return np.pad(own * np.eye(count) + shared, ((0, 0), (0, dim - count)))


def equiangular_rate(inner_product: float, count: int, inverse_temperature: float, *, normalised: bool = True) -> float:
    """Return ``gamma'`` of equiangular tokens under ``B = V = I``.

    ``gamma' = 2 e^{beta gamma} (1 - gamma) (1 + (n - 1) gamma) / Z`` with ``Z = e^beta + (n - 1) e^{beta gamma}``, and
    ``Z = n`` for unnormalised attention; by symmetry tokens stay equiangular.
    """
    gamma, beta = inner_product, inverse_temperature
    shape = 2 * (1 - gamma) * (1 + (count - 1) * gamma)
    if not normalised:
        return float(shape * np.exp(beta * gamma) / count)
    return float(shape / (np.exp(beta * (1 - gamma)) + count - 1))


def equiangular_curve(
    times: Float[np.ndarray, " times"], count: int, inverse_temperature: float, start: float = 0.0, *,
    normalised: bool = True,
) -> Float[np.ndarray, " times"]:  # fmt: skip
    """Return ``gamma(t)`` from :func:`equiangular_rate`: no tokens, one number (Dormand-Prince 8(5,3), 1e-12)."""
    solution = solve_ivp(
        lambda _, gamma: [equiangular_rate(gamma[0], count, inverse_temperature, normalised=normalised)],
        (times[0], times[-1]), [start], method="DOP853", t_eval=times, rtol=1e-12, atol=1e-13,
    )  # fmt: skip
    return np.asarray(solution.y[0])


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
