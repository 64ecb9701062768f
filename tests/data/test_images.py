from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from ffcore.data.images import ImageSet, Split
from ffcore.errors import UserError


def split(n: int = 4, labels: list[int] | None = None, side: int = 2, dtype: type = np.uint8) -> Split:
    y = np.arange(n) % 2 if labels is None else np.array(labels)
    return Split(np.zeros((n, 1, side, side), dtype), y.astype(np.int64))


def image_set(train: Split, test: Split) -> ImageSet:
    return ImageSet("toy", train, test, ("a", "b"), 1 / 255, {})


def test_a_set_knows_its_shape_and_classes() -> None:
    data = image_set(split(), split(2))
    assert data.shape == (1, 2, 2)
    assert data.num_classes == 2


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Split(np.zeros((3, 1, 2, 2), np.uint8), np.zeros(4, np.int64)), "3 samples but 4 labels"),
        (split(3, [0, 1, 2]), "labels are 0 to 2"),
        (split(3, [0, -1, 1]), "labels are -1 to 1"),
        (split(0), "no samples"),
        (split(dtype=np.float64), "samples are float64"),
        (Split(np.zeros((2, 1, 2, 2), np.uint8), np.zeros(2, np.uint8)), "labels are uint8"),
    ],
)
def test_a_bad_split_raises_with_its_name(bad: Split, message: str) -> None:
    with pytest.raises(UserError, match=f"toy, train: .*{message}"):
        image_set(bad, split())
    with pytest.raises(UserError, match=f"toy, test: .*{message}"):
        image_set(split(), bad)


@pytest.mark.parametrize("other", [split(side=3), split(dtype=np.float32)])
def test_splits_must_have_samples_of_one_shape_and_type(other: Split) -> None:
    with pytest.raises(UserError, match=r"train samples are .* but test samples are"):
        image_set(split(), other)


@pytest.mark.parametrize("superclasses", [(0,), (0, 1, 0), (0, -1)])
def test_superclasses_are_one_number_from_0_for_each_class(superclasses: tuple[int, ...]) -> None:
    assert replace(image_set(split(), split(2)), superclasses=(1, 0)).superclasses == (1, 0)
    with pytest.raises(UserError, match=r"toy: superclasses are .*; they must be 2 numbers from 0"):
        replace(image_set(split(), split(2)), superclasses=superclasses)


def test_no_reader_imports_torch() -> None:
    readers = [
        "images",
        "digits",
        "idx",
        "mnist",
        "cifar",
        "download",
        "arrays",
        "folder",
        "split",
        "statistics",
    ]
    imports = ", ".join(f"ffcore.data.{reader}" for reader in readers)
    code = f"import sys, {imports}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
