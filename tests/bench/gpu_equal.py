"""Steps of recipes on a GPU beside those on a CPU: the same weights, data and random numbers.

difference = max over tensors of   max |w_device − w_cpu| / (max |w_cpu| + 1e-6)       after STEPS steps
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from placement import batch_of, smaller
from torch import Tensor, nn

from ffcore.build.assemble import assembled_for
from ffcore.engine.module import ForwardOnly
from ffcore.errors import one_line
from ffcore.interfaces import Batch, BatchRNG
from ffcore.interfaces.structure import mapped
from ffcore.recipe.load import load, names

STEPS = 3
LIMITS = {"fp64": 1e-6, "fp32": 3e-2, "bf16": math.inf}
"""Largest differences that are accepted, by precision."""
FIRST = (
    *("digits/ff", "digits/channel", "digits/predsim", "cifar10/vgg8b-predsim", "cifar10/channel-resnet17"),
    *("mnist/ff-2000x4", "digits/sigprop", "digits/pff", "digits/ff-recurrent", "digits/noprop"),
)
"""Recipes that are tried first; the others follow while there is time."""


class Carried(BatchRNG):
    """Random numbers of a CPU, moved: the generators of a GPU give others."""

    __slots__ = ("place",)

    def __init__(self, step: int, rows: int, place: torch.device) -> None:
        super().__init__(1, step, 0, rows, rows)
        self.place = place

    def _own_rows(self, of_all: Tensor) -> Tensor:
        return of_all.to(self.place)


@dataclass(frozen=True)
class Made:
    """A module after its steps, and the scores of the last batch."""

    module: ForwardOnly
    scores: Tensor


def learned(module: ForwardOnly, x: Any, y: Tensor, device: torch.device, precision: str) -> Made:
    """Move a module, learn STEPS times, and measure."""
    module.to(device)
    if precision == "fp64":
        module.double()
        x = mapped(x, lambda t: t.double() if t.is_floating_point() else t)
    module.configure_optimizers()
    module.train()
    rows, index = len(y), torch.arange(len(y), device=device)
    x, y = mapped(x, lambda t: t.to(device)), y.to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        for step in range(STEPS):
            torch.manual_seed(step)
            batch = Batch(mapped(x, torch.clone), y, index, 0, rows, Carried(step, rows, device))
            for augmentation in module.augmentations:
                batch.x = augmentation(batch.x, batch.random())
            module.algorithm.learn(batch, module.network)
        module.network.end_batch()
        module.eval()
        scores = module.net.combine(module.net.measure(x))
    return Made(module, scores.double().cpu())


def difference(one: nn.Module, other: nn.Module) -> tuple[float, str]:
    """Return the largest difference of two modules, and the part that has it.

    A layer's weight and bias are compared together: where a loss hardly depends on the bias, as that of
    similarity, its gradient is rounding, which Adam makes a step of.
    """
    theirs = other.state_dict()
    parts: dict[str, list[tuple[float, float]]] = {}
    for name, value in one.state_dict().items():
        if isinstance(value, Tensor) and value.is_floating_point() and value.numel():
            a, b = value.detach().double().cpu(), theirs[name].detach().double().cpu()
            parts.setdefault(name.rpartition(".")[0], []).append((float((a - b).norm()), float(a.norm())))
    worst, where = 0.0, ""
    for name, norms in parts.items():
        apart, whole = (math.hypot(*each) for each in zip(*norms, strict=True))
        if not apart / (whole + 1e-6) <= worst:  # also if it is NaN
            worst, where = apart / (whole + 1e-6), name
    return worst, where


def without_dropout(module: ForwardOnly) -> ForwardOnly:
    """Set the rates of dropout to 0: the global generator of a GPU gives other numbers."""
    for part in module.modules():
        names = ("dropout", *(("p",) if "dropout" in type(part).__name__.lower() else ()))
        for name in names:
            if isinstance(getattr(part, name, None), float):
                setattr(part, name, 0.0)
    return module


def compared(
    name: str, device: torch.device, precision: str = "fp32", *, compile: bool = False
) -> dict[str, Any]:
    """Compare a recipe on a device with the same on a CPU, uncompiled and not in bfloat16.

    Args:
        name: of a recipe.
        device: that is tried.
        precision: "fp64", "fp32" or "bf16"; of the last only values that are not finite are refused.
        compile: whether blocks are compiled on the device.

    Returns:
        ``status``: "equal", or "finite" of bf16, or "differs"; ``difference`` and ``layer``, where it is;
        ``agree``, the share of equal predictions.
    """
    recipe = load(name)
    overrides = smaller(recipe)
    recipe = load(name, overrides)
    form, statistics, x, y = batch_of(recipe)
    reference = without_dropout(assembled_for(recipe, form, statistics))
    tried = copy.deepcopy(reference)
    if compile:
        tried = assembled_for(load(name, [*overrides, "block.compile=true"]), form, statistics)
        tried = without_dropout(tried)
    wide = "fp64" if precision == "fp64" else "fp32"
    cpu = learned(reference, x, y, torch.device("cpu"), wide)
    there = learned(tried, x, y, device, precision)
    worst, layer = difference(cpu.module, there.module)
    status = "differs"
    if worst <= LIMITS[precision]:
        status = "finite" if precision == "bf16" and math.isfinite(worst) else "equal"
    agree = float((cpu.scores.argmax(-1) == there.scores.argmax(-1)).float().mean())
    return {"status": status, "difference": worst, "layer": layer, "agree": agree}


def equality(
    device: torch.device,
    until: float,
    precision: str = "fp32",
    *,
    compile: bool = False,
    recipes: tuple[str, ...] = (),
    save: Callable[[Any], object] = lambda found: None,
) -> dict[str, Any]:
    """Compare recipes until a time of `time.monotonic`; those of FIRST come first.

    Args:
        device: that is tried.
        until: when no further recipe is begun.
        precision: as for `compared`.
        compile: as for `compared`.
        recipes: their names; all if there are none.
        save: called after every recipe with what will be returned.

    Returns:
        ``recipes``, what `compared` returns for each, or the status "failed" with an error; ``counts`` of
        each status; ``left_out``, how many had no time.
    """
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    every = list(recipes or dict.fromkeys([*FIRST, *names()]))
    found: dict[str, Any] = {}
    for name in every:
        if time.monotonic() > until:
            break
        try:
            found[name] = compared(name, device, precision, compile=compile)
        except Exception as error:
            found[name] = {"status": "failed", "error": f"{type(error).__name__}: {one_line(error, 300)}"}
            if device.type == "cuda" and "CUDA error" in str(error):
                break  # the context of the process is lost
        save(_counted(found, len(every)))
    return _counted(found, len(every))


def _counted(found: dict[str, Any], every: int) -> dict[str, Any]:
    states = [each["status"] for each in found.values()]
    counts = {state: states.count(state) for state in dict.fromkeys(states)}
    return {"recipes": found, "counts": counts, "left_out": every - len(found)}
