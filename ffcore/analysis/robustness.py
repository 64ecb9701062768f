"""Accuracy of a network on changed inputs.

    noise       x + σ u ε,  ε standard normal                               σ in units u of the data
    shift       x moved by d pixels; the mean over up, down, left, right    pixels that come in are empty
    fgsm        x + e u sign(∂m/∂x)                       Goodfellow, Shlens and Szegedy 2015, arXiv:1412.6572
    transfer    fgsm with the m of another network

m is large where a wrong class is near (`ffcore.analysis.loss`); its gradient has the direction of that of the
cross-entropy of the network's own class scores. Where another network's gradient harms more than the own one,
the own one says little, and accuracy under fgsm is no robustness (Athalye et al. 2018, arXiv:1802.00420). For
images of bytes u is their whole range, and changed inputs are cut to it; for other floats u is the standard
deviation of all values, and nothing is cut.

N samples; x (N, *shape) as the network gets them; y (N,) classes; C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ffcore.analysis.loss import attached_scores, refuse_other_tasks, wrongness
from ffcore.blame import reported
from ffcore.errors import FOREIGN, UserError
from ffcore.interfaces.batch_rng import mix
from ffcore.interfaces.modes import evaluating
from ffcore.network import Network
from ffcore.report.analysis_record import Change, ChangeCurve

NOISE = (0.1, 0.2, 0.3, 0.5)
SHIFTS = (1, 2, 3, 4)
FGSM = (0.01, 0.02, 0.05, 0.1, 0.2)

_SEED = 0x6E6F69
_DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0))


@dataclass(frozen=True, slots=True)
class Scale:
    """The unit and the ends of inputs.

    Attributes:
        unit: u, of each channel (C, 1, …) or of all values (1,).
        low: least input, in the same form; None: nothing is cut.
        high: largest input.
        empty: the value of a pixel that comes in.
    """

    unit: Tensor
    low: Tensor | None
    high: Tensor | None
    empty: Tensor

    @classmethod
    def of_bytes(cls, mean: Sequence[float], std: Sequence[float], dims: int, dtype: torch.dtype) -> Scale:
        """Return the scale of images whose range 0 to 1 became (x − mean) / std.

        Args:
            mean: of each channel, or one.
            std: of each channel, or one.
            dims: dimensions of a sample.
            dtype: of the inputs.
        """
        shape = (-1, *[1] * (dims - 1))
        m, s = (torch.tensor(list(each), dtype=torch.float64).reshape(shape) for each in (mean, std))
        low, high = (-m / s).to(dtype), ((1 - m) / s).to(dtype)
        return cls((1 / s).to(dtype), low, high, low)

    @classmethod
    def of_values(cls, x: Tensor) -> Scale:
        """Return the scale of other floats: the standard deviation of all values; empty is the least one."""
        return cls(x.double().std(correction=0).to(x.dtype).reshape(1), None, None, x.min().reshape(1))

    def cut(self, x: Tensor) -> Tensor:
        """Return inputs cut to their range."""
        if self.low is None or self.high is None:
            return x
        return torch.minimum(torch.maximum(x, self.low), self.high)


def robustness(
    net: Network,
    x: Tensor,
    y: Tensor,
    scale: Scale,
    scores: Callable[[Tensor], Tensor],
    *,
    seed: int,
    at_once: int,
    other: tuple[Network, Tensor] | None = None,
    tell: Callable[[str], object] = lambda what: None,
) -> tuple[float, list[ChangeCurve]]:
    """Return the accuracy on the samples as they are, and the curves.

    Args:
        net: the network.
        x: (N, *shape) samples.
        y: (N,) classes.
        scale: unit and ends of the inputs.
        scores: returns the network's scores (N, K) for (N, *shape).
        seed: of the noise.
        at_once: samples of a batch.
        other: another network, and the same samples as it gets them.
        tell: called with what is done next.

    Raises:
        UserError: the network does not classify samples, or a sample is not one tensor of floats.
    """
    refuse_other_tasks(net)
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise UserError("inputs are not one tensor of floats")

    def right(changed: Tensor) -> float:
        parts = zip(torch.split(changed, at_once), torch.split(y, at_once), strict=True)
        return sum(int((scores(some).argmax(1) == own).sum()) for some, own in parts) / len(y)

    tell("noise")
    normal = torch.randn(x.shape, generator=torch.Generator().manual_seed(mix(seed, _SEED)), dtype=x.dtype)
    normal = normal.to(x.device)
    curves = [
        _curve("noise", NOISE, [right(scale.cut(x + s * scale.unit * normal)) for s in NOISE]),
    ]
    tell("shifts")
    if x.dim() == 4 and min(x.shape[2:]) > 2:
        sizes = tuple(d for d in SHIFTS if 2 * d < min(x.shape[2:]))
        means = [sum(right(shifted(x, d, of, scale.empty)) for of in _DIRECTIONS) / 4 for d in sizes]
        curves.append(_curve("shift", sizes, means))
    else:
        curves.append(ChangeCurve(change="shift", reason="samples are not images"))
    attacks: list[tuple[Literal["fgsm", "transfer"], Network, Tensor]] = [("fgsm", net, x)]
    if other is not None:
        attacks.append(("transfer", *other))
    for change, of, own in attacks:
        tell(change)
        try:
            parts = zip(torch.split(own, at_once), torch.split(y, at_once), strict=True)
            signs = torch.cat([signs_of(of, some, classes) for some, classes in parts])
        except FOREIGN as error:
            why = str(error) if isinstance(error, UserError) else reported(error)
            curves.append(ChangeCurve(change=change, reason=why))
            continue
        made = [right(scale.cut(x + e * scale.unit * signs)) for e in FGSM]
        still = float((signs.flatten(1) == 0).all(1).double().mean())
        curves.append(_curve(change, FGSM, made, still))
    return right(x), curves


def _curve(
    change: Change, levels: Sequence[float], accuracies: Sequence[float], still: float = 0.0
) -> ChangeCurve:
    return ChangeCurve(
        change=change, levels=tuple(map(float, levels)), accuracies=tuple(accuracies), still=still
    )


def signs_of(net: Network, x: Tensor, y: Tensor) -> Tensor:
    """Return sign(∂m/∂x), (N, *shape): the direction of the fast gradient sign method.

    Args:
        net: the network; it does not change.
        x: (N, *shape) samples.
        y: (N,) classes.

    Raises:
        UserError: no gradient leads from the class scores to the samples.
    """
    with evaluating(net), torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        total = wrongness(attached_scores(net, leaf), y).sum()
        (gradient,) = torch.autograd.grad(total, leaf, allow_unused=True)
    if gradient is None:
        raise UserError("no gradient leads from the class scores to the input")
    if not bool(gradient.isfinite().all()):
        raise UserError("the gradient of the class scores by the input is not finite")
    return gradient.sign()


def shifted(x: Tensor, d: int, direction: tuple[int, int], empty: Tensor) -> Tensor:
    """Return images moved by d pixels; pixels that come in are empty.

    >>> shifted(torch.tensor([[[[1.0, 2.0, 3.0]]]]), 1, (0, 1), torch.zeros(1)).tolist()
    [[[[0.0, 1.0, 2.0]]]]

    Args:
        x: (N, C, H, W).
        d: pixels.
        direction: rows and columns of one step, such as (0, 1) to the right.
        empty: value of an empty pixel, (C, 1, 1) or (1,).
    """
    down, right = (d * step for step in direction)
    height, width = x.shape[2:]
    made = empty.expand(x.shape).clone()
    to = made[:, :, max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]
    to.copy_(x[:, :, max(0, -down) : height + min(0, -down), max(0, -right) : width + min(0, -right)])
    return made
