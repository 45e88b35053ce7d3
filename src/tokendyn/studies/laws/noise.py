"""Noisy unnormalised attention on the circle: where the uniform law loses its stability (arXiv 2604.16288, 2606.05140).

With ``w_k = I_k(beta) / beta`` the harmonics ``r_k = int e^{-i k theta} dmu`` obey
``r_k' = -D k^2 r_k + k sum_j j w_j r_j r_{k-j}``, because ``e^{beta cos u} = sum_k I_k(beta) e^{i k u}``. Around the
uniform law harmonic k grows at ``k^2 (w_k - D)``.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.optimize import brentq
from scipy.special import iv, ive

from tokendyn.dynamics import TokenFlow, integrate
from tokendyn.errors import BadInputError, ConvergenceError
from tokendyn.particles.meanfield import circle_law
from tokendyn.particles.meanfield.cell_velocity import largest_sharpness
from tokendyn.particles.meanfield.starts import circle_quantiles
from tokendyn.studies.claims.claim import Claim, Finding, Profile, at_least, at_most
from tokendyn.studies.claims.drawing import axes
from tokendyn.studies.laws.checks import checked_exponent, outside, refuse

SOURCE = "arXiv 2604.16288, 2606.05140"

#: Makes the flow of an inverse temperature; another one stands in where a test takes the mechanism away.
Flow = Callable[[float], TokenFlow]

#: Fewest harmonics of the stationary equation, and the factor of ``beta^{3/4}`` that resolves the ordered law at
#: ``D_c``: ``e^{beta cos} / (beta D_c)`` is about ``sqrt(beta)`` high, so the law is ``beta^{-3/4}`` wide.
_HARMONICS, _PER_WIDTH = 40, 8

#: Cells of a measured growth, at most: a kernel of 32 MiB.
_MOST_CELLS = 2048

#: The harmonics have settled when none moves more in an iteration.
_SETTLED = 1e-10


def critical_noise(inverse_temperature: float, *, normalised: bool = False) -> float:
    """Return ``D_c = max_k I_k(beta) / beta = I_1(beta) / beta``, below which the uniform law is unstable.

    For normalised attention the uniform law has the denominator ``I_0(beta)``, and ``D_c = I_1 / (beta I_0)``.

    Raises
    ------
    BadInputError
        If the inverse temperature is not positive and finite.
    ScaleError
        If ``I_1(beta)`` is beyond float64.
    """
    refuse("critical noise", outside("inverse_temperature", inverse_temperature, 0.0, ends="()"))
    if normalised:
        return float(ive(1, inverse_temperature) / (inverse_temperature * ive(0, inverse_temperature)))
    checked_exponent("critical noise", inverse_temperature)
    return float(iv(1, inverse_temperature) / inverse_temperature)


def turns_abruptly(inverse_temperature: float) -> bool:
    """Return whether the transition of unnormalised attention is discontinuous: ``I_2(beta) > I_1(beta) / 2``.

    Near ``D_c`` the second harmonic follows the first, ``r_2 = w_1 r_1^2 / (2 (w_1 - w_2))``, and ``r_1' = (w_1 - D)
    r_1 + (2 w_2 - w_1) r_1 r_2``: the sign of the cubic term decides (our own derivation, as usual for such equations).

    Raises
    ------
    BadInputError
        If the inverse temperature is not positive and finite.
    """
    refuse("order of the transition", outside("inverse_temperature", inverse_temperature, 0.0, ends="()"))
    return bool(ive(2, inverse_temperature) > ive(1, inverse_temperature) / 2)


def stationary_order(inverse_temperature: float, diffusivity: float, most: int = 4000) -> float:
    """Return ``r_1`` of the most ordered stationary law of unnormalised attention; 0 where only the uniform law is.

    A stationary law is ``mu ~ exp((2 / D) sum_k w_k r_k cos k theta)``; the equation is iterated from one point.

    Raises
    ------
    BadInputError
        If the inverse temperature or the diffusivity is not positive.
    ScaleError
        If ``I_1(beta)`` is beyond float64.
    ConvergenceError
        If the harmonics still move after ``most`` iterations, as they do very near a transition.
    """
    order, moved = _stationary(inverse_temperature, diffusivity, most)
    if not moved < _SETTLED:
        raise ConvergenceError(
            f"the order is {order:.3g} and still moves by {moved:.1e} after {most} iterations: D = {diffusivity:g} is "
            "next to a transition; take another D, or a larger most="
        )
    return order


def _stationary(inverse_temperature: float, diffusivity: float, most: int) -> tuple[float, float]:
    """Return ``r_1`` after a bounded number of iterations from one point, and the last change of a harmonic."""
    refuse(
        "stationary order",
        outside("inverse_temperature", inverse_temperature, 0.0, ends="()"),
        outside("diffusivity", diffusivity, 0.0, ends="()"),
    )
    checked_exponent("stationary order", inverse_temperature)
    harmonics = np.arange(1, max(_HARMONICS, int(_PER_WIDTH * inverse_temperature**0.75)) + 1)
    angles = np.pi * np.arange(6 * len(harmonics)) / (3 * len(harmonics))
    waves = np.cos(np.outer(harmonics, angles))
    strengths = 2 * ive(harmonics, inverse_temperature) / inverse_temperature
    # In this order no factor overflows before the quotient does, and that only for one point to rounding.
    strengths *= min(np.exp(inverse_temperature) / diffusivity, 1e300)
    order, moved = np.ones(len(harmonics)), np.inf
    for _ in range(most):
        exponent = (strengths * order) @ waves
        masses = np.exp(exponent - exponent.max())
        after = waves @ masses / masses.sum()
        moved = float(np.abs(after - order).max())
        order = after
        if moved < _SETTLED:
            break
    return float(order[0]), moved


def last_order(inverse_temperature: float) -> float:
    """Return the largest D at which an ordered stationary law exists, to a thousandth: ``D_c`` unless it is abrupt.

    Raises
    ------
    BadInputError
        If the inverse temperature is not positive and finite.
    ScaleError
        If ``I_1(beta)`` is beyond float64.
    """
    critical = critical_noise(inverse_temperature)
    if not turns_abruptly(inverse_temperature):
        return critical

    def ordered(diffusivity: float) -> bool:
        return _stationary(inverse_temperature, diffusivity, 4000)[0] > 0.1

    low, high = critical, 2 * critical
    while ordered(high):
        low, high = high, 2 * high
    while high - low > 1e-3 * low:
        middle = (low + high) / 2
        low, high = (middle, high) if ordered(middle) else (low, middle)
    return (low + high) / 2


def growth_rate(flow: TokenFlow, diffusivity: float, time_scale: float) -> float:
    """Return the measured rate at which a slight first harmonic grows under the continuity equation with noise."""
    times = time_scale * np.array([0.0, 1.0, 2.0])
    law = circle_law(
        flow, lambda angle: 1 + 1e-3 * np.cos(angle), times, cells=_cells(flow), step=time_scale / 20, noise=diffusivity
    )
    order = law.order()
    return float(np.log(order[2] / order[1]) / (times[2] - times[1]))


def _cells(flow: TokenFlow) -> int:
    """Return cells that resolve the kernel, ``1 / sqrt(beta |B|)`` wide, or refuse a narrower one."""
    sharpness = largest_sharpness(flow)
    wanted = 128.0 if np.isinf(flow.inverse_temperature) else 6 * np.sqrt(sharpness)
    if wanted > _MOST_CELLS:
        raise BadInputError(
            f"inverse_temperature {flow.inverse_temperature:g} has a kernel that {_MOST_CELLS} cells do not resolve; "
            f"lower it to {(_MOST_CELLS / 6) ** 2 * flow.inverse_temperature / sharpness:.3g}"
        )
    return max(128, int(wanted))


def measured_critical_noise(flow: TokenFlow) -> float:
    """Return the diffusivity at which the first harmonic neither grows nor decays, from runs alone.

    Zero for a flow under which the uniform law stands still.

    Raises
    ------
    BadInputError
        If the uniform law is not stationary under the flow (B or V prefers a direction), or stable without noise.
    """
    # So short a run only checks that this is a flow of laws.
    circle_law(flow, np.ones_like, np.array([0.0, 1e-300]), cells=16)
    count = _cells(flow)
    quantiles = circle_quantiles(count)
    velocities = flow.velocity(quantiles)
    turning = velocities[0] @ np.array([-quantiles[0, 1], quantiles[0, 0]])
    across = np.stack([-quantiles[:, 1], quantiles[:, 0]], axis=1)
    largest = float(np.abs(flow.output(quantiles)).max())
    if np.abs(velocities - turning * across).max() > 1e-9 * largest:
        raise BadInputError(
            "the uniform law is not stationary under this flow, so no noise makes it stable: B or V prefers a direction"
        )
    # The speed at which a slight wave moves tokens says how fast it grows, and how short a run has to be.
    pushed = circle_quantiles(count, lambda angle: 1 + 1e-3 * np.cos(angle))
    high = 1e3 * float(np.abs(flow.velocity(pushed) - turning * across).max())
    # Rounding of the velocities is 1e-16 of the largest part, and high is a thousand times larger than they differ.
    if high <= 1e-10 * largest:
        return 0.0
    while growth_rate(flow, high, 0.05 / high) > 0:
        high *= 4
    scale = 0.05 / high
    if growth_rate(flow, 0.0, scale) <= 1e-3 * high:
        raise BadInputError("the uniform law is stable under this flow without noise: there is no critical noise")
    return float(brentq(lambda noise: growth_rate(flow, noise, scale), 0.0, high, xtol=1e-9 * high, rtol=1e-6))


def order_loop(
    flow: TokenFlow, diffusivities: Sequence[float], *, waits: float = 10.0, cells: int = 128
) -> pd.DataFrame:
    """Return the order parameter of the law over a loop of diffusivities: up through the list, and down again.

    Each law begins where the last one ended, slightly pushed off the uniform law; where the two ways differ there is
    hysteresis.

    Parameters
    ----------
    flow
        On the circle.
    diffusivities
        Increasing, positive.
    waits
        Time at each of them, in units of ``1/D``. Near a transition laws settle slowly.
    cells
        See :func:`~tokendyn.particles.meanfield.circle_law`.

    Returns
    -------
    pandas.DataFrame
        Columns ``diffusivity``, ``up``, ``down``.

    Raises
    ------
    BadInputError
        If the diffusivities do not increase from above zero.
    """
    levels = np.asarray(diffusivities, dtype=np.float64)
    increase = levels.ndim == 1 and len(levels) > 1 and levels[0] > 0 and (np.diff(levels) > 0).all()
    refuse(
        "order loop",
        None
        if increase and np.isfinite(levels).all()
        else "diffusivities must be two or more, positive and increasing",
        outside("waits", waits, 0.0, ends="()"),
    )
    angles = 2 * np.pi * (np.arange(cells) + 0.5) / cells
    push = 1 + 0.01 * np.cos(angles)
    masses, orders = np.exp(8 * np.cos(angles)), []
    for level in [*levels, *levels[::-1]]:
        law = circle_law(
            flow, masses * push, np.array([0.0, waits / level]), cells=cells, step=0.02 / level, noise=level
        )
        masses = law.masses[-1]
        orders.append(float(law.order()[-1]))
    return pd.DataFrame({"diffusivity": levels, "up": orders[: len(levels)], "down": orders[: len(levels) - 1 : -1]})


def unnormalised(inverse_temperature: float) -> TokenFlow:
    """Return unnormalised attention with ``B = V = I``."""
    return TokenFlow(inverse_temperature, normalised=False)


def noise(profile: Profile, seed: int, *, flow: Flow = unnormalised) -> Finding:
    """Measure the critical noise, and whether the order at one noise depends on the start."""
    rows: list[dict[str, Any]] = []
    for beta in (0.5, 1.0, 5.0) if profile == "quick" else (0.2, 0.5, 1.0, 2.0, 5.0, 8.0):
        measured, expected = measured_critical_noise(flow(beta)), critical_noise(beta)
        rows.append(
            {"inverse_temperature": beta, "measured D_c": measured, "I_1(beta) / beta": expected,
             "relative error": abs(measured / expected - 1), "abrupt": turns_abruptly(beta)}
        )  # fmt: skip
    abrupt, smooth = 5.0, 1.0
    fold, critical = last_order(abrupt), critical_noise(abrupt)
    between = (fold + critical) / 2
    law = {
        "ordered law between the two": _settled(flow(abrupt), between, ordered=True),
        "uniform law between the two": _settled(flow(abrupt), between, ordered=False),
        "ordered law beyond the fold": _settled(flow(abrupt), 1.05 * fold, ordered=True),
        "ordered law beyond a smooth transition": _settled(flow(smooth), 1.1 * critical_noise(smooth), ordered=True),
    }
    tokens = [
        _settled_tokens(flow(abrupt), between, seed, ordered=ordered, count=300 if profile == "quick" else 2000)
        for ordered in (True, False)
    ]
    rows += [
        {"order parameter of": f"law: {name}", "order parameter": value} for name, value in law.items()
    ] + [
        {"order parameter of": f"tokens: start {name}", "order parameter": value}
        for name, value in zip(("ordered", "uniform"), tokens, strict=True)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    values = {
        "critical noise, relative error": float(table["relative error"].max()),
        "order between the two transitions, stationary equation against law":
            abs(law["ordered law between the two"] - stationary_order(abrupt, between)),
        "order of tokens between the two, ordered start minus uniform start": tokens[0] - tokens[1],
        "order that is left where none is stationary": max(
            law["uniform law between the two"], law["ordered law beyond the fold"],
            law["ordered law beyond a smooth transition"]
        ),
    }  # fmt: skip
    remark = f"At beta = {abrupt:g} order is lost at D = {fold:.4g} and comes back at D = {critical:.4g}."
    return Finding(values=values, table=table, figure=_loops(between, tokens), remark=remark)


def _settled(flow: TokenFlow, diffusivity: float, *, ordered: bool) -> float:
    """Return the order parameter of the law after a long time, from a point or from the nearly uniform law."""
    sharp = 8.0 if ordered else 0.0
    law = circle_law(
        flow, lambda angle: np.exp(sharp * np.cos(angle)) * (1 + 0.01 * np.cos(angle)),
        np.array([0.0, 40.0]) / diffusivity, cells=128, step=0.01 / diffusivity, noise=diffusivity,
    )  # fmt: skip
    return float(law.order()[-1])


def _settled_tokens(flow: TokenFlow, diffusivity: float, seed: int, *, ordered: bool, count: int) -> float:
    """Return the mean order parameter of noisy tokens over the second half of a run."""
    start = circle_quantiles(count, (lambda angle: np.exp(8 * np.cos(angle))) if ordered else None)
    times = np.linspace(0, 8, 17) / diffusivity
    run = integrate(flow, start, times, method="euler", step=0.004 / diffusivity, noise=diffusivity, seed=seed)
    return float(np.linalg.norm(run.states[8:].mean(axis=1), axis=1).mean())


def _loops(between: float, tokens: list[float]) -> Figure:
    """Draw the ordered stationary branch of an abrupt and of a smooth transition, and the tokens' two orders."""
    figure, panel = axes("D by I_1(beta) / beta", "order parameter")
    for beta in (1.0, 5.0):
        critical = critical_noise(beta)
        shares = np.linspace(0.3, 1.05 * last_order(beta) / critical, 40)
        orders = [_stationary(beta, share * critical, 600)[0] for share in shares]
        panel.plot(shares, orders, lw=1.2, label=f"stationary, beta = {beta:g}")
    panel.plot([between / critical_noise(5.0)] * 2, tokens, "o", ms=5, label="tokens, from order and from the uniform")
    panel.axvline(1, lw=1, ls="--", color="0.5")
    panel.legend(frameon=False, fontsize=8)
    return figure


CLAIM = Claim(
    id="field.noise",
    statement=(
        "Noisy unnormalised attention on the circle loses its uniform law at D = I_1(beta) / beta; where "
        "I_2 > I_1 / 2 the transition is abrupt, with hysteresis."
    ),
    source=SOURCE,
    how="Noise at which a slight harmonic stops growing; order from two starts at one noise, of law and tokens.",
    bounds={
        "critical noise, relative error": at_most(0.01),
        "order between the two transitions, stationary equation against law": at_most(0.01),
        "order of tokens between the two, ordered start minus uniform start": at_least(0.3),
        "order that is left where none is stationary": at_most(0.05),
    },
    check=noise,
)
