"""The verdict on a model: each sentence is a measure beside its null and with its error, or says "cannot tell"."""

from typing import TYPE_CHECKING, Any

import numpy as np

from tokendyn.models.corpus import LEAST_TEXTS
from tokendyn.words import counted

if TYPE_CHECKING:
    from tokendyn.models.inspection import Inspection

#: A mean counts as different from its null beyond this many standard errors.
_SURE = 2.0
#: A difference of cosines or ranks below this is nothing to speak of, however sure.
_SMALL = 0.005
#: A layer in which leaders are predicted must beat the null by this much.
_HOLDS = 0.05


def verdict(inspection: "Inspection") -> list[str]:
    """Return the sentences."""
    lines = [_what(inspection), *_gathering(inspection), *_direction(inspection), *_sinks(inspection)]
    lines += [*_frozen(inspection), *_leaders(inspection), *_scores(inspection), *_motion(inspection)]
    return lines + _ladder(inspection)


def number(value: float) -> str:
    """Return a number with two digits behind the point."""
    return f"{value:.2f}"


def measured(values: np.ndarray, inspection: "Inspection") -> str:
    """Return a mean over texts with its error where there is one."""
    error = inspection.error(values)
    return number(float(values.mean())) + ("" if np.isnan(error) else f" ± {number(float(error))}")


def _what(inspection: "Inspection") -> str:
    sizes = f"{counted(inspection.layers, 'layer')}, {inspection.states.shape[2]} dimensions"
    texts = counted(inspection.texts, "text")
    return f"{inspection.source}: {sizes}; {texts} of {int(np.sum(inspection.lengths))} tokens in all"


def _gathering(inspection: "Inspection") -> list[str]:
    """Return whether tokens gather, and what makes them."""
    last = inspection.gathered()[:, -1]
    error = inspection.error(last)
    if np.isnan(last).any():
        cosine = number(float(inspection.within["model"][:, -1].mean()))
        return [
            f"Cannot tell whether tokens gather: their mean cosine in the last layer is {cosine}, and without other "
            "texts a common direction cannot be told from gathering."
        ]
    others = "of the reference texts" if inspection.by_reference else "of other texts"
    null = (
        inspection.gathered("random weights")[:, -1] if "random weights" in inspection.within else np.zeros_like(last)
    )
    beside = f" (random weights {number(float(null.mean()))})" if "random weights" in inspection.within else ""
    # Codes of positions alone push tokens of a text below those of other texts: the null is a model and not zero.
    excess = last - null
    how_much = f"{measured(last, inspection)} above tokens {others}{beside}"
    if np.isnan(error):
        lines = [
            f"Whether tokens of a text gather in general, {inspection.texts} text(s) cannot tell (give "
            f"{LEAST_TEXTS} or more): here their mean cosine in the last layer is {how_much}."
        ]
    elif abs(excess.mean()) < max(_SURE * float(inspection.error(excess)), _SMALL):
        lines = [f"Cannot tell whether tokens of a text gather: in the last layer their mean cosine is {how_much}."]
    else:
        verb = "gather" if excess.mean() > 0 else "part"
        lines = [f"Tokens of a text {verb}: in the last layer their mean cosine is {how_much}."]
    for name, part in (("no attention", "Attention"), ("no feed-forward", "The feed-forward part")):
        if name in inspection.within:
            lines.append(f"{part} switched off leaves {measured(inspection.gathered(name)[:, -1], inspection)}.")
    layers = {name: effect for name, effect in inspection.effects.items() if name.startswith("layer ")}
    if layers:
        name = min(layers, key=lambda key: float(layers[key].mean()))
        effect, error = layers[name], inspection.error(layers[name])
        change = f"without its attention the gathering changes by {measured(effect, inspection)}"
        sure = not np.isnan(error) and effect.mean() < -_SURE * error
        lines.append(f"{name.capitalize()} does most: {change}." if sure else
                     f"Cannot tell which layer does most: {change} for {name}.")  # fmt: skip
    return lines


def _direction(inspection: "Inspection") -> list[str]:
    """Return up to where a rising mean cosine is a direction that all texts share."""
    if np.isnan(inspection.across["model"]).any():
        return []
    within, across = (values["model"].mean(axis=0) for values in (inspection.within, inspection.across))
    rise, common = within - within[0], across - across[0]
    shared = [layer for layer in range(1, len(rise)) if rise[layer] > 0.02 and common[layer] > 0.5 * rise[layer]]
    if not shared:
        return []
    layer = max(shared)
    return [
        f"The mean cosine rises from {number(within[0])} to {number(within[layer])} up to layer {layer}, that across "
        f"texts from {number(across[0])} to {number(across[layer])}: most of this rise is a common direction."
    ]


