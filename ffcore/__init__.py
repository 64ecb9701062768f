"""ffcore: forward-only learning, in which no gradient crosses a block boundary."""

from ffcore.api import add_plugin, load, localize, resume, train

__all__ = ["add_plugin", "load", "localize", "resume", "train"]
