"""A trained run, ready to predict."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ffcore import files
from ffcore.build.assemble import assemble
from ffcore.data.images import Split
from ffcore.data.loader import DeviceLoader
from ffcore.engine.module import ForwardOnly
from ffcore.errors import UserError, one_line
from ffcore.interfaces import Batch
from ffcore.recipe.load import load as load_recipe
from ffcore.recipe.schema import Recipe
from ffcore.run.checkpoints import read
from ffcore.run.trainer import precision


class Predictor:
    """Predicts with the weights of a run.

    Attributes:
        recipe: the run's recipe.
        data: name of the data set that the run was trained on.
        classes: names of the K classes.
        shape: shape of one sample.
        mean: subtracted from scaled inputs, one a channel or one for all.
        std: what they are divided by then, likewise.

    Args:
        run_dir: a run's folder.
        checkpoint: "last" or "best"; None for the one that the run's recipe selects.
        objects: objects that the run's ``config.yaml`` only describes, by path.

    Raises:
        UserError: when the folder is no run, or its checkpoint does not load, or an object is missing.
    """

    def __init__(
        self,
        run_dir: str | Path,
        checkpoint: str | None = None,
        objects: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(run_dir)
        config = self.path / files.CONFIG
        if not config.is_file():
            raise UserError(f"{run_dir}: no run: there is no {files.CONFIG} in it")
        self.recipe: Recipe = _recipe(config, objects)
        name = checkpoint or self.recipe.trainer.select
        state = read(self.path / files.CHECKPOINTS / f"{name}.ckpt")
        meta: dict[str, Any] = state["ffcore"]["data"]
        self.data: str = meta["name"]
        self.shape = tuple(meta["shape"])
        self.classes = tuple(meta["classes"])
        self.mean, self.std = tuple(meta["mean"]), tuple(meta["std"])
        self._scale: float = meta["scale"]
        self.module: ForwardOnly = assemble(self.recipe, self.shape, len(self.classes), meta.get("groups"))
        if self.recipe.trainer.precision == "64-true":
            self.module.double()
        try:
            self.module.load_state_dict(state["state_dict"])
        except RuntimeError as error:
            raise UserError(
                f"{self.path}: {name}.ckpt does not fit {files.CONFIG}: {one_line(error, 300)}"
            ) from error
        self.module.eval()

    @torch.no_grad()
    def measure(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Evidence (L, N, K) of all sources, and what is made of it (N, K), in the run's precision.

        Args:
            inputs: (N, *shape) as a loader makes them: scaled, and standardised if the recipe says so.
        """
        with precision(self.recipe, inputs.device):
            evidence = self.module.algorithm.scores(inputs, self.module.network)
            return evidence, self.module.contribution.combine(evidence)

    @torch.no_grad()
    def figures(self, batch: Batch, number: int) -> Mapping[str, Tensor]:
        """The algorithm's own figures of a split's batch, in the run's precision; see `Algorithm.measure`."""
        self.module.deal(batch, number)
        with precision(self.recipe, batch.x.device):
            return self.module.algorithm.measure(batch, self.module.network)

    def scores(self, x: Any) -> Tensor:
        """Combined evidence (N, K) for samples in the form of the training data; the largest wins.

        Args:
            x: (N, *shape) array or tensor of stored values: bytes as the data set has them (0 to 255; 0 to
                16 for scikit-learn's digits), or floats for a set of floats. One channel may be left out.

        Raises:
            UserError: when the shape does not fit.
        """
        given = x.detach().cpu() if isinstance(x, Tensor) else torch.as_tensor(np.asarray(x))
        if given.dim() == 0 or given.shape[1:].numel() != math.prod(self.shape):
            raise UserError(f"samples of shape {tuple(given.shape[1:])}, the run was trained on {self.shape}")
        dtype = next(self.module.network.parameters()).dtype
        if not len(given):
            return torch.zeros(0, len(self.classes), dtype=dtype)
        if given.is_floating_point():
            given = given.to(dtype)  # NumPy has no bfloat16
        # The loader scales and standardises, so that inputs are those of training to the last bit.
        loader = DeviceLoader(
            Split(given.reshape(-1, *self.shape).numpy(), np.zeros(len(given), dtype=np.int64)),
            scale=self._scale,
            batch_size=self.recipe.data.batch_size,
            shuffle=False,
            dtype=dtype,
            mean=self.mean,
            std=self.std,
        )
        return torch.cat([self.measure(batch.x)[1] for batch in loader])

    def predict(self, x: Any) -> Tensor:
        """Class numbers (N,), from samples as for `scores`."""
        return self.scores(x).argmax(1)


def _recipe(config: Path, objects: Mapping[str, Any] | None) -> Recipe:
    try:
        return load_recipe(str(config), objects=objects)
    except UserError as error:
        results = config.with_name(files.RESULTS)
        made_by = (
            json.loads(results.read_text(encoding="utf-8")).get("command") if results.is_file() else None
        )
        if made_by is None or "--plugin" not in made_by:
            raise
        raise UserError(f"{error} (the run was made by: {made_by})") from error
