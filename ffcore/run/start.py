"""The recipe's ``start``: loads weights of an earlier run into a new network."""

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
    """Load the parameters and buffers of blocks and readouts that the recipe's ``start`` names.

    Only training needs this: the checkpoints of a finished run have all weights.

    Args:
        module: the module from `assemble`, in the run's precision; its blocks are already frozen.
        recipe: the recipe of the module.

    Returns:
        A dictionary ``run, checkpoint, blocks, frozen`` for ``results.json``; None for a recipe without
        ``start``.

    Raises:
        UserError: the run or a block does not exist, or shapes differ; the module has not been changed.
    """
    start = recipe.start
    if start is None:
        return None
    learners = module.network.learners
    frozen = [name for name, block in learners.items() if block.frozen]
    if start.run is None:
        return {"run": None, "checkpoint": None, "blocks": [], "frozen": frozen}
    earlier = _open(start)
    sources = earlier.module.network.learners
    blocks = start.blocks if start.blocks is not None else _matching(learners, sources, start.run)
    for name in blocks:
        for known, where in ((learners, "in this recipe"), (sources, f"in {start.run}")):
            if name not in known:
                raise UserError(f"start.blocks: there is no block {name!r} {where}{closest(name, known)}")
        _refuse_misfit("start.blocks:", name, learners, sources, start.run)
    # A frozen block should have trained weights. With a list of blocks, random frozen ones are intended.
    if start.blocks is None:
        for name in frozen:
            _refuse_misfit("start.freeze:", name, learners, sources, start.run)
    for name in blocks:
        _copy_state(sources[name], learners[name])
    checkpoint = start.checkpoint or earlier.recipe.trainer.select
    return {"run": start.run, "checkpoint": checkpoint, "blocks": list(blocks), "frozen": frozen}


def _open(start: StartConfig) -> Predictor:
    assert start.run is not None
    path = Path(start.run)
    if not path.is_dir():
        near = [p.parent.name for p in path.parent.glob(f"*/{files.CONFIG}")]
        raise UserError(f"start.run: there is no directory {start.run!r}{closest(path.name, near)}")
    try:
        return Predictor(path, start.checkpoint)
    except UserError as error:
        raise UserError(f"start.run: {error}") from error


def _matching(targets: Mapping[str, LocalBlock], sources: Mapping[str, LocalBlock], run: str) -> list[str]:
    """Returns the names of the blocks that have weights of the same shapes in both networks."""
    same = [name for name in targets if name in sources and _feature_state(targets[name])]
    same = [name for name in same if _shapes(targets[name]) == _shapes(sources[name])]
    if not same:
        for name in targets:
            if name in sources and _feature_state(targets[name]):
                _refuse_misfit("start.run: no block fits, such as", name, targets, sources, run)
        raise UserError(
            f"start.run: no block of {run} has the name and the shapes of a block of this recipe: "
            f"the run has {', '.join(sources)}, the recipe {', '.join(targets)}"
        )
    return same


def _refuse_misfit(
    path: str, name: str, targets: Mapping[str, LocalBlock], sources: Mapping[str, LocalBlock], run: str
) -> None:
    own, other = _shapes(targets[name]), _shapes(sources[name]) if name in sources else {}
    for key in [*own, *other]:
        if own.get(key) != other.get(key):
            own_shape, other_shape = (shapes.get(key, "missing") for shapes in (own, other))
            raise UserError(f"{path} {name}: {key} is {own_shape} here, {other_shape} in {run}")


def _copy_state(source: LocalBlock, target: LocalBlock) -> None:
    """Copy all entries of the state that have the same name and shape.

    Body and handoff have been checked to fit. Goodness, loss and rule may differ: their running statistics
    are copied where they fit.
    """
    wanted = target.state_dict()
    given = {k: v for k, v in source.state_dict().items() if k in wanted and v.shape == wanted[k].shape}
    target.load_state_dict(given, strict=False)


def _feature_state(block: LocalBlock) -> dict[str, Tensor]:
    """Returns the state of body and handoff. Goodness, loss and rule may differ between runs."""
    return {k: v for k, v in block.state_dict().items() if k.startswith(("body.", "handoff."))}


def _shapes(block: LocalBlock) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in _feature_state(block).items()}
