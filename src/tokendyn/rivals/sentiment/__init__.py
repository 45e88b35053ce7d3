"""Text classifiers and explainers of others, and the sentiment model as published."""

from tokendyn.rivals.sentiment.contenders import HashedEmbeddings
from tokendyn.rivals.sentiment.published import PublishedHardmax

__all__ = ["HashedEmbeddings", "PublishedHardmax"]
