"""The claims of the sources as checks that can fail: a number is measured now, against a bound stated beforehand.

Importing this package is light; each public name is imported when it is first used.
"""

from typing import TYPE_CHECKING

from tokendyn.late import attributes_at

if TYPE_CHECKING:
    from tokendyn.studies.claims.claim import Bound, Claim, Finding, Outcome, judge
    from tokendyn.studies.claims.page import write_outcomes
    from tokendyn.studies.claims.registry import all_claims, chosen_claims

_HOME = {
    "Bound": "claim",
    "Claim": "claim",
    "Finding": "claim",
    "Outcome": "claim",
    "judge": "claim",
    "write_outcomes": "page",
    "all_claims": "registry",
    "chosen_claims": "registry",
}

__all__ = ["Bound", "Claim", "Finding", "Outcome", "all_claims", "chosen_claims", "judge", "write_outcomes"]

__getattr__ = attributes_at(__name__, _HOME)
