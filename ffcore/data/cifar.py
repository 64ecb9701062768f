"""CIFAR-10 and CIFAR-100 in their official binary files, on disk or fetched from their official host."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from ffcore.data.digest import sha256
from ffcore.data.download import data_home, fetch_folder
from ffcore.data.images import Dataset, ImageSet, Split
from ffcore.data.reading import read_bytes
from ffcore.errors import UserError

MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)
SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32


class Cifar(Dataset):
    """Colour photographs of 32x32 pixels; each record is one or two label bytes and 3,072 pixel bytes.

    The files are searched in ROOT/FOLDER and ROOT. Those that are found are checked for structure and their
    sha256 recorded, nothing more: they may be in another order, or fewer. If none is there, the archive is
    downloaded if asked for, its checksum verified, and unpacked to ROOT/FOLDER. The Python version's pickles
    are not read.

    Args:
        root: ROOT; without it the environment variable FFCORE_DATA, or else the user's cache folder.
        download: fetch what is missing; False never connects; None fetches unless a root was given.

    Reference: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """

    name: ClassVar[str]
    folder: ClassVar[str]
    archive: ClassVar[str]
    checksum: ClassVar[str]
    train: ClassVar[tuple[str, ...]]
    test: ClassVar[str]
    names: ClassVar[str]  # the file with a class a line
    labels: ClassVar[tuple[int, ...]]  # how many values each label byte has; the last one is the class

    def __init__(self, root: str | None = None, download: bool | None = None) -> None:
        self.root = root
        self.download = root is None if download is None else download

    def peek(self) -> tuple[tuple[int, ...], int]:
        """Three channels of 32×32 pixels."""
        return SHAPE, self.labels[-1]

    def load(self) -> ImageSet:
        """Find or fetch the files, and read them.

        Raises:
            UserError: a file is missing, damaged, or could not be downloaded.
        """
        folder = self._find(Path(self.root).expanduser() if self.root else data_home())
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

    def _find(self, root: Path) -> Path:
        home = root / self.folder
        for folder in (home, root):
            missing = [file for file in self._files if not (folder / file).is_file()]
            if not missing:
                return folder
            if len(missing) < len(self._files):
                raise UserError(
                    f"{self.name}: no {' and no '.join(missing)} in {folder}, which has other files "
                    f"of the set; put all that {self.archive} holds there, or remove the others"
                )
        if not self.download:
            raise UserError(
                f"{self.name}: no {self._files[0]} in {home}, {root}; "
                "set data.root=FOLDER to where the files are, or data.download=true"
            )
        return fetch_folder(self.archive, MIRRORS, self.checksum, home)

    def _class_names(self, path: Path) -> tuple[str, ...]:
        names = tuple(read_bytes(path).decode(errors="replace").split())
        if len(names) != self.labels[-1]:
            raise UserError(f"{path}: expected {self.labels[-1]} names of classes, found {len(names)}")
        return names

    def _read(self, path: Path) -> np.ndarray:
        """Records as bytes (N, labels + 3072)."""
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
        return Split(x.copy().reshape(-1, *SHAPE), y.astype(np.int64))

    def _superclasses(self, labels: np.ndarray) -> tuple[int, ...] | None:
        """The coarse label that goes with each fine one, from (N, 2) of both; None where there is but one."""
        if len(self.labels) == 1:
            return None
        coarse = np.full(self.labels[-1], -1)
        coarse[labels[:, 1]] = labels[:, 0]
        strange = labels[coarse[labels[:, 1]] != labels[:, 0]]
        if len(strange):
            fine = strange[0, 1]
            raise UserError(
                f"{self.name}: expected one coarse label for each fine one, found {strange[0, 0]} and "
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
