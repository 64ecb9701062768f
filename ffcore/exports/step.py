"""A learning step as a function of tensors: (samples, targets, state, random numbers) → (new state, losses).

    state = parameters, buffers, optimiser state, and the sums of rules that solve at the end of an epoch

The function runs `Algorithm.learn` of a copy of the network. Its parameters are the given tensors, its
optimisers are formulas (`ffcore.exports.optimizers`), and its random numbers are inputs
(`ffcore.exports.random`). So every algorithm, rule and objective is exported as it is, without a second
definition.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ffcore.errors import UserError
from ffcore.exports.optimizers import TracedOptimizer, TracedOptimizers
from ffcore.exports.random import Draw, DropoutFrom, Given, Noting, as_input
from ffcore.interfaces import Augmentation, Batch, BatchRNG, Block, LearningRule, Progress
from ffcore.interfaces.rule import Solution
from ffcore.local.optimizers import BlockOptimizers, refuse_others
from ffcore.network import Network
from ffcore.private import same_size

ROWS = 7
"""Samples of the example: a number that no other size is likely to have."""

State = dict[str, Tensor]


class LearningStep:
    """One forward-only step of a network as a function of tensors.

    Args:
        net: the network; it is copied, and stays as it is.
        optimizers: its block optimisers.
        progress: the time in the run at which the step is taken; it chooses the blocks that learn.
        x: (N, *shape) example samples.
        y: (N,) example targets.
        augmentations: applied to the samples before the step, in order.

    Attributes:
        state: the state before the step, by name.
        draws: the random numbers that a step needs.
        solutions: of the rules that solve at the end of an epoch, by block.
        optimizers: the formulas of the optimisers.
        learning: names of the parameters that learn.
        losses: names of the blocks that have a loss, in the order in which they learn.

    Raises:
        UserError: when a part of the network cannot be exported.
    """

    def __init__(
        self,
        net: Network,
        optimizers: BlockOptimizers | None,
        progress: Progress,
        x: Tensor,
        y: Tensor,
        augmentations: Sequence[Augmentation] = (),
    ) -> None:
        own = copied(net, optimizers)
        own.local.finite = False
        own.advance(progress)
        self.net = own
        self.augmentations = tuple(augmentations)
        self._module = _Learning(self)
        names = {id(p): name for name, p in own.named_parameters()}
        self.optimizers = TracedOptimizers(
            {
                name: TracedOptimizer(each, [names[id(p)] for p in each.parameters], name)
                for name, each in (
                    {} if own.local.optimizers is None else own.local.optimizers.blocks
                ).items()
            }
        )
        own.local.optimizers = cast(Any, self.optimizers)
        self.solutions = _solutions(own)
        self.learning = {name for name, p in own.named_parameters() if p.requires_grad}
        held = {name: value.detach().clone() for name, value in _tensors(own).items()}
        self._held = frozenset(held)
        self.state: State = {**held, **self.optimizers.state()}
        self.losses: list[str] = []
        self.draws: list[Draw] = []
        self._try(x, y)

    def _try(self, x: Tensor, y: Tensor) -> None:
        """Take a first step on real numbers, which finds random numbers, sums, constants and losses."""
        noting = Noting(x.shape[0])
        before = {name: value.clone() for name, value in self.state.items()}
        after, losses = self.run(x, y, torch.ones(()), before, noting)
        self.draws = list(noting.noted)
        self.losses = list(losses)
        for name, value in after.items():
            if name not in self.state:  # the sums of a rule begin at zero
                self.state[name] = torch.zeros_like(value)
        for name, value in list(self.state.items()):
            # an integer that does not change may be read as a number, which a traced tensor does not have
            if not value.is_floating_point() and torch.equal(value, after[name]) and name in self._held:
                del self.state[name]

    def run(
        self, x: Tensor, y: Tensor, factor: Tensor, state: Mapping[str, Tensor], rng: BatchRNG
    ) -> tuple[State, State]:
        """Take one step; return the new state and the losses by block.

        Args:
            x: (N, *shape) samples.
            y: (N,) targets.
            factor: () factor of the learning rates.
            state: by name, as in ``self.state``; not changed.
            rng: the random numbers.
        """
        own = {name: value.clone() for name, value in state.items()}
        for name in self.learning:
            own[name].requires_grad_()
        held = {name: value for name, value in own.items() if name in self._held}
        self.optimizers.bind(held, own, factor)
        for block in self.solutions:
            given = {key: own[k] for key, k in self._sums(block).items() if k in own}
            self._rule(block).set_extra_state(given)
        learned: dict[str, list[Tensor]] = {}  # a block of a circuit learns in several calls

        def record(block: Block, terms: Mapping[str, Tensor], samples: int) -> None:
            if terms:
                first, *others = terms.values()
                learned.setdefault(block.name, []).append(sum(others, first).detach())

        self.net.local.record = record
        with DropoutFrom(rng):
            for augmentation in self.augmentations:
                x = augmentation(x, rng)
            y = self.net.task.standardised(y)
            arguments = (Batch(x, y, torch.arange(x.shape[0]), 0, x.shape[0], rng=rng),)
            functional_call(self._module, {f"net.{name}": value for name, value in held.items()}, arguments)
        for block in self.solutions:
            state_of_rule = self._rule(block).get_extra_state()
            for key, name in self._sums(block).items():
                if key in state_of_rule:
                    own[name] = torch.as_tensor(state_of_rule[key])
        losses = {name: of[0] if len(of) == 1 else torch.stack(of).mean() for name, of in learned.items()}
        return {name: value.detach() for name, value in own.items()}, losses

    def _rule(self, block: str) -> LearningRule:
        return self.net.local.learners[block].rule

    def _sums(self, block: str) -> dict[str, str]:
        """Names in the state of the entries of a rule's extra state."""
        return {key: f"sums/{block}/{key}" for key in self.solutions[block].sums}

    @property
    def learns(self) -> bool:
        """Whether any block learns in the step."""
        return bool(self.net.local.learning) and any(
            self.net.local.learns(b) for b in self.net.local.learners.values()
        )

    # -- as a function of a flat list, for tracing --------------------------------------------------------

    def example(self, rows: int, x: Tensor, y: Tensor) -> list[Tensor]:
        """Return example inputs of `flat`."""
        draws = [as_input(draw, rows) for draw in self.draws]
        return [x[:rows], y[:rows], torch.ones(()), *self.state.values(), *draws]

    @property
    def batched(self) -> list[bool]:
        """Which inputs of `flat` have a row for each sample."""
        return [True, True, False, *[False] * len(self.state), *[True] * len(self.draws)]

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs of `flat`."""
        return ["x", "y", "rate", *self.state, *(draw.name for draw in self.draws)]

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs of `flat`."""
        return [*(f"new/{name}" for name in self.state), *(f"loss/{name}" for name in self.losses)]

    def flat(self, x: Tensor, y: Tensor, factor: Tensor, *others: Tensor) -> list[Tensor]:
        """Take one step with inputs and outputs in the order of their names."""
        same_size(y, x)
        state = dict(zip(self.state, others, strict=False))
        numbers = others[len(state) :]
        for each in numbers:
            same_size(each, x)
        after, losses = self.run(x, y, factor, state, Given(x.shape[0], self.draws, numbers))
        return [*(after[name] for name in self.state), *(losses[name] for name in self.losses)]


