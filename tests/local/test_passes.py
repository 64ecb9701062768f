"""Learning passes are equal to a plain autograd loop over blocks with torch's SGD."""

import copy
import runpy
from pathlib import Path

import pytest
import torch
from torch import nn

from ffcore.errors import UserError
from ffcore.interfaces import Penalty, Views
from ffcore.local import GoodnessLoss, LocalBlock, LocalNetwork
from ffcore.plugin import manager
from ffcore.testing.scenery import taught

N, D, K = 8, 6, 3


def registered(noun):
    return [entry.name for entry in manager.current().registry.entries(noun)]


def load(noun, name):
    return manager.current().registry.get(noun, name).load()


# without those that compare the rows of a pass, keep a running mean, or read the layers before
ENERGIES = [
    name
    for name in registered("goodness")
    if load("goodness", name).form == "energy" and not load("goodness", name).reads_views and name != "bcm"
]
OF_ENERGIES = [
    name
    for name in registered("objective")
    if load("objective", name).accepts == "energy" and name not in ("collaborative", "weighted")
]
HANDOFFS = [name for name in registered("handoff") if name in ("identity", "rms", "l2")]


def views(step, size=N):
    x = torch.randn(2 * size, D, generator=torch.Generator().manual_seed(step))
    y = torch.arange(size) % K
    return Views(x, ("positive", "negative"), (size, size), y=y, hypothesis=torch.cat([y, (y + 1) % K]))


def bodies(widths=(5, 4, 3)):
    torch.manual_seed(0)
    sizes = (D, *widths)
    return [nn.Sequential(nn.Linear(a, b), nn.Tanh()) for a, b in zip(sizes, widths, strict=False)]


def learned(network, steps=5):
    taught(network, lr=0.05, momentum=0.9)
    for step in range(steps):
        network.learn(views(step))
    return [p.detach() for block in network.blocks for p in block.body.parameters()]


def by_hand(layers, losses, handoff, steps=5):
    """``losses[i](activity, views)`` for each layer; no code of ffcore.local in here."""
    optimizers = [torch.optim.SGD(layer.parameters(), lr=0.05, momentum=0.9) for layer in layers]
    for step in range(steps):
        seen = views(step)
        z = seen.x
        for layer, loss, optimizer in zip(layers, losses, optimizers, strict=True):
            h = layer(z)
            optimizer.zero_grad()
            loss(h, seen).backward()
            optimizer.step()
            z = handoff(h.detach())
    return [p.detach() for layer in layers for p in layer.parameters()]


@pytest.mark.parametrize("objective", OF_ENERGIES)
@pytest.mark.parametrize("goodness", ENERGIES)
def test_every_energy_and_objective_learn_as_plain_autograd_does(goodness, objective):
    for handoff in HANDOFFS:
        layers = bodies()
        twins = copy.deepcopy(layers)
        blocks = [
            LocalBlock(
                layer,
                load("goodness", goodness)(),
                GoodnessLoss(load("objective", objective)()),
                load("handoff", handoff)(),
            )
            for layer in layers
        ]
        network = LocalNetwork(nn.Sequential(*blocks), (D,), K)
        losses = [lambda h, seen, b=b: b.loss.objective(b.goodness(h), seen) for b in network.blocks]
        right = by_hand(twins, losses, load("handoff", handoff)())
        torch.testing.assert_close(learned(network), right, rtol=0, atol=1e-6)
        assert any((p != q).any() for p, q in zip(right, bodies()[0].parameters(), strict=False))


def test_class_goodness_and_cross_entropy_learn_as_plain_autograd_does():
    layers = bodies((K, K))
    twins = copy.deepcopy(layers)
    blocks = [
        LocalBlock(layer, load("goodness", "logits")(), GoodnessLoss(load("objective", "cross-entropy")()))
        for layer in layers
    ]
    network = LocalNetwork(nn.Sequential(*blocks), (D,), K)

    def loss(h, seen):
        return nn.functional.cross_entropy(h[:N], seen.y)

    right = by_hand(twins, [loss] * 2, lambda h: h)
    torch.testing.assert_close(learned(network), right, rtol=0, atol=1e-6)


def test_a_penalty_without_a_gradient_is_refused():
    class Unsaid(Penalty):
        def forward(self, out, block, views):
            return out.handoff.square().mean()

    loss = GoodnessLoss(load("objective", "logistic")(), {"small": Unsaid()})
    block = LocalBlock(bodies()[0], load("goodness", "sum-squares")(), loss)
    with pytest.raises(UserError, match=r"no gradient leads from 'small' .*reads_handoff = True"):
        learned(LocalNetwork(nn.Sequential(block), (D,), K), steps=1)


def test_a_step_of_one_block_enters_ten_files_of_the_core_and_returns_to_none_more_than_twice():
    bench = runpy.run_path(str(Path(__file__).parents[1] / "bench" / "enters.py"))
    order = [name for name in bench["entered"](bench["learning"]()[1]) if name.startswith(bench["CORE"])]
    assert len(set(order)) <= 10
    assert max(order.count(name) for name in order) <= 3
