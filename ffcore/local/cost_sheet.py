"""The cost sheet of a network: multiplications, memory and flash, as for a small device.

    learn, predict = multiplications of one step of n samples, over n
    A_w(N) = a_w + s_w N            numbers held while window w learns from N samples; from steps of n and 2n
    flash  = u W
    RAM, block by block             = u W       + 4 S       + 4 max_w G_w + u max_w A_w(N)
    RAM, parameters streamed        = u max_w W_w + 4 max_w S_w + 4 max_w G_w + u max_w A_w(N)
    RAM, backpropagation            = u W       + 4 S       + 4 Σ_w G_w   + u A(N)

    u    bytes of a parameter or an activity: 4 in float32, 1 in int8. Gradients and optimisers stay float32
    W    parameters and floating-point buffers of the network; W_w: those of the blocks of window w
    S    numbers in the states of the optimisers and of the learning rules
    G    trainable parameters, each with a gradient
    A(N) numbers held by all blocks at once, with one row a sample

N samples in a batch; n = 2 samples in a counted step; w windows: the blocks that learn together, usually one.

A window holds the input rows of its blocks, their output rows and what autograd keeps between them, for all
views of the batch: of a single layer, the two neighbouring activities. The parts of RAM are listed apart,
each with its own maximum, so that their sum is a bound. Parts outside all blocks are never streamed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Method = Literal["by block", "streamed", "backprop"]
Numbers = Literal["float32", "int8"]

METHODS: tuple[Method, ...] = ("by block", "streamed", "backprop")
BYTES: Mapping[Numbers, int] = {"float32": 4, "int8": 1}


@dataclass(frozen=True, slots=True)
class BlockSheet:
    """The costs of one block, for one sample.

    Attributes:
        name: the name of the block or readout; "outside blocks" for all other parts of the network.
        parameters: number of parameters, with those of its head.
        predict: multiplications to predict; None if they could not be counted.
        learn: multiplications to learn: forward passes of all views, and products of gradients; likewise.
        held: bytes in float32 of the activities that are held while it learns, of all views. Blocks that
            share a window hold theirs together, and have the same number.
    """

    name: str
    parameters: int
    predict: int | None
    learn: int | None
    held: int | None


@dataclass(frozen=True, slots=True)
class Memory:
    """RAM in bytes to learn from a batch.

    Attributes:
        method: "by block"; "streamed", with parameters in flash and those of one block in RAM; or
            "backprop" through the same network, with one row a sample.
        numbers: type of parameters and activities, "float32" or "int8". The rest is float32.
        batch_size: number of samples.
        parameters: bytes of the parameters.
        optimizer: bytes of the states of optimisers and learning rules.
        gradient: bytes of the gradient of the largest block, or of all.
        activities: bytes of the largest activities that are held at a time, or of all.
    """

    method: Method
    numbers: Numbers
    batch_size: int
    parameters: int
    optimizer: int
    gradient: int
    activities: int

    @property
    def total(self) -> int:
        """Bytes in all."""
        return self.parameters + self.optimizer + self.gradient + self.activities


@dataclass(frozen=True, slots=True)
class CostSheet:
    """What a network costs on a device; see `ffcore.cost_sheet`.

    Attributes:
        batch_size: number of samples of a batch.
        blocks: costs of every block and readout.
        parameters: number of parameters.
        predict: multiplications to predict one sample, in matrix products and convolutions. None if they
            could not be counted, or the network predicts nothing.
        learn: multiplications to learn one sample; None if they could not be counted.
        flash: bytes of parameters and floating-point buffers, by type of the numbers.
        memory: RAM to learn, by method, type of the numbers and batch size: 1 and ``batch_size``. Empty if it
            could not be counted.
        notes: what the counts leave out, or why there are none.
    """

    batch_size: int
    blocks: tuple[BlockSheet, ...]
    parameters: int
    predict: int | None
    learn: int | None
    flash: Mapping[str, int]
    memory: tuple[Memory, ...]
    notes: tuple[str, ...] = ()

    def ram(self, method: Method = "by block", numbers: Numbers = "float32", batch_size: int = 1) -> int:
        """Return the bytes of RAM to learn.

        Args:
            method: "by block", "streamed" or "backprop"; see `Memory`.
            numbers: "float32" or "int8".
            batch_size: 1, or the batch size of the sheet.

        Raises:
            KeyError: the sheet has no such entry.
        """
        for entry in self.memory:
            if (entry.method, entry.numbers, entry.batch_size) == (method, numbers, batch_size):
                return entry.total
        raise KeyError(f"no RAM for {method}, {numbers}, batch size {batch_size} on this sheet")

    def as_dict(self) -> dict[str, Any]:
        """Return the sheet as values of JSON; entries of ``memory`` have their ``total`` too."""
        made = asdict(self)
        made["memory"] = [{**asdict(entry), "total": entry.total} for entry in self.memory]
        return {key: list(value) if isinstance(value, tuple) else value for key, value in made.items()}


@dataclass(frozen=True, slots=True)
class Line:
    """Numbers held as a function of the batch size: ``fixed + slope · N``.

    Attributes:
        fixed: real numbers for any batch.
        slope: real numbers a sample.
        fixed_bytes: bytes of integers and booleans for any batch.
        slope_bytes: their bytes a sample.
    """

    fixed: float
    slope: float
    fixed_bytes: float = 0.0
    slope_bytes: float = 0.0

    def bytes(self, samples: int, size: int) -> int:
        """Return the bytes for a batch, with ``size`` bytes a real number."""
        others = self.fixed_bytes + samples * self.slope_bytes
        return round(size * (self.fixed + samples * self.slope) + others)


@dataclass(frozen=True, slots=True)
class Part:
    """What a window of blocks needs.

    Attributes:
        weights: W_w.
        state: bytes of the states of optimisers and rules, 4 S_w.
        gradient: G_w.
        held: A_w.
    """

    weights: int
    state: int
    gradient: int
    held: Line


def memory_of(
    parts: list[Part], outside: int, whole: Line, batch_size: int, *, all_gradients: bool = False
) -> tuple[Memory, ...]:
    """Return the RAM of every method, type and batch size; see the formulas of this module.

    Args:
        parts: the windows.
        outside: weights outside of all blocks.
        whole: A.
        batch_size: the batch size, beside 1.
        all_gradients: whether gradients are summed over several batches, so that all of them are held.
    """
    weights = outside + sum(part.weights for part in parts)
    state = sum(part.state for part in parts)
    largest = max((part.gradient for part in parts), default=0)
    every = sum(part.gradient for part in parts)
    made = []
    for method in METHODS:
        back, streamed = method == "backprop", method == "streamed"
        for numbers, size in BYTES.items():
            for samples in dict.fromkeys((1, batch_size)):
                pairs = [whole] if back else [part.held for part in parts]
                some = outside + max((part.weights for part in parts), default=0)
                made.append(
                    Memory(
                        method,
                        numbers,
                        samples,
                        parameters=size * (some if streamed else weights),
                        optimizer=max((part.state for part in parts), default=0) if streamed else state,
                        gradient=4 * (every if back or all_gradients else largest),
                        activities=max((line.bytes(samples, size) for line in pairs), default=0),
                    )
                )
    return tuple(made)
