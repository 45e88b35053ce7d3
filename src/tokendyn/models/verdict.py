"""The verdict on a model: each sentence is a measure beside its null and with its error, or says "cannot tell"."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tokendyn.models.corpus import LEAST_TEXTS
from tokendyn.models.measures import CUTS
from tokendyn.models.nulls import ANY, LOUDEST
from tokendyn.words import counted

if TYPE_CHECKING:
    from tokendyn.models.inspection import Inspection

#: A mean counts as different from its null beyond this many standard errors.
_SURE = 2.0
#: The same for one of many heads.
_SURE_OF_MANY = 3.0
#: A difference of cosines or ranks below this is nothing to speak of, however sure.
_SMALL = 0.005
#: A layer in which leaders are predicted must beat the null by this much.
_HOLDS = 0.05
#: How the runs with pieces off are called in a sentence.
_WITHOUT = {"no attention": "without attention", "no feed-forward": "without the feed-forward part"}


def verdict(inspection: "Inspection") -> list[str]:
    """Return the sentences."""
    lines = [_what(inspection)]
    if inspection.texts < LEAST_TEXTS:
        lines += _gathering_of_few(inspection)
    else:
        lines += [*_gathering(inspection), *_layers(inspection), *_single_heads(inspection), *_direction(inspection)]
        lines += [*_clusters(inspection), *_masked(inspection)]
        lines += _motion(inspection)
    lines += [*_sinks(inspection), *_frozen(inspection), *_leaders(inspection), *_scores(inspection)]
    return lines + _ladder(inspection)


def number(value: float, digits: int = 2) -> str:
    """Return a number with some digits behind the point, and no sign of a zero."""
    text = f"{value:.{digits}f}"
    return text if float(text) else text.lstrip("-")


def measured(values: np.ndarray, inspection: "Inspection", *, percent: bool = False) -> str:
    """Return a mean over texts with its error if there is one, which sets the digits of the mean."""
    factor, least, most = (100.0, 0, 2) if percent else (1.0, 2, 4)
    unit = " %" if percent else ""
    mean, error = factor * float(values.mean()), factor * float(inspection.error(values))
    if np.isnan(error):
        return f"{number(mean, least)}{unit}"
    digits = min(max(math.ceil(-math.log10(error)), least), most) if error > 0 else least
    return f"{number(mean, digits)} ± {number(error, digits)}{unit}"


def differs(values: np.ndarray, inspection: "Inspection", least: float = _SMALL) -> bool:
    """Return whether differences that are paired over texts are surely not zero."""
    error = float(inspection.error(values))
    return not np.isnan(error) and abs(float(values.mean())) > max(_SURE * error, least)


def _what(inspection: "Inspection") -> str:
    sizes = f"{counted(inspection.layers, 'layer')} of {inspection.source} in {inspection.states.shape[2]} dimensions"
    texts = counted(inspection.texts, "text")
    return f"{sizes}; {texts} of {int(np.sum(inspection.lengths))} tokens in all"


def _others(inspection: "Inspection") -> str:
    return "the reference texts" if inspection.by_reference else "other texts"


def _gathering_of_few(inspection: "Inspection") -> list[str]:
    """Return the gathering of a few texts, beside all that it is held against, and that it has no error."""
    last = inspection.gathered()[:, -1]
    if np.isnan(last).any():
        cosine = number(float(inspection.within["model"][:, -1].mean()))
        return [
            f"Cannot tell whether tokens gather: their mean cosine in the last layer is {cosine}, and without other "
            "texts a common direction cannot be distinguished from gathering."
        ]
    beside = [f"random weights {number(float(inspection.gathered(name)[:, -1].mean()))}"
              for name in inspection.within if name == "random weights"]  # fmt: skip
    beside += [f"{words} {number(float(inspection.gathered(name)[:, -1].mean()))}"
               for name, words in _WITHOUT.items() if name in inspection.within]  # fmt: skip
    layers = _effects_of_layers(inspection)
    if layers:
        name = min(layers, key=lambda key: float(layers[key].mean()))
        left = float((last + layers[name]).mean())
        beside.append(f"without the attention of {name} {number(left)}")
    held = f" ({', '.join(beside)})" if beside else ""
    return [
        f"{counted(inspection.texts, 'text')} cannot tell what holds of other texts: the numbers below have no errors "
        f"(give {LEAST_TEXTS} texts or more).",
        f"In the last layer the mean cosine of the tokens is {number(float(last.mean()))} above tokens of "
        f"{_others(inspection)}{held}.",
    ]


def _gathering(inspection: "Inspection") -> list[str]:
    """Return whether tokens gather, and the gathering without attention and without feed-forward parts."""
    last = inspection.gathered()[:, -1]
    known = "random weights" in inspection.within
    null = inspection.gathered("random weights")[:, -1] if known else np.zeros_like(last)
    beside = f" (random weights {measured(null, inspection)})" if known else ""
    how_much = f"{measured(last, inspection)} above tokens of {_others(inspection)}{beside}"
    # Codes of positions alone push tokens of a text below those of other texts: the null is a model and not zero.
    if not differs(last - null, inspection):
        lines = [f"Cannot tell whether tokens of a text gather: in the last layer their mean cosine is {how_much}."]
    else:
        verb = "gather" if (last - null).mean() > 0 else "part"
        lines = [f"Tokens of a text {verb}: in the last layer their mean cosine is {how_much}."]
    left = [f"{words} {measured(inspection.gathered(name)[:, -1], inspection)}"
            for name, words in _WITHOUT.items() if name in inspection.within]  # fmt: skip
    if left:
        lines.append(f"Switched off in turn: {', '.join(left)}.")
    return lines


def _effects_of_layers(inspection: "Inspection") -> dict[str, np.ndarray]:
    return {name: effect for name, effect in inspection.effects.items() if name.startswith("layer ")}


def _layers(inspection: "Inspection") -> list[str]:
    """Return whose attention the gathering owes most to: surely only when it is ahead of the next layer."""
    layers = _effects_of_layers(inspection)
    if len(layers) < 2:
        return []
    first, second = sorted(layers, key=lambda name: float(layers[name].mean()))[:2]
    effect, next_effect = measured(layers[first], inspection), measured(layers[second], inspection)
    if layers[first].mean() < 0 and differs(layers[first] - layers[second], inspection):
        return [
            f"{first.capitalize()} does most: without its attention the gathering changes by {effect}; the next is "
            f"{second} with {next_effect}."
        ]
    return [
        f"Cannot tell which layer does most: without the attention of {first} the gathering changes by {effect}, "
        f"without that of {second} by {next_effect}."
    ]


def _single_heads(inspection: "Inspection") -> list[str]:
    """Return the number of single heads that matter, beside the number expected by chance."""
    from scipy.stats import t

    heads = {name: effect for name, effect in inspection.effects.items() if name.startswith("head ")}
    if not heads:
        return []
    effects = np.stack(list(heads.values()), axis=1)
    means, errors = effects.mean(axis=0), inspection.error(effects)
    sure = int((np.abs(means) > _SURE_OF_MANY * errors).sum())
    chance = len(heads) * 2 * float(t.sf(_SURE_OF_MANY, inspection.texts - 1))
    largest = list(heads)[int(np.abs(means).argmax())]
    return [
        f"{sure} of {len(heads)} single heads change the gathering by more than {_SURE_OF_MANY:.0f} standard errors "
        f"(about {number(chance, 1)} by chance); the largest is {largest} with {measured(heads[largest], inspection)}."
    ]


def _direction(inspection: "Inspection") -> list[str]:
    """Return up to where a rising mean cosine is a direction that all texts share."""
    within, across = (values["model"] for values in (inspection.within, inspection.across))
    rise, common = within - within[:, :1], across - across[:, :1]
    shared = [layer for layer in range(1, rise.shape[1])
              if rise[:, layer].mean() > 0.02 and common[:, layer].mean() > 0.5 * rise[:, layer].mean()]  # fmt: skip
    if not shared:
        return []
    layer = max(shared)
    return [
        f"Up to layer {layer} the mean cosine rises by {measured(rise[:, layer], inspection)}, that across texts by "
        f"{measured(common[:, layer], inspection)}: most of this rise is a common direction, and no gathering."
    ]


def _clusters(inspection: "Inspection") -> list[str]:
    """Return whether tokens of a text form fewer clusters than a mixed text."""
    mixed = inspection.nulls.get("clusters")
    if mixed is None or inspection.clusters is None or np.isnan(mixed[:, -1, 0]).any():
        return []
    own, null = inspection.clusters[:, -1, 0], mixed[:, -1, 0]
    numbers = (
        f"{measured(own, inspection)} clusters a token at cosine {CUTS[0]:g}, mixed texts {measured(null, inspection)}"
    )
    if not differs(own - null, inspection, least=0.0):
        return [f"Cannot tell whether tokens of a text cluster: in the last layer they form {numbers}."]
    how = "fewer" if own.mean() < null.mean() else "more"
    return [f"Tokens of a text form {how} clusters than those of mixed texts: in the last layer {numbers}."]


def _masked(inspection: "Inspection") -> list[str]:
    """Return the effect of the loudest token, beside that of a random one."""
    if LOUDEST not in inspection.own:
        return []
    own, other = inspection.own[LOUDEST], inspection.own[ANY]
    effect, null = inspection.effects[LOUDEST], inspection.effects[ANY]
    numbers = (
        f"cosine of a token to its own last state {measured(own, inspection)} against {measured(other, inspection)}, "
        f"gathering {measured(effect, inspection)} against {measured(null, inspection)}"
    )
    if not differs(own - other, inspection):
        return [f"Cannot tell whether the loudest token, masked as a key, matters more than a random one: {numbers}."]
    how = "more" if own.mean() < other.mean() else "less"
    return [f"The loudest token, masked as a key, changes the others {how} than a random one: {numbers}."]


def _sinks(inspection: "Inspection") -> list[str]:
    """Return which token drains attention, or how far the loudest keys lead."""
    lead, null = (inspection.head_measures.get(name) for name in ("lead", "lead_null"))
    if lead is None or null is None:
        return []
    leads = (
        f"in the median head the loudest key gets {number(float(np.nanmedian(lead)), 1)} times its share, "
        f"{number(float(np.nanmedian(null)), 1)} times with permuted columns"
    )
    if "sink_attention" not in inspection.head_measures:
        return [f"{leads.capitalize()}; whether it is a sink, states alone cannot tell."]
    if inspection.sinks is None or not np.any(inspection.sinks):
        return [f"No token is a sink in the first text ({leads})."]
    place = int(inspection.sinks.sum(axis=0).argmax())
    layers = int((inspection.sinks[:, place] > 0.5).sum())
    drawn, passed = (_by_text(inspection, name) for name in ("sink_attention", "sink_output"))
    where = f"in most heads of {layers} of {inspection.layers} layers" if layers else "in some heads"
    where += ", in the first text" if inspection.texts > 1 else ""  # the others have no such token at this place
    return [
        f"{inspection.tokens[place]!r} is a sink {where}: sinks get {measured(drawn, inspection, percent=True)} of the "
        f"attention and give {measured(passed, inspection, percent=True)} of the output; {leads}."
    ]


def _by_text(inspection: "Inspection", name: str) -> np.ndarray:
    """Return the mean over heads of a measure, text by text."""
    return np.asarray(np.nanmean(inspection.head_measures[name], axis=(1, 2)))


def _frozen(inspection: "Inspection") -> list[str]:
    cold, null = (inspection.head_measures.get(name) for name in ("cold", "cold_random"))
    if cold is None or np.isnan(cold).all():
        return []
    frozen = (cold > 1).sum(axis=(1, 2)).astype(np.float64)
    low, middle, high = np.nanquantile(cold, [0.25, 0.5, 0.75])
    beside = ""
    if null is not None:
        beside = f"; with random weights {number(float((null > 1).sum(axis=(1, 2)).mean()), 0)} are, median "
        beside += number(float(np.nanmedian(null)))
    error = float(inspection.error(frozen))
    count = number(float(frozen.mean()), 0 if np.isnan(error) else 1)
    count += "" if np.isnan(error) else f" ± {number(error, 1)}"
    are = "is" if count == "1" else "are"
    return [
        f"{count} of {cold[0].size} heads {are} frozen in a text (cold index above 1; quartiles of all {number(low)}, "
        f"{number(middle)}, {number(high)}{beside})."
    ]


def _leaders(inspection: "Inspection") -> list[str]:
    held, null = (inspection.head_measures.get(name) for name in ("held", "held_null"))
    if held is None or null is None or np.isnan(held).all():
        return []
    real, common = (np.nanmean(values, axis=2) for values in (held, null))  # texts, layers
    gain = real - common
    means, errors = gain.mean(axis=0), inspection.error(gain)
    if np.isnan(errors).any():
        shares = ", ".join(f"{100 * value:.0f}" for value in real.mean(axis=0)[:3])
        others = ", ".join(f"{100 * value:.0f}" for value in common.mean(axis=0)[:3])
        return [
            f"The leaders of theory, those of hardmax on the first states, are those of the heads for {shares} % of "
            f"the tokens in the first layers, the commonest key for {others} %; how long they hold is unknown."
        ]
    good = means > np.maximum(_HOLDS, _SURE * errors)
    layers = len(good) if good.all() else int(np.argmin(good))
    until = min(layers, len(good) - 1)
    beyond = f"in layer {until}" if layers < len(good) else f"in the last, layer {until},"
    return [
        f"The leaders of theory, those of hardmax on the first states, hold for {counted(layers, 'layer')}: {beyond} "
        f"they are those of the head for {measured(real[:, until], inspection, percent=True)} of the tokens, the "
        f"commonest key for {measured(common[:, until], inspection, percent=True)}."
    ]


def _scores(inspection: "Inspection") -> list[str]:
    names = ("slope", "r2", "same_top", "permuted", "commonest")
    slope, r2, top, permuted, common = (inspection.head_measures.get(name) for name in names)
    if slope is None or r2 is None or top is None or permuted is None or common is None:
        return []
    explained, slopes = (np.nanmedian(values, axis=(1, 2)) for values in (r2, slope))
    tops, others, commonest = (np.nanmean(values, axis=(1, 2)) for values in (top, permuted, common))
    return [
        f"The bilinear form of theory at the temperature of the file explains "
        f"{measured(explained, inspection, percent=True)} of the scores of the median head, with slope "
        f"{measured(slopes, inspection)}. It names the heaviest key of {measured(tops, inspection, percent=True)} of "
        f"the tokens; the commonest key is it for {measured(commonest, inspection, percent=True)}, that of another "
        f"query for {measured(others, inspection, percent=True)}."
    ]


def _motion(inspection: "Inspection") -> list[str]:
    if inspection.motion_shares is None or np.isnan(inspection.motion_shares[:, -1]).any():
        return []
    last: Any = inspection.motion_shares[:, -1]
    null = inspection.nulls.get("motion")
    beside = ""
    if null is not None:
        heads, feed = (100 * float(null[:, -1, part].mean()) for part in (0, 1))
        beside = f" (with the parts of other tokens {heads:.0f} % and {feed:.0f} %)"
    return [
        f"In the last layer heads are {measured(last[:, 0], inspection, percent=True)} of the motion and the "
        f"feed-forward part {measured(last[:, 1], inspection, percent=True)}{beside}; a share of motion is no cause."
    ]


def _ladder(inspection: "Inspection") -> list[str]:
    """Return how well attention alone ranks pairs, beside doing nothing, and the gain from each half as the last."""
    ranks = inspection.ladder_rank
    names = ("no dynamics", "attention alone", "feed-forward alone", "all = model")
    if not all(name in ranks for name in names):
        return []
    start, attention, feed, whole = (ranks[name] for name in names)
    gain = attention - start
    how = ("better" if gain.mean() > 0 else "worse") if differs(gain, inspection) else "not measurably better"
    return [
        f"Attention alone ranks the pairs of the last layer {how} than no dynamics "
        f"({measured(attention, inspection)} against {measured(start, inspection)}). The feed-forward part adds "
        f"{measured(whole - attention, inspection)} as the last piece, attention {measured(whole - feed, inspection)}."
    ]
