"""Short texts for values that hold large arrays."""

from dataclasses import fields
from typing import Any

#: Other values are cut after this many characters.
LONGEST = 60


class ShortRepr:
    """A dataclass whose ``repr`` names type and shape of its arrays in place of their entries.

    Use with ``@dataclass(repr=False)``.
    """

    def __repr__(self) -> str:
        parts = [f"{field.name}={_short(getattr(self, field.name))}" for field in fields(self)]  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(parts)})"


def _short(value: Any) -> str:
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"<{value.dtype} {tuple(value.shape)}>"
    text = repr(value)
    return text if len(text) <= LONGEST or isinstance(value, ShortRepr) else f"{text[: LONGEST - 3]}..."
