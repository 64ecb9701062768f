"""Counts one step of a network: multiplications by block, and the activities that are held while it learns.

A step runs as always, except that the passes are `CountingPass`, and torch's counter of operations is on.

N samples; R rows = all views of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, Self

import torch
from torch import Tensor

from ffcore.interfaces import LabelledInput
from ffcore.interfaces.rule import Call
from ffcore.local.block import LocalBlock
from ffcore.local.network import LocalNetwork
from ffcore.local.operations import OperationCounter
from ffcore.local.passes import Pass
from ffcore.local.plan import Place

OUTSIDE = ""
"""The name under which products outside all blocks are counted."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is held in memory.

    Attributes:
        floats: number of real numbers.
        others: bytes of integers and booleans, such as tokens and masks.
    """

    floats: float = 0.0
    others: float = 0.0

    def __add__(self, other: Held) -> Held:
        return Held(self.floats + other.floats, self.others + other.others)

    def over(self, number: float) -> Held:
        """Return the part of one of several equal shares."""
        return Held(self.floats / number, self.others / number)


class Counter:
    """Counts while it is entered.

    Args:
        network: the network, whose passes are counted from now on. Give a copy.

    Attributes:
        products: multiplications in matrix products and convolutions by block; those outside all blocks have
            the name `OUTSIDE`. Products of optimisers are not counted.
        windows: what is held while the blocks of a window learn, by their names: inputs, activities and what
            autograd keeps for backward, each tensor once, without parameters.
        whole: the same for all blocks at once, with one row a sample: what backpropagation holds.
    """

    def __init__(self, network: LocalNetwork) -> None:
        self.products: dict[str, int] = {}
        self.windows: dict[tuple[str, ...], Held] = {}
        self._network = network
        self._operations = OperationCounter()
        self._stack = ExitStack()
        self._current, self._last = OUTSIDE, 0
        every = [network, *network.learners.values()]  # blocks of `localize` are outside the module tree
        own = [t for part in every for t in (*part.parameters(), *part.buffers())]
        self._fixed = {_address(t) for t in own}
        self._alive: list[Tensor] = []  # so that no address is used twice
        self._held: dict[int, tuple[Held, int]] = {}  # by address, with the number of rows a sample
        self._window: set[int] = set()
        self._views = 1
        make: Callable[..., Pass] = network._pass
        # an attribute of the object hides the method of the class
        object.__setattr__(network, "_pass", lambda *args, **how: CountingPass(self, make(*args, **how)))
        for optimizer in network.optimizers or ():
            object.__setattr__(optimizer, "update", self._uncounted(optimizer.update))

    def __enter__(self) -> Self:
        self.products.clear()
        self.windows.clear()
        self._held.clear()
        self._current, self._last = OUTSIDE, 0
        self._stack.enter_context(self._operations)
        return self

    def __exit__(self, *error: Any) -> None:
        self.mark(OUTSIDE)
        self._stack.close()
        self._alive.clear()

    @property
    def whole(self) -> Held:
        """See the class."""
        return sum((held.over(views) for held, views in self._held.values()), Held())

    def mark(self, name: str) -> str:
        """Count the products since the last call for the block of that time; return its name.

        Args:
            name: the block that runs from now on.
        """
        total = self._operations.multiplications
        if total > self._last:
            self.products[self._current] = self.products.get(self._current, 0) + total - self._last
        before, self._current, self._last = self._current, name, total
        return before

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Within the context, products are those of a block."""
        before = self.mark(name)
        try:
            yield
        finally:
            self.mark(before)

    def _uncounted(self, function: Callable[..., None]) -> Callable[..., None]:
        @wraps(function)
        def inner(*args: Any) -> None:
            self.mark(self._current)
            function(*args)
            self._last = self._operations.multiplications

        return inner

    @contextmanager
    def keeping(self, views: int) -> Iterator[None]:
        """Within the context, what autograd keeps is noted as held by the current window.

        Args:
            views: rows a sample.
        """
        self._views = views
        with torch.autograd.graph.saved_tensors_hooks(self.keep, lambda t: t):
            yield

    def keep(self, t: Tensor) -> Tensor:
        """Note a tensor as held by the current window, and return it."""
        if isinstance(t, LabelledInput):  # held in parts: the samples are not repeated for every view
            for part, views in ((t.base, 1), (t.code, self._views), (t.scale, self._views)):
                if part is not None:
                    self._note(part, views)
        elif t.layout == torch.strided and not t.is_meta:
            self._note(t, self._views)
        return t

    def _note(self, t: Tensor, views: int) -> None:
        address = _address(t)
        if not address or address in self._fixed:
            return
        self._window.add(address)
        if address not in self._held:
            self._alive.append(t)
            size = t.untyped_storage().nbytes()
            real = t.is_floating_point() or t.is_complex()
            self._held[address] = Held(size / t.element_size()) if real else Held(0.0, size), views

    def close_window(self, names: tuple[str, ...]) -> None:
        """Add up what the blocks of a window have held. Of several calls, the largest one counts."""
        held = sum((self._held[address][0] for address in self._window), Held())
        known = self.windows.get(names, Held())
        self.windows[names] = max(known, held, key=lambda each: 4 * each.floats + each.others)
        self._window.clear()


class CountingPass(Pass):
    """A pass that a counter sees.

    Args:
        counter: the counter.
        like: the pass that it takes the place of.
    """

    def __init__(self, counter: Counter, like: Pass) -> None:
        upstream = tuple(like.views.upstream)
        super().__init__(
            *(like.views, like.observers, like.plan, like.wants_goodness, like.optimizers, like.record),
            *(like.finite, upstream),
        )
        self._counter = counter

    def block(self, block: LocalBlock, *inputs: Tensor, last: bool = False) -> Tensor:
        """See `Pass.block`."""
        with self._counter.of(block.name):
            if self.plan.get(block) is None:
                return super().block(block, *inputs, last=last)
            with self._counter.keeping(max(1, sum(self.views.sizes) // max(1, self.views.samples))):
                return super().block(block, *inputs, last=last)

    def _learn(self, place: Place) -> None:
        window = list(self._open)
        for _, inputs, out in window:
            for t in (*inputs, *out.inputs, out.activity):
                self._counter.keep(t)
        if len(window) > 1:
            self._attribute(window)
        super()._learn(place)
        self._counter.close_window(tuple(dict.fromkeys(block.name for block, _, _ in window)))

    def _attribute(self, window: list[Call]) -> None:
        """Let the products of a backward pass through several blocks count for the block of each node."""
        seen: set[Any] = set()
        for block, _, out in window:
            mark = _marking(self._counter, block.name)
            ends = [out.activity, out.goodness]
            ends += [] if block is window[-1][0] else [out.handoff]
            nodes = [t.grad_fn for t in ends if t is not None and t.grad_fn is not None]
            while nodes:
                node = nodes.pop()
                if node in seen:
                    continue
                seen.add(node)
                node.register_prehook(mark)
                nodes += [each for each, _ in node.next_functions if each is not None]


def _marking(counter: Counter, name: str) -> Callable[[Any], None]:
    def mark(gradients: Any) -> None:
        counter.mark(name)

    return mark


def _address(t: Tensor) -> int:
    return t.untyped_storage().data_ptr() if t.layout == torch.strided and not t.is_meta else 0
