"""A table of the network of a recipe: shapes, parameters, goodness and loss of each block."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from ffcore.blame import blaming
from ffcore.build.assemble import assembled_for
from ffcore.build.components import make
from ffcore.build.form import Form
from ffcore.build.module_costs import of_module
from ffcore.build.transform import as_in
from ffcore.data.images import Dataset
from ffcore.engine.module import ForwardOnly
from ffcore.errors import UserError
from ffcore.local import BoxStage, LocalBlock, PenaltyLoss
from ffcore.local.callers import close
from ffcore.local.costs import costs
from ffcore.recipe.schema import Recipe
from ffcore.tasks import Classification


def describe(recipe: Recipe) -> Table:
    """Build a recipe and list its blocks, black boxes and readouts.

    Raises:
        UserError: when it cannot be built, or its data set has to be read and is missing.
    """
    module, form = _built(recipe)
    return _table(module, form)


def described(recipe: Recipe) -> tuple[Table, dict[str, Any]]:
    """Build a recipe; return the table of `describe`, and the cost sheet as a mapping.

    Raises:
        UserError: as `describe`.
    """
    module, form = _built(recipe)
    sheet = of_module(module, recipe.data.batch_size, form)
    return _table(module, form), sheet.as_dict()


def _built(recipe: Recipe) -> tuple[ForwardOnly, Form]:
    with blaming(UserError):
        dataset: Dataset = make(recipe.data.dataset, "data")
        known = dataset.peek() if recipe.data.transform is None else None
        if known is None or (dataset.has_superclasses and recipe.data.groups is None):
            form = Form.of(as_in(recipe, dataset.load()))
        else:
            form = Form(known[0], Classification(known[1]))
        return assembled_for(recipe, form), form


def _table(module: ForwardOnly, form: Form) -> Table:
    network = module.network
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("block", "activity", "parameters", "multiplications", "of head", "goodness", "loss"):
        numbers = column in ("parameters", "multiplications", "of head")
        table.add_column(column, justify="right" if numbers else "left")
    cost_of = costs(network)
    # the blocks of a PyTorch model stand in for its sub-modules and are not in its module tree
    modules = dict.fromkeys(network.modules())
    inside = [block for block in network.learners.values() if block not in modules]
    for part in (*modules, *inside):
        if isinstance(part, BoxStage):
            box = f"black box {type(part.box).__name__}"
            table.add_row(part.name, _shape(part.shape), "–", "–", "–", "–", box)
        elif isinstance(part, LocalBlock):
            goodness = type(part.goodness).__name__ if part.goodness is not None else "–"
            shape = _shape(part.info.shape if part.info is not None else None)
            cost = cost_of.get(part.name)
            head = cost.head.parameters if cost is not None else 0
            products = "–" if cost is None else f"{cost.body.multiplications:,}"
            of_head = f"{head:,}, {cost.head.multiplications:,}" if cost is not None and head else "–"
            own = f"{_count(part) - head:,}"
            table.add_row(part.name, shape, own, products, of_head, goodness, _loss(part))
    close(network)
    total = sum(p.numel() for p in network.parameters())
    inputs = _shape(form.shape) if isinstance(form.dtype, str) else str(form.shape)
    what = "classes" if form.task.target == "class" else form.task.target
    table.caption = f"input {inputs}, {form.task.columns} {what}, {total:,} parameters"
    table.caption_justify = "left"
    return table


def _shape(shape: tuple[int, ...] | None) -> str:
    return "×".join(map(str, shape or ()))


def _count(block: LocalBlock) -> int:
    return sum(p.numel() for p in block.parameters())


def _loss(block: LocalBlock) -> str:
    if block.loss is None:
        return "–"
    if not isinstance(block.loss, PenaltyLoss):
        return type(block.loss).__name__
    return " + ".join(type(part).__name__ for part in block.loss.parts)
