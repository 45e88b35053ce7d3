"""Many sets of tokens over the layers, as one result."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, Int

from tokendyn.dynamics.ragged_tokens import RaggedTokens
from tokendyn.dynamics.trajectory import Trajectory
from tokendyn.results import Paths, Result
from tokendyn.words import counted

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["completed", "diverged"]


@dataclass(frozen=True, repr=False)
class RaggedTrajectory(Result, kind="ragged-trajectory"):
    """Many sets of tokens over the layers; item i is the :class:`~tokendyn.dynamics.Trajectory` of set i.

    Attributes
    ----------
    states
        ``(states, tokens, dim)`` float64 of all sets, stacked as :attr:`offsets` says; NaN after a set diverged.
    leaders, tie_counts, tie_spreads
        ``(layers, heads, tokens)``, as in :class:`~tokendyn.dynamics.Trajectory`; leaders are numbers within the set,
        and -1 after a set diverged.
    offsets
        See :class:`RaggedTokens`.
    recorded
        ``(states,)``: the numbers of the layers after which the states stand.
    last_layers
        ``(sets,)``: the number of layers that each set went through; all of them unless it diverged.
    ends
        ``(tokens, dim)``: the tokens after the last layer that their set went through.
    doubtful
        Tokens of which a leader was decided within rounding of a tie, without proof.
    provenance
        Versions, configuration, seconds.
    """

    states: Float[np.ndarray, "states tokens dim"]
    leaders: Int[np.ndarray, "layers heads tokens"]
    tie_counts: Int[np.ndarray, "layers heads tokens"]
    tie_spreads: Float[np.ndarray, "layers heads tokens"]
    offsets: Int[np.ndarray, " sets_plus_1"]
    recorded: Int[np.ndarray, " states"]
    last_layers: Int[np.ndarray, " sets"]
    ends: Float[np.ndarray, "tokens dim"]
    doubtful: Int[np.ndarray, " doubtful"] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def statuses(self) -> tuple[Status, ...]:
        """``"completed"`` or ``"diverged"`` for each set."""
        whole = self.last_layers == self.recorded[-1]
        return tuple("completed" if each else "diverged" for each in whole.tolist())

    @property
    def status(self) -> Status:
        """``"diverged"`` when any set diverged."""
        return "completed" if (self.last_layers == self.recorded[-1]).all() else "diverged"

    @property
    def last(self) -> RaggedTokens:
        """The sets after the last layer that each went through."""
        return RaggedTokens(tokens=self.ends, offsets=self.offsets)

    def summary(self) -> dict[str, Any]:
        """Return the batch in numbers, as JSON values."""
        return {
            "status": self.status, "sets": len(self), "tokens": len(self.ends), "dim": self.ends.shape[1],
            "layers": int(self.recorded[-1]), "diverged": self.statuses.count("diverged"),
            "doubtful": len(self.doubtful),
        }  # fmt: skip

    def describe(self) -> list[str]:
        """Return the batch in a few sentences."""
        facts = self.summary()
        sets, tokens, layers = (counted(facts[f"{noun}s"], noun) for noun in ("set", "token", "layer"))
        lines = [f"{sets} of {tokens} in {counted(facts['dim'], 'dimension')}, {layers}"]
        if facts["diverged"]:
            lines.append(f"{counted(facts['diverged'], 'set')} diverged; their finite layers are kept")
        if facts["doubtful"]:
            lines.append(f"leaders of {counted(facts['doubtful'], 'token')} were decided within rounding of a tie")
        return lines

    def table(self) -> "pd.DataFrame":
        """Return one row for each set: tokens, status, layers that it went through, tokens in doubt."""
        import pandas as pd

        owners = np.searchsorted(self.offsets, self.doubtful, side="right") - 1
        return pd.DataFrame(
            {
                "set": np.arange(len(self)),
                "tokens": np.diff(self.offsets),
                "status": self.statuses,
                "layers": self.last_layers,
                "doubtful": np.bincount(owners, minlength=len(self)),
            }
        )

    def picture(self) -> Paths:
        """Return the ways of the tokens of the sets that did not diverge, coloured by their set."""
        owners = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        finite = (self.last_layers == self.recorded[-1])[owners]
        return Paths(self.states[:, finite], self.recorded, owners[finite])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[Trajectory]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Trajectory:
        first, last = self.last.span(number)
        done, own = int(self.last_layers[number]), slice(first, last)
        kept = int(np.searchsorted(self.recorded, done, side="right"))
        states, numbers = self.states[:kept, own], self.recorded[:kept]
        if numbers[-1] != done:
            states = np.concatenate([states, self.ends[None, own]])
            numbers = np.append(numbers, done)
        found = slice(0, len(numbers) - 1)
        inside = (self.doubtful >= first) & (self.doubtful < last)
        return Trajectory(
            states=states,
            leaders=self.leaders[found, :, own],
            tie_counts=self.tie_counts[found, :, own],
            tie_spreads=self.tie_spreads[found, :, own],
            labels=tuple(map(str, range(last - first))),
            status="completed" if done == self.recorded[-1] else "diverged",
            provenance=self.provenance,
            recorded=numbers,
            doubtful=self.doubtful[inside] - first,
        )
