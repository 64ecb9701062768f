"""Exports networks and their learning steps; see `export`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.export import ExportedProgram

from ffcore.errors import UserError, expect
from ffcore.exports import predict
from ffcore.exports.bundle import GOLDEN, WEIGHTS, Bundle, refuse_existing
from ffcore.exports.golden import TOLERANCE, fill, golden, refuse_difference, refuse_engine
from ffcore.exports.onnx import converted, needs_packages, operators, split
from ffcore.exports.predict import Prediction
from ffcore.exports.step import ROWS, LearningStep, names_of
from ffcore.exports.trace import program, traced, unchanged, without
from ffcore.exports.training import Training, rates, scheduled, spans
from ffcore.interfaces import Progress
from ffcore.local.optimizers import BlockOptimizers
from ffcore.network import Network

What = Literal["predict", "learn"]
To = Literal["onnx", "torch"]


def export(
    net: Network | str | Path,
    folder: str | Path,
    what: What = "learn",
    *,
    optimizers: BlockOptimizers | None = None,
    to: To = "onnx",
    rows: int | None = None,
    per_block: bool = False,
    activities: bool = False,
    training: Training | None = None,
    example: Tensor | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a bundle: graphs that predict, and that take forward-only learning steps, without torch.

    A learning step becomes one graph, (samples, targets, state, random numbers) → (new state, losses). It is
    a trace of `Network.learn`, so every algorithm is exported as it is. `ffcore.edge` runs bundles with ONNX
    Runtime.

    >>> import tempfile, torch, ffcore
    >>> net = ffcore.from_recipe("digits/ff", shape=(1, 8, 8), classes=10)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     bundle = ffcore.export(net, f"{folder}/digits")
    ...     sorted(path.name for path in bundle.iterdir())
    ['bundle.json', 'golden.npz', 'learn.onnx', 'predict.onnx', 'weights.npz']

    Args:
        net: the network, which stays as it is; or the directory of a run.
        folder: where the bundle is written.
        what: "learn": prediction and learning; "predict": prediction only.
        optimizers: made by `ffcore.optimizers`, with SGD, Adam or AdamW; None: those of ``net.learn``.
        to: "onnx", or "torch" for programs of `torch.export` (``.pt2``).
        rows: samples of every batch, for engines without dynamic shapes; None: any number.
        per_block: whether each block that learns gets a graph of its own, so that a device holds one at a
            time.
        activities: whether prediction returns the activity of every block, and no scores.
        training: epochs, batch size and learning rates that a runtime uses by itself.
        example: (N, *shape) a few samples, for a network whose inputs are not floats.
        overwrite: whether to replace an existing bundle.

    Returns:
        The directory.

    Raises:
        ffcore.errors.UserError: when a part of the network cannot be exported, with the reason, or the
            directory cannot be written. Nothing has been written.
    """
    if isinstance(net, str | Path):
        from ffcore.exports.run import of_run

        net, training = of_run(Path(net)) if training is None else (of_run(Path(net))[0], training)
    expect("net", net, Network, "an ffcore.Network")
    for name, value, right in (("what", what, ("predict", "learn")), ("to", to, ("onnx", "torch"))):
        if value not in right:
            raise UserError(f"{name}: should be {' or '.join(right)}, not {value!r}")
    if rows is not None and (type(rows) is not int or rows < 1):
        raise UserError(f"rows: should be a positive integer or None, not {rows!r}")
    target = Path(folder)
    refuse_existing(target, overwrite)
    if to == "onnx":
        needs_packages()
    predict.refuse(net)
    net.local.settle()
    return _Exporter(net, optimizers, to, rows, per_block, training or Training(), example).write(
        target, what, activities, overwrite
    )


