"""What ranks are asked to do; the same functions in this process are what they are compared with."""

import warnings

import lightning as L
import torch
import torch.distributed as dist

from ffcore.build.assemble import assemble
from ffcore.interfaces import ALONE
from ffcore.ranks.group import Group
from ffcore.ranks.local import LocalDDP
from ffcore.recipe.load import load
from ffcore.run.data import Data
from ffcore.run.trainer import apart


def group():
    return Group() if dist.is_initialized() else ALONE


def fit(recipe, overrides, steps=20, before=lambda module: None):
    """A module that has learned so many steps of a recipe, without a run's folder."""
    recipe = load(recipe, overrides)
    data = Data.open(recipe)
    module = assemble(recipe, data.images.shape, data.images.num_classes)
    data.prepare(module.augmentations)
    if recipe.trainer.precision == "64-true":
        module.double()
    before(module)
    ranks = group()
    strategy = LocalDDP() if ranks.world > 1 else "auto"
    with warnings.catch_warnings(), apart(1):
        warnings.simplefilter("ignore")
        trainer = L.Trainer(
            accelerator="cpu",
            devices=ranks.world,
            strategy=strategy,
            precision=recipe.trainer.precision,
            max_steps=steps,
            max_epochs=-1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            inference_mode=False,
        )
        trainer.fit(module, data.loader(data.train, "cpu", lambda: trainer.current_epoch, ranks))
    return module


def learned(recipe, overrides, steps=20):
    """Its parameters."""
    return {name: p.detach().clone() for name, p in fit(recipe, overrides, steps).named_parameters()}


def sums():
    """Everything that ranks say to each other, once."""
    ranks = group()
    mine = torch.full((3 - 2 * ranks.rank, 2), float(ranks.rank), requires_grad=True)
    rows = ranks.rows(mine)
    (rows * torch.arange(len(rows)).unsqueeze(1)).sum().backward()
    return {
        "sum": ranks.sum(torch.tensor([1.0, ranks.rank])),
        "begun": ranks.begin_sum(torch.tensor([ranks.rank + 1]))(),
        "rows": rows.detach(),
        "gradient": mine.grad,
        "objects": ranks.objects({"rank": ranks.rank}),
    }
