"""Makes the content of ``results.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ffcore.engine.history import History
from ffcore.engine.module import ForwardOnly
from ffcore.local.cost_sheet import CostSheet
from ffcore.local.costs import BlockCost
from ffcore.recipe.schema import Recipe
from ffcore.recipe.spec import Spec
from ffcore.report.results import FORMAT
from ffcore.run import environment
from ffcore.run.data import Data
from ffcore.run.evaluate import results_of_split
from ffcore.tasks import Classification


def results_of(
    recipe: Recipe,
    data: Data,
    module: ForwardOnly,
    history: History,
    device: torch.device,
    *,
    cost_of: Mapping[str, BlockCost | None],
    sheet: CostSheet | None,
    command: str | None,
    commits: Sequence[str],
    state: Mapping[str, Any],
    epoch: int,
    val: dict[str, Any] | None,
    spent: Mapping[str, Any],
    concluded: Mapping[str, float],
) -> dict[str, Any]:
    """Returns all results of a run that has been tested.

    Args:
        recipe: the recipe of the run.
        data: the data of the run.
        module: the module, with its test metrics.
        history: time and samples of the training.
        device: the device of the run.
        cost_of: the costs of each block, by name.
        sheet: the cost sheet of the network.
        command: the command line that started the run; None if it was started from Python.
        commits: the commits of ffcore that the run used, in order: several if it was resumed.
        state: the last checkpoint.
        epoch: the selected epoch, from 1.
        val: the validation metrics of the selected epoch.
        spent: ``wall_s, peak_memory`` of the whole run.
        concluded: single numbers that the algorithm computed from the trained network.
    """
    drawn = data.images.val is None  # not given with the data
    return {
        "format": FORMAT,
        "recipe": recipe.name,
        "title": recipe.title,
        "seed": recipe.seed,
        "git_commit": ", ".join(commits) or None,
        "command": command,
        "device": environment.device_name(device),
        "threads": recipe.trainer.threads or torch.get_num_threads(),
        "ranks": module.distribution.ranks.world,
        "strategy": strategy.kind if isinstance(strategy := recipe.trainer.strategy, Spec) else strategy,
        "precision": recipe.trainer.precision,
        "versions": environment.versions(),
        "parameters": sum(p.numel() for p in module.network.parameters()),
        "blocks": _blocks(module, cost_of),
        "cost_sheet": None if sheet is None else sheet.as_dict(),
        "sources": [{"name": s.name, "kind": s.role} for s in module.sources],
        "start": state["ffcore"].get("start"),
        "contribution": (
            module.net.task.contribution if recipe.contribution is None else recipe.contribution.kind
        ),
        "stopped": _stopped(module),
        "epochs": state["ffcore"]["epochs"],
        "steps": state["global_step"],
        "resumed_after_steps": history.resumed,
        "selected": recipe.trainer.select,
        "epoch_selected": epoch,
        "wall_s": round(spent["wall_s"], 3),
        "train_s": round(history.seconds, 3),
        "samples_per_s": round(history.samples / max(history.seconds, 1e-9), 1),
        "peak_memory": spent["peak_memory"],
        "data": data.describe(),
        **_task(module),
        "split": {
            "validation": {
                "count": len(data.val) if data.val is not None else 0,
                **({"from": "train", "seed": recipe.data.split_seed} if drawn else {"from": "data"}),
            },
            **({"test": {"from": "validation"}} if _tested_on_validation(data) else {}),
        },
        "val": _accuracies(module, val),
        "test": _accuracies(module, module.test_metrics),
        "concluded": dict(concluded),
        "paper": recipe.paper.model_dump() if recipe.paper is not None else None,
    }


def _stopped(module: ForwardOnly) -> dict[str, int] | None:
    """Returns after how many epochs validation has stopped each block; None without such a schedule."""
    if not module.schedule.adaptive:
        return None
    learning = [module.network.blocks[i].name for i in module.network.learning]
    ends = zip(learning, module.schedule.stopped(), strict=False)  # a schedule has room for frozen blocks too
    return {name: end for name, end in ends if end is not None}


def _tested_on_validation(data: Data) -> bool:
    """Returns whether the test samples are those of the validation: `ffcore.fit` without test samples."""
    sums = data.images.provenance
    pairs = [(sums.get(f"{axis}_val"), sums.get(f"{axis}_test")) for axis in ("x", "x0", "y")]
    return any(val is not None for val, _ in pairs) and all(val == test for val, test in pairs)


def _task(module: ForwardOnly) -> dict[str, Any]:
    """Returns the task and its headline; nothing for the classification of samples."""
    task = module.net.task
    if type(task) is Classification:
        return {}
    return {"task": {"name": type(task).__name__, "headline": task.headline, "lower": task.lower}}


def _blocks(module: ForwardOnly, cost_of: Mapping[str, BlockCost | None]) -> list[dict[str, Any]]:
    return [
        {
            "name": b.name,
            "shape": list(b.info.shape) if b.info is not None else [],
            "parameters": sum(p.numel() for p in b.parameters()),
            **_costs(cost_of[b.name]),
        }
        for b in module.network.blocks
    ]


def _costs(cost: BlockCost | None) -> dict[str, int]:
    if cost is None:
        return {}
    return {
        "head_parameters": cost.head.parameters,
        "multiplications": cost.body.multiplications,
        "head_multiplications": cost.head.multiplications,
        "kept": cost.body.kept,
        "head_kept": cost.head.kept,
    }


def _accuracies(module: ForwardOnly, measured: dict[str, Any] | None) -> dict[str, Any] | None:
    if measured is None:
        return None
    names = [source.name for source in module.sources]
    # JSON has no NaN: a metric that is not finite is stored as null.
    own = {name: mean if math.isfinite(mean) else None for name, mean in measured["measures"].items()}
    confusion = {"confusion": measured["confusion"]} if "confusion" in measured else {}
    return {**results_of_split(measured, names), **own, **confusion}
