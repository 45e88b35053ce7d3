"""Attention heads read from model files of every known family, and what the theory says of them."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from tokendyn.data.weights import read_embedding, read_head
from tokendyn.errors import BadInputError
from tokendyn.particles.meanfield import project, terminal_phase
from tokendyn.particles.meanfield.heads import head_theory

pytestmark = pytest.mark.usefixtures("unchecked")

DIM, HEADS, SIZE, LAYERS = 12, 3, 4, 2


@pytest.fixture
def parts(rng):
    """Return Q, K, V as (heads x size, dim) and O as (dim, heads x size) for each layer."""
    return [[rng.normal(size=(DIM, DIM)) for _ in range(4)] for _ in range(LAYERS)]


def model_file(folder, tensors, **config):
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, folder / "model.safetensors")
    if config:
        (folder / "config.json").write_text(json.dumps(config))
    return folder / "model.safetensors"


def separate(parts, stem, names):
    return {
        stem.format(layer) + name: part
        for layer, four in enumerate(parts)
        for name, part in zip(names.split(), four, strict=True)
    }


def interleaved(four):
    return np.concatenate([part[h * SIZE : (h + 1) * SIZE] for h in range(HEADS) for part in four[:3]])


FAMILIES = {
    "BERT": lambda parts: separate(
        parts, "bert.encoder.layer.{}.attention.",
        "self.query.weight self.key.weight self.value.weight output.dense.weight",
    ),
    "RoBERTa": lambda parts: separate(
        parts, "roberta.encoder.layer.{}.attention.",
        "self.query.weight self.key.weight self.value.weight output.dense.weight",
    ),
    "DistilBERT": lambda parts: separate(
        parts, "distilbert.transformer.layer.{}.attention.", "q_lin.weight k_lin.weight v_lin.weight out_lin.weight"
    ),
    "LLaMA": lambda parts: separate(
        parts, "model.layers.{}.self_attn.", "q_proj.weight k_proj.weight v_proj.weight o_proj.weight"
    ),
    "OPT": lambda parts: separate(
        parts, "model.decoder.layers.{}.self_attn.", "q_proj.weight k_proj.weight v_proj.weight out_proj.weight"
    ),
    "GPT-2": lambda parts: {
        name: array
        for layer, four in enumerate(parts)
        for name, array in (
            (f"h.{layer}.attn.c_attn.weight", np.concatenate(four[:3]).T),
            (f"h.{layer}.attn.c_proj.weight", four[3].T),
        )
    },
    "GPT-NeoX": lambda parts: {
        name: array
        for layer, four in enumerate(parts)
        for name, array in (
            (f"gpt_neox.layers.{layer}.attention.query_key_value.weight", interleaved(four)),
            (f"gpt_neox.layers.{layer}.attention.dense.weight", four[3]),
        )
    },
    "torch.nn.MultiheadAttention": lambda parts: {
        name: array
        for layer, four in enumerate(parts)
        for name, array in (
            (f"layers.{layer}.self_attn.in_proj_weight", np.concatenate(four[:3])),
            (f"layers.{layer}.self_attn.out_proj.weight", four[3]),
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_a_head_is_cut_out_of_every_family(tmp_path, parts, family):
    path = model_file(tmp_path, FAMILIES[family](parts), num_attention_heads=HEADS)
    found = read_head(path, 1, 2)
    q, k, v, o = parts[1]
    rows = slice(2 * SIZE, 3 * SIZE)
    np.testing.assert_array_equal(found.query, q[rows])
    np.testing.assert_array_equal(found.key, k[rows])
    np.testing.assert_array_equal(found.value, v[rows])
    np.testing.assert_array_equal(found.output, o[:, rows])
    np.testing.assert_allclose(found.interaction, q[rows].T @ k[rows])
    np.testing.assert_allclose(found.value_matrix, o[:, rows] @ v[rows])


def test_query_heads_share_the_keys_of_their_group(tmp_path, rng):
    q, k = rng.normal(size=(8, DIM)), rng.normal(size=(4, DIM))
    tensors = {
        f"model.layers.0.self_attn.{name}.weight": array
        for name, array in (("q_proj", q), ("k_proj", k), ("v_proj", -k), ("o_proj", rng.normal(size=(DIM, 8))))
    }
    path = model_file(tmp_path, tensors, num_attention_heads=4, num_key_value_heads=2)
    found = read_head(path, 0, 3)
    np.testing.assert_array_equal(found.query, q[6:])
    np.testing.assert_array_equal(found.key, k[2:])
    assert any("rotary" in note for note in found.notes)


def test_a_mapping_names_the_tensors_of_other_models(tmp_path, parts):
    q, k, v, o = parts[0]
    tensors = {"net.7.wq": q.T, "net.7.wk": k.T, "net.7.wv": v.T, "net.7.wo": o.T}
    mapping = tmp_path / "names.toml"
    mapping.write_text(
        'query = "net.{layer}.wq"\nkey = "net.{layer}.wk"\nvalue = "net.{layer}.wv"\noutput = "net.{layer}.wo"\n'
        "transposed = true\nheads = 3\n"
    )
    found = read_head(model_file(tmp_path, tensors), 7, 0, mapping=mapping)
    np.testing.assert_array_equal(found.query, q[:SIZE])
    np.testing.assert_array_equal(found.output, o[:, :SIZE])
    mapping.write_text('querry = "a"\nlayout = "diagonal"\n')
    with pytest.raises(BadInputError, match="5 problems"):
        read_head(tmp_path / "model.safetensors", 7, 0, mapping=mapping)


def test_half_precision_a_folder_and_an_index_are_read(tmp_path, parts):
    import torch
    from safetensors.torch import save_file as save_torch

    tensors = {name: torch.tensor(array).to(torch.bfloat16) for name, array in FAMILIES["LLaMA"](parts).items()}
    tensors["model.embed_tokens.weight"] = torch.ones(5, DIM, dtype=torch.bfloat16)
    save_torch(tensors, tmp_path / "part.safetensors")
    index = {"weight_map": dict.fromkeys(tensors, "part.safetensors")}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    found = read_head(tmp_path, 1, 0, heads=3)
    np.testing.assert_allclose(found.query, parts[1][0][:SIZE], rtol=1e-2)
    assert read_embedding(tmp_path).shape == (5, DIM)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": 9, "head": 0, "heads": 3}, "has layers 0, 1; got layer=9"),
        ({"layer": 0, "head": 3, "heads": 3}, "has 3 heads, 0 to 2; got head=3"),
        ({"layer": 0, "head": 0}, "number of heads is unknown"),
        ({"layer": 0, "head": 0, "heads": 5}, "do not divide among 5 heads"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(tmp_path, parts, arguments, message):
    path = model_file(tmp_path, FAMILIES["BERT"](parts))
    with pytest.raises(BadInputError, match=message):
        read_head(path, **arguments)


def test_unknown_names_damaged_files_and_missing_parts_are_refused(tmp_path, parts):
    path = model_file(tmp_path, {"blocks.0.w": np.ones((2, 2))})
    with pytest.raises(BadInputError, match=r"mapping='FILE.toml' \(it holds: blocks.0.w\)"):
        read_head(path, 0, 0, heads=1)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(BadInputError, match="not a whole safetensors file"):
        read_head(path, 0, 0, heads=1)
    tensors = FAMILIES["BERT"](parts)
    del tensors["bert.encoder.layer.0.attention.self.key.weight"]
    with pytest.raises(BadInputError, match=r"no tensor .*self.key.weight; beside it"):
        read_head(model_file(tmp_path, tensors), 0, 0, heads=3)
    tensors = FAMILIES["BERT"](parts)
    tensors["bert.encoder.layer.0.attention.self.key.weight"][0, 0] = np.nan
    with pytest.raises(BadInputError, match="NaN"):
        read_head(model_file(tmp_path, tensors), 0, 0, heads=3)


def head(rng, dim, size, sign=1.0):
    q, k, v = (rng.normal(size=(size, dim)) / dim**0.5 for _ in range(3))
    return q, k, v, sign * rng.normal(size=(dim, size)) / size**0.5


@pytest.mark.parametrize("seed", range(8))
def test_the_projection_of_thin_matrices_is_that_of_the_full_ones(seed):
    q, k, v, o = head(np.random.default_rng(seed), 11, 3)
    thin, full = head_theory(q, k, v, o), project(o @ v, q.T @ k)
    assert thin.projection.status == full.status
    assert thin.projection.dimension == full.dimension
    np.testing.assert_allclose(thin.projection.projector, full.projector, atol=1e-8)
    np.testing.assert_allclose(thin.projection.basis @ thin.projection.left, full.projector, atol=1e-8)
    assert thin.projection.gap == pytest.approx(full.gap, abs=1e-9)
    assert thin.projection.rate == pytest.approx(full.rate, rel=1e-6)
    terminal = terminal_phase(o @ v, full)
    assert (thin.terminal.exists, thin.terminal.invariant) == (terminal.exists, terminal.invariant)
    M = o @ v @ k.T @ q
    assert thin.symmetry == pytest.approx(np.linalg.norm(M + M.T) / (2 * np.linalg.norm(M)))
    np.testing.assert_allclose(thin.interaction_sizes, np.linalg.svd(q.T @ k, compute_uv=False)[:3], atol=1e-12)


def test_without_a_growing_direction_tokens_concentrate_on_the_kernel(rng):
    q, k, _, _ = head(rng, 11, 3)
    v, o = k, -q.T
    theory = head_theory(q, k, v, o)
    assert "kernel" in theory.projection.reason
    assert theory.projection.dimension == 8
    np.testing.assert_allclose(theory.projection.projector, project(o @ v, q.T @ k).projector, atol=1e-8)


def test_a_head_of_a_big_model_needs_small_matrices_only(rng):
    q, k, v, o = head(rng, 768, 64)
    theory = head_theory(q, k, v, o)
    assert len(theory.rows(96.0)) >= 9
    M, P = o @ v @ k.T @ q, theory.projection.projector
    np.testing.assert_allclose(M @ P, P @ M, atol=1e-9)
