"""Memory that a computation would take, checked before it is taken."""

import math
import os

from tokendyn.errors import BadInputError


def machine_memory() -> float:
    """Return the memory of the machine in bytes; infinity where the system does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return math.inf


def check_memory(size: int | float, what: str, remedy: str) -> None:
    """Refuse work that needs more than half of the memory of the machine.

    Parameters
    ----------
    size
        Bytes.
    what, remedy
        The work that needs them, and a remedy for the user.

    Raises
    ------
    BadInputError
        If ``size`` is above half of the memory.
    """
    memory = machine_memory()
    if size > memory / 2:
        shown = 1e-9 * float(min(size, 10**300))  # a whole number of an option may be beyond all floats
        raise BadInputError(
            f"{what} need {shown:.3g} GB, more than half of the {1e-9 * memory:.0f} GB of this machine; {remedy}"
        )
