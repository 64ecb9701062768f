"""Global settings of torch that would change a run: a run depends on its recipe alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def own_settings(*, warn: bool = True) -> Iterator[None]:
    """Reset torch's global settings within the context, and warn of those that the program has changed.

    Left as they are: the number of threads, which ``trainer.threads`` sets, and deterministic algorithms,
    which give the same numbers on a CPU.
    """
    changed = []
    with ExitStack() as stack:
        if (dtype := torch.get_default_dtype()) is not torch.float32:
            changed.append(f"torch.set_default_dtype({dtype})")
            torch.set_default_dtype(torch.float32)
            stack.callback(torch.set_default_dtype, dtype)
        if (device := torch.get_default_device()).type != "cpu":
            changed.append(f"the default device {device}")
            stack.enter_context(torch.device("cpu"))
        if (precision := torch.get_float32_matmul_precision()) != "highest":
            changed.append(f"torch.set_float32_matmul_precision({precision!r})")
            torch.set_float32_matmul_precision("highest")
            stack.callback(torch.set_float32_matmul_precision, precision)
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                changed.append(f"torch.autocast({kind!r}), for which there is trainer.precision")
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.is_inference_mode_enabled():
            changed.append("torch.inference_mode")
            stack.enter_context(torch.inference_mode(False))
        if not torch.is_grad_enabled():
            if "torch.inference_mode" not in changed:
                changed.append("torch.no_grad")
            stack.enter_context(torch.enable_grad())
        if changed and warn:
            warnings.warn(
                f"a run depends on its recipe alone; not used in it: {', '.join(changed)}", stacklevel=5
            )
        yield
