"""The base class of all components."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ffcore.interfaces.context import Context


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of training: ``epoch`` (from 0) of ``epochs``, and ``step``, the number of batches learned."""

    epoch: int
    step: int
    epochs: int


class Component(nn.Module):
    """A part that a recipe names: a plain class with typed, documented constructor arguments.

    The parameters of a block's body, goodness, objective and penalties learn with the block; those of a
    readout learn with the readout. Trainable parameters of other components would never learn and raise an
    error.
    """

    def setup(self, context: Context) -> Any:
        """Make parameters and buffers that depend on shapes, and check the shapes.

        Called once, when the shapes are known and before the component is used. A direct subclass of this
        class need not call ``super().setup(context)``.

        Args:
            context: shapes and names; each field states which components get it.

        Returns:
            None, except for `Algorithm`, `LabelCode` and `Readout`.

        Raises:
            ValueError: when the component does not fit the shapes or the network.
        """

    def advance(self, progress: Progress) -> None:
        """Update what depends on the progress, such as temperatures and warm-ups, before every batch.

        Keep the values in buffers: checkpoints then contain them.
        """

    def extra_repr(self) -> str:
        """Return the arguments of the constructor for ``repr``: those that differ from their defaults.

        The component has to keep them as attributes of the same names, or with an underscore before. A run's
        ``config.yaml`` describes a component that was made in Python by this text, and resuming the run
        compares it.

        >>> class Scaled(Component):
        ...     def __init__(self, scale: float = 1.0) -> None:
        ...         super().__init__()
        ...         self.scale = scale
        >>> Scaled(2.0), Scaled()
        (Scaled(scale=2.0), Scaled())
        """
        known = [
            (parameter, vars(self)[kept])
            for name, parameter in inspect.signature(type(self)).parameters.items()
            for kept in (name, f"_{name}")
            if kept in vars(self)
        ]
        return ", ".join(
            f"{parameter.name}={_shown(value)}"
            for parameter, value in known
            if _plain(value) and not _same(value, parameter.default)
        )

    def arrays(self) -> dict[str, Tensor]:
        """Return arrays that a report may plot, by name. They are stored in the run's ``arrays.npz``."""
        return {}


def _plain(value: Any) -> bool:
    """Whether a value is a number, a text, or a collection of these."""
    if isinstance(value, Mapping):
        return all(map(_plain, value.values()))
    if isinstance(value, list | tuple | set | frozenset | range):
        return all(map(_plain, value))
    return value is None or isinstance(value, bool | int | float | complex | str | bytes)


def _shown(value: Any) -> str:
    """Return the repr of a plain value, with sets in order: that of Python differs between processes."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_shown(key)}: {_shown(each)}' for key, each in value.items())}}}"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(_shown, value)))}}}"
    if isinstance(value, list | tuple):
        inside = ", ".join(map(_shown, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' * (len(value) == 1)})"
    return repr(value)


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, list | tuple) and isinstance(default, list | tuple):
        return list(value) == list(default)
    return type(value) is type(default) and value == default
