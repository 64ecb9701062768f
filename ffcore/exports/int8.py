"""Graphs whose forward passes multiply in eight bits.

    x ≈ a (q − z), q in 0 … 255          activities: scale a and zero point z of the rows at hand
    W_u ≈ s_u k_u, k in −127 … 127       weights of unit u: s_u = max |W_u| / 127
    x W_uᵀ ≈ a s_u Σ (q − z) k_u         sums in int32

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


def stored(state: Mapping[str, NDArray[Any]], axes: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """Return a state with weights in eight bits: ``NAME`` int8, and ``NAME/scale`` float32 (U,).

    Args:
        state: arrays by name.
        axes: those to quantise, each with the dimension that has a place for each unit.
    """
    made: dict[str, NDArray[Any]] = {}
    for name, value in state.items():
        if name not in axes:
            made[name] = value
            continue
        others = tuple(dim for dim in range(value.ndim) if dim != axes[name])
        reach = np.maximum(np.abs(value).max(others, keepdims=True), np.finfo(np.float32).tiny)
        scale = reach / np.float32(127)
        made[name] = np.clip(np.rint(value / scale), -127, 127).astype(np.int8)
        made[f"{name}/scale"] = scale.reshape(-1)
    return made


def quantised(model: Any, weights: Collection[str], store: bool = False) -> tuple[Any, dict[str, int]]:
    """Return a graph in which products with a weight are taken in eight bits.

    Also returns these weights by name, each with the dimension of its units.

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
        # a weight whose units are columns of one product and rows of another keeps the first one's scales
        fits = found is not None and work.used.setdefault(found.weight, found.axis) == found.axis
        nodes += work.product(node, found) if found is not None and fits else [node]
    if not work.used:
        return model, {}
    prefix: list[Any] = []
    inputs = list(graph.input)
    for name, axis in sorted(work.used.items()):
        shape = [side.dim_value for side in work.given[name].type.tensor_type.shape.dim]
        if not store:
            prefix += _rounded(name, axis, len(shape))
            continue
        inputs = [value for value in inputs if value.name != name]
        inputs.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT8, shape))
        inputs.append(
            onnx.helper.make_tensor_value_info(f"{name}/scale", onnx.TensorProto.FLOAT, [shape[axis]])
        )
        prefix.append(onnx.helper.make_node("Identity", [name], [f"{name}/int8"]))
        if any(name in node.input for node in nodes):  # also used in float, such as for its length
            prefix.append(
                onnx.helper.make_node(
                    "DequantizeLinear", [name, f"{name}/scale"], [f"{name}/float"], axis=axis
                )
            )
            for node in nodes:
                node.input[:] = [f"{name}/float" if each == name else each for each in node.input]
    constants = [
        onnx.helper.make_tensor("int8/127", onnx.TensorProto.FLOAT, [], [127.0]),
        onnx.helper.make_tensor("int8/tiny", onnx.TensorProto.FLOAT, [], [float(np.finfo(np.float32).tiny)]),
        onnx.helper.make_tensor("int8/zero", onnx.TensorProto.INT8, [], [0]),
        onnx.helper.make_tensor("int8/sides", onnx.TensorProto.INT64, [4], [1, -1, 1, 1]),
    ]
    ordered = _needed([*prefix, *work.prefix, *nodes], [value.name for value in graph.output])
    made = onnx.helper.make_model(
        onnx.helper.make_graph(ordered, graph.name, inputs, graph.output, [*graph.initializer, *constants]),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
    )
    onnx.checker.check_model(made)
    return made, work.used


@dataclass(slots=True)
class _Found:
    """The weight of a product: its name, the dimension of its units, and the nodes between."""

    weight: str
    axis: int
    chain: list[Any]


def _weight_of(node: Any, makes: Mapping[str, Any], weights: Collection[str]) -> _Found | None:
    if node.op_type not in ("MatMul", "Gemm", "Conv"):
        return None
    chains = []
    for name in node.input[:2]:
        at: str = name
        chain: list[Any] = []
        while at in makes and makes[at].op_type in _LAYOUT:
            chain.insert(0, makes[at])
            at = makes[at].input[0]
        chains.append((at, chain))
    (first, _), (weight, chain) = chains
    # a product of two weights, or with the weight first, for which engines have no kernel, stays as it is
    if weight not in weights or first in weights:
        return None
    options = {each.name: _value(each) for each in node.attribute}
    if node.op_type == "Conv" and len(options.get("kernel_shape", (0, 0))) != 2:
        return None  # of images only
    turns = sum(each.op_type == "Transpose" for each in chain) + bool(options.get("transB"))
    return _Found(weight, 0 if node.op_type == "Conv" or turns % 2 else 1, chain)


@dataclass(slots=True)
class _Work:
    given: Mapping[str, Any]
    used: dict[str, int] = field(default_factory=dict)
    prefix: list[Any] = field(default_factory=list)
    _weights: dict[tuple[str, ...], str] = field(default_factory=dict)

    def product(self, node: Any, found: _Found) -> list[Any]:
        """Return the nodes of a quantised product in place of a node."""
        from onnx import TensorProto
        from onnx.helper import make_node

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
        scale = f"{found.weight}/scale"
        if node.op_type == "Conv":
            made.append(make_node("Reshape", [scale, "int8/sides"], [f"{out}/s"]))
            scale = f"{out}/s"
        made.append(make_node("Mul", [f"{out}/a", scale], [f"{out}/as"]))
        bias = node.input[2] if len(node.input) > 2 and node.input[2] else None
        if options.get("alpha", 1.0) != 1.0 or options.get("beta", 1.0) != 1.0:
            raise UserError("export: int8: a product with a factor cannot be quantised")
        made.append(make_node("Mul", [f"{out}/f", f"{out}/as"], [out if bias is None else f"{out}/y"]))
        if bias is not None:
            if node.op_type == "Conv":
                made.append(make_node("Reshape", [bias, "int8/sides"], [f"{out}/b"]))
                bias = f"{out}/b"
            made.append(make_node("Add", [f"{out}/y", bias], [out]))
        return made

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


def _rounded(name: str, axis: int, dims: int) -> list[Any]:
    """Return nodes that make ``NAME/int8`` and ``NAME/scale`` of a weight."""
    from onnx import TensorProto
    from onnx.helper import make_node, make_tensor

    others = [dim for dim in range(dims) if dim != axis]
    return [
        make_node("Abs", [name], [f"{name}/abs"]),
        make_node(
            "Constant",
            [],
            [f"{name}/axes"],
            value=make_tensor("axes", TensorProto.INT64, [len(others)], others),
        ),
        make_node("ReduceMax", [f"{name}/abs", f"{name}/axes"], [f"{name}/most"], keepdims=0),
        make_node("Max", [f"{name}/most", "int8/tiny"], [f"{name}/reach"]),
        make_node("Div", [f"{name}/reach", "int8/127"], [f"{name}/scale"]),
        # without a zero point the result would be unsigned
        make_node(
            "QuantizeLinear",
            [name, f"{name}/scale"],
            [f"{name}/int8"],
            axis=axis,
            output_dtype=TensorProto.INT8,
        ),
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
