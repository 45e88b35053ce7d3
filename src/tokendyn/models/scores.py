"""The scores of heads from the input of a layer: the bilinear form of the theory, and the vector of key biases."""

import numpy as np
from jaxtyping import Float

from tokendyn.models.parts import HeadMatrices

#: Cosines and sines ``(tokens, width)`` of rotary places.
Rotation = tuple[np.ndarray, np.ndarray]


def turned(vectors: Float[np.ndarray, "heads tokens head"], rotation: Rotation | None) -> np.ndarray:
    """Return queries or keys turned by their places; coordinates beyond the width of the rotation stay."""
    if rotation is None:
        return vectors
    cosines, sines = rotation
    width = cosines.shape[-1]
    part = vectors[..., :width]
    half = width // 2
    crossed = np.concatenate([-part[..., half:], part[..., :half]], axis=-1)
    return np.concatenate([part * cosines + crossed * sines, vectors[..., width:]], axis=-1)


def bilinear_scores(
    heads: HeadMatrices,
    reads: Float[np.ndarray, "tokens dim"],
    shift: Float[np.ndarray, " dim"] | float = 0.0,
    rotation: Rotation | None = None,
    *,
    bias: bool,
    term: np.ndarray | None = None,
) -> Float[np.ndarray, "heads tokens tokens"]:
    """Return ``beta <y_i, B y_j>``, with ``bias`` also ``<c, y_j>``, for ``u = sqrt(d) g o y + b`` that a layer reads.

    With rotary places ``B`` depends on the distance, and a constant of the row on both places: the bias of the query
    is turned too.

    Parameters
    ----------
    heads
        Of the layer.
    reads
        ``u``.
    shift
        ``b``, the bias of the norm in front; 0 without one.
    rotation
        Of the places.
    bias
        Whether the biases of norm, query and key are in the scores. Without places only ``c`` of the key's side is
        left of them: all else is a constant of the row.
    term
        What the places of two tokens add.
    """
    free = reads - shift
    query, key = _projected(free, heads.query), _projected(free, heads.key)
    if bias:
        query = query + (heads.query @ np.broadcast_to(shift, reads.shape[1:]) + heads.query_bias)[:, None]
        key = key + (heads.key @ np.broadcast_to(shift, reads.shape[1:]) + heads.key_bias)[:, None]
    scores = turned(query, rotation) @ turned(key, rotation).transpose(0, 2, 1)
    return np.asarray(heads.scale * scores + (0.0 if term is None else term))


def _projected(tokens: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """Return ``(heads, tokens, head)``."""
    return np.asarray(tokens @ matrices.transpose(0, 2, 1))


def values(heads: HeadMatrices, reads: Float[np.ndarray, "tokens dim"]) -> Float[np.ndarray, "heads tokens head"]:
    """Return the values of the tokens."""
    return _projected(reads, heads.value) + heads.value_bias[:, None]


def output_norms(heads: HeadMatrices, reads: Float[np.ndarray, "tokens dim"]) -> Float[np.ndarray, "heads tokens"]:
    """Return ``|O v_j|``: by how much a key can move a token at most."""
    vectors = values(heads, reads)
    output = heads.output.astype(np.float64, copy=False)
    gram = output.transpose(0, 2, 1) @ output
    squares = ((vectors @ gram) * vectors).sum(axis=-1)
    return np.sqrt(np.maximum(squares, 0.0))
