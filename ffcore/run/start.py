"""Begin with the weights of an earlier run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ffcore import files
from ffcore.engine.module import ForwardOnly
from ffcore.errors import UserError, closest
from ffcore.local import LocalBlock
from ffcore.recipe.schema import Recipe
from ffcore.recipe.start import StartConfig
from ffcore.run.predictor import Predictor


def load(module: ForwardOnly, recipe: Recipe) -> dict[str, Any] | None:
    """Give blocks and readouts the parameters and buffers that the recipe's ``start`` names.

    Only training needs this: a finished run has all weights in checkpoints of its own.

    Args:
        module: as `assemble` made it, in the run's precision; its blocks are frozen already.
        recipe: the recipe that it was made from.

    Returns:
        ``run, checkpoint, blocks, frozen`` for ``results.json``; None for a recipe without ``start``.

    Raises:
        UserError: when there is no such run or block, or shapes differ; nothing has been changed then.
    """
    start = recipe.start
    if start is None:
        return None
    learners = module.network.learners
    frozen = [name for name, block in learners.items() if block.frozen]
    if start.run is None:
        return {"run": None, "checkpoint": None, "blocks": [], "frozen": frozen}
    earlier = _open(start)
    theirs = earlier.module.network.learners
    blocks = start.blocks if start.blocks is not None else _matching(learners, theirs, start.run)
    for name in blocks:
        for known, where in ((learners, "in this recipe"), (theirs, f"in {start.run}")):
            if name not in known:
                raise UserError(f"start.blocks: there is no block {name!r} {where}{closest(name, known)}")
        _refuse_misfit("start.blocks:", name, learners, theirs, start.run)
    if start.blocks is None:  # whoever names the blocks may leave others frozen as they were drawn
        for name in frozen:
            _refuse_misfit("start.freeze:", name, learners, theirs, start.run)
    for name in blocks:
        _give(theirs[name], learners[name])
    checkpoint = start.checkpoint or earlier.recipe.trainer.select
    return {"run": start.run, "checkpoint": checkpoint, "blocks": list(blocks), "frozen": frozen}


def _open(start: StartConfig) -> Predictor:
    assert start.run is not None
    path = Path(start.run).expanduser()
    if not path.is_dir():
        near = [p.parent.name for p in path.parent.glob(f"*/{files.CONFIG}")]
        raise UserError(f"start.run: there is no folder {start.run!r}{closest(path.name, near)}")
    try:
        return Predictor(path, start.checkpoint)
    except UserError as error:
        raise UserError(f"start.run: {error}") from error


def _matching(mine: Mapping[str, LocalBlock], theirs: Mapping[str, LocalBlock], run: str) -> list[str]:
    """Names of what both have in the same shapes, and that has weights."""
    same = [name for name in mine if name in theirs and _made_by(mine[name])]
    same = [name for name in same if _shapes(mine[name]) == _shapes(theirs[name])]
    if not same:
        for name in mine:
            if name in theirs and _made_by(mine[name]):
                _refuse_misfit("start.run: no block fits, such as", name, mine, theirs, run)
        raise UserError(
            f"start.run: no block of {run} has the name and the shapes of one of this recipe's: "
            f"there {', '.join(theirs)}, here {', '.join(mine)}"
        )
    return same


def _refuse_misfit(
    path: str, name: str, mine: Mapping[str, LocalBlock], theirs: Mapping[str, LocalBlock], run: str
) -> None:
    here, there = _shapes(mine[name]), _shapes(theirs[name]) if name in theirs else {}
    for key in [*here, *there]:
        if here.get(key) != there.get(key):
            ours, other = (s.get(key, "not there") for s in (here, there))
            raise UserError(f"{path} {name}: {key} is {ours} here, {other} in {run}")


def _give(source: LocalBlock, target: LocalBlock) -> None:
    """What makes the features, and of what the block learns by (running statistics) all that fits."""
    wanted = target.state_dict()
    given = {k: v for k, v in source.state_dict().items() if k in wanted and v.shape == wanted[k].shape}
    target.load_state_dict(given, strict=False)


def _made_by(block: LocalBlock) -> dict[str, Tensor]:
    """The state of what makes a block's features; goodness, loss and rule may differ between runs."""
    return {k: v for k, v in block.state_dict().items() if k.startswith(("body.", "handoff."))}


def _shapes(block: LocalBlock) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in _made_by(block).items()}
