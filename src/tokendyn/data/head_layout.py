"""Rows and columns of the tensors of an attention layer that belong to one head."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tokendyn.data.attention_names import Scheme, bias_of
from tokendyn.data.model_tensors import Tensors
from tokendyn.errors import BadInputError


@dataclass(frozen=True)
class HeadLayout:
    """Where the rows of each head lie in the tensors of a layer.

    Attributes
    ----------
    tensors
        Of the model.
    scheme
        The family.
    names
        Of the tensors that hold Q, K and V.
    heads, shared
        Numbers of query heads, and of key and value heads.
    """

    tensors: Tensors
    scheme: Scheme
    names: tuple[str, ...]
    heads: int
    shared: int

    def weights(self, head: int) -> list[np.ndarray]:
        """Return Q, K and V of one head, each ``(head, model)``."""
        matrices = [self.tensors.read(name) for name in self.names]
        named = zip(self.names, matrices, strict=True)
        flat = [f"{name} {matrix.shape}" for name, matrix in named if matrix.ndim != 2 or 0 in matrix.shape]
        if flat:
            raise BadInputError(f"{', '.join(flat)}: expected matrices")
        if self.turned(matrices[0]):
            matrices = [matrix.T for matrix in matrices]
        parts = self._of_head(matrices, head)
        if len({part.shape for part in parts}) > 1:
            shown = ", ".join(str(part.shape) for part in parts)
            raise BadInputError(
                f"{self.names[0]}: Q, K, V of head {head} are {shown} with {self.heads} heads and {self.shared} key "
                "and value heads; expected equal: correct heads={self.heads} or key_value_heads={self.shared}"
            )
        return parts

    def turned(self, matrix: np.ndarray) -> bool:
        """Return whether matrices are kept as (in, out).

        Files with GPT-2's names come both ways: those of the original model have a fused matrix three times as wide as
        high, those of models that were trained with ordinary linear layers one three times as high.
        """
        if self.scheme.exact or self.scheme.layout != "columns":
            return self.scheme.transposed
        return matrix.shape[1] >= matrix.shape[0]

    def query_bias(self, head: int, size: int) -> Float[np.ndarray, " head"]:
        """Return the query's bias of a head of a size; a key's bias adds the same number to every score of a query."""
        name = bias_of(self.names[0])
        if name not in self.tensors.files:
            return np.zeros(size)
        whole = self.tensors.read(name)
        blocks = self.heads if self.scheme.layout == "separate" else self.heads + 2 * self.shared
        if whole.shape != (blocks * size,):
            raise BadInputError(f"{name} {whole.shape} does not fit {blocks} heads of {size} numbers")
        if self.scheme.layout == "separate":
            return _rows(whole, self.heads, head, name)
        return self._of_head([whole], head)[0]

    def output(self, name: str, query: np.ndarray, head: int) -> np.ndarray | None:
        """Return the columns of O that belong to a head."""
        if name not in self.tensors.files:
            return None
        matrix = self.tensors.read(name)
        size, model = query.shape
        fused = self.scheme.layout == "columns" and not self.scheme.exact
        if self.turned(self.tensors.read(self.names[0])) if fused else self.scheme.transposed:
            matrix = matrix.T
        if matrix.shape != (model, self.heads * size):
            raise BadInputError(f"{name} {matrix.shape} does not take {self.heads} heads of {size} to {model} numbers")
        return np.ascontiguousarray(matrix[:, head * size : (head + 1) * size])

    def _of_head(self, arrays: list[np.ndarray], head: int) -> list[np.ndarray]:
        """Return the rows of Q, K and V of a head, from one array each or from one for all."""
        own = head * self.shared // self.heads
        if self.scheme.layout == "separate":
            query = _rows(arrays[0], self.heads, head, self.names[0])
            pairs = zip(arrays[1:], self.names[1:], strict=True)
            return [query, *(_rows(array, self.shared, own, name) for array, name in pairs)]
        (fused,) = arrays
        blocks = self.heads + 2 * self.shared
        if len(fused) % blocks:
            raise BadInputError(
                f"{self.names[0]} {fused.shape} cannot be cut into Q of {self.heads} heads, K and V of {self.shared}; "
                f"correct heads={self.heads} or key_value_heads={self.shared}"
            )
        cut = fused.reshape(blocks, -1, *fused.shape[1:])
        group = self.heads // self.shared
        if self.scheme.layout == "interleaved":
            start = own * (group + 2)
            rows = (start + head % group, start + group, start + group + 1)
        else:
            rows = (head, self.heads + own, self.heads + self.shared + own)
        return [np.ascontiguousarray(cut[row]) for row in rows]


def _rows(array: np.ndarray, heads: int, head: int, name: str) -> np.ndarray:
    if len(array) % heads:
        raise BadInputError(f"{name}: {len(array)} rows do not divide among {heads} heads; correct heads={heads}")
    size = len(array) // heads
    return np.ascontiguousarray(array[head * size : (head + 1) * size])
