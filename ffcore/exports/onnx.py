"""From an exported program to an ONNX model: conversion, operators, and a graph for each block."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.export import ExportedProgram

from ffcore.errors import UserError, one_line

OPSET = 21
"""Version of the operator set: ONNX Runtime 1.18 and newer run it."""


def needs_packages() -> None:
    """Import what the conversion needs.

    Raises:
        UserError: when it is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"export: {error.name} is missing; install ffcore[edge]") from error


def converted(program: ExportedProgram, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    """Return the ONNX model of a program, without the inputs that no operation reads.

    Args:
        program: the program.
        inputs: names of its inputs.
        outputs: names of its outputs.

    Raises:
        UserError: when an operation has no ONNX form.
    """
    needs_packages()
    import onnx

    try:
        with _quiet():
            made = torch.onnx.export(
                program,
                input_names=list(inputs),
                output_names=list(outputs),
                opset_version=OPSET,
                dynamo=True,
                optimize=False,
                verbose=False,
            )
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:  # torch wraps the reason in advice for its own developers
            cause = cause.__cause__
        raise UserError(f"export: to ONNX: {one_line(cause, 300)}") from error
    assert made is not None
    model = made.model_proto
    read = {name for node in model.graph.node for name in node.input}
    read |= {value.name for value in model.graph.output}
    kept = [value for value in model.graph.input if value.name in read]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    del model.graph.value_info[:]  # names of torch's symbols
    _strip(model)
    model = _folded(model)
    onnx.checker.check_model(model)
    return model


def _folded(model: Any) -> Any:
    """Return the model with constants folded and common parts shared, by ONNX Runtime."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # the next level uses operators of its own
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with TemporaryDirectory() as folder:
        path, better = Path(folder) / "model.onnx", Path(folder) / "folded.onnx"
        options.optimized_model_filepath = str(better)
        onnx.save(model, path)
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return onnx.load(better)


def _strip(model: Any) -> None:
    """Remove texts that describe the conversion: they are longer than a small graph."""
    model.doc_string = ""
    model.graph.doc_string = ""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output):
        del value.metadata_props[:]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's warnings about packages that are not installed, and about torch itself."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def operators(model: Any) -> dict[str, int]:
    """Return how often each operator is used, by name, in the order of the alphabet."""
    counts: dict[str, int] = {}
    for node in model.graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return dict(sorted(counts.items()))


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a graph that is run on its own.

    Attributes:
        name: name of the block that learns in it.
        model: the ONNX model.
    """

    name: str
    model: Any


def split(model: Any, groups: Sequence[tuple[str, Sequence[str]]]) -> list[Part]:
    """Divide a graph into one part for each group of outputs, to be run in this order.

    A node belongs to the first part whose outputs need it. Values that later parts read become outputs of a
    part, named ``cut/…``.

    Args:
        model: the whole graph.
        groups: name of each part and its outputs.
    """
    import onnx

    graph = model.graph
    makes = {name: i for i, node in enumerate(graph.node) for name in node.output}
    # Values that do not depend on the inputs are computed again in every part.
    fixed: set[str] = {each.name for each in graph.initializer}
    for node in graph.node:
        if all(name in fixed or not name for name in node.input):
            fixed.update(node.output)
    part_of: dict[int, int] = {}
    for number, (_, outputs) in enumerate(groups):
        todo = [makes[name] for name in outputs if name in makes]
        while todo:
            node = todo.pop()
            if node not in part_of and not fixed.issuperset(graph.node[node].output):
                part_of[node] = number
                todo += [makes[name] for name in graph.node[node].input if name in makes]
    initial = {each.name: each for each in graph.initializer}
    given = {each.name: each for each in graph.input}
    results = {each.name: each for each in graph.output}
    readers: dict[str, set[int]] = {}
    for i, number in part_of.items():
        for name in graph.node[i].input:
            if name in makes and name not in fixed and part_of[makes[name]] < number:
                readers.setdefault(name, set()).add(number)
    shapes = onnx.shape_inference.infer_shapes(model, data_prop=True)
    types = {each.name: each for each in shapes.graph.value_info}
    names = {name: f"cut/{number}" for number, name in enumerate(sorted(readers))}
    made = []
    for number, (title, outputs) in enumerate(groups):
        begun = [i for i, at in part_of.items() if at == number]
        begun += [makes[name] for name in outputs if name in fixed and name in makes]
        needed = _needed(begun, graph, makes, fixed)
        nodes = [node for i, node in enumerate(graph.node) if i in needed]
        own = {name for node in nodes for name in node.output}
        own.update(name for name in outputs if name in fixed and name in makes)
        reads = list(dict.fromkeys(name for node in nodes for name in node.input if name and name not in own))
        inputs = [given[name] for name in reads if name in given]
        inputs += [_typed(types, results, name) for name in reads if name in makes]
        sent = [name for name in names if name in own]
        ends = [results[name] for name in outputs if name in own]
        ends += [_typed(types, results, name) for name in sent if name not in outputs]
        part = onnx.helper.make_model(
            onnx.helper.make_graph(nodes, title, inputs, ends, [initial[n] for n in reads if n in initial]),
            opset_imports=model.opset_import,
            ir_version=model.ir_version,
        )
        _rename(part.graph, {name: new for name, new in names.items() if name not in results})
        onnx.checker.check_model(part)
        made.append(Part(title, part))
    return made


def _needed(own: Sequence[int], graph: Any, makes: dict[str, int], fixed: set[str]) -> set[int]:
    """Return nodes and those that compute the fixed values that they read."""
    needed, todo = set(own), list(own)
    while todo:
        for name in graph.node[todo.pop()].input:
            if name in fixed and name in makes and makes[name] not in needed:
                needed.add(makes[name])
                todo.append(makes[name])
    return needed


def _typed(types: Any, results: Any, name: str) -> Any:
    if name in results:
        return results[name]
    if name not in types:
        raise UserError(f"export: the type of {name!r}, which one block passes to the next, is not known")
    return types[name]


def _rename(graph: Any, names: dict[str, str]) -> None:
    for node in graph.node:
        for place in (node.input, node.output):
            for i, name in enumerate(place):
                place[i] = names.get(name, name)
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)


def session_of(model: Any) -> Any:
    """Return an inference session of ONNX Runtime for a model in memory."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
