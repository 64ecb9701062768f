"""The evidence of a network block by block, so that samples can leave a prediction early.

    for each exit:
        run the stages up to the exit, on the rows of the samples that are left
        e ← evidence of the blocks in these stages
        remove the rows of the samples that leave

N samples; V views of a pass, with N rows each: K hypotheses, or one neutral view; K classes; an exit is a
stage with blocks that give evidence. Rows are carried from one exit to the next as (V, N, *shape).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, cast

import torch
from torch import Tensor

from ffcore.blame import title
from ffcore.errors import UserError
from ffcore.interfaces import Algorithm, Block, Network, Out, Views
from ffcore.interfaces.structure import rows
from ffcore.local.network import LocalNetwork
from ffcore.local.operations import OperationCounter
from ffcore.local.returned import evidence_of

__all__ = ["Exit", "Stepwise", "exits_of", "multiplications"]


@dataclass(frozen=True, slots=True)
class Exit:
    """A stage after which a prediction may stop.

    Attributes:
        name: name of the last block that has run.
        blocks: number of blocks that have run by then.
        sources: number of blocks that have given evidence by then.
        stages: the stages since the exit before.
    """

    name: str
    blocks: int
    sources: int
    stages: range


def exits_of(algorithm: Algorithm, local: LocalNetwork) -> tuple[Exit, ...]:
    """Return the exits of a network; the last one has the evidence of all blocks.

    Args:
        algorithm: the algorithm of the network.
        local: the network.

    Raises:
        UserError: there is no evidence block by block.

    Example:
        ``[exit.name for exit in exits_of(net.algorithm, net.local)]`` is ``["dense1", "dense2", "dense3"]``.
    """
    if local.circuits:
        raise UserError("exits: a circuit calls its blocks in turns, so no evidence is known before its end")
    if local.boxes:
        raise UserError("exits: multiplications inside a black box are not known; exits need blocks alone")
    if type(algorithm).scores is not Algorithm.scores:
        raise UserError(
            f"exits: {title(algorithm)} has its own way to scores, not from evidence of each block"
        )
    giving = {source.name for source in local.sources if source.role == "block"}
    if not {source.name for source in algorithm.sources(local)} >= giving:
        giving = set()  # as goodness that does not depend on the class
    made: list[Exit] = []
    ran = known = start = 0
    for index, stage in enumerate(local.stages):
        here = [block for block in local.blocks if any(part is block for part in stage.modules())]
        ran += len(here)
        if any(block.name in giving for block in here):
            known += sum(block.name in giving for block in here)
            made.append(Exit(here[-1].name, ran, known, range(start, index + 1)))
            start = index + 1
    if len(made) < 2:
        only = f"only {made[0].name} gives" if len(giving) == 1 and made else "no blocks in a row give"
        raise UserError(f"exits: need evidence of several blocks, one after another; {only} evidence")
    if ran != len(local.blocks) or known != len(giving):
        raise UserError("exits: a block is called by several stages, so its evidence is not known before")
    return tuple(made)


class Stepwise:
    """Computes the evidence of a batch from one exit to the next. Every sample may leave at each of them.

    After all exits, without leaving samples, the evidence is that of `Algorithm.evidence`. The network should
    be in evaluation mode. It does not change.

    Args:
        algorithm: the algorithm of the network.
        local: the network.
        exits: made by `exits_of`.
        x: (N, *shape) samples.

    Example:
        >>> import ffcore, torch
        >>> net = ffcore.from_recipe("digits/ff", shape=(1, 8, 8), classes=10).eval()
        >>> exits = exits_of(net.algorithm, net.local)
        >>> walk = Stepwise(net.algorithm, net.local, exits, torch.rand(4, 1, 8, 8))
        >>> walk.step().shape
        torch.Size([1, 4, 10])
        >>> walk.keep(torch.tensor([True, False, False, True]))
        >>> walk.step().shape
        torch.Size([1, 2, 10])
    """

    def __init__(self, algorithm: Algorithm, local: LocalNetwork, exits: Sequence[Exit], x: Tensor) -> None:
        self._algorithm, self._local, self._exits, self._x = algorithm, local, exits, x
        self._done = 0
        self._carried: list[Tensor] = []  # what the next stage reads, then the goodness of blocks before it
        self._made: list[list[Tensor]] = []
        self._taken = 0
        local.settle()

    @torch.no_grad()
    def step(self) -> Tensor:
        """Run the stages up to the next exit; return the evidence of the blocks in them, (blocks, N, K).

        Raises:
            UserError: the algorithm does not compute evidence block by block.
        """
        self._made, self._taken = [], 0
        evidence = self._algorithm.evidence(self._x, cast(Network, _Part(self)))
        n = rows(self._x)
        if self._taken != n:
            raise self.refused("does not look at every sample once")
        # every call has carried its share of the samples
        joined = zip(*self._made, strict=True)
        self._carried = [p[0] if len(p) == 1 else torch.cat(p, 1) for p in joined]
        before = self._exits[self._done - 1].sources if self._done else 0
        new = self._exits[self._done].sources - before
        if len(evidence) != new or any(each.shape[:1] != (n,) or each.dim() != 2 for each in evidence):
            raise self.refused("is not one of each block, (N, K)")
        self._done += 1
        made = torch.stack(list(evidence))
        return made.to(self._x.dtype) if self._x.is_floating_point() else made

    def keep(self, chosen: Tensor) -> None:
        """Remove the samples that leave.

        Args:
            chosen: (N,) whether a sample stays.
        """
        index = chosen.nonzero().flatten()
        self._x = self._x[index]
        self._carried = [each.index_select(1, index) for each in self._carried]

    def refused(self, what: str) -> UserError:
        """Return the error of an algorithm whose evidence is not computed block by block.

        Args:
            what: what the evidence is not.
        """
        return UserError(
            f"exits: the evidence of {title(self._algorithm)} {what}, so no sample can leave early"
        )

    def _run(self, views: Views) -> list[Tensor]:
        count, n = len(views.sizes), views.samples
        if any(size != n for size in views.sizes):
            raise self.refused("depends on rows that are no samples")
        exit_ = self._exits[self._done]
        x, upstream = views.x, list[Tensor]()
        if self._done:
            share = slice(self._taken, self._taken + n)
            if self._carried[0].shape[0] != count or self._carried[0][:, share].shape[1] != n:
                raise self.refused("is not computed in the same passes for every block")
            x, *upstream = (each[:, share].flatten(0, 1) for each in self._carried)
        seen: dict[Block, Tensor] = {}

        def collect(block: Block, inputs: tuple[Tensor, ...], out: Out, views: Views) -> None:
            if out.goodness is not None and block.goodness is not None:
                seen[block] = evidence_of(block, out.goodness)

        stages = self._local.stages[exit_.stages.start : exit_.stages.stop]
        made = self._local._pass(views, (collect,), None, upstream).run(stages, x)
        if not isinstance(made, Tensor) or made.shape[0] != count * n:
            raise UserError("exits: what one stage gives the next is not a tensor with the rows of the pass")
        self._made.append([t.reshape(count, n, *t.shape[1:]) for t in (made, *views.upstream)])
        self._taken += n
        return [seen[block] for block in self._local.blocks if block in seen]


class _Part:
    """The network as an algorithm sees it while it computes the evidence of some stages.

    Args:
        walk: whose stages run.
    """

    def __init__(self, walk: Stepwise) -> None:
        self._walk = walk
        local = walk._local
        self.classes, self.stages, self.circuits = local.classes, local.stages, local.circuits
        self.blocks, self.sources, self.readouts = local.blocks, local.sources, local.readouts

    def goodness(self, views: Views) -> list[Tensor]:
        """Run the stages up to the next exit; return the evidence of the blocks in them."""
        return self._walk._run(views)

    def _whole(self, *args: Any, **how: Any) -> NoReturn:
        raise self._walk.refused("needs passes through the whole network")

    learn = outputs = trace = read = _whole


@torch.no_grad()
def multiplications(
    algorithm: Algorithm, local: LocalNetwork, exits: Sequence[Exit], x: Tensor
) -> tuple[int, ...]:
    """Return the multiplications of one sample up to each exit, ascending.

        M_e = products of `Stepwise` up to exit e, of n samples / n

    They are counted as in `ffcore.cost_sheet`: matrix products and convolutions, without the neutral pass of
    readouts.

    Args:
        algorithm: the algorithm of the network.
        local: the network, in evaluation mode.
        exits: made by `exits_of`.
        x: (n, *shape) a few samples.

    Raises:
        UserError: the algorithm does not compute evidence block by block.
    """
    walk, counted = Stepwise(algorithm, local, exits, x), []
    with OperationCounter() as operations:
        for _ in exits:
            walk.step()
            counted.append(operations.multiplications // rows(x))
    return tuple(counted)
