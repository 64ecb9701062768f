"""An optional contract of bodies: parameter gradients in closed form.

R rows.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class ClosedForm(Protocol):
    """A body that computes its parameters' gradients without autograd.

    The default rule uses it for a block that is alone in its window. The body then runs without a graph, and
    autograd saves no tensors for backward. Under autocast, and in windows of several blocks, autograd is
    used.
    """

    def add_gradients(self, x: Tensor, activity: Tensor, up: Tensor, *others: Tensor) -> None:
        """Add the gradient to ``.grad`` of every trainable parameter.

        Args:
            x: (R, *in_shape) the body's first input.
            activity: (R, *shape) the body's output.
            up: (R, *shape) derivative of the loss with respect to the activity. It may be overwritten, unless
                it is an expanded view, in which several elements share memory (a stride is 0).
            others: further inputs of the body, in circuits.
        """
