"""What goes through the network in one pass, and what comes out of a block.

N samples; R rows = all views of a batch, stacked view by view; K classes; D input features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from ffcore.interfaces.batch_rng import BatchRNG
from ffcore.interfaces.structure import rows
from ffcore.private import empty_wrapper, no_torch_function


class LabelledInput(Tensor):
    """Inputs that differ only in a label code on their first features: a tensor (R, *shape) in parts.

    Row r is ``scale[r] * (base[r mod B] + [code[r], 0, 0, …])``, with the first features of ``base`` zero.
    A first layer that knows the form multiplies ``base`` once for all views that share it. Every other
    operation sees the dense tensor: `dense` is computed for it, and the result is an ordinary tensor.

    No gradient flows back into the parts, and no operation may change such a tensor in place. A body of a
    block gets the dense tensor unless it says ``takes_labelled_input = True``.

    >>> x = LabelledInput(torch.tensor([[0.0, 7.0]]), torch.tensor([[3.0], [4.0]]))
    >>> x.shape, (x + 1).tolist()
    (torch.Size([2, 2]), [[4.0, 8.0], [5.0, 8.0]])

    Args:
        base: (B, *shape) samples whose first M features (in flattened order) are zero; B divides R.
        code: (R, M) label codes.
        scale: (R, 1) factor of each row (input normalisation), or None for 1.

    Raises:
        ValueError: when B does not divide R.
    """

    base: Tensor
    code: Tensor
    scale: Tensor | None

    @staticmethod
    def __new__(cls, base: Tensor, code: Tensor, scale: Tensor | None = None) -> LabelledInput:
        """An empty wrapper of the dense tensor's shape; see the class."""
        if len(code) % len(base):
            raise ValueError(f"{len(code)} codes do not repeat over {len(base)} samples")
        made = cast(LabelledInput, empty_wrapper(cls, (len(code), *base.shape[1:]), base))
        made.base, made.code = base.detach(), code.detach()
        made.scale = scale.detach() if scale is not None else None
        return made

    def __init__(self, base: Tensor, code: Tensor, scale: Tensor | None = None) -> None:
        pass

    def dense(self) -> Tensor:
        """(R, *shape): the ordinary tensor that this stands for."""
        flat = self.base.flatten(1)
        made = flat.repeat(len(self.code) // len(flat), 1)
        made[:, : self.code.shape[1]] += self.code
        if self.scale is not None:
            made *= self.scale
        return made.view(len(made), *self.base.shape[1:])

    def __repr__(self) -> str:  # type: ignore[override]
        return f"LabelledInput(base={tuple(self.base.shape)}, code={tuple(self.code.shape)})"

    # operations arrive in __torch_dispatch__, below autograd
    __torch_function__ = no_torch_function  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Give an operation that knows nothing of the parts the dense tensor."""
        if func is torch.ops.aten.detach.default:
            (x,) = args
            return LabelledInput(x.base, x.code, x.scale)
        if func._schema.is_mutable and any(
            isinstance(a, LabelledInput) for a in (*args, *(kwargs or {}).values())
        ):
            raise RuntimeError(
                f"{func}: a labelled input cannot be changed in place; use an operation that makes a copy"
            )
        return func(*map(_densified, args), **{key: _densified(v) for key, v in (kwargs or {}).items()})

    def __tensor_flatten__(self) -> tuple[list[str], bool]:
        """For `torch.compile`: the names of the parts."""
        parts = ["base", "code"] if self.scale is None else ["base", "code", "scale"]
        return parts, self.scale is not None

    @staticmethod
    def __tensor_unflatten__(parts: dict[str, Tensor], scaled: bool, size: Any, stride: Any) -> LabelledInput:
        """For `torch.compile`: the tensor again."""
        return LabelledInput(parts["base"], parts["code"], parts.get("scale"))


def _densified(value: Any) -> Any:
    if isinstance(value, LabelledInput):
        return value.dense()
    return [_densified(each) for each in value] if type(value) in (list, tuple) else value


def dense(x: Tensor) -> Tensor:
    """The tensor itself, or the ordinary one that a `LabelledInput` stands for."""
    return x.dense() if isinstance(x, LabelledInput) else x


@dataclass(frozen=True, slots=True)
class Views:
    """One pass through the network.

    Attributes:
        x: (R, *shape) rows of all views, stacked view by view; perhaps a `LabelledInput`. For models of
            several inputs a tuple or mapping of tensors, all of R rows.
        roles: name of each view: "positive", "negative", "neutral", "all", …
        sizes: rows of each view. Static, so that slicing never synchronises with a device; the first view
            holds the batch's samples.
        y: (N,) true classes, or None.
        hypothesis: (R,) the class each row is tested under, −1 for none; or None.
        extra: what a plugin's own losses read: coarse labels, targets, goodness of an earlier pass.
        upstream: goodness of the blocks that ran earlier in this pass, detached; filled by the pass. Of a
            block that runs more than once it is the last one.
        rng: the batch's random numbers, if it has any.
        learns: whether blocks learn in this pass; the network sets it where circuits want to know.
    """

    x: Any
    roles: tuple[str, ...]
    sizes: tuple[int, ...]
    y: Tensor | None = None
    hypothesis: Tensor | None = None
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    upstream: list[Tensor] = field(default_factory=list)
    rng: BatchRNG | None = None
    learns: bool = False

    def __post_init__(self) -> None:
        if len(self.roles) != len(self.sizes) or sum(self.sizes) != rows(self.x):
            raise ValueError(f"views {self.roles} of sizes {self.sizes} do not add up to {rows(self.x)} rows")

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


class Out:
    """What a block made of its inputs, not yet detached.

    Args:
        activity: see below.
        handoff: a tensor, or a function that makes it when it is first asked for.
        goodness: see below.

    Attributes:
        activity: (R, *shape) what the goodness is measured on.
        handoff: (R, *shape') what later blocks receive.
        goodness: (R,) energies or (R, K_l) class goodness; None where the block has none.
        upstream: goodness of the blocks that ran earlier in this pass, detached; filled by the pass.
    """

    __slots__ = ("_handoff", "activity", "goodness", "upstream")

    def __init__(
        self, activity: Tensor, handoff: Tensor | Callable[[], Tensor], goodness: Tensor | None
    ) -> None:
        self.activity = activity
        self._handoff = handoff
        self.goodness = goodness
        self.upstream: tuple[Tensor, ...] = ()

    @property
    def handoff(self) -> Tensor:
        """See the class."""
        if not isinstance(self._handoff, Tensor):
            self._handoff = self._handoff()
        return self._handoff
