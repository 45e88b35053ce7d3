"""``tokendyn explore``: one page to play with tokens, hardmax and softmax side by side."""

import webbrowser
from pathlib import Path

from tokendyn.cli.output import announce, write_json
from tokendyn.cli.values import announce_names
from tokendyn.data.explored import Explored, explored_from, read_bounded_json
from tokendyn.errors import BadInputError
from tokendyn.runs.files import check_free
from tokendyn.show.explorer import write_explorer

#: Name of the user's own start among the presets.
OWN = "given"


def explore(
    source: Path | None = None,
    /,
    *,
    out: Path | None = None,
    preset: str = "emerging-leader",
    layer: int | None = None,
    head: int | None = None,
    overwrite: bool = False,
    no_open: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Write one HTML page in which tokens are dragged and parameters set, and open it; it needs no network.

    Parameters
    ----------
    source
        What to start with: a run folder of simulate, a file of tokens in the plane, JSON that the page saved, a link
        that it copied, JSON from sentiment explain --json, or hidden states of a model with --layer.
    out
        HTML file to write, by default explorer.html.
    preset
        Without a source: the configuration to start with.
    layer
        The source holds hidden states, or is a folder of inspect: show the words as they enter this layer, from 0.
    head
        With --layer: the scores of this head, from 0, from its attention in the file.
    overwrite
        Replace the file when it exists.
    no_open
        Do not open the page in the browser.
    dry_run
        Check the input, say what would be done, and stop.
    json
        Write the page's path and the names of its presets as one JSON object to standard output.
    """
    from tokendyn.particles.presets import presets

    offered = presets()
    if source is None and preset not in offered:
        raise BadInputError(f"no preset {preset!r}; there are {', '.join(offered)}")
    if layer is None and head is not None:
        raise BadInputError("`head` needs `layer`: the layer that the head is in")
    if layer is not None and source is None:
        raise BadInputError("`layer` needs a file of hidden states, or a folder of inspect")
    chosen = preset
    if source is not None:
        given = _given(source) if layer is None else _words(source, layer, head)
        offered, chosen = {OWN: given, **offered}, OWN
    target = out or Path("explorer.html")
    check_free(target, overwrite=overwrite)
    if dry_run:
        announce(f"would write {target}, beginning with {chosen}")
        return 0
    write_explorer({name: preset.to_dict() for name, preset in offered.items()}, chosen, target, own=(OWN,))
    if json:
        write_json({"out": str(target), "presets": list(offered), "chosen": chosen})
    announce(f"wrote {target}")
    if not no_open:
        webbrowser.open(target.resolve().as_uri())
    return 0


def _given(source: Path) -> Explored:
    """Return the user's start as settings of the explorer."""
    from tokendyn.data.tokens import read_tokens
    from tokendyn.particles.explored import explored_run
    from tokendyn.particles.links import is_link, read_link
    from tokendyn.particles.report import load_run

    if is_link(source):
        return read_link(source)
    if source.is_dir():
        run, title, _ = load_run(source)
        return explored_run(run, title)
    if source.suffix.lower() == ".json":
        record = read_bounded_json(source)
        if (
            isinstance(record, dict)
            and record.get("schema") in (None, "tokendyn-explanation")
            and "contributions" in record
        ):
            if "explorer" not in record:
                raise BadInputError(
                    f"{source} explains a text, but holds no tokens in the plane; write it with sentiment explain "
                    "--json and a model of two coordinates"
                )
            record = record["explorer"]
        return explored_from(record, str(source))
    table = read_tokens(source)
    announce_names(table)
    return Explored(table.tokens, labels=table.labels, title=source.name, note="Tokens of a file.")


def _words(source: Path, layer: int, head: int | None) -> Explored:
    """Return the words of a text as a trained model holds them in one layer."""
    from tokendyn.data.states import HiddenStates, read_states
    from tokendyn.particles.states_in_plane import explored_states

    if not source.is_dir():
        return explored_states(read_states(source), layer, head)
    from tokendyn.loading import load

    seen = load(source)
    if not (hasattr(seen, "states") and hasattr(seen, "tokens")):
        raise BadInputError(f"{source} is no folder of inspect; give one, or a file of hidden states")
    return explored_states(HiddenStates(seen.states, tuple(seen.tokens), source.name), layer, head)
