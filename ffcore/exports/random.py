"""The random numbers of a learning step as inputs of its graph.

A first step on real numbers notes which numbers the algorithm asks for; while a step is traced, the same
requests return inputs of the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ffcore.errors import UserError
from ffcore.interfaces import BatchRNG
from ffcore.private import DispatchMode

Kind = Literal["uniform", "normal", "integers"]


@dataclass(frozen=True, slots=True)
class Draw:
    """One request for random numbers, (N, *shape).

    Attributes:
        stream: the stream of the batch RNG.
        call: number of the request in its stream, from 0.
        kind: "uniform" in [0, 1), "normal", or "integers" in 0 … high − 1.
        shape: shape of the numbers of one sample.
        high: upper bound of integers; None for the other kinds.
        phase: number of the phase, if an earlier one asks for other numbers under the same name.
    """

    stream: str
    call: int
    kind: Kind
    shape: tuple[int, ...]
    high: int | None = None
    phase: int = 0

    @property
    def name(self) -> str:
        """Name of the graph's input."""
        return f"random/{self.stream}/{self.call}" + (f"/{self.phase}" if self.phase else "")


class _Requests(BatchRNG):
    """A batch RNG whose requests all pass through `_request`."""

    __slots__ = ("_count",)

    def __init__(self, rows: Any, seed: int = 0, step: int = 0) -> None:
        super().__init__(seed, step, 0, rows, rows)
        self._count: dict[str, int] = {}

    def uniform(self, stream: str, *shape: int) -> Tensor:
        """See `BatchRNG.uniform`."""
        return self._request(Draw(stream, self._call(stream), "uniform", shape))

    def normal(self, stream: str, *shape: int) -> Tensor:
        """See `BatchRNG.normal`."""
        return self._request(Draw(stream, self._call(stream), "normal", shape))

    def integers(self, stream: str, high: int, *shape: int) -> Tensor:
        """See `BatchRNG.integers`."""
        return self._request(Draw(stream, self._call(stream), "integers", shape, high))

    def _call(self, stream: str) -> int:
        self._count[stream] = self._count.get(stream, -1) + 1
        return self._count[stream]

    def _request(self, draw: Draw) -> Tensor:
        raise NotImplementedError


class Noting(_Requests):
    """Returns real numbers, and notes the requests and the numbers.

    Args:
        rows: N.
        seed: seed of the numbers.
        step: number of the step.
    """

    __slots__ = ("noted",)

    def __init__(self, rows: int, seed: int = 0, step: int = 0) -> None:
        super().__init__(rows, seed, step)
        self.noted: dict[Draw, Tensor] = {}

    def _request(self, draw: Draw) -> Tensor:
        ordinary = BatchRNG
        if draw.kind == "integers":
            made = ordinary.integers(self, draw.stream, draw.high or 0, *draw.shape)
        elif draw.kind == "uniform":
            made = ordinary.uniform(self, draw.stream, *draw.shape)
        else:
            made = ordinary.normal(self, draw.stream, *draw.shape)
        self.noted[draw] = made.clone()  # an algorithm may change the numbers in place
        return made


class Given(_Requests):
    """Returns given numbers, in the order of the requests that were noted.

    Args:
        rows: N.
        draws: the requests.
        numbers: the numbers of each.
    """

    __slots__ = ("_numbers",)

    def __init__(self, rows: Any, draws: Sequence[Draw], numbers: Sequence[Tensor]) -> None:
        super().__init__(rows)
        # not by the whole request: while a step is traced, a shape may hold symbols
        self._numbers = {(draw.stream, draw.call): t for draw, t in zip(draws, numbers, strict=True)}

    def _request(self, draw: Draw) -> Tensor:
        return self._numbers[draw.stream, draw.call].clone()


class DropoutFrom(DispatchMode):  # type: ignore[no-untyped-call]
    """Within the context, dropout takes its random numbers from a batch RNG, as the stream "dropout".

    Args:
        rng: the random numbers.
    """

    def __init__(self, rng: BatchRNG) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rng = rng

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation; that of dropout by its formula."""
        if func is torch.ops.aten.bernoulli_.float:
            x, keep = args[0], args[1] if len(args) > 1 else 0.5
            return x.copy_(self._below(x, keep))
        if func is torch.ops.aten.native_dropout.default and args[2] is not False:
            x, p = args[:2]
            kept = self._below(x, 1 - p)
            return x * kept.to(x.dtype) * (0.0 if p == 1 else 1 / (1 - p)), kept
        return func(*args, **(kwargs or {}))

    def _below(self, x: Tensor, keep: float) -> Tensor:
        n = self.rng.rows
        if x.shape[0] % n:
            raise UserError(
                f"export: dropout of {x.shape[0]} rows in a batch of {n}: its random numbers cannot be "
                "inputs, since they do not belong to samples"
            )
        views = int(x.shape[0] // n)
        numbers = self.rng.uniform("dropout", views, *map(int, x.shape[1:]))
        return numbers.transpose(0, 1).reshape(x.shape) < keep


def as_input(draw: Draw, rows: int) -> Tensor:
    """Return an example of the numbers of a request."""
    if draw.kind == "integers":
        return torch.zeros(rows, *draw.shape, dtype=torch.int64)
    return torch.full((rows, *draw.shape), 0.5)
