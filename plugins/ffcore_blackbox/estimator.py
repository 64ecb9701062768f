"""scikit-learn's transformers as black boxes.

R rows; U features out.
"""

from __future__ import annotations

import importlib
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
from ffcore.options import Count
from ffcore.trust import refuse_untrusted
from ffcore_blackbox.arrays import array, some

_MODULES = (
    *("decomposition", "preprocessing", "ensemble", "random_projection", "kernel_approximation"),
    *("cluster", "feature_selection", "manifold", "neural_network"),
)


class Estimator(BlackBox):
    """A transformer of scikit-learn's, fitted to what the blocks before it hand on, or loaded.

    Before it is fitted it stands on random numbers, so that the blocks after it know its width. One that
    becomes narrower when it is fitted, as trees may, is filled up with zeros. Its state, a pickle, is in the
    checkpoint, and is opened only where it is trusted (`ffcore.trust`).

    Args:
        name: the class, such as PCA or RandomTreesEmbedding, or ``module:Class``.
        options: arguments of its constructor; ``random_state`` is 0 unless it is given.
        path: file of a fitted transformer, written by joblib or pickle; it is not fitted again.
        samples: rows that it is fitted on, the first ones.
    """

    examples = (
        {"name": "PCA", "options": {"n_components": 3}},
        {"name": "RandomTreesEmbedding", "options": {"n_estimators": 4, "max_depth": 2}},
    )

    def __init__(
        self,
        name: str = "PCA",
        options: Mapping[str, Any] | None = None,
        path: str | None = None,
        samples: Count = 10_000,
    ) -> None:
        super().__init__()
        self.samples = samples
        self.loaded = path is not None
        self.model: Any = _read(Path(path)) if path is not None else _made(name, dict(options or {}))
        self.width: int | None = None

    def setup(self, context: Context) -> None:
        """See `ffcore.interfaces.BlackBox.setup`.

        Raises:
            ValueError: when the transformer cannot take so many features.
        """
        features = torch.Size(context.shape).numel()
        # more rows than features, as there will be
        rows = np.random.default_rng(0).random((max(512, features + 1), features), dtype=np.float32)
        try:
            if not self.loaded:
                self.model.fit(rows)
            self.width = self.model.transform(rows[:2]).shape[1]
        except Exception as error:
            said = one_line(error, 200)
            raise ValueError(
                f"{type(self.model).__name__} cannot take {rows.shape[1]} features: {said}"
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
                f"{type(self.model).__name__} makes {dense.shape[1]} features, but made {self.width} before "
                "it was fitted; fix its width by its options"
            )
        return torch.nn.functional.pad(dense, (0, self.width - dense.shape[1]))

    def get_extra_state(self) -> Tensor:
        """The transformer, pickled into bytes."""
        return torch.frombuffer(bytearray(pickle.dumps(self.model)), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Take up a transformer that `get_extra_state` has kept.

        Raises:
            UserError: when nobody has said that its maker is trusted.
        """
        refuse_untrusted(f"the fitted {type(self.model).__name__}")
        self.model = pickle.loads(state.cpu().numpy().tobytes())  # noqa: S301 (somebody trusts it)


def _made(name: str, options: dict[str, Any]) -> Any:
    if ":" in name:
        module, _, name = name.partition(":")
        found = getattr(importlib.import_module(module), name, None)
    else:
        rooms = (importlib.import_module(f"sklearn.{room}") for room in _MODULES)
        found = next((getattr(room, name) for room in rooms if hasattr(room, name)), None)
    if found is None or not hasattr(found, "fit") or not hasattr(found, "transform"):
        raise ValueError(f"name: {name!r} is no transformer of scikit-learn's; give it as module:Class")
    try:
        model = found(**options)
    except TypeError as error:
        raise ValueError(f"options: {error}") from error
    if "random_state" in model.get_params() and "random_state" not in options:
        model.set_params(random_state=0)
    return model


def _read(path: Path) -> Any:
    if not path.is_file():
        raise ValueError(f"path: there is no file {str(path)!r}")
    try:
        model = joblib.load(path)
    except Exception as error:
        raise ValueError(f"path: {str(path)!r} cannot be loaded: {one_line(error, 200)}") from error
    if not hasattr(model, "transform"):
        raise ValueError(f"path: {str(path)!r} holds a {type(model).__name__}, which does not transform")
    return model
