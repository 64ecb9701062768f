"""PEPITA beside its formulas, written a second time."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ffcore
from ffcore.errors import UserError
from ffcore_pepita.rule import PepitaRule

N, D, K = 8, 6, 3


def network(*layers):
    blocks = [ffcore.LocalBlock(layer, rule=PepitaRule()) for layer in layers]
    output = ffcore.LocalBlock(nn.Linear(5, K, bias=False), "logits", objective="cross-entropy")
    return ffcore.Network([*blocks, output], "pepita", example=torch.randn(2, D), classes=K)


def layer(inputs):
    return nn.Sequential(nn.Linear(inputs, 5, bias=False), nn.ReLU())


def test_a_step_is_that_of_the_two_passes_written_a_second_time():
    torch.manual_seed(0)
    net = network(layer(D), layer(5))
    w1, w2, w3 = (p.detach().clone() for p in net.local.body.parameters())
    f = net.algorithm.projection
    x, y = torch.randn(N, D), torch.arange(N) % K
    net.learn(x, y, ffcore.optimizers(net, torch.optim.SGD, lr=0.5))

    h1 = (x @ w1.T).relu()
    h2 = (h1 @ w2.T).relu()
    error = (h2 @ w3.T).softmax(1) - F.one_hot(y, K)
    moved = x + error @ f.T
    m1 = (moved @ w1.T).relu()
    m2 = (m1 @ w2.T).relu()
    again = (m2 @ w3.T).softmax(1) - F.one_hot(y, K)
    right = (
        w1 - 0.5 * (h1 - m1).T @ moved / N,
        w2 - 0.5 * (h2 - m2).T @ m1 / N,
        w3 - 0.5 * again.T @ m2 / N,
    )
    for mine, other in zip(net.local.body.parameters(), right, strict=True):
        torch.testing.assert_close(mine.detach(), other, rtol=1e-5, atol=1e-6)


def test_the_projection_is_uniform_in_its_bounds():
    net = network(layer(D))
    bound = 0.05 * (6 / D) ** 0.5
    assert net.algorithm.projection.shape == (D, K)
    assert net.algorithm.projection.abs().max() <= bound


def test_other_algorithms_make_no_first_pass():
    block = ffcore.LocalBlock(layer(D), rule=PepitaRule())
    output = ffcore.LocalBlock(nn.Linear(5, K), "logits", objective="cross-entropy")
    net = ffcore.Network([block, output], "local-errors", example=torch.randn(2, D), classes=K)
    with pytest.raises(UserError, match="there is no first pass; use the algorithm pepita"):
        net.learn(torch.randn(N, D), torch.arange(N) % K, ffcore.optimizers(net, torch.optim.SGD, lr=0.1))
