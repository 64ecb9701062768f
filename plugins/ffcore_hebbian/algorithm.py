"""The algorithm of Hebbian learning: the samples are the only view, and no block reads targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ffcore.interfaces import Unlabelled


class Hebbian(Unlabelled):
    """Blocks learn from samples alone, by a rule such as `soft-hebb`; readouts learn the targets.

    No loss, no negatives, no labels in the input. A readout reads the features of the blocks; with the
    schedule `interleaved` it continues to learn after the blocks have finished.
    """

    example_recipe: ClassVar[Mapping[str, Any]] = {
        "block": {"rule": "soft-hebb", "handoff": "rms"},
        "readouts": {"readout": "softmax"},
    }
