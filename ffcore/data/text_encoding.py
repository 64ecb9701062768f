"""Texts as tokens: a token for each byte.

N texts; T tokens of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from ffcore.data.encoding import Encoding
from ffcore.data.table_file import read_table, refuse_columns
from ffcore.errors import UserError


@dataclass(frozen=True)
class TextEncoding(Encoding):
    """A text becomes the tokens byte + 1, cut or padded to T of them.

    >>> TextEncoding("text", length=3, padding=0, classes=None).encoded("x", ["ab"])
    array([[98, 99,  0]])

    Attributes:
        column: name of the column of texts in a table.
        length: T.
        padding: token after the end of a text.
        classes: names of the classes in training; None if targets are something else.
        kind: name of the encoding in a checkpoint.
    """

    column: str
    length: int
    padding: int
    classes: tuple[str, ...] | None
    kind: Literal["text"] = "text"

    def takes(self, x: Any) -> bool:
        """Return whether samples are texts: a list, an array or a column of them, or a table with theirs."""
        if (names := _columns_of(x)) is not None:
            return self.column in names
        if isinstance(x, str | bytes) or not hasattr(x, "__len__") or isinstance(x, Tensor):
            return False
        return all(isinstance(text, str) for text in x)

    def encoded(self, what: Any, x: Any) -> np.ndarray:
        """Return the tokens of texts, (N, T) int64; see `Encoding.encoded`."""
        if _columns_of(x) is not None:
            x = x[self.column]
        for row, text in enumerate(x):
            if not isinstance(text, str):
                raise UserError(f"{what}: row {row} is {type(text).__name__}, not text")
        return padded(what, [tokens_of(text) for text in x], self.length, self.padding)

    def of_file(self, path: Path) -> np.ndarray:
        """Return the tokens of the lines of a .txt file, or of the column of a table."""
        if path.suffix.lower() == ".txt":
            try:
                lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
            except (OSError, UnicodeDecodeError) as error:
                raise UserError(f"{path}: cannot be read as text: {error}") from error
            if "" in lines:
                raise UserError(f"{path}: line {lines.index('') + 1} is empty; every line is a text")
            return self.encoded(path, lines)
        table = read_table(path, (self.column,), empty=False)
        refuse_columns(path, table.columns, [self.column])
        return self.encoded(path, table[self.column].tolist())


def _columns_of(x: Any) -> list[Any] | None:
    """Return the names of the columns of a table of pandas or of Hugging Face; None for anything else."""
    names = getattr(x, "column_names", getattr(x, "columns", None))
    return None if names is None else list(names)


def tokens_of(text: str) -> list[int]:
    """Return byte + 1 of each byte of a text in UTF-8, so that 0 is free for padding."""
    return [byte + 1 for byte in text.encode()]


def padded(what: Any, sequences: Sequence[Sequence[int]], length: int, padding: int) -> np.ndarray:
    """Return sequences of tokens as (N, T) int64, cut or padded.

    Raises:
        UserError: a sequence has no tokens.
    """
    made = np.full((len(sequences), length), padding, dtype=np.int64)
    for row, tokens in enumerate(sequences):
        if not len(tokens):
            raise UserError(f"{what}: row {row} has no tokens")
        made[row, : len(tokens)] = tokens[:length]
    return made
