"""What inspect measures of a model whose answer is known, because its weights were set."""

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group
from tiny_models import library_model

import tokendyn as td
from tokendyn.models import Model, head_weights

SIZE, DIM, HEADS = 6, 24, 4
QUICK = {"null": "none", "ladder": False}


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(0)
    return [rng.integers(3, 50, 12) for _ in range(8)]


def silent(module, *, attention=(), feed_forward=()):
    """Return a BERT whose norms have gain 1 and bias 0, and in which the parts of some layers add nothing."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "LayerNorm" in name:
                parameter.fill_(1.0 if name.endswith("weight") else 0.0)
        for layers, part in ((attention, "attention.output.dense"), (feed_forward, "output.dense")):
            for layer in layers:
                for parameter in module.encoder.layer[layer].get_submodule(part).parameters():
                    parameter.zero_()
    return module


# The angle by which V turns the dominant directions of V B^T


def turned_by(middle, spectrum):
    """Return a BERT in which head 2 of layer 1 has ``V = O middle O^T`` and ``V B^T = O spectrum O^T``."""
    module = silent(library_model("bert"))
    frame = ortho_group.rvs(DIM, random_state=0)[:, :SIZE]
    self, rows = module.encoder.layer[1].attention, slice(2 * SIZE, 3 * SIZE)
    with torch.no_grad():
        self.self.query.weight[rows] = torch.as_tensor(frame.T)
        self.self.key.weight[rows] = torch.as_tensor((np.linalg.inv(middle) @ spectrum).T @ frame.T)
        self.self.value.weight[rows] = torch.as_tensor(middle @ frame.T)
        self.output.dense.weight[:, rows] = torch.as_tensor(frame)
    return head_weights(Model(module))["turn"][HEADS + 2]


def rotation(degrees, first, second):
    matrix = np.eye(SIZE)
    angle = np.radians(degrees)
    matrix[first, [first, second]] = np.cos(angle), -np.sin(angle)
    matrix[second, [first, second]] = np.sin(angle), np.cos(angle)
    return matrix


REAL = np.diag([5.0, 1.0, 0.5, 0.2, -0.3, -1.0])


@pytest.mark.parametrize("degrees", [0, 30, 75])
def test_the_turn_of_a_head_is_the_planted_angle(degrees):
    # A stretch of V changes no angle.
    assert turned_by(3.0 * rotation(degrees, 0, 1), REAL) == pytest.approx(degrees, abs=1e-5)


def test_a_turn_inside_the_dominant_plane_is_none():
    spectrum = REAL.copy()
    spectrum[:2, :2] = 5 * rotation(60, 0, 1)[:2, :2]  # a complex pair spans a plane
    assert turned_by(rotation(40, 0, 1), spectrum) == pytest.approx(0, abs=1e-5)
    out = np.degrees(np.arctan2(np.sin(np.radians(40)), np.hypot(1, np.cos(np.radians(40)))))
    assert turned_by(rotation(40, 0, 2), spectrum) == pytest.approx(out, abs=1e-5)


def test_a_head_without_a_growing_direction_has_no_turn():
    assert np.isnan(turned_by(np.eye(SIZE), -np.diag([5.0, 1.0, 0.5, 0.2, 0.3, 1.0])))


def test_random_heads_turn_their_dominant_directions_far_out():
    turns = head_weights(Model(library_model("bert")))["turn"]
    assert np.nanmedian(turns) > 45


# Leaders, motion and ablations


def test_leaders_hold_for_good_where_nothing_moves(texts):
    still = silent(library_model("bert"), attention=range(3), feed_forward=range(3))
    seen = td.inspect(still, texts, ablate="none", **QUICK)
    assert np.nanmin(seen.head_measures["held"]) == 1
    assert np.nanmean(seen.head_measures["held_null"]) < 0.7
    assert np.abs(seen.gathered() - seen.gathered()[:, :1]).max() < 1e-6
    moving = td.inspect(silent(library_model("bert")), texts, ablate="none", **QUICK)
    assert np.nanmean(moving.head_measures["held"][:, 0]) == 1
    assert np.nanmean(moving.head_measures["held"][:, 2]) < 0.7


def test_only_the_layer_that_attends_owes_its_gathering_to_attention(texts):
    module = silent(library_model("bert"), attention=(0, 2))
    seen = td.inspect(module, texts, **QUICK)
    without = seen.gathered("no attention")[:, -1] - seen.gathered()[:, -1]
    assert np.abs(seen.effects["layer 0"]).max() < 1e-12
    assert np.abs(seen.effects["layer 2"]).max() < 1e-12
    assert seen.effects["layer 1"] == pytest.approx(without)
    assert np.abs(without).min() > 1e-4
    assert seen.own["layer 0"] == pytest.approx(1)
    assert (seen.own["layer 1"] < 1 - 1e-6).all()


def test_a_silent_part_has_no_share_of_the_motion(texts):
    module = silent(library_model("bert"), attention=(0,), feed_forward=(1,))
    motion = td.inspect(module, texts, ablate="none", **QUICK).motion
    assert motion["heads"][0] == pytest.approx(0, abs=1e-12)
    assert motion["feed-forward"][1] == pytest.approx(0, abs=1e-12)
    assert motion["heads"][1] > 0.05
    assert motion["feed-forward"][0] > 0.05
    assert motion[["heads", "feed-forward", "biases", "norm"]].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-12)


def test_the_temperature_of_a_head_is_measured_where_its_queries_are_scaled(texts):
    module = silent(library_model("bert"))
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if ".self." in name and name.endswith("bias"):
                parameter.zero_()
    plain = td.inspect(module, texts, ablate="none", **QUICK)
    assert plain.head_measures["slope"] == pytest.approx(1, abs=1e-6)
    assert plain.head_measures["r2"] == pytest.approx(1, abs=1e-6)
    with torch.no_grad():
        module.encoder.layer[1].attention.self.query.weight[SIZE : 2 * SIZE] *= 3.0
    colder = td.inspect(module, texts, ablate="none", **QUICK)
    ratio = colder.head_measures["cold"] / plain.head_measures["cold"]
    assert ratio[:, 1, 1] == pytest.approx(3)
    assert ratio[:, 0] == pytest.approx(1)
    assert ratio[:, 1, [0, 2, 3]] == pytest.approx(1)
