"""Estimators of scikit-learn as black boxes: transformers, classifiers, forests by their leaves.

    transform            model.transform(x)
    predict_proba        p_k, k = 0 … K − 1; of several labels the probability of each
    decision_function    d_k; of two classes (−d, d)
    predict              one number, or one for each target
    leaves               for each tree of a forest the one-hot index of the leaf that x reaches

A class that the fit has not seen has 0. A loaded model has the columns of its own classes.

R rows; N samples; K classes; U output features.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import joblib
import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor
from torch.nn import functional as F

from ffcore.errors import RunError, one_line
from ffcore.interfaces import BlackBox, Context
from ffcore.options import Count, FilePath, expanded
from ffcore.trust import refuse_untrusted
from ffcore_blackbox.arrays import array, as_array, some
from ffcore_blackbox.leaves import leaves, most_leaves

Method = Literal["transform", "predict_proba", "decision_function", "predict", "leaves"]
Array = np.ndarray[Any, Any]

_BY_CLASS = ("predict_proba", "decision_function")
_MODULES = (
    *("decomposition", "preprocessing", "ensemble", "random_projection", "kernel_approximation"),
    *("cluster", "feature_selection", "manifold", "neural_network"),
    *("discriminant_analysis", "neighbors", "svm", "tree", "linear_model", "naive_bayes"),
)


class Estimator(BlackBox):
    """An estimator of scikit-learn, fitted to the handoffs before it or loaded.

    First it is fitted to random numbers, since the blocks after it need its width. If it becomes narrower in
    a later fit, as trees may, the output is padded with zeros. Its state in the checkpoint is a pickle, which
    is opened only if it is trusted (`ffcore.trust`).

    Args:
        name: the class, such as PCA or RandomForestClassifier, or ``module:Class``.
        options: arguments of its constructor; ``random_state`` is 0 by default.
        path: file of a fitted estimator, written by joblib or pickle; it is not fitted again.
        samples: number of rows of a fit, the first ones.
        method: what is called for rows; None: the first of transform, predict_proba, decision_function and
            predict that the class has. "leaves" needs ``max_depth`` or ``max_leaf_nodes`` among the options.
        targets: whether the fit gets targets; None: if the class requires them.
        online: whether it also learns from every batch, by ``partial_fit``.

    Raises:
        ValueError: when there is no such class, method or option.
    """

    examples = (
        {"name": "PCA", "options": {"n_components": 3}},
        {"name": "RandomTreesEmbedding", "options": {"n_estimators": 4, "max_depth": 2}},
        {"name": "LinearDiscriminantAnalysis", "options": {"n_components": 2}},
        {
            "name": "RandomForestClassifier",
            "options": {"n_estimators": 4, "max_depth": 2},
            "method": "leaves",
        },
        {"name": "SGDClassifier", "options": {"loss": "log_loss"}, "online": True},
    )

    def __init__(
        self,
        name: str = "PCA",
        options: Mapping[str, Any] | None = None,
        path: FilePath | None = None,
        samples: Count = 10_000,
        method: Method | None = None,
        targets: bool | None = None,
        online: bool = False,
    ) -> None:
        super().__init__()
        self.samples = samples
        self.loaded = path is not None
        self.model: Any = (
            _read(Path(expanded(path))) if path is not None else _made(name, dict(options or {}))
        )
        self.method: Method = _method(self.model, method)
        if online and not hasattr(self.model, "partial_fit"):
            raise ValueError(f"online: {type(self.model).__name__} has no partial_fit")
        learns = online or not self.loaded
        self.reads_targets = learns and (
            _requires_targets(self.model, online) if targets is None else targets
        )
        self.online = online
        self.classes = 0
        self.width: int | None = None

    def setup(self, context: Context) -> None:
        """See `ffcore.interfaces.BlackBox.setup`.

        Raises:
            ValueError: when the estimator does not accept this number of features, or the task's targets.
        """
        self.classes = context.classes
        features = torch.Size(context.shape).numel()
        # more rows than features, as in training: PCA and others limit their width by the number of rows
        rows = np.random.default_rng(0).random((max(512, features + 1), features), dtype=np.float32)
        targets = _any_targets(context, len(rows)) if self.reads_targets else None
        if self.method == "leaves":
            most_leaves(self.model)
        try:
            if not self.loaded:
                self._fit(rows, targets)
            self.width = self._called(rows[:2]).shape[1]
        except Exception as error:
            what = f"{type(self.model).__name__} does not accept {rows.shape[1]} features"
            if targets is not None and context.task is not None:
                what += f" with targets of the task {context.task}"
            raise ValueError(f"{what}: {one_line(error, 200)}") from error

    def fit(self, batches: Iterable[Any]) -> None:
        """Fit the estimator to the first rows."""
        if self.loaded:
            return
        x, *y = some(batches if self.reads_targets else ((x,) for x in batches), self.samples)
        self._fit(array(x.flatten(1)), array(y[0]) if y else None)

    @property
    def adapts(self) -> bool:
        """Whether it is fitted: a loaded one is not."""
        return not self.loaded

    @property
    def observes(self) -> bool:
        """Whether it learns from every batch."""
        return self.online

    def observe(self, x: Tensor, y: Tensor | None) -> None:
        """Learn from a batch by ``partial_fit``."""
        self._learn(array(x.flatten(1)), array(y) if self.reads_targets and y is not None else None)

    def _learn(self, rows: Array, targets: Array | None) -> None:
        """Call ``partial_fit``; a classifier has to know all classes at its first call."""
        if targets is None:
            self.model.partial_fit(rows)
        elif hasattr(self.model, "classes_") or not _takes_classes(self.model):
            self.model.partial_fit(rows, targets)
        else:
            self.model.partial_fit(rows, targets, classes=np.arange(self.classes))

    def _fit(self, rows: Array, targets: Array | None) -> None:
        if self.online:  # later batches may have classes that these rows have not
            self.model = clone(self.model)
            self._learn(rows, targets)
        elif targets is None:
            self.model.fit(rows)
        else:
            self.model.fit(rows, targets)

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, U)."""
        made = torch.from_numpy(self._called(array(x.flatten(1))))
        if self.width is None or made.shape[1] == self.width:
            return made
        if made.shape[1] > self.width:
            raise RunError(
                f"{type(self.model).__name__} returns {made.shape[1]} features, but returned {self.width} "
                "before it was fitted; set its width in its options"
            )
        return F.pad(made, (0, self.width - made.shape[1]))

    def _called(self, rows: Array) -> Array:
        """Return what the method gives for rows (R, D), (R, U)."""
        if self.method == "leaves":
            return leaves(self.model, rows)
        made: Any = getattr(self.model, self.method)(rows)
        if isinstance(made, list):  # of several labels, an array (R, classes) each
            columns = [_of_label(each, known) for each, known in zip(made, self.model.classes_, strict=True)]
            return np.stack(columns, axis=1)
        dense = as_array(made).reshape(len(rows), -1)
        known = getattr(self.model, "classes_", None)
        if self.method not in _BY_CLASS or not isinstance(known, np.ndarray) or self.loaded:
            return dense
        if dense.shape[1] == 1 and len(known) == 2:
            dense = np.concatenate([-dense, dense], axis=1)
        if dense.shape[1] != len(known):  # one-against-one
            return dense
        placed = np.zeros((len(rows), self.classes), dense.dtype)
        placed[:, known.astype(int)] = dense
        return placed

    def get_extra_state(self) -> Tensor:
        """Return the pickled estimator as bytes."""
        return torch.frombuffer(bytearray(pickle.dumps(self.model)), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Load an estimator from `get_extra_state`.

        Raises:
            UserError: when pickles are not trusted.
        """
        refuse_untrusted(f"the fitted {type(self.model).__name__}")
        self.model = pickle.loads(state.cpu().numpy().tobytes())  # noqa: S301 (trusted, see above)


def _of_label(probabilities: Array, known: Array) -> Array:
    """Return the probability of one label: (R, known values) → (R,)."""
    at = np.flatnonzero(np.asarray(known) == 1)
    made: Array = probabilities[:, at[0]] if len(at) else np.zeros(len(probabilities))
    return made


def _made(name: str, options: dict[str, Any]) -> Any:
    if ":" in name:
        module, _, name = name.partition(":")
        class_ = getattr(importlib.import_module(module), name, None)
    else:
        packages = (importlib.import_module(f"sklearn.{package}") for package in _MODULES)
        class_ = next((getattr(package, name) for package in packages if hasattr(package, name)), None)
    if class_ is None or not hasattr(class_, "fit"):
        raise ValueError(f"name: {name!r} is not an estimator of scikit-learn; give it as module:Class")
    try:
        model = class_(**options)
    except TypeError as error:
        raise ValueError(f"options: {error}") from error
    if "random_state" in model.get_params() and "random_state" not in options:
        model.set_params(random_state=0)
    return model


def _method(model: Any, given: Method | None) -> Method:
    name = type(model).__name__
    if given is None:
        known: tuple[Method, ...] = ("transform", "predict_proba", "decision_function", "predict")
        given = next((each for each in known if hasattr(model, each)), None)
        if given is None:
            raise ValueError(f"name: {name} has no transform, predict_proba or predict")
    if not hasattr(model, "apply" if given == "leaves" else given):
        raise ValueError(f"method: {name} has no {'leaves' if given == 'leaves' else given}")
    return given


def _requires_targets(model: Any, online: bool) -> bool:
    """Return whether its fit has targets without a default; online, or if ``partial_fit`` has classes."""
    parameters = inspect.signature(model.partial_fit if online else model.fit).parameters
    y = parameters.get("y")
    required = y is not None and y.default is inspect.Parameter.empty
    return required or (online and _takes_classes(model))


def _takes_classes(model: Any) -> bool:
    return "classes" in inspect.signature(model.partial_fit).parameters


def _any_targets(context: Context, rows: int) -> Array:
    """Return targets of the task's sort for random rows; every class occurs.

    Raises:
        ValueError: in a task by position.
    """
    task, k = context.task, context.classes
    if task is not None and task.features is not None:
        raise ValueError("it is fitted to one target a sample, but the task has one a position")
    if task is None or task.target == "class":
        return np.arange(rows) % k
    values = np.random.default_rng(1).random((rows, k))
    return values if task.target == "values" else (values > 0.5).astype(np.int64)


def _read(path: Path) -> Any:
    if not os.path.isfile(path):
        raise ValueError(f"path: there is no file {str(path)!r}")
    try:
        model = joblib.load(path)
    except Exception as error:
        raise ValueError(f"path: {str(path)!r} cannot be loaded: {one_line(error, 200)}") from error
    if not any(hasattr(model, method) for method in ("transform", "predict")):
        raise ValueError(f"path: {str(path)!r} holds a {type(model).__name__}, which is not an estimator")
    return model
