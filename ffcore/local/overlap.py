"""Calls of black boxes that overlap with learning: the blocks after a box are one batch behind.

    step t:  learn the blocks before the box       batch t
             wait for the answer of the box        batch t − 1
             begin the call of the box             batch t, in a thread
             learn the blocks after the box        batch t − 1

Every block learns from the same batches in the same order, with the same random numbers and options of its
optimiser. So the weights are those without overlap, once `Overlap.settle` has finished the passes that wait.
Predictions, copies, changes of mode, device or plan, and states of network and optimisers, saved or loaded,
call it first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Any
from weakref import ref

import torch
from torch import Tensor, nn

from ffcore.errors import UserError
from ffcore.interfaces import Block
from ffcore.local.box import BoxStage
from ffcore.local.passes import Pass
from ffcore.local.plan import Plan
from ffcore.local.route import Route

if TYPE_CHECKING:
    from ffcore.local.network import LocalNetwork


class Overlap(Route):
    """Runs a pass up to the first box that overlaps, then the rest of the pass of the batch before."""

    def __init__(self) -> None:
        self._waiting: dict[BoxStage, Waiting] = {}
        self._plan: Plan | None = None  # the plan that has been checked

    @staticmethod
    def of(stages: Sequence[nn.Module]) -> Overlap | None:
        """Return the route of stages with boxes that overlap; None without such boxes.

        Raises:
            UserError: such a box is inside another stage.
        """
        for part in {part for stage in stages for part in stage.modules()}.difference(stages):
            if _overlaps(part):
                raise UserError(
                    f"{part.where}: overlap: the box is inside another module; only a box between blocks "
                    "can answer while other blocks learn"
                )
        return Overlap() if any(map(_overlaps, stages)) else None

    def learn(self, network: LocalNetwork, here: Pass, stages: range) -> None:
        """Let the stages before a box learn from this batch, and those after it from the one before.

        Raises:
            UserError: blocks before and after a box learn together.
        """
        if not here.plan:  # no running statistics should move
            network.observe(here.views, *here.observers)
            return
        if here.plan is not self._plan:
            refuse_overlap_in_windows(network, stages)
            self._plan = here.plan
        if network.optimizers is not None:
            network.optimizers.network = ref(network)
        self._continue(network, here, here.views.x, stages)

    def _continue(self, network: LocalNetwork, here: Pass, x: Tensor, stages: range) -> None:
        every = network.stages
        at = next((i for i in stages if _overlaps(every[i])), stages.stop)
        x = here.run(every[stages.start : at], x)
        if at == stages.stop:
            return
        box = every[at]
        assert isinstance(box, BoxStage)
        before = self._waiting.get(box)
        try:
            answer = None if before is None else before.answer()
        finally:  # after an error of the box this batch waits, as it would be the next one without overlap
            self._waiting[box] = Waiting(here, box, x, range(at + 1, stages.stop))
        if before is not None and answer is not None:
            with before.state():
                self._continue(network, before.here, answer, before.stages)

    def read(self, network: LocalNetwork, here: Pass, handed_on: dict[Block, Tensor]) -> bool:
        """Run the whole network for the readouts, after the passes that wait."""
        here.run(network.stages, here.views.x)
        return True

    def settle(self, network: LocalNetwork) -> None:
        """Finish the passes that wait for a box, the oldest first: those of the last box."""
        while self._waiting:
            box = max(self._waiting, key=lambda box: self._waiting[box].stages.start)
            waiting = self._waiting[box]
            try:
                answer = waiting.answer()
            finally:
                del self._waiting[box]
            with waiting.state():
                waiting.here.run(network.stages[waiting.stages.start : waiting.stages.stop], answer)


class Waiting:
    """A pass that waits for the answer of a box.

    Args:
        here: the pass.
        box: the box, which is called in a thread.
        x: its input.
        stages: the stages after the box.
    """

    def __init__(self, here: Pass, box: BoxStage, x: Tensor, stages: range) -> None:
        self.here, self.stages = here, stages
        self._device = x.device
        self._options = _options(here)
        self._random = _random(x.device)
        self._grad = torch.is_grad_enabled()
        kind = x.device.type
        self._autocast = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
        self._answer: Tensor | None = None
        self._error: BaseException | None = None
        # This thread waits until the box is called: otherwise it may hold Python's lock until the next pause.
        entered = Event()
        here.entering = entered.set

        def call() -> None:
            try:
                with self._precision():
                    self._answer = here.run([box], x)
            except BaseException as error:  # raised again in the main thread
                self._error = error
            finally:
                entered.set()

        # A daemon: a box that never answers does not keep the process alive.
        self._thread = Thread(target=call, name=f"box {box.name}", daemon=True)
        self._thread.start()
        entered.wait()

    def answer(self) -> Tensor:
        """Wait for the answer of the box.

        Raises:
            RunError: the box raised an exception, or its output is invalid.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._answer is not None
        return self._answer

    def _precision(self) -> torch.autocast:
        enabled, dtype = self._autocast
        return torch.autocast(self._device.type, dtype, enabled=enabled, cache_enabled=False)

    @contextmanager
    def state(self) -> Iterator[None]:
        """Within the context, what a step depends on is as in this pass.

        That is random numbers, options of the optimisers, precision and whether gradients are computed.
        """
        options, random = _options(self.here), _random(self._device)
        _set(self._options, self._random, self._device)
        try:
            with torch.inference_mode(False), torch.set_grad_enabled(self._grad), self._precision():
                yield
        finally:
            _set(options, random, self._device)


def _overlaps(part: nn.Module) -> bool:
    return isinstance(part, BoxStage) and part.overlap


Options = list[tuple[dict[str, Any], dict[str, Any]]]
"""Parameter groups, and their options such as the learning rate."""


def _options(here: Pass) -> Options:
    """Return the options of all optimisers of a pass. Schedulers fill a rate that is a tensor in place."""
    return [
        (group, {key: _copied(value) for key, value in group.items() if key != "params"})
        for each in here.optimizers.values()
        for group in each.optimizer.param_groups
    ]


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _random(device: torch.device) -> list[Tensor]:
    """Return the states of torch's generators from which bodies draw: the CPU's, and that of a GPU."""
    on_gpu = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *on_gpu]


def _set(options: Options, random: Sequence[Tensor], device: torch.device) -> None:
    for group, given in options:
        for key, value in given.items():
            if isinstance(value, Tensor) and isinstance(group[key], Tensor):
                group[key].copy_(value)
            else:
                group[key] = value
    torch.set_rng_state(random[0])
    for state in random[1:]:
        torch.cuda.set_rng_state(state, device)


def refuse_overlap_in_windows(network: LocalNetwork, stages: range) -> None:
    """Raise if blocks before and after a box that overlaps learn in the same window of the network's plan.

    Raises:
        UserError: with the box.
    """

    def windows(of: range) -> set[int]:
        parts = (part for i in of for part in network.stages[i].modules())
        return {place.window for part in parts if (place := network.place(part)) is not None}

    for i in stages:
        box = network.stages[i]
        if not _overlaps(box):
            continue
        if windows(range(stages.start, i)) & windows(range(i + 1, stages.stop)):
            raise UserError(
                f"{box.where}: overlap: blocks before and after the box learn together; set overlap to false"
            )
