"""Graphs whose forward passes multiply in eight bits.

    x ≈ a (q − z), q in 0 … 255      activities: scale a and zero point z of the rows at hand
    W ≈ s k, k in −127 … 127          weights: s = max |W| / 127
    x Wᵀ ≈ a s Σ (q − z) k            sums in int32

Products with a weight are quantised. Those of gradients, which have no weight among their factors, and the
updates stay in float32. So the master weights are float32, and k is made anew from them in every step. Of a
graph that only predicts, k and s are stored in place of the weights: a quarter of the memory.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcore.errors import UserError

_LAYOUT = frozenset({"Transpose", "Slice", "Reshape", "Squeeze", "Unsqueeze", "Identity"})
"""Operators that only move values: they apply to k as they do to W."""


def stored(state: Mapping[str, NDArray[Any]], names: Collection[str]) -> dict[str, NDArray[Any]]:
    """Return a state with weights in eight bits: ``NAME`` int8, and ``NAME/scale`` float32.

    Args:
        state: arrays by name.
        names: those to quantise.
    """
    made: dict[str, NDArray[Any]] = {}
    for name, value in state.items():
        if name not in names:
            made[name] = value
            continue
        scale = np.maximum(np.abs(value).max(), np.finfo(np.float32).tiny) / np.float32(127)
        made[name] = np.clip(np.rint(value / scale), -127, 127).astype(np.int8)
        made[f"{name}/scale"] = np.asarray(scale)
    return made


def quantised(model: Any, weights: Collection[str], store: bool = False) -> tuple[Any, set[str]]:
    """Return a graph in which products with a weight are taken in eight bits, and the names of these weights.

    Args:
        model: an ONNX model.
        weights: names of the inputs that are weights.
        store: whether the weights are inputs in eight bits, with a scale each; see `stored`.

    Raises:
        UserError: when a product has a factor besides.
    """
    import onnx

    graph = model.graph
    makes = {name: node for node in graph.node for name in node.output}
    work = _Work({each.name: each for each in graph.input})
    nodes: list[Any] = []
    for node in graph.node:
        found = _weight_of(node, makes, weights)
        nodes += [node] if found is None else work.product(node, found, makes)
    if not work.used:
        return model, set()
    prefix: list[Any] = []
    inputs = list(graph.input)
    for name in sorted(work.used):
        if not store:
            prefix += _rounded(name)
            continue
        inputs = [value for value in inputs if value.name != name]
        shape = [side.dim_value for side in work.given[name].type.tensor_type.shape.dim]
        inputs.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT8, shape))
        inputs.append(onnx.helper.make_tensor_value_info(f"{name}/scale", onnx.TensorProto.FLOAT, []))
        prefix.append(onnx.helper.make_node("Identity", [name], [f"{name}/int8"]))
        if any(name in node.input for node in nodes):  # also used in float, such as for its length
            prefix.append(
                onnx.helper.make_node("DequantizeLinear", [name, f"{name}/scale"], [f"{name}/float"])
            )
            for node in nodes:
                node.input[:] = [f"{name}/float" if each == name else each for each in node.input]
    constants = [
        onnx.helper.make_tensor("int8/127", onnx.TensorProto.FLOAT, [], [127.0]),
        onnx.helper.make_tensor("int8/tiny", onnx.TensorProto.FLOAT, [], [float(np.finfo(np.float32).tiny)]),
        onnx.helper.make_tensor("int8/zero", onnx.TensorProto.INT8, [], [0]),
    ]
    ordered = _needed([*prefix, *work.prefix, *nodes], [value.name for value in graph.output])
    made = onnx.helper.make_model(
        onnx.helper.make_graph(ordered, graph.name, inputs, graph.output, [*graph.initializer, *constants]),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
    )
    onnx.checker.check_model(made)
    return made, set(work.used)


@dataclass(slots=True)
class _Found:
    """The weight among the factors of a product: its place, its name, and the nodes between."""

    place: int
    weight: str
    chain: list[Any]


def _weight_of(node: Any, makes: Mapping[str, Any], weights: Collection[str]) -> _Found | None:
    if node.op_type not in ("MatMul", "Gemm", "Conv"):
        return None
    found = []
    for place in (0, 1):
        name = node.input[place]
        chain: list[Any] = []
        while name in makes and makes[name].op_type in _LAYOUT:
            chain.insert(0, makes[name])
            name = makes[name].input[0]
        if name in weights:
            found.append(_Found(place, name, chain))
    # of two weights, or with the weight first, for which engines have no kernel: stays as it is
    return found[0] if len(found) == 1 and found[0].place == 1 else None


@dataclass(slots=True)
class _Work:
    given: Mapping[str, Any]
    used: set[str] = field(default_factory=set)
    prefix: list[Any] = field(default_factory=list)
    _activities: dict[str, str] = field(default_factory=dict)
    _weights: dict[tuple[str, ...], str] = field(default_factory=dict)

    def product(self, node: Any, found: _Found, makes: Mapping[str, Any]) -> list[Any]:
        """Return the nodes of a quantised product in place of a node."""
        from onnx import TensorProto
        from onnx.helper import make_node

        self.used.add(found.weight)
        out, made = node.output[0], []
        x = node.input[0]
        options = {each.name: _value(each) for each in node.attribute}
        if node.op_type == "Gemm" and options.get("transA"):
            made.append(make_node("Transpose", [x], [f"{out}/x"]))
            x = f"{out}/x"
        made.append(make_node("DynamicQuantizeLinear", [x], [f"{out}/q", f"{out}/a", f"{out}/z"]))
        k = self._moved(found)
        if node.op_type == "Gemm" and options.get("transB"):
            made.append(make_node("Transpose", [k], [f"{out}/k"]))
            k = f"{out}/k"
        if node.op_type == "Conv":
            made.append(
                make_node("ConvInteger", [f"{out}/q", k, f"{out}/z", "int8/zero"], [f"{out}/i"], **options)
            )
        else:
            made.append(make_node("MatMulInteger", [f"{out}/q", k, f"{out}/z", "int8/zero"], [f"{out}/i"]))
        made.append(make_node("Cast", [f"{out}/i"], [f"{out}/f"], to=TensorProto.FLOAT))
        made.append(make_node("Mul", [f"{out}/a", f"{found.weight}/scale"], [f"{out}/as"]))
        bias = node.input[2] if len(node.input) > 2 and node.input[2] else None
        if options.get("alpha", 1.0) != 1.0 or options.get("beta", 1.0) != 1.0:
            raise UserError("export: int8: a product with a factor cannot be quantised")
        made.append(make_node("Mul", [f"{out}/f", f"{out}/as"], [out if bias is None else f"{out}/y"]))
        if bias is not None:
            if node.op_type == "Conv":
                made.append(make_node("Reshape", [bias, self._sides()], [f"{out}/b"]))
                bias = f"{out}/b"
            made.append(make_node("Add", [f"{out}/y", bias], [out]))
        return made

    def _sides(self) -> str:
        from onnx import TensorProto
        from onnx.helper import make_node, make_tensor

        if "int8/sides" not in self._activities:
            shape = make_tensor("sides", TensorProto.INT64, [4], [1, -1, 1, 1])
            self.prefix.append(make_node("Constant", [], ["int8/sides"], value=shape))
            self._activities["int8/sides"] = "int8/sides"
        return "int8/sides"

    def _moved(self, found: _Found) -> str:
        """Return the name of a weight in eight bits after its changes of layout."""
        import onnx

        key = (found.weight, *(node.output[0] for node in found.chain))
        name = f"{found.weight}/int8"
        for i, node in enumerate(found.chain):
            part = key[: i + 2]
            if part not in self._weights:
                moved = onnx.NodeProto()
                moved.CopyFrom(node)
                moved.input[0] = name
                moved.output[0] = f"{node.output[0]}/int8"
                moved.name = f"{node.name}/int8"
                self.prefix.append(moved)
                self._weights[part] = moved.output[0]
            name = self._weights[part]
        return name


def _rounded(name: str) -> list[Any]:
    """Return nodes that make ``NAME/int8`` and ``NAME/scale`` of a weight."""
    from onnx.helper import make_node

    return [
        make_node("Abs", [name], [f"{name}/abs"]),
        make_node("ReduceMax", [f"{name}/abs"], [f"{name}/most"], keepdims=0),
        make_node("Max", [f"{name}/most", "int8/tiny"], [f"{name}/reach"]),
        make_node("Div", [f"{name}/reach", "int8/127"], [f"{name}/scale"]),
        make_node("QuantizeLinear", [name, f"{name}/scale", "int8/zero"], [f"{name}/int8"]),
    ]


def _needed(nodes: list[Any], outputs: list[str]) -> list[Any]:
    """Return the nodes that outputs need, each after those that it reads."""
    makes = {name: node for node in nodes for name in node.output}
    ordered: list[Any] = []
    begun: set[str] = set()
    todo = [(name, False) for name in reversed(outputs)]
    while todo:  # not recursive: a graph is deeper than Python's stack
        name, after = todo.pop()
        node = makes.get(name)
        if node is None:
            continue
        if after:
            ordered.append(node)
        elif node.output[0] not in begun:
            begun.add(node.output[0])
            todo.append((name, True))
            todo += [(each, False) for each in node.input]
    return ordered


def _value(attribute: Any) -> Any:
    import onnx

    return onnx.helper.get_attribute_value(attribute)
