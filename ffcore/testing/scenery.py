"""Fixtures of the checks: random numbers, views, contexts, small networks.

N samples; K classes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.interfaces import Context, Goodness, LearningRule, Objective, Views
from ffcore.interfaces.goodness import Form
from ffcore.local import GoodnessLoss, Gradient, LocalBlock, LocalNetwork, block_optimizers

N = 6
K = 4
FEATURES = 10


@dataclass(frozen=True)
class Placed:
    """A component that has been set up, and one way to use it.

    Attributes:
        part: the component, set up.
        use: returns the component's output for a fixed input.
    """

    part: nn.Module
    use: Callable[[], Tensor]


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return standard normal numbers, equal for equal arguments."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def place(shape: tuple[int, ...], name: str = "block1", depth: int = 0, **more: Any) -> Context:
    """Return the context of a block in a network of two, with two super-classes."""
    return Context(
        shape,
        K,
        name=name,
        depth=depth,
        blocks=2,
        superclass_of=torch.arange(K) // 2,
        unit_goodness=float(math.prod(shape)),
        **more,
    )


def pair(x: Tensor) -> Views:
    """Return (2N, …) rows as a positive and a negative view."""
    n = len(x) // 2
    y = torch.arange(n) % K
    return Views(x, ("positive", "negative"), (n, n), y=y, hypothesis=torch.cat([y, (y + 1) % K]))


def single(x: Tensor) -> Views:
    """Return (N, …) rows as one view."""
    return Views(x, ("all",), (len(x),), y=torch.arange(len(x)) % K)


def energy_of(activity: Tensor) -> Tensor:
    """Mean square of each row, (R, *shape) → (R,)."""
    return activity.flatten(1).square().mean(1)


class Energy(Goodness):
    """Mean square of a row."""

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R,)."""
        return energy_of(activity)


class Classes(Goodness):
    """The first K units of a row."""

    form: ClassVar[Form] = "class"

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R, K)."""
        return activity.flatten(1)[:, :K]


class Margin(Objective):
    """softplus of the second half's goodness minus the first half's, a mean."""

    def forward(self, goodness: Tensor, views: Views) -> Tensor:
        """(R,) → a scalar."""
        positive, negative = goodness.chunk(2)
        return F.softplus(negative - positive).mean()


class Likelihood(Objective):
    """Cross-entropy with the true class."""

    accepts: ClassVar[Form] = "class"

    def forward(self, goodness: Tensor, views: Views) -> Tensor:
        """(R, K) → a scalar."""
        assert views.y is not None
        return F.cross_entropy(goodness[: views.samples], views.y)


class Layer(nn.Linear):
    """relu(W x + b)."""

    def forward(self, input: Tensor) -> Tensor:
        """(R, D) → (R, U)."""
        return torch.relu(super().forward(input.flatten(1)))


def network(form: Form, rule: LearningRule | None = None, units: int = 8) -> LocalNetwork:
    """Return two layers with local losses, each with a copy of the rule and plain gradient descent."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [Layer(FEATURES, units), Layer(units, units)]
    blocks = [
        LocalBlock(layer, Energy(), GoodnessLoss(Margin()))
        if form == "energy"
        else LocalBlock(layer, Classes(), GoodnessLoss(Likelihood()))
        for layer in layers
    ]
    for block in blocks:
        if rule is not None:
            block.rule = copy.deepcopy(rule)
    return taught(LocalNetwork(nn.Sequential(*blocks), (FEATURES,), K))


def taught(net: LocalNetwork, lr: float = 0.1, **options: Any) -> LocalNetwork:
    """Give every block plain gradient descent, with options of `block_optimizers`; return the network."""
    net.optimizers = block_optimizers(net, torch.optim.SGD, lr=lr, **{"fused": False, **options})
    return net


class Autograd(Gradient):
    """A gradient step by autograd: the plan uses closed forms only for `Gradient` itself, not a subclass."""


def by_autograd(net: LocalNetwork) -> LocalNetwork:
    """Give every block the rule `Autograd` and its own window; return the network."""
    for block in net.blocks:
        block.rule = Autograd()
    net.plan([range(i, i + 1) for i in range(len(net.learning))])
    return net
