"""What goes through the network in one pass, and what comes out of a block.

N samples; R rows = all views of a batch, stacked view by view; K classes; D input features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ffcore.interfaces.draw import Draw


@dataclass(frozen=True, slots=True)
class LabelledInput:
    """Inputs that differ only in a label code on their first features.

    Row r is ``scale[r] * (base[r mod B] + [code[r], 0, 0, …])``, with the first features of ``base`` zero.
    A first layer that knows the form multiplies ``base`` once for all views that share it.

    Attributes:
        base: (B, *shape) samples whose first M features (in flattened order) are zero; B divides R.
        code: (R, M) label codes.
        scale: (R, 1) factor of each row (input normalisation), or None for 1.
    """

    base: Tensor
    code: Tensor
    scale: Tensor | None = None

    def __post_init__(self) -> None:
        if len(self.code) % len(self.base):
            raise ValueError(f"{len(self.code)} codes do not repeat over {len(self.base)} samples")

    @property
    def shape(self) -> torch.Size:
        """Shape of the dense tensor, (R, *shape)."""
        return torch.Size((len(self.code), *self.base.shape[1:]))

    def detach(self) -> LabelledInput:
        """The same numbers without a graph."""
        if not (self.base.requires_grad or self.code.requires_grad):
            return self
        scale = self.scale.detach() if self.scale is not None else None
        return LabelledInput(self.base.detach(), self.code.detach(), scale)

    def dense(self) -> Tensor:
        """(R, *shape): the tensor that this stands for."""
        flat = self.base.flatten(1)
        rows = flat.repeat(len(self.code) // len(flat), 1)
        rows[:, : self.code.shape[1]] += self.code
        if self.scale is not None:
            rows *= self.scale
        return rows.view(self.shape)


def dense(x: Tensor | LabelledInput) -> Tensor:
    """The tensor itself, or that which it stands for."""
    return x.dense() if isinstance(x, LabelledInput) else x


@dataclass(frozen=True, slots=True)
class Views:
    """One pass through the network.

    Attributes:
        x: (R, *shape) rows of all views, stacked view by view.
        roles: name of each view: "positive", "negative", "neutral", "all", …
        sizes: rows of each view. Static, so that slicing never synchronises with a device; the first view
            holds the batch's samples.
        y: (N,) true classes, or None.
        claim: (R,) the class each row claims to be, −1 for none; or None.
        extra: what a plugin's own losses read: coarse labels, targets, goodness of an earlier pass.
        upstream: goodness of the blocks that ran earlier in this pass, detached; filled by the pass. Of a
            block that runs more than once it is the last one.
        draw: the batch's random numbers, if it has any.
        learns: whether blocks learn in this pass; the network sets it where circuits want to know.
    """

    x: Tensor | LabelledInput
    roles: tuple[str, ...]
    sizes: tuple[int, ...]
    y: Tensor | None = None
    claim: Tensor | None = None
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    upstream: list[Tensor] = field(default_factory=list)
    draw: Draw | None = None
    learns: bool = False

    def __post_init__(self) -> None:
        if len(self.roles) != len(self.sizes) or sum(self.sizes) != self.x.shape[0]:
            raise ValueError(
                f"views {self.roles} of sizes {self.sizes} do not add up to {self.x.shape[0]} rows"
            )

    @property
    def samples(self) -> int:
        """Number of samples N: what a mean over samples divides by."""
        return self.sizes[0]

    def of(self, t: Tensor, role: str) -> Tensor:
        """The rows of ``t`` (R, …) that belong to ``role``, as a view of its memory.

        Raises:
            KeyError: when no view of this pass has that role.
        """
        start = 0
        for name, size in zip(self.roles, self.sizes, strict=True):
            if name == role:
                return t.narrow(0, start, size)
            start += size
        raise KeyError(f"no view {role!r} in this pass; there are {', '.join(self.roles)}")


@dataclass(slots=True)
class Out:
    """What a block made of its inputs, not yet detached.

    Attributes:
        activity: (R, *shape) what the goodness is measured on.
        handoff: (R, *shape') what later blocks receive.
        goodness: (R,) energies or (R, K_l) class goodness; None where the block has none.
        upstream: goodness of the blocks that ran earlier in this pass, detached; filled by the pass.
    """

    activity: Tensor
    handoff: Tensor
    goodness: Tensor | None
    upstream: tuple[Tensor, ...] = ()
