"""STL-10 in its official binary files, on disk or downloaded from their official host.

N images; an image has three planes of 96×96 bytes, and a plane is stored column by column.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from ffcore.data.digest import sha256
from ffcore.data.download import find_folder
from ffcore.data.images import Dataset, ImageSet, Split
from ffcore.errors import UserError
from ffcore.options import FilePath
from ffcore.reading import read_bytes, read_text

MIRRORS = ("https://cs.stanford.edu/~acoates/stl10/", "http://ai.stanford.edu/~acoates/stl10/")
ARCHIVE, CHECKSUM = "stl10_binary.tar.gz", "md5:91f7769df0f17e558f3565bffb0c7dfb"
FOLDER = "stl10_binary"
SHAPE = (3, 96, 96)
CLASSES = 10


class Stl10(Dataset):
    """Colour photographs of 96x96 pixels: 5,000 + 8,000 of ten classes, and 100,000 without labels.

    The files are searched in ROOT/stl10_binary and ROOT. Their structure is checked and their sha256
    recorded. If no file exists and ``download`` is set, the archive (2.6 GB) is downloaded, verified by its
    checksum and unpacked.

    Args:
        root: ROOT; by default the environment variable FFCORE_DATA, or the user's cache directory.
        download: download missing files; False: never; None: only if no root was given.
        samples: "labelled"; or "unlabelled": the images without labels for training, with the task `none`,
            and the test images without their labels. They need 5.6 GB of memory. A second run can start from
            the weights of such a run and learn the classes.

    Reference: A. Coates, H. Lee and A. Y. Ng, "An Analysis of Single Layer Networks in Unsupervised Feature
    Learning", AISTATS 2011.
    """

    name: ClassVar[str] = "stl10"

    def __init__(
        self,
        root: FilePath | None = None,
        download: bool | None = None,
        samples: Literal["labelled", "unlabelled"] = "labelled",
    ) -> None:
        self.root = root
        self.download = root is None if download is None else download
        self.samples = samples

    def peek(self) -> tuple[tuple[int, ...], int] | None:
        """Returns three channels of 96×96 pixels, and the number of classes, if there are classes."""
        return (SHAPE, CLASSES) if self.samples == "labelled" else None

    def load(self) -> ImageSet:
        """Find or download the files, and read them.

        Raises:
            UserError: a file is missing, damaged, or could not be downloaded.
        """
        labelled = self.samples == "labelled"
        train = "train_X.bin" if labelled else "unlabeled_X.bin"
        files = [train, "test_X.bin"] + (["train_y.bin", "test_y.bin", "class_names.txt"] if labelled else [])
        folder = find_folder(self.name, files, FOLDER, self.root, self.download, ARCHIVE, MIRRORS, CHECKSUM)
        provenance = {file: sha256(folder / file) for file in files}
        if not labelled:
            from ffcore.tasks import Unsupervised  # imported here: other readers need no torch

            return ImageSet(
                name=self.name,
                train=_unlabelled(folder / train),
                test=_unlabelled(folder / "test_X.bin"),
                classes=("goodness",),
                scale=1 / 255,
                provenance=provenance,
                task=Unsupervised(),
            )
        return ImageSet(
            name=self.name,
            train=_labelled(folder, "train"),
            test=_labelled(folder, "test"),
            classes=_names(folder / "class_names.txt"),
            scale=1 / 255,
            provenance=provenance,
        )


def _images(path: Path) -> np.ndarray:
    """Returns the images (N, 3, 96, 96) of a file, row by row."""
    data, size = read_bytes(path), int(np.prod(SHAPE))
    if not data or len(data) % size:
        raise UserError(f"{path}: expected images of {size} bytes each, found {len(data)} bytes")
    stored = np.frombuffer(data, np.uint8).reshape(-1, *SHAPE)
    return np.ascontiguousarray(stored.transpose(0, 1, 3, 2))


def _labelled(folder: Path, split: str) -> Split:
    images, labels = _images(folder / f"{split}_X.bin"), folder / f"{split}_y.bin"
    y = np.frombuffer(read_bytes(labels), np.uint8).astype(np.int64)
    if len(y) != len(images):
        raise UserError(f"{labels}: {len(y)} labels, but {split}_X.bin has {len(images)} images")
    wrong = np.flatnonzero((y < 1) | (y > CLASSES))
    if len(wrong):
        raise UserError(f"{labels}: expected labels in 1..{CLASSES}, found {y[wrong[0]]} at byte {wrong[0]}")
    return Split(images, y - 1)


def _unlabelled(path: Path) -> Split:
    images = _images(path)
    return Split(images, np.zeros((len(images), 0), np.float32))


def _names(path: Path) -> tuple[str, ...]:
    names = tuple(read_text(path).split())
    if len(names) != CLASSES:
        raise UserError(f"{path}: expected {CLASSES} class names, found {len(names)}")
    return names
