"""A trained run, ready to predict."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ffcore import files
from ffcore.build.assemble import assemble
from ffcore.build.given import refuse_misfit
from ffcore.data.images import Split
from ffcore.data.loader import DeviceLoader
from ffcore.engine.module import ForwardOnly
from ffcore.errors import UserError, one_line
from ffcore.interfaces import Batch
from ffcore.network import Network
from ffcore.recipe.load import load as load_recipe
from ffcore.recipe.schema import Recipe
from ffcore.recipe.text import parse
from ffcore.run.checkpoints import read
from ffcore.run.samples import class_numbers, stored
from ffcore.run.trainer import precision

__all__ = ["Predictor"]


class Predictor:
    """Predicts with the weights of a run, on the CPU.

    It is a classifier for what scikit-learn does with trained ones: metrics, inspection, and, wrapped in
    ``sklearn.frozen.FrozenEstimator``, the last step of a pipeline.

    Attributes:
        path: the run's folder.
        module: the trained module.
        recipe: the run's recipe.
        data: name of the data set that the run was trained on.
        classes: names of the K classes.
        classes_: their numbers (K,), as scikit-learn calls them.
        shape: shape of one sample.
        mean: subtracted from scaled inputs, one a channel or one for all.
        std: what they are divided by then, likewise.

    Args:
        run_dir: a run's folder.
        checkpoint: "last" or "best"; None for the one that the run's recipe selects.
        objects: objects that the run's ``config.yaml`` only describes, by path.
        net: for a run of a network made in Python, one that is made alike; it gets the run's weights.

    Raises:
        UserError: when the folder is no run, or its checkpoint does not load, or an object is missing.
    """

    _estimator_type = "classifier"  # for scikit-learn before 1.6

    def __init__(
        self,
        run_dir: str | Path,
        checkpoint: str | None = None,
        objects: Mapping[str, Any] | None = None,
        net: Network | None = None,
    ) -> None:
        self.path = Path(run_dir)
        config = self.path / files.CONFIG
        if not config.is_file():
            raise UserError(f"{run_dir}: no run: there is no {files.CONFIG} in it")
        if net is None:
            self.recipe: Recipe = _recipe(config, objects)
        else:  # what the file only describes is not needed
            self.recipe = Recipe.model_validate(parse(config.read_text(encoding="utf-8"), files.CONFIG).data)
        name = checkpoint or self.recipe.trainer.select
        state = read(self.path / files.CHECKPOINTS / f"{name}.ckpt")
        meta: dict[str, Any] = state["ffcore"]["data"]
        self.data: str = meta["name"]
        self.shape = tuple(meta["shape"])
        self.classes: tuple[str, ...] = tuple(meta["classes"])
        self.classes_: NDArray[np.int64] = np.arange(len(self.classes))
        self.mean, self.std = tuple(meta["mean"]), tuple(meta["std"])
        self._scale: float = meta["scale"]
        built_for = self.shape, len(self.classes)
        if net is None:
            self.module: ForwardOnly = assemble(self.recipe, *built_for, meta.get("groups"))
        else:
            refuse_misfit(net, *built_for)
            self.module = ForwardOnly(net, torch.optim.SGD)  # which never learns here
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
    def metrics(self, batch: Batch, number: int) -> Mapping[str, Tensor]:
        """The algorithm's own metrics of a split's batch, in the run's precision; see `Algorithm.measure`."""
        self.module.seed_measuring(batch, number)
        with precision(self.recipe, batch.x.device):
            return self.module.algorithm.measure(batch, self.module.network)

    @overload
    def scores(self, x: Tensor) -> Tensor: ...

    @overload
    def scores(self, x: Any) -> NDArray[Any]: ...

    def scores(self, x: Any) -> Tensor | NDArray[Any]:
        """Combined evidence (N, K); the largest wins.

        Args:
            x: (N, *shape) array, tensor or nested list of stored values: bytes as the data set has them (0
                to 255; 0 to 16 for scikit-learn's digits), or floats for a set of floats. An axis of one
                channel may be left out, and samples may be flat.

        Returns:
            A tensor on its device for a tensor, else an array.

        Raises:
            UserError: the shape does not fit, or a sample is not finite; it names the first such row.
        """
        return _like(x, self._scores(x))

    @overload
    def predict(self, x: Tensor) -> Tensor: ...

    @overload
    def predict(self, x: Any) -> NDArray[np.int64]: ...

    def predict(self, x: Any) -> Tensor | NDArray[Any]:
        """Class numbers (N,), int64.

        Args:
            x: samples as for `scores`.

        Returns:
            As for `scores`; ``[predictor.classes[k] for k in numbers]`` are the names.

        Raises:
            UserError: as for `scores`.
        """
        return _like(x, self._scores(x).argmax(1))

    @overload
    def predict_proba(self, x: Tensor) -> Tensor: ...

    @overload
    def predict_proba(self, x: Any) -> NDArray[Any]: ...

    def predict_proba(self, x: Any) -> Tensor | NDArray[Any]:
        """The softmax of `scores` (N, K): positive, and each row sums to 1.

        Scores of forward-only networks are not calibrated: a goodness has no unit of probability. The order
        of the classes is meaningful, the values are not frequencies. To calibrate them on held-out data, use
        ``sklearn.calibration.CalibratedClassifierCV(FrozenEstimator(predictor))``.

        Args:
            x: samples as for `scores`.

        Returns:
            As for `scores`.

        Raises:
            UserError: as for `scores`.
        """
        return _like(x, self._scores(x).softmax(1))

    def score(self, x: Any, y: Any) -> float:
        """Mean accuracy, as a fraction.

        Args:
            x: N samples as for `scores`, at least one.
            y: (N,) class numbers, or names as in `classes`; an array, a tensor or a list.

        Raises:
            UserError: as for `scores`; or there is no sample, or ``y`` does not fit.
        """
        predicted = self._scores(x).argmax(1).numpy()
        wanted = class_numbers(y, self.classes)
        if len(predicted) != len(wanted):
            raise UserError(f"{len(predicted)} samples in x, and {len(wanted)} classes in y")
        if not len(wanted):
            raise UserError("the accuracy of no samples is not defined")
        return float((predicted == wanted).mean())

    def fit(self, x: Any, y: Any = None) -> NoReturn:
        """Refuse: the network is trained. It is here because scikit-learn takes only estimators with ``fit``.

        Args:
            x: not used.
            y: not used.

        Raises:
            UserError: always.
        """
        raise UserError(
            "a predictor is trained already: ffcore.train trains; for a scikit-learn pipeline that is "
            "fitted, wrap the predictor in sklearn.frozen.FrozenEstimator"
        )

    def __repr__(self) -> str:
        return f"Predictor({str(self.path)!r})"

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(three_d_array=True),
            requires_fit=False,
        )

    def loader(self, x: Any, y: NDArray[np.int64] | None = None) -> DeviceLoader:
        """Batches of inputs, scaled and standardised as those of training, to the last bit.

        Args:
            x: samples as for `scores`.
            y: (N,) class numbers; zeros if None.

        Raises:
            UserError: as for `scores`, or there are not as many classes as samples.
        """
        dtype = next(self.module.network.parameters()).dtype
        samples = stored(x, self.shape, dtype)
        classes = np.zeros(len(samples), dtype=np.int64) if y is None else y
        if len(classes) != len(samples):
            raise UserError(f"{len(samples)} samples in x, and {len(classes)} classes in y")
        return DeviceLoader(
            Split(samples, classes),
            scale=self._scale,
            batch_size=self.recipe.data.batch_size,
            shuffle=False,
            dtype=dtype,
            mean=self.mean,
            std=self.std,
        )

    def _scores(self, x: Any) -> Tensor:
        loader = self.loader(x)
        if not loader.samples:
            return torch.zeros(0, len(self.classes), dtype=next(self.module.network.parameters()).dtype)
        scores = torch.cat([self.measure(batch.x)[1] for batch in loader])
        return scores.float() if scores.dtype is torch.bfloat16 else scores  # NumPy has no bfloat16


def _like(x: Any, made: Tensor) -> Tensor | NDArray[Any]:
    """A tensor where ``x`` is one, on its device; else an array."""
    return made.to(x.device) if isinstance(x, Tensor) else made.numpy()


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
