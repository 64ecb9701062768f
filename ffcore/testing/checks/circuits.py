"""Checks of circuits, each in its own network. N samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from ffcore.build.assemble import assemble
from ffcore.errors import typed
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
    """A circuit that takes turns uses parameters and buffers of a block in turns of this block only.

    Turns that are made together do not read each other, and results of `Turns.own` are read in turns of the
    same block only.
    """
    whole, circuit = _placed(example)
    if not circuit.takes_turns:
        return
    circuit.turns = made = _Recording()
    evidence = iter(_learned(whole))
    for place, block in enumerate(whole.blocks):  # as on a rank that holds this block and no other
        net, circuit = _placed(example)
        here = net.blocks[place]
        _hide(here, net.blocks)
        circuit.turns = _Replaying(here, made.results)
        try:
            found = _learned(net)
        except Exception as error:
            raise AssertionError(
                f"takes turns, but fails where only the block {block.name} is: {typed(error)}"
            ) from error
        mine, others = {id(t) for t in _state(here)}, _named(whole)
        differ = [
            name for name, t in _named(net).items() if id(t) in mine and not torch.equal(t, others[name])
        ]
        assert not differ, f"takes turns, but learns differently with its blocks apart: {', '.join(differ)}"
        expected = [next(evidence)] if block.goodness is not None else []
        same = len(found) == len(expected) and all(map(_equal, found, expected))
        assert same, f"takes turns, but predicts differently where only the block {block.name} is"


class _Recording(Turns):
    """Makes all turns, and keeps the results of `shared` in order."""

    def __init__(self) -> None:
        self.results: list[list[Tensor]] = []

    def shared(self, *turns: Turn) -> list[Tensor]:
        made = super().shared(*turns)
        self.results.append([t.detach().clone() for t in made])
        return made


class _Replaying(Turns):
    """Makes the turns of one block, as its rank does; results of other blocks are those of a recording."""

    def __init__(self, here: nn.Module, results: Sequence[list[Tensor]]) -> None:
        self._here, self._results = here, iter(results)

    def shared(self, *turns: Turn) -> list[Tensor]:
        sent = next(self._results, [])
        assert len(sent) == len(turns), "with its blocks apart, it makes other turns"
        return [
            function().detach() if block is self._here else t.clone()
            for (block, function), t in zip(turns, sent, strict=True)
        ]

    def own(self, block: nn.Module, function: Callable[[], T]) -> T | None:
        return function() if block is self._here else None


def _learned(net: LocalNetwork) -> list[list[Tensor]]:
    """Let a network learn, and return the evidence of each call, by block."""
    for step in range(2):
        net.learn(_views(step))
    return net.trace(_hypotheses())


def _hide(here: nn.Module, blocks: Sequence[nn.Module]) -> None:
    """Replace what other blocks have by NaN."""
    own = {id(t) for t in _state(here)}
    for t in (t for block in blocks for t in _state(block) if id(t) not in own):
        if t.is_floating_point():
            t.data.fill_(torch.nan)


def _state(part: nn.Module) -> Iterator[Tensor]:
    return chain(part.parameters(), part.buffers())


def _named(part: nn.Module) -> dict[str, Tensor]:
    return {**dict(part.named_parameters()), **dict(part.named_buffers())}


def _equal(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


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
