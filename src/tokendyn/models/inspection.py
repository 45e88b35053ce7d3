"""What an inspection of a trained model returns: tables of layers and heads, a verdict with nulls, figures, a page."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from tokendyn.errors import BadInputError
from tokendyn.late import function_at
from tokendyn.metrics.geometry import standard_error
from tokendyn.models.corpus import LEAST_TEXTS
from tokendyn.models.measures import CUTS
from tokendyn.models.motion import PARTS
from tokendyn.results import Curves, Result
from tokendyn.results.files import write_into
from tokendyn.runs.files import new_folder, write_tensors

if TYPE_CHECKING:
    import pandas as pd

    from tokendyn.show.report import Report

_verdict = function_at("tokendyn.models.verdict:verdict")
_page = function_at("tokendyn.models.page:inspection_page")


@dataclass(frozen=True)
class Inspection(Result, kind="inspection"):
    """A trained model seen as an interacting particle system.

    Arrays have one row for each text; errors are over texts, since heads and tokens of a model are not independent.

    Attributes
    ----------
    source
        The model, or the file of states.
    family
        Which family of models its parts were read as; empty where none is known.
    tokens
        Tokens of the first text.
    lengths
        How many tokens each text has.
    states
        ``(layers + 1, tokens, dim)`` of the first text.
    within, across
        For the model and each run with pieces off ``(texts, layers + 1)``: mean cosine of the pairs of one text, and of
        its tokens with those of other texts. The first token is left out.
    rank, clusters
        Effective rank ``(texts, layers + 1)`` and clusters at two cosines ``(texts, layers + 1, 2)``, over tokens.
    head_measures
        By name ``(texts, layers, heads)``.
    received, sinks
        ``(layers, tokens)`` of the first text: attention received over uniform, and share of heads with a sink there.
    motion_shares
        ``(texts, layers, 4)`` of heads, feed-forward part, biases and norm.
    motion_error
        Largest error of the split.
    effects
        By the name of an ablation ``(texts,)``: change of the gathering in the last layer.
    own
        The same: mean cosine of a token to its own last state.
    ladder_rank, ladder_gathering
        By the name of a rung ``(texts,)``: Spearman correlation of the pairwise cosines with the real ones of the last
        layer, and gathering there; NaN for few texts.
    nulls
        What ``rank``, ``clusters`` and ``motion_shares`` are held against, by these names less ``_shares``: random
        weights, a mixed text of as many tokens of all texts, and the parts of permuted tokens.
    by_reference
        Whether the other texts are the reference texts that ship with the library.
    head_weights
        By name one value a head, of :func:`tokendyn.models.weights.head_weights`; empty unless requested.
    notes
        Notes to read before relying on the result.
    provenance
        Versions, machine kind, wall time.
    """

    source: str
    family: str
    tokens: tuple[str, ...]
    lengths: tuple[int, ...]
    states: Float[np.ndarray, "layers_and_one tokens dim"]
    within: Mapping[str, Any]
    across: Mapping[str, Any]
    rank: Any = None
    clusters: Any = None
    head_measures: Mapping[str, Any] = field(default_factory=dict)
    received: Any = None
    sinks: Any = None
    motion_shares: Any = None
    motion_error: float = 0.0
    effects: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Any] = field(default_factory=dict)
    ladder_rank: Mapping[str, Any] = field(default_factory=dict)
    ladder_gathering: Mapping[str, Any] = field(default_factory=dict)
    nulls: Mapping[str, Any] = field(default_factory=dict)
    by_reference: bool = False
    head_weights: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """``"completed"``."""
        return "completed"

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self.states) - 1

    @property
    def texts(self) -> int:
        """Number of texts."""
        return len(self.lengths)

    def gathered(self, name: str = "model") -> Float[np.ndarray, "texts layers_and_one"]:
        """Return the gathering of each text in each layer: mean cosine inside the text less that across texts.

        Parameters
        ----------
        name
            ``"model"``, or a run with pieces off such as ``"no attention"``.

        Raises
        ------
        BadInputError
            For a run that was not made.
        """
        if name not in self.within:
            raise BadInputError(f"name is {name!r}, expected one of {', '.join(self.within)}")
        return np.asarray(self.within[name] - self.across[name])

    def error(self, values: Float[np.ndarray, " *texts"]) -> Any:
        """Return the standard error of a mean over texts; NaN for fewer than eight texts."""
        return standard_error(values) if len(values) >= LEAST_TEXTS else np.full(values.shape[1:], np.nan)[()]

    @property
    def geometry(self) -> "pd.DataFrame":
        """One row a layer: gathering of the model and of each run with pieces off, cosines, rank, clusters."""
        import pandas as pd

        columns: dict[str, Any] = {"layer": np.arange(self.layers + 1)}
        for name in self.within:
            gathered = self.gathered(name)
            key = "gathering" if name == "model" else f"gathering, {name}"
            columns |= {key: gathered.mean(axis=0), f"{key}, error": self.error(gathered)}
        columns |= {"cosine": self.within["model"].mean(axis=0), "cosine across": self.across["model"].mean(axis=0)}
        if self.rank is not None:
            columns["rank / tokens"] = self.rank.mean(axis=0)
        if "rank" in self.nulls:
            columns["rank / tokens, random weights"] = self.nulls["rank"].mean(axis=0)
        if self.clusters is not None:
            counts = self.clusters.mean(axis=0)
            mixed = self.nulls.get("clusters")
            for k, cut in enumerate(CUTS):
                columns[f"clusters / tokens at {cut:g}"] = counts[:, k]
                if mixed is not None:
                    columns[f"clusters / tokens at {cut:g}, mixed texts"] = mixed[:, :, k].mean(axis=0)
        return pd.DataFrame(columns)

    @property
    def heads(self) -> "pd.DataFrame":
        """One row a head: the means over texts of its measures; its effect on gathering where it was switched off."""
        import pandas as pd

        if not self.head_measures:
            return pd.DataFrame(columns=["layer", "head"])
        layers, heads = next(iter(self.head_measures.values())).shape[1:]
        rows = np.indices((layers, heads)).reshape(2, -1)
        columns: dict[str, Any] = {"layer": rows[0], "head": rows[1]}
        columns |= {name: values.mean(axis=0).ravel() for name, values in self.head_measures.items()}
        effects = [self.effects.get(f"head {layer}.{head}") for layer, head in rows.T]
        if all(effect is not None for effect in effects):
            known = np.stack([effect for effect in effects if effect is not None], axis=1)
            columns |= {"effect": known.mean(axis=0), "effect, error": self.error(known)}
        return pd.DataFrame(columns)

    @property
    def weights(self) -> "pd.DataFrame":
        """One row for each head: properties of its weights; see :func:`tokendyn.models.weights.head_weights`."""
        import pandas as pd

        return pd.DataFrame(dict(self.head_weights)) if self.head_weights else pd.DataFrame(columns=["layer", "head"])

    def leaders(self, layer: int) -> "pd.DataFrame":
        """Return the tokens of the first text by the attention that they receive in a layer.

        Parameters
        ----------
        layer
            From 0.

        Raises
        ------
        BadInputError
            For a layer that is not there, or states without attention.
        """
        import pandas as pd

        if self.received is None:
            raise BadInputError(f"{self.source} has no attention; leaders need it")
        if not 0 <= layer < self.layers:
            raise BadInputError(f"layer is {layer}, expected 0 to {self.layers - 1}")
        table = pd.DataFrame(
            {
                "place": np.arange(len(self.tokens)), "token": self.tokens, "received": self.received[layer],
                "sink": self.sinks[layer],
            }
        )  # fmt: skip
        return table.sort_values("received", ascending=False, ignore_index=True)

    @property
    def motion(self) -> "pd.DataFrame":
        """One row a layer: the share of each part in the motion, with its error."""
        import pandas as pd

        if self.motion_shares is None:
            return pd.DataFrame(columns=["layer", *PARTS])
        means, errors = self.motion_shares.mean(axis=0), self.error(self.motion_shares)
        columns: dict[str, Any] = {"layer": np.arange(len(means))}
        for number, part in enumerate(PARTS):
            columns |= {part: means[:, number], f"{part}, error": errors[:, number]}
            if "motion" in self.nulls:
                columns[f"{part}, permuted"] = self.nulls["motion"][:, :, number].mean(axis=0)
        return pd.DataFrame(columns)

    @property
    def ablations(self) -> "pd.DataFrame":
        """One row an ablation: the change of the gathering in the last layer, and the cosine to the own last state."""
        import pandas as pd

        rows = [
            {
                "off": name, "effect": float(effect.mean()), "error": float(self.error(effect)),
                "own cosine": float(self.own[name].mean()),
            }
            for name, effect in self.effects.items()
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=["off", "effect", "error", "own cosine"])

    @property
    def ladder(self) -> "pd.DataFrame":
        """One row a rung: pieces of the model that are on, and how the last layer of the real model follows."""
        import pandas as pd

        rows = [
            {
                "pieces": name, "rank correlation": float(np.nanmean(ranks)), "error": float(self.error(ranks)),
                "gathering": float(self.ladder_gathering[name].mean()),
            }
            for name, ranks in self.ladder_rank.items()
            if np.isfinite(ranks).any()
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=["pieces", "rank correlation", "error", "gathering"])

    def summary(self) -> dict[str, Any]:
        """Return the inspection in numbers and words."""
        last = self.gathered()[:, -1]
        facts: dict[str, Any] = {"status": self.status, "source": self.source, "family": self.family}
        facts |= {"layers": self.layers, "texts": self.texts, "tokens": int(np.sum(self.lengths))}
        facts |= {"gathering": float(last.mean()), "error": float(self.error(last))}
        return {**facts, "notes": list(self.notes)}

    def describe(self) -> list[str]:
        """Return the verdict: each sentence is a measure beside its null, or says that it cannot tell."""
        sentences: list[str] = _verdict(self)
        return [*sentences, *(f"note: {note}" for note in self.notes)]

    def table(self) -> "pd.DataFrame":
        """Return :attr:`geometry`."""
        return self.geometry

    def picture(self) -> Curves:
        """Return the gathering by layer, of the model and of the runs with pieces off."""
        curves = {name: self.gathered(name).mean(axis=0) for name in self.within}
        bands = {}
        for name in self.within if self.texts >= LEAST_TEXTS else ():
            error = 2 * self.error(self.gathered(name))
            bands[name] = (curves[name] - error, curves[name] + error)
        curves["cosine across texts"] = self.across["model"].mean(axis=0)
        return Curves(x=np.arange(self.layers + 1), curves=curves, xlabel="layer", ylabel="gathering", bands=bands)

    def page(self, pictures: Path, *, title: str = "", command: str = "") -> "Report":
        """Return the page with the five figures, the verdict and the table of heads."""
        report: Report = _page(self, title=title or f"{self.source} as a particle system", command=command)
        return report

    def save(self, folder: str | Path, *, command: str = "", overwrite: bool = False) -> None:
        """Write the inspection: ``result.json``, ``states.safetensors``, ``heads.csv`` and ``report.html``.

        Parameters
        ----------
        folder
            Folder to write; it appears only when it is complete; ``tokendyn.load(folder)`` reads it.
        command
            Command that repeats it, for the record.
        overwrite
            Replace an existing folder.

        Raises
        ------
        OutputError
            If the folder exists and ``overwrite`` is not set, or cannot be written.
        """
        from tokendyn.show import write_report

        with new_folder(folder, overwrite=overwrite) as temporary:
            write_into(self, temporary, command=command)
            write_tensors(temporary / "states.safetensors", {"states": self.states})
            self.heads.to_csv(temporary / "heads.csv", index=False)
            if self.head_weights:
                self.weights.to_csv(temporary / "weights.csv", index=False)
            write_report(self.page(temporary, command=command), temporary / "report.html")
