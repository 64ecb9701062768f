"""Cosines of local gradients with those of backpropagation."""

import copy
import re

import pytest
import torch
from torch import nn

import ffcore
from ffcore.analysis.gradients import backprop_gradients, cosines, local_gradients
from ffcore.analysis.loss import global_loss, temperature, wrongness
from ffcore.analysis.representation import measured_blocks
from ffcore.analysis.robustness import signs_of

X = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(20) % 10
SMALL = {"network.0.units": 30}


def made(recipe, **overrides):
    return ffcore.from_recipe(recipe, shape=(1, 8, 8), classes=10, **{**SMALL, **overrides})


def test_backpropagation_agrees_with_itself():
    found = cosines(made("digits/backprop"), [(X, Y), (X.flip(0), Y)], ["dense1", "dense2", "dense3", "head"])
    assert found.temperature == 1
    assert [block.name for block in found.blocks] == ["dense1", "dense2", "dense3", "head"]
    for block in found.blocks:
        assert (block.cosine, block.deviation, block.reason) == (
            pytest.approx(1),
            pytest.approx(0, abs=1e-6),
            "",
        )


def test_the_global_gradient_is_that_of_plain_autograd():
    net = made("digits/backprop").eval()
    layers = [block.body for block in net.blocks]
    twin = copy.deepcopy(nn.Sequential(*layers))
    nn.functional.cross_entropy(twin(X), Y).backward()
    found = backprop_gradients(net, X, Y)
    for block, layer in zip(net.blocks, twin, strict=True):
        for key, parameter in layer.named_parameters():
            assert torch.allclose(found[block.name][f"body.{key}"], parameter.grad, atol=1e-6)


def test_a_local_gradient_is_the_one_that_learning_applies():
    net = made("digits/mono-forward")
    (found,) = local_gradients(net, [(X, Y)])
    twin = copy.deepcopy(net)
    steps = ffcore.one_step(twin, X, Y, ffcore.optimizers(twin, torch.optim.SGD, lr=0.1))
    for step in steps:
        for key, gradient in step.gradients.items():
            assert torch.allclose(found[step.block][key], gradient, atol=1e-6)


def test_the_last_block_of_local_errors_agrees_and_the_first_does_not():
    found = cosines(made("digits/mono-forward"), [(X, Y)], ["dense1", "dense2"])
    assert found.blocks[1].cosine == pytest.approx(1, abs=1e-6)
    assert abs(found.blocks[0].cosine) < 0.9


def test_nothing_changes():
    net = made("digits/ff")
    before = copy.deepcopy(net.state_dict())
    random = torch.get_rng_state()
    cosines(net, [(X, Y)], measured_blocks(net))
    assert torch.equal(torch.get_rng_state(), random)
    assert net.training
    for name, value in net.state_dict().items():
        same = torch.equal(value, before[name]) if isinstance(value, torch.Tensor) else value == before[name]
        assert same, name
    assert all(parameter.grad is None for parameter in net.parameters())


def test_the_same_call_gives_the_same_numbers():
    net = made("digits/ff")
    names = measured_blocks(net)
    assert cosines(net, [(X, Y)], names) == cosines(net, [(X, Y)], names)


def test_energies_are_divided_by_their_spread():
    net = made("digits/ff").eval()
    scores = torch.tensor([[1.0, 3.0], [5.0, 5.0]])
    assert temperature(net, scores) == pytest.approx(0.5)
    assert temperature(net, torch.zeros(2, 3)) == 1
    assert temperature(made("digits/backprop"), scores) == 1
    by_hand = -(torch.tensor([1.0, 3.0]) / 2).log_softmax(0)[0]
    assert float(global_loss(scores[:1], torch.tensor([0]), 2.0)) == pytest.approx(float(by_hand))


def test_the_direction_of_wrongness_is_that_of_the_cross_entropy_and_does_not_saturate():
    y = torch.tensor([1, 0])
    scores = torch.tensor([[0.3, 1.0, -0.5], [2.0, 1.9, 0.1]], dtype=torch.float64, requires_grad=True)
    (a,) = torch.autograd.grad(wrongness(scores, y).sum(), scores)
    (b,) = torch.autograd.grad(nn.functional.cross_entropy(scores, y, reduction="sum"), scores)
    wrong = 1 - scores.detach().softmax(1).gather(1, y[:, None])
    assert torch.allclose(a * wrong, b)
    far = torch.tensor([[500.0, 0.0, 1.0]], requires_grad=True)
    (a,) = torch.autograd.grad(wrongness(far, torch.tensor([0])).sum(), far)
    assert a[0, 0] == -1


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        ("digits/pff", "a circuit calls its blocks in turns"),
        ("digits/blackbox-sign", "the black box .* has no derivative"),
    ],
)
def test_networks_without_a_gradient_say_why(recipe, reason):
    net = ffcore.from_recipe(recipe, shape=(1, 8, 8), classes=10)
    found = cosines(net, [(X, Y)], measured_blocks(net))
    assert not found.blocks
    assert found.temperature is None
    assert re.search(reason, found.reason)


def test_a_rule_without_gradients_and_a_block_without_parameters_say_so():
    net = ffcore.from_recipe("digits/softhebb", shape=(1, 8, 8), classes=10)
    found = cosines(net, [(X, Y)], measured_blocks(net))
    assert any("left no gradient" in block.reason for block in found.blocks)


def test_frozen_blocks_have_none():
    net = made("digits/mono-forward")
    net.blocks[0].freeze()
    found = cosines(net, [(X, Y)], ["dense1", "dense2"])
    assert [block.reason for block in found.blocks] == ["it has no parameters that learn", ""]


def test_models_of_others_are_analysed_as_well():
    torch.manual_seed(0)
    layers = (nn.Linear(64, 20), nn.ReLU(), nn.Dropout(0.5)), (nn.Linear(20, 15), nn.ReLU())
    net = ffcore.localize(
        nn.Sequential(nn.Flatten(), *(nn.Sequential(*each) for each in layers)),
        ["1", "2"],
        example=X[:2],
        classes=10,
        algorithm={"kind": "local-errors", "output": False},
        goodness={"kind": "linear-head", "features": None, "init": "uniform"},
        objective="cross-entropy",
    )
    before = modes(net)
    made = cosines(net, [(X, Y)], measured_blocks(net))
    assert made == cosines(net, [(X, Y)], measured_blocks(net)), "without dropout"
    assert not any(block.reason for block in made.blocks)
    assert float(signs_of(net, X, Y).abs().max()) == 1
    assert modes(net) == before


def modes(net):
    return [part.training for top in (net, *net.blocks) for part in top.modules()]
