"""The result of building a transformer: the transformer with its certificate."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokendyn.results.face import Numbers

if TYPE_CHECKING:
    import pandas as pd

    from tokendyn.exact.transformer import ExactTransformer


@dataclass(frozen=True, kw_only=True)
class BuiltModel(Numbers):
    """A transformer that was just built and verified.

    Attributes
    ----------
    model
        The transformer: ``predict``, ``explain``, ``certificate``, ``save``.
    seconds
        Wall time of building and verifying.
    """

    model: "ExactTransformer"
    seconds: float

    def summary(self) -> dict[str, Any]:
        """Return the sizes of the transformer and its certificate."""
        return {**asdict(self.model.stats), "certificate": self.model.certificate.to_dict()}

    def describe(self) -> list[str]:
        """Return sentences about blocks, weights, questions and the verification."""
        stats = self.model.stats
        if not self.model.construction.bitwise:
            return [
                f"{stats.strategy}: {stats.blocks} blocks; all {stats.sequences} sequences have their label after "
                "rounding"
            ]
        return [
            f"{stats.strategy}: {stats.blocks} blocks of width {stats.width}, {stats.nonzeros} nonzero weights, "
            f"{stats.queries} questions; all {stats.sequences} sequences have their label, to the last bit"
        ]

    def table(self) -> "pd.DataFrame":
        """Return the sizes of the transformer as one row."""
        import pandas as pd

        return pd.DataFrame([asdict(self.model.stats)])

    def save(self, folder: str | Path, *, command: str = "", overwrite: bool = False) -> None:
        """Write the transformer as a model folder; :func:`tokendyn.load` returns it."""
        from tokendyn.exact.store import save

        save(self.model, folder, overwrite=overwrite, command=command, seconds=self.seconds)
