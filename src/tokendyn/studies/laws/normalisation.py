"""Where a layer divides by norms decides how fast two tokens meet (arXiv 2510.22026): exponentials and powers of time.

Two tokens of equal mass at angle phi, ``V = v I``, ``B = I``; the other has weight ``p = 1 / (1 + e^{beta (1 - cos
phi)})``. The mean is ``m = (1 - p) x + p y``: along x it is ``a = 1 - p + p cos phi``, across ``p sin phi``.

========  ===================================================  ===============================
``post``  ``phi' = -2 v p sin phi``                            ``phi ~ e^{-v t}``
``ngpt``  ``phi' = -2 p sin phi / |m|``                        ``phi ~ e^{-t}``, whatever v
``pre``   ``r' = v a``, ``phi' = -2 v p sin phi / r``          ``r ~ v t``, ``phi ~ 1/t``
``peri``  ``r' = a / |m|``, ``phi' = -2 p sin phi / (r |m|)``  ``r ~ t``, ``phi ~ 1/t``
``mix``   post until a time, pre after it                      the exponential, then the power
========  ===================================================  ===============================
"""

from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.integrate import solve_ivp

from tokendyn.dynamics import TokenFlow, integrate
from tokendyn.dynamics.flow import Normalisation
from tokendyn.errors import BadInputError
from tokendyn.studies.claims.claim import Claim, Finding, Profile, at_most
from tokendyn.studies.claims.drawing import curves

SOURCE = "arXiv 2510.22026; the exponents are derived here"

Variant = Literal["post", "ngpt", "pre", "peri", "mix"]

#: Time at which Mix-LN changes from post to pre.
SWITCH = 2.0

#: ``v`` of the check: post and ngpt differ only where it is not 1.
_VALUE = 2.0


def two_token_rates(
    kind: Normalisation, angle: float, radius: float, inverse_temperature: float, value: float = 1.0
) -> tuple[float, float]:
    """Return ``phi'`` and ``r'`` of two tokens of equal mass and radius; see the table of this module."""
    p = 1 / (1 + np.exp(inverse_temperature * (1 - np.cos(angle))))
    along, across = 1 - p + p * np.cos(angle), p * np.sin(angle)
    if kind in ("peri", "ngpt"):
        size = np.hypot(along, across)
        along, across = along / size, across / size
    else:
        along, across = value * along, value * across
    if kind in ("pre", "peri"):
        return float(-2 * across / radius), float(along)
    return float(-2 * across), 0.0


def two_token_curve(
    kind: Variant, times: Float[np.ndarray, " times"], angle: float, inverse_temperature: float, value: float = 1.0, *,
    switch: float = SWITCH,
) -> tuple[Float[np.ndarray, " times"], Float[np.ndarray, " times"]]:  # fmt: skip
    """Return angle and radius over time from :func:`two_token_rates`, from radius 1 at the first time.

    The logarithm of the angle is integrated, so that a small angle is as exact as a large one.
    """
    if kind == "mix":
        early = times <= switch
        first = two_token_curve("post", np.append(times[early], switch), angle, inverse_temperature, value)
        late = np.insert(times[~early], 0, switch)
        second = two_token_curve("pre", late, float(first[0][-1]), inverse_temperature, value)
        joined = [np.concatenate([before[:-1], after[1:]]) for before, after in zip(first, second, strict=True)]
        return joined[0], joined[1]

    def rates(_: float, state: np.ndarray) -> list[float]:
        phi = float(np.exp(state[0]))
        turning, growing = two_token_rates(kind, phi, float(state[1]), inverse_temperature, value)
        return [turning / phi, growing]

    span = (float(times[0]), float(times[-1]))
    if span[0] == span[1]:
        return np.full(len(times), angle), np.ones(len(times))
    order = np.unique(times)
    solved = solve_ivp(rates, span, [np.log(angle), 1.0], "DOP853", t_eval=order, rtol=1e-12, atol=1e-12)
    at = np.searchsorted(order, times)
    return np.exp(solved.y[0])[at], solved.y[1][at]


