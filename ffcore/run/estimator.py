"""What trained weights offer: scores, predictions and accuracy, also to scikit-learn.

N samples; K classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NoReturn, overload

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ffcore.errors import UserError
from ffcore.interfaces import Task
from ffcore.local.given import finite
from ffcore.run.samples import class_numbers
from ffcore.tasks import Classification

Tensors = Tensor | Mapping[str, Tensor] | tuple[Tensor, ...]
"""Samples in tensors: one input, or several."""


class TrainedEstimator(ABC):
    """A trained classifier for scikit-learn: for its metrics, for inspection and in pipelines.

    As the last step of a pipeline that is fitted, wrap it in ``sklearn.frozen.FrozenEstimator``.

    Attributes:
        classes: names of the K classes.
        classes_: class indices (K,), the attribute that scikit-learn expects.

    Example:
        ``sklearn.metrics.get_scorer("accuracy")(ffcore.load(run.path), x, y)``
    """

    classes: tuple[str, ...]
    classes_: NDArray[np.int64]

    _estimator_type = "classifier"  # for scikit-learn before 1.6

    @property
    @abstractmethod
    def _task(self) -> Task:
        """What the targets are."""

    @abstractmethod
    def _scores(self, x: Any) -> Tensor:
        """Returns the scores (N, K)."""

    @overload
    def scores(self, x: Tensors) -> Tensor: ...

    @overload
    def scores(self, x: Any) -> NDArray[Any]: ...

    def scores(self, x: Any) -> Tensor | NDArray[Any]:
        """Returns the scores (N, K): combined evidence, the largest is the prediction.

        Args:
            x: (N, *shape) array, tensor or nested list of stored values: bytes as in the data set (0 to 255;
                0 to 16 for scikit-learn's digits), or floats for a data set of floats. A channel axis of
                size 1 may be left out, and samples may be flat. For a run on a table also a pandas data frame
                with its columns of inputs; for one on texts a list of texts.

        Returns:
            A tensor on the device of ``x`` if that is a tensor, or a tuple or mapping of them; otherwise an
            array.

        Raises:
            UserError: the shape does not fit, or a sample is not finite; the message names the first such
                row.
        """
        return like(x, self._scores(x))

    @overload
    def predict(self, x: Tensors) -> Tensor: ...

    @overload
    def predict(self, x: Any) -> NDArray[np.int64]: ...

    def predict(self, x: Any) -> Tensor | NDArray[Any]:
        """Returns the predicted class indices (N,), int64; of another task see `Network.predict`.

        Args:
            x: samples as for `scores`.

        Returns:
            As for `scores`; ``[predictor.classes[k] for k in indices]`` are the names.

        Raises:
            UserError: as for `scores`.
            RunError: a score is NaN, as those of weights that are not finite.
        """
        return like(x, self._task.predict(finite(self._scores(x))))

    @overload
    def predict_proba(self, x: Tensors) -> Tensor: ...

    @overload
    def predict_proba(self, x: Any) -> NDArray[Any]: ...

    def predict_proba(self, x: Any) -> Tensor | NDArray[Any]:
        """Returns the softmax of `scores` (N, K): positive, and each row sums to 1.

        The values are not calibrated probabilities: goodness is not a log-probability. Only the order of the
        classes is meaningful. To calibrate them on held-out data, use
        ``sklearn.calibration.CalibratedClassifierCV(FrozenEstimator(predictor))``.

        Args:
            x: samples as for `scores`.

        Returns:
            As for `scores`.

        Raises:
            UserError: as for `scores`.
        """
        return like(x, self._task.probabilities(self._scores(x)))

    def score(self, x: Any, y: Any) -> float:
        """Returns the mean accuracy, as a fraction.

        Args:
            x: N samples as for `scores`, at least one.
            y: (N,) class indices, or names as in `classes`; an array, a tensor or a list.

        Raises:
            UserError: as for `scores`; or there are no samples, or ``y`` does not fit.
        """
        if type(self._task) is not Classification:
            raise UserError(
                f"score: is the accuracy of classes; use ffcore.evaluate for the task {self._task}"
            )
        predicted = finite(self._scores(x)).argmax(1).cpu().numpy()
        expected = class_numbers(y, self.classes)
        if len(predicted) != len(expected):
            raise UserError(f"x has {len(predicted)} samples, but y has {len(expected)} classes")
        if not len(expected):
            raise UserError("x has no samples; the accuracy is not defined")
        return float((predicted == expected).mean())

    def fit(self, x: Any, y: Any = None) -> NoReturn:
        """Raise: the network is already trained. scikit-learn only takes estimators that have ``fit``.

        Args:
            x: not used.
            y: not used.

        Raises:
            UserError: always.
        """
        raise UserError(
            "a predictor is already trained; use ffcore.train to train a network, and wrap the predictor in "
            "sklearn.frozen.FrozenEstimator for a scikit-learn pipeline that is fitted"
        )

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


def like(x: Any, made: Tensor) -> Tensor | NDArray[Any]:
    """Returns a tensor on the device of ``x`` if that is a tensor, or several inputs; otherwise an array."""
    inputs = list(x.values()) if isinstance(x, Mapping) else x if isinstance(x, tuple) else [x]
    if inputs and all(isinstance(each, Tensor) for each in inputs):
        return made.to(inputs[0].device)
    return made.cpu().numpy()