class _Exporter:
    """Collects the graphs of a bundle."""

    def __init__(
        self,
        net: Network,
        optimizers: BlockOptimizers | None,
        to: To,
        rows: int | None,
        per_block: bool,
        training: Training,
        example: Tensor | None,
    ) -> None:
        self.net, self.optimizers, self.to, self.rows = net, optimizers, to, rows
        self.per_block, self.training = per_block, training
        # an example of one row would make torch take every size of one for the batch
        self.n = rows if rows is not None else ROWS
        self.x = _samples(net, self.n, example)
        self.y = _targets(net, self.n)
        self.graphs: dict[str, dict[str, int]] = {}
        self.parts: list[Any] = []  # the models of the step that has been added last

    def write(self, folder: Path, what: What, activities: bool, overwrite: bool) -> Path:
        prediction = Prediction(self.net, activities) if activities or self.net.sources else None
        if what == "predict" and prediction is None:
            prediction = Prediction(self.net)  # raises: the network has no evidence
        about: dict[str, Any] = {"name": self.training.name or type(self.net.algorithm).__name__}
        bundle = Bundle(about)
        state: dict[str, Tensor] = {} if prediction is None else dict(prediction.state)
        parts = {name: ("weight", _home(self.net, name)) for name in state}
        about["predict"] = None
        if prediction is not None:
            made = prediction.program(self.x, self.rows)
            file, names = self._add(bundle, "predict", made, prediction.inputs, prediction.outputs)
            about["predict"] = {"file": file, **names}
        golden_arrays: dict[str, Any] = {"x": self.x.numpy()}
        if prediction is not None and not activities:
            golden_arrays["scores"] = self.net.scores(self.x).double().numpy()
        learning: dict[str, Any] = {"random": [], "phases": [], "solutions": {}}
        filled: dict[str, float] = {}
        if what == "learn":
            step, learning, taken = self._learning(bundle)
            golden_arrays |= taken
            filled = fill(step)
            state = {**step.state, **{k: v for k, v in state.items() if k not in step.state}}
            parts |= _parts(step)
        about |= {
            "sample": {"shape": list(self.x.shape[1:]), "dtype": _dtype(self.x), "rows": self.rows},
            "stored": self.training.stored,
            "target": self.net.task.target,
            "columns": self.net.classes,
            "classes": list(self.training.classes) or [str(k) for k in range(self.net.classes)],
            "seed": self.net.seed,
            "batch_size": self.rows or self.training.batch_size,
            "epochs": self.training.epochs,
            "rates": rates(self.training),
            "state": {
                name: {"shape": list(value.shape), "dtype": _dtype(value), "part": part, "block": block}
                for name, value in state.items()
                for part, block in [parts.get(name, ("weight", None))]
            },
            **learning,
            "golden": {"file": GOLDEN, "tolerance": TOLERANCE, "fill": filled},
            "operators": self.graphs,
        }
        bundle.about |= about
        bundle.arrays(WEIGHTS, {name: value.numpy() for name, value in state.items()})
        bundle.arrays(GOLDEN, golden_arrays)
        return bundle.write(folder, overwrite)

    def _learning(self, bundle: Bundle) -> tuple[LearningStep, dict[str, Any], dict[str, Any]]:
        """Add the graphs of all phases; return the first step, its entries and the golden step's arrays."""
        phases: list[dict[str, Any]] = []
        solved: dict[str, Any] = {}
        first, taken = None, None
        for begin, end in spans(self.net.schedule, self.net, self.training.epochs):
            progress = Progress(begin, 0, self.training.epochs)
            step = LearningStep(
                self.net, self.optimizers, progress, self.x, self.y, self.training.augmentations
            )
            if not self.training.augmentations:
                refuse_difference(self.net, self.optimizers, progress, step, self.x, self.y)
            suffix = "" if begin == 0 and end >= self.training.epochs else f"-{begin + 1}"
            self.parts.clear()
            graphs = self._step(bundle, step, suffix)
            arrays, after, _ = golden(step, self.x, self.y, self.net.seed)
            if self.parts:
                refuse_engine(self.parts, step, arrays, after)
            phases.append({"first": begin, "last": end, "graphs": graphs})
            solved |= _solved(step)
            if first is None or taken is None:
                first = step
                taken = arrays
            else:
                first.state |= {k: v for k, v in step.state.items() if k not in first.state}
                first.draws += [draw for draw in step.draws if draw not in first.draws]
        assert first is not None
        assert taken is not None
        entries = {
            "random": [
                {"name": d.name, "stream": d.stream, "call": d.call, "kind": d.kind}
                | {"shape": list(d.shape), "high": d.high}
                for d in first.draws
            ],
            "phases": phases,
            "solutions": solved,
            "scheduled": scheduled(self.net, self.training.epochs),
        }
        return first, entries, taken

    def _step(self, bundle: Bundle, step: LearningStep, suffix: str) -> list[dict[str, Any]]:
        """Add the graphs of one phase; return their entries."""
        example = step.example(self.n, self.x, self.y)
        batched = [True, True, False, *[False] * len(step.state), *[True] * len(step.draws)]
        graph = traced(step.flat, example, batched if self.rows is None else [False] * len(batched))
        inputs, outputs = step.inputs, step.outputs
        same = [
            i
            for i, source in enumerate(unchanged(graph))
            if source is not None and outputs[i] == f"new/{inputs[source]}"
        ]
        without(graph, same)
        outputs = [name for i, name in enumerate(outputs) if i not in same]
        made = program(graph, example, batched, self.rows)
        if self.to == "torch" or not self.per_block:
            file, names = self._add(bundle, f"learn{suffix}", made, inputs, outputs)
            return [{"file": file, "block": None, **names}]
        entries = []
        parts = split(converted(made, inputs, outputs), _groups(step, outputs))
        for number, part in enumerate(parts, 1):
            file = f"learn{suffix}-{number}-{part.name}.onnx"
            bundle.graph(file, part.model)
            self.parts.append(part.model)
            self.graphs[file] = operators(part.model)
            entries.append({"file": file, "block": part.name, **_names(part.model)})
        return entries

    def _add(
        self, bundle: Bundle, name: str, made: ExportedProgram, inputs: Sequence[str], outputs: Sequence[str]
    ) -> tuple[str, dict[str, list[str]]]:
        """Add a graph; return its file, and the names of its inputs and outputs."""
        if self.to == "torch":
            bundle.add(f"{name}.pt2", lambda path: torch.export.save(made, path))
            return f"{name}.pt2", {"inputs": list(inputs), "outputs": list(outputs)}
        model = converted(made, inputs, outputs)
        bundle.graph(f"{name}.onnx", model)
        self.parts.append(model)
        self.graphs[f"{name}.onnx"] = operators(model)
        return f"{name}.onnx", _names(model)


