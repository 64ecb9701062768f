"""Activation memory does not grow with depth."""

import pytest
import torch
from torch import nn

from ffcore.interfaces import Views
from ffcore.local import GoodnessLoss, LocalBlock, LocalNetwork
from ffcore.testing.memory import kept_for_backward
from ffcore.testing.scenery import Energy, Margin, taught

WIDTH, ROWS = 8, 16


def peak(depth, one_window):
    torch.manual_seed(0)
    blocks = [
        LocalBlock(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh()), Energy(), GoodnessLoss(Margin()))
        for _ in range(depth)
    ]
    network = taught(LocalNetwork(nn.Sequential(*blocks), (WIDTH,), 2))
    if one_window:
        network.plan([range(depth)])
    views = Views(torch.randn(ROWS, WIDTH), ("positive", "negative"), (ROWS // 2,) * 2)
    with kept_for_backward(network.parameters()) as kept:
        network.learn(views)
    assert kept.now == 0
    return kept.most


def test_a_tensor_saved_by_two_nodes_counts_once():
    net = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))
    x = torch.randn(ROWS, WIDTH)
    with kept_for_backward(net.parameters()) as kept:
        out = net(x)
    assert kept.most == kept.now == 2 * ROWS * WIDTH * 4  # the input and the activity, in single precision
    out.sum().backward()
    del out
    assert kept.now == 0


def test_bytes_saved_for_backward_do_not_grow_with_depth():
    assert peak(4, False) == peak(16, False) == peak(64, False) > 0


@pytest.mark.parametrize("depth", [16, 64])
def test_one_window_saves_the_graph_of_every_block(depth):
    block = peak(5, True) - peak(4, True)
    assert block >= ROWS * WIDTH * 4
    assert peak(depth, True) == peak(4, True) + (depth - 4) * block
