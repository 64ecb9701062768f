"""A trained network as a program of torch.export: no trainer, any number of samples."""

import pytest
import torch

import ffcore


@pytest.mark.parametrize("kind", ["ff", "ff-unsupervised", "channel", "backprop"])
def test_an_exported_network_gives_the_same_scores_for_any_number_of_samples(kind):
    net = ffcore.from_recipe(f"digits/{kind}", shape=(1, 8, 8), classes=10).eval()
    samples = {0: torch.export.Dim("samples", min=2)}
    program = torch.export.export(net, (torch.rand(4, 1, 8, 8),), dynamic_shapes=(samples,))
    x = torch.rand(7, 1, 8, 8)
    torch.testing.assert_close(program.module()(x), net(x))
