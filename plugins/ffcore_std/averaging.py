"""Averages of weights over a growing part of a run.

    θ̄_n = θ̄_{n−1} + (θ_n − θ̄_{n−1}) / (1 + s (n − 1)),   θ̄_1 = θ_1

n number of updates; s share: θ̄_n is an average over about the last s n of them. A moving average with a fixed
decay has one length for the whole run: too long for its first epochs, or too short for later ones.
"""

from __future__ import annotations

import warnings
from typing import Any

import lightning as L
import torch
from torch import Tensor

from ffcore.errors import UserError, expect, expect_count
from ffcore.options import Count, Fraction

_LAST = "last_weights"
"""Key of a checkpoint: the weights that learning continues from. Its ``state_dict`` has the averages."""


class GrowingAverage(L.Callback):
    """Validates, tests and keeps averaged weights; learning continues from the last ones.

    A callback for ``trainer.callbacks``: ``{kind: "ffcore_std.averaging:GrowingAverage"}``, or
    ``callbacks=[GrowingAverage()]`` from Python and of any Lightning trainer. Only parameters are averaged:
    buffers, such as running statistics, are those of the last step.

    Args:
        share: s, share of the past updates over which the average runs; at 1 it is that of all weights.
        every: number of steps between two updates. A warning at the end says if there was only one.

    Raises:
        UserError: an option is out of its range; or, when training begins, blocks are on several ranks
            (``ff_pipeline``).
    """

    def __init__(self, share: Fraction = 0.1, every: Count = 5) -> None:
        expect("share", share, (int, float), "a number above 0 and at most 1")
        if not 0 < share <= 1:
            raise UserError(f"share: should be above 0 and at most 1, not {share}")
        expect_count("every", every)
        self.share, self.every = share, every
        self.updates = self._step = 0
        self._average: dict[str, Tensor] = {}
        self._swapped = False

    @property
    def averages(self) -> str:
        """What is validated and tested, for the report of a run."""
        return f"averages over the last {self.share:.3g} of the steps"

    @torch.no_grad()
    def update(self, module: torch.nn.Module) -> None:
        """Add the weights of a module to the average."""
        weight = 1 / (1 + self.share * self.updates)
        for name, parameter in module.named_parameters():
            if name in self._average:
                average = self._average[name]
                average += (parameter - average) * weight
            else:
                self._average[name] = parameter.detach().clone()
        self.updates += 1

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Move the average of a resumed run to the device of the weights."""
        own = dict(pl_module.named_parameters())
        self._average = {name: average.to(own[name].device) for name, average in self._average.items()}

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Refuse a network whose blocks are divided, which it is by now."""
        owns = getattr(getattr(pl_module, "distribution", None), "owns", lambda name: True)
        if not all(map(owns, getattr(getattr(pl_module, "network", None), "learners", ()))):
            raise UserError("GrowingAverage: a pipeline learns blocks on other ranks; use ff_local")

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the average after every few optimiser steps."""
        if trainer.global_step > self._step and (trainer.global_step - 1) % self.every == 0:
            self._step = trainer.global_step
            self.update(pl_module)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the average."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._swap(pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the last weights again."""
        if self._swapped:
            self._swap(pl_module)

    @torch.no_grad()
    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the average; warn if it is the weights of a single step."""
        if self.updates == 1 and trainer.is_global_zero:
            warnings.warn(
                "GrowingAverage: the weights are those of step 1, not an average: "
                f"every is {self.every}, but the run has {trainer.global_step} steps; it should be less",
                stacklevel=2,
            )
        own = dict(pl_module.named_parameters())
        for name, average in self._average.items():
            own[name].copy_(average)

    @torch.no_grad()
    def _swap(self, module: L.LightningModule) -> None:
        own = dict(module.named_parameters())
        for name, average in self._average.items():
            kept = average.clone()
            average.copy_(own[name])
            own[name].copy_(kept)
        self._swapped = not self._swapped

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Put the average into the checkpoint's ``state_dict``, and the last weights beside it."""
        state, names = checkpoint["state_dict"], self._names(pl_module)
        if self._swapped:
            checkpoint[_LAST] = {name: self._average[first] for name, first in names.items()}
        else:
            checkpoint[_LAST] = {name: state[name] for name in names}
            checkpoint["state_dict"] = {
                **state,
                **{name: self._average[first] for name, first in names.items()},
            }

    @torch.no_grad()
    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take the average from a checkpoint, and continue from its last weights."""
        own = dict(pl_module.named_parameters())
        self._average = {
            name: checkpoint["state_dict"][name].detach().clone()
            for name in checkpoint.get(_LAST, ())
            if name in own
        }
        for name in self._average:
            own[name].copy_(checkpoint[_LAST][name])

    def _names(self, module: L.LightningModule) -> dict[str, str]:
        """Return the first name of each averaged parameter by all its names in the ``state_dict``."""
        firsts = {parameter: name for name, parameter in module.named_parameters() if name in self._average}
        every = module.named_parameters(remove_duplicate=False)
        return {name: firsts[parameter] for name, parameter in every if parameter in firsts}

    def state_dict(self) -> dict[str, Any]:
        """Return the number of updates, and the step of the last one."""
        return {"updates": self.updates, "step": self._step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore both."""
        self.updates, self._step = state_dict["updates"], state_dict["step"]