def _sinks(inspection: "Inspection") -> list[str]:
    """Return which token drains attention."""
    if inspection.sinks is None or not np.any(inspection.sinks):
        return []
    place = int(inspection.sinks.sum(axis=0).argmax())
    layers = int((inspection.sinks[:, place] > 0.5).sum())
    drawn, passed = (_mean(inspection, name) for name in ("sink_attention", "sink_output"))
    where = f"in most heads of {layers} of {inspection.layers} layers" if layers else "in some heads"
    return [
        f"{inspection.tokens[place]!r} is a sink {where}; sinks get {100 * drawn:.0f} % of the attention and give "
        f"{100 * passed:.0f} % of the output."
    ]


def _mean(inspection: "Inspection", name: str) -> float:
    return float(np.nanmean(inspection.head_measures[name]))


def _frozen(inspection: "Inspection") -> list[str]:
    cold = inspection.head_measures.get("cold")
    if cold is None or np.isnan(cold).all():
        return []
    heads: Any = np.nanmean(cold, axis=0)
    low, middle, high = np.nanquantile(heads, [0.25, 0.5, 0.75])
    return [
        f"{int((heads > 1).sum())} of {heads.size} heads are frozen (cold index above 1; quartiles {number(low)}, "
        f"{number(middle)}, {number(high)}; random weights are near 0)."
    ]


def _leaders(inspection: "Inspection") -> list[str]:
    held, null = (inspection.head_measures.get(name) for name in ("held", "held_null"))
    if held is None or null is None:
        return []
    gain = np.nanmean(held - null, axis=2)  # texts, layers
    means, errors = gain.mean(axis=0), inspection.error(gain)
    if np.isnan(errors).any():
        return [f"How long the leaders of theory hold, {inspection.texts} text(s) cannot tell."]
    good = means > np.maximum(_HOLDS, _SURE * errors)
    layers = len(good) if good.all() else int(np.argmin(good))
    by_layer = np.nanmean(held, axis=(0, 2))
    until = min(layers, len(by_layer) - 1)
    return [
        f"The leaders of theory, those of hardmax on the first states, hold for {counted(layers, 'layer')}: in layer "
        f"{until} they are those of the head for {100 * by_layer[until]:.0f} % of the tokens, the commonest key for "
        f"{100 * float(np.nanmean(null, axis=(0, 2))[until]):.0f} %."
    ]


def _scores(inspection: "Inspection") -> list[str]:
    slope, r2 = (inspection.head_measures.get(name) for name in ("slope", "r2"))
    if slope is None or r2 is None:
        return []
    return [
        f"The bilinear form of theory at the temperature of the file explains {100 * float(np.nanmedian(r2)):.0f} % of "
        f"the scores of the median head, with slope {number(float(np.nanmedian(slope)))}."
    ]


def _motion(inspection: "Inspection") -> list[str]:
    if inspection.motion_shares is None:
        return []
    last = inspection.motion_shares[:, -1].mean(axis=0)
    return [
        f"In the last layer heads are {100 * last[0]:.0f} % of the motion and the feed-forward part "
        f"{100 * last[1]:.0f} %; a share of motion is no cause."
    ]


def _ladder(inspection: "Inspection") -> list[str]:
    """Return how well attention alone ranks pairs, beside doing nothing, and what each half adds as the last one."""
    ranks = inspection.ladder_rank
    names = ("no dynamics", "attention alone", "feed-forward alone", "all = model")
    if not all(name in ranks for name in names):
        return []
    start, attention, feed, whole = (ranks[name] for name in names)
    gain = attention - start
    error = inspection.error(gain)
    sure = not np.isnan(error) and abs(gain.mean()) > max(_SURE * float(error), _SMALL)
    how = ("better" if gain.mean() > 0 else "worse") if sure else "not measurably better"
    return [
        f"Attention alone ranks the pairs of the last layer {how} than no dynamics "
        f"({measured(attention, inspection)} against {measured(start, inspection)}). The feed-forward part adds "
        f"{measured(whole - attention, inspection)} as the last piece, attention {measured(whole - feed, inspection)}."
    ]
