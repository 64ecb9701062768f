"""Operations that are written in terms of others give the numbers of torch's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.exports.trace import traced

CASES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], tuple[int, ...], tuple[int, ...]]] = {
    "convolution": (lambda x, w: F.conv2d(x, w, padding=1), (3, 4, 6, 6), (5, 4, 3, 3)),
    "convolution with a stride": (
        lambda x, w: F.conv2d(x, w, stride=2, padding=1),
        (3, 4, 8, 8),
        (5, 4, 3, 3),
    ),
    "dilated convolution": (lambda x, w: F.conv2d(x, w, dilation=2), (3, 4, 7, 7), (5, 4, 3, 3)),
    "grouped convolution": (lambda x, w: F.conv2d(x, w, groups=2), (3, 4, 6, 6), (6, 2, 3, 3)),
    "average pooling": (lambda x, w: F.avg_pool2d(x * w, 2), (3, 4, 6, 6), (4, 6, 6)),
    "overlapping average pooling": (
        lambda x, w: F.avg_pool2d(x * w, 3, stride=2, padding=1),
        (3, 4, 6, 6),
        (4, 6, 6),
    ),
    "adaptive average pooling": (lambda x, w: F.adaptive_avg_pool2d(x * w, (3, 2)), (3, 4, 6, 6), (4, 6, 6)),
    "a part of the rows": (lambda x, w: (x * w)[1:3], (5, 4), (4,)),
    "cross-entropy": (lambda x, w: F.cross_entropy(x * w, torch.tensor([0, 3, 1])), (3, 4), (4,)),
    "SiLU": (lambda x, w: F.silu(x * w), (3, 6), (6,)),
    "Mish": (lambda x, w: F.mish(x * w), (3, 6), (6,)),
    "layer normalisation": (lambda x, w: F.layer_norm(x, (6,), w), (3, 6), (6,)),
}


@pytest.mark.parametrize("profile", [None, "minimal"])
@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_those_of_autograd(name: str, profile: str | None) -> None:
    function, of_x, of_w = CASES[name]
    x, w = torch.randn(of_x), torch.randn(of_w)

    def derivatives(x: Tensor, w: Tensor) -> list[Tensor]:
        x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
        made = function(x, w)
        loss = (made * made).sum() + made.sum()
        return [loss.detach(), *torch.autograd.grad(loss, (x, w))]

    graph = traced(derivatives, [x, w], [False, False], profile)
    with torch.no_grad():
        made = graph(x, w)
    for a, b in zip(made, derivatives(x, w), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_batch_normalisation_moves_its_running_statistics(training: bool) -> None:
    def step(x: Tensor, mean: Tensor, var: Tensor) -> list[Any]:
        norm = nn.BatchNorm2d(4, momentum=0.3).train(training)
        norm.running_mean, norm.running_var = mean.clone(), var.clone()
        x = x.detach().requires_grad_()
        made = norm(x)
        (up,) = torch.autograd.grad((made**3).sum(), x)
        return [made.detach(), up, norm.running_mean, norm.running_var]

    inputs = [torch.randn(5, 4, 3, 3), torch.randn(4), torch.rand(4) + 0.5]
    graph = traced(step, inputs, [True, False, False])
    with torch.no_grad():
        made = graph(*inputs)
    for a, b in zip(made, step(*inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
