"""Families of trained models: what hooks see is what the reference library computes, and motions split exactly."""

from functools import cache

import numpy as np
import pytest
import torch
from scipy.special import softmax
from tiny_models import CONFIGURATIONS, WholeFloat64, library_model, tiny
from transformers import AutoConfig, AutoModel

import tokendyn as td
from tokendyn.errors import BadInputError
from tokendyn.models import Ablation, Encoded, Model
from tokendyn.models.families import FAMILIES, Family
from tokendyn.models.motion import split_motion
from tokendyn.models.scores import bilinear_scores
from tokendyn.models.source import quiet
from tokendyn.models.system import system_of

HALVES = {"clip": ("text_model", "vision_model"), "bart": ("encoder", "decoder"), "t5": ("encoder", "decoder")}
CASES = [(kind, part) for kind in CONFIGURATIONS for part in HALVES.get(kind, ("",))]
IMAGES = {"vit", "clip_vision_model"}
#: Families whose scores are no bilinear form: normalised queries and keys, a cap, products with codes of distances.
NOT_BILINEAR = {"qwen3", "gemma3_text", "gemma2", "deberta-v2"}


@cache
def fixed(kind, part=""):
    """Return a tiny model that several tests look at and none changes."""
    return tiny(kind, part)


def an_input(model, tokens=12):
    rng = np.random.default_rng(0)
    if model.model_type in IMAGES:
        return Encoded(ids=rng.normal(size=(3, 16, 16)), names=(), added=())
    return Encoded(ids=rng.integers(3, 50, tokens), names=("t",) * tokens, added=(False,) * tokens)


def seen(model, encoded, **named):
    views = []
    model.norms, model.layers  # noqa: B018 - read before the run, as a reader of blocks does
    run = model.run(encoded, visit=views.append, **named)
    return run, views


@pytest.mark.parametrize(("kind", "part"), CASES)
def test_states_and_attentions_are_those_of_the_library(kind, part):
    model = fixed(kind, part)
    encoded = an_input(model)
    run, views = seen(model, encoded)
    inputs = model._inputs(encoded) | {"output_attentions": True, "output_hidden_states": True}
    with torch.inference_mode():
        told = model.module(**inputs)
    layers = len(run.states) - 1
    assert len(told.attentions) == layers == len(views)
    for layer in range(layers):
        assert np.abs(told.hidden_states[layer][0].numpy() - run.states[layer]).max() < 1e-10
        assert np.abs(told.attentions[layer][0].numpy() - views[layer].attention).max() < 1e-10
    if model.family.last:
        with torch.inference_mode():
            last = getattr(model.module, model.family.last)(torch.as_tensor(run.states[-1])[None])[0]
        assert np.abs(last.numpy() - told.last_hidden_state[0].numpy()).max() < 1e-10 or kind == "clip"


@pytest.mark.parametrize(("kind", "part"), CASES)
def test_heads_add_up_to_the_attention_and_shares_of_the_motion_to_one(kind, part):
    model = fixed(kind, part)
    with WholeFloat64():
        _, views = seen(model, an_input(model))
    for view, heads in zip(views, model.layers, strict=True):
        vectors = view.concatenated.reshape(len(view.reads), len(heads), -1)
        attended = np.einsum("nhk,hdk->nd", vectors, heads.output) + heads.output_bias
        assert np.abs(attended - view.attended).max() < 1e-10
        values = np.einsum("nd,hkd->hnk", view.reads, heads.value) + heads.value_bias[:, None]
        assert np.abs(np.einsum("hij,hjk->ihk", view.attention, values) - vectors).max() < 1e-10
        motion = split_motion(view, heads, model.family, model.norms[view.layer])
        assert abs(motion.shares().sum() - 1) < 1e-12
        assert abs(motion.head_shares().sum() - motion.shares()[0]) < 1e-12
        assert motion.error < 1e-12


@pytest.mark.parametrize(("kind", "part"), CASES)
def test_scores_are_the_bilinear_form_or_the_reason_is_named(kind, part):
    model = fixed(kind, part)
    with WholeFloat64():
        _, views = seen(model, an_input(model))
    worst = 0.0
    for view, heads in zip(views, model.layers, strict=True):
        norm = model.norms[view.layer].front
        shift = 0.0 if norm is None else norm.bias
        scores = bilinear_scores(heads, view.reads, shift, view.rotation, bias=True, term=view.term)
        weights = softmax(np.where(view.attention > 0, scores, -np.inf), axis=-1)
        worst = max(worst, np.abs(weights - view.attention).max())
    assert (worst < 1e-10) == (model.not_bilinear == "")
    assert (model.not_bilinear == "") == (kind not in NOT_BILINEAR)


