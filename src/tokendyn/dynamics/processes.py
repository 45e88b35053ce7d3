"""A hardmax run over several processes of this machine, started here; ``python -m`` of this module is one of them."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tokendyn.attention import Head
from tokendyn.attention.checks import as_weights
from tokendyn.dynamics.freeze import Following
from tokendyn.dynamics.layers import Layer
from tokendyn.dynamics.sharded import ShardedRun, run_sharded
from tokendyn.errors import BadInputError

_FIELDS = ("state", "previous", "leaders", "tie_counts", "tie_spreads", "since", "doubtful", "keys_sent")
_FOLLOWING = ("leaders", "tie_counts", "tie_spreads")
_MATRICES = ("score", "query", "key")


def run_in_processes(
    tokens: Float[np.ndarray, "tokens dim"],
    layers: Sequence[Layer],
    weights: Float[np.ndarray, " tokens"] | None,
    processes: int,
) -> ShardedRun:
    """Divide the tokens equally among processes of this machine; return the run of all tokens.

    The processes are fresh interpreters, so that a caller needs no ``if __name__ == "__main__"``. They rendezvous in a
    temporary folder, so that no port is opened.

    Raises
    ------
    BadInputError
        If a process fails, with the last line of its error output.
    """
    with tempfile.TemporaryDirectory(prefix="tokendyn-") as folder:
        head = layers[0].heads[0]
        arrays = {name: getattr(head, name) for name in _MATRICES if getattr(head, name) is not None}
        arrays |= {"tokens": tokens, "alphas": np.array([layer.alpha for layer in layers])}
        if weights is not None:
            arrays["weights"] = as_weights(weights, (len(tokens),), np.ones(len(tokens), dtype=bool))
        np.savez(Path(folder) / "run.npz", tie_tolerance=head.tie_tolerance, **arrays)
        command = [sys.executable, "-m", "tokendyn.dynamics.processes", folder, str(processes)]
        # The workers must import the same library as this process, wherever it was found.
        path = os.pathsep.join(filter(None, sys.path))
        environment = {**os.environ, "PYTHONPATH": path}
        workers = [
            subprocess.Popen([*command, str(rank)], stderr=subprocess.PIPE, env=environment)
            for rank in range(processes)
        ]
        messages = [worker.communicate()[1].decode(errors="replace").strip() for worker in workers]
        failed = [text for worker, text in zip(workers, messages, strict=True) if worker.returncode]
        if failed:
            raise BadInputError(f"a process of the run failed: {(failed[0].splitlines() or ['it was stopped'])[-1]}")
        parts = [dict(np.load(Path(folder) / f"part-{rank}.npz")) for rank in range(processes)]
    starts = np.cumsum([0, *(len(part["state"]) for part in parts)])
    for part, start in zip(parts, starts, strict=False):
        part["doubtful"] = part["doubtful"] + start
    names = [*_FIELDS[:-1], *(f"first_{name}" for name in _FOLLOWING)]
    merged = {name: np.concatenate([part[name] for part in parts]) for name in names}
    first = Following(**{name: merged.pop(f"first_{name}") for name in _FOLLOWING})
    return ShardedRun(**merged, first=first, keys_sent=tuple(parts[0]["keys_sent"].tolist()))


def _work(folder: Path, processes: int, rank: int) -> None:
    """Run the part of one process and write its result."""
    import torch.distributed as dist

    arrays = np.load(folder / "run.npz")
    edges = np.linspace(0, len(arrays["tokens"]), processes + 1).astype(int)
    own = slice(edges[rank], edges[rank + 1])
    matrices = {name: arrays[name] for name in _MATRICES if name in arrays}
    head = Head(**matrices, tie_tolerance=float(arrays["tie_tolerance"]))
    layers = [Layer(alpha=float(alpha), heads=(head,)) for alpha in arrays["alphas"]]
    weights = arrays["weights"][own] if "weights" in arrays else None
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=processes)
    run = run_sharded(np.ascontiguousarray(arrays["tokens"][own]), layers, weights=weights)
    fields = {name: np.asarray(getattr(run, name)) for name in _FIELDS}
    fields |= {f"first_{name}": getattr(run.first, name) for name in _FOLLOWING}
    np.savez(folder / f"part-{rank}.npz", allow_pickle=False, **fields)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    _work(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
