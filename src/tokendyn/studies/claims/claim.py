"""What a claim is, and how a verdict on it comes about: numbers that are computed now against bounds stated before."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
from matplotlib.figure import Figure

from tokendyn.errors import TokendynError

Profile = Literal["quick", "full"]
PROFILES: tuple[Profile, ...] = ("quick", "full")
Verdict = Literal["holds", "falls short", "not testable"]


@dataclass(frozen=True)
class Bound:
    """What a measured number must satisfy for the claim to hold.

    Attributes
    ----------
    relation
        ``"<="`` or ``">="``.
    limit
        The bound itself, stated with the claim.
    """

    relation: Literal["<=", ">="]
    limit: float

    def met(self, value: float) -> bool:
        """Return whether a value satisfies the bound; NaN never does."""
        # A NumPy number would give a NumPy truth value, which JSON does not take.
        return bool(value <= self.limit if self.relation == "<=" else value >= self.limit)

    def __str__(self) -> str:
        return f"{self.relation} {self.limit:g}"


def at_most(limit: float) -> Bound:
    """Return the bound ``<= limit``."""
    return Bound("<=", limit)


def at_least(limit: float) -> Bound:
    """Return the bound ``>= limit``."""
    return Bound(">=", limit)


@dataclass(frozen=True)
class Finding:
    """What a check measured.

    Attributes
    ----------
    values
        One number for each name that the claim bounds; a name that is missing cannot be measured here.
    table
        The single measurements, one row each.
    figure
        A picture of them.
    remark
        Notes on the numbers: their data, or the reason for a missing one.
    """

    values: Mapping[str, float]
    table: pd.DataFrame
    figure: Figure | None = None
    remark: str = ""


@dataclass(frozen=True)
class Claim:
    """A statement of a source, and the check that can refute it.

    Attributes
    ----------
    id
        Such as ``exact.blocks``.
    statement, source
        What is claimed, in our words, and where.
    how
        What is measured.
    bounds
        For each number its bound.
    check
        Callable from the profile and a seed to the measurements.
    """

    id: str
    statement: str
    source: str
    how: str
    bounds: Mapping[str, Bound]
    check: Callable[[Profile, int], Finding]


@dataclass(frozen=True)
class Outcome:
    """A claim with its measurements and the verdict; ``failure`` is the error that ended the check, if one did."""

    claim: Claim
    finding: Finding
    seconds: float
    profile: Profile
    seed: int
    failure: str = ""

    @property
    def verdict(self) -> Verdict:
        """``holds`` if every number meets its bound, ``not testable`` if one could not be measured."""
        measured = self.finding.values
        if any(not bound.met(measured[name]) for name, bound in self.claim.bounds.items() if name in measured):
            return "falls short"
        if self.failure or set(self.claim.bounds) - set(measured):
            return "not testable"
        return "holds"

    def measurements(self) -> list[dict[str, Any]]:
        """Return name, value, bound and whether it is met, for each number of the claim."""
        rows = []
        for name, bound in self.claim.bounds.items():
            value = self.finding.values.get(name, math.nan)
            holds = bound.met(value) if name in self.finding.values else None
            rows.append({"measured": name, "value": value, "bound": str(bound), "met": holds})
        return rows

    def record(self) -> dict[str, Any]:
        """Return the outcome as JSON values."""
        measured = [
            row | {"value": row["value"] if math.isfinite(row["value"]) else str(row["value"])}
            for row in self.measurements()
        ]
        return {
            "id": self.claim.id,
            "statement": self.claim.statement,
            "source": self.claim.source,
            "how": self.claim.how,
            "verdict": self.verdict,
            "measured": measured,
            "remark": self.finding.remark,
            "failure": self.failure,
            "figure": self.finding.figure is not None,
            "profile": self.profile,
            "seed": self.seed,
            "seconds": round(self.seconds, 2),
        }


def judge(claim: Claim, profile: Profile, seed: int) -> Outcome:
    """Run the check of a claim and return the outcome, with processor seconds.

    A check that ends in an error of ours leaves the claim not testable, and the outcome says why.
    """
    began, failure = time.process_time(), ""
    try:
        finding = claim.check(profile, seed)
    except TokendynError as error:
        finding, failure = Finding({}, pd.DataFrame()), str(error)
    return Outcome(
        claim=claim,
        finding=finding,
        seconds=time.process_time() - began,
        profile=profile,
        seed=seed,
        failure=failure,
    )
