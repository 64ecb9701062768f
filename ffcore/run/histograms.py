"""Histograms of the goodness of both views, one per validation.

E validations; B bins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from ffcore.data.loader import DeviceLoader
from ffcore.engine.module import ForwardOnly
from ffcore.run.arrays import Arrays, energies

BINS = 32


class Histograms(L.Callback):
    """Computes histograms of the goodness of positives and negatives of every block after each validation.

    Args:
        loader: returns a loader of the validation split on a device.
    """

    def __init__(self, loader: Callable[[torch.device], DeviceLoader]) -> None:
        self.loader = loader
        self._epochs: list[int] = []
        self._counted: dict[str, dict[str, list[np.ndarray]]] = {}

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add one histogram per block and view; Lightning has put the module into evaluation mode."""
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, ForwardOnly)
        with trainer.precision_plugin.forward_context():
            goodness = energies(pl_module, self.loader(pl_module.device))
        if not goodness or any(set(of) != {"positive", "negative"} for of in goodness.values()):
            return
        self._epochs.append(trainer.current_epoch + 1)
        for block, of_block in goodness.items():
            sides = {role: _finite(values) for role, values in of_block.items()}
            # the same bins for both views, so that the report can draw them over each other
            edges = np.histogram_bin_edges(np.concatenate(list(sides.values())), BINS)
            counted = self._counted.setdefault(block, {"edges": [], "positive": [], "negative": []})
            counted["edges"].append(edges)
            for role, values in sides.items():
                counted[role].append(np.histogram(values, edges)[0])

    def arrays(self) -> Arrays:
        """Returns ``history/epochs`` (E,), and per block ``edges`` (E, B + 1) and counts (E, B) per view."""
        if not self._epochs:
            return {}
        counted = {
            f"history/{block}/{name}": np.stack(values)
            for block, of_block in self._counted.items()
            for name, values in of_block.items()
        }
        return {"history/epochs": np.array(self._epochs), **counted}

    def state_dict(self) -> dict[str, Any]:
        """Returns all counts as tensors: NumPy arrays would not load with ``weights_only``."""
        return {name: torch.from_numpy(values) for name, values in self.arrays().items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the counts of earlier epochs."""
        self._epochs, self._counted = [], {}
        for path, values in state_dict.items():
            if path == "history/epochs":
                self._epochs = values.tolist()
            else:
                block, name = path.removeprefix("history/").rsplit("/", 1)
                self._counted.setdefault(block, {})[name] = list(values.numpy())


def _finite(values: Tensor) -> np.ndarray:
    """Returns the finite values: goodness may overflow while the loss is still finite."""
    return values[values.isfinite()].float().cpu().numpy()
