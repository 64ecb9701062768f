"""The content of ``bundle.json``, format 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

FORMAT = 1
_KINDS = ("uniform", "normal", "integers")
_TARGETS = ("class", "labels", "values", "none")
_DTYPES = ("float32", "float64", "int64", "int8", "bool")


@dataclass(frozen=True, slots=True)
class State:
    """One array that learning may change.

    Attributes:
        shape: its shape.
        dtype: float32, float64, int64 or bool.
        part: "weight", "optimizer" or "sums".
        block: the block that it belongs to.
    """

    shape: tuple[int, ...]
    dtype: str
    part: str
    block: str | None


@dataclass(frozen=True, slots=True)
class Draw:
    """Random numbers (N, *shape) that are an input; see `ffcore.edge.random.batch_numbers`."""

    name: str
    stream: str
    call: int
    kind: str
    shape: tuple[int, ...]
    high: int | None


@dataclass(frozen=True, slots=True)
class Graph:
    """An ONNX file with the names of its inputs and outputs; ``block`` is None for all blocks."""

    file: str
    block: str | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Phase:
    """The graphs of a step, in order, for the epochs first ≤ e < last and steps of step mod period = turn."""

    first: int
    last: int
    turn: int
    period: int
    graphs: tuple[Graph, ...]


@dataclass(frozen=True, slots=True)
class Solution:
    """Names of the sums A, B and their number of rows, of the weight and the bias; ``strength`` is λ."""

    a: str
    b: str
    count: str
    strength: float
    weight: str
    bias: str | None


@dataclass(frozen=True, slots=True)
class About:
    """What a bundle holds. Attributes are the keys of ``bundle.json``.

    Attributes:
        engine: "onnx"; bundles for torch cannot be run here.
        steps: number of batches that the network had learned, on which random numbers depend.
        rows: samples of every batch, or None for any number.
        scheduled: values of states that change with the epoch.
        golden: file of the golden step, its tolerance and the states that it replaces; or None.
    """

    name: str
    made_by: str
    files: Mapping[str, tuple[str, int]]
    shape: tuple[int, ...]
    dtype: str
    rows: int | None
    stored: Mapping[str, Any] | None
    target: str
    columns: int
    classes: tuple[str, ...]
    engine: str
    seed: int
    steps: int
    batch_size: int
    epochs: int
    rates: Sequence[Sequence[float]] | None
    state: Mapping[str, State]
    random: Mapping[str, Draw]
    predict: Graph | None
    phases: tuple[Phase, ...]
    solutions: Mapping[str, Solution]
    scheduled: Mapping[str, Sequence[float]]
    golden: tuple[str, float, Mapping[str, float]] | None
    operators: Mapping[str, Mapping[str, int]]
    cost: Mapping[str, Any] | None

    def rate(self, epoch: float) -> float:
        """Return the factor of the learning rates at a fractional epoch."""
        if not self.rates:
            return 1.0
        if epoch >= len(self.rates):
            return float(self.rates[-1][-1])
        row = self.rates[int(epoch)]
        place = (epoch - int(epoch)) * (len(row) - 1)
        left = int(place)
        return float(row[left] + (row[left + 1] - row[left]) * (place - left))

    def graphs(self, epoch: int, step: int) -> tuple[Graph, ...]:
        """Return the graphs of a step in an epoch; after the last epoch those of its phase."""
        epoch = min(epoch, max(phase.last for phase in self.phases) - 1)
        of_epoch = (phase for phase in self.phases if phase.first <= epoch < phase.last)
        return next(phase.graphs for phase in of_epoch if step % phase.period == phase.turn)


def parsed(made: Any) -> About:
    """Return the description of a bundle.

    Args:
        made: the content of ``bundle.json``.

    Raises:
        KeyError: a key is missing.
        TypeError: a value is of another type.
        ValueError: a value is not right.
    """
    sample, golden = made["sample"], made.get("golden")
    about = About(
        name=str(made["name"]),
        made_by=str(made["made_by"]),
        files={str(k): (str(v["sha256"]), int(v["bytes"])) for k, v in made["files"].items()},
        shape=_shape(sample["shape"]),
        dtype=_one_of(sample["dtype"], ("float32", "int64"), "sample.dtype"),
        rows=None if sample["rows"] is None else int(sample["rows"]),
        stored=made["stored"],
        target=_one_of(made["target"], _TARGETS, "target"),
        columns=int(made["columns"]),
        classes=tuple(map(str, made["classes"])),
        engine=_one_of(made.get("engine", "onnx"), ("onnx", "torch"), "engine"),
        seed=int(made["seed"]),
        steps=int(made.get("steps", 0)),
        batch_size=int(made["batch_size"]),
        epochs=int(made["epochs"]),
        rates=made["rates"],
        state={k: _state(v) for k, v in made["state"].items()},
        random={v["name"]: _draw(v) for v in made["random"]},
        predict=None if made["predict"] is None else _graph(made["predict"]),
        phases=tuple(
            Phase(
                *(int(p["first"]), int(p["last"]), int(p.get("turn", 0)), int(p.get("period", 1))),
                tuple(map(_graph, p["graphs"])),
            )
            for p in made["phases"]
        ),
        solutions={k: Solution(**v) for k, v in made["solutions"].items()},
        scheduled=made.get("scheduled") or {},
        golden=((str(golden["file"]), float(golden["tolerance"]), dict(golden["fill"])) if golden else None),
        operators=made.get("operators") or {},
        cost=made.get("cost"),
    )
    _check(about)
    return about


def _check(about: About) -> None:
    for file in about.files:
        path = PurePosixPath(file)
        if path.is_absolute() or ".." in path.parts or "\\" in file:
            raise ValueError(f"the file {file!r} is outside the bundle")
    learned = [graph for phase in about.phases for graph in phase.graphs]
    used = [graph.file for graph in (*learned, *([about.predict] if about.predict else []))]
    used += ["weights.npz", *([about.golden[0]] if about.golden else [])]
    if missing := [file for file in used if file not in about.files]:
        raise ValueError(f"{missing[0]} is not in its list of files")
    for phase in about.phases:
        known = {"x", "y", "rate", *about.state, *about.random}
        for graph in phase.graphs:
            unknown = [name for name in graph.inputs if name not in known]
            unknown += [n for n in graph.outputs if n.startswith("new/") and n[4:] not in about.state]
            if unknown:
                raise ValueError(f"{graph.file} has the unknown input or output {unknown[0]!r}")
            known |= {name for name in graph.outputs if name.startswith("cut/")}
    named = {*about.scheduled, *(about.golden[2] if about.golden else ())}
    for s in about.solutions.values():
        named |= {s.a, s.b, s.count, s.weight, s.weight if s.bias is None else s.bias}
    if unknown := sorted(named - set(about.state)):
        raise ValueError(f"{unknown[0]!r} is not a state")
    stored = about.stored
    if stored is not None and any(np.size(stored[k]) not in (1, *about.shape[:1]) for k in ("mean", "std")):
        raise ValueError("stored.mean and stored.std need one value, or one for each channel")
    if about.batch_size < 1 or (about.rows is not None and about.rows < 1):
        raise ValueError("a batch has less than one sample")


def _shape(made: Any) -> tuple[int, ...]:
    return tuple(int(side) for side in made)


def _one_of(value: Any, right: Sequence[str], key: str) -> str:
    if value not in right:
        raise ValueError(f"{key} should be one of {', '.join(right)}, not {value!r}")
    return str(value)


def _state(v: Mapping[str, Any]) -> State:
    dtype = _one_of(v["dtype"], _DTYPES, "dtype of a state")
    return State(_shape(v["shape"]), dtype, str(v["part"]), v.get("block"))


def _draw(v: Mapping[str, Any]) -> Draw:
    kind = _one_of(v["kind"], _KINDS, "kind of random numbers")
    high = None if v["high"] is None else int(v["high"])
    return Draw(str(v["name"]), str(v["stream"]), int(v["call"]), kind, _shape(v["shape"]), high)


def _graph(v: Mapping[str, Any]) -> Graph:
    return Graph(str(v["file"]), v.get("block"), tuple(v["inputs"]), tuple(v["outputs"]))
