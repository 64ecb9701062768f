from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ffcore.data.arrays import Arrays, InMemory
from ffcore.errors import UserError

Y = np.arange(10) % 2
GREY = np.arange(10 * 3 * 4, dtype=np.uint8).reshape(10, 3, 4)
FLOATS = np.linspace(0, 1, 50).reshape(10, 5)


def saved(tmp_path: Path, **arrays: Any) -> str:
    np.savez(tmp_path / "mine.npz", **arrays)
    return str(tmp_path / "mine.npz")


def test_a_file_with_both_splits_is_read_unchanged(tmp_path: Path) -> None:
    path = saved(tmp_path, x_train=GREY, y_train=Y, x_test=GREY[:4], y_test=Y[:4], classes=["cat", "dog"])
    data = Arrays(path).load()
    assert (data.name, data.shape, data.classes) == ("mine", (1, 3, 4), ("cat", "dog"))
    assert data.scale == 1 / 255
    assert list(data.provenance) == ["mine.npz"]
    np.testing.assert_array_equal(data.train.x[:, 0], GREY)
    np.testing.assert_array_equal(data.test.y, Y[:4])


def test_without_a_test_split_a_stratified_one_is_made(tmp_path: Path) -> None:
    data = Arrays(saved(tmp_path, x_train=FLOATS, y_train=Y), test_fraction=0.4).load()
    assert np.bincount(data.test.y).tolist() == [2, 2]
    assert len(data.train) == 6


def test_floats_keep_their_values_and_shape() -> None:
    data = InMemory(FLOATS, Y).load()
    assert (data.shape, data.scale, data.train.x.dtype) == ((5,), 1.0, np.float32)


def test_tensors_are_converted() -> None:
    images = torch.zeros(10, 3, 8, 8, dtype=torch.uint8)
    data = InMemory(images, torch.from_numpy(Y), images[:2], torch.tensor([0, 1])).load()
    assert (data.shape, len(data.test)) == ((3, 8, 8), 2)


def test_a_tensor_numpy_cannot_read_is_a_user_error() -> None:
    with pytest.raises(UserError, match="x_train is not an array"):
        InMemory(torch.zeros(10, 3, requires_grad=True), Y).load()


def with_nan() -> np.ndarray:
    x = FLOATS.copy()
    x[3, 2] = np.nan
    return x


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_train": with_nan()}, "x_train: sample . has values that are not finite"),
        ({"x_train": FLOATS * 1e300}, "x_train: sample . has values that are not finite"),
        ({"x_train": FLOATS[:, 0]}, "x_train is float64 .10,."),
        ({"x_train": GREY.astype(np.int64)}, "x_train is int64"),
        ({"x_train": np.zeros((10, 8, 8, 3), np.uint8)}, "channels last"),
        ({"x_train": GREY[:9]}, "train has 9 samples and 10 labels"),
        ({"y_train": Y.astype(float)}, "y_train is float64"),
        ({"y_train": Y * 1000}, "a label is 1000, but there are only 10"),
        ({"y_train": Y - 1}, "labels are -1 to 0"),
        ({"classes": ["one"]}, "labels are 0 to 1; they must be in 0..0"),
        ({"x_test": GREY}, "give both x_test and y_test"),
        ({"x_test": GREY[:, :2], "y_test": Y}, "train samples are .* but test samples are"),
    ],
)
def test_invalid_arrays_raise_with_file_and_array(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    path = saved(tmp_path, **({"x_train": GREY, "y_train": Y} | arrays))
    with pytest.raises(UserError, match=f"mine.npz.*{message}"):
        Arrays(path).load()


def test_a_missing_array_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mine.npz: has no y_train; it has x_train, labels"):
        Arrays(saved(tmp_path, x_train=GREY, labels=Y)).load()


def test_python_objects_are_never_unpickled(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Python objects are not read"):
        Arrays(saved(tmp_path, x_train=np.array([{}, []], dtype=object), y_train=Y)).load()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"plain text", b"\x93NUMPY\x01\x00"])
def test_a_file_other_than_npz_is_a_user_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.npz: not an \.npz file"):
        Arrays(str(tmp_path / "bad.npz")).load()


def test_a_missing_file_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no\.npz: no such file; set data\.path"):
        Arrays(str(tmp_path / "no.npz")).load()


def test_a_damaged_file_is_a_user_error(tmp_path: Path) -> None:
    path = Path(saved(tmp_path, x_train=GREY, y_train=Y))
    data = bytearray(path.read_bytes())
    data[200] ^= 255  # inside x_train
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"mine\.npz: .*damaged"):
        Arrays(str(path)).load()


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0])
def test_a_test_fraction_that_leaves_an_empty_split_raises(fraction: float) -> None:
    with pytest.raises(UserError, match="leaves an empty split"):
        InMemory(GREY, Y, test_fraction=fraction).load()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"y_train": Y + 1}, "labels are 1 to 2; number the classes from 0, such as y - 1"),
        ({"classes": 10}, "classes should be a list of names.*not 10"),
        ({"classes": "cat"}, "classes should be a list of names.*not 'cat'"),
        ({"classes": np.array("cat")}, "classes should be a list of names"),
        ({"classes": [b"\xff", b"dog"]}, r"class name b'\\xff' is not in UTF-8"),
        ({"classes": ["\ud800", "dog"]}, "not text that UTF-8 can store"),
        ({"x_train": GREY[:, :0]}, "have no values"),
        ({"x_train": np.zeros((10, 8, 8, 3))}, "channels last"),
        ({"x_train": np.zeros((10, 8, 8, 1), np.float32)}, "channels last"),
    ],
)
def test_ambiguous_classes_and_axes_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        InMemory(**{"x_train": GREY, "y_train": Y, **options}).load()


def test_names_may_be_bytes_or_numbers_and_labels_may_skip_class_0_if_classes_are_named() -> None:
    assert InMemory(GREY, Y, classes=[b"caf\xc3\xa9", 7]).load().classes == ("café", "7")
    assert InMemory(GREY, Y + 1, classes=["none", "cat", "dog"]).load().num_classes == 3
    assert InMemory(np.zeros((10, 64, 4, 4)), Y).load().shape == (64, 4, 4)


def test_objects_in_a_member_that_is_not_read_are_ignored(tmp_path: Path) -> None:
    assert Arrays(saved(tmp_path, x_train=GREY, y_train=Y, notes=np.array([{}]))).load().num_classes == 2
