"""Checks without a GPU that recipes do not mix devices: python tests/bench/placement.py [RECIPE …].

A device called "pretend" takes the place of CUDA; it needs no torch that was built for a GPU. Its tensors are
fake (`FakeTensorMode`): they have shapes and devices but no values. As on a GPU, an operation on two devices
fails, a tensor on the CPU takes no index from the device, and only tensors on the CPU become arrays. A number
that is read from a tensor is 1, a mask keeps every row, and an array is zero. The device is registered for
the rest of the process, so tests run this file in a process of its own.

A recipe is built on the CPU, moved to the device, learns a batch of 8 samples, and measures it. Not covered:
what only CUDA has, such as its generators, streams and kernels (`nox -s gpu`).
"""

from __future__ import annotations

import argparse
import json
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils import backend_registration

from ffcore.build.assemble import assembled_for
from ffcore.build.form import Form
from ffcore.errors import one_line
from ffcore.interfaces import Batch, BatchRNG, Statistics
from ffcore.interfaces.structure import mapped
from ffcore.recipe.load import load, names
from ffcore.recipe.schema import Recipe
from ffcore.run.data import Data
from ffcore.tasks import Classification

DEVICE, N = "pretend", 8
IMAGES = {"cifar": (3, 32, 32), "tiny": (3, 32, 32), "mnist": (1, 28, 28)}
"""Shapes of data sets that have to be downloaded. Images of Tiny ImageNet are made smaller, to save time."""
CLASSES = 10
"""Of each of these data sets, also of those that have more."""
SMALLER = {
    "resnet17": {"widths": [10, 20, 40, 80]},
    "predictive": {"units": [20, 20]},  # recipes name iterations of theirs
    "denoisers": {"steps": 2},
}
"""Options that make items of networks smaller, by kind."""
aten = torch.ops.aten


