"""Checks of black boxes."""

from __future__ import annotations

import torch

from ffcore.interfaces import BlackBox
from ffcore.local import BoxStage
from ffcore.testing.example import Example
from ffcore.testing.scenery import FEATURES, N, Placed, numbers


def place_blackbox(example: Example, seed: int = 0) -> Placed:
    """Fitted to a batch."""
    box = _fitted(example, seed)
    x = numbers(N, FEATURES)
    return Placed(box, lambda: box(x))


def check_blackbox_keeps_rows(example: Example) -> None:
    """One row out for each row in, all finite."""
    box = _fitted(example)
    made = box(numbers(N, FEATURES))
    box.close()
    assert len(made) == N, f"{N} rows become {len(made)}"
    assert made.isfinite().all(), "what comes out is not finite"


def check_blackbox_lets_no_graph_through(example: Example) -> None:
    """In its stage between blocks."""
    box = _fitted(example)
    made = BoxStage(box)(numbers(N, FEATURES).requires_grad_())
    box.close()
    assert not made.requires_grad, "a graph has come through"


def check_blackbox_can_be_closed_twice(example: Example) -> None:
    """A run that fails closes it on its way out once more."""
    box = _fitted(example)
    box.close()
    box.close()


def _fitted(example: Example, seed: int = 0) -> BlackBox:
    box: BlackBox = example.make(in_shape=(FEATURES,), seed=seed)
    with torch.no_grad():
        box.fit([numbers(N, FEATURES, seed=s) for s in range(3)])
    return box
