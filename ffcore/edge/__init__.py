"""Learning on devices: a runtime for bundles that needs NumPy and ONNX Runtime only, not torch.

A bundle is a directory that ffcore exports: graphs that predict and that take learning steps, the weights,
and a step that torch has taken, for a check.

>>> from ffcore.edge import Learner, load                                    # doctest: +SKIP
>>> learner = Learner(load("digits-bundle"))                                 # doctest: +SKIP
>>> for result in learner.learn(x, y, epochs=5):                             # doctest: +SKIP
...     print(result.epoch, result.losses)
>>> learner.evaluate(x_test, y_test)                                         # doctest: +SKIP
0.97
>>> learner.save("state.npz")                                                # doctest: +SKIP

The command is ``python -m ffcore.edge``.
"""

from __future__ import annotations

from pathlib import Path

from ffcore.edge.bundle import Bundle
from ffcore.edge.checkpoint import Progress
from ffcore.edge.errors import EdgeError, StoppedError, integer
from ffcore.edge.golden import check as _check
from ffcore.edge.learner import EpochResult, Learner

__all__ = ["Bundle", "EdgeError", "EpochResult", "Learner", "Progress", "StoppedError", "load"]


def load(path: str | Path, *, threads: int = 1, check: bool = True, keep_sessions: bool = True) -> Bundle:
    """Load a bundle: check its files, and that this engine gives the numbers that torch gave.

    Args:
        path: the directory.
        threads: threads of an operator.
        check: whether to take the golden step. It needs memory for one step, and frees it.
        keep_sessions: whether sessions are kept after use. Without it, memory holds one graph at a time, and
            every run makes its session anew: for bundles with one graph a block, and little memory.

    Raises:
        EdgeError: it is not a bundle, a file is missing, truncated or edited, the engine lacks an operator,
            or its numbers differ.

    >>> bundle = load("digits-bundle")                                       # doctest: +SKIP
    """
    bundle = Bundle(Path(path), integer("threads", threads, 1), keep_sessions)
    if check:
        _check(bundle)
    return bundle
