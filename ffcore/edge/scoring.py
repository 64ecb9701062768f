"""Prediction and evaluation with the current weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from ffcore.edge.bundle import Bundle
from ffcore.edge.errors import EdgeError
from ffcore.edge.files import Array
from ffcore.edge.inputs import Inputs
from ffcore.edge.sessions import value


class Scoring:
    """A bundle with weights; see `ffcore.edge.Learner`.

    Args:
        bundle: the bundle.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.inputs = Inputs(bundle.about)
        self._state = {name: value(array) for name, array in bundle.weights()}

    def scores(self, x: Any) -> Array:
        """Return scores (N, columns) of samples x (N, *shape): stored values, or inputs of the network.

        Raises:
            EdgeError: x does not fit, or the bundle does not predict.
        """
        x = np.asarray(x)
        about = self.bundle.about
        size = about.rows or about.batch_size
        parts = [self._scores(self.inputs.x(x[:size] if x.ndim else x))]
        parts += [self._scores(self.inputs.x(x[i : i + size])) for i in range(size, len(x), size)]
        return np.concatenate(parts)

    def predict(self, x: Any) -> Array:
        """Return predictions of samples x (N, *shape).

        Returns:
            (N,) int64 classes; (N, columns) int64 labels, 1 where the score is positive; or values.

        Raises:
            EdgeError: as for `scores`.
        """
        scores, target = self.scores(x), self.bundle.about.target
        if target == "class":
            classes: Array = scores.argmax(axis=1)
            return classes
        return (scores > 0).astype(np.int64) if target == "labels" else scores

    def evaluate(self, x: Any, y: Any) -> float:
        """Return the accuracy on samples, between 0 and 1; for real numbers the mean squared error.

        Args:
            x: (N, *shape) samples.
            y: (N,) classes, or (N, columns) labels or values. The accuracy of labels counts every label.

        Raises:
            EdgeError: x or y does not fit, or the bundle has no targets.
        """
        if self.bundle.about.target == "none":
            raise EdgeError(f"{self.bundle.path}: has no targets, so there is nothing to evaluate")
        x, y, _ = self.inputs.check(x, y)
        made = self.predict(x)
        if self.bundle.about.target == "values":
            return float(np.square(made.astype(np.float64) - y).mean())
        return float((made == y).mean())

    def _scores(self, x: Array) -> Array:
        """Return the scores of at most one batch of inputs of the network."""
        graph, rows, n = self.bundle.about.predict, self.bundle.about.rows, len(x)
        if graph is None or "scores" not in graph.outputs:
            raise EdgeError(f"{self.bundle.path}: has no graph that gives scores; export one that predicts")
        if rows is not None and n < rows:
            x = np.concatenate([x, np.repeat(x[-1:], rows - n, axis=0)])
        given = {name: value(x) if name == "x" else self._state[name] for name in graph.inputs}
        (made,) = self.bundle.sessions.run(graph.file, ["scores"], given)
        return np.array(made.numpy()[:n])
