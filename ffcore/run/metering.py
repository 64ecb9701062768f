"""Measures what a run costs, by phase: learning, validation, test, and everything else.

    multiplications to learn   = Σ_w samples_w · those of a step in which the windows w learn, a sample
                                 + samples cached_w · those of the blocks that have finished, a sample
    multiplications to predict = samples · ``predict`` of the cost sheet

w sets of windows that learned in a step; see `ffcore.build.module_costs`.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import reduce
from typing import Any
from weakref import ref

import lightning as L
import torch

from ffcore.build.form import Form
from ffcore.build.module_costs import products
from ffcore.engine.module import ForwardOnly
from ffcore.interfaces import Ranks
from ffcore.run.cost_meter import OTHER, CostMeter, Spent
from ffcore.run.data import Data
from ffcore.run.energy import counters_of

LEARNING, VALIDATION, TEST = "learning", "validation", "test"


class Metering(L.Callback):
    """Tells a meter which phase of a run begins. Put it before callbacks that measure or write.

    Args:
        ranks: all ranks of the run.

    Attributes:
        learned: number of samples that were learned, by the windows that learned.
        cached: number of samples for which a cache has stored what finished blocks make, in the same way.
    """

    def __init__(self, ranks: Ranks) -> None:
        self.learned: Counter[tuple[range, ...]] = Counter()
        self.cached: Counter[tuple[range, ...]] = Counter()
        self._last: Callable[[], object] = _nothing  # a weak reference: caches are large
        self._ranks = ranks
        self._meter: CostMeter | None = None

    @property
    def meter(self) -> CostMeter:
        """The meter of this rank, after `begin`."""
        assert self._meter is not None, "begin comes first"
        return self._meter

    def begin(self, device: torch.device) -> None:
        """Measure a device from now on; the first rank of each machine measures its processors."""
        counters, missing = counters_of(device)
        hosts = self._ranks.objects(platform.node())
        if hosts.index(platform.node()) != self._ranks.rank:
            counters = [counter for counter in counters if counter.name != "cpu"]
            missing.pop("cpu", None)
        self._meter = CostMeter(device, counters, missing)
        self._meter.__enter__()

    def __enter__(self) -> Metering:
        """Nothing is measured before `begin`."""
        return self

    def __exit__(self, *args: object) -> None:
        """End the polls of the counters."""
        if self._meter is not None:
            self._meter.close()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Learning begins. A run that is resumed within an epoch begins with its first batch."""
        self.meter.enter(LEARNING)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Learning continues after validation."""
        if self.meter.current != LEARNING:
            self.meter.enter(LEARNING)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count samples."""
        assert isinstance(pl_module, ForwardOnly)
        self.meter.count(batch.total)
        windows = tuple(pl_module.net.windows or ())
        self.learned[windows] += batch.total
        if (cache := pl_module.cached) is not None and cache is not self._last():
            self._last = ref(cache)
            samples: int = trainer.train_dataloader.samples  # type: ignore[union-attr]
            self.cached[windows] += (
                samples * pl_module.distribution.learning.world
            )  # each rank has all of them

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Learning ends."""
        self.meter.enter(OTHER)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Validation begins."""
        self.meter.enter(VALIDATION)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count samples."""
        self.meter.count(batch.total)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Validation or test ends."""
        self.meter.enter(OTHER)

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The test begins."""
        self.meter.enter(TEST)

    on_test_batch_end = on_validation_batch_end
    on_test_end = on_validation_end

    def state_dict(self) -> dict[str, Any]:
        """Return the costs of all ranks so far. All ranks call it."""
        counted = {
            name: [([(w.start, w.stop) for w in windows], n) for windows, n in counts.items()]
            for name, counts in (("learned", self.learned), ("cached", self.cached))
        }
        return {"phases": self.total(), **counted}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Add the costs before the run was stopped; the first rank has those of all."""
        if self._ranks.rank == 0:
            self.meter.load_state_dict(state_dict.get("phases", {}))
        for name, counts in (("learned", self.learned), ("cached", self.cached)):
            for windows, samples in state_dict.get(name, ()):
                counts[tuple(range(*ends) for ends in windows)] += samples

    def total(self) -> dict[str, dict[str, Any]]:
        """Return the costs of each phase: time of the first rank; CPU time and energy of all.

        All ranks call it.
        """
        of_ranks = [
            {name: Spent(**spent) for name, spent in phases.items()}
            for phases in self._ranks.objects(self.meter.state_dict())
        ]
        first = of_ranks[0]
        together = {
            name: reduce(Spent.plus, [phases.get(name, Spent()) for phases in of_ranks]) for name in first
        }
        return {
            name: asdict(replace(spent, seconds=first[name].seconds, samples=first[name].samples))
            for name, spent in together.items()
        }

    def peak(self) -> int | None:
        """Return the largest peak of allocated memory on this rank's GPU in bytes; None on a CPU."""
        self.meter.enter(self.meter.current)
        return reduce(Spent.plus, self.meter.phases.values(), Spent()).peak_memory

    def results(self, module: ForwardOnly, data: Data, sheet: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the costs for ``results.json``. All ranks call it; the first one has the result.

        Args:
            module: the module of the run.
            data: its data.
            sheet: ``cost_sheet`` of ``results.json``; None on other ranks.
        """
        phases = self.total()
        missing = {
            name: why for of_rank in self._ranks.objects(self.meter.missing) for name, why in of_rank.items()
        }
        for spent in phases.values():
            made = None if sheet is None else sheet["predict"]
            spent["multiplications"] = None if made is None else spent["samples"] * made or None
            spent["joules"] = {
                of: round(joules, 3) for of, joules in spent["joules"].items() if of not in missing
            }
            for clock in ("seconds", "cpu_seconds"):
                spent[clock] = None if spent[clock] is None else round(spent[clock], 3)
        if sheet is not None and LEARNING in phases:
            phases[LEARNING]["multiplications"] = self._to_learn(module, Form.of(data.images), sheet)
        return {"phases": phases, "counters": self.meter.sources, "missing": missing}

    def _to_learn(self, module: ForwardOnly, form: Form, sheet: Mapping[str, Any]) -> int | None:
        total = 0
        for windows, samples in self.learned.items():
            if (each := products(module, form, windows, sheet)) is None:
                return None
            total += samples * each[0] + self.cached[windows] * each[1]
        return total


def _nothing() -> None:
    """In place of a reference, before there is a cache."""
