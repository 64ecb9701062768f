"""Closed-form gradients of convolutions are equal to autograd's, with either algorithm."""

import pytest
import torch
from torch.nn import functional as F

from ffcore_resnet.convolution import Conv, ConvNorm

R, C = 5, 3


def images(side, channels=C, dtype=torch.float64):
    return torch.randn(R, channels, side, side, generator=torch.Generator().manual_seed(0), dtype=dtype)


@pytest.mark.parametrize("side", [4, 9], ids=["few places: one product", "many places"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
def test_gradients_of_weights_are_those_of_autograd(side, stride, kernel):
    conv = Conv((C, side, side), 4, kernel, stride, bias=True).double()
    x = images(side)
    activity = conv(x)
    up = torch.randn_like(activity)
    wanted = torch.autograd.grad(activity, [conv.conv.weight, conv.conv.bias], up)
    with torch.no_grad():
        conv.add_gradients(x, activity.detach(), up.clone())
    for parameter, right in zip((conv.conv.weight, conv.conv.bias), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, right, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("activation", ["relu", "tanh", "identity"])
def test_dropped_units_get_no_gradient(activation):
    conv = Conv((C, 6, 6), 4, activation=activation, dropout=0.5).double().train()
    x = images(6)
    activity = conv(x)
    up = torch.randn_like(activity)
    (right,) = torch.autograd.grad(activity, [conv.conv.weight], up)
    with torch.no_grad():
        conv.add_gradients(x, activity.detach(), up.clone())
    torch.testing.assert_close(conv.conv.weight.grad, right, rtol=1e-10, atol=1e-10)


def test_an_expanded_derivative_is_accepted():
    conv = Conv((C, 6, 6), 4).double()
    x = images(6)
    with torch.no_grad():
        activity = conv(x)
        up = torch.randn(R, 4, 1, 1, dtype=torch.float64).expand_as(activity)
        conv.add_gradients(x, activity, up)
        laid_out, conv.conv.weight.grad = conv.conv.weight.grad, None
        conv.add_gradients(x, activity, up.clone())
    torch.testing.assert_close(laid_out, conv.conv.weight.grad, rtol=0, atol=0)


def test_dropout_would_hide_what_pass_through_units_need():
    with pytest.raises(ValueError, match="does not work with activation relu-pass-through"):
        Conv((C, 6, 6), 4, activation="relu-pass-through", dropout=0.1)


def test_activities_lie_channels_last_whatever_comes_in():
    made = Conv((C, 8, 8), 4)(images(8, dtype=torch.float32))
    assert made.is_contiguous(memory_format=torch.channels_last)


def test_goodness_is_measured_behind_pool_and_batch_norm():
    body = ConvNorm((C, 8, 8), 4, pool=2).double().train()
    x = images(8)
    made = F.max_pool2d(torch.relu(F.conv2d(x, body.conv.conv.weight, body.conv.conv.bias, padding=1)), 2)
    mean, var = made.mean((0, 2, 3), keepdim=True), made.var((0, 2, 3), keepdim=True, unbiased=False)
    torch.testing.assert_close(body(x), (made - mean) / (var + 1e-4).sqrt(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((12,), {}, "needs images of C×H×W"),
        ((3, 1, 1), {"stride": 2}, "stride: 2 is larger than the image of 1×1"),
        ((3, 8, 8), {"groups": 2}, "2 groups do not divide the input's channels, 3"),
        ((3, 8, 8), {"kernel": 4}, "kernel: 4 is even"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shape, options, message):
    with pytest.raises(ValueError, match=message):
        Conv(shape, 4, **options)
