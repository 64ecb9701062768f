"""All private names of torch and Lightning that ffcore uses. `tests/test_private.py` tests each of them.

No other module of ffcore may use a name of torch or Lightning that begins with an underscore.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim import optimizer as _optimizers
from torch.utils import _python_dispatch

Step = TypeVar("Step", bound=Callable[..., Any])

DispatchMode = _python_dispatch.TorchDispatchMode
"""A context in which every operation passes through ``__torch_dispatch__``, also within a trace."""

no_torch_function = torch._C._disabled_torch_function_impl
"""For tensor subclasses that implement ``__torch_dispatch__`` only; torch documents the name."""


def empty_wrapper(cls: type[Tensor], shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Return a tensor of a subclass without memory, of this shape, with the dtype and device of ``like``."""
    return Tensor._make_wrapper_subclass(cls, shape, dtype=like.dtype, device=like.device)


def version(t: Tensor) -> int:
    """Return how often a tensor's memory has been changed in place."""
    return t._version


def attention_on_a_cpu() -> tuple[Any, Any]:
    """Return the operations of torch's attention on a CPU, forward and backward."""
    aten = torch.ops.aten
    return (
        aten._scaled_dot_product_flash_attention_for_cpu,
        aten._scaled_dot_product_flash_attention_for_cpu_backward,
    )


def decompositions(*operations: Any) -> dict[Any, Callable[..., Any]]:
    """Return torch's decompositions of operations to simpler ones, by operation."""
    from torch._decomp import get_decompositions

    return dict(get_decompositions(operations))


def same_size(a: Tensor, b: Tensor) -> None:
    """Tell a trace that two tensors have the same number of rows."""
    torch._check(a.shape[0] == b.shape[0])  # type: ignore[no-untyped-call]


def fake_inputs(inputs: Sequence[Tensor], batched: Sequence[bool]) -> tuple[Any, list[Tensor]]:
    """Return a mode without values, and the inputs in it; the first dimension of batched ones is a symbol."""
    from torch._dynamo.source import ConstantSource
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)

    def fake(number: int, t: Tensor, free: bool) -> Tensor:
        if not free:
            return mode.from_tensor(t, static_shapes=True)
        sides: list[DimDynamic] = [DimDynamic.DYNAMIC, *[DimDynamic.STATIC] * (t.dim() - 1)]
        context: Any = StatelessSymbolicContext(dynamic_sizes=sides)
        return mode.from_tensor(t, symbolic_context=context, source=ConstantSource(f"input{number}"))

    pairs = zip(inputs, batched, strict=True)
    return mode, [fake(number, t, free) for number, (t, free) in enumerate(pairs)]


def has_hooks(module: nn.Module) -> bool:
    """Return whether a call of a module runs hooks beside its ``forward``."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def hook_tables(module: nn.Module) -> tuple[Any, Any]:
    """Return the mappings that hold a module's hooks; they are empty without any, and never replaced."""
    return module._forward_hooks, module._forward_pre_hooks


def step_alone(optimizer: torch.optim.Optimizer) -> None:
    """Step without torch's wrapper of hooks and profiler records, which costs 40 µs per block.

    The wrapper runs if a hook has been registered, or if the step is the user's own.
    """
    needs_wrapper = (
        optimizer._optimizer_step_pre_hooks
        or optimizer._optimizer_step_post_hooks
        or _optimizers._global_optimizer_pre_hooks
        or _optimizers._global_optimizer_post_hooks
        or "step" in vars(optimizer)
    )
    bare = None if needs_wrapper else _bare_step(cast(Any, type(optimizer)))
    if bare is None:
        optimizer.step()
    else:
        bare(optimizer)


@cache
def _bare_step(kind: Any) -> Callable[[torch.optim.Optimizer], object] | None:
    """Return the step inside the wrapper, if it is one of torch's own; else None."""
    # the class that defines ``step``, as the method resolution order finds it
    owner = next(each for each in kind.__mro__ if "step" in vars(each))
    step: Any = vars(owner)["step"]
    wrapped = getattr(step, "hooked", False) and owner.__module__.startswith("torch.optim")
    return step.__wrapped__ if wrapped else None


