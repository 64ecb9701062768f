"""Histograms of the goodness of both views, one per validation.

E validations; B bins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from ffcore.data.loader import DeviceLoader
from ffcore.engine.module import ForwardOnly
from ffcore.errors import FOREIGN, typed
from ffcore.run.arrays import Arrays, energies

BINS = 32


class Histograms(L.Callback):
    """Computes histograms of the goodness of positives and negatives of every block after each validation.

    If they cannot be computed, those of this validation are left out: statistics never end a training.

    Args:
        loader: returns a loader of the validation split on a device.
        complain: called with one line when histograms are first left out.
    """

    def __init__(
        self,
        loader: Callable[[torch.device], DeviceLoader],
        complain: Callable[[str], None] = lambda message: None,
    ) -> None:
        self.loader = loader
        self.complain = complain
        self._failed = False
        self._epochs: list[int] = []
        self._counted: dict[str, dict[str, list[np.ndarray]]] = {}

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add one histogram per block and view; Lightning has put the module into evaluation mode."""
        assert isinstance(pl_module, ForwardOnly)
        try:
            with trainer.precision_plugin.forward_context():
                goodness = pl_module.distribution.measured(
                    lambda: energies(pl_module, self.loader(pl_module.device))
                )
            if not goodness or any(set(of) != {"positive", "negative"} for of in goodness.values()):
                return
            counted = {block: _counts(of_block) for block, of_block in goodness.items()}
        except FOREIGN as error:  # of a component, or of NumPy for values that cannot be counted
            if not self._failed:
                self.complain(f"histograms of goodness are left out: {typed(error, 200)}")
            self._failed = True
            return
        self._epochs.append(trainer.current_epoch + 1)
        for block, of_block in counted.items():
            lists = self._counted.setdefault(block, {"edges": [], "positive": [], "negative": []})
            for name, values in of_block.items():
                lists[name].append(values)

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


def _counts(of_block: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Returns the ``edges`` (B + 1,) of common bins, and the counts (B,) of both views in them."""
    sides = {role: _finite(values) for role, values in of_block.items()}
    # the same bins for both views, so that the report can draw them over each other
    edges = bin_edges(np.concatenate(list(sides.values())))
    return {"edges": edges, **{role: np.histogram(values, edges)[0] for role, values in sides.items()}}


def bin_edges(values: np.ndarray) -> np.ndarray:
    """Returns the edges (B + 1,) of equal bins from the smallest to the largest of the values (N,)."""
    try:
        return np.histogram_bin_edges(values, BINS)
    except ValueError:
        # The values are a few steps of their floating-point format apart, which cannot divide this range:
        # use a wider one, as NumPy does for equal values.
        low, high = float(values.min()), float(values.max())
        room = max(0.5, 1e-6 * max(abs(low), abs(high)))
        return np.linspace(low - room, high + room, BINS + 1)


def _finite(values: Tensor) -> np.ndarray:
    """Returns the finite values: goodness may overflow while the loss is still finite."""
    return values[values.isfinite()].float().cpu().numpy()
