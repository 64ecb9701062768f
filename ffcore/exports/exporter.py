"""Collects the graphs, arrays and descriptions of a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.export import ExportedProgram

from ffcore.build.cost_sheet import cost_sheet
from ffcore.errors import UserError
from ffcore.exports import int8
from ffcore.exports.bundle import GOLDEN, WEIGHTS, Bundle, sampled
from ffcore.exports.golden import (
    TOLERANCE,
    difference,
    engine,
    fill,
    golden,
    refuse_difference,
    warmed,
)
from ffcore.exports.onnx import Part, converted, operators, split
from ffcore.exports.predict import Prediction, scores_of
from ffcore.exports.profiles import refuse_operators
from ffcore.exports.random import Draw
from ffcore.exports.step import ROWS, LearningStep, names_of, own_names
from ffcore.exports.trace import program, traced, unchanged, without
from ffcore.exports.training import Training, rates, scheduled, spans
from ffcore.interfaces import Progress
from ffcore.local.optimizers import BlockOptimizers
from ffcore.network import Network

What = Literal["predict", "learn"]
To = Literal["onnx", "torch"]


@dataclass(frozen=True, slots=True)
class Options:
    """See `ffcore.export`."""

    what: What = "learn"
    to: To = "onnx"
    rows: int | None = None
    per_block: bool = False
    activities: bool = False
    int8: bool = False
    profile: str | None = None


class Exporter:
    """Collects the graphs of a bundle.

    Args:
        net: the network.
        optimizers: its block optimisers; None: those of the network.
        options: what is exported, and how.
        training: what a runtime uses to train.
        example: (N, *shape) a few samples, or None.
    """

    def __init__(
        self,
        net: Network,
        optimizers: BlockOptimizers | None,
        options: Options,
        training: Training,
        example: Tensor | None,
    ) -> None:
        self.net, self.optimizers, self.options, self.training = net, optimizers, options, training
        # an example of one row would make torch take every size of one for the batch
        self.n = options.rows if options.rows is not None else ROWS
        self.x = _samples(net, self.n, example)
        self.y = _targets(net, self.n)
        self.bundle = Bundle()
        self.graphs: dict[str, dict[str, int]] = {}
        self.models: dict[str, Any] = {}
        self.programs: dict[str, ExportedProgram] = {}
        self.tolerance = TOLERANCE
        self.golden: dict[str, Any] = {"x": self.x.numpy()}

    def write(self, folder: Path, overwrite: bool) -> Path:
        """Write the bundle."""
        options, net = self.options, self.net
        prediction = Prediction(net, options.activities) if options.activities or net.sources else None
        if options.what == "predict" and prediction is None:
            prediction = Prediction(net)  # raises: the network has no evidence
        state: dict[str, NDArray[Any]] = {}
        parts: dict[str, tuple[str, str | None]] = {}
        learning: dict[str, Any] = {"random": [], "phases": [], "solutions": {}, "scheduled": {}}
        filled: dict[str, float] = {}
        if prediction is not None:
            state = {name: value.numpy() for name, value in prediction.state.items()}
            homes = {name: block for block in net.local.learners for name in own_names(net, block)}
            parts = {name: ("weight", homes.get(name)) for name in state}
        if options.what == "learn":
            step, learning = self._learning()
            filled = fill(step)
            state |= {name: value.numpy() for name, value in step.state.items()}
            parts |= _parts(step)
        entry = None
        if prediction is not None:
            entry, state = self._predicting(prediction, state)
        if options.profile is not None:
            refuse_operators(options.profile, self.graphs)
        self.bundle.about |= {
            "name": self.training.name or type(net.algorithm).__name__,
            "sample": {"shape": list(self.x.shape[1:]), "dtype": _dtype(self.x), "rows": options.rows},
            "stored": self.training.stored,
            "target": net.task.target,
            "columns": net.classes,
            "classes": list(self.training.classes) or [str(k) for k in range(net.classes)],
            "engine": options.to,
            "seed": net.seed,
            "steps": net.batches,
            "batch_size": options.rows or self.training.batch_size,
            "epochs": self.training.epochs,
            "rates": rates(self.training),
            "state": {
                name: {"shape": list(value.shape), "dtype": str(value.dtype), "part": part, "block": block}
                for name, value in state.items()
                for part, block in [parts.get(name.removesuffix("/scale"), ("weight", None))]
            },
            "predict": entry,
            **learning,
            "golden": {"file": GOLDEN, "tolerance": self.tolerance, "fill": filled},
            "operators": self.graphs,
            "cost": cost_sheet(net, self.training.batch_size, self.optimizers).as_dict(),
        }
        self.bundle.arrays(WEIGHTS, state)
        self.bundle.arrays(GOLDEN, self.golden)
        return self.bundle.write(folder, overwrite)

    def _predicting(
        self, prediction: Prediction, state: dict[str, NDArray[Any]]
    ) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Add the graph of predictions; return its entry, and the state that is stored."""
        options = self.options
        made = prediction.program(self.x, options.rows, options.profile)
        if options.to == "torch":
            entry = self._torch("predict", made, prediction.inputs, prediction.outputs)
        else:
            model = converted(made, prediction.inputs, prediction.outputs)
            if options.int8:
                # weights that learn are kept in float32
                store = options.what == "predict"
                model, used = int8.quantised(model, set(prediction.state), store)
                if not used:
                    raise UserError("export: int8: no product has a weight among its factors")
                state = int8.stored(state, used) if store else state
            entry = self._onnx("predict", model)
        if not options.activities:
            self.golden["scores"] = scores_of(self.net, self.x).double().numpy()
            if options.int8:
                values = engine([self.models["predict.onnx"]], {**state, "x": self.x.numpy()})
                self.golden["scores"] = values["scores"].astype(np.float64)
        return entry, state

    def _learning(self) -> tuple[LearningStep, dict[str, Any]]:
        """Add the graphs of all phases; return the first step, with the state of all, and its entries."""
        phases: list[dict[str, Any]] = []
        solved: dict[str, Any] = {}
        whole: LearningStep | None = None
        training = self.training
        for number, span in enumerate(spans(self.net.schedule, self.net, training.epochs)):
            progress = Progress(span.first, span.turn, training.epochs)
            step = LearningStep(self.net, self.optimizers, progress, self.x, self.y, training.augmentations)
            if not training.augmentations:
                refuse_difference(self.net, self.optimizers, progress, step, self.x, self.y)
            if whole is not None:
                step.draws = [_named_apart(draw, whole.draws, number) for draw in step.draws]
            suffix = "" if span.last - span.first >= training.epochs else f"-epoch{span.first + 1}"
            suffix += "" if span.period == 1 else f"-turn{span.turn + 1}"
            graphs = self._step(step, suffix) if step.learns else []
            self._check(step, graphs, first=whole is None)
            phases.append({**asdict(span), "graphs": graphs})
            solved |= _solved(step)
            if whole is None:
                whole = step
            else:
                whole.state |= {name: value for name, value in step.state.items() if name not in whole.state}
                whole.draws += [draw for draw in step.draws if draw not in whole.draws]
        assert whole is not None, "a run has epochs"
        draws = [
            {"name": d.name, "stream": d.stream, "call": d.call, "kind": d.kind}
            | {"shape": list(d.shape), "high": d.high}
            for d in whole.draws
        ]
        changing = scheduled(self.net, training.epochs)
        return whole, {"random": draws, "phases": phases, "solutions": solved, "scheduled": changing}

    def _check(self, step: LearningStep, graphs: Sequence[dict[str, Any]], first: bool) -> None:
        """Compare the graphs of a step with torch; keep the golden step of the first phase."""
        arrays, after = golden(step, self.x, self.y, self.net.seed)
        models = [self.models[graph["file"]] for graph in graphs if graph["file"] in self.models]
        for graph in graphs if self.options.to == "torch" else ():
            given = {**warmed(step), **{k: torch.as_tensor(v) for k, v in arrays.items() if "new/" not in k}}
            program = self.programs[graph["file"]].module()
            made = program(*[given[name] for name in graph["inputs"]])
            pairs = zip(graph["outputs"], made, strict=True)
            difference({name: value.numpy() for name, value in pairs}, after, arrays)
        if models:
            start = {name: value.numpy() for name, value in warmed(step).items()}
            given = {name: value for name, value in arrays.items() if not name.startswith(("new/", "loss/"))}
            values = engine(models, {**start, **given})
            if not self.options.int8:
                # another engine may round as differently from this one as this one from torch
                self.tolerance = max(self.tolerance, 4 * difference(values, after, arrays))
            else:  # rounding differs from torch's, so that ONNX Runtime itself is the reference
                for name in arrays.keys() - given.keys():
                    value = values.get(name)
                    if value is not None:
                        whole = torch.from_numpy(np.asarray(value))
                        arrays[name] = sampled(whole) if name.startswith("new/") else whole.double().numpy()
        if first:
            self.golden |= arrays

    def _step(self, step: LearningStep, suffix: str) -> list[dict[str, Any]]:
        """Add the graphs of one phase; return their entries."""
        options = self.options
        example = step.example(self.n, self.x, self.y)
        batched = [options.rows is None and each for each in step.batched]
        graph = traced(step.flat, example, batched, options.profile)
        inputs, outputs = step.inputs, step.outputs
        same = [
            i
            for i, source in enumerate(unchanged(graph))
            if source is not None and outputs[i] == f"new/{inputs[source]}"
        ]
        without(graph, same)
        outputs = [name for i, name in enumerate(outputs) if i not in same]
        made = program(graph, example, batched)
        if options.to == "torch":
            return [{**self._torch(f"learn{suffix}", made, inputs, outputs), "block": None}]
        try:
            whole = converted(made, inputs, outputs)
        except UserError as error:
            raise UserError(f"{error}; it is in the learning step: export the prediction alone") from error
        parts = split(whole, _groups(step, outputs)) if options.per_block else [Part("", whole)]
        entries = []
        for number, part in enumerate(parts, 1):
            model = part.model
            if options.int8:
                model, _ = int8.quantised(model, step.learning)
            name = f"learn{suffix}-block{number}" if part.name else f"learn{suffix}"
            entries.append({**self._onnx(name, model), "block": part.name or None})
        return entries

    def _onnx(self, name: str, model: Any) -> dict[str, Any]:
        """Add a graph; return its file, and the names of its inputs and outputs."""
        file, graph = f"{name}.onnx", model.graph
        self.bundle.graph(file, model)
        self.models[file] = model
        self.graphs[file] = operators(model)
        return {
            "file": file,
            "inputs": [v.name for v in graph.input],
            "outputs": [v.name for v in graph.output],
        }

    def _torch(
        self, name: str, made: ExportedProgram, inputs: Sequence[str], outputs: Sequence[str]
    ) -> dict[str, Any]:
        """Add a program of torch; return its file, and the names of its inputs and outputs."""
        self.programs[f"{name}.pt2"] = made
        self.bundle.add(f"{name}.pt2", lambda path: torch.export.save(made, path))
        return {"file": f"{name}.pt2", "inputs": list(inputs), "outputs": list(outputs)}


def _named_apart(draw: Draw, others: Sequence[Draw], phase: int) -> Draw:
    """Return a draw, under a name of its own if an earlier phase has another one of its name."""
    clash = any(other.name == draw.name and other != draw for other in others)
    return replace(draw, phase=phase) if clash else draw


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
    if example is not None and (not isinstance(example, Tensor) or not len(example)):
        raise UserError("example: should be a tensor (N, *shape) of at least one sample")
    if example is None:
        if net.floats is False:
            raise UserError("example: samples are integers; give a few of them")
        return torch.rand(rows, *net.shape, generator=torch.Generator().manual_seed(net.seed))
    example = example.detach()
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
    kinds = {name: name.partition("/")[0] for name in step.state}
    return {
        name: (kind if kind in ("optimizer", "sums") else "weight", homes.get(name))
        for name, kind in kinds.items()
    }


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")
