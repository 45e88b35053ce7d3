"""Laws of attention dynamics from neighbouring papers, one file each: system, closed form, measurement, check.

Importing this package is light; each public name is imported when it is first used.
"""

from typing import TYPE_CHECKING

from tokendyn.late import attributes_at

if TYPE_CHECKING:
    from tokendyn.studies.laws.causal import parked_on_circle, parking_density, second_token_time
    from tokendyn.studies.laws.energy import attention_energy, largest_energy
    from tokendyn.studies.laws.equiangular import equiangular_curve, equiangular_rate, equiangular_tokens
    from tokendyn.studies.laws.noise import (
        critical_noise,
        growth_rate,
        last_order,
        measured_critical_noise,
        order_loop,
        stationary_order,
        turns_abruptly,
    )
    from tokendyn.studies.laws.normalisation import angle_between, run_two_tokens, two_token_curve, two_token_rates
    from tokendyn.studies.laws.rank_collapse import collapsed_layer, cubic_exponent
    from tokendyn.studies.laws.spectrum import ValueClass, rescaled, value_class
    from tokendyn.studies.laws.staircase import measured_merging_time, merging_time
    from tokendyn.studies.laws.temperature import contraction, critical_gamma, predicted_gamma
    from tokendyn.studies.laws.trapping import trapping_time

_HOMES = {
    "parked_on_circle": "causal",
    "parking_density": "causal",
    "second_token_time": "causal",
    "attention_energy": "energy",
    "largest_energy": "energy",
    "equiangular_curve": "equiangular",
    "equiangular_rate": "equiangular",
    "equiangular_tokens": "equiangular",
    "critical_noise": "noise",
    "growth_rate": "noise",
    "last_order": "noise",
    "measured_critical_noise": "noise",
    "order_loop": "noise",
    "stationary_order": "noise",
    "turns_abruptly": "noise",
    "angle_between": "normalisation",
    "run_two_tokens": "normalisation",
    "two_token_curve": "normalisation",
    "two_token_rates": "normalisation",
    "collapsed_layer": "rank_collapse",
    "cubic_exponent": "rank_collapse",
    "ValueClass": "spectrum",
    "rescaled": "spectrum",
    "value_class": "spectrum",
    "measured_merging_time": "staircase",
    "merging_time": "staircase",
    "contraction": "temperature",
    "critical_gamma": "temperature",
    "predicted_gamma": "temperature",
    "trapping_time": "trapping",
}

__all__ = [
    "ValueClass",
    "angle_between",
    "attention_energy",
    "collapsed_layer",
    "contraction",
    "critical_gamma",
    "critical_noise",
    "cubic_exponent",
    "equiangular_curve",
    "equiangular_rate",
    "equiangular_tokens",
    "growth_rate",
    "largest_energy",
    "last_order",
    "measured_critical_noise",
    "measured_merging_time",
    "merging_time",
    "order_loop",
    "parked_on_circle",
    "parking_density",
    "predicted_gamma",
    "rescaled",
    "run_two_tokens",
    "second_token_time",
    "stationary_order",
    "trapping_time",
    "turns_abruptly",
    "two_token_curve",
    "two_token_rates",
    "value_class",
]

__getattr__ = attributes_at(__name__, _HOMES)
