"""What recipes may say about the parts of this plugin; no torch here."""

from __future__ import annotations

from pydantic import Field

from ffcore.plugin.options import Options


class Backprop(Options):
    """Cross-entropy of a head through all blocks."""

    pool: bool = Field(default=False, description="the head reads the mean of every channel, not all places")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="share spread over all classes")


class PooledDense(Options):
    """A head on channels' means."""

    units: int = Field(gt=0, description="number of outputs")
