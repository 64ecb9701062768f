from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from ffcore.data import cifar, download
from ffcore.data.cifar import Cifar, Cifar10, Cifar100
from ffcore.errors import UserError

BATCHES = [f"data_batch_{n}.bin" for n in range(1, 6)]


def record(*labels: int, value: int = 0) -> bytes:
    """Red `value`, green 100, blue rising from 0 to 255 over and over."""
    return bytes(labels) + bytes([value] * 1024 + [100] * 1024) + bytes(range(256)) * 4


def write_cifar10(folder: Path) -> None:
    """Two records in each file; the classes run from 0 to 9 over the training files."""
    folder.mkdir(parents=True, exist_ok=True)
    for n, file in enumerate([*BATCHES, "test_batch.bin"]):
        labels = (2 * n % 10, (2 * n + 1) % 10)
        (folder / file).write_bytes(b"".join(record(k, value=k) for k in labels))
    (folder / "batches.meta.txt").write_text("\n".join(f"thing{k}" for k in range(10)) + "\n\n")


def write_cifar100(folder: Path) -> None:
    """One record of each fine class k, its coarse class k % 20."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("train.bin", "test.bin"):
        (folder / file).write_bytes(b"".join(record(k % 20, k, value=k) for k in range(100)))
    (folder / "fine_label_names.txt").write_text("\n".join(f"thing{k}" for k in range(100)) + "\n")


@pytest.mark.parametrize("where", [".", "cifar-10-batches-bin"])
def test_cifar10_is_read_in_order_from_each_known_layout(tmp_path: Path, where: str) -> None:
    write_cifar10(tmp_path / where)
    data = Cifar10(str(tmp_path)).load()
    assert data.train.y.tolist() == list(range(10))
    assert data.test.y.tolist() == [0, 1]
    assert (data.shape, data.num_classes) == Cifar10().peek()
    assert data.classes[3] == "thing3"
    assert data.superclasses is None
    assert {len(digest) for digest in data.provenance.values()} == {64}
    assert len(data.provenance) == 7


def test_pixels_are_planes_of_red_green_and_blue_row_by_row(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    x = Cifar10(str(tmp_path)).load().train.x
    assert x.shape == (10, 3, 32, 32)
    assert (x[7, 0] == 7).all()
    assert (x[7, 1] == 100).all()
    assert x[7, 2, 1, :3].tolist() == [32, 33, 34]
    assert x.flags.writeable
    assert x.flags.c_contiguous


def test_cifar100_has_fine_classes_in_super_classes(tmp_path: Path) -> None:
    write_cifar100(tmp_path)
    data = Cifar100(str(tmp_path)).load()
    assert data.train.y.tolist() == list(range(100))
    assert (data.train.x[:, 0, 0, 0] == data.train.y).all()
    assert data.superclasses == tuple(k % 20 for k in range(100))
    assert (data.shape, data.num_classes) == Cifar100().peek()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("data_batch_2.bin", record(1)[:-1], "expected records of 3073 bytes each, found 3072 bytes"),
        ("data_batch_2.bin", b"", "expected records of 3073 bytes each, found 0 bytes"),
        (
            "data_batch_2.bin",
            record(1) + record(10),
            "expected labels in 0..9, found 10 at byte 3073, in record 1",
        ),
        ("batches.meta.txt", b"cat\ndog\n", "expected 10 class names, found 2"),
    ],
)
def test_a_damaged_file_raises_with_its_name(tmp_path: Path, file: str, content: bytes, message: str) -> None:
    write_cifar10(tmp_path)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(UserError, match=f"{file}: {message}"):
        Cifar10(str(tmp_path)).load()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (record(20, 0), "train.bin: expected labels in 0..19, found 20 at byte 0, in record 0"),
        (record(0, 100), "train.bin: expected labels in 0..99, found 100 at byte 1, in record 0"),
        (record(0, 3), "expected one coarse label for each fine one, found [03] and [03] with 3"),
    ],
)
def test_contradicting_coarse_and_fine_labels_raise(tmp_path: Path, content: bytes, message: str) -> None:
    write_cifar100(tmp_path)
    (tmp_path / "train.bin").write_bytes(content)
    with pytest.raises(UserError, match=message):
        Cifar100(str(tmp_path)).load()


def test_a_class_without_samples_raises(tmp_path: Path) -> None:
    write_cifar100(tmp_path)
    for file in ("train.bin", "test.bin"):
        (tmp_path / file).write_bytes(record(0, 0))
    with pytest.raises(UserError, match="expected samples of every class, found none of class 1"):
        Cifar100(str(tmp_path)).load()


def test_a_set_without_its_test_file_raises_and_is_not_downloaded(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "cifar-10-batches-bin")
    (tmp_path / "cifar-10-batches-bin/test_batch.bin").unlink()
    with pytest.raises(UserError, match=r"no test_batch\.bin in .*cifar-10-batches-bin, which has other"):
        Cifar10(str(tmp_path), download=True).load()


@pytest.mark.parametrize("kind", [Cifar10, Cifar100])
def test_a_missing_set_raises_with_the_searched_paths_and_a_hint(tmp_path: Path, kind: type[Cifar]) -> None:
    with pytest.raises(UserError, match=rf"{kind.folder} or .*data\.root=.*data\.download=true") as error:
        kind(str(tmp_path)).load()
    assert "\n" not in str(error.value)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Replaces the official host: ``serve`` sets the archive that is downloaded."""

    def serve(archive: bytes) -> None:
        def fetch(file: str, mirrors: object, checksum: str, folder: Path) -> Path:
            assert (file, mirrors) == (Cifar10.archive, cifar.MIRRORS)
            assert checksum == Cifar10.checksum
            folder.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(archive)
            return folder / file

        monkeypatch.setattr(download, "fetch", fetch)

    return serve


def packed(folder: Path, name: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        tar.add(folder, name)
    return file.getvalue()


def test_a_download_leaves_only_the_directory(tmp_path: Path, host) -> None:
    write_cifar10(tmp_path / "made")
    host(packed(tmp_path / "made", Cifar10.folder))
    root = tmp_path / "new/root"
    data = Cifar10(str(root), download=True).load()
    assert data.train.y.tolist() == list(range(10))
    assert [path.name for path in root.iterdir()] == [Cifar10.folder]
    assert Cifar10(str(root)).load().provenance == data.provenance


def test_a_damaged_or_unsafe_archive_leaves_no_directory(tmp_path: Path, host) -> None:
    write_cifar10(tmp_path / "made")
    good = packed(tmp_path / "made", Cifar10.folder)
    for number, bad in enumerate(
        [good[:-200], good[:50], b"", packed(tmp_path / "made", "../outside"), packed(tmp_path / "made", "x")]
    ):
        root = tmp_path / str(number) / "root"
        host(bad)
        with pytest.raises(
            UserError, match=rf"{Cifar10.archive}: could not be unpacked to .*{Cifar10.folder}"
        ):
            Cifar10(str(root), download=True).load()
        assert [path.name for path in root.iterdir()] == [Cifar10.archive]
        assert [path.name for path in root.parent.iterdir()] == ["root"]


def test_provenance_is_the_sha256_of_each_file(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    right = hashlib.sha256((tmp_path / "test_batch.bin").read_bytes()).hexdigest()
    assert Cifar10(str(tmp_path)).load().provenance["test_batch.bin"] == right
