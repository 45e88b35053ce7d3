"""All claims, in the order of the sources."""

from collections.abc import Sequence

from tokendyn.errors import BadInputError, nearest
from tokendyn.studies.claims import clustering, exact, field, forecast, meanfield, sentiment
from tokendyn.studies.claims.claim import Claim


def all_claims() -> tuple[Claim, ...]:
    """Return every claim."""
    groups = (clustering, sentiment, meanfield, exact, forecast, field)
    return tuple(claim for group in groups for claim in group.CLAIMS)


def chosen_claims(names: Sequence[str]) -> tuple[Claim, ...]:
    """Return the claims of some names: an id such as ``exact.blocks``, or a group such as ``exact``; none for all.

    Raises
    ------
    BadInputError
        For a name that is neither; the message says which are near.
    """
    claims = all_claims()
    ids = [claim.id for claim in claims]
    groups = sorted({name.split(".")[0] for name in ids})
    problems = []
    for name in names:
        if name not in ids and name not in groups:
            near = nearest(name, [*ids, *groups])
            # A near name says enough; without one, the groups are few and their claims many.
            rest = f"did you mean {near}?" if near else f"there are the groups {', '.join(groups)}, and their claims"
            problems.append(f"there is no claim {name!r}; {rest}")
    if problems:
        raise BadInputError.all_of("claims", problems)
    wanted = set(names)
    return tuple(claim for claim in claims if not names or {claim.id, claim.id.split(".")[0]} & wanted)
