"""Triton kernels, interpreted and on a GPU: the bits of the reference at hardmax, the stated bound at softmax."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from triton_cases import CASES, FIELDS, HARDMAX, SOFTMAX, step

from tokendyn.attention import attend
from tokendyn.attention.device import attend_tensors
from tokendyn.errors import BadInputError

pytest.importorskip("triton", reason="needs triton: pip install 'tokendyn[gpu]' (Linux)")

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device that torch can use")
WHERE = ["interpreter", pytest.param("cuda", marks=CUDA)]


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory):
    """Return the results of all cases in Triton's interpreter."""
    file = tmp_path_factory.mktemp("triton") / "results.npz"
    program = Path(__file__).with_name("triton_cases.py")
    paths = [str(Path(__file__).parents[1] / "src"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, str(program), str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(file) as results:
        return dict(results)


def found_in(where, name, interpreted):
    if where == "cuda":
        return step(name, "cuda")
    return {field: interpreted[f"{name}/{field}"] for field in (*FIELDS, "error_bound")}


def expected_step(name):
    (queries, keys, values, weights), settings = CASES[name](name)
    settings.pop("precision", None)
    if len(queries) == len(keys):
        return attend(queries, keys, values, weights=weights, backend="dense", **settings)
    padded = np.concatenate([queries, np.zeros((len(keys) - len(queries), queries.shape[1]))])
    rows = np.arange(len(queries))
    return attend(padded, keys, values, weights=weights, rows=rows, backend="dense", **settings)


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("name", HARDMAX)
def test_hardmax_has_the_bits_of_the_reference(name, where, interpreted):
    found, expected = found_in(where, name, interpreted), expected_step(name)
    for field in ("means", "leaders", "tie_counts", "tie_spreads"):
        assert found[field].tobytes() == getattr(expected, field).tobytes(), field
    np.testing.assert_array_equal(found["top_scores"], expected.top_scores)


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("name", SOFTMAX)
def test_softmax_is_within_its_bound(name, where, interpreted):
    found, expected = found_in(where, name, interpreted), expected_step(name)
    bound = max(float(found["error_bound"]), 1e-12)
    assert bound < 1e-3
    largest = np.linalg.norm(CASES[name](name)[0][2], axis=1).max()
    assert np.linalg.norm(found["means"] - expected.means, axis=1).max() <= bound * largest
    np.testing.assert_allclose(found["log_masses"], expected.log_masses, rtol=0, atol=bound)
    np.testing.assert_array_equal(found["leaders"], expected.leaders)


def test_only_reduced_precision_states_a_bound(interpreted):
    bounds = {name: float(interpreted[f"{name}/error_bound"]) for name in SOFTMAX}
    assert bounds["d = 3, sharp"] == 0 < bounds["d = 3, mixed"] < bounds["d = 3, single"]


@pytest.mark.parametrize(("scores", "fuse"), [("fp64", False), ("fp32", True)])
def test_canonical_scores_are_compiled_without_fused_multiply_adds(scores, fuse, tmp_path, monkeypatch):
    """Compile for an NVIDIA GPU of compute capability 9.0, which needs no GPU, and read the instructions."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from tokendyn.attention import triton_kernels

    pointers = dict.fromkeys(("queries", "keys", "tops", "runners"), f"*{scores}")
    signature = pointers | {"firsts": "*i32", "n_rows": "i32", "n_keys": "i32", "DIM": "constexpr"}
    source = ASTSource(triton_kernels.leaders, signature, {"DIM": 3})
    built = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"enable_fp_fusion": fuse})
    assert ("fma.rn." in built.asm["ptx"]) == fuse


def test_the_automatic_choice_is_triton_only_on_a_gpu(rng):
    tokens = torch.from_numpy(rng.normal(size=(20, 3)))
    assert attend_tensors(tokens, tokens, tokens).choice.backend == "tiled"
    if torch.cuda.is_available():
        tokens = tokens.cuda()
        assert attend_tensors(tokens, tokens, tokens).choice.backend == "triton"


@pytest.mark.usefixtures("unchecked")
def test_what_triton_cannot_compute_is_refused_with_a_remedy(rng, monkeypatch):
    tokens = torch.from_numpy(rng.normal(size=(20, 3)))
    with pytest.raises(BadInputError, match="CUDA device, got cpu: take backend='tiled'"):
        attend_tensors(tokens, tokens, tokens, backend="triton")
    with pytest.raises(BadInputError, match="needs backend 'triton'"):
        attend_tensors(tokens, tokens, tokens, precision="single")
    with pytest.raises(BadInputError, match="2 problems"):
        attend_tensors(tokens, tokens, tokens, backend="cuda", precision="half")
    wide = torch.from_numpy(rng.normal(size=(20, 17)))
    with pytest.raises(BadInputError, match="up to 16 coordinates, got 17"):
        attend_tensors(wide, wide, wide, backend="triton")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadInputError, match=r'pip install "tokendyn\[gpu\]"'):
        attend_tensors(tokens, tokens, tokens, backend="triton")
    assert attend_tensors(tokens, tokens, tokens).choice.backend == "tiled"
