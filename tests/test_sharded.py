"""Runs over several processes equal the run of one process to the last bit."""

from pathlib import Path

import numpy as np
import pytest
from adversarial import tokens_of
from workers import run_together

from tokendyn.attention import Head
from tokendyn.dynamics import Layer, run
from tokendyn.dynamics.sharded import run_sharded
from tokendyn.errors import BadInputError

FAMILIES = ("ordinary", "lattice", "duplicates", "zero_token", "few", "tight_cluster")

_WORKER = """
import sys
sys.path[:0] = [{tests!r}]
import numpy as np, torch.distributed as dist
from test_sharded import cases, part_of
from tokendyn.dynamics.sharded import run_sharded
rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method="file://" + folder + "/store", rank=rank, world_size=3)
groups = {{size: dist.new_group(list(range(size))) for size in (1, 2, 3)}}
for size, group in groups.items():
    if rank < size:
        for name, (tokens, layers, weights) in cases().items():
            part = part_of(len(tokens), rank, size)
            found = run_sharded(tokens[part], layers, weights=weights[part], group=group)
            fields = dict(state=found.state, leaders=found.leaders, counts=found.tie_counts, since=found.since)
            np.savez(folder + f"/{{name}}-{{size}}-{{rank}}.npz", sent=found.keys_sent, **fields)
dist.barrier()
dist.destroy_process_group()
"""


def cases():
    """Return name -> tokens, layers, weights."""
    found = {}
    for number, family in enumerate(FAMILIES):
        rng = np.random.default_rng(number)
        tokens = tokens_of(family, 2 + number % 2)
        dim = tokens.shape[1]
        head = Head(score=rng.normal(size=(dim, dim)) + 2 * np.eye(dim), tie_tolerance=(0.0, 1e-10)[number % 2])
        found[family] = tokens, [Layer(alpha, (head,)) for alpha in (0.5, 1.0, 0.3) * 5], rng.uniform(1, 2, len(tokens))
    rng = np.random.default_rng(9)
    found["large"] = rng.normal(size=(6000, 3)), [Layer(0.5)] * 12, np.ones(6000)
    return found


def part_of(count, rank, size):
    """Return the slice of the tokens that a process holds: the first one has most, a small last one may have none."""
    edges = [0, *(count - count // (2 + place) for place in range(size - 1)), count]
    return slice(edges[rank], edges[rank + 1])


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Run every case with 1, 2 and 3 of three processes and return what each found."""
    folder = tmp_path_factory.mktemp("shards")
    run_together(_WORKER.format(tests=str(Path(__file__).parent)), 3, folder)
    return {file.stem: dict(np.load(file)) for file in folder.glob("*.npz")}


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("name", [*FAMILIES, "large"])
def test_any_number_of_processes_gives_the_bits_of_one(name, size, shards):
    tokens, layers, weights = cases()[name]
    whole = run(tokens, layers, weights=weights, record="last")
    parts = [shards[f"{name}-{size}-{rank}"] for rank in range(size)]
    state, leaders, counts = (np.concatenate([part[key] for part in parts]) for key in ("state", "leaders", "counts"))
    assert state.tobytes() == whole.states[-1].tobytes()
    assert leaders.tobytes() == whole.leaders[-1, 0].tobytes()
    assert counts.tobytes() == whole.tie_counts[-1, 0].tobytes()


def test_few_keys_travel(shards):
    for size in (2, 3):
        sent = shards[f"large-{size}-0"]["sent"]
        assert len(sent) < 12
        assert sent.max() < 6000 / 10


def test_a_process_without_group_is_alone(rng):
    tokens, layers = rng.normal(size=(50, 2)), [Layer(0.5)] * 6
    alone, whole = run_sharded(tokens, layers), run(tokens, layers)
    assert alone.state.tobytes() == whole.states[-1].tobytes()
    np.testing.assert_array_equal(alone.leaders, whole.leaders[-1, 0])


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_sharded_is_refused(rng):
    tokens = rng.normal(size=(5, 2))
    with pytest.raises(BadInputError, match="one hardmax head"):
        run_sharded(tokens, [Layer(0.5, (Head(inverse_temperature=2.0),))])
    tokens[2, 1] = np.nan
    with pytest.raises(BadInputError, match="finite"):
        run_sharded(tokens, [Layer(0.5)])
