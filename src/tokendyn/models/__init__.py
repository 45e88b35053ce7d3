"""Trained transformers as interacting particle systems: their states, their heads, and how much of them theory holds.

States and attentions come from the ``transformers`` library, which the extra ``models`` brings; every measure also
takes states that any other tool wrote. Names load when they are used.
"""

from typing import TYPE_CHECKING

from tokendyn.late import attributes_at

if TYPE_CHECKING:
    from tokendyn.models.families import Family, register_family
    from tokendyn.models.inspecting import inspect
    from tokendyn.models.inspection import Inspection
    from tokendyn.models.parts import HeadMatrices, Norm
    from tokendyn.models.reading_heads import HeadTable, head_table
    from tokendyn.models.source import Encoded, Model, open_model
    from tokendyn.models.tracing import Ablation, LayerView
    from tokendyn.models.weights import head_weights

_HOMES = {
    "Ablation": "tokendyn.models.tracing",
    "Encoded": "tokendyn.models.source",
    "Family": "tokendyn.models.families",
    "HeadMatrices": "tokendyn.models.parts",
    "HeadTable": "tokendyn.models.reading_heads",
    "Inspection": "tokendyn.models.inspection",
    "LayerView": "tokendyn.models.tracing",
    "Model": "tokendyn.models.source",
    "Norm": "tokendyn.models.parts",
    "head_table": "tokendyn.models.reading_heads",
    "head_weights": "tokendyn.models.weights",
    "inspect": "tokendyn.models.inspecting",
    "open_model": "tokendyn.models.source",
    "register_family": "tokendyn.models.families",
}

__all__ = [
    "Ablation",
    "Encoded",
    "Family",
    "HeadMatrices",
    "HeadTable",
    "Inspection",
    "LayerView",
    "Model",
    "Norm",
    "head_table",
    "head_weights",
    "inspect",
    "open_model",
    "register_family",
]

__getattr__ = attributes_at(__name__, _HOMES)
