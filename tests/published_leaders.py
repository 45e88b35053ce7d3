"""The classifier of transfer 1, with the settings that its tests pin."""

from typing import Any

from tokendyn.sentiment import LeaderClassifier

SETTINGS = {"transfer": 1.0, "ngrams": 1, "active_words": 8000}


def published(**parameters: Any) -> LeaderClassifier:
    """Return the model in which leaders decide: words alone, unless told otherwise."""
    return LeaderClassifier(**(SETTINGS | parameters))
