"""Directories of image files, one directory per class."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from ffcore.data.images import Dataset, ImageSet, Split
from ffcore.errors import UserError, first_line
from ffcore.options import FilePath
from ffcore.reading import expanded, is_text, memory, read_bytes, size

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})


class ImageFolder(Dataset):
    """ROOT/train/CLASS/*.png and ROOT/test/CLASS/*.png; `val` is used if `test` is missing.

    Classes are sorted by name. Files other than png, jpg, jpeg, bmp and webp are ignored.

    Args:
        root: ROOT.
        size: resize every image to size x size pixels, bilinearly; without it all must have the same size.
        grey: one channel instead of three.
    """

    def __init__(
        self, root: FilePath, size: Annotated[int, Field(ge=1, le=10_000)] | None = None, grey: bool = False
    ) -> None:
        self.root = root
        self.size = size
        self.grey = grey

    def load(self) -> ImageSet:
        """Decode all images into memory.

        Raises:
            UserError: a directory is missing or empty, the splits' classes differ, or an image cannot be
                used.
        """
        if self.size is not None and self.size < 1:
            raise UserError(f"size={self.size}: must be at least 1 pixel")
        root = expanded(self.root)
        train = root / "train"
        test = next((root / name for name in ("test", "val") if (root / name).is_dir()), root / "test")
        classes = _classes(train)
        if unmatched := set(classes) ^ set(_classes(test)):
            name = min(unmatched)
            present, missing = (train, test) if name in classes else (test, train)
            raise UserError(f"{missing / name}: the class directory is missing, but {present / name} exists")
        splits, provenance = [], {}
        for folder in (train, test):
            split, provenance[folder.name] = self._read(folder, classes)
            splits.append(split)
        return ImageSet(root.resolve().name, splits[0], splits[1], classes, 1 / 255, provenance)

    def _read(self, folder: Path, classes: tuple[str, ...]) -> tuple[Split, str]:
        files = [(path, label) for label, name in enumerate(classes) for path in _images(folder / name)]
        digest = hashlib.sha256()  # of the names and bytes of all files, in order
        x: np.ndarray | None = None
        if self.size is not None:  # before Pillow asks for the memory of the first image
            self._refuse_large(folder, len(files) * self.size**2 * (1 if self.grey else 3))
        for row, (path, _) in enumerate(files):
            data = read_bytes(path)
            digest.update(os.fsencode(f"{path.relative_to(folder).as_posix()}\0{len(data)}\0"))
            digest.update(data)
            pixels = self._decode(path, data)
            if x is None:
                self._refuse_large(folder, len(files) * pixels.size)
                x = np.empty((len(files), *pixels.shape), np.uint8)
            if pixels.shape != x.shape[1:]:
                raise UserError(
                    f"{path}: is {_size(pixels)} pixels but {files[0][0]} is {_size(x[0])}; "
                    "set data.size to resize"
                )
            x[row] = pixels
        assert x is not None  # `_images` raises for an empty class
        return Split(x, np.array([label for _, label in files], np.int64)), digest.hexdigest()

    @staticmethod
    def _refuse_large(folder: Path, needed: int) -> None:
        if needed > memory() // 2:  # they are copied once when a validation split is made
            raise UserError(
                f"{folder}: its images have {size(needed)}, more than half of the memory; set a smaller "
                "data.size"
            )

    def _decode(self, path: Path, data: bytes) -> np.ndarray:
        from PIL import Image, UnidentifiedImageError

        try:
            # Pillow warns about large images and odd metadata; what cannot be decoded raises an error
            with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data)) as file:
                if file.mode[0] in "IF":  # 16 or 32 bits: Pillow's convert would clip most values to white
                    raise UserError(f"{path}: has more than 8 bits per channel; convert it to 8 bits")
                image = file.convert("L" if self.grey else "RGB")
            if self.size is not None:
                image = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
            pixels = np.asarray(image)
        except UserError:
            raise
        except UnidentifiedImageError as error:  # its message has the address of a buffer, not the file
            raise UserError(f"{path}: not a readable image: its format is not known") from error
        except Exception as error:  # decoders raise errors of many types
            raise UserError(f"{path}: not a readable image: {first_line(error)}") from error
        return pixels[None] if self.grey else pixels.transpose(2, 0, 1)


def _classes(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise UserError(f"{folder}: the directory is missing; it should have one directory per class")
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not names:
        raise UserError(f"{folder}: has no class directories")
    for name in names:
        if not is_text(name):  # the results could not be written
            raise UserError(f"{folder}: the directory {name!a} cannot be a class: its name is not in UTF-8")
    return tuple(names)


def _images(folder: Path) -> list[Path]:
    entries = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    for path in entries:
        if path.is_dir() and any(_is_image(inside) for inside in path.rglob("*")):
            raise UserError(f"{path}: its images would not be read; put all images of a class into {folder}")
    files = [path for path in entries if _is_image(path)]
    if not files:
        raise UserError(f"{folder}: has no images; expected {', '.join(sorted(SUFFIXES))}")
    return files


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[2]}x{pixels.shape[1]}"