def _names(model: Any) -> dict[str, list[str]]:
    graph = model.graph
    return {"inputs": [v.name for v in graph.input], "outputs": [v.name for v in graph.output]}


def _groups(step: LearningStep, outputs: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return the outputs of each block in the order in which the blocks learn; the last gets the rest."""
    order = [*step.losses, *(name for name in step.net.local.learners if name not in step.losses)]
    groups = []
    left = list(outputs)
    for block in order:
        own = {f"new/{name}" for name in names_of(step, block)} | {f"loss/{block}"}
        if found := [name for name in left if name in own]:
            groups.append((block, found))
            left = [name for name in left if name not in own]
    if groups:
        groups[-1][1].extend(left)
    return groups


def _samples(net: Network, rows: int, example: Tensor | None) -> Tensor:
    """Return example samples, the same in every export."""
    if example is None:
        if net.floats is False:
            raise UserError("example: samples are integers; give a few of them")
        return torch.rand(rows, *net.shape, generator=torch.Generator().manual_seed(net.seed))
    return example.repeat(-(-rows // example.shape[0]), *[1] * (example.dim() - 1))[:rows]


def _targets(net: Network, rows: int) -> Tensor:
    """Return example targets.

    Raises:
        UserError: when the task has a target at every position.
    """
    task, k = net.task, net.classes
    if task.features is not None:
        raise UserError(f"export: the task {task} has a target at every position, which cannot be exported")
    if task.target == "class":
        return torch.arange(rows) % k
    if task.target == "none":
        return torch.zeros(rows, 0)
    return (torch.arange(rows * k).view(rows, k) % 2).float()


def _solved(step: LearningStep) -> dict[str, dict[str, Any]]:
    """Return the solutions of rules in closed form, with names of the state."""
    names = {id(value): name for name, value in step.net.named_parameters()}
    found = {}
    for block, solution in step.solutions.items():
        found[block] = {
            **{key: f"sums/{block}/{key}" for key in solution.sums},
            "strength": solution.strength,
            "weight": names[id(solution.weight)],
            "bias": None if solution.bias is None else names[id(solution.bias)],
        }
    return found


def _parts(step: LearningStep) -> dict[str, tuple[str, str | None]]:
    """Return what each state is, and the block that it belongs to."""
    homes = {name: block for block in step.net.local.learners for name in names_of(step, block)}
    kinds = {"optimizer": "optimizer", "sums": "sums"}
    return {name: (kinds.get(name.split("/")[0], "weight"), homes.get(name)) for name in step.state}


def _home(net: Network, name: str) -> str | None:
    """Return the block of a weight."""
    value = net.state_dict(keep_vars=True)[name]
    for block in net.local.learners.values():
        if any(value is each for each in (*block.parameters(), *block.buffers())):
            return block.name
    return None


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")
