"""Checks without a GPU that recipes do not mix devices: python tests/bench/placement.py [RECIPE …].

Tensors are fake (`FakeTensorMode`): they have shapes and devices but no values, and an operation on two
devices fails as on a GPU. This needs a torch that was built for CUDA. Parts that run only on CUDA (its
generators, autograd's threads, torch's fused SGD) are replaced.
"""

from __future__ import annotations

import argparse
import traceback
from collections.abc import Mapping, Sequence
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from ffcore.build.assemble import assemble
from ffcore.errors import one_line
from ffcore.interfaces import Batch, BatchRNG, Statistics
from ffcore.local import closed_form, rules
from ffcore.recipe.load import load, names

GPU, N = "cuda", 8
SHAPES = {"digits": (1, 8, 8), "cifar": (3, 32, 32), "tiny": (3, 64, 64)}
CLASSES = {"cifar100": 100, "tiny-imagenet": 200, "tiny-imagenet-8": 8}


class Pretended(BatchRNG):
    """Random numbers without a generator: CUDA has none here."""

    def uniform(self, stream: str, *shape: int) -> Tensor:
        return self._mine(torch.rand(self.total, *shape, device=self.device))

    def normal(self, stream: str, *shape: int) -> Tensor:
        return self._mine(torch.randn(self.total, *shape, device=self.device))

    def integers(self, stream: str, high: int, *shape: int) -> Tensor:
        return self._mine(torch.randint(high, (self.total, *shape), device=self.device))


def backward(losses: Sequence[Mapping[str, Tensor]], blocks: Sequence[Any]) -> None:
    """Gradients of zeros instead of autograd's."""
    for parameter in [p for block in blocks for p in block.trainable]:
        parameter.grad = torch.zeros_like(parameter)


def finish(block: Any, inputs: Any, out: Any, derivative: Tensor | None) -> None:
    """The closed form, on zeros instead of the result of autograd."""
    for begun in (out.activity, out.goodness):
        if begun is not None and begun.is_leaf and begun.requires_grad:
            begun.grad = torch.zeros_like(begun)
    _finish(block, inputs, out, derivative)


_finish = closed_form._finish


def tried(name: str) -> None:
    """Learn a batch, then measure one."""
    recipe, part = load(name), name.partition("/")[0]
    shape = next((shape for start, shape in SHAPES.items() if part.startswith(start)), (1, 28, 28))
    classes = CLASSES.get(part, 10)
    one = (0.0,) * shape[0], (1.0,) * shape[0]
    statistics = Statistics((1000,) * classes, 0.0, 1.0, *one)
    module = assemble(recipe, shape, classes, statistics=statistics)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        module._apply(lambda t: mode.from_tensor(t).to(GPU))
        module.configure_optimizers()
        x, y = torch.rand(N, *shape, device=GPU), torch.randint(classes, (N,), device=GPU)
        batch = Batch(x, y, torch.arange(N, device=GPU), 0, N, Pretended(1, 0, 0, N, N, GPU))
        for augmentation in module.augmentations:
            batch.x = augmentation(batch.x, batch.random())
        module.algorithm.learn(batch, module.network)
        module.eval()
        module.network.losses(module.algorithm.views(batch, module.network))
        module.algorithm.measure(batch, module.network)
        scores = module.contribution.combine(module.algorithm.scores(batch.x, module.network))
        assert scores.device.type == GPU


def main() -> int:
    """Check the recipes. Returns the number of those that fail."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*", help="names of recipes; default: all")
    given = parser.parse_args()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    failed = 0
    with (
        mock.patch.object(rules, "backward", backward),
        mock.patch.object(closed_form, "backward", backward),
        mock.patch.object(closed_form, "_finish", finish),
        mock.patch.object(torch, "_fused_sgd_"),
        mock.patch.object(torch.cuda, "is_current_stream_capturing", return_value=False),
    ):
        for name in given.recipes or names():
            try:
                tried(name)
                print(f"ok      {name}", flush=True)
            except Exception as error:
                if "numpy() is not supported" in str(error):
                    print(f"-       {name}: a box that needs numbers", flush=True)
                    continue
                failed += 1
                place = traceback.extract_tb(error.__traceback__)
                last = next((f for f in reversed(place) if "ffcore" in f.filename), place[-1])
                print(f"failed  {name}: {last.filename}:{last.lineno}: {one_line(error, 200)}", flush=True)
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
