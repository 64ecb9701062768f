"""The handoff that changes nothing."""

from __future__ import annotations

from torch import nn


class Identity(nn.Identity):
    """The activity as it is."""

    def __init__(self) -> None:
        super().__init__()
