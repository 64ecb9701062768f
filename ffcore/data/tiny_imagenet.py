"""Tiny-ImageNet in its official folders, decoded once."""

from __future__ import annotations

import hashlib
import io
import os
from collections import Counter
from pathlib import Path

import numpy as np

from ffcore.data.digest import sha256
from ffcore.data.download import data_home
from ffcore.data.images import Dataset, ImageSet, Split
from ffcore.data.packed import pack
from ffcore.data.reading import read_bytes
from ffcore.errors import UserError, closest, first_line

FOLDER = "tiny-imagenet-200"
ARCHIVE = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
SHAPE = (3, 64, 64)
SUFFIXES = (".jpeg", ".jpg")
CLASSES, WORDS, ANNOTATIONS = "wnids.txt", "words.txt", "val_annotations.txt"


class TinyImageNet(Dataset):
    """Colour photographs of 64x64 pixels; officially 200 classes, 100,000 + 10,000.

    Read from ROOT/tiny-imagenet-200 or ROOT: train/WNID/images/*.JPEG, val/images/*.JPEG and
    val/val_annotations.txt. The labelled validation images are the test split; those in `test` have no labels
    and are not read. Classes are numbered by the order of their WordNet ids, which are those in wnids.txt or,
    without it, the folders in `train`; words.txt, if there, names them.

    Decoded images are kept, 1.35 GB for the whole set, and checked before they are used again.

    Args:
        root: ROOT; without it the environment variable FFCORE_DATA, or else the user's cache folder. Nothing
            is downloaded: the archive is tiny-imagenet-200.zip of Stanford's course cs231n.
        cache: folder for decoded images; without it FFCORE_DATA, or else the user's cache folder.
        classes: WordNet ids of the classes to take, in any order; without it all of them.

    Raises:
        UserError: `classes` is empty or has an id twice.

    Reference: Y. Le, X. Yang, "Tiny ImageNet Visual Recognition Challenge", 2015.
    """

    def __init__(
        self, root: str | None = None, cache: str | None = None, classes: list[str] | None = None
    ) -> None:
        self.root = root
        self.cache = cache
        self.classes = classes
        if classes is not None and len(set(classes)) != max(1, len(classes)):
            raise UserError(f"data.classes: should be one or more ids, each once; got {classes}")

    def peek(self) -> tuple[tuple[int, ...], int] | None:
        """Three channels of 64×64 pixels; the number of classes, chosen or those in a wnids.txt."""
        if self.classes is not None:
            return SHAPE, len(self.classes)
        folder = next((f for f in self._folders if (f / CLASSES).is_file()), None)
        return None if folder is None else (SHAPE, len(_lines(folder / CLASSES)))

    def load(self) -> ImageSet:
        """Find the images, and decode them if that has not been done.

        Raises:
            UserError: a folder or file is missing, damaged or out of place, decoded images cannot be kept, or
                a class that was asked for is not there.
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
        which = " ".join([str(folder.resolve()), *(wnids if self.classes is not None else [])])
        place = hashlib.sha256(which.encode()).hexdigest()[:12]
        packed = pack(
            (Path(self.cache).expanduser() if self.cache else data_home()) / f"tiny-imagenet-{place}.bytes",
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
        root = Path(self.root).expanduser() if self.root else data_home()
        return root / FOLDER, root

    def _find(self) -> Path:
        for folder in self._folders:
            if (folder / "train").is_dir():
                for name, wanted in (("images", Path.is_dir), (ANNOTATIONS, Path.is_file)):
                    if not wanted(folder / "val" / name):
                        raise UserError(
                            f"{folder / 'val' / name}: missing; tiny-imagenet wants the official layout, "
                            f"val/images/*.JPEG and val/{ANNOTATIONS}; for one folder a class there is "
                            "data.kind=image-folder"
                        )
                return folder
        raise UserError(
            f"tiny-imagenet: no folder train in {' or '.join(map(str, self._folders))}; it is not "
            f"downloaded: get {ARCHIVE}, unpack it, and set data.root=FOLDER to where it is"
        )


def _wnids(folder: Path) -> list[str]:
    """WordNet ids of the classes, each with a folder in `train` and no others there."""
    train, listed = folder / "train", folder / CLASSES
    there = sorted(p.name for p in train.iterdir() if p.is_dir() and not p.name.startswith("."))
    wnids = sorted(_lines(listed)) if listed.is_file() else there
    if not wnids:
        raise UserError(f"{listed if listed.is_file() else train}: expected classes, found none")
    if twice := [wnid for wnid, count in Counter(wnids).items() if count > 1]:
        raise UserError(f"{listed}: names {twice[0]} more than once")
    if missing := sorted(set(wnids) - set(there)):
        raise UserError(f"{train / missing[0]}: no such folder, but {CLASSES} has the class")
    if unknown := sorted(set(there) - set(wnids)):
        raise UserError(f"{train / unknown[0]}: no class of {CLASSES}; add it there, or move the folder away")
    return wnids


def _chosen(classes: list[str], every: list[str], folder: Path) -> list[str]:
    """These classes, in the order of all."""
    if unknown := sorted(set(classes) - set(every)):
        raise UserError(f"data.classes: {unknown[0]!r} is no class of {folder}{closest(unknown[0], every)}")
    return sorted(classes)


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected *.JPEG in it")
    names = sorted(n for n in os.listdir(folder) if n.lower().endswith(SUFFIXES) and not n.startswith("."))
    if not names:
        raise UserError(f"{folder}: no images in it; expected *.JPEG")
    return [folder / name for name in names]


def _validation(folder: Path, wnids: list[str]) -> list[tuple[Path, str]]:
    """Images with their classes' ids, in the order of the annotations, which name each image once."""
    file, known = folder / ANNOTATIONS, set(wnids)
    unlabelled = {path.name: path for path in _images(folder / "images")}
    found = []
    for line, text in enumerate(_text(file).splitlines(), start=1):
        name, wnid, *_ = map(str.strip, [*text.split("\t"), "", ""])
        if not text.strip():
            continue
        if wnid not in known:
            raise UserError(f"{file}: line {line}: {wnid!r} of {name} is no class of the training set")
        path = unlabelled.pop(name, None)
        if path is None:
            raise UserError(f"{file}: line {line}: {name} is not in {folder / 'images'}, or named twice")
        found.append((path, wnid))
    if unlabelled:
        path = min(unlabelled.values())
        raise UserError(f"{path}: has no line in {file}; {len(unlabelled)} such images")
    if missing := sorted(known - {wnid for _, wnid in found}):
        raise UserError(f"{file}: no image of class {missing[0]}")
    return found


def _class_names(words: Path, wnids: list[str]) -> tuple[str, ...]:
    """The first word for each class, with the WordNet id where two share it; the id where there is none."""
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
    except UnidentifiedImageError as error:  # whose message names a buffer
        raise UserError(f"{path}: not a JPEG image") from error
    except Exception as error:  # decoders raise whatever they like
        raise UserError(f"{path}: not a readable image: {first_line(error)}") from error


def _lines(file: Path) -> list[str]:
    return [line.strip() for line in _text(file).splitlines() if line.strip()]


def _text(file: Path) -> str:
    return read_bytes(file).decode("utf-8", errors="replace")