@pytest.mark.parametrize("kind", ["bert", "albert", "gpt2", "llama", "gemma2", "t5"])
def test_a_layer_without_its_heads_is_a_layer_without_attention_less_its_bias(kind):
    model = tiny(kind)
    encoded = an_input(model)
    heads = Ablation(heads={1: tuple(range(model.heads))})
    _, without_heads = seen(model, encoded, ablation=heads)
    _, without = seen(model, encoded, ablation=Ablation(attention=frozenset({1})))
    bias = model.layers[1].output_bias
    assert np.abs(without_heads[1].attended - bias).max() < 1e-12
    assert np.abs(without[1].attended).max() == 0
    assert np.abs(without[0].attended).max() > 0


@pytest.mark.parametrize(("kind", "part"), CASES)
def test_a_masked_key_is_seen_by_itself_alone(kind, part):
    model = fixed(kind, part)
    encoded = an_input(model)
    _, before = seen(model, encoded)
    for key in (0, 5):
        run, views = seen(model, encoded, ablation=Ablation(keys=(key,)))
        assert np.isfinite(run.states).all()
        for view, old in zip(views, before, strict=True):
            others = np.arange(len(view.reads)) != key
            assert not view.attention[:, others, key].any()
            assert np.array_equal(view.attention[:, others] > 0, (old.attention[:, others] > 0) & others)
        # Everything else is as it was: the first layer gives the other keys their old weights, put to a sum of 1.
        kept = before[0].attention[:, others] * others
        assert views[0].attention[:, others] == pytest.approx(kept / kept.sum(axis=-1, keepdims=True), abs=1e-6)


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama", "falcon", "t5"])
def test_a_run_that_starts_at_a_layer_gives_the_same_states(kind):
    model = tiny(kind)
    encoded = an_input(model)
    base = model.run(encoded)
    ablation = Ablation(attention=frozenset({2}))
    whole = model.run(encoded, ablation=ablation).states
    late = model.run(encoded, ablation=ablation, start=(2, base)).states
    assert np.array_equal(whole, late)
    assert not np.array_equal(whole[-1], base.states[-1])
    assert np.array_equal(model.run(encoded).states, base.states)


def test_random_weights_have_the_shape_of_the_model_and_leave_torchs_generator_alone():
    model = tiny("gpt2")
    torch.manual_seed(3)
    before = torch.get_rng_state()
    other, again = model.with_random_weights(1), model.with_random_weights(1)
    assert torch.equal(torch.get_rng_state(), before)
    encoded = an_input(model)
    assert np.array_equal(other.run(encoded).states, again.run(encoded).states)
    assert other.run(encoded).states.shape == model.run(encoded).states.shape
    assert not np.array_equal(other.layers[0].query, model.layers[0].query)


def test_an_unknown_family_gives_states_and_attention_and_names_what_is_missing():
    model = Model(library_model("gpt2"), source="mine")
    known_run, known_views = seen(model, an_input(model))
    model.config.model_type = "mine"
    unknown = Model(model.module, source="mine")
    assert unknown.family is None
    views = []
    assert np.array_equal(unknown.run(an_input(unknown), visit=views.append).states, known_run.states)
    for view, known in zip(views, known_views, strict=True):
        assert np.array_equal(view.attention, known.attention)
        assert view.reads is None
    with pytest.raises(BadInputError, match=r"family 'mine'.*register_family"):
        unknown.layers  # noqa: B018
    known = next(family for family in FAMILIES if family.name == "GPT-2")
    td.register_family(
        Family(**{**vars(known), "name": "mine", "model_types": frozenset({"mine"})}),
    )
    try:
        registered = Model(model.module, source="mine")
        assert len(registered.layers) == 3
    finally:
        from tokendyn.models import families

        families._registered.clear()


