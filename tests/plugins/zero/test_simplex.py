"""Goodness, losses and handoff beside their formulas, written a second time with loops."""

import pytest
import torch
from torch import nn

import ffcore
from ffcore.errors import UserError
from ffcore.interfaces import Context, Out, Views
from ffcore.tasks import Regression
from ffcore_zero.handoffs import ReLU
from ffcore_zero.losses import ChannelHinge, Hinge
from ffcore_zero.simplex import Simplex

R, K = 5, 4


def placed(shape, depth=0, seed=0):
    goodness = Simplex(seed)
    goodness.setup(Context(shape, K, name="b", depth=depth))
    return goodness.double()


def activity(*shape):
    return torch.randn(R, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def similarities(goodness, h):
    """s (R, C, K) by loops."""
    channels = [h] if h.dim() == 2 else list(h.flatten(2).unbind(1))
    made = torch.zeros(len(h), len(channels), K, dtype=h.dtype)
    for c, of_channel in enumerate(channels):
        for r, row in enumerate(of_channel):
            z = row if goodness.maps is None else goodness.maps[c] @ row
            for k in range(K):
                made[r, c, k] = z @ goodness.prototypes[c, k] / (z @ z + 1e-8 * len(z)).sqrt()
    return made


@pytest.mark.parametrize("shape", [(7,), (3, 2, 4)], ids=["units", "image"])
def test_the_goodness_is_the_sum_of_the_channels_similarities(shape):
    goodness, h = placed(shape), activity(*shape)
    right = similarities(goodness, h)
    torch.testing.assert_close(goodness.of_channels(h), right, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(goodness(h), right.sum(1), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(7,), (3, 2, 4)], ids=["units", "image"])
def test_a_silent_row_has_no_similarity_and_a_bounded_gradient(shape):
    h = torch.zeros(2, *shape, dtype=torch.float64, requires_grad=True)
    goodness = placed(shape)(h)
    assert (goodness == 0).all()
    (gradient,) = torch.autograd.grad(goodness[:, 0].sum(), h)
    assert gradient.abs().max() < 1e5


def test_prototypes_are_the_vertices_of_a_regular_simplex_one_a_channel():
    p = placed((3, 2, 4)).prototypes
    right = torch.full((K, K), -1 / (K - 1), dtype=p.dtype).fill_diagonal_(1)
    for of_channel in p:
        torch.testing.assert_close(of_channel @ of_channel.T, right, rtol=1e-6, atol=1e-6)
    assert not torch.allclose(p[0], p[1], atol=0.1)


def test_maps_and_prototypes_depend_on_seed_and_depth_alone():
    torch.manual_seed(9)
    state = torch.get_rng_state()
    first, again, deeper, other = placed((7,)), placed((7,)), placed((7,), depth=1), placed((7,), seed=1)
    assert torch.equal(first.prototypes, again.prototypes)
    assert not torch.allclose(first.prototypes, deeper.prototypes, atol=0.1)
    assert not torch.allclose(first.prototypes, other.prototypes, atol=0.1)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2,), "2 units for 4 classes; use 3 units or more"),
        ((5, 8), r"it should be \(units,\) or \(channels"),
    ],
)
def test_other_activities_are_refused(shape, message):
    with pytest.raises(ValueError, match=f"goodness simplex: block b: .*{message}"):
        placed(shape)


def hinge(similar, y, margin):
    return sum(max(0.0, float(margin + each - similar[y])) for each in similar)


def test_the_hinge_counts_every_class_within_the_margin():
    g, y = activity(K), torch.tensor([0, 3, 1, 1, 2])
    right = sum(hinge(row, k, 0.4) for row, k in zip(g, y, strict=True)) / R
    assert float(Hinge(0.4)(g, Views(g, ("all",), (R,), y=y))) == pytest.approx(right, abs=1e-12)


def test_the_channel_hinge_is_the_hinge_of_every_channel():
    goodness, h, y = placed((3, 2, 4)), activity(3, 2, 4), torch.tensor([0, 3, 1, 1, 2])
    s = similarities(goodness, h)
    right = [sum(hinge(s[r, c], y[r], 0.3) for r in range(R)) / R for c in range(3)]
    block = ffcore.LocalBlock(nn.Identity(), goodness, loss=ChannelHinge())
    views, out = Views(h, ("all",), (R,), y=y), Out(h, h, goodness(h))
    torch.testing.assert_close(block.loss.of_channels(out, block, views), torch.tensor(right, dtype=h.dtype))
    assert float(block.losses(out, views)["objective"]) == pytest.approx(sum(right), abs=1e-12)


def test_the_channel_hinge_needs_its_goodness_and_classes():
    block = ffcore.LocalBlock(nn.Linear(6, 5), "linear-head", loss=ChannelHinge())
    with pytest.raises(UserError, match="loss channel-hinge: block block1 has no goodness simplex"):
        ffcore.Network([block], "local-errors", example=torch.zeros(2, 6), classes=3)
    block = ffcore.LocalBlock(nn.Linear(6, 5), "simplex", loss=ChannelHinge())
    with pytest.raises(UserError, match=r"^loss: block block1: ChannelHinge needs one class a sample; .*Reg"):
        ffcore.Network([block], "local-errors", example=torch.zeros(2, 6), task=Regression(K))


def test_the_handoff_is_rectified_and_then_pooled():
    h = activity(2, 4, 4)
    right = h.clamp(min=0).unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))
    assert torch.equal(ReLU(2)(h), right)
    assert torch.equal(ReLU()(h), h.clamp(min=0))
    assert torch.equal(ReLU(2)(activity(7)), activity(7).clamp(min=0))
