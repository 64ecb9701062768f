"""From a function of tensors to an exported program of torch's core operations, without autograd.

A step that calls autograd is traced below it: the program holds the operations of the backward pass too, and
runs on any engine. Tensors whose first dimension is the batch stay dynamic there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.func import functionalize
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel

from ffcore.errors import UserError
from ffcore.exports import profiles
from ffcore.exports.decompositions import table
from ffcore.private import fake_inputs

aten = torch.ops.aten

_RANDOM = ("rand", "bernoulli", "dropout", "normal", "multinomial", "uniform", "poisson", "exponential")


def traced(
    function: Callable[..., Sequence[Tensor]],
    inputs: Sequence[Tensor],
    batched: Sequence[bool],
    profile: str | None = None,
) -> GraphModule:
    """Return the operations of a function, those of autograd included.

    Args:
        function: takes the tensors of ``inputs`` and returns tensors.
        inputs: example inputs.
        batched: whether the first dimension of each input is the batch, of any size.
        profile: the operators to keep to; None: any.

    Raises:
        UserError: when the function depends on values, or draws random numbers of its own.
    """
    mode, fake = fake_inputs(inputs, batched)
    try:
        with mode, sdpa_kernel(SDPBackend.MATH):
            trace = make_fx(
                function,
                {**table(), **profiles.table(profile)},
                tracing_mode="symbolic",
                _allow_non_fake_inputs=True,
            )
            graph = trace(*fake)
            # without operations in place, which other engines would have to follow through views
            pure = functionalize(graph)
            trace = make_fx(
                pure, profiles.table(profile), tracing_mode="symbolic", _allow_non_fake_inputs=True
            )
            graph = trace(*fake)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"export: the step cannot be traced: {_cause(error)}") from error
    for node in graph.graph.nodes:
        name = str(node.target)
        if any(f"aten.{each}" in name for each in _RANDOM):
            raise UserError(
                f"export: the step draws random numbers of its own ({name}); only those of dropout and of "
                "the batch RNG can be exported"
            )
        _simplify(graph, node)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def _simplify(graph: GraphModule, node: Node) -> None:
    """Replace operations that are left of operations in place."""
    if node.target is aten.view.default:
        # decomposed operations may return other strides, which a view would refuse
        node.target = aten.reshape.default
    elif node.target is aten.copy.default:
        target, source = (each.meta["val"] for each in node.args)  # type: ignore[union-attr]
        if target.dtype == source.dtype and tuple(target.shape) == tuple(source.shape):
            node.replace_all_uses_with(node.args[1])  # type: ignore[arg-type]
    elif node.target is aten.slice_scatter.default:
        given: tuple[Any, ...] = (*node.args, *(0, None, None, 1)[len(node.args) - 2 :])
        x, rows, dim, first, last, by = given
        if by != 1:
            return
        with graph.graph.inserting_before(node):
            parts = [rows]
            if first not in (None, 0):
                parts.insert(0, graph.graph.call_function(aten.slice.Tensor, (x, dim, 0, first)))
            if last is not None and not (isinstance(last, int) and last >= 2**62):
                parts.append(graph.graph.call_function(aten.slice.Tensor, (x, dim, last, 2**63 - 1)))
            made = parts[0] if len(parts) == 1 else graph.graph.call_function(aten.cat.default, (parts, dim))
        node.replace_all_uses_with(made)


_SAME = ("detach", "clone", "alias", "lift_fresh", "lift_fresh_copy")


def unchanged(graph: GraphModule) -> list[int | None]:
    """Return for each output the index of the input that it is, or None for a computed one."""
    inputs = [node for node in graph.graph.nodes if node.op == "placeholder"]
    (ends,) = next(node for node in graph.graph.nodes if node.op == "output").args
    found: list[int | None] = []
    for end in ends:
        node = end
        while node.op == "call_function" and str(node.target).split(".")[-2:-1] in [[each] for each in _SAME]:
            node = node.args[0]
        found.append(inputs.index(node) if node.op == "placeholder" else None)
    return found


def without(graph: GraphModule, outputs: Sequence[int]) -> None:
    """Remove outputs of a graph, and the operations that only they need."""
    end = next(node for node in graph.graph.nodes if node.op == "output")
    (ends,) = end.args
    end.args = ([each for i, each in enumerate(ends) if i not in outputs],)
    graph.graph.eliminate_dead_code()
    graph.recompile()


class _Flat(nn.Module):
    def __init__(self, graph: GraphModule) -> None:
        super().__init__()
        self.step = graph  # not "graph", a name that a GraphModule has already

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        made: list[Tensor] = self.step(*inputs)
        return made


def program(graph: nn.Module, inputs: Sequence[Tensor], batched: Sequence[bool]) -> ExportedProgram:
    """Return an exported program of a graph.

    Args:
        graph: takes and returns tensors.
        inputs: example inputs.
        batched: as for `traced`.

    Raises:
        UserError: when the number of rows cannot be any number.
    """
    n = Dim("N", min=1)
    shapes: Any = tuple({0: n} if each else None for each in batched)
    module = _Flat(graph) if isinstance(graph, GraphModule) else graph
    try:
        with torch.no_grad():
            made = torch.export.export(module, tuple(inputs), dynamic_shapes=(shapes,), strict=False)
    except Exception as error:
        if "specialized it to be a constant" in str(error):
            raise UserError(
                "export: a part of the network needs a fixed number of rows, as after len(x) of a tensor; "
                "x.shape[0] can be any number. Export with a number of rows"
            ) from error
        raise UserError(f"export: {_cause(error)}") from error
    return made


def _cause(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:300] if text else 'no message'}"