def count_as_stepped(optimizer: torch.optim.Optimizer) -> None:
    """Let torch's learning-rate schedulers know that the optimiser steps although its ``step`` is not called.

    They warn otherwise.
    """
    optimizer._opt_called = True  # type: ignore[attr-defined]


def unwrapped(step: Step) -> Step:
    """Mark a method ``step``: torch then does not wrap it in its profiler and hooks."""
    # torch sets this flag on a step that it has wrapped, and wraps only steps without it
    step.hooked = True  # type: ignore[attr-defined]
    return step


HOOK_NAME = "_current_fx_name"
"""An attribute of a LightningModule that Lightning sets about twenty times per step."""


def leave_stop_flag_alone(trainer: Any) -> None:
    """Disable Lightning's broadcast of a stop flag in every step, since all ranks would wait for it.

    Raises:
        RuntimeError: when this release of Lightning does not have the method.
    """
    loop = trainer.fit_loop.epoch_loop
    if not hasattr(loop, STOP_FLAG):
        raise RuntimeError(f"this release of Lightning has no {STOP_FLAG}; ffcore needs 2.6")
    setattr(loop, STOP_FLAG, _nothing)


STOP_FLAG = "_broadcast_sigterm_tensor"


def _nothing() -> None:
    pass


_AT_EPOCH_END = ("_check_on_train_epoch_end", "_save_on_train_epoch_end")
"""Of `EarlyStopping` and of `ModelCheckpoint`: whether they read the metric after the epoch; or None."""


def checks_at_epoch_end(callback: Any) -> bool | None:
    """Return whether a Lightning callback reads its metric at the end of an epoch; None if it chooses."""
    return next((getattr(callback, name) for name in _AT_EPOCH_END if hasattr(callback, name)), None)


def check_at_epoch_end(callback: Any) -> None:
    """Make a Lightning callback read its metric at the end of an epoch, not after a validation."""
    for name in _AT_EPOCH_END:
        if hasattr(callback, name):
            setattr(callback, name, True)


def reads_cpu(callback: Any, on_gpu: bool) -> bool:
    """Return whether Lightning's `DeviceStatsMonitor` reads statistics of the CPU, which needs psutil."""
    chosen = callback._cpu_stats
    return not on_gpu if chosen is None else bool(chosen)


def passed_on(callback: Any) -> Mapping[str, Any]:
    """Return the options that Lightning's `WeightAveraging` passes on to torch's `AveragedModel`."""
    return callback._kwargs  # type: ignore[no-any-return]


def pruning_stays(callback: Any) -> bool:
    """Return whether Lightning's `ModelPruning` writes pruned weights, not weights and masks."""
    return bool(callback._make_pruning_permanent)


def prunes_as_vectors(callback: Any) -> Sequence[str]:
    """Return the names of parameters that Lightning's `ModelPruning` views as vectors, such as "weight".

    Empty if it gets its parameters from Python, or prunes channels of one layer at a time.
    """
    function = getattr(callback.pruning_fn, "func", callback.pruning_fn)
    by_channel = getattr(function, "__name__", "") in ("ln_structured", "random_structured")
    if callback._parameters_to_prune or (by_channel and not callback._use_global_unstructured):
        return ()
    return tuple(callback._parameter_names)


def numpy_rebuilders() -> tuple[Callable[..., Any], ...]:
    """Return the functions by which NumPy's arrays and scalars are unpickled."""
    import codecs

    import numpy as np

    array = np.zeros(1).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    return (array, scalar, codecs.encode)  # type: ignore[return-value]


def opened_experiment(logger: Any) -> Any:
    """Return what a Lightning logger has opened (a run of wandb or Comet); None if it has not been used."""
    return getattr(logger, "_experiment", None)
