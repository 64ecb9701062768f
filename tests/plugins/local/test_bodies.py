import pytest
import torch
from torch.nn import functional as F

from ffcore_local.bodies import ConvBatchNorm, DenseBatchNorm
from ffcore_local.handoffs import ChannelDropout
from ffcore_local.networks import VGG8b, VGG11b
from ffcore_resnet import weight_gradient


def test_a_convolution_is_pooled_then_normalised_then_activated():
    body = ConvBatchNorm((3, 6, 6), 4, pool=2)
    x = torch.randn(5, 3, 6, 6)
    a = F.max_pool2d(F.conv2d(x, body.conv.weight, body.conv.bias, padding=1), 2)
    z = (a - a.mean((0, 2, 3), keepdim=True)) / (a.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(body(x), F.leaky_relu(z, 0.01), rtol=1e-5, atol=1e-5)


def test_one_sample_has_no_batch_statistics():
    with pytest.raises(ValueError, match="a batch of one sample has no statistics"):
        DenseBatchNorm((4,), 3)(torch.ones(1, 4))
    with pytest.raises(ValueError, match="pool: an image of 3×3 pixels is smaller"):
        ConvBatchNorm((1, 3, 3), 2, pool=4)


def test_dropout_removes_whole_channels_in_training_only():
    drop, x = ChannelDropout(0.5), torch.ones(8, 16, 3, 3)
    y = drop(x)
    of_channel = y.flatten(2)
    assert (of_channel == of_channel[..., :1]).all()
    assert set(y.unique().tolist()) == {0.0, 2.0}
    assert (drop(torch.ones(8, 16)).unique().tolist()) == [0.0, 2.0]
    assert drop.eval()(x) is x


def test_the_networks_have_the_layers_of_the_paper():
    widths = [item.get("channels", item.get("units", "M")) for item in VGG8b().items()]
    assert widths == [128, 256, "M", 256, 512, "M", 512, "M", 512, "M", 1024]
    widths = [item.get("channels", "M") for item in VGG11b(width=2, units=0).items()]
    assert widths == [256, 256, 256, 512, "M", 512, 1024, "M", 1024, 1024, "M", 1024, "M"]


def test_small_maps_in_bfloat16_have_the_gradients_of_autograd(monkeypatch):
    product, calls = weight_gradient._by_product, []
    monkeypatch.setattr(weight_gradient, "_by_product", lambda *args: calls.append(args) or product(*args))
    body = ConvBatchNorm((6, 8, 8), 5, stride=2)
    x = torch.randn(7, 6, 8, 8).contiguous(memory_format=torch.channels_last).requires_grad_()
    up = torch.randn(7, 5, 4, 4)
    parameters = [x, body.conv.weight, body.norm.weight]
    with torch.autocast("cpu", torch.bfloat16):
        made = torch.autograd.grad((body(x) * up).sum(), parameters)
        activity = body.activation.function(body.norm(body.conv(x)))
        wanted = torch.autograd.grad((activity * up).sum(), parameters)
    assert len(calls) == 1
    assert made[1].is_contiguous(memory_format=torch.channels_last)
    for own, right in zip(made, wanted, strict=True):
        assert (own - right).norm() <= 0.01 * right.norm()
