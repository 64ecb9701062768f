"""Measures the seconds of each stage of a network to learn a batch."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Sequence
from itertools import islice

import torch
from torch import nn

from ffcore.interfaces import Ranks, Views
from ffcore.local import LocalNetwork
from ffcore.local.alone import Alone
from ffcore.trust import trusting

_MEASURED = 5  # batches


def timed(
    network: LocalNetwork, stages: Sequence[nn.Module], batches: Iterable[Views], ranks: Ranks
) -> list[float]:
    """Return the seconds of each stage to learn a batch: the mean of all ranks, which measure together.

    The measurement trains the network for a few batches; weights and optimiser states are restored.
    """
    optimizers = list(network.optimizers or ())
    weights = copy.deepcopy(network.state_dict())
    states = [
        {parameter: copy.deepcopy(of) for parameter, of in each.optimizer.state.items()}
        for each in optimizers
    ]
    # the block itself: outside a pipeline a circuit calls its blocks
    clock = _Stopwatch([stage.block if isinstance(stage, Alone) else stage for stage in stages])
    record, network.record = network.record, None
    observers, network.observers = network.observers, []
    try:
        for views in islice(batches, _MEASURED):
            clock.batch()
            network.learn(views)
            for each in optimizers:
                each.step()
    finally:
        clock.close()
        network.record, network.observers = record, observers
        with trusting():  # the state was made by this process
            network.load_state_dict(weights)
        # Not load_state_dict: it would replace the parameter groups, which learning-rate schedules refer to.
        for each, state in zip(optimizers, states, strict=True):
            each.optimizer.state.clear()
            each.optimizer.state.update(state)
    costs = ranks.objects(clock.medians())
    return [sum(of_stage) / len(costs) for of_stage in zip(*costs, strict=True)]


class _Stopwatch:
    """Measures the seconds of each stage, with its learning, by forward hooks."""

    def __init__(self, stages: Sequence[nn.Module]) -> None:
        self._times: list[list[float]] = []
        self._hooks = []
        for i, stage in enumerate(stages):
            self._hooks.append(stage.register_forward_pre_hook(lambda *_, i=i: self._note(i, -1)))
            self._hooks.append(stage.register_forward_hook(lambda *_, i=i: self._note(i, 1)))
        self._stages = len(stages)

    def batch(self) -> None:
        self._times.append([0.0] * self._stages)

    def medians(self) -> list[float]:
        return [sorted(of)[len(of) // 2] for of in zip(*self._times, strict=True)]

    def close(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def _note(self, stage: int, sign: int) -> None:
        """Add −now before a stage and +now after it: the sum is its duration."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # kernels run asynchronously: without it only their launch is measured
        self._times[-1][stage] += sign * time.perf_counter()
