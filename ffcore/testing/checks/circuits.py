"""Checks of circuits, each in its own network. N samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from ffcore.build.assemble import assemble
from ffcore.interfaces import BatchRNG, Circuit, Turn, Turns, Views
from ffcore.local import LocalNetwork
from ffcore.local.alone import Apart, parts
from ffcore.recipe.schema import Recipe
from ffcore.testing.example import Example
from ffcore.testing.scenery import K, N, Placed, numbers, pair

T = TypeVar("T")

SHAPE = (1, 5, 4)
RECIPE: dict[str, Any] = {
    "name": "conformance",
    "data": {"kind": "digits"},
    "algorithm": {"kind": "forward-forward", "labels": None},
    "block": {"goodness": "sum-squares", "objective": "logistic"},
}


def place_circuit(example: Example, seed: int = 0) -> Placed:
    """Set up a circuit in a network, with hypotheses as input."""
    net, circuit = _placed(example, seed)
    return Placed(circuit, lambda: torch.stack(net.goodness(_hypotheses())))


def check_circuit_calls_every_block_without_hypotheses(example: Example) -> None:
    """All blocks run without hypotheses, which the dry run needs, and all learn in a learning pass."""
    net, circuit = _placed(example)
    blocks = [block for block in circuit.modules() if block in set(net.blocks)]
    assert len(blocks) == len(net.blocks), "some blocks are not sub-modules of the circuit"
    before = {name: p.clone() for name, p in net.named_parameters()}
    for step in range(2):
        net.learn(_views(step))
    still = [name for name, p in net.named_parameters() if torch.equal(p, before[name])]
    assert not still, f"never learned: {', '.join(still)}"


def check_circuit_reads_calls_that_there_are(example: Example) -> None:
    """`Circuit.reads` is within the calls of a pass, and `Circuit.calls` is their number."""
    net, circuit = _placed(example)
    calls = {len(of_block) for of_block in net.trace(_hypotheses())}
    assert circuit.reads, "reads is empty: there would be no evidence"
    assert max(circuit.reads) < min(calls), f"reads {circuit.reads}, but blocks run {calls} times"
    most = max(len(of) for of in net.trace(_views(0)))
    assert most == circuit.calls, f"calls is {circuit.calls}, but blocks run {most} times"


def check_circuit_keeps_samples_apart(example: Example) -> None:
    """The evidence of a row does not depend on other samples."""
    net, _ = _placed(example)
    whole = torch.stack(net.goodness(_hypotheses()))
    some = torch.stack(net.goodness(_hypotheses(2)))
    # The rows of the first two samples in both views.
    picked = torch.cat([whole[:, :2], whole[:, N : N + 2]], 1)
    assert_close(some, picked, rtol=1e-4, atol=1e-5)


def check_circuit_hears_the_label(example: Example) -> None:
    """Two hypotheses of one sample have different evidence, if the circuit needs hypotheses."""
    net, circuit = _placed(example)
    if not circuit.needs_hypotheses:  # the label may be in the samples
        return
    evidence = torch.stack(net.goodness(_hypotheses()))
    assert not torch.allclose(evidence[:, :N], evidence[:, N:]), "hypotheses make no difference"


def check_circuit_hands_on_no_graph(example: Example) -> None:
    """The circuit's output has no graph, with or without learning."""
    net, circuit = _placed(example)
    outputs: list[Tensor] = []
    circuit.register_forward_hook(lambda module, args, out: outputs.append(out))
    net.learn(_views(0))
    net.goodness(_hypotheses())
    assert outputs, "it was not called"
    assert not any(t.requires_grad for t in outputs), "its output has a graph"


def check_circuit_independent_blocks_learn_alone(example: Example) -> None:
    """Blocks of an independent circuit learn the same alone, in the opposite order."""
    net, circuit = _placed(example)
    if not circuit.independent:
        return
    apart, _ = _placed(example)
    apart.route = Apart(parts(apart)[::-1])
    for step in range(2):
        net.learn(_views(step))
        apart.learn(_views(step))
    others = dict(apart.named_parameters())
    differ = [name for name, p in net.named_parameters() if not torch.equal(p, others[name])]
    assert not differ, f"independent, but learns differently without the blocks before: {', '.join(differ)}"


def check_circuit_uses_parameters_in_turns(example: Example) -> None:
    """A circuit that takes turns uses the parameters of a block in turns of this block only.

    Turns that are made together do not read each other: in the opposite order the blocks learn the same.
    """
    net, circuit = _placed(example)
    if not circuit.takes_turns:
        return
    divided, other = _placed(example)
    other.turns = turns = _Hiding(divided.blocks)
    for step in range(2):
        net.learn(_views(step))
        divided.learn(_views(step))
    evidence = [torch.stack(each.goodness(_hypotheses())) for each in (net, divided)]
    turns.show()
    others = dict(divided.named_parameters())
    differ = [name for name, p in net.named_parameters() if not torch.equal(p, others[name])]
    assert not differ, f"takes turns, but learns differently with its blocks apart: {', '.join(differ)}"
    assert torch.equal(*evidence), "takes turns, but predicts differently with its blocks apart"


class _Hiding(Turns):
    """Makes turns in the opposite order; outside of its turns a block's parameters are NaN."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        self._kept: dict[nn.Parameter, Tensor] = {}
        for block in blocks:
            self._hide(block)

    def shared(self, *turns: Turn) -> list[Tensor]:
        return [self.own(*turn) for turn in turns[::-1]][::-1]

    def own(self, block: nn.Module, function: Callable[[], T]) -> T:
        self._show(block)
        made = function()
        self._hide(block)
        return made

    def show(self) -> None:
        for parameter, value in self._kept.items():
            parameter.data.copy_(value)

    def _hide(self, block: nn.Module) -> None:
        for parameter in block.parameters():
            self._kept[parameter] = parameter.detach().clone()
            parameter.data.fill_(torch.nan)

    def _show(self, block: nn.Module) -> None:
        for parameter in block.parameters():
            parameter.data.copy_(self._kept[parameter])


def _placed(example: Example, seed: int = 0) -> tuple[LocalNetwork, Circuit]:
    parts = {**RECIPE, "network": [example.spec], **example.recipe, "seed": seed}
    module = assemble(Recipe.model_validate(parts), SHAPE, K)
    module.configure_optimizers()
    (circuit,) = module.network.circuits
    return module.network, circuit


def _x(n: int) -> Tensor:
    return numbers(N, *SHAPE).abs()[:n]


def _hypotheses(n: int = N) -> Views:
    views = pair(_x(n).repeat(2, 1, 1, 1))
    return Views(views.x, views.roles, views.sizes, views.y, views.hypothesis)


def _views(step: int) -> Views:
    views = pair(_x(N).repeat(2, 1, 1, 1))
    return Views(views.x, views.roles, views.sizes, views.y, views.hypothesis, rng=BatchRNG(1, step, 0, N, N))
