"""Activation memory does not grow with depth."""

import weakref

import pytest
import torch
from torch import nn

from ffcore.interfaces import Views
from ffcore.local import GoodnessLoss, LocalBlock, LocalNetwork
from ffcore.testing.scenery import Energy, Margin

WIDTH, ROWS = 8, 16


class Saved:
    """Peak of the bytes that autograd keeps at one time for backward, parameters aside."""

    def __init__(self, network):
        self.own = {p.untyped_storage().data_ptr() for p in network.parameters()}
        self.live = self.peak = 0

    def pack(self, t):
        if t.untyped_storage().data_ptr() in self.own:
            return t
        kept, size = Kept(t), t.numel() * t.element_size()
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(kept, self.free, size)
        return kept

    def free(self, size):
        self.live -= size

    @staticmethod
    def unpack(kept):
        return kept.t if isinstance(kept, Kept) else kept


class Kept:
    def __init__(self, t):
        self.t = t


def peak(depth, one_window):
    torch.manual_seed(0)
    blocks = [
        LocalBlock(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh()), Energy(), GoodnessLoss(Margin()))
        for _ in range(depth)
    ]
    network = LocalNetwork(nn.Sequential(*blocks), (WIDTH,), 2)
    if one_window:
        network.plan([range(depth)])
    saved = Saved(network)
    views = Views(torch.randn(ROWS, WIDTH), ("positive", "negative"), (ROWS // 2,) * 2)
    with torch.autograd.graph.saved_tensors_hooks(saved.pack, saved.unpack):
        network.learn(views)
    assert saved.live == 0
    return saved.peak


def test_bytes_saved_for_backward_do_not_grow_with_depth():
    assert peak(4, False) == peak(16, False) == peak(64, False) > 0


@pytest.mark.parametrize("depth", [16, 64])
def test_one_window_keeps_every_blocks_graph(depth):
    assert peak(depth, True) == depth * peak(4, True) // 4
