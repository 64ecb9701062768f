"""Every private part of torch and Lightning that ffcore touches; `tests/test_private.py` has a test for each.

Nothing else in ffcore may read a name of theirs that begins with an underscore.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim import optimizer as _optimizers

Step = TypeVar("Step", bound=Callable[..., Any])

no_torch_function = torch._C._disabled_torch_function_impl
"""For tensor subclasses whose operations arrive in ``__torch_dispatch__`` only; torch documents the name."""


def empty_wrapper(cls: type[Tensor], shape: tuple[int, ...], like: Tensor) -> Tensor:
    """A tensor of a subclass, of this shape and of the type and device of ``like``, without memory."""
    return Tensor._make_wrapper_subclass(cls, shape, dtype=like.dtype, device=like.device)


def version(t: Tensor) -> int:
    """How often a tensor's memory has been changed in place."""
    return t._version


def has_hooks(module: nn.Module) -> bool:
    """Whether a call of a module runs more than its ``forward``."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def step_alone(optimizer: torch.optim.Optimizer) -> None:
    """A step without what torch wraps around it, hooks and a profiler's record: 40 µs a block.

    Where a hook has been registered, or the step is the user's own, it is the whole step.
    """
    heard = (
        optimizer._optimizer_step_pre_hooks
        or optimizer._optimizer_step_post_hooks
        or _optimizers._global_optimizer_pre_hooks
        or _optimizers._global_optimizer_post_hooks
        or "step" in vars(optimizer)
    )
    bare = None if heard else _bare_step(cast(Any, type(optimizer)))
    if bare is None:
        optimizer.step()
    else:
        bare(optimizer)


@cache
def _bare_step(kind: Any) -> Callable[[torch.optim.Optimizer], object] | None:
    """The step inside the wrapping, if it is one of torch's own."""
    owner = next(each for each in kind.__mro__ if "step" in vars(each))
    step: Any = vars(owner)["step"]
    wrapped = getattr(step, "hooked", False) and owner.__module__.startswith("torch.optim")
    return step.__wrapped__ if wrapped else None


def unwrapped(step: Step) -> Step:
    """A method ``step`` that torch does not wrap in its profiler and hooks, each time that it is called."""
    step.hooked = True  # type: ignore[attr-defined]
    return step


HOOK_NAME = "_current_fx_name"
"""An attribute of a LightningModule that Lightning sets some twenty times a step."""


def leave_stop_flag_alone(trainer: Any) -> None:
    """Keep Lightning from a broadcast of a stop flag at every step, for which all ranks wait.

    Raises:
        RuntimeError: when this release of Lightning broadcasts it elsewhere.
    """
    loop = trainer.fit_loop.epoch_loop
    if not hasattr(loop, STOP_FLAG):
        raise RuntimeError(f"this release of Lightning has no {STOP_FLAG}; ffcore needs 2.6")
    setattr(loop, STOP_FLAG, _nothing)


STOP_FLAG = "_broadcast_sigterm_tensor"


def _nothing() -> None:
    pass