class _Learning(nn.Module):
    """`Algorithm.learn` as the forward of a module, so that `functional_call` can replace its tensors."""

    def __init__(self, step: LearningStep) -> None:
        super().__init__()
        self.net = step.net

    def forward(self, batch: Batch) -> None:
        self.net.algorithm.learn(batch, self.net.local)
        self.net.local.end_batch()


def copied(net: Network, optimizers: BlockOptimizers | None) -> Network:
    """Return a copy of a network in training mode, with copies of these optimisers that belong to it.

    Raises:
        UserError: when the optimisers are those of another network.
    """
    given, held = optimizers if optimizers is not None else net.local.optimizers, net.local.optimizers
    if given is not None:
        refuse_others(given, net.local)
    net.local.optimizers = given
    try:
        own = copy.deepcopy(net)
    finally:
        net.local.optimizers = held
    own.train()
    own.local.observers.clear()
    return own


def _tensors(net: Network) -> dict[str, Tensor]:
    """Return the parameters and the buffers of a state dict, by name."""
    known = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    stored = net.state_dict()
    return {name: value for name, value in known.items() if name in stored}


def _solutions(net: Network) -> dict[str, Solution]:
    """Return the solutions of rules that gather sums; refuse other rules with a state of their own."""
    found = {}
    for name, block in net.local.learners.items():
        solution = block.rule.solution(block)
        if solution is not None:
            found[name] = solution
        elif type(block.rule).get_extra_state is not nn.Module.get_extra_state:
            kind = type(block.rule).__name__
            raise UserError(f"export: block {name}: rule {kind} keeps a state that is not made of tensors")
    return found


def own_names(net: Network, block: str) -> list[str]:
    """Return the names of the parameters and buffers of one block."""
    home = net.local.learners[block]
    own = {id(value) for value in (*home.parameters(), *home.buffers())}
    return [name for name, value in (*net.named_parameters(), *net.named_buffers()) if id(value) in own]


def names_of(step: LearningStep, block: str) -> Sequence[str]:
    """Return the names of the state that belongs to one block."""
    held = own_names(step.net, block)
    inside = (f"sums/{block}/", *(f"optimizer/{name}/" for name in held))
    return [name for name in step.state if name in held or name.startswith(inside)]
