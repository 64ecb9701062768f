"""The arrays that a report's figures are plotted from, measured once at the end of a run.

N samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ffcore.blame import reported, written_at
from ffcore.build.form import Form
from ffcore.data.loader import DeviceLoader
from ffcore.engine.module import ForwardOnly
from ffcore.errors import FOREIGN, shortened, typed
from ffcore.files import write_whole
from ffcore.interfaces import Batch, Component
from ffcore.local import GoodnessLoss, LocalBlock
from ffcore.reading import is_text
from ffcore.run.data import Data
from ffcore.run.trainer import precision

Arrays = dict[str, np.ndarray]


@torch.no_grad()
def measure(module: ForwardOnly, data: Data, device: torch.device, complain: Callable[[str], None]) -> Arrays:
    """Returns validation goodness, thresholds, receptive fields of the first block, and test mistakes.

    With ``trainer.arrays: false`` there are only those of components. If one of them cannot be measured, it
    is left out and ``complain`` is called with the reason: the run is trained and tested at this point.
    """
    module.eval()
    if not data.recipe.trainer.arrays:
        return _of_components(module, complain)
    parts: dict[str, Callable[[], Arrays]] = {
        "goodness": lambda: (
            _goodness(module, data.loader(data.val, device, None), complain) if data.val else {}
        ),
    }
    parts["test samples of the task"] = lambda: _of_task(module, data, device)
    if Form.of(data.images).plain:
        parts["receptive fields"] = lambda: _receptive(module, data.images.shape)
        if data.images.task is None:
            parts["misclassified samples"] = lambda: _examples(
                module, data.loader(data.images.test, device, None), data
            )
    arrays: Arrays = {}
    with precision(data.recipe, device):
        for name, measured in parts.items():
            try:
                arrays |= measured()
            except FOREIGN as error:
                complain(f"{name} are left out of the report: {typed(error, 200)}")
    return arrays | _of_components(module, complain)


def _of_task(module: ForwardOnly, data: Data, device: torch.device) -> Arrays:
    """Returns what the task shows of the test samples."""
    batch = next(iter(data.loader(data.images.test, device, None)))
    made = module.net.task.shown(module.scores, batch.x, batch.y)
    return {_name(name): _same_dtype(value) for name, value in made.items()}


def conclude(
    module: ForwardOnly, data: Data, device: torch.device, complain: Callable[[str], None]
) -> Arrays:
    """Returns the arrays of the algorithm's ``conclude``.

    The run is trained and tested at this point. An error here must not lose its results: the arrays are left
    out and ``complain`` is called with the reason.
    """
    module.eval()
    train, test = (
        _Dealt(module, data.loader(split, device, None)) for split in (data.train, data.images.test)
    )
    try:
        kept = module.algorithm.conclude(module.network, train, test)
        arrays = {_name(name): _same_dtype(value) for name, value in kept.items()}
    except FOREIGN as error:
        complain(f"results of the algorithm's conclude are left out: {typed(error, 200)}")
        return {}
    for name in [name for name, value in arrays.items() if not value.shape and not np.isfinite(value)]:
        complain(f"results of the algorithm's conclude: {name} is {arrays.pop(name)}; left out")
    return arrays


class _Dealt:
    """Iterates over the batches of a split and seeds the batch RNG for each."""

    def __init__(self, module: ForwardOnly, loader: DeviceLoader) -> None:
        self.module, self.loader = module, loader

    def __iter__(self) -> Iterator[Batch]:
        for number, batch in enumerate(self.loader):
            self.module.seed_measuring(batch, number)
            yield batch


def save(path: Path, arrays: Arrays) -> None:
    """Write an ``.npz`` file that loads without pickle, complete or not at all."""

    def write(draft: Path) -> None:
        with draft.open("wb") as file:  # with a name, NumPy would append ``.npz`` to it
            np.savez_compressed(file, allow_pickle=False, **arrays)

    write_whole(path, write)


def _of_components(module: ForwardOnly, complain: Callable[[str], None]) -> Arrays:
    """Returns the arrays of components: ``NAME/BLOCK`` for those inside blocks, ``contribution/NAME``."""
    parts = [(part, "{}/" + block.name) for block in module.network.blocks for part in block.modules()]
    parts.append((module.contribution, "contribution/{}"))
    arrays: Arrays = {}
    for part, place in parts:
        if isinstance(part, Component):
            try:
                made = part.arrays().items()
                arrays |= {_name(place.format(name)): _numpy(value) for name, value in made}
            except FOREIGN as error:
                what = place.format(type(part).__name__)
                complain(f"arrays of {what} are left out: {typed(error, 200)}")
    return arrays


@torch.no_grad()
def energies(module: ForwardOnly, loader: DeviceLoader, most: int = 2000) -> dict[str, dict[str, Tensor]]:
    """Returns the goodness of the first samples of a split by block and view, (N,) each.

    Empty if no goodness of the network has the form "energy".

    Args:
        module: the module in evaluation mode.
        loader: the loader of the split.
        most: maximum of N.
    """
    network = module.network
    blocks = [b for b in network.blocks if b.goodness is not None]
    if not any(b.goodness is not None and b.goodness.form == "energy" for b in blocks):
        return {}
    collected: dict[str, dict[str, list[Tensor]]] = {}
    seen = 0
    for step, batch in enumerate(loader):
        module.seed_measuring(batch, step)
        views = module.algorithm.views(batch, network)
        for block, goodness in zip(blocks, network.goodness(views), strict=True):
            for role in views.roles[:2]:  # the positive and the negative view, if the algorithm makes both
                collected.setdefault(block.name, {}).setdefault(role, []).append(views.of(goodness, role))
        seen += len(batch.index)
        if seen >= most:
            break
    return {b: {role: torch.cat(parts)[:most] for role, parts in of.items()} for b, of in collected.items()}


def _goodness(module: ForwardOnly, loader: DeviceLoader, complain: Callable[[str], None]) -> Arrays:
    arrays = {
        f"goodness/{block}/{role}": _numpy(values)
        for block, of_block in energies(module, loader).items()
        for role, values in of_block.items()
    }
    for block in module.network.blocks:
        boundary = _boundary(block, complain) if arrays else None
        if boundary is not None:
            arrays[f"threshold/{block.name}"] = np.array(boundary, dtype=np.float32)
    return arrays


def _boundary(block: LocalBlock, complain: Callable[[str], None]) -> float | None:
    """Returns the boundary of a block's objective; complains and returns None if it is not a number."""
    if not isinstance(block.loss, GoodnessLoss):
        return None
    kind = type(block.loss.objective)
    what = f"block {block.name}: boundary of {kind.__name__}"
    try:
        boundary: Any = block.loss.objective.boundary()
        number = math.nan if isinstance(boundary, str) else float(0 if boundary is None else boundary)
    except FOREIGN as error:
        complain(f"{what} is left out: {reported(error)}")
        return None
    if not math.isfinite(number):
        right = f"it should return a finite number or None{written_at(kind.boundary)}"
        complain(f"{what} is left out: it returned {shortened(boundary)}; {right}")
        return None
    return None if boundary is None else number


