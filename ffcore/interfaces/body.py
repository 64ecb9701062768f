"""What a body may offer beside its forward: its gradients in closed form."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class ClosedForm(Protocol):
    """A body that works out its parameters' gradients without autograd.

    The default rule uses it for blocks that learn by themselves; the body then runs without a graph, so that
    nothing is kept for backward. Under autocast, and in windows of several blocks, autograd does it.
    """

    def add_gradients(self, x: Tensor, activity: Tensor, up: Tensor, *others: Tensor) -> None:
        """Add to ``.grad`` of every trainable parameter.

        Args:
            x: (R, *in_shape) the body's input, or its first.
            activity: (R, *shape) what the body made of it.
            up: (R, *shape) derivative of the loss with respect to the activity; may be overwritten, unless it
                is an expanded view, in which one number stands in many places (a stride is 0).
            others: its further inputs, for bodies of circuits.
        """
