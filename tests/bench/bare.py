"""Bare loops: the computations of ffcore's recipes in plain torch, and nothing else.

Data are prepared tensors. Rows of one batch: N positives, then N negatives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

N, D, K = 100, 784, 10
Step = Callable[[], None]


def _batch() -> tuple[Tensor, Tensor]:
    return torch.rand(N, D), torch.randint(K, (N,))


def _weights(units: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    return [
        (nn.Parameter(torch.randn(u, d) / d**0.5), nn.Parameter(torch.zeros(u)))
        for d, u in pairwise([D, *units])
    ]


@torch.no_grad()
def forward_forward(units: Sequence[int]) -> Step:
    """The fastest loop: closed-form gradients, the first product shared by both views, one fused Adam."""
    (x, y), layers = _batch(), _weights(units)
    parameters = [p for layer in layers for p in layer]
    adam = torch.optim.Adam(parameters, lr=1e-3, fused=True)
    # dL/dgoodness of the logistic loss: sigmoid − 1 for positives, sigmoid for negatives
    sign = torch.cat([torch.ones(N), torch.zeros(N)])

    @torch.no_grad()
    def step() -> None:
        labels = torch.cat([y, (y + torch.randint(1, K, (N,))) % K])
        base = x.clone()
        base[:, :K] = 0
        base *= (D / (base.square().sum(1, keepdim=True) + 1)).sqrt_()  # + 1: the label's one-hot code
        mark = (D / (x[:, K:].square().sum(1) + 1)).sqrt_().repeat(2).unsqueeze(1)
        code = F.one_hot(labels, K) * mark
        h = code
        for i, (w, b) in enumerate(layers):
            if i == 0:
                a = torch.addmm(b, code, w[:, :K].T)
                # both views have the same image: its product is computed once
                a.view(2, N, -1).add_(base @ w.T)
            else:
                a = torch.addmm(b, h, w.T)
            a.relu_()
            square = torch.linalg.vector_norm(a, dim=1).square_()
            up = (torch.sigmoid(square - a.shape[1]) - sign) * (2 / N)
            # ∂(a²)/∂z = 2 a relu'(z) = 2 a, since a is 0 where relu' is 0; the factor 2 is in ``up``
            down = a * up.unsqueeze(1)
            b.grad = down.sum(0)
            if i == 0:
                w.grad = (down[:N] + down[N:]).T @ base
                w.grad[:, :K] += (code.T @ down).T  # a tenth of down.T @ code
            else:
                w.grad = down.T @ h
            h = a.mul_((a.shape[1] / square).sqrt_().clamp_max_(1e8).unsqueeze(1))
        adam.step()

    return step


def forward_forward_autograd(units: Sequence[int]) -> Step:
    """Both views in one batch, autograd for each layer, fused Adam."""
    (x, y), layers = _batch(), _weights(units)
    adams = [torch.optim.Adam(layer, lr=1e-3, fused=True) for layer in layers]
    eye = torch.eye(K)

    def step() -> None:
        h = torch.cat([x, x])
        h[:, :K] = eye[torch.cat([y, (y + torch.randint(1, K, (N,))) % K])]
        h = h / (h.square().mean(1, keepdim=True).sqrt() + 1e-8)
        for (w, b), adam in zip(layers, adams, strict=True):
            a = torch.relu(F.linear(h, w, b))
            logits = a.square().sum(1) - a.shape[1]
            loss = F.softplus(-logits[:N]).mean() + F.softplus(logits[N:]).mean()
            adam.zero_grad()
            loss.backward()
            h = a.detach()  # the handoff: no gradient between layers
            h = h / (h.square().mean(1, keepdim=True).sqrt() + 1e-8)
            adam.step()

    return step


def forward_forward_naive(units: Sequence[int]) -> Step:
    """The common implementation: separate passes for positives and negatives, a plain Adam for each layer."""
    (x, y), layers = _batch(), _weights(units)
    adams = [torch.optim.Adam(layer, lr=1e-3) for layer in layers]
    eye = torch.eye(K)

    def step() -> None:
        positive, negative = x.clone(), x.clone()
        positive[:, :K], negative[:, :K] = eye[y], eye[(y + torch.randint(1, K, (N,))) % K]
        for (w, b), adam in zip(layers, adams, strict=True):
            views = []
            for h in (positive, negative):
                z = h / (h.square().mean(1, keepdim=True).sqrt() + 1e-8)
                views.append(torch.relu(F.linear(z, w, b)))
            good, bad = (a.square().sum(1) - a.shape[1] for a in views)
            loss = F.softplus(-good).mean() + F.softplus(bad).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            positive, negative = (a.detach() for a in views)

    return step


def backprop(units: Sequence[int], fused: bool | None = True) -> Step:
    """The same layers with a linear head and cross-entropy, one Adam."""
    x, y = _batch()
    hidden = [m for d, u in pairwise([D, *units]) for m in (nn.Linear(d, u), nn.ReLU())]
    net = nn.Sequential(*hidden, nn.Linear(units[-1], K))
    adam = torch.optim.Adam(net.parameters(), lr=1e-3, fused=fused)

    def step() -> None:
        adam.zero_grad()
        F.cross_entropy(net(x), y).backward()
        adam.step()

    return step
