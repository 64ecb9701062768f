"""Closed forms replace autograd where they are valid, and only there."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm

import ffcore
from ffcore.errors import UserError
from ffcore.interfaces import Goodness, LocalLoss, Views
from ffcore.local import ClosedFormGradient, GoodnessLoss, LocalBlock, LocalNetwork
from ffcore.testing.scenery import by_autograd, taught
from ffcore_ff.goodness import SumSquares
from ffcore_ff.objectives import Logistic
from ffcore_std.bodies import Dense

D, U, N = 6, 5, 4


class Thrice(Logistic):
    def forward(self, goodness, views):
        return 3 * super().forward(goodness, views)


class Halved(SumSquares):
    def forward(self, activity):
        return super().forward(activity) / 2


class Doubled(Dense):
    def forward(self, x):
        return 2 * super().forward(x)


class Total(Goodness):
    """Its closed form returns an expanded view."""

    def forward(self, activity):
        return activity.sum(1)

    def vjp(self, activity, up):
        return up.unsqueeze(1).expand_as(activity)


class Refuses(SumSquares):
    """Has a ``vjp`` that returns None."""

    def forward(self, activity):
        return activity.square().sum(1)

    def vjp(self, activity, up):
        return None


class Changes(Logistic):
    """Has a ``with_derivative`` that returns None for these views."""

    def forward(self, goodness, views):
        return super().forward(goodness, views)

    def with_derivative(self, goodness, views):
        return None


def network(body=Dense, goodness=SumSquares, objective=Logistic, activation="tanh"):
    torch.manual_seed(0)
    block = LocalBlock(body((D,), U, activation), goodness(), GoodnessLoss(objective()))
    return taught(LocalNetwork(nn.Sequential(block), (D,), 2).double())


def learned(net, graph):
    if graph:
        by_autograd(net)
    x = torch.randn(2 * N, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    net.learn(Views(x, ("positive", "negative"), (N, N)))
    return list(net.parameters())


@pytest.mark.parametrize(
    ("parts", "begins"),
    [
        ({}, "loss"),
        ({"objective": Thrice}, "goodness"),
        ({"goodness": Halved}, "activity"),
        ({"body": Doubled}, "inputs"),
        ({"goodness": Total}, "loss"),
        ({"goodness": Total, "activation": "identity"}, "loss"),
        ({"goodness": Refuses}, "loss"),
        ({"objective": Changes}, "loss"),
    ],
)
def test_a_closed_form_is_used_only_with_its_own_forward(parts, begins):
    net = network(**parts)
    rule = net.place(net.blocks[0]).rule
    assert getattr(rule, "begins", "inputs") == begins
    torch.testing.assert_close(learned(net, False), learned(network(**parts), True))


def test_a_block_without_a_gradient_is_refused():
    class Count(Goodness):
        def forward(self, activity):
            return (activity > 0).sum(1).to(activity.dtype)

    with pytest.raises(UserError, match="block block1: no gradient leads from its loss"):
        learned(network(goodness=Count, body=lambda *args: nn.Linear(D, U)), False)


def test_a_copy_of_a_compiled_block_computes_with_its_own_weights():
    block = network().float().blocks[0]
    block.compile(backend="eager")
    x = torch.ones(2, D)
    assert block(x).any()
    other = copy.deepcopy(block)
    for parameter in other.parameters():
        nn.init.zeros_(parameter)
    assert not other(x).any()
    assert block(x).any()


@pytest.mark.parametrize("graph", [False, True])
def test_a_goodness_learns_on_a_frozen_body_wherever_the_graph_begins(graph):
    class Scaled(SumSquares):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, activity):
            return self.scale * super().forward(activity)

    net = network(goodness=Scaled)
    body, goodness = net.blocks[0].body.requires_grad_(False), net.blocks[0].goodness
    before = body.linear.weight.clone()
    learned(net, graph)
    assert goodness.scale != 1
    assert torch.equal(body.linear.weight, before)


def test_the_parameters_of_a_loss_with_a_derivative_learn():
    class Own(LocalLoss):
        def __init__(self):
            super().__init__()
            self.shift = nn.Parameter(torch.zeros((), dtype=torch.float64))

        def forward(self, out, block, views):
            return {"objective": (out.activity - self.shift).square().mean()}

        def with_derivative(self, out, views):
            return self(out, None, views), 2 * (out.activity - self.shift) / out.activity.numel()

    block = LocalBlock(Dense((D,), U).double(), None, Own())
    assert ClosedFormGradient.serving(block).begins == "activity"


def test_a_layer_that_is_pruned_between_two_steps_learns_by_autograd():
    def learned(pruned_at):
        net = ffcore.from_recipe(
            "digits/ff", shape=(D,), classes=3, network=[{"kind": "dense", "units": U}] * 2
        )
        optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.1)
        for step in range(4):
            for layer in (block.body.linear for block in net.blocks):
                if step == pruned_at:  # a mask of ones prunes nothing, but the weight is a product then
                    prune.custom_from_mask(layer, "weight", torch.ones_like(layer.weight))
            net.learn(torch.ones(6, D), torch.arange(6) % 3, optimizers)
        return {name.removesuffix("_orig"): p for name, p in net.named_parameters()}

    plain = learned(None)
    for pruned in (learned(0), learned(2)):
        assert pruned.keys() == plain.keys()
        assert all(torch.allclose(pruned[name], plain[name]) for name in plain)


@pytest.mark.parametrize("change", [spectral_norm, parametrizations.weight_norm])
def test_a_weight_that_is_computed_from_others_learns(change):
    net = ffcore.from_recipe("digits/ff", shape=(D,), classes=3, network=[{"kind": "dense", "units": U}])
    change(net.blocks[0].body.linear)
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.1)
    before = [p.clone() for p in net.parameters()]
    net.learn(torch.ones(6, D), torch.arange(6) % 3, optimizers)
    assert all(not torch.equal(p, old) for p, old in zip(net.parameters(), before, strict=True))