def _receptive(module: ForwardOnly, shape: tuple[int, ...], most: int = 64) -> Arrays:
    # The weights of a unit of the first block can be shown as an image if they cover the whole input.
    first = module.network.blocks[0]
    for parameter in first.body.parameters():
        if parameter.dim() >= 2 and parameter[0].numel() == math.prod(shape):
            strongest = parameter.flatten(1).norm(dim=1).argsort(descending=True)[:most]
            fields = parameter[strongest].reshape(-1, *shape)
            return {f"receptive/{first.name}": _numpy(fields)}
    return {}


def _examples(module: ForwardOnly, loader: DeviceLoader, data: Data, most: int = 25) -> Arrays:
    wrong: list[int] = []
    predicted: list[int] = []
    for batch in loader:
        guess = module.scores(batch.x).argmax(1)
        missed = (guess != batch.y).nonzero().flatten()
        wrong += batch.index[missed].tolist()
        predicted += guess[missed].tolist()
        if len(wrong) >= most:
            break
    if not wrong:
        return {}
    test = data.images.test
    return {
        "examples/x": test.x[wrong[:most]].astype(np.float32) * data.images.scale,
        "examples/y": test.y[wrong[:most]],
        "examples/predicted": np.array(predicted[:most]),
    }


def _name(name: Any) -> str:
    """Returns the name of an array, if `numpy.savez` can store an array under it."""
    if not isinstance(name, str) or not is_text(name) or name in ("file", "allow_pickle"):
        raise ValueError(f"an array cannot have the name {name!a}")
    return name


def _same_dtype(t: Tensor) -> np.ndarray:
    t = t.detach().cpu()
    return (t.float() if t.dtype is torch.bfloat16 else t).numpy()  # NumPy has no bfloat16


def _numpy(t: Tensor) -> np.ndarray:
    return t.detach().float().cpu().numpy()
