"""ffcore: forward-only learning. No gradient crosses a block boundary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ffcore.api import add_plugin, load, register, resume, sweep, train

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ffcore.build.cost_sheet import cost_sheet
    from ffcore.build.from_recipe import from_recipe
    from ffcore.build.localize import delocalize, localize
    from ffcore.by_hand import activities, one_step
    from ffcore.engine.module import ForwardOnly
    from ffcore.exports.export import export
    from ffcore.local import LocalBlock
    from ffcore.local.optimizers import block_optimizers as optimizers
    from ffcore.network import Network
    from ffcore.run.analysis import analyse
    from ffcore.run.cost_meter import CostMeter
    from ffcore.run.evaluation import evaluate
    from ffcore.run.exits import choose_exits
    from ffcore.run.fit import fit

_LAZY = {
    "CostMeter": "ffcore.run.cost_meter:CostMeter",
    "ForwardOnly": "ffcore.engine.module:ForwardOnly",
    "LocalBlock": "ffcore.local:LocalBlock",
    "Network": "ffcore.network:Network",
    "activities": "ffcore.by_hand:activities",
    "analyse": "ffcore.run.analysis:analyse",
    "choose_exits": "ffcore.run.exits:choose_exits",
    "cost_sheet": "ffcore.build.cost_sheet:cost_sheet",
    "delocalize": "ffcore.build.localize:delocalize",
    "evaluate": "ffcore.run.evaluation:evaluate",
    "export": "ffcore.exports.export:export",
    "fit": "ffcore.run.fit:fit",
    "from_recipe": "ffcore.build.from_recipe:from_recipe",
    "localize": "ffcore.build.localize:localize",
    "one_step": "ffcore.by_hand:one_step",
    "optimizers": "ffcore.local.optimizers:block_optimizers",
}
"""Names that need torch or Lightning. They are imported on first use: importing torch takes seconds."""

__all__ = [
    "CostMeter",
    "ForwardOnly",
    "LocalBlock",
    "Network",
    "activities",
    "add_plugin",
    "analyse",
    "choose_exits",
    "cost_sheet",
    "delocalize",
    "evaluate",
    "export",
    "fit",
    "from_recipe",
    "load",
    "localize",
    "one_step",
    "optimizers",
    "register",
    "resume",
    "sweep",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'ffcore' has no attribute {name!r}")
    from ffcore.plugin.targets import load_target

    # Python calls this function only for names that are missing: the next use finds the global.
    loaded = globals()[name] = load_target(_LAZY[name])
    return loaded


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
