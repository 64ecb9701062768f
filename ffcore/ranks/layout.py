"""The process groups of a grid of ranks: replicas of the network times stages.

With S stages, rank r has stage r mod S of replica r // S. Each replica learns from a share of every batch.

    stage          0   1   2
    replica 0      0 → 1 → 2      a line: activities go from each rank to the next
    replica 1      3 → 4 → 5      a column: the ranks of a stage sum their gradients
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

from ffcore.interfaces import ALONE, Ranks
from ffcore.ranks.group import Group


@dataclass(frozen=True)
class Layout:
    """This rank's groups.

    Attributes:
        every: all ranks.
        line: the ranks of this replica, one for each stage.
        column: the ranks of this stage, one for each replica.
        before: the previous rank of the line and this one; None for the first stage.
        after: this rank and the next one of the line; None for the last stage.
    """

    every: Group
    line: Group
    column: Ranks
    before: Group | None
    after: Group | None


_MADE: dict[tuple[Any, int], Layout] = {}


def layout(stages: int, device: torch.device) -> Layout:
    """Return this rank's groups; all ranks call this together. Groups are made once for a program.

    Args:
        stages: number of stages S, which divides the number of ranks.
        device: the device of this rank.
    """
    key = (dist.group.WORLD, stages)
    if key not in _MADE:
        every = Group()
        replicas = every.world // stages
        mesh = init_device_mesh(device.type, (replicas, stages), mesh_dim_names=("replica", "stage"))
        line = Group(mesh.get_group("stage"))
        # Groups of two for the messages: in a larger one NCCL would let them wait for other operations.
        pairs: list[Group | None] = [None] * (stages + 1)
        for first in range(0, every.world, stages):
            for stage in range(1, stages):
                made = dist.new_group([first + stage - 1, first + stage])
                if first == every.rank - line.rank and line.rank in (stage - 1, stage):
                    pairs[stage] = Group(made)
        column = Group(mesh.get_group("replica")) if replicas > 1 else ALONE
        _MADE[key] = Layout(every, line, column, pairs[line.rank], pairs[line.rank + 1])
    return _MADE[key]


def forget(layout: Layout) -> None:
    """Make new groups for the next use: messages of one that has failed are left on these."""
    for key in [key for key, made in _MADE.items() if made is layout]:
        del _MADE[key]


def line_of_its_own(layout: Layout, timeout: float) -> Group:
    """Return a new group of the ranks of this rank's line, which can be closed; all ranks call this together.

    Args:
        layout: the groups of this rank.
        timeout: seconds to wait for another rank.
    """
    stages, made = layout.line.world, []
    for first in range(0, layout.every.world, stages):
        of_line = list(range(first, first + stages))
        made.append(dist.new_group(of_line, timeout=timedelta(seconds=timeout)))
    return Group(made[layout.every.rank // stages])
