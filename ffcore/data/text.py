"""Text as tokens: characters or bytes, with the next token as target."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from ffcore.data.digest import sha256
from ffcore.data.given import Held
from ffcore.data.images import Dataset, ImageSet, Split
from ffcore.errors import UserError
from ffcore.options import FilePath, Size
from ffcore.reading import expanded, read_bytes
from ffcore.tasks import TokenClassification

_DOCUMENTS = Path(__file__).parent / "texts" / "documents.txt"


class Text(Dataset):
    """Windows of a text file, (N, T) int64 tokens, and the next token at every position.

    The last part of the text is the test split, the one before it the validation split; both are cut into
    windows that follow one another. Windows of the training part may overlap, those of two parts do not.

    Args:
        path: a file in UTF-8; null: four American documents of 1776 to 1865 that ffcore ships, 16 kB, in the
            public domain.
        length: T, tokens of a window.
        stride: tokens from the beginning of one training window to the next; null: T.
        tokens: "characters", whose vocabulary are the characters of the text, or "bytes", with 256 tokens.
        val_fraction: share of the text that becomes the validation split; 0 to leave it to ``validation``,
            which then draws windows at random: use it without overlaps only.
        test_fraction: share of the text, at its end, that becomes the test split.
    """

    def __init__(
        self,
        path: FilePath | None = None,
        length: Size = 64,
        stride: Size | None = None,
        tokens: Literal["characters", "bytes"] = "characters",
        val_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1,
    ) -> None:
        self.path = path
        self.length = length
        self.stride = stride or length
        self.tokens = tokens
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction

    def load(self) -> ImageSet:
        """Read the text.

        Raises:
            UserError: the file is missing, not UTF-8, or too short.
        """
        path = _DOCUMENTS if self.path is None else expanded(self.path)
        if not path.exists():
            raise UserError(f"{path}: no such file; set data.path to a text file")
        raw = read_bytes(path)
        if self.tokens == "bytes":
            ids, names = np.frombuffer(raw, dtype=np.uint8).astype(np.int64), tuple(map(str, range(256)))
        else:
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise UserError(f"{path}: not in UTF-8; use tokens: bytes") from error
            names = tuple(sorted(set(text)))
            index = {character: k for k, character in enumerate(names)}
            ids = np.array([index[character] for character in text], dtype=np.int64)
        if not self.val_fraction and self.stride < self.length:
            raise UserError(
                "val_fraction: 0 lets windows of training and validation overlap; use stride: null"
            )
        sizes = [round(share * len(ids)) for share in (self.val_fraction, self.test_fraction)]
        ends = [len(ids) - sum(sizes), len(ids) - sizes[1]]
        parts = [ids[: ends[0]], ids[ends[0] : ends[1]], ids[ends[1] :]]
        steps = (self.stride, self.length, self.length)
        if any(0 < len(part) <= self.length for part in parts) or not len(parts[2]) or not len(parts[0]):
            raise UserError(
                f"{path}: {len(ids)} tokens are too few for windows of {self.length} in every split"
            )
        learn, val, test = (
            _windows(part, self.length, step) for part, step in zip(parts, steps, strict=True)
        )
        task = TokenClassification(len(names))
        held = Held(learn, test, task, names, path.stem, val if len(val) else None).load()
        return replace(held, provenance={path.name: sha256(path)})


def _windows(ids: np.ndarray, length: int, step: int) -> Split:
    """Return the windows (N, T) of a text, and the tokens after each of theirs."""
    begins = np.arange(0, len(ids) - length, step)
    place = begins[:, None] + np.arange(length)
    return Split(ids[place], ids[place + 1])