#: Families that are not known: rows of tokens in another order, lists of modules that are no blocks, two halves.
UNKNOWN = {
    "xlnet": {"d_model": 24, "n_layer": 3, "n_head": 4, "d_inner": 40, "vocab_size": 50},
    "xlm": {"emb_dim": 24, "n_layers": 3, "n_heads": 4, "n_words": 50},
    "granite": {**CONFIGURATIONS["bert"]},
    "marian": {**CONFIGURATIONS["bart"], "pad_token_id": 0},
    "fnet": {**CONFIGURATIONS["bert"]},
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_every_other_family_gives_what_the_library_returns(kind):
    with quiet():
        config = AutoConfig.for_model(kind, **UNKNOWN[kind])
        whole = AutoModel.from_config(config, attn_implementation="eager").double().eval()
    model = Model(whole, source=kind)
    assert model.family is None
    views = []
    run = model.run(an_input(model), visit=views.append)
    inputs = {"input_ids": torch.as_tensor(an_input(model).ids)[None], "output_hidden_states": True}
    if kind != "fnet":  # which has no attention
        inputs["output_attentions"] = True
    with torch.inference_mode():
        told = model.module(**inputs)
    for layer, view in enumerate(views):
        assert np.abs(told.hidden_states[layer][0].numpy() - run.states[layer]).max() < 1e-10
        assert view.attention is None if kind == "fnet" else np.array_equal(told.attentions[layer][0], view.attention)
    last = told.hidden_states[-1][0].numpy()
    if kind == "granite":  # the state before the last norm
        normed = model.module.norm(torch.as_tensor(run.states[-1])).detach().numpy()
        assert np.abs(last - normed).max() < 1e-6
    else:
        assert np.abs(last - run.states[-1]).max() < 1e-10


@pytest.mark.usefixtures("unchecked")
def test_a_family_of_the_library_cannot_be_replaced():
    with pytest.raises(BadInputError, match="has a family of this name"):
        td.register_family(FAMILIES[0])
    with pytest.raises(BadInputError, match=r"expected a tokendyn\.models\.Family"):
        td.register_family("BERT")


#: How far the folded system is from the library as it is, for families whose norms or softmax the library computes in
#: float32 whatever the type of the model; all others are within 1e-10 of it.
IN_FLOAT32 = {"modernbert", "vit", "clip", "gpt_neo", "gpt_neox", "opt", "phi", "llama", "mistral", "qwen2", "qwen3",
              "gemma", "gemma2", "gemma3_text", "t5", "mpt", "bloom", "gptj", "falcon"}  # fmt: skip


@pytest.mark.parametrize(("kind", "part"), CASES)
def test_the_folded_system_is_the_model_and_its_pieces_are_the_ablations(kind, part):
    model = fixed(kind, part)
    encoded = an_input(model)
    if model.not_a_system:
        assert kind == "deberta-v2"
        with pytest.raises(BadInputError, match=r"is no system of the theory.*codes of distances"):
            system_of(model, encoded)
        return
    as_it_is = model.run(encoded).states
    pieces = [
        ({}, Ablation()), ({"attention": False}, Ablation(attention=True)),
        ({"feed_forward": False}, Ablation(feed_forward=True)),
    ]  # fmt: skip
    with WholeFloat64():
        system = system_of(model, encoded)
        for switched, ablation in pieces:
            states = model.run(encoded, ablation=ablation).states
            assert np.abs(system.switched(**switched).run() - states).max() < 1e-10 * np.abs(states).max()
    bound = 2e-6 if kind in IN_FLOAT32 else 1e-10
    assert np.abs(system.run() - as_it_is).max() < bound * np.abs(as_it_is).max()


def test_a_folded_head_is_a_head_of_the_core_on_unit_tokens():
    model = tiny("bert")
    encoded = an_input(model)
    _, views = seen(model, encoded)
    layer = system_of(model, encoded).layers[1]
    units = layer.unit_tokens(views[1].entering)
    assert np.linalg.norm(units, axis=1) == pytest.approx(1, abs=1e-9)
    assert layer.inverse_temperature == pytest.approx(24 / np.sqrt(6))
    vectors = views[1].concatenated.reshape(12, 4, 6)
    for number, (head, given) in enumerate(zip(layer.heads, model.layers[1].output, strict=True)):
        folded = layer.folded(number)
        scores = folded.inverse_temperature * units @ folded.interaction @ units.T + units @ folded.key_bias
        assert np.abs(softmax(scores, axis=1) - views[1].attention[number]).max() < 1e-10
        step = head.attend(np.column_stack([units, np.ones(12)]))
        assert np.abs(step.means[:, :-1] - vectors[:, number] @ given.T).max() < 1e-10
        assert np.abs(step.means[:, -1]).max() == 0


def test_a_run_of_the_core_takes_the_layers_of_a_model():
    model = tiny("gpt2")
    encoded = an_input(model)
    system = system_of(model, encoded)
    trajectory = td.run(system.start, list(system.layers))
    assert np.abs(trajectory.states[-1] - model.run(encoded).states[-1]).max() < 1e-10


def test_a_hard_system_follows_its_leaders():
    model = tiny("bert")
    encoded = an_input(model)
    layer = system_of(model, encoded).switched(hard=True).layers[0]
    start = model.run(encoded).states[0]
    _, steps = layer(start)
    units = layer.unit_tokens(start)
    for number, step in enumerate(steps):
        folded = layer.folded(number)
        scores = folded.inverse_temperature * units @ folded.interaction @ units.T + units @ folded.key_bias
        assert np.array_equal(step.leaders, scores.argmax(axis=1))
