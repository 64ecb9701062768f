"""Checks of black boxes."""

from __future__ import annotations

import torch

from ffcore.errors import RunError
from ffcore.interfaces import BlackBox, Context
from ffcore.local import BoxStage
from ffcore.testing.example import Example
from ffcore.testing.scenery import FEATURES, K, N, Placed, numbers


def place_blackbox(example: Example, seed: int = 0) -> Placed:
    """Set up a black box and fit it."""
    box = _fitted(example, seed)
    stage, x = BoxStage(box), numbers(N, *_shape(box))
    return Placed(box, lambda: stage(x))


def check_blackbox_keeps_rows(example: Example) -> None:
    """The box returns one finite row per row, with the same shape before and after `fit`."""
    box = _fitted(example)
    fresh = _placed(example)
    try:
        # The network is built for the shape before the fit.
        made, before = (BoxStage(each)(numbers(N, *_shape(box))) for each in (box, fresh))
    except RunError as error:
        raise AssertionError(str(error)) from error
    finally:
        for each in (box, fresh):
            each.close()
    assert made.shape == before.shape, f"{tuple(before.shape)} before it is fitted, then {tuple(made.shape)}"


def check_blackbox_can_be_closed_twice(example: Example) -> None:
    """A second call of `close` does not raise, since a failing run may call it twice."""
    box = _fitted(example)
    box.close()
    box.close()


def _shape(box: BlackBox) -> tuple[int, ...]:
    """Return the shape of a sample with which the kit tests the box."""
    return tuple(getattr(box, "example_shape", (FEATURES,)))


def _placed(example: Example, seed: int = 0) -> BlackBox:
    box: BlackBox = example.make(in_shape=(FEATURES,), seed=seed)
    box.setup(Context(_shape(box), K))
    return box


def _fitted(example: Example, seed: int = 0) -> BlackBox:
    box = _placed(example, seed)
    inputs = [numbers(N, *_shape(box), seed=s) for s in range(3)]
    with torch.no_grad():
        box.fit([(x, torch.arange(N) % K) for x in inputs] if box.reads_targets else inputs)
    return box
