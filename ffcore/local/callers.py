"""The modules of a network that call something outside of torch."""

from __future__ import annotations

from collections import Counter

from ffcore.local.box_use import Caller
from ffcore.local.network import LocalNetwork


def callers(network: LocalNetwork) -> dict[str, Caller]:
    """Return the callers of a network, by the name of their black box or block; a second one is ``NAME #2``.

    One outside of these has the name of its module.
    """
    named = [(box.name, box) for box in network.boxes], network.learners.items()
    inside = [(name, module) for parts in named for name, part in parts for module in part.modules()]
    found: dict[str, Caller] = {}
    of_name = Counter[str]()
    for name, module in (*inside, *network.named_modules()):
        if isinstance(module, Caller) and module not in found.values():
            of_name[name] += 1
            found[f"{name} #{of_name[name]}" if of_name[name] > 1 else name] = module
    return found


def close(network: LocalNetwork) -> None:
    """Close all of them: they may hold processes and files."""
    for caller in callers(network).values():
        caller.close()
