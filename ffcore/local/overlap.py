"""Calls of black boxes that overlap with learning: the blocks after a box are one batch behind.

    step t:  learn the blocks before the box       batch t
             wait for the answer of the box        batch t − 1
             begin the call of the box             batch t, in a thread
             learn the blocks after the box        batch t − 1

Every block learns from the same batches in the same order, with the same random numbers and learning rates.
So the weights are those without overlap, once `Overlap.settle` has finished the passes that wait for a box.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

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

Rate = tuple[dict[str, Any], float]
"""A parameter group and its learning rate."""


class Overlap(Route):
    """Runs a pass up to the first box that overlaps, then the rest of the pass of the batch before."""

    def __init__(self) -> None:
        self._waiting: dict[BoxStage, Waiting] = {}
        self._plan: Plan | None = None  # the plan that has been checked
        self._after: dict[BoxStage, list[nn.Module]] = {}  # the modules that it runs after each box

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
            UserError: blocks before and after a box learn together, or batches are accumulated.
        """
        if not here.plan:  # no running statistics should move
            network.observe(here.views, *here.observers)
            return
        if here.plan is not self._plan:
            _refuse(network, here, stages)
            self._plan, every = here.plan, network.stages
            self._after = {
                box: [part for stage in every[i + 1 : stages.stop] for part in stage.modules()]
                for i, box in enumerate(every[: stages.stop])
                if isinstance(box, BoxStage) and box.overlap
            }
        self._continue(network, here, here.views.x, stages)

    def _continue(self, network: LocalNetwork, here: Pass, x: Tensor, stages: range) -> None:
        every = network.stages
        at = next((i for i in stages if _overlaps(every[i])), stages.stop)
        x = here.run(every[stages.start : at], x)
        if at == stages.stop:
            return
        box = every[at]
        assert isinstance(box, BoxStage)
        before = self._waiting.pop(box, None)
        answer = None if before is None else before.answer()
        self._waiting[box] = Waiting(here, box, x, range(at + 1, stages.stop), self._after[box])
        if before is not None and answer is not None:
            with before.state():
                self._continue(network, before.here, answer, before.stages)

    def read(self, network: LocalNetwork, here: Pass, handed_on: dict[Block, Tensor]) -> bool:
        """Run the whole network for the readouts, after the passes that wait."""
        self.settle(network)
        here.run(network.stages, here.views.x)
        return True

    def settle(self, network: LocalNetwork) -> None:
        """Finish the passes that wait for a box, the oldest first."""
        while self._waiting:
            _, waiting = self._waiting.popitem()
            answer = waiting.answer()
            with waiting.state():
                waiting.here.run(network.stages[waiting.stages.start : waiting.stages.stop], answer)


class Waiting:
    """A pass that waits for the answer of a box.

    Args:
        here: the pass.
        box: the box, which is called in a thread.
        x: its input.
        stages: the stages after the box.
        modules: all modules of these.
    """

    def __init__(
        self, here: Pass, box: BoxStage, x: Tensor, stages: range, modules: Sequence[nn.Module]
    ) -> None:
        self.here, self.stages, self.modules = here, stages, modules
        self._modes = [part.training for part in modules]
        self._rates = [
            (group, group["lr"]) for each in here.optimizers.values() for group in each.optimizer.param_groups
        ]
        self._random = _random(x)
        self._answer: Tensor | None = None
        self._error: BaseException | None = None
        kind = x.device.type
        autocast = torch.autocast(
            kind,
            torch.get_autocast_dtype(kind),
            enabled=torch.is_autocast_enabled(kind),
            cache_enabled=False,
        )

        def call() -> None:
            try:
                with autocast:
                    self._answer = here.run([box], x)
            except BaseException as error:  # raised again in the main thread
                self._error = error
            finally:
                entered.set()

        # This thread waits until the box is called: otherwise it may hold Python's lock until the next pause.
        entered = Event()
        here.entering = entered.set
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

    @contextmanager
    def state(self) -> Iterator[None]:
        """Within the context, random numbers, learning rates and modes are those of this pass."""
        rates = [(group, group["lr"]) for group, _ in self._rates]
        random, modes = _random(self._answer), [part.training for part in self.modules]
        self._set(rates=self._rates, random=self._random, modes=self._modes)
        try:
            yield
        finally:
            self._set(rates=rates, random=random, modes=modes)

    def _set(self, rates: Sequence[Rate], random: Sequence[Tensor], modes: Sequence[bool]) -> None:
        for group, rate in rates:
            group["lr"] = rate
        torch.set_rng_state(random[0])
        for state in random[1:]:
            torch.cuda.set_rng_state(state)
        for part, mode in zip(self.modules, modes, strict=True):
            if part.training != mode:
                part.training = mode


def _overlaps(part: nn.Module) -> bool:
    return isinstance(part, BoxStage) and part.overlap


def _random(x: Any) -> list[Tensor]:
    """Return the states of torch's generators from which bodies draw: the CPU's, and that of x's GPU."""
    on_gpu = [torch.cuda.get_rng_state(x.device)] if x.is_cuda else []
    return [torch.get_rng_state(), *on_gpu]


def _refuse(network: LocalNetwork, here: Pass, stages: range) -> None:
    def windows(of: range) -> set[int]:
        parts = (part for i in of for part in network.stages[i].modules())
        return {place.window for part in parts if (place := network.place(part)) is not None}

    for i in stages:
        box = network.stages[i]
        if not _overlaps(box):
            continue
        if any(each.accumulate > 1 for each in here.optimizers.values()):
            raise UserError(
                f"{box.where}: overlap: does not work with accumulated batches; set overlap to false"
            )
        if windows(range(stages.start, i)) & windows(range(i + 1, stages.stop)):
            raise UserError(
                f"{box.where}: overlap: blocks before and after the box learn together; set overlap to false"
            )
