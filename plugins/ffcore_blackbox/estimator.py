"""Transformers of scikit-learn as black boxes.

R rows; U output features.
"""

from __future__ import annotations

import importlib
import os
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from torch import Tensor

from ffcore.errors import RunError, one_line
from ffcore.interfaces import BlackBox, Context
from ffcore.options import Count, FilePath, expanded
from ffcore.trust import refuse_untrusted
from ffcore_blackbox.arrays import array, some

_MODULES = (
    *("decomposition", "preprocessing", "ensemble", "random_projection", "kernel_approximation"),
    *("cluster", "feature_selection", "manifold", "neural_network"),
)


class Estimator(BlackBox):
    """A transformer of scikit-learn, fitted to the handoffs before it or loaded.

    First it is fitted to random numbers, since the blocks after it need its width. If it becomes narrower in
    a later fit, as trees may, the output is padded with zeros. Its state in the checkpoint is a pickle, which
    is opened only if it is trusted (`ffcore.trust`).

    Args:
        name: the class, such as PCA or RandomTreesEmbedding, or ``module:Class``.
        options: arguments of its constructor; ``random_state`` is 0 by default.
        path: file of a fitted transformer, written by joblib or pickle; it is not fitted again.
        samples: number of rows of a fit, the first ones.
    """

    examples = (
        {"name": "PCA", "options": {"n_components": 3}},
        {"name": "RandomTreesEmbedding", "options": {"n_estimators": 4, "max_depth": 2}},
    )

    def __init__(
        self,
        name: str = "PCA",
        options: Mapping[str, Any] | None = None,
        path: FilePath | None = None,
        samples: Count = 10_000,
    ) -> None:
        super().__init__()
        self.samples = samples
        self.loaded = path is not None
        self.model: Any = (
            _read(Path(expanded(path))) if path is not None else _made(name, dict(options or {}))
        )
        self.width: int | None = None

    def setup(self, context: Context) -> None:
        """See `ffcore.interfaces.BlackBox.setup`.

        Raises:
            ValueError: when the transformer does not accept this number of features.
        """
        features = torch.Size(context.shape).numel()
        # more rows than features, as in training: PCA and others limit their width by the number of rows
        rows = np.random.default_rng(0).random((max(512, features + 1), features), dtype=np.float32)
        try:
            if not self.loaded:
                self.model.fit(rows)
            self.width = self.model.transform(rows[:2]).shape[1]
        except Exception as error:
            message = one_line(error, 200)
            raise ValueError(
                f"{type(self.model).__name__} does not accept {rows.shape[1]} features: {message}"
            ) from error

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Fit the transformer to the first rows."""
        if self.loaded:
            return
        self.model.fit(array(some(batches, self.samples).flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, U)."""
        made: Any = self.model.transform(array(x.flatten(1)))
        dense = torch.from_numpy(np.asarray(made.toarray() if hasattr(made, "toarray") else made))
        if self.width is None or dense.shape[1] == self.width:
            return dense
        if dense.shape[1] > self.width:
            raise RunError(
                f"{type(self.model).__name__} returns {dense.shape[1]} features, but returned {self.width} "
                "before it was fitted; set its width in its options"
            )
        return torch.nn.functional.pad(dense, (0, self.width - dense.shape[1]))

    def get_extra_state(self) -> Tensor:
        """Return the pickled transformer as bytes."""
        return torch.frombuffer(bytearray(pickle.dumps(self.model)), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Load a transformer from `get_extra_state`.

        Raises:
            UserError: when pickles are not trusted.
        """
        refuse_untrusted(f"the fitted {type(self.model).__name__}")
        self.model = pickle.loads(state.cpu().numpy().tobytes())  # noqa: S301 (trusted, see above)


def _made(name: str, options: dict[str, Any]) -> Any:
    if ":" in name:
        module, _, name = name.partition(":")
        class_ = getattr(importlib.import_module(module), name, None)
    else:
        packages = (importlib.import_module(f"sklearn.{package}") for package in _MODULES)
        class_ = next((getattr(package, name) for package in packages if hasattr(package, name)), None)
    if class_ is None or not hasattr(class_, "fit") or not hasattr(class_, "transform"):
        raise ValueError(f"name: {name!r} is not a transformer of scikit-learn; give it as module:Class")
    try:
        model = class_(**options)
    except TypeError as error:
        raise ValueError(f"options: {error}") from error
    if "random_state" in model.get_params() and "random_state" not in options:
        model.set_params(random_state=0)
    return model


def _read(path: Path) -> Any:
    if not os.path.isfile(path):
        raise ValueError(f"path: there is no file {str(path)!r}")
    try:
        model = joblib.load(path)
    except Exception as error:
        raise ValueError(f"path: {str(path)!r} cannot be loaded: {one_line(error, 200)}") from error
    if not hasattr(model, "transform"):
        raise ValueError(f"path: {str(path)!r} holds a {type(model).__name__}, which has no transform method")
    return model
