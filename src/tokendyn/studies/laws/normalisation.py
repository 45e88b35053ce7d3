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

import math
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.integrate import solve_ivp

from tokendyn.attention.checks import as_float64
from tokendyn.dynamics import TokenFlow, integrate
from tokendyn.dynamics.flow import Normalisation
from tokendyn.errors import BadInputError, ConvergenceError
from tokendyn.studies.claims.claim import Claim, Finding, Profile, at_most
from tokendyn.studies.claims.drawing import curves
from tokendyn.studies.laws.checks import checked_times, outside, refuse

SOURCE = "arXiv 2510.22026; the exponents are derived here"

Variant = Literal["post", "ngpt", "pre", "peri", "mix"]

#: Time at which Mix-LN changes from post to pre.
SWITCH = 2.0

#: ``v`` of the check: post and ngpt differ only where it is not 1.
_VALUE = 2.0


def two_token_rates(
    kind: Normalisation, angle: float, radius: float, inverse_temperature: float, value: float = 1.0
) -> tuple[float, float]:
    """Return ``phi'`` and ``r'`` of two tokens of equal mass and radius; see the table of this module.

    Raises
    ------
    BadInputError
        As :func:`two_token_curve`, and for a radius that is not positive.
    """
    _check(kind, angle, inverse_temperature, value, get_args(Normalisation))
    refuse("two tokens", outside("radius", radius, 0.0, ends="()"))
    return _rates(kind, angle, radius, inverse_temperature, value)


def _rates(kind: str, angle: float, radius: float, beta: float, value: float) -> tuple[float, float]:
    seen = np.exp(-beta * (1 - np.cos(angle)))
    p = seen / (1 + seen)
    along, across = 1 - p + p * np.cos(angle), p * np.sin(angle)
    if kind in ("peri", "ngpt"):
        # N(v m) = N(m) for positive v: of v only the sign is left.
        size = math.copysign(np.hypot(along, across), value)
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
    """Return angle and radius over time from :func:`two_token_rates`.

    The logarithm of the angle is integrated, so that a small angle is as exact as a large one.

    Parameters
    ----------
    kind
        See the table of this module.
    times
        Finite and increasing, one or more. At the first of them the tokens are at ``angle``, with radius 1.
    angle
        In radians, between 0 and pi: two tokens that oppose do not meet.
    inverse_temperature
        Zero or more.
    value
        ``v`` of ``V = v I``. ``post`` takes any, ``ngpt`` any but zero (tokens part for a negative one), ``pre`` none
        below zero and ``peri`` only positive ones: the radius would shrink to nothing.
    switch
        Time at which ``mix`` changes from post to pre.

    Raises
    ------
    BadInputError
        If an argument is out of range.
    """
    _check(kind, angle, inverse_temperature, value, get_args(Variant))
    grid = checked_times("two tokens", times)

    def solved(part: Normalisation, start: np.ndarray, at: np.ndarray) -> np.ndarray:
        def rates(_: float, state: np.ndarray) -> list[float]:
            phi = float(np.exp(state[0]))
            turning, growing = _rates(part, phi, float(state[1]), inverse_temperature, value)
            return [turning / phi, growing]

        return solve_ivp(rates, (at[0], at[-1]), start, "DOP853", t_eval=at, rtol=1e-12, atol=1e-12).y.T

    logs, radii = _over(kind, solved, np.array([np.log(angle), 1.0]), grid, switch).T
    return np.exp(logs), radii


def run_two_tokens(
    kind: Variant, times: Float[np.ndarray, " times"], angle: float, inverse_temperature: float, value: float = 1.0, *,
    switch: float = SWITCH,
) -> Float[np.ndarray, "times tokens dim"]:  # fmt: skip
    """Return two tokens over time as :class:`~tokendyn.dynamics.TokenFlow` moves them; ``mix`` changes the flow.

    Parameters
    ----------
    kind, times, angle, inverse_temperature, value, switch
        See :func:`two_token_curve`.

    Raises
    ------
    BadInputError
        As :func:`two_token_curve`.
    ConvergenceError
        If the run ends early.
    """
    _check(kind, angle, inverse_temperature, value, get_args(Variant))

    def moved(part: Normalisation, start: np.ndarray, at: np.ndarray) -> np.ndarray:
        flow = TokenFlow(inverse_temperature, value=value * np.eye(2), normalisation=part)
        run = integrate(flow, start, at, method="adaptive", tolerance=1e-11)
        if run.status != "completed":
            raise ConvergenceError(f"two tokens: {run.reason}")
        return run.states

    start = np.array([[1.0, 0.0], [np.cos(angle), np.sin(angle)]])
    return _over(kind, moved, start, checked_times("two tokens", times), switch)


#: Takes a kind of normalisation, a state and times; returns the state at each of them, the first being the given one.
_Move = Callable[[Normalisation, np.ndarray, np.ndarray], np.ndarray]


def _over(kind: Variant, move: _Move, start: np.ndarray, times: np.ndarray, switch: float) -> np.ndarray:
    """Return the states at all times; for ``mix`` by post until the switch and by pre from there on."""
    if len(times) == 1:
        return start[None]
    if kind != "mix":
        return move(kind, start, times)
    early = times < switch
    if early.all():
        return move("post", start, times)
    if not early.any():
        return move("pre", start, times)
    first = move("post", start, np.append(times[early], switch))
    late = times[~early]
    if late[0] == switch:
        return np.concatenate([first[:-1], _over("pre", move, first[-1], late, switch)])
    return np.concatenate([first[:-1], move("pre", first[-1], np.insert(late, 0, switch))[1:]])


def _check(kind: str, angle: float, beta: float, value: float, kinds: tuple[str, ...]) -> None:
    least, ends = {"pre": (0.0, "[)"), "mix": (0.0, "[)"), "peri": (0.0, "()")}.get(kind, (-math.inf, "()"))
    refuse(
        "two tokens",
        None if kind in kinds else f"kind is {kind!r}; there are {', '.join(kinds)}",
        outside("angle", angle, 0.0, math.pi, "()"),
        outside("inverse_temperature", beta, 0.0),
        outside(f"value of {kind}", value, least, ends=ends),
        "value of ngpt must not be zero: V m(x) has no direction" if kind == "ngpt" and value == 0 else None,
    )


def angle_between(states: Float[np.ndarray, "times tokens dim"]) -> Float[np.ndarray, " times"]:
    """Return the angle of the first two tokens at every time, exact also where it is small.

    ``2 arctan2(|x - y|, |x + y|)`` of their directions x and y.

    Raises
    ------
    BadInputError
        If there are fewer than two tokens, or one of them is zero: it has no direction.
    """
    array = as_float64(states)
    if array.ndim != 3 or array.shape[1] < 2:
        raise BadInputError(f"states must be (times, tokens, dim) with two tokens or more, got shape {array.shape}")
    pair = array[:, :2]
    norms = np.linalg.norm(pair, axis=2, keepdims=True)
    if not (norms > 0).all():
        raise BadInputError("a token is zero or not finite: it has no direction and no angle")
    x, y = np.moveaxis(pair / norms, 1, 0)
    return np.asarray(2 * np.arctan2(np.linalg.norm(x - y, axis=1), np.linalg.norm(x + y, axis=1)))


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
