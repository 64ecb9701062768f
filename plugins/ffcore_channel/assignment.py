"""Goodness of each class, from channels whose class weights are learned.

    a_rc = α·mean + β·max + γ·min of channel c over its positions
    W    = softmax over classes of A/T
    g    = a W

R rows; C channels; K classes; a (R, C); A, W (C, K); g (R, K).
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.interfaces import Context, Goodness, Progress
from ffcore.interfaces.goodness import Form
from ffcore.options import Positive
from ffcore_channel.pooling import product, responses

CONSTANT = 0.5
SIGMA = 1e-2
Init = Literal["partition", "normal", "constant"]


class ChannelAssignment(Goodness):
    """Learned weights from channels to classes, g = aᵀW, W = softmax(A/T).

    a_c = α·mean + β·max + γ·min of channel c. A (C, K) and τ learn with the block, and
    T = clamp(exp τ, 0.1, 100) · δ^epoch. Each channel has a distribution over the classes (CAW-Conv, Ghader
    et al. 2026, arXiv:2606.09928). The goodness is a sum over channels: its scale grows with C. C need not be
    a multiple of K.

    Args:
        alpha: α, factor of the mean over positions; a dense activity is multiplied by α + β + γ.
        beta: β, factor of the maximum.
        gamma: γ, factor of the minimum.
        temperature: exp τ at the start.
        decay: δ, factor on T per epoch.
        init: initial A. partition: neighbouring channels have the same class, with the largest W, so that
            learning starts like that of a `ChannelPartition`; normal: standard deviation 0.01; constant: 0.5,
            as in the released code. With constant all W are equal, and the body's first gradient is zero;
            with normal they are nearly equal, and the gradient is small until A has grown.
        odds: with partition, the initial W of a channel's own class divided by that of another class; the W
            of the own class is odds/(odds + K − 1), 0.5 for ten classes.

    Raises:
        ValueError: when ``odds`` is not greater than 1.
    """

    form: ClassVar[Form] = "class"
    logits: nn.Parameter
    cooled: Tensor
    examples = ({"init": "constant"}, {"init": "normal"}, {"alpha": 1.0, "beta": 0.0, "gamma": 0.0})

    def __init__(
        self,
        alpha: float = 0.94,
        beta: float = 0.06,
        gamma: float = -0.05,
        temperature: Positive = 10.0,
        decay: Annotated[float, Field(gt=0, le=1)] = 0.995,
        init: Init = "partition",
        odds: Annotated[float, Field(gt=1)] = 9.0,
    ) -> None:
        super().__init__()
        if odds <= 1:
            raise ValueError(f"odds: {odds} should be greater than 1; at 1 all classes have equal weights")
        self.alpha, self.beta, self.gamma = alpha, beta, gamma
        self.decay = decay
        self.init = init
        self.odds = odds
        # The logarithm keeps the learned temperature positive.
        self.log_temperature = nn.Parameter(torch.tensor(temperature).log())
        # A buffer: a resumed run continues with the same factor.
        self.register_buffer("cooled", torch.ones(()))

    def setup(self, context: Context) -> None:
        """Make A."""
        channels, classes = context.shape[0], context.classes
        self.logits = nn.Parameter(torch.full((channels, classes), CONSTANT))
        if self.init == "normal":
            nn.init.normal_(self.logits, std=SIGMA)
        elif self.init == "partition":
            own = F.one_hot(torch.arange(channels) * classes // channels, classes)
            with torch.no_grad():
                self.logits.copy_(own * (self.temperature() * math.log(self.odds)))

    def advance(self, progress: Progress) -> None:
        """Update δ^epoch."""
        self.cooled.fill_(self.decay**progress.epoch)

    def temperature(self) -> Tensor:
        """Return T, a scalar."""
        return self.log_temperature.exp().clamp(0.1, 100.0) * self.cooled

    def assignment(self) -> Tensor:
        """Return W (C, K), the distribution of each channel over the classes."""
        return torch.softmax(self.logits / self.temperature(), 1)

    def forward(self, activity: Tensor) -> Tensor:
        """(R, C, *) → (R, K)."""
        return product(responses(activity, self.alpha, self.beta, self.gamma), self.assignment())

    def arrays(self) -> dict[str, Tensor]:
        """Return ``assignment``, for reports."""
        return {"assignment": self.assignment().detach()}
