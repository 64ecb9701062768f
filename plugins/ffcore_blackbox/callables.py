"""Any Python function as a black box."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ffcore.blame import reported
from ffcore.errors import FOREIGN
from ffcore.interfaces import BlackBox
from ffcore.options import Count
from ffcore.plugin.targets import load_target
from ffcore_blackbox.arrays import array
from ffcore_blackbox.targets import Target


class Function(BlackBox):
    """A function from a tensor (R, *shape) to a tensor or an array with as many rows.

    Args:
        target: ``module:function``, or, from Python, the function itself.
        rows: maximum number of rows of one call; None: any number.
    """

    examples = ({"target": "torch:tanh"},)

    def __init__(self, target: Target, rows: Count | None = None) -> None:
        super().__init__()
        self.function = _load(target) if isinstance(target, str) else target
        self.limit = rows

    def forward(self, x: Tensor) -> Any:
        """Return the function's result."""
        return self.function(x)


class ArrayFunction(BlackBox):
    """A function from an array (R, *shape) to an array with as many rows.

    It works with blocks on any device: the input is copied to the CPU.

    Args:
        target: ``module:function``, or, from Python, the function itself.
        rows: maximum number of rows of one call; None: any number.
    """

    examples = ({"target": "numpy:tanh", "rows": 4},)

    def __init__(self, target: Target, rows: Count | None = None) -> None:
        super().__init__()
        self.function = _load(target) if isinstance(target, str) else target
        self.limit = rows

    def forward(self, x: Tensor) -> Any:
        """Return the function's result for a NumPy array."""
        return self.function(array(x))


def _load(target: str) -> Callable[..., Any]:
    try:
        thing = load_target(target)
    except FOREIGN as error:
        raise ValueError(f"target: {target!r} cannot be imported: {reported(error)}") from error
    if not callable(thing):
        raise ValueError(f"target: {target!r} is a {type(thing).__name__}, which cannot be called")
    return thing  # type: ignore[no-any-return]