def run_two_tokens(
    kind: Variant, times: Float[np.ndarray, " times"], angle: float, inverse_temperature: float, value: float = 1.0, *,
    switch: float = SWITCH,
) -> Float[np.ndarray, "times tokens dim"]:  # fmt: skip
    """Return two tokens over time as :class:`~tokendyn.dynamics.TokenFlow` moves them; ``mix`` changes the flow."""
    if not 0 < angle < np.pi:
        raise BadInputError(f"angle must lie between 0 and pi, got {angle:g}: two tokens that oppose do not meet")
    start = np.array([[1.0, 0.0], [np.cos(angle), np.sin(angle)]])
    if kind != "mix":
        return _run(kind, start, times, inverse_temperature, value)
    early = times < switch
    first = _run("post", start, np.append(times[early], switch), inverse_temperature, value)
    second = _run("pre", first[-1], np.insert(times[~early], 0, switch), inverse_temperature, value)
    return np.concatenate([first[:-1], second[1:]])


def _run(kind: Normalisation, start: np.ndarray, times: np.ndarray, beta: float, value: float) -> np.ndarray:
    flow = TokenFlow(beta, value=value * np.eye(2), normalisation=kind)
    return integrate(flow, start, times, method="adaptive", tolerance=1e-11).states


def angle_between(states: Float[np.ndarray, "times tokens dim"]) -> Float[np.ndarray, " times"]:
    """Return the angle of the first two tokens in the plane, exact also where it is small."""
    x, y = states[:, 0], states[:, 1]
    across = x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0]
    return np.asarray(np.abs(np.arctan2(across, (x * y).sum(axis=1))))


def normalisation(profile: Profile, seed: int, *, kinds: dict[str, Variant] | None = None) -> Finding:
    """Run two tokens under every normalisation, and fit how angle and radius end."""
    kinds = kinds or {kind: kind for kind in ("post", "ngpt", "pre", "peri", "mix")}
    beta, angle, rows, paths, errors = 2.0, 1.2, [], {}, []
    long = np.concatenate([[0.0], np.geomspace(0.1, 1000 if profile == "quick" else 10_000, 60)])
    short = np.linspace(0, 8, 33)
    for name, kind in kinds.items():
        exponential = name in ("post", "ngpt")
        times = short if exponential else long
        states = run_two_tokens(kind, times, angle, beta, _VALUE)
        angles, radii = angle_between(states), np.linalg.norm(states[:, 0], axis=1)
        expected, radius = two_token_curve(name, times, angle, beta, _VALUE)  # type: ignore[arg-type]
        late = times >= (5.0 if exponential else 100.0)
        abscissa = times[late] if exponential else np.log(times[late])
        measured = float(np.polyfit(abscissa, np.log(angles[late]), 1)[0])
        predicted = {"post": -_VALUE, "ngpt": -1.0}.get(name, -1.0)
        # Angles below 1e-6 have fewer digits: coordinates carry 1e-16 and the integration 1e-11.
        errors.append(float(np.abs(angles - expected).max() + np.abs(radii / radius - 1).max()))
        rows.append(
            {"normalisation": name, "fitted on": "t" if exponential else "log t", "exponent": measured,
             "predicted": predicted, "relative error": abs(measured / predicted - 1),
             "radius by t at the end": float(radii[-1] / times[-1]),
             "predicted radius by t": {"pre": _VALUE, "mix": _VALUE, "peri": 1.0}.get(name, 1 / times[-1])}
        )  # fmt: skip
        paths[name] = (np.maximum(times, 0.1), angles)
    table = pd.DataFrame(rows)
    radius_error = float(np.abs(table["radius by t at the end"] / table["predicted radius by t"] - 1).max())
    values = {
        "exponents of the angle, relative error": float(table["relative error"].max()),
        "growth of the radius, relative error": radius_error,
        "angle and radius against their equations, largest difference": max(errors),
    }
    figure = curves(paths, "time", "angle of two tokens", logx=True, logy=True)
    return Finding(values=values, table=table, figure=figure, remark=f"V = {_VALUE:g} I, beta = {beta:g}.")


CLAIM = Claim(
    id="field.normalisation",
    statement=(
        "Normalisation sets the speed of clustering: exponential for Post-LN and nGPT, like 1/t for Pre- and Peri-LN, "
        "one after the other for Mix-LN."
    ),
    source=SOURCE,
    how="Angle and radius of two tokens over time: fitted exponents, and both against their scalar equations.",
    bounds={
        "exponents of the angle, relative error": at_most(0.02),
        "growth of the radius, relative error": at_most(0.02),
        "angle and radius against their equations, largest difference": at_most(1e-6),
    },
    check=normalisation,
)
