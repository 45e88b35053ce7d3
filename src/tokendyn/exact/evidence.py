"""The contribution of each token of a sequence to its label, for every strategy: the numbers of an explanation."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from tokendyn.exact import ragged
from tokendyn.exact.forms import canonical
from tokendyn.exact.radius import detectors, hat_heights, line_of, on_line, ramp_edges, sides, token_radii, trapezoids
from tokendyn.exact.sequences import Sequences

if TYPE_CHECKING:
    from tokendyn.exact.built import Built


@dataclass(frozen=True)
class Evidence:
    """The contribution of one token to the label.

    Attributes
    ----------
    token
        Its position in the sequence; the first one, if it is repeated.
    amount
        The amount, in the unit that :attr:`Explanation.measure` names; its sign is that of the contribution.
    text
        The same in words, after the name of the token.
    """

    token: int
    amount: float
    text: str


@dataclass(frozen=True)
class Reading:
    """A sequence as the network reads it, with the answer of the network.

    Attributes
    ----------
    tokens
        The sequence itself, prepared.
    form
        Its tokens as the network reads them: distinct, or repeated by their share.
    first
        Position in the sequence of each token of the form.
    label
        The label from the network.
    radius
        How far all tokens of the form may move, in their own unit, before the label can change.
    """

    tokens: Float[np.ndarray, "tokens dim"]
    form: Sequences
    first: np.ndarray
    label: Any
    radius: float


def short(text: str) -> str:
    """Return a text of at most 60 characters, so that a label or a word does not fill the screen."""
    return text if len(text) <= 60 else f"{text[:59]}…"


def _label(label: Any) -> str:
    return short(repr(label))


def read(model: "Built", sequence: Any) -> Reading:
    """Run one sequence through the network."""
    ready = model.prepare([sequence])
    form = canonical(ready, model.multiplicity).sequences
    positions = {token.tobytes(): k for k, token in reversed(list(enumerate(ready.tokens)))}
    first = np.array([positions[token.tobytes()] for token in form.tokens])
    number = number_of(model, form)
    alone = model.for_form(form, number)
    return Reading(
        tokens=ready.tokens, form=form, first=first, label=model.labels[number], radius=float(token_radii(alone)[0])
    )


def number_of(model: "Built", form: Sequences) -> int:
    """Return the number of the label that the network gives to one sequence, in canonical form."""
    output = ragged.run(model.weights, model.construction.dim, form, inverse_temperature=model.beta)
    return model.nearest(float(output[0, model.construction.outputs[0]]))


def evidence_of(model: "Built", reading: Reading) -> tuple[str, str, tuple[Evidence, ...]]:
    """Return the decision in one sentence, the measure of the amounts, and the evidence, the strongest first.

    For the constructions that ask all their questions at once: banks, fingerprints and hats.
    """
    if "m" in model.construction.channels:
        return _of_mean(model, reading)
    return _of_bank(model, reading)


def _of_mean(model: "Built", reading: Reading) -> tuple[str, str, tuple[Evidence, ...]]:
    """Return the evidence of a mean of p, or of the heights of hats: two ramps, and the pull of each token."""
    construction, weights, n = model.construction, model.weights, len(reading.form.tokens)
    values = _on_line(model, reading.form.tokens)
    what = "its tokens along the direction p"
    if model.strategy == "hat":
        values = hat_heights(model, values, trapezoids(model)[0])
        what = "the heights of the hats that its tokens are in"
    mean = float(values.mean())
    edges = np.sort(ramp_edges(weights, construction.channels.index("m")))
    zone = int(np.searchsorted(edges[1::2], mean, side="right"))
    sentence = f"the mean of {what} is {mean:.6g}; the label is {_label(reading.label)}"
    if zone:
        sentence += f" from {edges[2 * zone - 1]:.6g} on (below, {_label(_label_at(model, edges[2 * zone - 2]))})"
    if 2 * zone < len(edges):
        sentence += f" up to {edges[2 * zone]:.6g} (above, {_label(_label_at(model, edges[2 * zone + 1]))})"
    evidence, positions = [], set()
    for position in reading.first.tolist():
        if position in positions:
            continue
        positions.add(position)
        same = reading.first == position
        if same.all():
            evidence.append(Evidence(token=position, amount=mean, text=f"is alone: the mean is its own {mean:.6g}"))
            continue
        without = float(values[~same].mean())
        other = _label_at(model, without)
        end = "" if other == reading.label else f"; without it the label would be {_label(other)}"
        pull = mean - without
        share = f" ({int(same.sum())} of {n})" if same.sum() > 1 else ""
        evidence.append(
            Evidence(token=position, amount=pull, text=f"{share.strip()} pulls the mean by {pull:+.3g}{end}".strip())
        )
    evidence.sort(key=lambda item: (-abs(item.amount), item.token))
    return sentence, "what the token changes the mean by", tuple(evidence)


def _label_at(model: "Built", mean: float) -> Any:
    """Return the label that ramps and readout give to a mean, also to one on a ramp."""
    weights, m = model.weights, model.construction.channels.index("m")
    code = 0.0
    block = 2 if model.strategy == "hat" else 1
    for unit in range(weights.units[block], weights.units[block + 1]):
        reads = slice(weights.in_starts[unit], weights.in_starts[unit + 1])
        if (weights.in_channels[reads] != m).any():
            continue
        value = float(weights.bias[unit]) + mean * float(weights.in_weights[reads].sum())
        writes = weights.out_weights[weights.out_starts[unit] : weights.out_starts[unit + 1]]
        code += max(value, 0.0) * float(writes.sum())
    numbers = np.arange(len(model.labels))
    r = np.maximum(np.abs(code - numbers) - 0.25, 0.0)
    output = float(numbers @ (np.maximum(2 - 4 * r, 0.0) - np.maximum(1 - 4 * r, 0.0)))
    return model.labels[int(np.clip(round(output), 0, len(model.labels) - 1))]


def _of_bank(model: "Built", reading: Reading) -> tuple[str, str, tuple[Evidence, ...]]:
    """Return the tokens in a half-space or slab of the label; without any, the most frequent label remains."""
    tokens = reading.form.tokens.astype(np.float64)
    names = [model.labels[int(name[1:])] for name in model.construction.channels if name[0] == "h"]
    if "p" in model.construction.channels:
        edges, writes = trapezoids(model)
        inside = sides(_on_line(model, tokens), edges)[0] / max(np.linalg.norm(_line(model)), 1e-300)
        kind = "slab"
    else:
        U, c, writes = detectors(model, 0)
        U = U[:, : model.input_dim]
        inside = (tokens @ U.T + c) / np.linalg.norm(U, axis=1)
        kind = "half-space"
    owner = [model.labels[int(model.construction.channels[channel][1:])] for channel in writes]
    measure = f"distance to the edge of a {kind}, in the unit of the tokens; negative outside"
    if not owner:
        return f"there is no {kind}: every sequence has the label {_label(reading.label)}", measure, ()
    own_label = np.array([name == reading.label for name in owner])
    if own_label.any() and (inside[:, own_label] > 0).any():
        sentence = f"a token in a {kind} of {_label(reading.label)} decides"
        shown = np.where(own_label[None, :], inside, -np.inf)
    else:
        listed = ", ".join([_label(name) for name in names[:5]] + ["..."] * (len(names) > 5))
        sentence = f"no token is in a {kind} of {listed}"
        sentence += f": what is left is {_label(reading.label)}"
        shown = np.where(own_label[None, :], -np.inf, inside)
    best = shown.argmax(axis=1)
    amounts = shown[np.arange(len(tokens)), best]
    order = np.argsort(-amounts, kind="stable")
    evidence = []
    for i in order:
        amount, side = float(amounts[i]), "inside" if amounts[i] > 0 else "outside"
        text = f"is {abs(amount):.3g} {side} a {kind} of {_label(owner[best[i]])}"
        evidence.append(Evidence(token=int(reading.first[i]), amount=amount, text=text))
    return sentence, measure, tuple(evidence)


def _line(model: "Built") -> np.ndarray:
    line = line_of(model)
    assert line is not None
    return line[0]


def _on_line(model: "Built", tokens: np.ndarray) -> np.ndarray:
    return on_line(model, tokens.astype(model.dtype))
