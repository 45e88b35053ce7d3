"""``--store``: run a command into the store, or say that the same run is there already."""

from collections.abc import Sequence

from tokendyn.cli.jobs import command, given_options
from tokendyn.cli.output import announce, write_json
from tokendyn.errors import BadInputError
from tokendyn.experiments.perform import perform
from tokendyn.experiments.sweeping import announce_older
from tokendyn.runs.index import Index
from tokendyn.runs.store import Store


def run_stored(arguments: Sequence[str], folder: str) -> int:
    """Run a command into a store.

    Parameters
    ----------
    arguments
        Words of the command line, without ``--store``.
    folder
        The store; empty for the one by default.
    """
    if any(word == "--out" or word.startswith("--out=") for word in arguments):
        raise BadInputError("--out and --store say two places; leave one of them out")
    words, options = given_options(arguments)
    if options.pop("overwrite", False):
        raise BadInputError("--overwrite does not go with --store; remove the run with tokendyn runs rm ID")
    dry, json = options.pop("dry_run", False), options.pop("json", False)
    job, store = command(words).job(options), Store(folder or None)
    run_folder = store.path(job.id)
    known = store.finished(job.id)
    if dry:
        announce(f"run {job.id}: {run_folder} " + ("is there already" if known else "would be written"))
        return 0
    if known is None and store.folder.is_dir():
        with Index(store) as index:
            index.refresh()
            announce_older(len(index.older([job.question])), store, announce)
    record, ending = perform(store.folder, job, keep_failures=False)
    with Index(store) as index:
        index.add([record])
    if json:
        write_json({"id": record.id, "status": record.status, **record.results, "out": str(run_folder)})
    if known:
        announce(f"this run is there already: {run_folder}; see tokendyn runs show {record.id}")
    else:
        for line in ending.sentences:
            announce(line)
        announce(f"run {record.id}")
    if record.status == "stopped":
        announce("its budget cut it; the same command goes on from there, with this budget or another")
    return 0 if record.status == "completed" else 1
