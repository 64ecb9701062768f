"""Where a finished run is evaluated: the device of this process, and the ranks that share the batches.

Ranks take whole batches in turn, and the results of a batch are added up in the order of the batches. The
numbers are thus those of one process, for any number of samples and ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from ffcore.errors import UserError, expect
from ffcore.interfaces import ALONE, Ranks
from ffcore.options import DEVICE, DEVICES
from ffcore.ranks import join, where
from ffcore.recipe.schema import Recipe
from ffcore.recipe.trainer import TrainerConfig
from ffcore.run.trainer import apart

T = TypeVar("T")
R = TypeVar("R")


def device_of(given: Any, what: str = "device") -> torch.device:
    """Returns a device that this machine has.

    >>> device_of("cpu")
    device(type='cpu')

    Args:
        given: "auto" for a GPU if there is one, "cpu", "cuda", "cuda:1", or a torch.device of these types.
        what: name of the argument, for messages.

    Raises:
        UserError: it is none of these, or this machine does not have it.
    """
    expect(what, given, (str, torch.device), DEVICES)
    name = str(given)
    if not DEVICE.fullmatch(name):
        raise UserError(f"{what}: {name!r} should be {DEVICES}")
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        built = "" if torch.version.cuda else f": torch {torch.__version__} was built without CUDA"
        raise UserError(
            f"{what}: {name!r}: this machine has no GPU that torch can use{built}; use auto or cpu"
        )
    device, there = torch.device("cuda" if name == "auto" else name), torch.cuda.device_count()
    if (device.index or 0) >= there:
        raise UserError(f"{what}: {name!r}: this machine has {there} GPUs; the last is cuda:{there - 1}")
    return device


@dataclass(frozen=True)
class Places:
    """The device of this process, and the number of processes.

    Attributes:
        device: of this process.
        devices: number of processes, W.
        rank: of this process, 0 … W − 1.
    """

    device: torch.device
    devices: int = 1
    rank: int = 0

    @classmethod
    def of(cls, device: Any = "auto", devices: int = 1) -> Places:
        """Returns the places of an evaluation.

        Args:
            device: as for `device_of`.
            devices: number of processes on this machine; each takes a GPU of its own, or CPU cores.

        Raises:
            UserError: this machine does not have them.
        """
        chosen = device_of(device)
        expect("devices", devices, int, "a number of processes, 1 or more")
        if isinstance(devices, bool) or devices < 1:
            raise UserError(f"devices: {devices} should be a number of processes, 1 or more")
        if devices == 1:
            return cls(chosen)
        if chosen.index is not None:
            raise UserError(f"device: {chosen} is one GPU, but devices is {devices}; use cuda")
        rank = where.rank(TrainerConfig(devices=devices))
        if chosen.type == "cuda":
            if devices > (there := torch.cuda.device_count()):
                raise UserError(f"devices: {devices}: this machine has {there} GPUs")
            chosen = torch.device("cuda", rank)
        return cls(chosen, devices, rank)

    @contextmanager
    def joined(self, recipe: Recipe) -> Iterator[Ranks]:
        """Starts and connects the processes, which run the same program.

        Call it when everything that can be wrong has been checked: a process that fails before it lets the
        others wait.

        Raises:
            UserError: there are too few CPU cores, or the processes cannot be connected.
        """
        if self.devices == 1:
            yield ALONE
            return
        kind = "cpu" if self.device.type == "cpu" else "gpu"
        here = {"devices": self.devices, "num_nodes": 1, "strategy": "auto", "accelerator": kind}
        size = max(recipe.data.batch_size, self.devices)  # ranks take whole batches, not shares of them
        shared = recipe.model_copy(
            update={
                "trainer": recipe.trainer.model_copy(update=here),
                "data": recipe.data.model_copy(update={"batch_size": size}),
            }
        )
        try:
            join.check(shared)
        except UserError as error:
            raise UserError(str(error).replace("trainer.devices", "devices")) from error
        with apart(join.threads(shared)), join.joined(shared) as group:
            yield group


def in_turn(items: Iterable[T], measure: Callable[[int, T], R], group: Ranks = ALONE) -> Iterator[R]:
    """Yields the results of all items in their order; rank r makes those of the items r, r + W, r + 2 W, ….

    >>> list(in_turn("abc", lambda number, item: (number, item)))
    [(0, 'a'), (1, 'b'), (2, 'c')]

    Args:
        items: the same ones on every rank.
        measure: called with the number of an item and the item. What it returns is sent to all ranks: plain
            values and tensors, which arrive on the CPU if there are several ranks.
        group: the W ranks.
    """
    mine, turn = None, -1
    for number, item in enumerate(items):
        turn = number % group.world
        if turn == group.rank:
            mine = measure(number, item)
        if turn == group.world - 1:
            yield from group.objects(mine)  # type: ignore[misc]
            mine, turn = None, -1
    if turn >= 0:
        yield from group.objects(mine)[: turn + 1]  # type: ignore[misc]
