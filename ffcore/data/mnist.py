"""MNIST, Fashion-MNIST and KMNIST: four IDX files each, on disk or downloaded from their official hosts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from ffcore.data.digest import sha256
from ffcore.data.download import fetch, home_of
from ffcore.data.idx import read_idx
from ffcore.data.images import Dataset, ImageSet, Split
from ffcore.errors import UserError
from ffcore.options import FilePath

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


class IdxSet(Dataset):
    """Ten classes of 28x28 images in four IDX files, which may be gzipped.

    A file is searched in ROOT/FOLDER/raw (torchvision's layout), ROOT/raw and ROOT. Its structure is checked
    and its sha256 recorded, but not compared: it may be recompressed, or a data set of your own. (All three
    data sets have the same file names; only FOLDER differs.) A missing file is downloaded to ROOT/FOLDER/raw
    if ``download`` is set, and verified by its checksum.

    Args:
        root: ROOT; by default the environment variable FFCORE_DATA, or the user's cache directory.
        download: download missing files; False: never; None: only if no root was given.
    """

    name: ClassVar[str]
    folder: ClassVar[str]
    mirrors: ClassVar[tuple[str, ...]]
    checksums: ClassVar[Mapping[str, str]]  # of the .gz files, by file name without .gz
    classes: ClassVar[tuple[str, ...]] = tuple("0123456789")

    def __init__(self, root: FilePath | None = None, download: bool | None = None) -> None:
        self.root = root
        self.download = root is None if download is None else download

    def peek(self) -> tuple[tuple[int, ...], int]:
        """Returns one channel of 28×28 pixels, ten classes."""
        return (1, 28, 28), len(self.classes)

    def load(self) -> ImageSet:
        """Find or download the four files, and read them.

        Raises:
            UserError: a file is missing, damaged, of the wrong shape, or could not be downloaded.
        """
        root = home_of(self.name, self.root, download=self.download)
        paths = {part: [self._find(root, file) for file in files] for part, files in FILES.items()}
        return ImageSet(
            name=self.name,
            train=self._read(*paths["train"]),
            test=self._read(*paths["test"]),
            classes=self.classes,
            scale=1 / 255,
            provenance={p.name: sha256(p) for pair in paths.values() for p in pair},
        )

    def _find(self, root: Path, file: str) -> Path:
        home = root / self.folder / "raw"
        folders = (home, root / "raw", root)
        for folder in folders:
            for name in (file, file.replace("-idx", ".idx")):  # with a dot: Kaggle's name of the file
                for path in (folder / name, folder / f"{name}.gz", folder / name / name):
                    if path.exists() and not path.is_dir():
                        return path  # what is not a regular file is refused when it is read
        if not self.download:
            raise UserError(
                f"{self.name}: no {file} or {file}.gz in {', '.join(map(str, folders))}; "
                "set data.root=DIRECTORY to the directory of the files, or data.download=true"
            )
        return fetch(f"{file}.gz", self.mirrors, self.checksums[file], home)

    def _read(self, images: Path, labels: Path) -> Split:
        x, y = read_idx(images), read_idx(labels)
        if x.shape[1:] != (28, 28) or x.dtype != np.uint8:
            raise UserError(f"{images}: expected uint8 images (N, 28, 28), found {x.dtype} {x.shape}")
        if y.ndim != 1 or y.dtype != np.uint8:
            raise UserError(f"{labels}: expected uint8 labels (N,), found {y.dtype} {y.shape}")
        if len(x) != len(y):
            raise UserError(
                f"{labels}: expected {len(x)} labels, the number of images in {images}, found {len(y)}"
            )
        if y.max(initial=0) >= len(self.classes):
            raise UserError(f"{labels}: expected labels in 0..{len(self.classes) - 1}, found {y.max()}")
        return Split(x[:, None], y.astype(np.int64))


class Mnist(IdxSet):
    """Handwritten digits, 60,000 + 10,000.

    Reference: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", 1998.
    """

    name = "mnist"
    folder = "MNIST"
    mirrors: ClassVar[tuple[str, ...]] = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    checksums: ClassVar = {
        "train-images-idx3-ubyte": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte": "md5:d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte": "md5:9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte": "md5:ec29112dd5afa0611ce80d1b7f02629c",
    }


class FashionMnist(IdxSet):
    """Articles of clothing, 60,000 + 10,000.

    Reference: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST", arXiv:1708.07747.
    """

    name = "fashion-mnist"
    folder = "FashionMNIST"
    mirrors: ClassVar[tuple[str, ...]] = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)
    checksums: ClassVar = {
        "train-images-idx3-ubyte": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte": "md5:25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte": "md5:bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte": "md5:bb300cfdad3c16e7a12a480ee83cd310",
    }
    classes = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip


class KMnist(IdxSet):
    """Cursive Japanese characters, 60,000 + 10,000.

    Reference: T. Clanuwat et al., "Deep Learning for Classical Japanese Literature", arXiv:1812.01718.
    """

    name = "kmnist"
    folder = "KMNIST"
    mirrors: ClassVar[tuple[str, ...]] = ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",)
    checksums: ClassVar = {
        "train-images-idx3-ubyte": "md5:bdb82020997e1d708af4cf47b453dcf7",
        "train-labels-idx1-ubyte": "md5:e144d726b3acfaa3e44228e80efcd344",
        "t10k-images-idx3-ubyte": "md5:5c965bf0a639b31b8f53240b1b52f4d7",
        "t10k-labels-idx1-ubyte": "md5:7320c461ea6c1c855c0b718fb2a4b134",
    }
    classes = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
