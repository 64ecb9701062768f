"""Goodness of each class, from channels that learn which classes they work for.

R rows; C channels; K classes.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ffcore.interfaces import Context, Goodness, Progress
from ffcore.interfaces.goodness import Form
from ffcore.options import Positive
from ffcore_channel.pooling import product, responses

CONSTANT = 0.5
SIGMA = 1e-2


class ChannelAssignment(Goodness):
    """g = aᵀW with a_c = α·mean + β·max + γ·min of channel c, and W = softmax over classes of A/T.

    A (C, K) and the temperature T = clamp(exp τ, 0.1, 100) · δ^epoch learn with the block, so that each
    channel holds a distribution over the classes (CAW-Conv, Ghader et al. 2026, arXiv:2606.09928). A sum over
    channels: its scale grows with C, which need not be a multiple of K.

    Args:
        alpha: α, of the mean over places; an activity without places counts α + β + γ times.
        beta: β, of the maximum.
        gamma: γ, of the minimum.
        temperature: exp τ at the start.
        decay: δ.
        init: of A; normal: N(0, 0.01); constant: 0.5, as released, where all W are equal and the body's
            first gradient is zero.
    """

    form: ClassVar[Form] = "class"
    logits: nn.Parameter
    cooled: Tensor
    examples = ({"init": "constant"}, {"alpha": 1.0, "beta": 0.0, "gamma": 0.0})

    def __init__(
        self,
        alpha: float = 0.94,
        beta: float = 0.06,
        gamma: float = -0.05,
        temperature: Positive = 10.0,
        decay: Annotated[float, Field(gt=0, le=1)] = 0.995,
        init: Literal["normal", "constant"] = "normal",
    ) -> None:
        super().__init__()
        self.alpha, self.beta, self.gamma = alpha, beta, gamma
        self.decay = decay
        self.init = init
        self.log_temperature = nn.Parameter(torch.tensor(temperature).log())
        self.register_buffer("cooled", torch.ones(()))

    def setup(self, context: Context) -> None:
        """Make A."""
        self.logits = nn.Parameter(torch.full((context.shape[0], context.classes), CONSTANT))
        if self.init == "normal":
            nn.init.normal_(self.logits, std=SIGMA)

    def advance(self, progress: Progress) -> None:
        """Cool down: δ^epoch."""
        self.cooled.fill_(self.decay**progress.epoch)

    def temperature(self) -> Tensor:
        """T, a scalar."""
        return self.log_temperature.exp().clamp(0.1, 100) * self.cooled

    def assignment(self) -> Tensor:
        """W (C, K): the distribution of each channel over the classes."""
        return torch.softmax(self.logits / self.temperature(), 1)

    def forward(self, activity: Tensor) -> Tensor:
        """(R, C, *) → (R, K)."""
        return product(responses(activity, self.alpha, self.beta, self.gamma), self.assignment())

    def arrays(self) -> dict[str, Tensor]:
        """What reports draw: ``assignment``."""
        return {"assignment": self.assignment().detach()}
