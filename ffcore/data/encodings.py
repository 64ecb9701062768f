"""How an encoding is written into a checkpoint, and checked when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from ffcore.data.encoding import Encoding
from ffcore.data.table_encoding import TableEncoding
from ffcore.data.text_encoding import TextEncoding

Stored = TableEncoding | TextEncoding
"""The encodings that a checkpoint may hold; pydantic makes them of plain data."""

_ADAPTER: TypeAdapter[Stored] = TypeAdapter(Stored)


def dumped(encoding: Encoding) -> dict[str, Any]:
    """Return an encoding as plain data."""
    made: dict[str, Any] = _ADAPTER.dump_python(encoding, mode="json")  # type: ignore[arg-type]
    return made


def read(stored: Mapping[str, Any] | None) -> Encoding | None:
    """Return the encoding that `dumped` has made plain data of; None of None."""
    return None if stored is None else _ADAPTER.validate_python(stored)
