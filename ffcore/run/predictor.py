"""`Predictor`: predicts with the trained network of a run.

N samples; K classes; L sources of evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ffcore import files
from ffcore.build.assemble import assembled_for
from ffcore.build.form import Form
from ffcore.build.given import refuse_misfit
from ffcore.build.names import of_existing_run
from ffcore.build.transform import transform_of
from ffcore.by_hand import activities
from ffcore.data import encodings
from ffcore.data.given import of_targets
from ffcore.data.images import Split, arrays
from ffcore.data.loader import DeviceLoader
from ffcore.data.transform import apply
from ffcore.engine.measures import own_measures
from ffcore.engine.module import ForwardOnly
from ffcore.errors import UserError
from ffcore.interfaces import Batch, Task
from ffcore.interfaces.structure import tensors
from ffcore.local.stages import refuse_no_evidence
from ffcore.network import Network
from ffcore.recipe.schema import Recipe
from ffcore.run.checkpoints import read
from ffcore.run.device import device_of
from ffcore.run.estimator import TrainedEstimator
from ffcore.run.recorded import recipe_of, recorded
from ffcore.run.samples import stored, stored_as, warn_scaled
from ffcore.run.stored import load_weights
from ffcore.run.surroundings import own_settings
from ffcore.run.trainer import precision

if TYPE_CHECKING:
    from ffcore.run.early import EarlyPredictor

__all__ = ["Predictor"]


class Predictor(TrainedEstimator):
    """Predicts with the weights of a run, on the CPU or on a GPU.

    It is a trained classifier for scikit-learn; see `ffcore.run.estimator.TrainedEstimator`.

    Attributes:
        path: the run directory.
        device: where the network is and computes.
        module: the trained module.
        recipe: the run's recipe.
        data: name of the data set that the run was trained on.
        classes: names of the K classes.
        classes_: class indices (K,), the attribute that scikit-learn expects.
        shape: shape of one sample.
        scale: factor of stored values.
        mean: subtracted from scaled inputs; one value per channel, or one for all.
        std: divides the inputs afterwards; one value per channel, or one for all.
        provenance: checksum of each file of the data set, by name.
        encoding: how a table or texts become inputs; None for other data.

    Args:
        run_dir: the run directory.
        checkpoint: "last" or "best"; None for the one that the run's recipe selects.
        objects: Python objects of the recipe by path, which ``config.yaml`` only describes.
        net: for a run of a network made in Python, a network made in the same way; it gets the run's weights,
            and is put into evaluation mode.
        device: "cpu", "cuda", "cuda:1", or "auto" for a GPU if there is one.

    Raises:
        UserError: this machine does not have the device, the directory is not a run directory, its checkpoint
            does not load, or an object is missing.
    """

    @own_settings(warn=False)
    def __init__(
        self,
        run_dir: str | Path,
        checkpoint: str | None = None,
        objects: Mapping[str, Any] | None = None,
        net: Network | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.device = device_of(device)
        self.path = Path(run_dir)
        config = self.path / files.CONFIG
        if not config.is_file():
            raise UserError(f"{run_dir}: not a run directory: it has no {files.CONFIG}")
        if net is None:
            self.recipe: Recipe = recipe_of(self.path, objects=objects)
        else:  # the objects that the file only describes come from the network
            self.recipe = recorded(self.path)
        file = self.path / files.CHECKPOINTS / f"{checkpoint or self.recipe.trainer.select}.ckpt"
        state = read(file)
        meta: dict[str, Any] = state["ffcore"]["data"]
        self.data: str = meta["name"]
        self.form = Form.read(meta, None if net is None else net.task)
        # of the samples that the user gives, before the recipe's transform
        given = meta.get("stored") or {}
        self._given = Form.read({**meta, **given}, self.form.task) if given else self.form
        self._given_scale: float = given.get("scale", meta["scale"])
        given_transform = (objects or {}).get("data.transform")
        self._transform = given_transform or transform_of(self.recipe)
        self.shape = self._given.shape
        self.encoding = encodings.read(meta.get("encoding"))
        self.classes: tuple[str, ...] = tuple(meta["classes"])
        self.classes_: NDArray[np.int64] = np.arange(len(self.classes))
        self.mean, self.std = tuple(meta["mean"]), tuple(meta["std"])
        self.scale: float = meta["scale"]
        self.provenance: dict[str, str] = meta.get("provenance") or {}
        if net is None:
            with of_existing_run():
                self.module: ForwardOnly = assembled_for(self.recipe, self.form)
        else:
            refuse_misfit(net, self.form)
            self.module = ForwardOnly(net, torch.optim.SGD)  # the optimiser is required, but never used
        if self.recipe.trainer.precision == "64-true":
            self.module.double()
        load_weights(self.module, state, file, is_given=net is not None)
        self.module.to(self.device).eval()
        self.module.net.eval()  # not a sub-module of the module

    @torch.no_grad()
    def measure(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the evidence (L, N, K) of all sources and the scores (N, K), in the run's precision.

        Args:
            inputs: (N, *shape) from a loader: scaled, and standardised if the recipe has ``standardise``.
        """
        with precision(self.recipe, next(tensors(inputs)).device):
            evidence = self.module.net.measure(inputs)
            return evidence, self.module.net.combine(evidence)

    def activities(self, x: Any) -> dict[str, NDArray[Any]]:
        """Returns the activity of every block, (N, *activity) by name; see `ffcore.activities`.

        Args:
            x: samples as for `scores`.

        Raises:
            UserError: as for `scores`.
        """
        parts: dict[str, list[Tensor]] = {}
        for batch in self.loader(x):
            with precision(self.recipe, batch.index.device):
                made = activities(self.module.net, batch.x)
            for name, activity in made.items():
                parts.setdefault(name, []).append(activity.float().cpu())
        return {name: torch.cat(of_block).numpy() for name, of_block in parts.items()}

    @torch.no_grad()
    def metrics(self, batch: Batch, number: int) -> Mapping[str, Tensor]:
        """Returns the algorithm's own metrics of a batch, in the run's precision; see `Algorithm.measure`."""
        self.module.seed_measuring(batch, number)
        with precision(self.recipe, batch.index.device):
            return own_measures(self.module.net, batch)

    def early(self) -> EarlyPredictor:
        """Returns a predictor that stops after a block as soon as the evidence is sure enough.

        Its thresholds are those that ``ffcore eval RUN --exits`` has chosen on the validation split.

        Raises:
            UserError: they have not been chosen for these weights.

        Example:
            ``ffcore.load("runs/mnist-ff").early().decide(x).blocks`` is the number of blocks that have run
            for each sample, (N,).
        """
        from ffcore.run.early import EarlyPredictor

        return EarlyPredictor(self)

    def __repr__(self) -> str:
        return f"Predictor({str(self.path)!r})"

    def loader(self, x: Any, y: NDArray[Any] | None = None) -> DeviceLoader:
        """Returns a loader whose inputs are scaled and standardised exactly as in training.

        Args:
            x: samples as for `scores`.
            y: (N,) class indices, or targets of another task; None: zeros, or no targets.

        Raises:
            UserError: as for `scores`, or x and y differ in length.
        """
        dtype = next(self.module.network.parameters()).dtype
        samples = self._as_stored(x, dtype)
        if self._transform is not None and len(next(arrays(samples))):
            samples = apply(self._transform, samples, self._given_scale)
        count = len(next(arrays(samples)))
        classes = of_targets(np.zeros(count, dtype=np.int64), self.form.task, count) if y is None else y
        if len(classes) != count:
            raise UserError(f"x has {count} samples, but y has {len(classes)} classes")
        return DeviceLoader(
            Split(samples, classes),
            scale=self.scale,
            batch_size=self.recipe.data.batch_size,
            device=self.device,
            shuffle=False,
            dtype=dtype,
            mean=self.mean,
            std=self.std,
        )

    def _as_stored(self, x: Any, dtype: torch.dtype) -> Any:
        if self.encoding is not None and self.encoding.takes(x):
            x = self.encoding.encoded("x", x)
        if not self._given.plain:
            return stored_as(x, self.shape, self._given.dtype)
        samples = stored(x, self.shape, dtype)
        warn_scaled(samples, self._given_scale)
        return samples

    @property
    def _task(self) -> Task:
        return self.module.net.task

    @own_settings(warn=False)
    def _scores(self, x: Any) -> Tensor:
        refuse_no_evidence(self.module.net.sources)
        loader = self.loader(x)
        if not loader.samples:
            return torch.zeros(0, len(self.classes), dtype=next(self.module.network.parameters()).dtype)
        scores = torch.cat([self.measure(batch.x)[1] for batch in loader])
        return scores.float() if scores.dtype is torch.bfloat16 else scores  # NumPy has no bfloat16
