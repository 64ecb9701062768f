"""SoftHebb beside its formulas, written a second time with loops."""

import math

import pytest
import torch
from torch import nn

import ffcore
from ffcore.errors import UserError
from ffcore_hebbian.bodies import TriangleConv
from ffcore_hebbian.rule import SoftHebb, update


def by_loops(weight, x, u, sharpness):
    change = torch.zeros_like(weight)
    for patch, row in zip(x, u, strict=True):
        soft = (sharpness * row).softmax(0)
        for k in range(len(row)):
            y = soft[k] if k == row.argmax() else -soft[k]
            change[k] += y * (patch - row[k] * weight[k])
    return change


def test_the_update_is_the_formula():
    weight, x = torch.randn(4, 3, dtype=torch.float64), torch.randn(9, 3, dtype=torch.float64)
    torch.testing.assert_close(update(weight, x, x @ weight.T, 0.7), by_loops(weight, x, x @ weight.T, 0.7))


def network(*bodies, rule=None):
    blocks = [ffcore.LocalBlock(body, rule=rule or SoftHebb(0.1)) for body in bodies]
    return ffcore.Network(
        blocks, "hebbian", example=torch.zeros(2, 1, 8, 8), classes=3, readouts={"linear": "softmax"}
    )


def test_a_step_of_a_convolution_is_that_of_its_patches():
    body = TriangleConv((1, 8, 8), channels=5)
    before = body.conv.weight.detach().flatten(1).clone()
    net = network(body, rule=SoftHebb(0.1, temperature=2.0))
    x, y = torch.randn(4, 1, 8, 8), torch.arange(4) % 3
    net.learn(x, y, ffcore.optimizers(net, torch.optim.SGD, lr=0.1))
    standard = (x - x.mean()) / (x.var(unbiased=False) + 1e-5).sqrt()
    padded = nn.functional.pad(standard, [1] * 4, mode="reflect")
    patches = nn.functional.unfold(padded, 3).transpose(1, 2).flatten(0, 1)
    change = by_loops(before, patches, patches @ before.T, 0.5)
    change /= change.abs().max()
    right = before + 0.1 * (before.norm(dim=1, keepdim=True) - 1).abs().sqrt() * change
    torch.testing.assert_close(body.conv.weight.detach().flatten(1), right, rtol=1e-4, atol=1e-4)


def test_under_autocast_the_update_is_in_single_precision():
    found = []
    for mixed in (None, torch.bfloat16):
        torch.manual_seed(0)
        body = TriangleConv((1, 8, 8), channels=5)
        net = network(body)
        net.autocast = mixed
        net.learn(
            torch.randn(4, 1, 8, 8), torch.arange(4) % 3, ffcore.optimizers(net, torch.optim.SGD, lr=0.1)
        )
        found.append(body.conv.weight.detach())
    assert torch.equal(*found)


def test_channels_approach_length_one_without_labels():
    torch.manual_seed(0)
    body = TriangleConv((1, 8, 8), channels=6)
    net, x = network(body), torch.randn(20, 1, 8, 8)
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.0)
    for step in range(200):
        net.learn(x, torch.full((20,), step % 3), optimizers)  # classes do not matter
    assert (body.conv.weight.flatten(1).norm(dim=1) - 1).abs().max() < 0.3


def test_the_initial_weights_have_the_expected_length():
    weight = TriangleConv((64, 8, 8), channels=50, radius=25.0).conv.weight
    assert weight.detach().flatten(1).norm(dim=1).mean() == pytest.approx(25.0, rel=0.05)
    assert math.sqrt(weight.detach().square().mean()) == pytest.approx(25 / math.sqrt(64 * 9), rel=0.05)


@pytest.mark.parametrize("overlap", [0, 2, 4])
@pytest.mark.parametrize("side", [8, 9])
def test_overlapping_windows_keep_the_shape_and_reach_as_far_to_both_sides(overlap, side):
    body = TriangleConv((1, side, side), channels=4, pool=2, overlap=overlap, pooling="average")
    x = torch.rand(2, 1, side, side)
    made = body(x)
    assert made.shape == (2, 4, 4, 4)
    if side == 8:  # mirrored images give mirrored pools for mirrored filters
        with torch.no_grad():
            body.conv.weight.copy_(body.conv.weight.flip(3))
        torch.testing.assert_close(body(x.flip(3)).flip(3), made, rtol=1e-4, atol=1e-4)


def test_an_odd_overlap_is_refused():
    with pytest.raises(ValueError, match="overlap: 1 is odd"):
        TriangleConv((1, 8, 8), channels=4, pool=2, overlap=1)


def test_a_body_without_one_layer_is_refused():
    net = network(nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Linear(4, 4)))
    with pytest.raises(UserError, match="block block1: rule SoftHebb: Sequential has 2 linear layers"):
        net.learn(
            torch.randn(4, 1, 8, 8), torch.arange(4) % 3, ffcore.optimizers(net, torch.optim.SGD, lr=0.1)
        )


def test_accumulated_batches_are_refused():
    net = network(TriangleConv((1, 8, 8), channels=5))
    with pytest.raises(UserError, match="accumulate: block block1: rule SoftHebb learns from every batch by"):
        ffcore.optimizers(net, torch.optim.SGD, lr=0.1, accumulate=2)
