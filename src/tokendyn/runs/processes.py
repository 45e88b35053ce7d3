"""The processes of a training: sums over all of them, the same bits everywhere; one process alone needs nothing."""

import sys
from typing import Any

import numpy as np


class Processes:
    """The processes of the default group of torch.distributed, or this one alone.

    Every process calls the same methods in the same order. torch is not imported for one process.

    Attributes
    ----------
    rank, count
        Number of this process, from 0, and number of processes.
    """

    def __init__(self) -> None:
        distributed = sys.modules.get("torch.distributed")
        self._dist: Any = distributed if distributed is not None and distributed.is_initialized() else None
        self.rank = 0 if self._dist is None else int(self._dist.get_rank())
        self.count = 1 if self._dist is None else int(self._dist.get_world_size())

    def part(self, items: int) -> slice:
        """Return the slice of ``items`` items that this process owns: contiguous parts that differ by one at most."""
        return slice(items * self.rank // self.count, items * (self.rank + 1) // self.count)

    def total(self, array: Any) -> np.ndarray:
        """Return the sum of an array over the processes, float64; the array itself is unchanged."""
        own = np.asarray(array, dtype=np.float64)
        if self.count == 1:
            return own
        import torch

        tensor = torch.from_numpy(np.array(own, order="C"))
        device = "cuda" if self._dist.get_backend() == "nccl" else "cpu"
        moved = tensor.to(device)
        self._dist.all_reduce(moved)
        return np.asarray(moved.cpu().numpy()).reshape(own.shape)

    def agree(self, decision: bool) -> bool:
        """Return the decision of process 0, such as that the time is over."""
        return bool(self.total(float(decision) if self.rank == 0 else 0.0) > 0) if self.count > 1 else decision
