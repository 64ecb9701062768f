"""Tiny-ImageNet in its official directories, with a cache of decoded images."""

from __future__ import annotations

import hashlib
import io
import os
from collections import Counter
from pathlib import Path

import numpy as np

from ffcore.data.digest import sha256
from ffcore.data.download import data_home, home_of
from ffcore.data.images import Dataset, ImageSet, Split
from ffcore.data.packed import pack
from ffcore.errors import UserError, closest, first_line
from ffcore.options import FilePath
from ffcore.reading import expanded, read_bytes

FOLDER = "tiny-imagenet-200"
ARCHIVE = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
SHAPE = (3, 64, 64)
SUFFIXES = (".jpeg", ".jpg")
CLASSES, WORDS, ANNOTATIONS = "wnids.txt", "words.txt", "val_annotations.txt"


class TinyImageNet(Dataset):
    """Colour photographs of 64x64 pixels; officially 200 classes, 100,000 + 10,000.

    Read from ROOT/tiny-imagenet-200 or ROOT: train/WNID/images/*.JPEG, val/images/*.JPEG and
    val/val_annotations.txt. The labelled validation images are the test split; those in `test` have no labels
    and are not read. Classes are sorted by their WordNet IDs: those in wnids.txt or, if it is missing, the
    directories in `train`. Their names are read from words.txt, if it exists.

    Decoded images are cached, 1.35 GB for all classes; the cache is checked before each use.

    Args:
        root: ROOT; by default the environment variable FFCORE_DATA, or the user's cache directory. There is
            no download: the archive is tiny-imagenet-200.zip of Stanford's course cs231n.
        cache: directory for decoded images; by default FFCORE_DATA, or the user's cache directory.
        classes: WordNet IDs of the classes to use, in any order; by default all classes.

    Raises:
        UserError: `classes` is empty or has an ID twice.

    Reference: Y. Le, X. Yang, "Tiny ImageNet Visual Recognition Challenge", 2015.
    """

    def __init__(
        self, root: FilePath | None = None, cache: FilePath | None = None, classes: list[str] | None = None
    ) -> None:
        self.root = root
        self.cache = cache
        self.classes = classes
        if classes is not None and len(set(classes)) != max(1, len(classes)):
            raise UserError(f"data.classes: should be one or more IDs, each once; got {classes}")

    def peek(self) -> tuple[tuple[int, ...], int] | None:
        """Returns three channels of 64×64 pixels, and the number of classes: chosen, or in wnids.txt."""
        if self.classes is not None:
            return SHAPE, len(self.classes)
        folder = next((f for f in self._folders if (f / CLASSES).is_file()), None)
        return None if folder is None else (SHAPE, len(_lines(folder / CLASSES)))

    def load(self) -> ImageSet:
        """Find the images and decode them, if they are not in the cache.

        Raises:
            UserError: a directory or file is missing, damaged or not in its place, the cache cannot be
                written, or a class in `classes` does not exist.
        """
        folder = self._find()
        every = _wnids(folder)
        wnids = every if self.classes is None else _chosen(self.classes, every, folder)
        number = {wnid: k for k, wnid in enumerate(wnids)}
        train = [
            (path, k) for wnid, k in number.items() for path in _images(folder / "train" / wnid / "images")
        ]
        labelled = _validation(folder / "val", every)
        val = [(path, number[wnid]) for path, wnid in labelled if wnid in number]
        # One cache per source directory and choice of classes.
        which = " ".join([str(folder.resolve()), *(wnids if self.classes is not None else [])])
        place = hashlib.sha256(which.encode()).hexdigest()[:12]
        packed = pack(
            (expanded(self.cache) if self.cache else data_home()) / f"tiny-imagenet-{place}.bytes",
            folder,
            {"train": [path for path, _ in train], "val": [path for path, _ in val]},
            SHAPE,
            _decode,
        )
        return ImageSet(
            name="tiny-imagenet",
            train=Split(packed.x["train"], np.array([k for _, k in train], np.int64)),
            test=Split(packed.x["val"], np.array([k for _, k in val], np.int64)),
            classes=_class_names(folder / WORDS, wnids),
            scale=1 / 255,
            provenance={**packed.digests, ANNOTATIONS: sha256(folder / "val" / ANNOTATIONS)},
        )

    @property
    def _folders(self) -> tuple[Path, Path]:
        root = home_of("tiny-imagenet", self.root, download=None)
        return root / FOLDER, root

    def _find(self) -> Path:
        for folder in self._folders:
            if (folder / "train").is_dir():
                for name, wanted in (("images", Path.is_dir), (ANNOTATIONS, Path.is_file)):
                    if not wanted(folder / "val" / name):
                        raise UserError(
                            f"{folder / 'val' / name}: missing; tiny-imagenet needs the official layout, "
                            f"val/images/*.JPEG and val/{ANNOTATIONS}; for one directory per class use "
                            "data.kind=image-folder"
                        )
                return folder
        raise UserError(
            f"tiny-imagenet: no directory train in {' or '.join(map(str, self._folders))}; there is no "
            f"automatic download: get {ARCHIVE}, unpack it, and set data.root=DIRECTORY"
        )


