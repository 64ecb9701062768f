"""The source files that one step of one dense block calls, in order: a measure of how readable it is.

    python tests/bench/enters.py

Forward-Forward with closed forms, one block, from ready views. A file is entered when a call leads into it
from another file of ffcore or its plugins; calls within torch in between do not count.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn

import ffcore
from ffcore_ff.algorithm import ForwardForward
from ffcore_ff.goodness import SumSquares
from ffcore_ff.labels import Overlay
from ffcore_ff.negatives import WrongLabel
from ffcore_ff.objectives import Logistic
from ffcore_std.bodies import Dense

ROOT = Path(ffcore.__file__).parents[1]
CORE = f"{Path(ffcore.__file__).parent}/"
OURS = (CORE, f"{ROOT / 'plugins'}/")


def entered(step: Callable[[], object]) -> list[str]:
    """Returns the files that a step enters, in order, one entry for each call into another file."""
    stack: list[str] = []
    order: list[str] = []

    def trace(frame: FrameType, event: str, arg: Any) -> None:
        name = frame.f_code.co_filename
        if event == "call":
            if name.startswith(OURS) and name != (stack[-1] if stack else ""):
                order.append(name)
            stack.append(name if name.startswith(OURS) else stack[-1] if stack else "")
        elif event == "return" and stack:
            stack.pop()

    sys.setprofile(trace)
    try:
        step()
    finally:
        sys.setprofile(None)
    return order


def learning() -> tuple[ffcore.Network, Callable[[], object]]:
    """Returns a network of one dense block, and its step on prepared views."""
    block = ffcore.LocalBlock(Dense((20,), 30), SumSquares(), objective=Logistic(2.0))
    x, y = torch.rand(8, 20), torch.arange(8) % 3
    net = ffcore.Network(nn.Sequential(block), ForwardForward(Overlay(), WrongLabel()), example=x, classes=3)
    net.learn(x, y, ffcore.optimizers(net, torch.optim.Adam))
    views = net.algorithm.views(net.batch(x, y, 0, 1), net.local)
    return net, lambda: net.local.learn(views)


def main() -> None:
    """Print the files and the number of times that each is entered."""
    order = entered(learning()[1])
    for name, times in Counter(order).items():
        print(f"{times:3} × {Path(name).relative_to(ROOT)}")
    core = {name for name in order if name.startswith(CORE)}
    print(f"{len(core)} files of the core, {len(set(order)) - len(core)} of plugins, {len(order)} entries")


if __name__ == "__main__":
    main()
