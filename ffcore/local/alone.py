"""Blocks of a circuit that do not read each other: each rank runs its own, and nothing is sent."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ffcore.interfaces import Block, Circuit, Views
from ffcore.local.block import LocalBlock
from ffcore.local.network import LocalNetwork
from ffcore.local.passes import Pass
from ffcore.local.route import Route


class Alone(Circuit):
    """One block of an independent circuit as a stage. It returns its input, for the next block.

    Args:
        circuit: the circuit.
        block: its block.
    """

    independent = True
    calls, reads = 1, range(1)

    def __init__(self, circuit: Circuit, block: LocalBlock) -> None:
        super().__init__()
        self.block = block
        self._circuit = (circuit,)  # in a tuple, since it is not a sub-module

    def setup(self, context: object) -> None:
        """Nothing is left to make."""

    def forward(self, x: Tensor, views: Views) -> Tensor:
        """Run the block as in a learning pass."""
        self._circuit[0].alone(self.block, x, views)
        return x


def divisible(network: LocalNetwork) -> Circuit | None:
    """Return the circuit whose blocks a pipeline divides, which is the only stage; None without one."""
    first = network.stages[0]
    if len(network.stages) == 1 and isinstance(first, Circuit) and first.divisible:
        return first
    return None


def parts(network: LocalNetwork) -> Sequence[nn.Module]:
    """Return what a pipeline divides: the stages, or the blocks of the circuit that is the only stage."""
    circuit = divisible(network)
    if circuit is None:
        return network.stages
    return [Alone(circuit, block) if circuit.independent else block for block in network.blocks]


class Apart(Route):
    """Runs the blocks of one rank, all of which read the input of the circuit.

    Args:
        stages: the blocks of this rank, as stages.
    """

    copied = False

    def __init__(self, stages: Sequence[nn.Module]) -> None:
        self.stages = stages

    def learn(self, network: LocalNetwork, here: Pass, stages: range) -> None:
        """Let this rank's blocks learn."""
        here.run(self.stages, here.views.x)

    def read(self, network: LocalNetwork, here: Pass, handed_on: dict[Block, Tensor]) -> bool:
        """Not called: a network with readouts is refused, since they read all blocks."""
        raise AssertionError("independent blocks have no readouts")