class Module(backend_registration._DummyBackendModule):
    """What torch asks of the module of a device."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


class Generator(torch.Generator):
    """A generator of the device, which is one of the CPU that says where it is."""

    placed: ClassVar[set[int]] = set()
    """Addresses of those of the device: an operation gets another Python object of the same generator."""

    def __new__(cls, device: Any = "cpu") -> Generator:
        made: Generator = super().__new__(cls, "cpu")
        known = cls.placed.add if torch.device(device).type == DEVICE else cls.placed.discard
        known(made._cdata)
        return made


class Mode(FakeTensorMode):
    """Fake tensors that follow the rules of a GPU where torch's own do not, and that have ones for values."""

    avoid_device_init = True  # `torch.tensor(…, device=…)` then moves a tensor of the CPU

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if kwargs and kwargs.get("generator") is not None:
            kwargs = self._without_generator(args, kwargs)
        if func in _SPECIAL:
            if func is aten._local_scalar_dense.default and isinstance(args[0], FakeTensor):
                return 1.0 if args[0].is_floating_point() else 1
            with self:  # so that tensors made here are fake
                if func in _MADE:
                    return _MADE[func](*args, **(kwargs or {}))
                if func in _INDEXED:
                    args = (args[0], _rows(args[0], args[1]), *args[2:])
        return super().__torch_dispatch__(func, types, args, kwargs)

    def _without_generator(self, args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        generator, device = kwargs["generator"], kwargs.get("device")
        device = torch.device(device) if device is not None else args[0].device
        if (generator._cdata in Generator.placed) != (device.type == DEVICE):
            raise RuntimeError(f"a generator on another device makes numbers on {device}")
        return {**kwargs, "generator": None}


def _rows(t: Tensor, indices: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Return indices without masks: a mask keeps every row."""
    made: list[Tensor | None] = []
    for index in indices:
        if index is not None and t.device.type == "cpu" and index.device.type != "cpu":
            raise RuntimeError("a tensor on the CPU is indexed by one on the device")
        if index is not None and index.dtype == torch.bool:
            rows = torch.zeros(index.numel(), dtype=torch.int64, device=index.device)
            made += [rows] * index.dim()
        else:
            made.append(index)
    return made


def _of_one_device(*args: Any, **options: Any) -> None:
    """Check the tensors of a fused step, which has no result."""
    places = {t.device for each in args if isinstance(each, list | tuple) for t in each}
    if len(places) > 1:
        raise RuntimeError(f"a fused step of tensors on {places}")


def _nonzero(t: Tensor) -> Tensor:
    return torch.zeros(t.numel(), t.dim(), dtype=torch.int64, device=t.device)


def _bincount(t: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    kind = torch.int64 if weights is None else weights.dtype
    return torch.zeros(max(1, minlength), dtype=kind, device=t.device)


def _cell(x: Tensor, h: Tensor, state: Tensor, *biases: Tensor) -> tuple[Tensor, Tensor]:
    return torch.zeros_like(state), state.new_zeros(len(state), 5 * state.shape[1])


def _of_cell(gradient: Tensor, kept: Tensor, biases: bool) -> tuple[Tensor, ...]:
    gates = gradient.new_zeros(len(gradient), 3 * gradient.shape[1])
    return gates, gates.clone(), torch.zeros_like(gradient), gates[0].clone(), gates[0].clone()


_STEPS = ("sgd", "adam", "adamw", "adagrad")
_MADE = {
    aten.nonzero.default: _nonzero,
    aten.bincount.default: _bincount,
    aten._thnn_fused_gru_cell.default: _cell,
    aten._thnn_fused_gru_cell_backward.default: _of_cell,
    **{getattr(aten, f"_fused_{name}_").default: _of_one_device for name in _STEPS},
}
"""Operations that fake tensors do not know without CUDA: shapes depend on values, or only a GPU has them."""

_INDEXED = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default}
_SPECIAL = {*_MADE, *_INDEXED, aten._local_scalar_dense.default}


def numpy(t: FakeTensor, *args: Any, **kwargs: Any) -> np.ndarray:
    """Return zeros; of a tensor on the device, or with a gradient, raise as torch does."""
    if t.device.type != "cpu":
        raise TypeError(f"can't convert {t.device} device type tensor to numpy; use Tensor.cpu()")
    if t.requires_grad:
        raise RuntimeError("can't call numpy() on a tensor that requires grad")
    return np.zeros(tuple(t.shape), dtype=str(t.dtype).removeprefix("torch."))


def batch_of(recipe: Recipe) -> tuple[Form, Statistics | None, Any, Any]:
    """Return form and statistics of the data of a recipe, with samples and targets; images need no files."""
    kind = recipe.data.dataset.kind
    shape = next((shape for word, shape in IMAGES.items() if word in kind), None)
    if shape is None:
        data = Data.open(recipe)
        batch = next(iter(data.loader(data.train.take(np.arange(min(N, len(data.train)))), "cpu", None)))
        return Form.of(data.images), data.statistics(), batch.x, batch.y
    ends = (0.0,) * shape[0], (1.0,) * shape[0]
    statistics = Statistics((1000,) * CLASSES, 0.0, 1.0, *ends)
    return Form(shape, Classification(CLASSES), "uint8"), statistics, torch.rand(N, *shape), torch.arange(N)


def smaller(recipe: Recipe) -> list[str]:
    """Return overrides that make a network smaller, and so faster to build."""
    items = recipe.model_dump()["network"]
    return [
        f"network.{i}.{option}={json.dumps(value)}"
        for i, item in enumerate(items if isinstance(items, list | tuple) else ())
        for option, value in SMALLER.get(item["kind"], {}).items()
    ]


def tried(name: str) -> None:
    """Learn a batch, then measure it.

    Raises:
        Exception: of the operation that mixes devices.
    """
    recipe = load(name)
    if overrides := smaller(recipe):
        recipe = load(name, overrides)
    form, statistics, x, y = batch_of(recipe)
    module = assembled_for(recipe, form, statistics)
    rows = len(y)
    with Mode(allow_non_fake_inputs=True) as mode:

        def moved(t: Tensor) -> Tensor:
            return mode.from_tensor(t).to(DEVICE)

        module._apply(moved)
        module.configure_optimizers()
        index = torch.arange(rows, device=DEVICE)
        rng = BatchRNG(1, 0, 0, rows, rows, DEVICE)
        batch = Batch(mapped(x, moved), moved(y), index, 0, rows, rng)
        for augmentation in module.augmentations:
            batch.x = augmentation(batch.x, batch.rng)
        module.algorithm.learn(batch, module.network)
        module.eval()
        with torch.no_grad():
            module.network.losses(module.algorithm.views(batch, module.network))
            module.algorithm.measure(batch, module.network)
            scores = module.contribution.combine(module.algorithm.scores(batch.x, module.network))
        assert scores.device.type == DEVICE, f"scores are on {scores.device}"


def problem(name: str) -> str:
    """Return what fails in a recipe, in one line; an empty string if nothing does."""
    try:
        tried(name)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in place if "/ffcore" in frame.filename]
        last = own[-1] if own else place[-1]
        return f"{last.filename}:{last.lineno}: {type(error).__name__}: {one_line(error, 200)}"
    return ""


def main() -> int:
    """Check the recipes. Returns the number of those that fail."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*", help="names of recipes; default: all")
    parser.add_argument("--json", type=Path, help="write the problems into a file, by recipe")
    parser.add_argument("--traceback", action="store_true", help="show the traceback of the first problem")
    given = parser.parse_args()
    backend_registration._setup_privateuseone_for_python_backend(DEVICE, backend_module=Module())
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    found: dict[str, str] = {}
    with mock.patch.object(FakeTensor, "numpy", numpy), mock.patch.object(torch, "Generator", Generator):
        for name in given.recipes or names():
            began = time.process_time()
            if given.traceback:
                tried(name)
            found[name] = problem(name)
            took = time.process_time() - began
            print(f"{'failed' if found[name] else 'ok':7} {name} ({took:.2f} s) {found[name]}", flush=True)
    if given.json is not None:
        given.json.write_text(json.dumps(found), encoding="utf-8")
    return sum(bool(each) for each in found.values())


if __name__ == "__main__":
    raise SystemExit(main())
