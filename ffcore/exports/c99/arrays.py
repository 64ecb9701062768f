"""Arrays in C, and the bytes that they take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ffcore.interfaces.c99 import literal

WIDTH = 100
"""Characters of a line of numbers."""

SIZES = {"float": 4, "double": 8, "int8_t": 1, "uint32_t": 4, "Layer": 16, "Layer8": 20, "Target": 12}
"""Bytes of a type. `Layer8` is the `Layer` of weights in int8."""


@dataclass(frozen=True, slots=True, eq=False)
class Array:
    """An array of C, or a variable.

    Attributes:
        name: its name in C.
        kind: its type in C, a key of `SIZES`.
        count: number of elements; 0 for a variable.
        what: its content, for people.
        const: whether it stays in flash.
        public: whether the header declares it.
        values: initial values; None for zeros.
        lines: the text of initial values that are structures, in place of ``values``.
    """

    name: str
    kind: str
    count: int
    what: str
    const: bool = False
    public: bool = False
    values: np.ndarray[Any, Any] | None = None
    lines: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Number of bytes."""
        return SIZES[self.kind] * max(1, self.count)

    @property
    def starts(self) -> bool:
        """Whether its initial values take memory in flash, besides the RAM."""
        return bool(self.lines) or (self.values is not None and bool(self.values.any()))

    @property
    def declared(self) -> str:
        """The declaration without storage class and semicolon."""
        kind = "Layer" if self.kind == "Layer8" else self.kind
        size = f"[{self.count}]" if self.count else ""
        return f"{'const ' if self.const else ''}{kind} {self.name}{size}"

    def at_top(self) -> str:
        """Return the declaration at the top of the C file; without initial values it is the definition."""
        return f"static {self.declared}; /* {self.what} */\n"

    def defined(self) -> str:
        """Return the definition with initial values, at the end of the C file."""
        storage = "" if self.public else "static "
        if self.lines:
            body = "\n".join(f"    {line}" for line in self.lines)
        elif self.values is None or not self.starts:
            body = "    0"
        else:
            body = "\n".join(_wrapped(self._texts(self.values.reshape(-1))))
        return f"\n/* {self.what} */\n{storage}{self.declared} = {{\n{body}\n}};\n"

    def _texts(self, values: np.ndarray[Any, Any]) -> Iterable[str]:
        if self.kind == "float":
            return map(literal, values)
        return (f"{value}u" if self.kind == "uint32_t" else str(value) for value in values.tolist())


def _wrapped(texts: Iterable[str]) -> Iterable[str]:
    """Yield lines of numbers."""
    line: list[str] = []
    length = 0
    for text in texts:
        if length + len(text) > WIDTH and line:
            yield f"    {', '.join(line)},"
            line, length = [], 0
        line.append(text)
        length += len(text) + 2
    yield f"    {', '.join(line)}"


def ram(arrays: Sequence[Array]) -> int:
    """Return the bytes of RAM."""
    return sum(array.bytes for array in arrays if not array.const)


def flash(arrays: Sequence[Array]) -> int:
    """Return the bytes of flash: constants, and the initial values of arrays in RAM."""
    return sum(array.bytes for array in arrays if array.const or array.starts)


def table(arrays: Sequence[Array]) -> list[str]:
    """Return the table of bytes, line by line.

    >>> table([Array("w", "float", 10, "weights", values=np.ones(10))])[-1]
    '        40         40  together'
    """
    lines = ["Memory in bytes, without code and stack:", f"{'RAM':>10} {'flash':>10}"]
    for array in arrays:
        in_ram, in_flash = (0 if array.const else array.bytes), flash([array])
        lines.append(f"{in_ram or '':>10} {in_flash or '':>10}  {array.name}: {array.what}")
    return [*lines, f"{ram(arrays):>10} {flash(arrays):>10}  together"]