def _wnids(folder: Path) -> list[str]:
    """Returns the WordNet IDs of the classes; raises unless `train` has exactly their directories."""
    train, listed = folder / "train", folder / CLASSES
    existing = sorted(p.name for p in train.iterdir() if p.is_dir() and not p.name.startswith("."))
    wnids = sorted(_lines(listed)) if listed.is_file() else existing
    if not wnids:
        raise UserError(f"{listed if listed.is_file() else train}: expected classes, found none")
    if twice := [wnid for wnid, count in Counter(wnids).items() if count > 1]:
        raise UserError(f"{listed}: has {twice[0]} more than once")
    if missing := sorted(set(wnids) - set(existing)):
        raise UserError(f"{train / missing[0]}: the directory is missing, but {CLASSES} has the class")
    if unknown := sorted(set(existing) - set(wnids)):
        raise UserError(f"{train / unknown[0]}: not a class of {CLASSES}; add it, or move the directory away")
    return wnids


def _chosen(classes: list[str], every: list[str], folder: Path) -> list[str]:
    """Returns the chosen classes, sorted like all of them."""
    if unknown := sorted(set(classes) - set(every)):
        raise UserError(
            f"data.classes: {unknown[0]!r} is not a class of {folder}{closest(unknown[0], every)}"
        )
    return sorted(classes)


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: the directory is missing; it should have *.JPEG files")
    # os.listdir, not Path.iterdir: strings are sorted faster than Paths
    names = sorted(n for n in os.listdir(folder) if n.lower().endswith(SUFFIXES) and not n.startswith("."))
    if not names:
        raise UserError(f"{folder}: has no images; expected *.JPEG")
    return [folder / name for name in names]


def _validation(folder: Path, wnids: list[str]) -> list[tuple[Path, str]]:
    """Returns images with the IDs of their classes, in the order of the annotations."""
    file, known = folder / ANNOTATIONS, set(wnids)
    unlabelled = {path.name: path for path in _images(folder / "images")}
    labelled = []
    for line, text in enumerate(_text(file).splitlines(), start=1):
        name, wnid, *_ = map(str.strip, [*text.split("\t"), "", ""])
        if not text.strip():
            continue
        if wnid not in known:
            raise UserError(f"{file}: line {line}: {wnid!r} of {name} is not a class of the training set")
        path = unlabelled.pop(name, None)
        if path is None:
            raise UserError(f"{file}: line {line}: {name} is not in {folder / 'images'}, or is listed twice")
        labelled.append((path, wnid))
    if unlabelled:
        path = min(unlabelled.values())
        raise UserError(f"{path}: has no line in {file}; number of such images: {len(unlabelled)}")
    if missing := sorted(known - {wnid for _, wnid in labelled}):
        raise UserError(f"{file}: no image of class {missing[0]}")
    return labelled


def _class_names(words: Path, wnids: list[str]) -> tuple[str, ...]:
    """Returns the first word of each class, with its WordNet ID if it is not unique; or only the ID."""
    if not words.is_file():
        return tuple(wnids)
    known = dict(line.split("\t", 1) for line in _lines(words) if "\t" in line)
    names = [known.get(wnid, wnid).split(",")[0].strip() or wnid for wnid in wnids]
    count = Counter(names)
    return tuple(
        name if count[name] == 1 else f"{name} ({wnid})" for name, wnid in zip(names, wnids, strict=True)
    )


def _decode(path: Path, data: bytes) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            if image.size != SHAPE[:0:-1]:
                raise UserError(f"{path}: is {image.width}x{image.height} pixels; expected 64x64")
            return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    except UserError:
        raise
    except UnidentifiedImageError as error:  # its message has the address of a buffer, not the file
        raise UserError(f"{path}: not a JPEG image") from error
    except Exception as error:  # decoders raise errors of many types
        raise UserError(f"{path}: not a readable image: {first_line(error)}") from error


def _lines(file: Path) -> list[str]:
    return [line.strip() for line in _text(file).splitlines() if line.strip()]


def _text(file: Path) -> str:
    return read_bytes(file).decode("utf-8", errors="replace")
