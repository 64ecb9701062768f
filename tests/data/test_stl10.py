from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ffcore.data.stl10 import SHAPE, Stl10
from ffcore.errors import UserError

IMAGES = np.random.PCG64(1).random_raw(4 * 3 * 96 * 96).reshape(4, *SHAPE).astype(np.uint8)


def stored(images: np.ndarray) -> bytes:
    """Every plane column by column."""
    return b"".join(plane.tobytes(order="F") for image in images for plane in image)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    (folder / "train_X.bin").write_bytes(stored(IMAGES[:2]))
    (folder / "train_y.bin").write_bytes(bytes([10, 1]))
    (folder / "test_X.bin").write_bytes(stored(IMAGES[2:3]))
    (folder / "test_y.bin").write_bytes(bytes([4]))
    (folder / "unlabeled_X.bin").write_bytes(stored(IMAGES))
    (folder / "class_names.txt").write_text("\n".join(f"thing{k}" for k in range(10)) + "\n")
    return tmp_path


def test_planes_are_stored_column_by_column_and_labels_from_one(root: Path) -> None:
    data = Stl10(str(root)).load()
    assert np.array_equal(data.train.x, IMAGES[:2])
    assert np.array_equal(data.test.x, IMAGES[2:3])
    assert (data.train.y.tolist(), data.test.y.tolist()) == ([9, 0], [3])
    assert (data.shape, data.num_classes) == Stl10().peek()
    assert data.classes[3] == "thing3"
    assert sorted(data.provenance) == [
        "class_names.txt",
        *(f"{s}_{t}.bin" for s in ("test", "train") for t in "Xy"),
    ]
    assert data.train.x.flags.c_contiguous
    assert data.train.x.flags.writeable


def test_unlabelled_images_have_the_task_none(root: Path) -> None:
    data = Stl10(str(root), samples="unlabelled").load()
    assert np.array_equal(data.train.x, IMAGES)
    assert data.train.y.shape == (4, 0)
    assert data.test.y.shape == (1, 0)
    assert data.target.target == "none"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("test_X.bin", b"\0" * 27647, "expected images of 27648 bytes each, found 27647 bytes"),
        ("train_y.bin", bytes([1, 2, 3]), "3 labels, but train_X.bin has 2 images"),
        ("train_y.bin", bytes([1, 0]), "expected labels in 1..10, found 0 at byte 1"),
        ("class_names.txt", b"cat dog", "expected 10 class names, found 2"),
    ],
)
def test_a_damaged_file_raises_with_its_name(root: Path, file: str, content: bytes, message: str) -> None:
    (root / "stl10_binary" / file).write_bytes(content)
    with pytest.raises(UserError, match=f"{file}: {message}"):
        Stl10(str(root)).load()


def test_a_missing_set_raises_with_the_searched_paths_and_a_hint(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"stl10: no train_X.bin in .*stl10_binary or .*data\.download=true"):
        Stl10(str(tmp_path)).load()
