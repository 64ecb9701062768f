"""CIFAR-10 and CIFAR-100 in their official binary files, on disk or downloaded from their official host."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from ffcore.data.digest import sha256
from ffcore.data.download import find_folder
from ffcore.data.images import Dataset, ImageSet, Split
from ffcore.errors import UserError
from ffcore.options import FilePath
from ffcore.reading import read_bytes, read_text

MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)
SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32


class Cifar(Dataset):
    """Colour photographs of 32x32 pixels; each record is one or two label bytes and 3,072 pixel bytes.

    The files are searched in ROOT/FOLDER and ROOT. Their structure is checked and their sha256 recorded, but
    not compared: they may have fewer samples or another order than the official ones. If no file exists and
    ``download`` is set, the archive is downloaded, verified by its checksum and unpacked to ROOT/FOLDER. The
    pickles of the Python version are not read.

    Args:
        root: ROOT; by default the environment variable FFCORE_DATA, or the user's cache directory.
        download: download missing files; False: never; None: only if no root was given.

    Reference: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """

    name: ClassVar[str]
    folder: ClassVar[str]
    archive: ClassVar[str]
    checksum: ClassVar[str]
    train: ClassVar[tuple[str, ...]]
    test: ClassVar[str]
    names: ClassVar[str]  # the file with one class name per line
    labels: ClassVar[tuple[int, ...]]  # number of values of each label byte; the last byte is the class

    def __init__(self, root: FilePath | None = None, download: bool | None = None) -> None:
        self.root = root
        self.download = root is None if download is None else download

    def peek(self) -> tuple[tuple[int, ...], int]:
        """Returns three channels of 32×32 pixels, and the number of classes."""
        return SHAPE, self.labels[-1]

    def load(self) -> ImageSet:
        """Find or download the files, and read them.

        Raises:
            UserError: a file is missing, damaged, or could not be downloaded.
        """
        folder = find_folder(
            self.name,
            self._files,
            self.folder,
            self.root,
            self.download,
            self.archive,
            MIRRORS,
            self.checksum,
        )
        classes = self._class_names(folder / self.names)
        train = np.concatenate([self._read(folder / file) for file in self.train])
        test = self._read(folder / self.test)
        return ImageSet(
            name=self.name,
            train=self._split(train),
            test=self._split(test),
            classes=classes,
            scale=1 / 255,
            provenance={file: sha256(folder / file) for file in self._files},
            superclasses=self._superclasses(np.concatenate([train, test])[:, :-PIXELS])
            if len(self.labels) == 2
            else None,
        )

    @property
    def _files(self) -> tuple[str, ...]:
        return (*self.train, self.test, self.names)

    def _class_names(self, path: Path) -> tuple[str, ...]:
        names = tuple(read_text(path).split())
        if len(names) != self.labels[-1]:
            raise UserError(f"{path}: expected {self.labels[-1]} class names, found {len(names)}")
        return names

    def _read(self, path: Path) -> np.ndarray:
        """Returns the records as bytes (N, labels + 3072)."""
        data, size = read_bytes(path), len(self.labels) + PIXELS
        if not data or len(data) % size:
            raise UserError(f"{path}: expected records of {size} bytes each, found {len(data)} bytes")
        records = np.frombuffer(data, np.uint8).reshape(-1, size)
        for place, values in enumerate(self.labels):
            wrong = np.flatnonzero(records[:, place] >= values)
            if len(wrong):
                raise UserError(
                    f"{path}: expected labels in 0..{values - 1}, found {records[wrong[0], place]} "
                    f"at byte {wrong[0] * size + place}, in record {wrong[0]}"
                )
        return records

    @staticmethod
    def _split(records: np.ndarray) -> Split:
        x, y = records[:, -PIXELS:], records[:, -PIXELS - 1]
        # a copy: a view would keep the label bytes and all files' buffers in memory, and be read-only
        return Split(x.copy().reshape(-1, *SHAPE), y.astype(np.int64))

    def _superclasses(self, labels: np.ndarray) -> tuple[int, ...] | None:
        """Returns the super-class of each class, from labels (N, 2) of both; None with one label byte."""
        if len(self.labels) == 1:
            return None
        coarse = np.full(self.labels[-1], -1)
        coarse[labels[:, 1]] = labels[:, 0]
        # Each class keeps the last super-class written for it; any sample with another one is a
        # contradiction.
        wrong = labels[coarse[labels[:, 1]] != labels[:, 0]]
        if len(wrong):
            fine = wrong[0, 1]
            raise UserError(
                f"{self.name}: expected one coarse label for each fine one, found {wrong[0, 0]} and "
                f"{coarse[fine]} with {fine}"
            )
        if coarse.min() < 0:
            raise UserError(
                f"{self.name}: expected samples of every class, found none of class {coarse.argmin()}"
            )
        return tuple(coarse.tolist())


class Cifar10(Cifar):
    """Ten classes, 50,000 + 10,000."""

    name = "cifar10"
    folder = "cifar-10-batches-bin"
    archive = "cifar-10-binary.tar.gz"
    checksum = "md5:c32a1d4ab5d03f1284b67883e8d87530"
    train = tuple(f"data_batch_{n}.bin" for n in range(1, 6))
    test = "test_batch.bin"
    names = "batches.meta.txt"
    labels = (10,)


class Cifar100(Cifar):
    """A hundred fine classes, which are the labels, in twenty super-classes; 50,000 + 10,000."""

    name = "cifar100"
    folder = "cifar-100-binary"
    archive = "cifar-100-binary.tar.gz"
    checksum = "md5:03b5dce01913d631647c71ecec9e9cb8"
    train = ("train.bin",)
    test = "test.bin"
    names = "fine_label_names.txt"
    labels = (20, 100)
    has_superclasses = True
