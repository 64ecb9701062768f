"""ffcore: forward-only learning, in which no gradient crosses a block boundary."""

from ffcore.api import load, train

__all__ = ["load", "train"]
