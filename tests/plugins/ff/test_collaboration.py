"""Layer collaboration beside its formula, written a second time."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ffcore
from ffcore.errors import UserError
from ffcore.interfaces import Views
from ffcore_ff.collaboration import Collaborative, LayerCollaboration
from ffcore_ff.objectives import Logistic


def pair(n, **more):
    return Views(torch.zeros(2 * n, 1), ("positive", "negative"), (n, n), **more)


def test_the_previous_layers_are_a_constant():
    g = torch.tensor([3.0, 1.0, 1.0, 5.0], dtype=torch.float64, requires_grad=True)
    others = torch.tensor([0.5, -1.0, 2.0, 0.0], dtype=torch.float64)
    views = pair(2, upstream=[others / 2, others / 2])
    loss = Collaborative(gamma=0.5, threshold=1.0, temperature=2.0)(g, views)
    together = (g + 0.5 * others - 1.0) / 2.0
    right = F.softplus(-together[:2]).mean() + F.softplus(together[2:]).mean()
    torch.testing.assert_close(loss, right)
    torch.testing.assert_close(*(torch.autograd.grad(each, g)[0] for each in (loss, right)))


def network(of, gamma=1.0):
    torch.manual_seed(3)
    blocks = [
        ffcore.LocalBlock(
            nn.Sequential(nn.Flatten(), nn.Linear(units, 4), nn.ReLU()),
            "mean-squares",
            objective=Collaborative(gamma, of, threshold=2.0),
        )
        for units in (12, 4, 4)
    ]
    return ffcore.Network(
        blocks, LayerCollaboration("overlay", "wrong-label"), example=torch.zeros(2, 1, 3, 4), classes=5
    ).double()


def test_every_layer_learns_with_the_goodness_of_all_others_before_the_step():
    net = network("all", gamma=0.5)
    x, y = torch.rand(6, 1, 3, 4, dtype=torch.float64), torch.arange(6) % 5
    seen = []
    net.local.observers.append(lambda block, _, out, views: seen.append((block, out, views)))
    weights = [block.body[1].weight.detach().clone() for block in net.local.blocks]
    net.learn(x, y, ffcore.optimizers(net, torch.optim.SGD, lr=0.1))
    goodness = [out.goodness.detach() for _, out, _ in seen]
    before, learned = net.local.outputs(seen[0][2]), 0
    assert len(before) == 3
    for (block, out, views), weight in zip(seen, weights, strict=True):
        others = [views.extra["goodness/" + b.name] for b, _, _ in seen if b is not block]
        own = out.goodness.detach().requires_grad_()
        right = Logistic(2.0)(own + 0.5 * sum(others), views)
        torch.testing.assert_close(block.objective(out, views), right.detach())
        learned += int((block.body[1].weight != weight).any())
    assert learned == 3
    # measured before any layer has learned: the first layer's goodness is that of its own call
    torch.testing.assert_close(seen[0][2].extra["goodness/block1"], goodness[0])


def test_without_a_share_of_the_others_it_is_the_logistic_loss():
    g, views = torch.tensor([3.0, 1.0, 1.0, 5.0]), pair(2, upstream=[torch.ones(4)])
    assert torch.equal(Collaborative(gamma=0.0, threshold=1.0)(g, views), Logistic(1.0)(g, views))


def test_the_algorithm_needs_an_objective_that_reads_all_layers():
    with pytest.raises(UserError, match="no block reads the goodness of all layers"):
        network("previous")


def test_a_weighted_objective_may_read_all_layers():
    weighted = {"kind": "weighted", "objective": {"kind": "collaborative", "of": "all"}, "weight": 0.5}
    block = ffcore.LocalBlock(nn.Linear(12, 4), "mean-squares", objective=weighted)
    x = torch.rand(6, 12)
    net = ffcore.Network([block], LayerCollaboration("overlay", "wrong-label"), example=x, classes=5)
    net.learn(x, torch.arange(6) % 5, ffcore.optimizers(net, torch.optim.SGD, lr=0.1))


def test_measuring_all_layers_leaves_modules_outside_the_blocks_alone():
    norm = nn.BatchNorm2d(1)
    norm.requires_grad_(False)
    block = ffcore.LocalBlock(
        nn.Sequential(nn.Flatten(), nn.Linear(12, 4)), "mean-squares", objective=Collaborative(0.5, "all")
    )
    net = ffcore.Network(
        [norm, block],
        LayerCollaboration("overlay", "wrong-label"),
        example=torch.zeros(2, 1, 3, 4),
        classes=5,
    )
    net.learn(torch.rand(6, 1, 3, 4), torch.arange(6) % 5, ffcore.optimizers(net, torch.optim.SGD, lr=0.1))
    assert norm.num_batches_tracked == 1


def test_all_layers_need_the_algorithm():
    with pytest.raises(UserError, match="use the algorithm layer-collaboration, or of: previous"):
        Collaborative(of="all")(torch.ones(4), pair(2))


def test_a_circuit_whose_layers_take_turns_refuses_the_previous_layers():
    with pytest.raises(UserError, match="Collaborative reads the goodness of other blocks"):
        ffcore.from_recipe(
            "digits/ff-recurrent", shape=(1, 8, 8), classes=10, **{"block.objective": "collaborative"}
        )
