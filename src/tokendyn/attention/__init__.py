"""The attention step: scores, hardmax and softmax weights, leaders and ties.

:func:`attend` is the one interface; :mod:`tokendyn.attention.dispatch` chooses what computes it, and says why.
"""

from tokendyn.attention.head import Head
from tokendyn.attention.problem import Choice
from tokendyn.attention.step import AttentionStep, attend, attention_weights, softmax_weights

__all__ = ["AttentionStep", "Choice", "Head", "attend", "attention_weights", "softmax_weights"]
