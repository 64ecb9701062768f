"""The input of a pass through the network, and the output of a block.

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
    """A tensor (R, *shape) whose rows differ only in a label code on their first features, stored in parts.

    Row r is ``scale[r] * (base[r mod B] + [code[r], 0, 0, …])``, with the first features of ``base`` zero.
    A first layer that supports it multiplies ``base`` by the weights once for all views. Every other
    operation gets the dense tensor, which `dense` computes, and returns an ordinary tensor.

    No gradient flows back into the parts, and no operation may change such a tensor in place. Where samples
    need a gradient, as for adversarial samples, `LabelledInput.of` makes an ordinary tensor. The body of a
    block gets the dense tensor unless it sets ``takes_labelled_input = True``.

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
        """Return a wrapper without memory that has the dense tensor's shape; see the class."""
        if code.shape[0] % base.shape[0]:
            raise ValueError(f"{len(code)} codes do not repeat over {len(base)} samples")
        made = cast(LabelledInput, empty_wrapper(cls, (code.shape[0], *base.shape[1:]), base))
        made.base, made.code = base.detach(), code.detach()
        made.scale = scale.detach() if scale is not None else None
        return made

    def __init__(self, base: Tensor, code: Tensor, scale: Tensor | None = None) -> None:
        pass

    @staticmethod
    def of(base: Tensor, code: Tensor, scale: Tensor | None = None) -> Tensor:
        """Return a labelled input; if the samples have a graph, the ordinary tensor with the same graph.

        Args:
            base: see the class.
            code: see the class.
            scale: see the class.
        """
        if not (base.requires_grad and torch.is_grad_enabled()):
            return LabelledInput(base, code, scale)
        flat = base.flatten(1)
        rows = flat.repeat(code.shape[0] // flat.shape[0], 1)
        made = torch.cat([code, rows[:, code.shape[1] :]], 1)
        return (made if scale is None else made * scale).view(-1, *base.shape[1:])

    def dense(self) -> Tensor:
        """Return the ordinary tensor with the same values, (R, *shape)."""
        flat = self.base.flatten(1)
        made = flat.repeat(self.code.shape[0] // flat.shape[0], 1)
        # The base is zero there.
        made[:, : self.code.shape[1]] += self.code
        if self.scale is not None:
            made *= self.scale
        return made.view(-1, *self.base.shape[1:])

    def __repr__(self) -> str:  # type: ignore[override]
        return f"LabelledInput(base={tuple(self.base.shape)}, code={tuple(self.code.shape)})"

    # Operations are handled in __torch_dispatch__, below autograd.
    __torch_function__ = no_torch_function  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run any operation on the dense tensor."""
        # detach keeps the parts: a block detaches its input before its body can use them
        if func is torch.ops.aten.detach.default:
            (x,) = args
            return LabelledInput(x.base, x.code, x.scale)
        # A write would change the dense copy only, and be lost.
        if func._schema.is_mutable and any(
            isinstance(a, LabelledInput) for a in (*args, *(kwargs or {}).values())
        ):
            raise RuntimeError(
                f"{func}: a labelled input cannot be changed in place; use an operation that makes a copy"
            )
        return func(*map(_densified, args), **{key: _densified(v) for key, v in (kwargs or {}).items()})

    def __tensor_flatten__(self) -> tuple[list[str], bool]:
        """Return the names of the parts, for `torch.compile`."""
        parts = ["base", "code"] if self.scale is None else ["base", "code", "scale"]
        return parts, self.scale is not None

    @staticmethod
    def __tensor_unflatten__(parts: dict[str, Tensor], scaled: bool, size: Any, stride: Any) -> LabelledInput:
        """Return the tensor made of its parts, for `torch.compile`."""
        return LabelledInput(parts["base"], parts["code"], parts.get("scale"))


def _densified(value: Any) -> Any:
    if isinstance(value, LabelledInput):
        return value.dense()
    return [_densified(each) for each in value] if type(value) in (list, tuple) else value


def dense(x: Tensor) -> Tensor:
    """Return the tensor, or the dense form of a `LabelledInput`."""
    return x.dense() if isinstance(x, LabelledInput) else x


@dataclass(frozen=True, slots=True)
class Views:
    """The views of a batch: the input of one pass through the network.

    Attributes:
        x: (R, *shape) rows of all views, stacked view by view; perhaps a `LabelledInput`. For models with
            several inputs a tuple or mapping of tensors, all with R rows.
        roles: name of each view: "positive", "negative", "neutral", "all", …
        sizes: number of rows of each view, as Python integers: slicing must not wait for the device. The
            first view has the batch's N samples.
        y: targets of the samples: (N,) true classes, or those of another task; or None.
        hypothesis: (R,) hypothesis of each row, −1 for a row without one; or None.
        extra: tensors for a plugin's own losses: coarse labels, targets, goodness of an earlier pass.
        upstream: goodness of the blocks that ran earlier in this pass, detached; filled by the pass. For a
            block that runs several times it is that of the last call.
        rng: the batch RNG, or None.
        learns: whether blocks learn in this pass; set only for networks with circuits, or with black boxes
            that observe, which read it.
        targets: number of targets, the weight of this rank's gradient; None: the number of samples. The
            network sets it in tasks by position, where some positions may have no target.
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
    targets: int | None = None

    def __post_init__(self) -> None:
        if len(self.roles) != len(self.sizes) or sum(self.sizes) != rows(self.x):
            raise ValueError(f"views {self.roles} of sizes {self.sizes} do not add up to {rows(self.x)} rows")

    @property
    def samples(self) -> int:
        """Number of samples N, the divisor of a mean over samples."""
        return self.sizes[0]

    def of(self, t: Tensor, role: str) -> Tensor:
        """Return the rows of ``t`` (R, …) that belong to ``role``, as a view of its memory.

        Raises:
            KeyError: when no view of this pass has that role.
        """
        start = 0
        for name, size in zip(self.roles, self.sizes, strict=True):
            if name == role:
                # narrow with Python integers does not wait for the device.
                return t.narrow(0, start, size)
            start += size
        raise KeyError(f"no view {role!r} in this pass; there are {', '.join(self.roles)}")


class Out:
    """The output of a block, not yet detached.

    Args:
        activity: see below.
        handoff: a tensor, or a function that computes it when it is first read.
        goodness: see below.
        inputs: see below.

    Attributes:
        activity: (R, *shape) output of the body, input of the goodness.
        handoff: (R, *shape') input of later blocks.
        goodness: (R,) energies or (R, K) class goodness; None for a block without a goodness.
        inputs: (R, *shape) inputs of the body.
        upstream: goodness of the blocks that ran earlier in this pass, detached; filled by the pass.
    """

    __slots__ = ("_handoff", "activity", "goodness", "inputs", "upstream")

    def __init__(
        self,
        activity: Tensor,
        handoff: Tensor | Callable[[], Tensor],
        goodness: Tensor | None,
        inputs: tuple[Tensor, ...] = (),
    ) -> None:
        self.activity = activity
        self._handoff = handoff
        self.goodness = goodness
        self.inputs = inputs
        self.upstream: tuple[Tensor, ...] = ()

    @property
    def handoff(self) -> Tensor:
        """See the class."""
        # Computed at the first use, see the class.
        if not isinstance(self._handoff, Tensor):
            self._handoff = self._handoff()
        return self._handoff
