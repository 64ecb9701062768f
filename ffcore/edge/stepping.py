"""One step: the graphs of a phase, run in order, and the adoption of their new state."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ffcore.edge.about import Graph
from ffcore.edge.bundle import finite
from ffcore.edge.checkpoint import Progress
from ffcore.edge.errors import EdgeError, StoppedError
from ffcore.edge.files import Array
from ffcore.edge.random import batch_numbers
from ffcore.edge.scoring import Scoring
from ffcore.edge.sessions import value


class Stepping(Scoring):
    """State that steps change; see `ffcore.edge.Learner`.

    Attributes:
        progress: the seed of random numbers and the number of steps.
    """

    progress: Progress

    def value(self, name: str) -> Array:
        """Return a copy of one state, for example a weight.

        Raises:
            EdgeError: there is no such state.
        """
        if name not in self._state:
            raise EdgeError(f"{self.bundle.path}: has no state {name!r}; it has {', '.join(self._state)}")
        return np.array(self._state[name].numpy())

    def replace(self, name: str, array: Any) -> None:
        """Replace one state by an array of the same shape, converted to the state's dtype.

        Raises:
            EdgeError: there is no such state, or the shape is another.
        """
        right = self.bundle.about.state.get(name)
        array = np.asarray(array)
        if right is None:
            raise EdgeError(f"{self.bundle.path}: has no state {name!r}")
        if array.shape != right.shape:
            raise EdgeError(f"{name}: should have the shape {right.shape}, not {array.shape}")
        self._state[name] = value(array.astype(right.dtype))

    def items(self) -> Iterator[tuple[str, Array]]:
        """Iterate over (name, array) of the state; copy an array that should outlive the next step."""
        return ((name, each.numpy()) for name, each in self._state.items())

    def _step(
        self, x: Array, y: Array, epoch: int, rate: float, draws: Mapping[str, Any] | None = None
    ) -> dict[str, float]:
        """Take one step from inputs of the network; see `ffcore.edge.Learner.step`."""
        about = self.bundle.about
        if not about.phases:
            raise EdgeError(f"{self.bundle.path}: predicts only; export a bundle that learns")
        graphs = about.graphs(epoch, self.progress.steps)
        given = {"x": value(x), "y": value(y), "rate": value(np.array(rate, np.float32))}
        needed = {name for graph in graphs for name in graph.inputs if name in about.random}
        given |= {name: value(self._numbers(name, len(x), draws or {})) for name in needed}
        losses: dict[str, float] = {}
        for number, graph in enumerate(graphs):
            made = self._run(graph, given)
            for name in graph.outputs:
                if name.startswith("loss/"):
                    losses[name[5:]] = float(made[name].numpy())
            # graphs are parts of one step: a later one that reads a state gets its value from before the step
            later = {name for each in graphs[number + 1 :] for name in each.inputs}
            new = {name[4:]: each for name, each in made.items() if name.startswith("new/")}
            given |= {name: self._state[name] for name in new if name in later and name not in given}
            given |= {name: each for name, each in made.items() if name.startswith("cut/")}
            given = {name: each for name, each in given.items() if name in later}
            self._state.update(new)  # one call: no interruption can leave a graph's state half new
        return losses

    def _schedule(self, epoch: int) -> None:
        """Set the states that change with the epoch to its values."""
        about = self.bundle.about
        for name, of_epochs in about.scheduled.items():
            self.replace(name, np.full(about.state[name].shape, of_epochs[min(epoch, len(of_epochs) - 1)]))

    def _run(self, graph: Graph, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the outputs of a graph by name; raise if a loss or a new state is not finite."""
        inputs = {name: given[name] if name in given else self._state[name] for name in graph.inputs}
        outputs = self.bundle.sessions.run(graph.file, graph.outputs, inputs)
        made = dict(zip(graph.outputs, outputs, strict=True))
        for name, each in made.items():
            kind, _, of = name.partition("/")
            if kind == "loss" and not math.isfinite(loss := float(each.numpy())):
                self._stop(graph, f"block {of}: the loss is {loss}")
            if kind == "new" and not finite(each.numpy()):
                self._stop(graph, f"the new {of} is not finite")
        return made

    def _stop(self, graph: Graph, what: str) -> None:
        of = "all blocks" if graph.block is None else f"block {graph.block}"
        raise StoppedError(
            f"step {self.progress.steps}: {what}; the old state of {of} is kept; check the samples, or "
            "export with smaller learning rates"
        )

    def _numbers(self, name: str, rows: int, draws: Mapping[str, Any]) -> Array:
        draw = self.bundle.about.random[name]
        shape = (rows, *draw.shape)
        if name not in draws:
            seed, steps = self.progress.seed, self.progress.steps
            return batch_numbers(seed, steps, draw.stream, draw.call, draw.kind, shape, draw.high)
        made = np.asarray(draws[name])
        kinds, dtype = ("ui", np.int64) if draw.kind == "integers" else ("f", np.float32)
        if made.shape != shape or made.dtype.kind not in kinds:
            raise EdgeError(f"{name}: should be {dtype.__name__} {shape}, not {made.dtype} {made.shape}")
        return made.astype(dtype, copy=False)
