from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from ffcore.data.idx import read_idx
from ffcore.data.mnist import FashionMnist, KMnist, Mnist
from ffcore.errors import UserError


def idx(array: np.ndarray) -> bytes:
    code = {"u1": 0x08, "i2": 0x0B, "f4": 0x0D}[array.dtype.str[1:]]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_set(folder: Path, n: int = 12, packed: bool = True) -> None:
    """A small set of four well-formed files; the value of an image is its label."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", n), ("t10k", n // 2)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = np.broadcast_to(labels[:, None, None], (count, 28, 28))
        for name, array in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            data = idx(array)
            (folder / (f"{name}.gz" if packed else name)).write_bytes(
                gzip.compress(data, mtime=0) if packed else data
            )


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4"])
@pytest.mark.parametrize("pack", [gzip.compress, bytes])
def test_arrays_are_read_as_written(tmp_path: Path, dtype: str, pack: object) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    path = tmp_path / "file"
    path.write_bytes(pack(idx(array)))  # type: ignore[operator]
    result = read_idx(path)
    assert result.dtype == array.dtype
    assert result.flags.writeable
    np.testing.assert_array_equal(result, array)


GOOD = idx(np.zeros((2, 3), np.uint8))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an IDX file.*found nothing"),
        (b"<html>", "not an IDX file.*found 3c 68 74 6d"),
        (b"\0\0\x07\x01\0\0\0\0", "not an IDX file.*found 00 00 07 01"),
        (GOOD[:7], "expected an IDX header of 12 bytes, found 7"),
        (GOOD[:-1], "expected 18 bytes for shape .2, 3., found 17"),
        (GOOD + b"x", "expected 18 bytes for shape .2, 3., found 19"),
        (gzip.compress(GOOD, mtime=0)[:-5], "expected a complete gzip file"),
        (gzip.compress(GOOD, mtime=0)[:-8] + b"\0" * 8, "expected a complete gzip file"),
    ],
)
def test_a_damaged_file_raises_with_its_name(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "bad"
    path.write_bytes(data)
    with pytest.raises(UserError, match=f"bad: {message}"):
        read_idx(path)


def test_a_missing_file_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: cannot be read"):
        read_idx(tmp_path / "nowhere")


@pytest.mark.parametrize("where", [".", "raw", "MNIST/raw"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_set_is_found_in_each_known_layout(tmp_path: Path, where: str, packed: bool) -> None:
    write_set(tmp_path / where, packed=packed)
    data = Mnist(str(tmp_path)).load()
    assert data.shape == (1, 28, 28)
    assert (len(data.train), len(data.test), data.num_classes) == (12, 6, 10)
    assert (data.train.x[:, 0, 3, 3] == data.train.y).all()
    assert {len(digest) for digest in data.provenance.values()} == {64}
    assert len(data.provenance) == 4


def test_sets_under_one_root_have_separate_directories(tmp_path: Path) -> None:
    for n, kind in enumerate((Mnist, FashionMnist, KMnist)):
        write_set(tmp_path / kind.folder / "raw", n=20 + n)
    assert len(FashionMnist(str(tmp_path)).load().train) == 21
    assert len(KMnist(str(tmp_path)).load().train) == 22


def test_the_environment_variable_is_the_default_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(tmp_path / "KMNIST/raw")
    monkeypatch.setenv("FFCORE_DATA", str(tmp_path))
    assert KMnist().load().classes[0] == "o"


def test_a_missing_set_raises_with_the_searched_paths_and_a_hint(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"MNIST/raw.*data\.root=.*data\.download=true") as error:
        Mnist(str(tmp_path)).load()
    assert "train-images-idx3-ubyte.gz" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("file", "array", "message"),
    [
        ("train-images-idx3-ubyte", np.zeros((12, 8, 8), np.uint8), "expected uint8 images"),
        ("train-images-idx3-ubyte", np.zeros((11, 28, 28), np.uint8), "expected 11 labels"),
        ("t10k-labels-idx1-ubyte", np.full(6, 10, np.uint8), "expected labels in 0..9, found 10"),
        ("t10k-labels-idx1-ubyte", np.zeros((6, 1), np.uint8), "expected uint8 labels"),
    ],
)
def test_files_that_do_not_fit_together_raise(
    tmp_path: Path, file: str, array: np.ndarray, message: str
) -> None:
    write_set(tmp_path, packed=False)
    (tmp_path / file).write_bytes(idx(array))
    with pytest.raises(UserError, match=message):
        Mnist(str(tmp_path)).load()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"\0", "expected at most 8 axes, found 255"),
        (gzip.compress(b"\0\0\x0e\x03" + b"\xff" * 12 + b"\0" * 99, mtime=0), "found at most"),
        (b"\0\0\x0e\x08" + b"\xff" * 32, "expected .* bytes for shape"),
    ],
)
def test_a_header_that_claims_too_much_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "bad").write_bytes(data)
    with pytest.raises(UserError, match=f"bad: .*{message}"):
        read_idx(tmp_path / "bad")


def test_a_gzip_bomb_behind_a_small_header_is_not_unpacked(tmp_path: Path) -> None:
    (tmp_path / "bomb").write_bytes(gzip.compress(GOOD + bytes(2**26)))
    with pytest.raises(UserError, match=r"expected 18 bytes .* found more"):
        read_idx(tmp_path / "bomb")


def test_kaggles_names_of_the_files_are_found(tmp_path: Path) -> None:
    write_set(tmp_path, packed=False)
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert len(Mnist(str(tmp_path)).load().train) == 12
