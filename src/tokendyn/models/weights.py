"""Every head from the weights alone: temperature, spectra of QK and OV, and the words along their first directions."""

from typing import Any

import numpy as np
from jaxtyping import Float

from tokendyn.models.parts import HeadMatrices, array, inverse_temperature
from tokendyn.models.source import Model

#: Words that are named for each direction.
_WORDS = 3
#: The directions of a head along which words are named.
_DIRECTIONS = ("queries", "keys", "reads", "writes")


def head_weights(model: Model) -> dict[str, np.ndarray]:
    """Return one value a head of each measure of the weights; no text is needed.

    With the gains of the norm in front folded in, ``B = D Wq^T Wk D`` and ``V = sqrt(d) Wo Wv D``. With rotary places
    B is that of two tokens at one position. Measures of B are NaN if scores are not a bilinear form.

    Parameters
    ----------
    model
        A model whose family is known.

    Returns
    -------
    ``layer``, ``head``; ``beta``; ``score_norm``, the largest singular value of B; ``score_symmetric``, the share of
    its symmetric part in its square norm; ``value_norm``, ``value_radius`` and ``value_trace``, the largest singular
    value, the largest absolute eigenvalue and the trace of V: positive ``attracts``, negative repels; ``turn``, the
    degrees by which V turns the dominant eigenspace of ``V B^T`` out of itself (NaN without an eigenvalue of positive
    real part). Where the model has words, ``queries`` and ``keys``, those along the first singular pair of B, and
    ``reads`` and ``writes``, those along that of V. Words are embeddings, as layer 0 sees them.

    Raises
    ------
    BadInputError
        If the family of the model is not known.
    """
    rows: list[dict[str, Any]] = []
    directions: list[np.ndarray] = []
    for layer, heads in enumerate(model.layers):
        front = model.norms[layer].front
        gain = np.ones(heads.query.shape[2]) if front is None else front.gain
        for head in range(len(heads)):
            row, along = _measured(heads, head, gain, bilinear=not model.not_bilinear)
            rows.append({"layer": layer, "head": head, **row})
            directions.append(along)
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    named = _words(model, np.concatenate(directions)) if model.rules is not None else None
    if named is not None:
        table |= {name: np.array(named[k :: len(_DIRECTIONS)]) for k, name in enumerate(_DIRECTIONS)}
    return table


def _measured(heads: HeadMatrices, head: int, gain: np.ndarray, *, bilinear: bool) -> tuple[dict[str, Any], np.ndarray]:
    """Return the measures of one head and its four directions; all eigenvalues are those of small matrices."""
    query, key = heads.query[head] * gain, heads.key[head] * gain
    value, output = heads.value[head] * gain * np.sqrt(len(gain)), heads.output[head].astype(np.float64, copy=False)
    left, sizes, right = _first_pair(query.T, key)
    writes, lengths, reads = _first_pair(output, value)
    small = value @ output
    cross = key @ query.T
    square = float(np.sum((query @ query.T) * (key @ key.T)))
    row = {
        "beta": inverse_temperature(heads), "score_norm": sizes,
        "score_symmetric": 0.5 + 0.5 * float(np.sum(cross * cross.T)) / square if square else np.nan,
        "value_norm": lengths, "value_radius": float(np.abs(np.linalg.eigvals(small)).max()),
        "value_trace": float(np.trace(small)), "attracts": bool(np.trace(small) > 0),
        "turn": _turn(query, key, value, output),
    }  # fmt: skip
    if not bilinear:
        row |= dict.fromkeys(("beta", "score_norm", "score_symmetric", "turn"), np.nan)
    return row, np.stack([left, right, reads, writes])


def _first_pair(
    tall: Float[np.ndarray, "dim head"], wide: Float[np.ndarray, "head dim"]
) -> tuple[np.ndarray, float, np.ndarray]:
    """Return the first singular triple of ``tall @ wide`` without forming it."""
    outer, upper = np.linalg.qr(tall)
    inner, lower = np.linalg.qr(wide.T)
    left, sizes, right = np.linalg.svd(upper @ lower.T)
    return outer @ left[:, 0], float(sizes[0]), inner @ right[0]


def _turn(query: np.ndarray, key: np.ndarray, value: np.ndarray, output: np.ndarray) -> float:
    """Return the degrees by which ``V`` turns the dominant eigenspace of ``V B^T = output value key^T query``."""
    eigenvalues, vectors = np.linalg.eig(value @ key.T @ query @ output)
    top = int(eigenvalues.real.argmax())
    if eigenvalues[top].real <= 0:
        return float("nan")
    vector = output @ vectors[:, top]
    # A complex pair spans a plane.
    plane = [vector.real, vector.imag] if abs(eigenvalues[top].imag) > 0 else [vector.real]
    basis = np.linalg.qr(np.stack(plane, axis=1))[0]
    moved = output @ (value @ basis)
    inside = basis.T @ moved
    return float(np.degrees(np.arctan2(np.linalg.norm(moved - basis @ inside), np.linalg.norm(inside))))


def _words(model: Model, directions: np.ndarray) -> list[str] | None:
    """Return the words whose unit embeddings lie furthest along each direction; None without embeddings of its size."""
    from tokenizers import Tokenizer

    embeddings = model.module.get_input_embeddings()
    weight = getattr(embeddings, "weight", None)
    if weight is None or weight.ndim != 2 or weight.shape[1] != directions.shape[1]:
        return None
    vectors = array(weight).astype(np.float32)
    vectors -= vectors.mean(axis=0)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    tokenizer = Tokenizer.from_file(str(model.rules))
    cosines = directions.astype(np.float32) @ vectors.T
    best = np.argsort(-cosines, axis=1)[:, :_WORDS] if cosines.shape[1] <= _WORDS else _largest(cosines)
    return [" ".join(str(tokenizer.id_to_token(int(number))) for number in row) for row in best]


def _largest(cosines: np.ndarray) -> np.ndarray:
    """Return the columns of the largest values of each row, in order."""
    best = np.argpartition(-cosines, _WORDS, axis=1)[:, :_WORDS]
    order = np.argsort(-np.take_along_axis(cosines, best, axis=1), axis=1)
    return np.take_along_axis(best, order, axis=1)
