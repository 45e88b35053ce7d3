"""The attention step: scores, hardmax and softmax weights, leaders and ties.

:func:`attend` is the one interface; its backends are the dense tiled reference
(:mod:`tokendyn.attention.dense`, torch) and the fused kernels (:mod:`tokendyn.attention.fused`, numba).
"""

from tokendyn.attention.step import AttentionStep, Head, attend, attention_weights

__all__ = ["AttentionStep", "Head", "attend", "attention_weights"]
