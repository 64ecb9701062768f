"""Samples a second and memory of local learning beside backpropagation: the algorithm's step, random data."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from placement import IMAGES, SMALLER

from ffcore.build.assemble import assemble
from ffcore.errors import one_line
from ffcore.interfaces import Batch
from ffcore.recipe.load import load

FAMILIES: dict[str, tuple[str, ...]] = {
    "ff": ("mnist/ff-2000x4", "mnist/ff-2000x4-backprop"),
    "local errors": ("cifar10/vgg8b-predsim", "cifar10/vgg8b-pred", "cifar10/vgg8b-predsim-backprop"),
    "channel": ("cifar10/channel-resnet17", "cifar10/channel-resnet17-backprop"),
}
"""Recipes of a family; the last one is backpropagation."""

TINY = {
    "mnist/ff-2000x4": ["network.0.units=20"],
    "mnist/ff-2000x4-backprop": ["network.0.units=20"],
    "mnist/ff-fast-2000x4": ["network.0.units=20", "block.objective.threshold=6"],
    **{name: ["network.0.width=0.05", "network.0.units=20"] for name in FAMILIES["local errors"]},
    **{name: [f"network.0.widths={SMALLER['resnet17']['widths']}"] for name in FAMILIES["channel"]},
}
WARM, LEAST, MOST = 3, 5, 200


def shape_of(kind: str) -> tuple[int, ...]:
    """Return the shape of the images of a kind of data set."""
    return next(shape for word, shape in IMAGES.items() if word in kind)


def step_of(
    name: str, device: torch.device, *, batch: int, bf16: bool, compile: bool, tiny: bool, seconds: float
) -> dict[str, Any]:
    """Measure the step of a recipe.

    Returns:
        ``ms`` of a step, ``samples_per_s``, ``steps`` and ``peak_mib``, which on a CPU is None.
    """
    more = ["block.compile=true"] if compile else []
    recipe = load(name, [*(TINY[name] if tiny else []), *more])
    shape = shape_of(recipe.data.dataset.kind)
    module = assemble(recipe, shape, 10).to(device)
    module.configure_optimizers()
    on_gpu = device.type == "cuda"
    x, y = torch.rand(batch, *shape, device=device), torch.randint(10, (batch,), device=device)
    ready = Batch(x, y, torch.arange(batch, device=device), 0, batch)
    step = 0

    def run() -> None:
        nonlocal step
        step += 1
        ready.seed(1, step)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            module.algorithm.learn(ready, module.network)

    for _ in range(WARM):
        run()
    if on_gpu:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    began, taken = time.perf_counter(), 0
    while taken < LEAST or (taken < MOST and time.perf_counter() - began < seconds):
        run()
        taken += 1
        if on_gpu and not taken % LEAST:
            torch.cuda.synchronize(device)  # otherwise the time is that of the launches
    if on_gpu:
        torch.cuda.synchronize(device)
    spent = time.perf_counter() - began
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if on_gpu else None
    return {
        "ms": 1000 * spent / taken,
        "samples_per_s": batch * taken / spent,
        "steps": taken,
        "peak_mib": peak,
    }


def steps(
    device: torch.device,
    until: float,
    *,
    bf16: bool,
    compile: bool = False,
    tiny: bool = False,
    save: Callable[[Any], object] = lambda found: None,
) -> dict[str, Any]:
    """Measure all families, in batches of the recipe's size and of 1024, until a time of `time.monotonic`.

    Returns:
        by family, batch and recipe what `step_of` returns, with ``of_backprop``, the ratio of the times.
    """
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    found: dict[str, Any] = {}
    for family, recipes in FAMILIES.items():
        for batch in (8, 16) if tiny else (128, 1024):
            made: dict[str, Any] = {}
            for name in reversed(recipes):
                if time.monotonic() > until:
                    made[name] = {"error": "no time was left"}
                    continue
                try:
                    made[name] = step_of(
                        name,
                        device,
                        batch=batch,
                        bf16=bf16,
                        compile=compile,
                        tiny=tiny,
                        seconds=0.05 if tiny else 1.5,
                    )
                except Exception as error:
                    made[name] = {"error": f"{type(error).__name__}: {one_line(error, 300)}"}
                if device.type == "cuda":
                    torch.cuda.empty_cache()
            base = made[recipes[-1]].get("ms")
            for each in made.values():
                if base and "ms" in each:
                    each["of_backprop"] = each["ms"] / base
            found[f"{family}, batch {batch}"] = made
            save(found)
    return found
